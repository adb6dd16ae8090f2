using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Hosts.Xen;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

public sealed class XenMemoryTests
{
    private const int Bucket = XenLimits.BucketBytes;
    private readonly FakeXen _xen = new();
    private readonly XenMemory _memory;

    public XenMemoryTests() => _memory = new XenMemory(_xen.Open(), limit: 2, most: 3);

    [Theory]
    [InlineData(0, 16, 16)]
    [InlineData(4090, 100, 100)]
    [InlineData(Bucket - 8, 100, 8)]
    [InlineData(FakeXen.RamBytes - 4, 100, 4)]
    [InlineData(FakeXen.RamBytes, 100, 0)]
    [InlineData(0, 0, 0)]
    [InlineData(0, -1, 0)]
    [InlineData(0, int.MaxValue, Bucket)]
    public void Run_ends_where_the_bucket_or_the_memory_does(int address, int length, int expected) =>
        Assert.Equal(expected, _memory.Map(new GuestAddress((ulong)address), length, GuestAccess.Read).Length);

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(ulong.MaxValue - 4095)]
    [InlineData(1UL << 52)]
    public void Addresses_that_no_guest_has_are_no_memory(ulong address) =>
        Assert.True(_memory.Map(new GuestAddress(address), 8, GuestAccess.Write).IsEmpty);

    [Theory]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(130)]
    [InlineData(255)]
    public void Page_that_is_missing_splits_the_bucket(int missing)
    {
        _xen.Missing.Add((ulong)missing);

        Assert.Equal(missing * 4096, _memory.Map(new GuestAddress(0), Bucket, GuestAccess.Read).Length);
        Assert.Equal(10, _memory.Map(new GuestAddress((ulong)(missing * 4096) - 10), 100, GuestAccess.Read).Length);
        Assert.True(_memory.Map(new GuestAddress((ulong)(missing * 4096)), 4096, GuestAccess.Read).IsEmpty);
        int after = (missing + 1) * 4096;
        int expected = after == Bucket ? Bucket : Bucket - after;
        Assert.Equal(expected, _memory.Map(new GuestAddress((ulong)after), Bucket, GuestAccess.Read).Length);
    }

    [Fact]
    public void Page_that_comes_back_is_seen_in_the_next_entry()
    {
        _xen.Missing.Add(3);
        Assert.True(_memory.Map(new GuestAddress(0x3000), 8, GuestAccess.Read).IsEmpty);
        _xen.Missing.Clear();
        Assert.True(_memory.Map(new GuestAddress(0x3000), 8, GuestAccess.Read).IsEmpty);
        Assert.Equal(1, _memory.Maps);

        _memory.Settle();

        Assert.Equal(8, _memory.Map(new GuestAddress(0x3000), 8, GuestAccess.Read).Length);
        _memory.Settle();
        Assert.Equal(1, _xen.MappedPages);
    }

    [Fact]
    public void Bucket_is_mapped_once()
    {
        for (int i = 0; i < 10; i++)
        {
            _memory.Map(new GuestAddress(0), 8, GuestAccess.Read)[0] = (byte)i;
            _memory.Map(new GuestAddress(Bucket), 8, GuestAccess.Read);
            _memory.Settle();
        }

        Assert.Equal(2, _memory.Maps);
        Assert.Equal(9, _xen.Ram[0]);
    }

    [Fact]
    public void Nothing_is_unmapped_while_the_model_runs()
    {
        for (int i = 0; i < 3; i++) Assert.Equal(8, MapBucket(i));
        Assert.Equal(3, _xen.MappedPages);

        // All of them are in use, and there may be no more.
        Assert.Equal(0, MapBucket(3));
        Assert.Equal(8, MapBucket(0));
        Assert.Equal(3, _xen.MappedPages);
        _memory.Settle();

        Assert.Equal(2, _memory.Count);
        Assert.Equal(2, _xen.MappedPages);
    }

    [Fact]
    public void Bucket_used_longest_ago_goes()
    {
        MapBucket(0);
        _memory.Settle();
        MapBucket(1);
        _memory.Settle();
        MapBucket(0);
        _memory.Settle();
        MapBucket(2);
        Assert.Equal(3, _xen.MappedPages);
        _memory.Settle();
        Assert.Equal(2, _xen.MappedPages);
        long maps = _memory.Maps;

        MapBucket(0);
        MapBucket(2);
        Assert.Equal(maps, _memory.Maps);
        MapBucket(1);
        Assert.Equal(maps + 1, _memory.Maps);
    }

    [Fact]
    public void Failed_call_is_no_memory_and_is_tried_again()
    {
        _xen.Errors["map_guest"] = XenError.NoMemory;
        Assert.Equal(0, MapBucket(0));
        Assert.False(_memory.DomainGone);
        _xen.Errors["map_guest"] = XenError.NoDomain;
        _memory.Settle();
        Assert.Equal(0, MapBucket(0));
        Assert.True(_memory.DomainGone);

        _xen.Errors.Clear();
        _memory.Settle();

        Assert.Equal(8, MapBucket(0));
    }

    [Fact]
    public void Clear_unmaps_everything()
    {
        MapBucket(0);
        MapBucket(1);

        _memory.Clear();

        Assert.Equal(0, _xen.MappedPages);
        Assert.Equal(8, MapBucket(0));
    }

    [Fact]
    public void Written_pages_are_told_after_they_were_written_and_only_when_asked()
    {
        _memory.Map(new GuestAddress(0), 8, GuestAccess.Write);
        _memory.Settle();
        Assert.Empty(_xen.Modified);
        _memory.TracksDirtyPages = true;

        _memory.Map(new GuestAddress(0x1ff8), 16, GuestAccess.Write);
        _memory.Map(new GuestAddress(0x3000), 16, GuestAccess.Write);
        _memory.Map(new GuestAddress(0x9000), 16, GuestAccess.Read);
        _memory.Map(new GuestAddress(0x8000), 16, GuestAccess.Write);
        Assert.Empty(_xen.Modified);
        _memory.Settle();

        Assert.Equal([new PageExtent(1, 3), new PageExtent(8, 1)], _xen.Modified);
        _memory.Settle();
        Assert.Equal(2, _xen.Modified.Count);
    }

    [Fact]
    public void Many_written_pages_are_all_told_the_newest_again()
    {
        _memory.TracksDirtyPages = true;

        for (ulong page = 0; page < 200; page += 2) _memory.Map(new GuestAddress(page * 4096), 8, GuestAccess.Write);
        HashSet<ulong> early = [.. _xen.Modified.Select(extent => extent.FirstFrame)];
        _xen.Modified.Clear();
        _memory.Settle();
        HashSet<ulong> late = [.. _xen.Modified.Select(extent => extent.FirstFrame)];

        Assert.Equal(100, early.Union(late).Count());
        Assert.NotEmpty(early.Intersect(late));
    }

    private int MapBucket(int number) => _memory.Map(new GuestAddress((ulong)number * Bucket), 8, GuestAccess.Write).Length;
}
