using System;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.TestKit;

public sealed class GuestStructureTests
{
    private readonly MemoryPlatform _platform = new();
    private readonly GuestAllocator _allocator;

    public GuestStructureTests() => _allocator = new GuestAllocator(_platform);

    [Fact]
    public void Allocator_keeps_the_boundaries_of_table_6_1()
    {
        for (int i = 1; i < 40; i++)
        {
            GuestBuffer small = _allocator.Allocate(i * 96);
            GuestBuffer large = _allocator.Allocate(4096 + (i * 512), high: true);

            Assert.Equal(0UL, small.Address % 64);
            Assert.Equal(small.Address / 4096, (small.End - 1) / 4096);
            Assert.Equal(large.Address / 65536, (large.End - 1) / 65536);
            Assert.True(large.Address >= 1UL << 32);
        }
    }

    [Fact]
    public void Allocator_reuses_freed_memory_zeroed()
    {
        GuestBuffer first = _allocator.Allocate(256);
        _platform.Memory(first.Address, 256).Fill(0xff);
        _allocator.Free(first);

        GuestBuffer second = _allocator.Allocate(256);

        Assert.Equal(first.Address, second.Address);
        Assert.Equal(-1, _platform.Memory(second.Address, 256).IndexOfAnyExcept((byte)0));
    }

    [Fact]
    public void Allocator_without_room_says_so() =>
        Assert.Throws<GuestDriverException>(() => _allocator.Allocate(2 << 20));

    [Fact]
    public void Context_fields_do_not_disturb_each_other()
    {
        var context = new GuestContext(_platform, _allocator.Allocate(32).Address) { Entries = 31, RootPort = 255, Speed = 4 };

        var endpoint = new GuestContext(_platform, _allocator.Allocate(32).Address) { Interval = 255, AverageTrbLength = 0xffff };

        context.Speed = 3;
        endpoint.MaxEsitPayload = 0x123456;

        Assert.Equal((31u, 255u, 3u), (context.Entries, context.RootPort, context.Speed));
        Assert.Equal((255u, 0xffffu, 0x123456u), (endpoint.Interval, endpoint.AverageTrbLength, endpoint.MaxEsitPayload));
    }

    [Theory]
    [InlineData(UsbSpeed.High, TransferKind.Interrupt, 4, 3)]
    [InlineData(UsbSpeed.Super, TransferKind.Isochronous, 16, 15)]
    [InlineData(UsbSpeed.Full, TransferKind.Isochronous, 1, 3)]
    [InlineData(UsbSpeed.Full, TransferKind.Interrupt, 10, 6)]
    [InlineData(UsbSpeed.Low, TransferKind.Interrupt, 255, 10)]
    [InlineData(UsbSpeed.Low, TransferKind.Interrupt, 0, 3)]
    [InlineData(UsbSpeed.High, TransferKind.Bulk, 9, 0)]
    public void Interval_follows_table_6_12(UsbSpeed speed, TransferKind kind, byte interval, int expected) =>
        Assert.Equal(expected, XhciDriver.ContextInterval(speed, kind, interval));

    [Fact]
    public void Configuration_is_parsed_with_companions_and_settings()
    {
        byte[] bytes =
        [
            9, 2, 44, 0, 1, 7, 0, 0x80, 50,
            9, 4, 0, 0, 1, 8, 6, 80, 0,
            7, 5, 0x81, 2, 0, 4, 0,
            6, 48, 15, 4, 0, 0,
            9, 4, 0, 1, 0, 8, 6, 98, 0,
            0, 0, 0, 0,
        ];

        GuestConfiguration parsed = GuestConfiguration.Parse(bytes);

        Assert.Equal(7, parsed.Value);
        Assert.Equal(2, parsed.Interfaces.Count);
        GuestEndpoint endpoint = Assert.Single(parsed.Interfaces[0].Endpoints);
        Assert.Equal((3, 1024, 15, 4), (endpoint.Dci, endpoint.MaxPacketSize, endpoint.MaxBurst, endpoint.MaxStreamsLog));
        Assert.Equal(98, parsed.Find(8, 6, alternate: 1)!.Protocol);
        Assert.Null(parsed.Find(3));
    }

    [Fact]
    public void Secondary_stream_table_numbers_streams_by_both_indices()
    {
        var driver = new XhciDriver(_platform);

        var table = new StreamTable(driver, primaryLog: 2, secondary: 0);

        Assert.Equal(3 * 7, table.Rings.Count);
        Assert.Contains(table.Rings, r => r.Stream == (3 | (7 << 2)));
        Assert.Equal(2u, (System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(_platform.Memory(table.Primary.Address + 16, 4)) >> 1) & 7);
    }

    [Fact]
    public void Linear_stream_table_has_a_ring_for_every_stream()
    {
        var table = new StreamTable(new XhciDriver(_platform), primaryLog: 3);

        Assert.Equal(new List<int> { 1, 2, 3, 4, 5, 6, 7 }, Streams(table));
        Assert.True(table.IsLinear);
    }

    [Fact]
    public void Wait_that_fails_carries_the_machines_view()
    {
        var driver = new XhciDriver(_platform);

        GuestTimeoutException thrown = Assert.Throws<GuestTimeoutException>(() => driver.Expect(() => false, "nothing", 1000));

        Assert.Contains("memory only", thrown.Message, StringComparison.Ordinal);
        Assert.Equal(1000UL, _platform.Now);
    }

    private static List<int> Streams(StreamTable table)
    {
        var ids = new List<int>();
        foreach ((int stream, _) in table.Rings) ids.Add(stream);
        return ids;
    }
}
