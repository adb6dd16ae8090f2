using System;
using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using Xunit;

namespace XenUsbDm.UnitTests.Pipeline.Requests;

public sealed class RequestDataTests
{
    private static readonly InProcessMemory Memory = new(65536);

    [Fact]
    public void Add_adjacent_segments_become_one_and_empty_ones_none()
    {
        var data = new RequestData();
        data.Add(new GuestAddress(100), 10);
        data.Add(new GuestAddress(110), 5);
        data.Add(new GuestAddress(500), 0);
        data.Add(new GuestAddress(114), 1);

        Assert.Equal([new GuestSegment(new GuestAddress(100), 15), new GuestSegment(new GuestAddress(114), 1)], data.Segments.ToArray());
        Assert.Equal(16, data.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => data.Add(default, -1));
    }

    [Fact]
    public void Add_adjacent_across_the_end_of_the_address_space_wraps()
    {
        var data = new RequestData();
        data.Add(new GuestAddress(ulong.MaxValue), 1);
        data.Add(new GuestAddress(0), 7);

        Assert.Equal(new GuestSegment(new GuestAddress(ulong.MaxValue), 8), Assert.Single(data.Segments.ToArray()));
        Assert.True(data.Map(Memory, 0, 8, GuestAccess.Read).IsEmpty);
    }

    [Fact]
    public void Copy_in_any_order_finds_the_right_bytes()
    {
        var data = new RequestData();
        for (int i = 0; i < 10; i++) data.Add(new GuestAddress((ulong)(0x2000 - (i * 0x100))), 7);
        byte[] source = Enumerable.Range(0, 70).Select(i => (byte)i).ToArray();

        for (int offset = 65; offset >= 0; offset -= 5)
            Assert.True(data.TryCopyToGuest(Memory, offset, source.AsSpan(offset, 5)));
        byte[] back = new byte[70];
        Assert.True(data.TryCopyFromGuest(Memory, 0, back));

        Assert.Equal(source, back);
        Assert.Equal(7, Memory.Guest(new GuestAddress(0x1f00), 1)[0]);
        Assert.Equal(16, data.Capacity);
    }

    [Fact]
    public void Copy_beyond_the_end_or_without_memory_is_false()
    {
        var data = new RequestData();
        data.Add(new GuestAddress(0), 8);
        data.Add(new GuestAddress(1 << 20), 8);

        Assert.False(data.TryCopyToGuest(Memory, 4, new byte[8]));
        Assert.False(data.TryCopyFromGuest(Memory, 4, new byte[8]));
        Assert.False(data.TryCopyFromGuest(Memory, 16, new byte[1]));
        Assert.False(data.TryCopyToGuest(Memory, -1, new byte[1]));
        Assert.True(data.TryCopyToGuest(Memory, 99, []));
        Assert.True(data.Map(Memory, 0, 0, GuestAccess.Read).IsEmpty);
        Assert.Throws<ArgumentNullException>(() => data.Map(null!, 0, 1, GuestAccess.Read).Length);
    }

    [Fact]
    public void SetImmediate_takes_the_place_of_segments_and_can_be_answered_into()
    {
        var data = new RequestData();
        data.Add(new GuestAddress(0), 100);

        data.SetImmediate([1, 2, 3]);

        Assert.True(data.IsImmediate);
        Assert.Equal(3, data.Length);
        Assert.True(data.Segments.IsEmpty);
        byte[] back = new byte[3];
        Assert.True(data.TryCopyFromGuest(Memory, 0, back));
        Assert.Equal([1, 2, 3], back);
        Assert.True(data.TryCopyToGuest(Memory, 1, [9]));
        Assert.Equal([1, 9, 3], data.Immediate.ToArray());
        Assert.False(data.TryCopyFromGuest(Memory, 0, new byte[4]));
    }

    [Fact]
    public void Clear_keeps_storage_and_Trim_gives_it_back()
    {
        var data = new RequestData();
        for (int i = 0; i < 5; i++) data.Add(new GuestAddress((ulong)i * 100), 1);

        data.Clear();
        Assert.Equal(8, data.Capacity);
        Assert.Equal(0, data.Length);
        Assert.True(data.Immediate.IsEmpty);
        data.Trim();

        Assert.Equal(4, data.Capacity);
        data.Trim();
        Assert.Equal(4, data.Capacity);
    }

    [Fact]
    public void Request_cleared_is_as_new()
    {
        var request = new UsbRequest
        {
            Port = new PortNumber(1),
            Address = new DeviceAddress(2),
            Endpoint = new EndpointAddress(1, true),
            Kind = TransferKind.Bulk,
            Setup = new SetupPacket(1),
            StreamId = 3,
            ShortNotOk = true,
            StartMicroframe = 4,
            IntervalMicroframes = 5,
            PacketCount = 6,
            ActualLength = 7,
        };
        request.Data.Add(default, 8);
        Assert.Equal("port 1 address 2 ep1in Bulk 8 bytes", request.ToString());
        Assert.True(request.IsIn);

        request.Clear();

        Assert.Equal("port 0 address 0 ep0 Control 0 bytes", request.ToString());
        Assert.Equal((default, (ushort)0, false, 0ul, 0u, 0, 0, RequestStatus.Success),
            (request.Setup, request.StreamId, request.ShortNotOk, request.StartMicroframe, request.IntervalMicroframes, request.PacketCount, request.ActualLength, request.Status));
        Assert.False(request.IsIn);
    }
}
