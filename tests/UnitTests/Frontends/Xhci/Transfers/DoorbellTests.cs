using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Doorbells in every endpoint state, rings and links, many in flight, periodic pacing (xHCI 1.2 §4.7, §4.8.3, §4.9.2).</summary>
public sealed class DoorbellTests
{
    private const uint Ioc = InterruptOnCompletion;

    [Fact]
    public void Doorbell_of_a_running_endpoint_fetches_what_is_new()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Normal(b.Address, 1));
        bench.Doorbell(InDci);
        bench.Doorbell(InDci);
        Assert.Equal([1], bench.Held);

        bench.Go(InDci, Normal(b.Address, 2));

        Assert.Equal([1, 2], bench.Held);
    }

    [Fact]
    public void Trb_added_without_a_doorbell_is_found_by_the_next_completion()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Normal(b.Address, 1));
        bench.Put(InDci, Normal(b.Address, 2));
        bench.Machine.Step();
        Assert.Equal([1], bench.Held);

        bench.Complete();

        Assert.Equal([2], bench.Held);
    }

    [Fact]
    public void Doorbell_of_a_stopped_endpoint_starts_it()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));
        bench.Put(InDci, Normal(b.Address, 1, Ioc));
        bench.Machine.Step();
        Assert.Equal((GuestEndpointState.Stopped, 0), (bench.State(InDci), bench.Device.Held.Count));

        bench.Doorbell(InDci);

        Assert.Equal((GuestEndpointState.Running, 1), (bench.State(InDci), bench.Device.Held.Count));
    }

    [Fact]
    public void Doorbell_of_a_halted_endpoint_does_nothing()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Normal(b.Address, 1), Normal(b.Address, 2));
        bench.Complete(RequestStatus.Stall, 0);
        bench.Take(InDci);

        bench.Go(InDci, Normal(b.Address, 3));
        bench.Machine.AdvanceBy(10_000_000);

        Assert.Equal(GuestEndpointState.Halted, bench.State(InDci));
        Assert.Empty(bench.Device.Held);
        bench.Expect(InDci);
    }

    [Fact]
    public void Doorbell_of_an_endpoint_in_error_does_nothing()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Normal(b.Address, 70000));
        Assert.Single(bench.Take(InDci));

        bench.Go(InDci, Normal(b.Address, 3));

        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
        Assert.Empty(bench.Device.Held);
        bench.Expect(InDci);
    }

    [Theory]
    [InlineData(0, 5)]
    [InlineData(0, 31)]
    [InlineData(0, 0)]
    [InlineData(0, 32)]
    [InlineData(0, 255)]
    [InlineData(1, 3)]
    [InlineData(60, 1)]
    [InlineData(200, 3)]
    public void Doorbell_of_what_is_not_there_is_ignored(int slotOffset, int target)
    {
        using var bench = new TransferBench();
        bench.Put(InDci, Normal(bench.Buffer(512).Address, 3, Ioc));
        string before = bench.Tree();

        bench.Driver.Write32(bench.Driver.DoorbellOffset + ((bench.Slot + slotOffset) * 4), (uint)target);
        bench.Machine.Step();

        Assert.Equal(before, bench.Tree());
        Assert.Empty(bench.Device.Held);
        bench.Doorbell(InDci);
        Assert.Equal([3], bench.Held);
    }

    [Fact]
    public void Doorbell_of_a_disabled_slot_is_ignored()
    {
        using var bench = new TransferBench();
        bench.Put(InDci, Normal(bench.Buffer(512).Address, 3, Ioc));
        Assert.True(bench.Driver.DisableSlot(bench.Slot).Ok);

        bench.Doorbell(InDci);

        Assert.Empty(bench.Device.Held);
        Assert.Null(bench.Driver.EventWithin(1_000_000));
    }

    [Fact]
    public void Doorbell_while_the_controller_is_halted_is_ignored()
    {
        using var bench = new TransferBench();
        bench.Put(InDci, Normal(bench.Buffer(512).Address, 3, Ioc));
        bench.Driver.WriteOperational(0, 4);

        bench.Doorbell(InDci);
        bench.Driver.WriteOperational(0, 5);
        bench.Machine.Step();
        Assert.Empty(bench.Device.Held);
        bench.Doorbell(InDci);

        Assert.Equal([3], bench.Held);
    }

    [Fact]
    public void Completion_while_the_controller_is_halted_is_reported_when_it_runs_again()
    {
        using var bench = new TransferBench();
        ulong[] at = bench.Go(InDci, Normal(bench.Buffer(512).Address, 3, Ioc));
        bench.Driver.WriteOperational(0, 4);
        bench.Complete();
        bench.Expect(InDci);

        bench.Driver.WriteOperational(0, 5);

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Links_join_segments_chain_across_them_and_tell_ioc()
    {
        using var bench = new TransferBench(ringTrbs: 4, options: new XhciDriverOptions { RingSegments = 3 });
        GuestBuffer b = bench.Buffer(512);
        for (int round = 0; round < 6; round++)
        {
            ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 7).Select(i => Normal(b.Address, 10, i < 6 ? Chain : Ioc))]);
            Assert.Equal([70], bench.Held);
            bench.Complete();
            bench.Expect(InDci, new Seen(GuestCompletion.Success, at[6], 0));
            bench.Ring(InDci).ReleaseAll();
        }
    }

    [Theory]
    [InlineData(Chain)]
    [InlineData(0u)]
    public void Link_with_ioc_tells_its_event_in_order_and_its_chain_bit_does_not_end_the_td(uint chain)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        ulong target = bench.Ring(InDci).EnqueuePointer + 32;

        ulong[] at = bench.Go(InDci, Normal(b.Address, 10, Chain | Ioc), Link(target, Ioc | chain), Normal(b.Address, 20, Ioc));
        Assert.Equal([30], bench.Held);
        bench.Complete();

        bench.Expect(InDci, [.. at.Select(a => new Seen(GuestCompletion.Success, a, 0))]);
    }

    [Fact]
    public void Stop_right_behind_a_link_with_ioc_starts_the_td_again_from_its_first_byte()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        ulong target = bench.Ring(OutDci).EnqueuePointer + 16;
        ulong[] at = bench.Go(OutDci, Link(target, Ioc), Normal(0x11, 1, ImmediateData | Ioc));
        Assert.Equal([1], bench.Held);

        Assert.Equal(GuestCompletion.Success, bench.Stop(OutDci));
        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Stopped, at[1], 1));
        bench.Doorbell(OutDci);
        bench.Complete();

        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[1], 0));
        Assert.NotEqual(0ul, b.Address);
    }

    [Fact]
    public void Ring_of_links_only_does_bounded_work_and_ends_as_a_trb_error()
    {
        using var bench = new TransferBench();
        ulong self = bench.Ring(InDci).EnqueuePointer;
        bench.Put(InDci, Link(self, 0));
        long before = bench.Machine.Memory.Accesses;

        bench.Doorbell(InDci);

        Assert.InRange(bench.Machine.Memory.Accesses - before, 100, 10_000);
        Assert.Equal(GuestCompletion.TrbError, Assert.Single(bench.Take(InDci)).Code);
        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
    }

    [Fact]
    public void Control_ring_of_links_only_does_bounded_work_and_ends_as_a_trb_error()
    {
        using var bench = new TransferBench();
        bench.Put(1, Link(bench.Ring(1).EnqueuePointer, 0));
        long before = bench.Machine.Memory.Accesses;

        bench.Doorbell(1);

        Assert.InRange(bench.Machine.Memory.Accesses - before, 100, 10_000);
        Assert.Equal(GuestCompletion.TrbError, Assert.Single(bench.Take(1)).Code);
    }

    [Theory]
    [InlineData(TransferKind.Bulk)]
    [InlineData(TransferKind.Interrupt)]
    public void Many_transfers_are_in_flight_up_to_the_limit_and_the_rest_follow(TransferKind kind)
    {
        using var bench = new TransferBench(kind: kind, ringTrbs: 512);
        GuestBuffer b = bench.Buffer(512);
        for (int i = 0; i < 200; i++) bench.Put(InDci, Normal(b.Address, 8, Ioc));

        bench.Doorbell(InDci);
        if (kind == TransferKind.Bulk) Assert.Equal(128, bench.Device.Held.Count);
        int done = 0;
        for (int i = 0; i < 10_000 && done < 200; i++)
        {
            while (bench.Device.Held.Count > 0)
            {
                bench.Complete();
                done++;
            }

            bench.Machine.AdvanceBy(125_000);
        }

        Assert.Equal(200, done);
        Assert.Equal(200, bench.Take(InDci).Count(s => s.Code == GuestCompletion.Success));
    }

    [Theory]
    [InlineData(UsbSpeed.Low, 10, 8)]
    [InlineData(UsbSpeed.Full, 1, 1)]
    [InlineData(UsbSpeed.High, 4, 1)]
    [InlineData(UsbSpeed.Super, 4, 1)]
    public void Interrupt_endpoint_is_served_at_its_interval_at_every_speed(UsbSpeed speed, byte interval, int milliseconds)
    {
        using var bench = new TransferBench(speed, TransferKind.Interrupt, packet: 8, interval: interval);
        GuestBuffer b = bench.Buffer(64);
        bench.Machine.AdvanceBy(50_000_000);
        for (int i = 0; i < 5; i++) bench.Put(InDci, Normal(b.Address, 8, Ioc));
        uint microframes = 0;
        int served = 0;
        bench.Device.OnSubmit = (fake, request) =>
        {
            served++;
            microframes = request.IntervalMicroframes;
            fake.Complete(request);
        };

        bench.Doorbell(InDci);
        for (int i = 1; i <= 4; i++)
        {
            int before = served;
            Assert.InRange(before, i, i + 1);
            bench.Machine.AdvanceBy((ulong)(speed == UsbSpeed.Low ? interval : milliseconds) * 1_000_000);
        }

        Assert.Equal((uint)milliseconds * 8, microframes);
        Assert.Equal(5, served);
        Assert.Equal(5, bench.Take(InDci).Length);
    }

    [Theory]
    [InlineData(UsbSpeed.Full)]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Bulk_endpoint_works_at_its_speeds(UsbSpeed speed)
    {
        using var bench = new TransferBench(speed);
        GuestBuffer b = bench.Buffer(10_000);
        foreach (int dci in new[] { InDci, OutDci })
        {
            ulong[] at = bench.Go(dci, Normal(b.Address, 10_000, Ioc));
            Assert.Equal([10_000], bench.Held);
            bench.Complete();
            bench.Expect(dci, new Seen(GuestCompletion.Success, at[0], 0));
        }
    }
}
