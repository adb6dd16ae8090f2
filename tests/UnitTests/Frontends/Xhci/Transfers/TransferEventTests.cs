using System.Linq;
using Xunit;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Which TRBs of a TD make which events (xHCI 1.2 §4.10.1, §4.11.5.2, §4.17).</summary>
public sealed class TransferEventTests
{
    private const uint Ioc = InterruptOnCompletion;
    private const uint Isp = InterruptOnShort;

    [Fact]
    public void No_flag_makes_no_event()
    {
        using var bench = new TransferBench();
        bench.Go(InDci, Normal(bench.Buffer(512).Address, 512));

        bench.Complete();

        bench.Expect(InDci);
    }

    [Fact]
    public void Every_trb_with_ioc_makes_one_event()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(InDci, Normal(b.Address, 100, Chain | Ioc), Normal(b.Address, 50, Chain), Normal(b.Address, 0, Chain | Ioc), Normal(b.Address, 362, Ioc | Isp));
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Success, at[2], 0), new Seen(GuestCompletion.Success, at[3], 0));
    }

    [Theory]
    [InlineData(Isp, 0u, 30, 0, 70)]
    [InlineData(Isp, Ioc, 30, 0, 70)]
    [InlineData(Isp | Ioc, Ioc, 30, 0, 70)]
    [InlineData(Ioc, 0u, 30, 0, 70)]
    [InlineData(Isp, Ioc, 100, 1, 400)]
    [InlineData(0u, Isp, 100, 1, 400)]
    [InlineData(0u, Isp | Ioc, 499, 1, 1)]
    [InlineData(Isp | Ioc, Isp | Ioc, 0, 0, 100)]
    public void Short_packet_is_reported_at_its_trb_with_the_residual(uint first, uint last, int actual, int shortAt, int residual)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(InDci, Normal(b.Address, 100, Chain | first), Normal(b.Address, 400, last));
        bench.Complete(RequestStatus.Success, actual);

        Seen[] seen = bench.Take(InDci);
        Assert.Contains(new Seen(GuestCompletion.ShortPacket, at[shortAt], residual), seen);
        // The first TRB moved whole tells Success if asked; the last one after a short packet tells it with its own residual.
        int before = shortAt == 1 && (first & Ioc) != 0 ? 1 : 0;
        int after = shortAt == 0 && (last & Ioc) != 0 ? 1 : 0;
        Assert.Equal(1 + before + after, seen.Length);
        if (after == 1) Assert.Equal(new Seen(GuestCompletion.ShortPacket, at[1], 400), seen[1]);
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
    }

    [Fact]
    public void Short_packet_without_isp_or_ioc_is_silent()
    {
        using var bench = new TransferBench();
        bench.Go(InDci, Normal(bench.Buffer(512).Address, 512));

        bench.Complete(RequestStatus.Success, 3);

        bench.Expect(InDci);
    }

    [Fact]
    public void Short_packet_ends_the_td_and_skips_its_rest()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain | Isp), Normal(b.Address, 512, Chain | Isp), Normal(b.Address, 512, Isp), Normal(b.Address, 512, Ioc));
        Assert.Equal([1536, 512], bench.Held);
        bench.Complete(RequestStatus.Success, 700);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, at[1], 324), new Seen(GuestCompletion.Success, at[3], 0));
    }

    [Theory]
    [InlineData(Ioc | Isp)]
    [InlineData(Isp)]
    [InlineData(Ioc)]
    public void Short_packet_in_a_trb_split_between_two_parts_is_reported_once(uint flags)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 20; i++) bench.Put(InDci, Normal(b.Address, 60000, Chain));
        // 18 TRBs of 60,000 bytes pass 1 MiB inside the 18th; this one is split.
        using var again = new TransferBench();
        GuestBuffer c = again.Buffer(65536);
        for (int i = 0; i < 17; i++) again.Put(InDci, Normal(c.Address, 60000, Chain));
        ulong split = again.Put(InDci, Normal(c.Address, 60000, flags));
        ulong next = again.Put(InDci, Normal(c.Address, 1, Ioc));

        again.Doorbell(InDci);
        Assert.Equal([1 << 20], again.Held);
        again.Complete(RequestStatus.Success, (17 * 60000) + 100);
        again.Complete();

        again.Expect(InDci, new Seen(GuestCompletion.ShortPacket, split, 59900), new Seen(GuestCompletion.Success, next, 0));
    }

    [Fact]
    public void Short_packet_before_a_split_trb_tells_its_ioc_once()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        ulong first = bench.Put(InDci, Normal(b.Address, 60000, Chain | Isp));
        for (int i = 0; i < 16; i++) bench.Put(InDci, Normal(b.Address, 60000, Chain));
        ulong split = bench.Put(InDci, Normal(b.Address, 60000, Ioc));

        bench.Doorbell(InDci);
        bench.Complete(RequestStatus.Success, 10);

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, first, 59990), new Seen(GuestCompletion.ShortPacket, split, 60000));
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Split_trb_that_moves_whole_tells_its_ioc_once_at_its_end()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 17; i++) bench.Put(InDci, Normal(b.Address, 60000, Chain));
        ulong split = bench.Put(InDci, Normal(b.Address, 60000, Ioc | Isp));

        bench.Doorbell(InDci);
        bench.Complete();
        bench.Expect(InDci);
        Assert.Equal([(18 * 60000) - (1 << 20)], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, split, 0));
    }

    [Fact]
    public void Bei_posts_the_event_without_an_interrupt()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Driver.ProcessEvents();
        bench.Machine.TakeMessages();

        ulong[] quiet = bench.Go(InDci, Normal(b.Address, 1, Ioc | BlockEventInterrupt));
        bench.Complete();
        ulong messages = bench.Machine.TakeMessages();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, quiet[0], 0));
        ulong[] loud = bench.Go(InDci, Normal(b.Address, 1, Ioc));
        bench.Complete();

        Assert.Equal(0ul, messages);
        Assert.NotEqual(0ul, bench.Machine.TakeMessages());
        bench.Expect(InDci, new Seen(GuestCompletion.Success, loud[0], 0));
    }

    [Fact]
    public void Event_data_tells_its_parameter_and_the_bytes_since_the_last_one()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        bench.Go(
            InDci, Normal(b.Address, 100, Chain), Normal(b.Address, 20, Chain), EventData(0x1111_2222_3333_4444, Chain | Ioc),
            Normal(b.Address, 7, Chain), EventData(5, Chain), Normal(b.Address, 9, Chain), EventData(6));
        bench.Complete();

        // The one without IOC is silent but restarts the accumulator (§4.11.5.2).
        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0x1111_2222_3333_4444, 120, true), new Seen(GuestCompletion.Success, 6, 9, true));
    }

    [Fact]
    public void Event_data_after_a_short_packet_is_reported_with_the_bytes_that_came()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain), Normal(b.Address, 512, Chain | Isp), Normal(b.Address, 512, Chain), EventData(99), Normal(b.Address, 4, Chain), EventData(98));
        bench.Complete(RequestStatus.Success, 600);
        bench.Complete();

        bench.Expect(
            InDci, new Seen(GuestCompletion.ShortPacket, at[1], 424), new Seen(GuestCompletion.ShortPacket, 99, 600, true),
            new Seen(GuestCompletion.Success, 98, 4, true));
    }

    [Fact]
    public void Edtla_counts_across_the_parts_of_a_td_and_a_short_packet_in_a_later_part()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 20; i++) bench.Put(InDci, Normal(b.Address, 65536, Chain));
        bench.Put(InDci, EventData(1));

        bench.Doorbell(InDci);
        bench.Complete();
        bench.Complete(RequestStatus.Success, 1000);

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, 1, (1 << 20) + 1000, true));
    }

    [Fact]
    public void Event_data_of_a_td_that_ended_short_before_its_last_part_is_reported()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 20; i++) bench.Put(InDci, Normal(b.Address, 65536, Chain));
        bench.Put(InDci, EventData(1), Normal(b.Address, 3, Chain), EventData(2));

        bench.Doorbell(InDci);
        bench.Complete(RequestStatus.Success, 1000);
        Assert.Equal([3], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, 1, 1000, true), new Seen(GuestCompletion.Success, 2, 3, true));
    }

    [Fact]
    public void Long_rest_of_a_short_td_is_skipped_in_steps()
    {
        using var bench = new TransferBench(ringTrbs: 4096);
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 3000; i++) bench.Put(InDci, Normal(b.Address, 512, Chain));
        bench.Put(InDci, EventData(1), Normal(b.Address, 3, Ioc));

        bench.Doorbell(InDci);
        bench.Complete(RequestStatus.Success, 100);

        Assert.Equal([3], bench.Held);
        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, 1, 100, true));
    }

    [Theory]
    [InlineData(Ioc, 1)]
    [InlineData(0u, 0)]
    public void No_op_is_reported_when_asked_and_sends_nothing(uint flags, int events)
    {
        using var bench = new TransferBench();

        ulong[] at = bench.Go(InDci, NoOp(flags), NoOp(flags | Chain), NoOp(0));

        Assert.Empty(bench.Device.Held);
        bench.Expect(InDci, [.. at.Take(2 * events).Select(a => new Seen(GuestCompletion.Success, a, 0))]);
    }

    [Fact]
    public void No_op_behind_a_transfer_waits_for_its_turn()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 8, Ioc), NoOp(), Normal(b.Address, 9, Ioc));
        bench.Expect(InDci);

        bench.Complete();
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.Success, at[2], 0));
    }

    [Fact]
    public void Ent_lets_the_event_data_behind_it_be_reported_at_once()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);

        bench.Go(OutDci, Normal(b.Address, 8, Chain | EvaluateNext), EventData(0x42));
        bench.Complete();

        bench.Expect(OutDci, new Seen(GuestCompletion.Success, 0x42, 8, true));
        Assert.Empty(bench.Device.Held);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 3)]
    [InlineData(4, 0)]
    [InlineData(1023, 0)]
    public void Interrupter_target_of_each_trb_is_used_and_one_out_of_range_is_the_primary(int target, int expected)
    {
        using var bench = new TransferBench(options: new XhciDriverOptions { Interrupters = 4 }, controller: new XenUsbDm.Frontends.Xhci.XhciOptions(Interrupters: 4));
        GuestBuffer b = bench.Buffer(512);
        bench.Log.Clear();

        ulong[] at = bench.Go(InDci, Normal(b.Address, 8, Chain | Ioc, interrupter: 2), Normal(b.Address, 8, Chain | Ioc, interrupter: target), EventData(1, interrupter: target));
        bench.Complete();

        Seen[] seen = bench.Take(InDci);
        Assert.Equal(3, seen.Length);
        Assert.Contains(new Seen(GuestCompletion.Success, at[1], 0), seen);
        Assert.Equal(2, bench.Log.Single(e => e.Pointer == at[0]).Interrupter);
        Assert.Equal(expected, bench.Log.Single(e => e.Pointer == at[1]).Interrupter);
        Assert.Equal(expected, bench.Log.Single(e => e.IsEventData).Interrupter);
    }

    [Fact]
    public void Error_event_goes_to_the_interrupter_of_its_trb()
    {
        using var bench = new TransferBench(options: new XhciDriverOptions { Interrupters = 4 }, controller: new XenUsbDm.Frontends.Xhci.XhciOptions(Interrupters: 4));
        bench.Log.Clear();
        bench.Go(InDci, Normal(bench.Buffer(512).Address, 8, Ioc, interrupter: 3));

        bench.Complete(RequestStatus.Stall, 0);
        bench.Take(InDci);

        Assert.Equal((3, GuestCompletion.Stall), (bench.Log[0].Interrupter, bench.Log[0].Code));
    }

    [Fact]
    public void Events_of_an_endpoint_come_in_ring_order_whatever_the_device_does()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(1, 8).Select(i => Normal(b.Address, i, Ioc))]);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], bench.Held);

        foreach (int pick in new[] { 7, 3, 5, 0, 2 }) bench.Device.Complete(bench.Device.Held.Single(r => r.Length == pick + 1));
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
        while (bench.Device.Held.Count > 0) bench.Complete();

        bench.Expect(InDci, [.. at.Skip(1).Select(a => new Seen(GuestCompletion.Success, a, 0))]);
    }

    [Fact]
    public void Events_name_slot_and_endpoint_of_both_directions()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Normal(b.Address, 1, Ioc));
        bench.Complete();
        Assert.Single(bench.Take(InDci));
        bench.Go(OutDci, Normal(b.Address, 1, Ioc));
        bench.Complete();

        Assert.Single(bench.Take(OutDci));
    }
}
