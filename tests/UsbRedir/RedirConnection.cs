using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace XenUsbDm.UsbRedir;

/// <summary>
/// The device's side of the USB network redirection protocol, version 0.7: bytes in, bytes out. Hello goes first, with a 32-bit
/// id in its header; ids have 64 bits after it, since both sides say so.
/// </summary>
public sealed class RedirConnection
{
    private const int HelloHeader = 12;
    private const int Header = 16;
    private const int LongestPacket = 1 << 20;
    private const int Capabilities = 1 << 1 /* device version */ | 1 << 4 /* largest packet of endpoints */ | 1 << 5 /* 64-bit ids */ | 1 << 6 /* 32-bit lengths */;
    private const int Places = 32; // 16 endpoints of each direction, or interfaces
    private const byte Success = 0;
    private const byte Invalid = 2;
    private const byte Stall = 4;
    private const byte NoKind = 255;

    private readonly RedirDevice _device;
    private readonly ArrayBufferWriter<byte> _output = new();
    private readonly HashSet<byte> _streams = [];
    private readonly byte[] _alternates = new byte[Places];
    private byte[] _input = new byte[1 << 16];
    private int _filled;
    private bool _greeted;
    private byte _configuration;

    public RedirConnection(RedirDevice device)
    {
        _device = device;
        device.SendIsochronous = SendIsochronous;
        byte[] hello = new byte[68];
        Encoding.ASCII.GetBytes("xen-usb-dm rig", hello);
        BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(64), Capabilities);
        Span<byte> header = stackalloc byte[HelloHeader];
        header.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], hello.Length);
        _output.Write(header);
        _output.Write(hello);
    }

    /// <summary>Bytes for QEMU since the last call.</summary>
    public byte[] TakeOutput()
    {
        byte[] taken = _output.WrittenSpan.ToArray();
        _output.ResetWrittenCount();
        return taken;
    }

    /// <summary>Bytes from QEMU, cut anywhere. Throws <see cref="InvalidDataException"/> for what is not the protocol.</summary>
    public void Receive(ReadOnlySpan<byte> bytes)
    {
        if (_filled + bytes.Length > _input.Length) Array.Resize(ref _input, Math.Max(_filled + bytes.Length, 2 * _input.Length));
        bytes.CopyTo(_input.AsSpan(_filled));
        _filled += bytes.Length;
        int at = 0;
        while (true)
        {
            int header = _greeted ? Header : HelloHeader;
            ReadOnlySpan<byte> rest = _input.AsSpan(at, _filled - at);
            if (rest.Length < header) break;
            var type = (RedirType)BinaryPrimitives.ReadUInt32LittleEndian(rest);
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            if (length > LongestPacket) throw new InvalidDataException($"packet {type} of {length} bytes");
            if (rest.Length < header + (int)length) break;
            ulong id = _greeted ? BinaryPrimitives.ReadUInt64LittleEndian(rest[8..]) : 0;
            Handle(type, id, _input.AsMemory(at + header, (int)length));
            at += header + (int)length;
        }

        _input.AsSpan(at, _filled - at).CopyTo(_input);
        _filled -= at;
    }

    private void Handle(RedirType type, ulong id, ReadOnlyMemory<byte> packet)
    {
        ReadOnlySpan<byte> body = packet.Span;
        if (!_greeted)
        {
            if (type != RedirType.Hello || body.Length < 68 || (BinaryPrimitives.ReadInt32LittleEndian(body[64..]) & Capabilities) != Capabilities)
                throw new InvalidDataException("no hello of a peer of version 0.7");
            _greeted = true;
            SendLayout();
            SendConnect();
            return;
        }

        if (body.Length < Shortest(type)) throw new InvalidDataException($"packet {type} of {body.Length} bytes");
        switch (type)
        {
            case RedirType.Reset:
                _configuration = 0;
                Array.Clear(_alternates);
                _streams.Clear();
                break;
            case RedirType.SetConfiguration:
                _configuration = body[0];
                Array.Clear(_alternates);
                SendLayout();
                goto case RedirType.GetConfiguration;
            case RedirType.GetConfiguration:
                Send(RedirType.ConfigurationStatus, id, [Success, _configuration]);
                break;
            case RedirType.SetAltSetting:
                if (body[0] < Places) _alternates[body[0]] = body[1];
                SendEndpoints();
                goto case RedirType.GetAltSetting;
            case RedirType.GetAltSetting:
                Send(RedirType.AltSettingStatus, id, body[0] < Places ? [Success, body[0], _alternates[body[0]]] : [Invalid, body[0], 0]);
                break;
            case RedirType.StartIsoStream or RedirType.StopIsoStream:
                bool runs = type == RedirType.StartIsoStream;
                if (runs) _streams.Add(body[0]);
                else _streams.Remove(body[0]);
                _device.StreamChanged(body[0], runs);
                Send(RedirType.IsoStreamStatus, id, [Success, body[0]]);
                break;
            case RedirType.ControlPacket:
                Control(id, body);
                break;
            case RedirType.BulkPacket:
                Bulk(id, body);
                break;
            case RedirType.IsoPacket:
                _device.IsochronousOut(body[0], packet[4..]);
                break;
            default:
                // Filters and calls for packets that are answered already want no answer.
                break;
        }
    }

    private static int Shortest(RedirType type) => type switch
    {
        RedirType.SetConfiguration or RedirType.GetAltSetting or RedirType.StopIsoStream => 1,
        RedirType.SetAltSetting => 2,
        RedirType.StartIsoStream => 3,
        RedirType.ControlPacket or RedirType.BulkPacket => 10,
        RedirType.IsoPacket => 4,
        _ => 0,
    };

    // endpoint, request, request type, status, value, index, length; data
    private void Control(ulong id, ReadOnlySpan<byte> body)
    {
        ushort length = BinaryPrimitives.ReadUInt16LittleEndian(body[8..]);
        var request = new ControlRequest(body[2], body[1], BinaryPrimitives.ReadUInt16LittleEndian(body[4..]), BinaryPrimitives.ReadUInt16LittleEndian(body[6..]), length);
        byte[]? answer = _device.Control(request, body[10..]);
        byte[] reply = body[..10].ToArray();
        ReadOnlySpan<byte> data = request.IsIn ? answer.AsSpan(0, Math.Min(length, answer?.Length ?? 0)) : default;
        reply[3] = answer is null ? Stall : Success;
        int moved = request.IsIn || answer is null ? data.Length : length;
        BinaryPrimitives.WriteUInt16LittleEndian(reply.AsSpan(8), (ushort)moved);
        Send(RedirType.ControlPacket, id, reply, data);
    }

    // endpoint, status, low half of the length, stream, high half of the length; data
    private void Bulk(ulong id, ReadOnlySpan<byte> body)
    {
        byte[] reply = body[..10].ToArray();
        int length = BinaryPrimitives.ReadUInt16LittleEndian(body[2..]) | (BinaryPrimitives.ReadUInt16LittleEndian(body[8..]) << 16);
        ReadOnlySpan<byte> data = default;
        if ((body[0] & 0x80) != 0)
        {
            data = _device.BulkIn(body[0], length).Span;
            length = data.Length;
        }

        reply[1] = Success;
        BinaryPrimitives.WriteUInt16LittleEndian(reply.AsSpan(2), (ushort)(length & 0xffff));
        BinaryPrimitives.WriteUInt16LittleEndian(reply.AsSpan(8), (ushort)(length >> 16));
        Send(RedirType.BulkPacket, id, reply, data);
    }

    private void SendIsochronous(byte endpoint, ReadOnlyMemory<byte> data)
    {
        if (!_streams.Contains(endpoint)) return;
        Span<byte> header = [endpoint, Success, 0, 0];
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)data.Length);
        Send(RedirType.IsoPacket, 0, header, data.Span);
    }

    // Speed, class, subclass, protocol, vendor, product, version: most of it as the device descriptor has it
    private void SendConnect()
    {
        byte[] device = _device.Device;
        Send(RedirType.DeviceConnect, 0, [_device.Speed, device[4], device[5], device[6], .. device.AsSpan(8, 6)]);
    }

    private void SendLayout()
    {
        byte[] body = new byte[4 + (4 * Places)];
        int count = 0;
        foreach (ReadOnlyMemory<byte> descriptor in Descriptors(4))
        {
            ReadOnlySpan<byte> one = descriptor.Span;
            if (one[3] != 0) continue;
            body[4 + count] = one[2];
            for (int part = 1; part <= 3; part++) body[4 + (part * Places) + count] = one[4 + part];
            count++;
        }

        BinaryPrimitives.WriteInt32LittleEndian(body, count);
        Send(RedirType.InterfaceInfo, 0, body);
        SendEndpoints();
    }

    // Kind, interval, interface and largest packet of each endpoint of the alternate settings that are selected
    private void SendEndpoints()
    {
        byte[] body = new byte[5 * Places];
        body.AsSpan(0, Places).Fill(NoKind);
        body[0] = body[16] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(3 * Places), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan((3 * Places) + 32), 64);
        byte owner = 0;
        bool selected = false;
        foreach (ReadOnlyMemory<byte> descriptor in Descriptors(4, 5))
        {
            ReadOnlySpan<byte> one = descriptor.Span;
            if (one[1] == 4)
            {
                owner = one[2];
                selected = _alternates[owner] == one[3];
                continue;
            }

            if (!selected) continue;
            int place = ((one[2] & 0x80) >> 3) | (one[2] & 0x0f);
            body[place] = (byte)(one[3] & 3);
            body[Places + place] = one[6];
            body[(2 * Places) + place] = owner;
            one.Slice(4, 2).CopyTo(body.AsSpan((3 * Places) + (2 * place)));
        }

        Send(RedirType.EndpointInfo, 0, body);
    }

    private IEnumerable<ReadOnlyMemory<byte>> Descriptors(params byte[] types)
    {
        ReadOnlyMemory<byte> block = _device.Configuration;
        for (int at = 0; at < block.Length; at += block.Span[at])
        {
            if (Array.IndexOf(types, block.Span[at + 1]) >= 0) yield return block.Slice(at, block.Span[at]);
        }
    }

    private void Send(RedirType type, ulong id, ReadOnlySpan<byte> body, ReadOnlySpan<byte> data = default)
    {
        Span<byte> header = stackalloc byte[Header];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)type);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], body.Length + data.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header[8..], id);
        _output.Write(header);
        _output.Write(body);
        _output.Write(data);
    }
}
