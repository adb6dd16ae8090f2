using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Stop Endpoint where it is intricate: control stages and full event rings (xHCI 1.2 §4.6.9, §4.9.4).</summary>
public sealed class StopControlTests
{
    private static readonly SetupPacket Vendor = new(0xc0, 1, 0, 0, 512);

    [Fact]
    public void Control_transfer_stopped_after_its_setup_stage_goes_on_with_the_data_stage()
    {
        using var bench = new CommandBench();
        bench.Queue(Control, GuestTrb.Setup(Vendor.Raw, 3));
        bench.Kick(Control);

        CommandResult result = bench.Stop(Control);
        bench.Queue(Control, GuestTrb.Data(bench.Driver.AllocateBuffer(512).Address, 512, isIn: true));
        bench.Kick(Control);

        Assert.True(result.Ok);
        Assert.Empty(bench.Events());
        Assert.Equal((512, Vendor), (bench.Device.Held[0].Length, bench.Device.Held[0].Setup));
    }

    [Fact]
    public void Control_transfer_stopped_in_its_data_stage_tells_the_rest_and_sends_the_stage_again()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(
            Control,
            GuestTrb.Setup(Vendor.Raw, 3),
            GuestTrb.Data(bench.Driver.AllocateBuffer(512).Address, 512, isIn: true),
            GuestTrb.StatusStage(isIn: false));
        bench.Kick(Control);

        ulong stop = bench.BeginStop(Control);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 100);
        CommandResult result = bench.Driver.WaitCommand(stop);
        var stopped = bench.Events();
        ulong place = bench.EndpointContext(Control).DequeuePointer;
        bench.Kick(Control);
        UsbRequest again = Assert.Single(bench.Device.Held);
        (int length, int progress) = (again.Length, again.ActualLength);
        bench.Device.Complete(again);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Stopped, at[1], 412)], stopped);
        Assert.Equal(at[1] | 1, place);
        Assert.Equal((512, 0, Vendor), (length, progress, again.Setup));
        Assert.Equal([(GuestCompletion.Success, at[2], 0)], bench.Events());
    }

    [Fact]
    public void Control_transfer_without_data_stopped_in_its_status_stage_is_sent_again()
    {
        using var bench = new CommandBench();
        ulong[] at = bench.Queue(Control, GuestTrb.Setup(new SetupPacket(0x40, 2, 0, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);

        CommandResult result = bench.Stop(Control);
        var stopped = bench.Events();
        bench.Kick(Control);
        bench.Device.CompleteNext();

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Stopped, at[1], 0)], stopped);
        Assert.Equal([(GuestCompletion.Success, at[1], 0)], bench.Events());
    }

    [Fact]
    public void Stopped_control_transfer_is_forgotten_when_the_dequeue_pointer_moves()
    {
        using var bench = new CommandBench();
        bench.Queue(Control, GuestTrb.Setup(Vendor.Raw, 3), GuestTrb.Data(bench.Driver.AllocateBuffer(512).Address, 512, isIn: true));
        bench.Kick(Control);
        bench.Stop(Control).Require("Stop Endpoint");
        bench.Events();

        bench.Driver.SetTrDequeue(bench.Slot, Control, bench.Ring(Control).EnqueuePointer | 1).Require("Set TR Dequeue Pointer");
        ulong[] at = bench.Queue(Control, GuestTrb.Setup(new SetupPacket(0x40, 2, 0, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);
        bench.Device.CompleteNext();

        Assert.Equal([(GuestCompletion.Success, at[1], 0)], bench.Events());
    }

    [Fact]
    public void Command_waits_for_room_on_the_event_ring_of_another_interrupter()
    {
        using var bench = new CommandBench(options: new XhciDriverOptions { Interrupters = 2, EventSegmentTrbs = 16 });
        bench.Driver.AutoAcknowledge = false;
        bench.Queue(InterruptIn, [.. Enumerable.Range(0, 13).Select(_ => GuestTrb.NoOp(interrupter: 1))]);
        bench.Kick(InterruptIn);
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512, interrupter: 1), bench.Normal(512, interrupter: 1));
        bench.Kick(BulkIn);
        bench.Device.CompleteNext();

        // Thirteen No Ops and one completion leave room for the Event Ring Full Error alone.
        ulong stop = bench.BeginStop(BulkIn);
        bool early = bench.Driver.TryTakeCommand(stop, out _);
        var before = bench.Events();
        bench.Driver.Acknowledge(1);
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.False(early);
        Assert.Equal(GuestCompletion.EventRingFull, before[^1].Code);
        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Stopped, at[1], 512)], bench.Events());
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
    }

    [Fact]
    public void Room_for_the_stopped_event_alone_delays_the_completion_and_loses_neither()
    {
        using var bench = new CommandBench(options: new XhciDriverOptions { EventSegmentTrbs = 16 });
        bench.Events();
        bench.Driver.AutoAcknowledge = false;
        bench.Driver.Acknowledge(0);
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        bench.Queue(InterruptIn, [.. Enumerable.Range(0, 13).Select(_ => GuestTrb.NoOp())]);
        bench.Kick(InterruptIn);

        ulong stop = bench.BeginStop(BulkIn);
        var events = bench.Events();
        bool early = bench.Driver.TryTakeCommand(stop, out _);
        bench.Driver.Acknowledge(0);
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.Equal((GuestCompletion.Stopped, at[0], 512), events[13]);
        Assert.Equal(GuestCompletion.EventRingFull, events[^1].Code);
        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Empty(bench.Events());
    }

    [Fact]
    public void Unmapped_buffer_met_while_stopping_halts_the_endpoint_instead()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong at = bench.Queue(BulkIn, bench.Normal(512))[0];
        bench.Kick(BulkIn);

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.MemoryFault, 0);
        bench.Machine.Step();
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.Equal((GuestCompletion.DataBufferError, at, 512), Assert.Single(bench.Events()));
        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.False(bench.HostSystemError);
    }
}
