using System;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>The command ring: doorbell, CRCR, links, stop, abort, halt, full event ring (xHCI 1.2 §4.6.1, §4.9.3, §5.4.5).</summary>
public sealed class CommandRingTests
{
    private static readonly GuestTrb NoOp = GuestTrb.Command(GuestTrbType.NoOpCommand);

    [Fact]
    public void Doorbell_0_with_target_0_starts_the_ring_and_other_targets_do_not()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        ulong command = bench.Driver.PostCommand(NoOp);

        bench.Driver.RingDoorbell(0, target: 1);
        bench.Machine.Step();
        bool early = bench.Driver.TryTakeCommand(command, out _) || bench.CommandRingRunning;
        bench.Driver.RingDoorbell(0);
        CommandResult result = bench.Driver.WaitCommand(command);

        Assert.False(early);
        Assert.True(result.Ok);
        Assert.True(bench.CommandRingRunning);
    }

    [Fact]
    public void Commands_that_wait_while_the_controller_is_halted_run_at_the_doorbell_after()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.Halt();
        ulong command = bench.Driver.PostCommand(NoOp);

        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();
        bool early = bench.Driver.TryTakeCommand(command, out _);
        bench.Driver.Run();
        bench.Machine.Step();
        bool withoutDoorbell = bench.Driver.TryTakeCommand(command, out _);
        bench.Driver.RingDoorbell(0);

        Assert.False(early);
        Assert.False(withoutDoorbell);
        Assert.True(bench.Driver.WaitCommand(command).Ok);
    }

    [Fact]
    public void Command_stop_ends_with_an_event_that_names_the_next_command()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.NoOpCommand().Require("No Op");

        GuestEvent stopped = bench.Driver.StopCommandRing(abort: false);
        ulong next = bench.Driver.PostCommand(NoOp);
        bench.Machine.Step();
        bool early = bench.Driver.TryTakeCommand(next, out _);
        bench.Driver.RingDoorbell(0);

        Assert.Equal((GuestCompletion.CommandRingStopped, next, 0), (stopped.Code, stopped.Pointer, stopped.Slot));
        Assert.False(early);
        Assert.True(bench.Driver.WaitCommand(next).Ok);
    }

    [Fact]
    public void Command_stop_lets_the_command_under_way_end_first_and_keeps_the_next_one_back()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        ulong stop = bench.BeginStop(BulkIn);
        ulong next = bench.Driver.PostCommand(NoOp);

        bench.WriteCrcr(2);
        bench.Machine.Step();
        bool running = bench.CommandRingRunning;
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(stop);
        GuestEvent stopped = bench.Driver.NextEvent(GuestTrbType.CommandCompletion);

        Assert.True(running);
        Assert.True(result.Ok);
        Assert.Equal((GuestCompletion.CommandRingStopped, next), (stopped.Code, stopped.Pointer));
        Assert.False(bench.CommandRingRunning);
        Assert.False(bench.Driver.TryTakeCommand(next, out _));
    }

    [Fact]
    public void Command_abort_gives_a_waiting_command_up_and_the_endpoint_can_be_stopped_again()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        ulong stop = bench.BeginStop(BulkIn);

        GuestEvent stopped = bench.Driver.StopCommandRing(abort: true);
        CommandResult aborted = bench.Driver.WaitCommand(stop);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 512);
        CommandResult again = bench.Stop(BulkIn);

        Assert.Equal((GuestCompletion.CommandAborted, bench.Slot), (aborted.Code, aborted.Slot));
        Assert.Equal((GuestCompletion.CommandRingStopped, stop + 16), (stopped.Code, stopped.Pointer));
        Assert.True(again.Ok);
        Assert.Equal([(GuestCompletion.Stopped, at[0], 0)], bench.Events());
    }

    [Fact]
    public void Command_abort_of_address_device_leaves_no_answer_for_the_next_one()
    {
        using var bench = new CommandBench(SlotAt.Default);
        bench.Device.CancelsAtOnce = false;
        bench.Queue(Control, GuestTrb.Setup(new SetupPacket(0x40, 2, 0, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);
        ulong address = bench.Begin(GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, bench.Input.Buffer.Address));

        bench.Driver.StopCommandRing(abort: true);
        CommandResult aborted = bench.Driver.WaitCommand(address);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult again = bench.SendAddress();

        Assert.Equal(GuestCompletion.CommandAborted, aborted.Code);
        Assert.True(again.Ok);
        Assert.Equal(GuestSlotState.Addressed, bench.Output.Slot.SlotState);
        Assert.Empty(bench.Events());
    }

    [Fact]
    public void Command_abort_of_a_running_but_idle_ring_only_stops_it()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.NoOpCommand().Require("No Op");

        GuestEvent stopped = bench.Driver.StopCommandRing(abort: true);

        Assert.Equal(GuestCompletion.CommandRingStopped, stopped.Code);
        Assert.Empty(bench.Events());
    }

    [Fact]
    public void Stop_and_abort_of_a_ring_that_does_not_run_do_nothing()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.StopCommandRingOnce();

        bench.WriteCrcr((uint)(bench.Driver.CommandRing.EnqueuePointer | bench.Driver.CommandRing.EnqueueCycle | 6));
        bench.Machine.Step();

        Assert.Empty(bench.Events());
        Assert.True(bench.Driver.NoOpCommand().Ok);
    }

    [Fact]
    public void Pointer_written_while_the_ring_runs_is_ignored()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.NoOpCommand().Require("No Op");

        bench.WriteCrcr(0x1001);

        Assert.True(bench.Driver.NoOpCommand().Ok);
        bench.Driver.StopCommandRing(abort: false);
        Assert.True(bench.Driver.NoOpCommand().Ok);
    }

    [Fact]
    public void Pointer_written_while_the_ring_is_stopped_is_taken_with_its_cycle_state()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.StopCommandRingOnce();
        GuestBuffer other = bench.Driver.AllocateStructure(256);
        bench.Driver.Platform.Memory(other.Address, 256).Fill(1);
        NoOp.Write(bench.Driver.Platform.Memory(other.Address, 16), NoOp.Control);
        new GuestTrb(0, 0, 1).Write(bench.Driver.Platform.Memory(other.Address + 16, 16));

        bench.WriteCrcr((uint)other.Address);
        bench.Driver.RingDoorbell(0);

        Assert.Equal([(GuestCompletion.Success, other.Address, 0)], bench.Events());
    }

    [Fact]
    public void Ring_wraps_over_link_trbs_and_toggles_its_cycle_state()
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { CommandRingTrbs = 4 });

        for (int i = 0; i < 20; i++) Assert.True(bench.Driver.NoOpCommand().Ok);
    }

    [Fact]
    public void Link_trb_with_interrupt_on_completion_completes_like_a_command()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        GuestRing ring = bench.Driver.CommandRing;
        ulong link = ring.Enqueue(GuestTrb.Link(ring.EnqueuePointer + 16, GuestTrb.InterruptOnCompletion));
        ulong quiet = ring.Enqueue(GuestTrb.Link(ring.EnqueuePointer + 16, 0));
        ulong command = bench.Driver.PostCommand(NoOp);

        bench.Driver.RingDoorbell(0);
        bench.Driver.WaitCommand(command);

        Assert.NotEqual(link, quiet);
        Assert.Equal([(GuestCompletion.Success, link, 0)], bench.Events());
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(GuestTrb.InterruptOnCompletion)]
    public void Ring_of_link_trbs_only_ends_as_a_host_controller_error(uint flags)
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { EventSegmentTrbs = 1024 });
        GuestRing ring = bench.Driver.CommandRing;
        ring.Enqueue(GuestTrb.Link(ring.EnqueuePointer, flags));

        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();

        Assert.True(bench.HostControllerError);
    }

    [Fact]
    public void Ring_in_unmapped_memory_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Disabled) { ExpectedRefusals = 2 };
        bench.Driver.StopCommandRingOnce();
        bench.WriteCrcr((uint)Unmapped | 1);

        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Halt_stops_the_ring_and_a_stop_that_was_asked_for_does_not_outlive_it()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        ulong stop = bench.BeginStop(BulkIn);
        bench.WriteCrcr(2);

        bench.Driver.Halt();
        bool running = bench.CommandRingRunning;
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        bench.Driver.Run();
        bench.Driver.RingDoorbell(0);
        CommandResult result = bench.Driver.WaitCommand(stop);
        CommandResult next = bench.Driver.NoOpCommand();

        Assert.False(running);
        Assert.True(result.Ok);
        Assert.True(next.Ok);
        Assert.DoesNotContain(bench.Events(), taken => taken.Code == GuestCompletion.CommandRingStopped);
    }

    [Fact]
    public void Full_event_ring_delays_commands_and_loses_no_completion()
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { EventSegmentTrbs = 16 });
        bench.Events();
        bench.Driver.AutoAcknowledge = false;
        bench.Driver.Acknowledge(0);
        ulong[] commands = [.. Enumerable.Range(0, 40).Select(_ => bench.Driver.PostCommand(NoOp))];

        bench.Driver.RingDoorbell(0);
        int done = 0;
        for (int round = 0; round < 4; round++)
        {
            bench.Machine.Step();
            bench.Driver.ProcessEvents();
            bench.Driver.Acknowledge(0);
        }

        foreach (ulong command in commands) done += bench.Driver.TryTakeCommand(command, out CommandResult result) && result.Ok ? 1 : 0;
        Assert.Equal(40, done);
    }

    [Fact]
    public void Ring_stopped_event_waits_for_room()
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { EventSegmentTrbs = 16 });
        bench.Events();
        bench.Driver.AutoAcknowledge = false;
        bench.Driver.Acknowledge(0);
        ulong last = 0;
        for (int i = 0; i < 14; i++) last = bench.Driver.PostCommand(NoOp);
        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();

        bench.WriteCrcr(2);
        bench.Machine.Step();
        bool running = bench.CommandRingRunning;
        bench.Driver.WaitCommand(last);
        bench.Driver.Acknowledge(0);
        GuestEvent stopped = bench.Driver.NextEvent(GuestTrbType.CommandCompletion);

        Assert.True(running);
        Assert.Equal((GuestCompletion.CommandRingStopped, last + 16), (stopped.Code, stopped.Pointer));
        Assert.False(bench.CommandRingRunning);
    }

    [Fact]
    public void More_commands_than_one_advance_executes_all_complete()
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { CommandRingTrbs = 256 });
        ulong[] commands = [.. Enumerable.Range(0, 200).Select(_ => bench.Driver.PostCommand(NoOp))];

        bench.Driver.RingDoorbell(0);

        Assert.All(commands, command => Assert.True(bench.Driver.WaitCommand(command).Ok));
    }

    [Fact]
    public void Reset_forgets_a_waiting_command()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        bench.BeginStop(BulkIn);

        bench.Driver.Halt();
        bench.Driver.Reset();
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        bench.Driver.SetUpStructures();
        bench.Driver.Run();
        CommandResult enabled = bench.Driver.EnableSlot();

        Assert.Equal((GuestCompletion.Success, 1), (enabled.Code, enabled.Slot));
        Assert.DoesNotContain(bench.Events(), taken => taken.Code != GuestCompletion.Success);
    }
}

/// <summary>Steps that several tests of the ring share.</summary>
internal static class CommandRingSteps
{
    /// <summary>Stops a ring whether or not it has run, and takes the event.</summary>
    public static void StopCommandRingOnce(this XhciDriver driver)
    {
        ArgumentNullException.ThrowIfNull(driver);
        driver.NoOpCommand().Require("No Op");
        driver.StopCommandRing(abort: false);
    }
}
