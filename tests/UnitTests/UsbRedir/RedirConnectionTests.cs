using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.UsbRedir;
using Xunit;

namespace XenUsbDm.UnitTests.UsbRedir;

/// <summary>The devices of the xen rig behind QEMU's usb-redir, from QEMU's side (USB network redirection protocol 0.7).</summary>
public sealed class RedirConnectionTests
{
    private static readonly byte[] Film = [.. Enumerable.Range(0, 2 * Camera.FrameBytes).Select(i => (byte)((i * 7 / 5) & 0xff))];

    private sealed record Packet(RedirType Type, ulong Id, byte[] Body);

    private static byte[] Write(RedirType type, ulong id, params ReadOnlySpan<byte> body)
    {
        byte[] packet = new byte[16 + body.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(packet, (uint)type);
        BinaryPrimitives.WriteInt32LittleEndian(packet.AsSpan(4), body.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(packet.AsSpan(8), id);
        body.CopyTo(packet.AsSpan(16));
        return packet;
    }

    private static byte[] Hello(int capabilities = 0xff)
    {
        byte[] hello = new byte[12 + 68];
        BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(4), 68);
        BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(76), capabilities);
        return hello;
    }

    private static byte[] Setup(byte type, byte request, int value, int index, int length, params ReadOnlySpan<byte> data) =>
        [0x80, request, type, 0, (byte)(value & 0xff), (byte)(value >> 8), (byte)(index & 0xff), (byte)(index >> 8), (byte)(length & 0xff), (byte)(length >> 8), .. data];

