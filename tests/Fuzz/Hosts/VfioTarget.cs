using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Fuzz.Hosts;

/// <summary>
/// A vfio-user client from an attacker, from the bytes on. An action is eight bytes: a message made of them, raw bytes, a header of
/// any kind, descriptors, where the stream is cut, how little is read, that time passes or memory is cut short. Every command that
/// wants a reply gets exactly one, in order, or the client is closed; nothing of it is left; a good client is served after it.
/// </summary>
public sealed class VfioTarget : IFuzzTarget, IDisposable
{
    /// <summary>Two sessions have buffers of 200 KiB each; a turn of the model allocates next to nothing.</summary>
    private const long Allocation = 4 << 20;

    private const int Turns = 4096;

    /// <summary>What a client may have open at us: its socket, an eventfd for each vector, INTx and its unmasking, and those of a message that is not whole yet.</summary>
    private const int MostKept = 1 + (2 * VfioInterrupts.Vectors) + 2 + VfioUserLimits.MaxDescriptors;

    private static readonly uint[] Sizes = [0, 15, 16, 17, 32, 36, 40, 48, 65567, 65568, 65569, 0x7fffffff, 0xffffffff];
    private static readonly ushort[] Commands = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 16, 11, 14, 0, 17, 65535];
    private static readonly string[] Json =
    [
        "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"write_multiple\":true}}", "{\"capabilities\":{", "\"max_msg_fds\":", "16", "-1", "1e999",
        "18446744073709551616", "\"pgsizes\":4096", ",", "}", "]", "[", "{", "\"", "\\u0000", "null", "true", ":", "\0", "\"migration\":{\"pgsize\":4096}", "\u00e9", "\\ud800", " ", "\"twin_socket\":{\"supported\":true}",
    ];

    [ThreadStatic]
    private static VfioTarget? _self;

    private readonly FakeSystem _system = new();
    private readonly VfioUserHost _host;
    private readonly List<byte> _stream = [];
    private readonly List<byte> _piece = [];
    private readonly List<FakeHandle> _descriptors = [];
    private readonly StringBuilder _json = new();
    private FakeClient _client = new();

    private VfioTarget() => _host = new VfioUserHost(_system, _system, null, new VfioUserOptions { Xhci = new XhciOptions(2, 2) });

    public static string Name => "vfio";

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        VfioTarget self = _self ??= new VfioTarget();
        self.Run(input);
    }

    public void Dispose()
    {
        _host.Dispose();
        _client.Dispose();
    }

    private void Run(ReadOnlySpan<byte> input)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        _stream.Clear();
        _json.Clear();
        _system.Reset();
        _host.Machine.Reset();
        _client.Dispose();
        _client = new FakeClient();
        _host.Accept(_client);
        for (int at = 0; at + InputReader.Unit <= input.Length; at += InputReader.Unit) Act(input.Slice(at, InputReader.Unit));
        Cut();
        _client.ReadLimit = _client.Room = int.MaxValue;
        int turns = 0;
        while (_host.HasClient && _client.HasInput && turns++ < Turns) Turn();
        if (turns >= Turns) throw new OracleException("livelock", "the host does not take what the client sent");
        Turn();
        if (FakeHandle.Open > MostKept) throw new OracleException("leak", $"{FakeHandle.Open} descriptors are open for one client");
        Judge();
        if (FuzzCase.Thorough) _ = InspectWriter.Dump(_host);
        _client.IsGone = true;
        for (int i = 0; i < 4 && _host.HasClient; i++) Turn();
        if (_host.HasClient) throw new OracleException("livelock", "the host does not notice that the client is gone");
        _client.Dispose();
        if (FakeHandle.Open != 0 || _system.Mappings != 0 || _system.Watches != 0)
            throw new OracleException("leak", $"{FakeHandle.Open} descriptors, {_system.Mappings} mappings, {_system.Watches} watches are left");
        ServeGoodClient();
        if (!FuzzCase.Thorough && GC.GetAllocatedBytesForCurrentThread() - before > Allocation)
            throw new OracleException("memory", $"{GC.GetAllocatedBytesForCurrentThread() - before} bytes allocated for one client");
    }

    private void Act(ReadOnlySpan<byte> action)
    {
        switch (action[0] & 15)
        {
            case 0 or 1 or 2 or 3 or 4:
                Message(action);
                break;
            case 5:
                Append(action[1..]);
                break;
            case 6:
                Header(action[1], Commands[action[2] % Commands.Length], Sizes[action[3] % Sizes.Length], action[4]);
                break;
            case 7 or 8:
                Cut();
                _client.ReadLimit = action[1] == 0 ? int.MaxValue : action[1];
                for (int i = 0; i <= (action[2] & 7); i++) Turn();
                break;
            case 9:
                for (int i = 0; i < (action[1] & 31) && _descriptors.Count < 40; i++) _descriptors.Add(new FakeHandle((FakeKind)(action[2] & 3)));
                break;
            case 10:
                _client.Room = action[1] == 0 ? int.MaxValue : action[1] | (action[2] << 8);
                break;
            case 11:
                _json.Append(Json[action[1] % Json.Length]).Append(Json[action[2] % Json.Length]);
                break;
            case 12:
                Version(action[1] == 255 ? (ushort)1 : (ushort)0, action[2], _json.ToString(), (action[3] & 1) == 0, action[4]);
                _json.Clear();
                break;
            case 13:
                _system.Pass((ulong)action[1] << (action[2] & 31));
                _system.CountAll();
                break;
            case 14:
                if (action[1] < 8) _system.Lose();
                else if (action[1] < 16) _client.IsGone = true;
                break;
            default:
                // As every client begins.
                Version(0, 1, Json[0], true, 1);
                break;
        }
    }

    private void Message(ReadOnlySpan<byte> action)
    {
        ushort command = Commands[action[1] % Commands.Length];
        Span<byte> body = stackalloc byte[72];
        body.Clear();
        int length;
        ulong address = (ulong)action[2] << 12;
        switch (command)
        {
            case 2 or 3:
                bool map = command == 2;
                Words(body, map ? 32u : 24u, action[3] & 3u);
                BinaryPrimitives.WriteUInt64LittleEndian(body[8..], map ? (ulong)(action[4] & 15) << 12 : address);
                BinaryPrimitives.WriteUInt64LittleEndian(body[16..], map ? address : (ulong)action[5] << 12);
                BinaryPrimitives.WriteUInt64LittleEndian(body[24..], action[5] == 255 ? ulong.MaxValue : (ulong)action[5] << 12);
                length = map ? 32 : 24;
                break;
            case 8:
                Words(body, 20, action[2], action[3] & 7u, action[4] & 31u, action[5] & 31u);
                length = 20 + (action[6] & 31);
                break;
            case 9 or 10:
                BinaryPrimitives.WriteUInt64LittleEndian(body, action[2] | ((ulong)action[3] << 8));
                Words(body[8..], action[4] & 15u, action[5]);
                Words(body[16..], action[6] | ((uint)action[7] << 12), action[7]);
                length = command == 9 ? 16 : Math.Min(16 + action[5], body.Length);
                break;
            case 15:
                Words(body, action[2]);
                BinaryPrimitives.WriteUInt64LittleEndian(body[8..], action[3]);
                Words(body[16..], action[4] & 15u, action[5] & 15u, action[6]);
                length = 8 + (24 * (action[7] & 1)) + 24;
                break;
            default:
                Words(body, action[2], action[3], action[4], action[5]);
                length = 32;
                break;
        }

        // One in some is too short, and one in some wants no reply.
        if (action[7] >= 0xf0) length = Math.Max(0, length - (action[7] & 15));
        Header((byte)_stream.Count, command, (uint)(16 + length), (action[0] & 0xe0) == 0xe0 ? (byte)16 : (byte)0);
        Append(body[..length]);
        FuzzCase.Hit(60, command, (uint)length);
    }

    private void Version(ushort major, ushort minor, string json, bool ends, byte id)
    {
        byte[] text = Encoding.UTF8.GetBytes(ends ? json + "\0" : json);
        Header(id, 1, (uint)(20 + text.Length), 0);
        Span<byte> version = stackalloc byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(version, major);
        BinaryPrimitives.WriteUInt16LittleEndian(version[2..], minor);
        Append(version);
        Append(text);
    }

    private void Header(byte id, ushort command, uint size, byte flags)
    {
        Span<byte> header = stackalloc byte[16];
        new MessageHeader(id, (VfioUserCommand)command, size, flags, 0).Write(header);
        Append(header);
    }

    private static void Words(Span<byte> to, params ReadOnlySpan<uint> words)
    {
        for (int i = 0; i < words.Length; i++) BinaryPrimitives.WriteUInt32LittleEndian(to[(i * 4)..], words[i]);
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        _piece.AddRange(bytes);
        _stream.AddRange(bytes);
    }

    /// <summary>What was put together is sent, with the descriptors.</summary>
    private void Cut()
    {
        if (_piece.Count > 0 && !_client.IsClosed)
        {
            _client.Put([.. _piece], [.. _descriptors]);
        }
        else
        {
            foreach (FakeHandle handle in _descriptors) handle.Dispose();
        }

        _piece.Clear();
        _descriptors.Clear();
    }

    private void Turn()
    {
        _system.Turn(_client);
        _host.Advance(_system.Now);
    }

    /// <summary>Goes through the stream as the protocol says, and through the replies: one for each command that wants one, in order.</summary>
    private void Judge()
    {
        ReadOnlySpan<byte> sent = CollectionsMarshal.AsSpan(_stream);
        ReadOnlySpan<byte> replies = _client.Replies;
        int expected = 0;
        int got = 0;
        while (MessageHeader.TryRead(sent, out MessageHeader command))
        {
            bool possible = command.Size is >= 16 and <= VfioUserLimits.MaxMessageBytes;
            if (possible && (!command.IsCommand || command.Size > sent.Length)) break;
            if (possible) sent = sent[(int)command.Size..];
            if (possible && command.NoReply) continue;
            expected++;
            if (MessageHeader.TryRead(replies, out MessageHeader reply))
            {
                if (reply.IsCommand || reply.Id != command.Id || reply.Command != command.Command)
                    throw new OracleException("reply", $"reply {got} is to {reply.Command} {reply.Id}, not to {command.Command} {command.Id}");
                // A client that is closed while it does not read gets the start of its last reply.
                if (reply.Size > replies.Length && !_host.HasClient) break;
                if (reply.Size > replies.Length || reply.Size < 16 || (reply.IsError && (reply.Size != 16 || reply.Error == 0)))
                    throw new OracleException("reply", $"reply {got} has {reply.Size} bytes, errno {reply.Error}");
                replies = replies[(int)reply.Size..];
                got++;
                FuzzCase.Hit(61, (uint)reply.Command, reply.Error, (uint)System.Numerics.BitOperations.Log2(reply.Size));
            }

            if (!possible) break;
        }

        if (!replies.IsEmpty && (_host.HasClient || expected == got)) throw new OracleException("reply", $"{replies.Length} bytes of replies to nothing");
        if (_host.HasClient && got != expected) throw new OracleException("reply", $"{got} replies to {expected} commands, and the client is still there");
        FuzzCase.Hit(62, _host.HasClient ? 1u : 0, (uint)Math.Min(got, 32), (uint)Math.Min(_system.Mappings, 4));
    }

    private void ServeGoodClient()
    {
        _system.Reset();
        _stream.Clear();
        _client.Dispose();
        _client = new FakeClient();
        if (!_host.Accept(_client)) throw new OracleException("recovery", "the next client is not taken");
        Version(0, 0, Json[0], true, 1);
        Header(2, 4, 32, 0);
        Span<byte> info = stackalloc byte[16];
        info.Clear();
        info[0] = 16;
        Append(info);
        Cut();
        for (int i = 0; i < 4; i++) Turn();
        ReadOnlySpan<byte> replies = _client.Replies;
        bool good = MessageHeader.TryRead(replies, out MessageHeader version) && !version.IsError
            && MessageHeader.TryRead(replies[(int)version.Size..], out MessageHeader described) && !described.IsError && described.Size == 32;
        if (!good) throw new OracleException("recovery", "the next client is not served");
        _client.IsGone = true;
        Turn();
        _client.Dispose();
        if (FakeHandle.Open != 0) throw new OracleException("leak", "the next client left a descriptor");
    }
}
