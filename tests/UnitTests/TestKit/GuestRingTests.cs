using System;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.TestKit;

public sealed class GuestRingTests
{
    private readonly MemoryPlatform _platform = new();
    private readonly GuestAllocator _allocator;

    public GuestRingTests() => _allocator = new GuestAllocator(_platform);

    [Fact]
    public void Ring_wraps_with_a_toggling_link_that_carries_the_chain_bit()
    {
        GuestRing ring = NewRing(4);
        ring.Enqueue(GuestTrb.Normal(1, 1));
        ring.Enqueue(GuestTrb.Normal(2, 2));
        ring.ReleaseAll();
        ulong third = ring.Enqueue(GuestTrb.Normal(3, 3, GuestTrb.Chain));
        ring.ReleaseAll();

        ulong fourth = ring.Enqueue(GuestTrb.Normal(4, 4));

        GuestTrb link = ring.Read(third + 16);
        Assert.Equal(GuestTrbType.Link, link.Type);
        Assert.Equal(ring.Base, link.Parameter);
        Assert.Equal(GuestTrb.Cycle | GuestTrb.ToggleCycle | GuestTrb.Chain, link.Control & 0x3ff);
        Assert.Equal(ring.Base, fourth);
        Assert.False(ring.Read(fourth).IsCycle);
        Assert.Equal(0u, ring.EnqueueCycle);
    }

    [Fact]
    public void Inner_segments_link_without_toggle()
    {
        GuestRing ring = NewRing(2, 3);
        ulong first = ring.Enqueue(GuestTrb.NoOp());

        ulong second = ring.Enqueue(GuestTrb.NoOp());

        GuestTrb link = ring.Read(first + 16);
        Assert.Equal(ring.Segments[1].Address, link.Parameter);
        Assert.Equal(GuestTrb.Cycle, link.Control & 0x3ff);
        Assert.Equal(ring.Segments[1].Address, second);
        Assert.Equal(second, ring.Next(first));
    }

    [Fact]
    public void Open_td_shows_its_first_trb_last()
    {
        GuestRing ring = NewRing(8);
        ring.BeginTd();
        ulong first = ring.Enqueue(GuestTrb.Normal(1, 1, GuestTrb.Chain));
        ulong second = ring.Enqueue(GuestTrb.Normal(2, 2));
        bool firstBefore = ring.Read(first).IsCycle;
        bool secondBefore = ring.Read(second).IsCycle;

        ring.EndTd();

        Assert.False(firstBefore);
        Assert.True(secondBefore);
        Assert.True(ring.Read(first).IsCycle);
    }

    [Fact]
    public void Full_ring_refuses_and_release_makes_room()
    {
        GuestRing ring = NewRing(3, 3);
        ulong[] places = [ring.Enqueue(GuestTrb.NoOp()), ring.Enqueue(GuestTrb.NoOp()), ring.Enqueue(GuestTrb.NoOp())];
        Assert.Equal(0, ring.Free);
        Assert.Throws<GuestDriverException>(() => ring.Enqueue(GuestTrb.NoOp()));

        ring.ReleaseThrough(places[1]);

        Assert.Equal(2, ring.Free);
        Assert.Equal(1, ring.Used);
        ring.Enqueue(GuestTrb.NoOp());
        Assert.Equal(2, ring.Used);
    }

    [Fact]
    public void Enqueue_pointer_passes_a_due_link_with_the_cycle_after_it()
    {
        GuestRing ring = NewRing(3);
        ring.Enqueue(GuestTrb.NoOp());
        ring.ReleaseAll();
        ring.Enqueue(GuestTrb.NoOp());

        Assert.Equal(ring.Base, ring.EnqueuePointer);
        Assert.Equal(0u, ring.EnqueueCycle);
    }

    [Fact]
    public void Distance_counts_across_the_wrap()
    {
        GuestRing ring = NewRing(5);
        for (int i = 0; i < 3; i++) ring.Enqueue(GuestTrb.NoOp());
        ring.ReleaseAll();
        ulong from = ring.Enqueue(GuestTrb.NoOp());
        ulong to = ring.Enqueue(GuestTrb.NoOp());

        Assert.Equal(2, ring.Distance(from, to));
        Assert.Throws<GuestDriverException>(() => ring.Ordinal(to + 4096));
    }

    [Fact]
    public void Event_ring_takes_events_in_order_over_segments_and_laps()
    {
        var ring = new GuestEventRing(_platform, _allocator, 0, 2, 16, high: true);
        int taken = 0;
        for (int i = 0; i < 70; i++)
        {
            int place = i % 32;
            uint cycle = i / 32 % 2 == 0 ? 1u : 0;
            GuestBuffer segment = ring.Segments[place / 16];
            new GuestTrb((ulong)i, 0, cycle).Write(_platform.Memory(segment.Address + (ulong)(place % 16 * 16), 16));

            Assert.True(ring.TryTake(out GuestEvent next));
            Assert.Equal((ulong)taken++, next.Pointer);
            Assert.False(ring.TryTake(out _));
        }

        Assert.Equal(ring.Segments[0].Address + (6 * 16), ring.DequeuePointer);
        Assert.Equal(70, ring.Unacknowledged);
    }

    private GuestRing NewRing(params ReadOnlySpan<int> segments) => new(_platform, _allocator, segments);
}
