using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using Xunit;
using static XenUsbDm.UnitTests.Hosts.VfioUser.VfioClient;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>Every message against the real socket: what is answered, what is refused, what ends the client.</summary>
public sealed class VfioMessageTests : IDisposable
{
    private const int Invalid = 22;
    private readonly VfioClient _client = new();

    public void Dispose() => _client.Dispose();

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(7, 1)]
    public void Version_is_the_clients_up_to_ours(int proposed, int answered)
    {
        Reply reply = _client.Negotiate((ushort)proposed);

        Assert.Equal(0, reply.Error);
        Assert.Equal([0, 0, (byte)answered, 0], reply.Payload[..4]);
        Assert.Equal("{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":65536}}\0", Encoding.ASCII.GetString(reply.Payload[4..]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("\0")]
    [InlineData("{}\0")]
    [InlineData("{\"capabilities\":{}}\0")]
    [InlineData("{\"capabilities\":{\"max_msg_fds\":8}}\0")]
    [InlineData("{\"capabilities\":{\"max_data_xfer_size\":4096,\"twin_socket\":{\"supported\":true,\"max_msg_fds\":1}}}\0")]
    public void Version_reply_is_never_longer_than_the_request(string json)
    {
        byte[] payload = VersionPayload(0, 0, json);

        Reply reply = _client.Request(1, payload);

        Assert.Equal(0, reply.Error);
        Assert.InRange(reply.Payload.Length, 4, payload.Length);
        Assert.True(reply.Payload.Length == 4 || reply.Payload[^1] == 0);
    }

    [Theory]
    [InlineData(1, "{}\0")]
    [InlineData(0, "{}")]
    [InlineData(0, "{\0")]
    [InlineData(0, "[[[[[[[[[[]]]]]]]]]]\0")]
    public void Impossible_version_is_refused_and_ends_the_client(int major, string json)
    {
        Reply reply = _client.Request(1, VersionPayload((ushort)major, 0, json));

        Assert.Equal(Invalid, reply.Error);
        Assert.Null(_client.Answer());
        Assert.False(_client.Host.HasClient);
    }

    [Fact]
    public void Write_multiple_is_announced_by_option_to_a_client_that_names_it()
    {
        using var client = new VfioClient(options: new VfioUserOptions { OfferWriteMultiple = true });

        Assert.Contains("\"write_multiple\":true", Encoding.ASCII.GetString(client.Negotiate().Payload));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(9)]
    [InlineData(13)]
    [InlineData(999)]
    public void Anything_before_the_version_is_refused_and_ends_the_client(int command)
    {
        Assert.Equal(Invalid, _client.Request(command, new byte[32]).Error);
        Assert.Null(_client.Answer());
        Assert.False(_client.Host.HasClient);
    }

    [Fact]
    public void Second_version_is_refused_and_the_client_stays()
    {
        _client.Negotiate();

        Assert.Equal(Invalid, _client.Negotiate().Error);
        Assert.True(_client.Host.HasClient);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(15u)]
    [InlineData(0x0010_0000u)]
    [InlineData(0xffff_ffffu)]
    public void Impossible_length_is_answered_and_ends_the_client(uint size)
    {
        _client.Negotiate();
        byte[] bytes = new byte[16];
        new MessageHeader(77, VfioUserCommand.RegionRead, size, 0, 0).Write(bytes);

        _client.Send(bytes);

        Reply? reply = _client.Answer();
        Assert.Equal(Invalid, reply!.Error);
        Assert.Equal(77, reply.Header.Id);
        Assert.Null(_client.Answer());
    }

    [Fact]
    public void Reply_to_nothing_ends_the_client()
    {
        _client.Negotiate();

        _client.Send(Message(1, 11, new byte[16], flags: 1));

        Assert.Null(_client.Answer());
        Assert.False(_client.Host.HasClient);
    }

    // command, payload words, errno
    [Theory]
    [InlineData(2, new uint[] { 32, 3, 0, 0, 0, 0, 0x1000 }, Invalid)] // short
    [InlineData(2, new uint[] { 32, 3, 0, 0, 0, 0, 0, 0 }, Invalid)] // no bytes
    [InlineData(2, new uint[] { 32, 3, 0, 0, 0xfffff000, 0xffffffff, 0x1001, 0 }, Invalid)] // wraps
    [InlineData(2, new uint[] { 32, 3, 0, 0, 0xfffff000, 0xffffffff, 0x1000, 0 }, 0)] // ends at the top
    [InlineData(3, new uint[] { 24, 0, 0, 0, 0x1000 }, Invalid)]
    [InlineData(3, new uint[] { 24, 0, 0, 0, 0x1000, 0 }, 2)]
    [InlineData(3, new uint[] { 24, 1, 0, 0, 0x1000, 0 }, 95)]
    [InlineData(3, new uint[] { 24, 2, 0, 0, 0x1000, 0 }, Invalid)]
    [InlineData(3, new uint[] { 24, 2, 0, 0, 0, 0 }, 0)]
    [InlineData(4, new uint[] { 16, 0, 0 }, Invalid)]
    [InlineData(4, new uint[] { 15, 0, 0, 0 }, Invalid)]
    [InlineData(5, new uint[] { 32, 0, 9, 0, 0, 0, 0, 0 }, Invalid)]
    [InlineData(5, new uint[] { 31, 0, 0, 0, 0, 0, 0, 0 }, Invalid)]
    [InlineData(5, new uint[] { 32, 0, 0 }, Invalid)]
    [InlineData(6, new uint[] { 16, 0, 0, 0 }, 0)]
    [InlineData(6, new uint[] { 16, 0, 9, 0 }, Invalid)]
    [InlineData(6, new uint[] { 16, 0 }, Invalid)]
    [InlineData(7, new uint[] { 16, 0, 5, 0 }, Invalid)]
    [InlineData(7, new uint[] { 12, 0, 0, 0 }, Invalid)]
    [InlineData(8, new uint[] { 20, 33, 0, 0 }, Invalid)]
    [InlineData(8, new uint[] { 20, 33, 5, 0, 0 }, Invalid)] // no such index
    [InlineData(8, new uint[] { 20, 33, 3, 0, 0 }, Invalid)] // index without interrupts
    [InlineData(8, new uint[] { 20, 33, 2, 0, 17 }, Invalid)]
    [InlineData(8, new uint[] { 20, 33, 2, 16, 1 }, Invalid)]
    [InlineData(8, new uint[] { 20, 33, 2, 0xffffffff, 2 }, Invalid)]
    [InlineData(8, new uint[] { 20, 35, 2, 0, 1 }, Invalid)] // two kinds of data
    [InlineData(8, new uint[] { 20, 1, 2, 0, 1 }, Invalid)] // no action
    [InlineData(8, new uint[] { 20, 0x61, 2, 0, 1 }, Invalid)] // unknown flag
    [InlineData(8, new uint[] { 20, 33, 2, 1, 0 }, Invalid)]
    [InlineData(8, new uint[] { 20, 34, 2, 0, 1 }, Invalid)] // booleans are missing
    [InlineData(8, new uint[] { 20, 9, 2, 0, 1 }, 25)] // MSI-X has no mask here
    [InlineData(8, new uint[] { 20, 12, 0, 0, 1 }, 25)]
    [InlineData(8, new uint[] { 20, 20, 2, 0, 1 }, 25)]
    [InlineData(8, new uint[] { 20, 33, 2, 0, 0 }, 0)]
    [InlineData(8, new uint[] { 20, 33, 2, 0, 16 }, 0)]
    [InlineData(9, new uint[] { 0, 0, 7 }, Invalid)]
    [InlineData(9, new uint[] { 0, 0, 7, 0 }, Invalid)]
    [InlineData(9, new uint[] { 0, 0, 7, 257 }, Invalid)]
    [InlineData(9, new uint[] { 255, 0, 7, 2 }, Invalid)]
    [InlineData(9, new uint[] { 0xffffffff, 0xffffffff, 7, 2 }, Invalid)]
    [InlineData(9, new uint[] { 0, 0, 1, 4 }, Invalid)]
    [InlineData(9, new uint[] { 0, 0, 0xffffffff, 4 }, Invalid)]
    [InlineData(9, new uint[] { 0, 0, 0, 0x10001 }, Invalid)]
    [InlineData(10, new uint[] { 0, 0, 7, 8, 0 }, Invalid)] // data is missing
    [InlineData(10, new uint[] { 0, 0, 2, 4, 0 }, Invalid)]
    [InlineData(10, new uint[] { 0, 0 }, Invalid)]
    [InlineData(15, new uint[] { 1 }, Invalid)]
    [InlineData(15, new uint[] { 1, 0, 4, 0, 7, 2, 6 }, Invalid)] // an entry is missing
    [InlineData(15, new uint[] { 0xffffffff, 0xffffffff, 4, 0, 7, 2, 6, 0 }, Invalid)]
    [InlineData(15, new uint[] { 1, 0, 4, 0, 7, 9, 6, 0 }, Invalid)]
    [InlineData(15, new uint[] { 1, 0, 4, 0, 7, 2, 6, 0 }, 0)]
    [InlineData(16, new uint[] { 8, 0x10001 }, 25)]
    [InlineData(14, new uint[0], 95)]
    [InlineData(17, new uint[0], 95)]
    [InlineData(65535, new uint[0], 95)]
    public void Message_is_answered_and_the_client_stays(int command, uint[] payload, int error)
    {
        _client.Negotiate();

        Assert.Equal(error, _client.Request(command, Words(payload)).Error);
        Assert.Equal(0u, _client.ReadValue(7, 4, 2) & 0xfff8);
    }

    [Fact]
    public void Device_is_described_as_a_pci_function_with_one_bar()
    {
        _client.Negotiate();

        Assert.Equal(Words(16, 3, 9, 5), _client.Request(4, Words(16, 0, 0, 0)).Payload);
        Assert.Equal(Words(32, 3, 0, 0, 0x4000, 0, 0, 0), _client.Request(5, Words(32, 0, 0, 0, 0, 0, 0, 0)).Payload);
        Assert.Equal(Words(32, 3, 7, 0, 256, 0, 0, 0), _client.Request(5, Words(32, 0, 7, 0, 0, 0, 0, 0)).Payload);
        Assert.Equal(Words(32, 0, 8, 0, 0, 0, 0, 0), _client.Request(5, Words(64, 0, 8, 0, 0, 0, 0, 0)).Payload);
        Assert.Equal(Words(16, 7, 0, 1), _client.Request(7, Words(16, 0, 0, 0)).Payload);
        Assert.Equal(Words(16, 9, 1, 16), _client.Request(7, Words(16, 0, 1, 0)).Payload);
        Assert.Equal(Words(16, 1, 2, 16), _client.Request(7, Words(16, 0, 2, 0)).Payload);
        Assert.Equal(Words(16, 0, 3, 0), _client.Request(7, Words(16, 0, 3, 0)).Payload);
        Assert.Equal(Words(16, 0, 4, 0), _client.Request(7, Words(16, 0, 4, 0)).Payload);
    }

    [Fact]
    public void Config_space_is_read_whole_and_written_in_part()
    {
        _client.Negotiate();

        byte[] all = _client.Read(7, 0, 256).Payload[16..];
        _client.WriteValue(7, 5, 1, 4);

        Assert.Equal([0x36, 0x1b, 0x0d, 0x00], all[..4]);
        Assert.Equal(0x400u, _client.ReadValue(7, 4, 2));
        Assert.Equal(0x0c0330u, _client.ReadValue(7, 9, 3));
    }

    [Fact]
    public void Posted_writes_are_done_in_order_and_not_answered_even_when_wrong()
    {
        _client.Negotiate();
        byte[] write = Join(Long(4), Words(7, 2), [6, 4]);
        byte[] wrong = Join(Long(4), Words(1, 2), [6, 4]);

        _client.Send(Join(Message(1, 10, write, 16), Message(2, 10, wrong, 16), Message(3, 9, Join(Long(4), Words(7, 2)))));

        Reply? reply = _client.Answer();
        Assert.Equal(3, reply!.Header.Id);
        Assert.Equal([6, 4], reply.Payload[16..]);
    }

    [Fact]
    public void Message_may_come_byte_by_byte()
    {
        _client.Negotiate();

        foreach (byte one in Message(9, 9, Join(Long(0), Words(7, 4))))
        {
            Assert.Empty(_client.Received);
            _client.Send([one]);
            _client.Turn();
        }

        Assert.Equal([0x36, 0x1b, 0x0d, 0x00], _client.Answer()!.Payload[16..]);
    }

    [Fact]
    public void Client_that_does_not_read_its_replies_loses_none()
    {
        _client.Negotiate();
        byte[] one = Message(1, 9, Join(Long(0), Words(0, 0x4000)));
        int sent = 0;

        // Until both directions are full: 16 KiB come back for every 32 bytes.
        while (sent < 2000 && _client.Socket.Send(one, out int count) == SocketOutcome.Moved && count == one.Length)
        {
            sent++;
            _client.Loop.Turn(_client.Host);
        }

        Assert.InRange(sent, 100, 2000);
        for (int i = 0; i < sent; i++) Assert.Equal(0, _client.Answer()!.Error);
    }

    [Fact]
    public void Maps_do_not_overlap_and_are_removed_exactly()
    {
        _client.Negotiate();
        SafeHandle file = _client.MemoryFile(0x4000);

        Assert.Equal(0, _client.Map(0x1000, 0x2000, file).Error);
        Assert.Equal(17, _client.Map(0x2000, 0x1000).Error);
        Assert.Equal(17, _client.Map(0, 0x1001).Error);
        Assert.Equal(0, _client.Map(0, 0x1000).Error);
        Assert.Equal(0, _client.Map(0x3000, 0x1000, file, 0x3000).Error);
        Assert.Equal(Invalid, _client.Map(0x8000, 0x1000, file, 0x4000).Error);
        Assert.Equal(Invalid, _client.Map(0x8000, 0x1000, file, 0x10).Error);
        Assert.Equal(2, _client.Unmap(0x1000, 0x1000).Error);
        Reply unmapped = _client.Unmap(0x1000, 0x2000);
        Assert.Equal(Join(Words(24, 0), Long(0x1000), Long(0x2000)), unmapped.Payload);
        Assert.Equal(0, _client.Map(0x1000, 0x1000).Error);
    }

    [Fact]
    public void Second_client_waits_its_turn()
    {
        (UnixSocket mine, UnixSocket theirs) = UnixSocket.Pair()!.Value;

        Assert.False(_client.Host.Accept(theirs));

        Assert.Equal(SocketOutcome.Closed, mine.Receive(new byte[1], new List<SafeHandle>(), out _));
        mine.Dispose();
        Assert.Equal(0, _client.Negotiate().Error);
    }
}
