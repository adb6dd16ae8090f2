using System;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>A machine saved in the middle of transfers goes on in a new one, and the guest notices nothing; and CSS and CRS (xHCI 1.2 §4.23.2).</summary>
public sealed class TransferRestoreTests
{
    private const uint Ioc = InterruptOnCompletion;

    [Fact]
    public void Transfers_in_flight_go_on_with_their_progress()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain | Ioc), Normal(b.Address, 512, Ioc), Normal(b.Address, 7, Ioc), NoOp());
        bench.Go(OutDci, Normal(0x0102, 2, ImmediateData | Ioc));
        bench.Device.Held[0].ActualLength = 600;

        bench.Move();

        Assert.Equal([1024, 7, 2], bench.Held);
        Assert.Equal(600, bench.Device.Held[0].ActualLength);
        Assert.True(bench.Device.Held[2].Data.IsImmediate);
        bench.Complete();
        bench.Complete();
        bench.Expect(InDci, [.. at.Select(a => new Seen(GuestCompletion.Success, a, 0))]);
        bench.Complete();
        Assert.Single(bench.Take(OutDci));
    }

    [Fact]
    public void Later_transfer_that_was_done_first_stays_done()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Ioc), Normal(b.Address, 100, Ioc));
        bench.Device.Complete(bench.Device.Held[1], RequestStatus.Success, 60);
        bench.Machine.Step();

        bench.Move();
        Assert.Equal([512], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.ShortPacket, at[1], 40));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Parts_of_a_long_td_go_on(int parts)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        for (int i = 0; i < 40; i++) bench.Put(InDci, Normal(b.Address, 60000, Chain));
        bench.Put(InDci, EventData(5));
        bench.Doorbell(InDci);
        for (int i = 0; i < parts; i++) bench.Complete();

        bench.Move();
        while (bench.Device.Held.Count > 0) bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, 5, 40 * 60000, true));
    }

    [Fact]
    public void Td_that_ended_short_and_waits_for_its_rest_goes_on()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        bench.Go(InDci, Normal(b.Address, 512, Chain));
        bench.Complete(RequestStatus.Success, 100);

        bench.Move();
        bench.Go(InDci, Normal(b.Address, 512, Chain), EventData(5));

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, 5, 100, true));
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Stop_command_that_waits_ends_in_the_new_machine()
    {
        using var bench = new TransferBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Go(InDci, Normal(bench.Buffer(4096).Address, 1024, Ioc));
        ulong stop = bench.Driver.PostCommand(Command(GuestTrbType.StopEndpoint, bench.Slot, InDci));
        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();

        bench.Move();
        bench.Machine.Step();
        Assert.False(bench.Driver.TryTakeCommand(stop, out _));
        Assert.Contains("cancel ep1in", bench.Device.Calls);
        bench.Complete(RequestStatus.Cancelled, 512);

        Assert.Equal(GuestCompletion.Success, bench.Driver.WaitCommand(stop).Code);
        bench.Expect(InDci, new Seen(GuestCompletion.Stopped, at[0], 512));
        bench.Move();
        bench.Doorbell(InDci);
        Assert.Equal([512], bench.Held);
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Halted_endpoint_recovers_in_the_new_machine(bool slow)
    {
        using var bench = new TransferBench();
        bench.Device.CancelsAtOnce = !slow;
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 8, Ioc), Normal(b.Address, 9, Ioc));
        bench.Complete(RequestStatus.Stall, 0);
        bench.Expect(InDci, new Seen(GuestCompletion.Stall, at[0], 8));

        bench.Move();
        if (slow)
        {
            Assert.Equal([9], bench.Held);
            bench.Complete(RequestStatus.Cancelled, 0);
        }

        Assert.Equal(GuestEndpointState.Halted, bench.State(InDci));
        Assert.Equal(GuestCompletion.Success, bench.Reset(InDci));
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(InDci, at[1]));
        bench.Doorbell(InDci);
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[1], 0));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Control_transfer_goes_on_at_every_stage(int queued)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);
        GuestTrb[] stages = [Setup(new SetupPacket(0xc0, 1, 2, 3, 8).Raw, 3), Data(b.Address, 8, true, Ioc), StatusStage(false)];
        bench.Go(1, stages.AsSpan(0, queued));

        bench.Move();
        bench.Go(1, stages.AsSpan(queued));
        UsbRequest request = Assert.Single(bench.Device.Held);
        Assert.Equal((8, 0xc0), (request.Length, (int)request.Setup.RequestType));
        bench.Complete();

        Assert.Equal([GuestCompletion.Success, GuestCompletion.Success], bench.Take(1).Select(s => s.Code));
    }

    [Fact]
    public void Isochronous_tds_keep_their_intervals()
    {
        using var bench = new TransferBench(UsbSpeed.High, TransferKind.Isochronous, interval: 4);
        GuestBuffer b = bench.Buffer(512);
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 4).Select(_ => Isoch(b.Address, 8, null, 0, 0, Ioc))]);
        bench.Machine.AdvanceBy(1_000_000);
        bench.Complete();
        bench.Machine.AdvanceBy(300_000);

        bench.Move();
        for (int i = 0; i < 3; i++)
        {
            bench.Machine.AdvanceBy(1_000_000);
            while (bench.Device.Held.Count > 0) bench.Complete();
        }

        Assert.Equal(at.Select(a => new Seen(GuestCompletion.Success, a, 0)), bench.Take(InDci).Take(4));
    }

    [Fact]
    public void Streams_in_flight_waiting_and_half_done_go_on()
    {
        using var bench = new TransferBench(UsbSpeed.Super);
        bench.Handle.ConfigureStreams(In, 4);
        bench.Driver.Register(bench.Slot, InDci, null);
        GuestBuffer b = bench.Buffer(4096);
        var at = new ulong[6];
        for (int s = 1; s <= 5; s++)
        {
            at[s] = bench.Handle.StreamsOf(In)!.Rings[s - 1].Ring.Enqueue(Normal(b.Address, 2048, Ioc));
            bench.Driver.RingDoorbell(bench.Slot, InDci, s);
            if (s < 4) bench.Machine.Step();
        }

        bench.Device.Held[1].ActualLength = 1024;
        bench.Move();
        bench.Machine.Step();

        Assert.Equal([1, 2, 3, 4, 5], bench.Device.Held.Select(r => (int)r.StreamId).Order());
        Assert.Equal(1024, bench.Device.Held.Single(r => r.StreamId == 2).ActualLength);
        while (bench.Device.Held.Count > 0) bench.Complete();
        Assert.Equal(at.Skip(1).Order(), bench.Take(InDci).Select(s => s.Pointer).Order());
    }

    [Fact]
    public void Events_that_wait_for_room_come_in_the_new_machine()
    {
        using var bench = new TransferBench(options: new XhciDriverOptions { EventSegmentTrbs = 16 });
        bench.Driver.AutoAcknowledge = false;
        GuestBuffer b = bench.Buffer(64);
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 40).Select(i => Normal(b.Address, 8, Ioc | (i % 20 < 19 ? Chain : 0)))]);
        while (bench.Device.Held.Count > 0) bench.Complete();

        bench.Move();
        for (int i = 0; i < 50; i++)
        {
            bench.Driver.ProcessEvents();
            bench.Driver.Acknowledge(0);
            bench.Machine.Step();
        }

        Assert.Equal(at, bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent).Select(e => e.Pointer));
    }

    private const int Save = 1 << 8;
    private const int Restore = 1 << 9;
    private const uint SaveRestoreError = 1 << 10;

    private static uint Status(TransferBench bench) => bench.Driver.ReadOperational(4);

    [Fact]
    public void Css_then_crs_without_a_reset_keeps_everything()
    {
        using var bench = new TransferBench();
        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));
        bench.Driver.WriteOperational(0, 4);

        bench.Driver.WriteOperational(0, 4 | Save);
        Assert.Equal(0u, Status(bench) & (0x300 | SaveRestoreError));
        bench.Driver.WriteOperational(0, 4 | Restore);
        Assert.Equal(0u, Status(bench) & (0x300 | SaveRestoreError));
        bench.Driver.WriteOperational(0, 5);
        bench.Go(InDci, Normal(bench.Buffer(8).Address, 8, Ioc));

        Assert.Equal([8], bench.Held);
    }

    [Fact]
    public void Crs_after_a_reset_brings_slots_endpoints_and_half_done_tds_back()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1024, Ioc));
        bench.Device.Held[0].ActualLength = 512;
        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));
        bench.Expect(InDci, new Seen(GuestCompletion.Stopped, at[0], 512));
        bench.Driver.WriteOperational(0, 4);
        bench.Driver.WriteOperational(0, 4 | Save);
        ulong dcbaap = bench.Driver.Read64(bench.Driver.OperationalOffset + 0x30);
        ulong table = bench.Driver.EventRings[0].Table.Address;
        string before = string.Join('\n', bench.Tree().Split('\n').Where(l => l.StartsWith("/xhci/slot/", System.StringComparison.Ordinal)));
        Assert.Contains("dequeue-skip 512", before, System.StringComparison.Ordinal);

        bench.Driver.WriteOperational(0, 2);
        bench.Machine.AdvanceBy(1_000_000_000);
        Assert.DoesNotContain("/xhci/slot/", bench.Tree(), System.StringComparison.Ordinal);
        bench.Driver.Write64(bench.Driver.OperationalOffset + 0x30, dcbaap);
        bench.Driver.WriteOperational(0x38, 64);
        bench.Driver.Write32(bench.Driver.InterrupterOffset(0, 8), 1);
        bench.Driver.Write64(bench.Driver.InterrupterOffset(0, 0x18), bench.Driver.EventRings[0].DequeuePointer);
        bench.Driver.Write64(bench.Driver.InterrupterOffset(0, 0x10), table);
        bench.Driver.WriteOperational(0, Restore);

        Assert.Equal(0u, Status(bench) & (0x300 | SaveRestoreError));
        Assert.Equal(before, string.Join('\n', bench.Tree().Split('\n').Where(l => l.StartsWith("/xhci/slot/", System.StringComparison.Ordinal))));
    }

    [Fact]
    public void Crs_without_a_saved_state_is_an_error_that_software_clears()
    {
        using var bench = new TransferBench();
        bench.Driver.WriteOperational(0, 4);

        bench.Driver.WriteOperational(0, 4 | Restore);

        Assert.Equal(SaveRestoreError, Status(bench) & SaveRestoreError);
        bench.Driver.WriteOperational(4, SaveRestoreError);
        Assert.Equal(0u, Status(bench) & SaveRestoreError);
    }

    [Fact]
    public void Css_and_crs_of_a_running_controller_do_nothing()
    {
        using var bench = new TransferBench();

        bench.Driver.WriteOperational(0, 5 | Restore);
        bench.Driver.WriteOperational(0, 5 | Save);

        Assert.Equal(0u, Status(bench) & (0x300 | SaveRestoreError));
        bench.Driver.WriteOperational(0, 4);
        bench.Driver.WriteOperational(0, 4 | Restore);
        Assert.Equal(SaveRestoreError, Status(bench) & SaveRestoreError);
    }
}