    private static List<Packet> Read(byte[] bytes)
    {
        var packets = new List<Packet>();
        for (int at = 0; at < bytes.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 4));
            packets.Add(new((RedirType)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at)), BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at + 8)), bytes[(at + 16)..(at + 16 + length)]));
            at += 16 + length;
        }

        return packets;
    }

    private static RedirConnection Greeted(RedirDevice device)
    {
        var connection = new RedirConnection(device);
        connection.TakeOutput();
        connection.Receive(Hello());
        connection.TakeOutput();
        return connection;
    }

    private static List<Packet> Ask(RedirConnection connection, byte[] packet)
    {
        connection.Receive(packet);
        return Read(connection.TakeOutput());
    }

    [Fact]
    public void Hello_goes_first_and_the_device_is_described_before_it_is_connected()
    {
        var connection = new RedirConnection(new Headset(Stream.Null));
        byte[] hello = connection.TakeOutput();
        Assert.Equal((80, 0, 68), (hello.Length, hello[0], hello[4]));

        // In pieces: a stream has no packets.
        byte[] theirs = Hello();
        connection.Receive(theirs.AsSpan(0, 5));
        Assert.Empty(connection.TakeOutput());
        connection.Receive(theirs.AsSpan(5));

        List<Packet> packets = Read(connection.TakeOutput());
        Assert.Equal([RedirType.InterfaceInfo, RedirType.EndpointInfo, RedirType.DeviceConnect], packets.Select(p => p.Type));
        Assert.Equal([132, 160, 10], packets.Select(p => p.Body.Length));
        Assert.Equal([3, 0, 0, 0, 0, 1, 2], packets[0].Body[..7]);
        Assert.Equal([1, 0, 0, 0, 0x09, 0x12, 0x01, 0x00, 0x00, 0x01], packets[2].Body);
    }

    [Fact]
    public void Peer_without_the_capabilities_is_refused() =>
        Assert.Throws<InvalidDataException>(() => new RedirConnection(new Headset(Stream.Null)).Receive(Hello(capabilities: 1)));

    [Theory]
    [InlineData(RedirType.ControlPacket)]
    [InlineData(RedirType.SetAltSetting)]
    [InlineData(RedirType.IsoPacket)]
    public void Packet_that_is_too_short_is_refused(RedirType type) =>
        Assert.Throws<InvalidDataException>(() => Greeted(new Headset(Stream.Null)).Receive(Write(type, 1, 0)));

    [Theory]
    [InlineData(true, 5)]
    [InlineData(false, 2)]
    public void Configuration_is_well_formed(bool headset, int settings)
    {
        RedirDevice device = headset ? new Headset(Stream.Null) : new Camera(Film);
        byte[] block = device.Configuration;

        Assert.Equal(block.Length, BinaryPrimitives.ReadUInt16LittleEndian(block.AsSpan(2)));
        int at = 0;
        while (at < block.Length) at += Math.Max(1, (int)block[at]);
        Assert.Equal(block.Length, at);
        var table = new ConfigurationTable();
        table.Load(block);
        Assert.Equal(DescriptorProblem.None, table.Problem);
        Assert.Equal(settings, table.SettingCount);
    }

    [Fact]
    public void Alternate_setting_brings_its_endpoint_and_keeps_its_id()
    {
        RedirConnection connection = Greeted(new Headset(Stream.Null));

        List<Packet> packets = Ask(connection, Write(RedirType.SetAltSetting, 77, 2, 1));

        Assert.Equal([RedirType.EndpointInfo, RedirType.AltSettingStatus], packets.Select(p => p.Type));
        Assert.Equal((255, 1), (packets[0].Body[1], packets[0].Body[16 + 2]));
        Assert.Equal((77ul, 0, 2, 1), (packets[1].Id, packets[1].Body[0], packets[1].Body[1], packets[1].Body[2]));
    }

    [Fact]
    public void Descriptor_is_cut_to_what_was_asked_for_and_the_unknown_stalls()
    {
        RedirConnection connection = Greeted(new Camera(Film));

        Packet device = Assert.Single(Ask(connection, Write(RedirType.ControlPacket, 5, Setup(0x80, 6, 0x0100, 0, 8))));
        Packet qualifier = Assert.Single(Ask(connection, Write(RedirType.ControlPacket, 6, Setup(0x80, 6, 0x0600, 0, 10))));

        Assert.Equal((5ul, 18, 0, 8, 18), (device.Id, device.Body.Length, device.Body[3], device.Body[8], device.Body[10]));
        Assert.Equal((10, 4, 0), (qualifier.Body.Length, qualifier.Body[3], qualifier.Body[8]));
    }

    [Fact]
    public void Headset_says_what_it_hears_while_somebody_listens()
    {
        using var heard = new MemoryStream();
        var headset = new Headset(heard);
        RedirConnection connection = Greeted(headset);

        byte[] Played(byte from) => Write(RedirType.IsoPacket, from, [Headset.Speaker, 0, 192, 0, .. Enumerable.Range(0, 192).Select(i => (byte)((from + i) & 0xff))]);
        Assert.Empty(Ask(connection, Played(1)));
        Assert.Equal([0, Headset.Microphone], Assert.Single(Ask(connection, Write(RedirType.StartIsoStream, 0, Headset.Microphone, 10, 6))).Body);
        Assert.Empty(Ask(connection, Played(2)));
        Packet said = Assert.Single(Ask(connection, Played(3)));
        Ask(connection, Write(RedirType.StopIsoStream, 0, Headset.Microphone));
        Assert.Empty(Ask(connection, Played(4)));

        Assert.Equal((RedirType.IsoPacket, 4 + Headset.SaidAtOnce), (said.Type, said.Body.Length));
        Assert.Equal([Headset.Microphone, 0, 0, 1, .. heard.ToArray().AsSpan(192, Headset.SaidAtOnce)], said.Body);
        Assert.Equal((4 * 192, 4), ((int)heard.Length, (int)heard.ToArray()[3 * 192]));
        Assert.Equal(["heard 4 packets 768 bytes", "said 1 packets 256 bytes", "size 192 packets 4"], headset.Report());
    }

    [Fact]
    public void Camera_sends_each_frame_as_one_payload_from_the_first_after_a_commit()
    {
        var camera = new Camera(Film);
        RedirConnection connection = Greeted(camera);
        Ask(connection, Write(RedirType.BulkPacket, 1, Camera.Endpoint, 0, 0, 0x40, 0, 0, 0, 0, 0, 0));
        byte[] settings = new byte[26];
        Ask(connection, Write(RedirType.ControlPacket, 2, Setup(0x21, 1, 0x0200, 1, 26, settings)));
        var payloads = new List<byte[]> { Array.Empty<byte>() };
        for (ulong id = 3; payloads.Count < 3; id++)
        {
            Packet part = Assert.Single(Ask(connection, Write(RedirType.BulkPacket, id, Camera.Endpoint, 0, 0, 0x40, 0, 0, 0, 0, 0, 0)));
            Assert.Equal((id, 0, part.Body.Length - 10), (part.Id, part.Body[1], BinaryPrimitives.ReadUInt16LittleEndian(part.Body.AsSpan(2))));
            payloads[^1] = [.. payloads[^1], .. part.Body.AsSpan(10)];
            if (part.Body.Length - 10 < 0x4000) payloads.Add([]);
        }

        Assert.Equal([2, 0x82, .. Film.AsSpan(0, Camera.FrameBytes)], payloads[0]);
        Assert.Equal([2, 0x83, .. Film.AsSpan(Camera.FrameBytes)], payloads[1]);
        Assert.Equal(["sent 2 frames", "commits 1", "brightness 0"], camera.Report());
    }

    [Fact]
    public void Camera_keeps_its_brightness()
    {
        var camera = new Camera(Film);
        RedirConnection connection = Greeted(camera);

        Packet set = Assert.Single(Ask(connection, Write(RedirType.ControlPacket, 1, Setup(0x21, 1, 0x0200, 0x0200, 2, 77, 0))));
        Packet got = Assert.Single(Ask(connection, Write(RedirType.ControlPacket, 2, Setup(0xa1, 0x81, 0x0200, 0x0200, 2))));

        Assert.Equal((0, 2), (set.Body[3], set.Body[8]));
        Assert.Equal([77, 0], got.Body[10..]);
    }
}
