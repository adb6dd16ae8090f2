using System.Collections.Generic;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Full event rings, long rings and exhausted pools: bounded work, nothing lost, nothing doubled (xHCI 1.2 §4.9.4).</summary>
public sealed class PressureTests
{
    private const uint Ioc = InterruptOnCompletion;

    // Small event ring: 16 TRBs, of which 14 take ordinary events.
    private static TransferBench Small(UsbSpeed speed = UsbSpeed.High, int ringTrbs = 256) =>
        new(speed, ringTrbs: ringTrbs, options: new XhciDriverOptions { EventSegmentTrbs = 16 });

    private static void Drain(TransferBench bench, int rounds = 200)
    {
        for (int i = 0; i < rounds; i++)
        {
            bench.Driver.ProcessEvents();
            bench.Driver.Acknowledge(0);
            bench.Machine.Step();
        }
    }

    private static ulong[] Pointers(TransferBench bench, GuestTrbType type = GuestTrbType.TransferEvent) =>
        [.. bench.Log.Where(e => e.Type == type).Select(e => e.Pointer)];

    [Fact]
    public void Event_ring_full_in_the_middle_of_a_td_loses_and_doubles_nothing()
    {
        using TransferBench bench = Small();
        GuestBuffer b = bench.Buffer(4096);
        bench.Driver.AutoAcknowledge = false;
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 60).Select(i => Normal(b.Address, 8, Ioc | (i % 20 == 19 ? 0 : Chain)))]);

        while (bench.Device.Held.Count > 0) bench.Complete();
        bench.Driver.ProcessEvents();

        Assert.InRange(Pointers(bench).Length, 10, 15);
        GuestEvent full = Assert.Single(bench.Log, e => e.Type == GuestTrbType.HostController);
        Assert.Equal(GuestCompletion.EventRingFull, full.Code);
        bench.Machine.AdvanceBy(1_000_000_000);
        bench.Driver.ProcessEvents();
        Assert.Single(bench.Log, e => e.Type == GuestTrbType.HostController);
        Drain(bench);
        Assert.Equal(at, Pointers(bench));
        Assert.All(bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent), e => Assert.Equal((GuestCompletion.Success, 0), (e.Code, e.Residual)));
    }

    [Fact]
    public void Event_ring_full_keeps_the_edtla_right()
    {
        using TransferBench bench = Small();
        GuestBuffer b = bench.Buffer(4096);
        bench.Driver.AutoAcknowledge = false;
        for (int i = 0; i < 40; i++) bench.Put(InDci, Normal(b.Address, 10 + i, Chain), EventData((ulong)i, Ioc | (i % 10 == 9 ? 0 : Chain)));

        bench.Doorbell(InDci);
        while (bench.Device.Held.Count > 0) bench.Complete();
        Drain(bench);

        Assert.Equal(Enumerable.Range(0, 40).Select(i => ((ulong)i, 10 + i)), bench.Log.Where(e => e.IsEventData).Select(e => (e.Pointer, e.Residual)));
    }

    [Fact]
    public void Command_completions_and_transfer_events_all_come_when_the_ring_was_full()
    {
        using TransferBench bench = Small();
        GuestBuffer b = bench.Buffer(4096);
        bench.Driver.AutoAcknowledge = false;
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 30).Select(_ => NoOp())]);
        ulong[] commands = [.. Enumerable.Range(0, 30).Select(_ => bench.Driver.PostCommand(Command(GuestTrbType.NoOpCommand)))];
        bench.Driver.RingDoorbell(0);
        ulong[] outAt = bench.Go(OutDci, [.. Enumerable.Range(0, 30).Select(_ => Normal(b.Address, 8, Ioc))]);
        while (bench.Device.Held.Count > 0) bench.Complete();

        Drain(bench);

        Assert.Equal(commands, Pointers(bench, GuestTrbType.CommandCompletion));
        Assert.Equal(at, bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent && e.Dci == InDci).Select(e => e.Pointer));
        Assert.Equal(outAt, bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent && e.Dci == OutDci).Select(e => e.Pointer));
    }

    [Theory]
    [InlineData(RequestStatus.Stall)]
    [InlineData(RequestStatus.Success)]
    public void Error_and_short_events_wait_for_room_and_come_once(RequestStatus status)
    {
        using TransferBench bench = Small();
        GuestBuffer b = bench.Buffer(4096);
        bench.Driver.AutoAcknowledge = false;
        bench.Go(OutDci, [.. Enumerable.Range(0, 14).Select(_ => NoOp())]);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain | Ioc), Normal(b.Address, 512, Ioc));

        bench.Complete(status, 700);
        GuestEndpointState before = bench.State(InDci);
        Drain(bench);

        Assert.Equal(GuestEndpointState.Running, before);
        GuestEvent[] events = [.. bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent && e.Dci == InDci)];
        Assert.Equal([at[0], at[1]], events.Select(e => e.Pointer));
        Assert.Equal((status == RequestStatus.Stall ? GuestCompletion.Stall : GuestCompletion.ShortPacket, 324), (events[1].Code, events[1].Residual));
        Assert.Equal(status == RequestStatus.Stall ? GuestEndpointState.Halted : GuestEndpointState.Running, bench.State(InDci));
    }

    [Fact]
    public void Stop_endpoint_waits_for_room_for_its_stopped_event()
    {
        using TransferBench bench = Small();
        GuestBuffer b = bench.Buffer(4096);
        bench.Driver.AutoAcknowledge = false;
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 20).Select(_ => Normal(b.Address, 64, Chain | Ioc))]);
        bench.Put(InDci, Normal(b.Address, 64, Ioc));
        bench.Doorbell(InDci);
        bench.Device.Held[0].ActualLength = (18 * 64) + 5;

        ulong stop = bench.Driver.PostCommand(Command(GuestTrbType.StopEndpoint, bench.Slot, InDci));
        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();
        Drain(bench);

        GuestEvent[] events = [.. bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent)];
        Assert.Equal(at.Take(19), events.Select(e => e.Pointer));
        Assert.Equal((GuestCompletion.Stopped, 59), (events[^1].Code, events[^1].Residual));
        Assert.Equal([stop], Pointers(bench, GuestTrbType.CommandCompletion));
        Assert.Equal((GuestEndpointState.Stopped, at[18]), (bench.State(InDci), bench.Dequeue(InDci)));
    }

    [Fact]
    public void Long_ring_of_no_ops_is_worked_off_in_bounded_steps()
    {
        using var bench = new TransferBench(ringTrbs: 4096, options: new XhciDriverOptions { RingSegments = 6 });
        for (int i = 0; i < 20_000; i++) bench.Put(InDci, NoOp(0));
        ulong last = bench.Put(InDci, NoOp());
        bench.Driver.RingDoorbell(bench.Slot, InDci);

        int calls = 0;
        long worst = 0;
        while (calls == 0 || bench.Machine.NextDeadline <= bench.Machine.Now)
        {
            long before = bench.Machine.Memory.Accesses;
            bench.Machine.Controller.Advance(bench.Machine.Now);
            worst = long.Max(worst, bench.Machine.Memory.Accesses - before);
            Assert.True(++calls < 100);
        }

        Assert.InRange(calls, 3, 10);
        Assert.InRange(worst, 1000, 8192 + 100);
        bench.Expect(InDci, new Seen(GuestCompletion.Success, last, 0));
    }

    [Fact]
    public void Bytes_of_one_advance_are_bounded_and_the_rest_follows()
    {
        using var bench = new TransferBench(UsbSpeed.Super, ringTrbs: 512);
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 100; i++) bench.Put(OutDci, Normal(b.Address, 65536, Ioc));
        bench.Driver.RingDoorbell(bench.Slot, OutDci);

        bench.Machine.Controller.Advance(bench.Machine.Now);
        Assert.Equal(64, bench.Device.Held.Count);
        bench.Machine.Step();

        Assert.Equal(100, bench.Device.Held.Count);
    }

    [Fact]
    public void Busy_endpoint_does_not_keep_another_one_waiting()
    {
        using var bench = new TransferBench(ringTrbs: 4096, options: new XhciDriverOptions { RingSegments = 6 });
        for (int i = 0; i < 20_000; i++) bench.Put(InDci, NoOp(0));
        bench.Put(OutDci, Normal(bench.Buffer(8).Address, 8, Ioc));
        bench.Driver.RingDoorbell(bench.Slot, InDci);
        bench.Driver.RingDoorbell(bench.Slot, OutDci);

        bench.Machine.Controller.Advance(bench.Machine.Now);

        Assert.Equal([8], bench.Held);
    }

    [Fact]
    public void Pool_of_records_that_is_used_up_makes_endpoints_wait_and_go_on()
    {
        using TransferBench bench = new(UsbSpeed.Super, ringTrbs: 4096);
        GuestBuffer b = bench.Buffer(64);
        bench.Handle.ConfigureStreams(In, 8, StreamTable.Linear, 3100);
        bench.Driver.Register(bench.Slot, InDci, null);
        IReadOnlyList<(int Stream, GuestRing Ring)> rings = bench.Handle.StreamsOf(In)!.Rings;
        // 255 streams of 3 TDs of 1,000 TRBs each: more records than the controller may hold (2^19).
        foreach ((int stream, GuestRing ring) in rings)
        {
            for (int i = 1; i <= 3000; i++) ring.Enqueue(Normal(b.Address, 1, i % 1000 != 0 ? Chain : Ioc));
            bench.Driver.RingDoorbell(bench.Slot, InDci, stream);
        }

        bench.Machine.Step();
        Assert.InRange(bench.Device.Held.Count, 524, 526);
        Assert.Contains("parked yes", bench.Tree(), System.StringComparison.Ordinal);
        while (bench.Device.Held.Count > 0)
        {
            bench.Complete();
            bench.Driver.ProcessEvents();
        }

        Assert.Equal(765, bench.Take(InDci).Count(s => s.Code == GuestCompletion.Success));
        Assert.Contains("/xhci/transfers/trb-records 0\n", bench.Tree(), System.StringComparison.Ordinal);
    }

    [Fact]
    public void Steady_state_of_bulk_and_control_allocates_nothing()
    {
        using var bench = new TransferBench(ringTrbs: 512);
        GuestBuffer b = bench.Buffer(65536);
        bench.Driver.EventLog = null;
        bench.Device.KeepCalls = false;
        bench.Device.CompletesAtOnce = true;
        void Round()
        {
            GuestRing ring = bench.Ring(InDci);
            for (int i = 0; i < 50; i++) ring.Enqueue(Normal(b.Address, 4096, Chain | Ioc));
            ring.Enqueue(EventData(1, 0));
            bench.Doorbell(InDci);
            ring.ReleaseAll();
            while (bench.Driver.TryNextEvent(out _))
            {
            }
        }

        for (int i = 0; i < 50; i++) Round();
        long before = System.GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 50; i++) Round();

        Assert.Equal(0, System.GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
