using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Enable Slot, Disable Slot and Reset Device (xHCI 1.2 §4.6.3, §4.6.4, §4.6.11).</summary>
public sealed class SlotTests
{
    [Fact]
    public void Controller_has_64_slots_unless_told_otherwise()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(64, bench.Driver.MaxSlots);
    }

    [Fact]
    public void Controller_of_255_slots_gives_all_of_them_and_then_no_more()
    {
        using var bench = new CommandBench(SlotAt.Disabled, controller: new XhciOptions { Slots = 255 });

        int[] slots = [.. Enumerable.Range(0, 255).Select(_ => bench.Driver.EnableSlot().Require("Enable Slot").Slot)];

        Assert.Equal(255, bench.Driver.MaxSlots);
        Assert.Equal(Enumerable.Range(1, 255), slots);
        Assert.Equal((GuestCompletion.NoSlotsAvailable, 0), (bench.Driver.EnableSlot().Code, bench.Driver.EnableSlot().Slot));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Slots_beyond_the_enabled_number_are_not_given(int enabled)
    {
        using var bench = new CommandBench(SlotAt.Disabled, options: new XhciDriverOptions { MaxSlots = enabled });

        for (int i = 1; i <= enabled; i++) Assert.Equal(i, bench.Driver.EnableSlot().Slot);

        Assert.Equal(GuestCompletion.NoSlotsAvailable, bench.Driver.EnableSlot().Code);
        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.DisableSlot(enabled + 1).Code);
    }

    [Fact]
    public void No_slot_is_given_while_max_slots_enabled_is_0()
    {
        using var bench = new CommandBench(SlotAt.Disabled);
        bench.Driver.WriteOperational(XhciDriver.Configure, 0);

        Assert.Equal(GuestCompletion.NoSlotsAvailable, bench.Driver.EnableSlot().Code);
    }

    [Fact]
    public void Slot_type_that_no_port_has_is_refused()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(GuestCompletion.TrbError, bench.Driver.EnableSlot(slotType: 1).Code);
    }

    [Fact]
    public void Disabled_slot_is_given_again_and_starts_anew()
    {
        using var bench = new CommandBench(SlotAt.Configured);
        int second = bench.Driver.EnableSlot().Slot;

        CommandResult disabled = bench.Driver.DisableSlot(bench.Slot);
        CommandResult again = bench.Driver.EnableSlot();
        bench.FillAddress();

        Assert.Equal(2, second);
        Assert.True(disabled.Ok);
        Assert.Equal(1, again.Slot);
        Assert.Equal(GuestCompletion.EndpointNotEnabled, bench.Stop(Control).Code);
        Assert.True(bench.SendAddress(block: true).Ok);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(255)]
    public void Disabling_a_slot_that_is_not_enabled_is_refused(int slot)
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        CommandResult result = bench.Driver.DisableSlot(slot);

        Assert.Equal((GuestCompletion.SlotNotEnabled, slot), (result.Code, result.Slot));
    }

    [Theory]
    [InlineData(SlotAt.Enabled)]
    [InlineData(SlotAt.Default)]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void Slot_of_any_state_is_disabled_and_its_doorbells_are_ignored(SlotAt state)
    {
        using var bench = new CommandBench(state);

        CommandResult result = bench.Driver.DisableSlot(bench.Slot);
        bench.Queue(Control, GuestTrb.NoOp());
        bench.Kick(Control);

        Assert.True(result.Ok);
        Assert.Equal((GuestSlotState.DisabledOrEnabled, 0u), (bench.Output.Slot.SlotState, bench.Output.Slot.DeviceAddress));
        Assert.Empty(bench.Events());
        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.DisableSlot(bench.Slot).Code);
    }

    [Fact]
    public void Disable_slot_waits_for_its_transfers_and_ends_them_without_events()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512));
        bench.Queue(BulkOut, bench.Normal(512));
        bench.Kick(BulkIn);
        bench.Kick(BulkOut);

        ulong disable = bench.Begin(GuestTrb.Command(GuestTrbType.DisableSlot, bench.Slot));
        for (int i = 0; i < 3; i++)
        {
            Assert.False(bench.Driver.TryTakeCommand(disable, out _));
            bench.Device.CompleteNext(i == 0 ? RequestStatus.Success : RequestStatus.Cancelled, 0);
        }

        Assert.True(bench.Driver.WaitCommand(disable).Ok);
        Assert.Empty(bench.Events());
    }

    [Fact]
    public void Disable_slot_whose_output_context_cannot_be_written_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Addressed) { ExpectedRefusals = 1 };
        bench.Protect(bench.Output.Buffer.Address, MemoryProtection.ReadOnly);

        bench.Begin(GuestTrb.Command(GuestTrbType.DisableSlot, bench.Slot));

        Assert.True(bench.HostSystemError);
    }

    [Theory]
    [InlineData(SlotAt.Disabled, GuestCompletion.SlotNotEnabled)]
    [InlineData(SlotAt.Enabled, GuestCompletion.ContextStateError)]
    [InlineData(SlotAt.Default, GuestCompletion.ContextStateError)]
    public void Resetting_a_device_without_an_address_is_refused(SlotAt state, GuestCompletion expected)
    {
        using var bench = new CommandBench(state);
        byte[] before = bench.Snapshot();

        Assert.Equal(expected, bench.Driver.ResetDevice(bench.Slot).Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void Reset_device_goes_to_default_with_endpoint_0_alone(SlotAt state)
    {
        using var bench = new CommandBench(state);

        CommandResult result = bench.Driver.ResetDevice(bench.Slot);

        Assert.True(result.Ok);
        GuestContext slot = bench.Output.Slot;
        Assert.Equal((GuestSlotState.Default, 0u, 1u), (slot.SlotState, slot.DeviceAddress, slot.Entries));
        Assert.Equal((uint)bench.RootPort, slot.RootPort);
        Assert.Equal(GuestEndpointState.Running, bench.State(Control));
        for (int dci = 2; dci < 32; dci++) Assert.Equal(GuestEndpointState.Disabled, bench.State(dci));
        Assert.Equal(GuestCompletion.EndpointNotEnabled, bench.Stop(BulkIn).Code);
    }

    [Fact]
    public void Reset_device_ends_transfers_without_events_and_the_device_can_be_addressed_again()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);

        ulong reset = bench.Begin(GuestTrb.Command(GuestTrbType.ResetDevice, bench.Slot));
        bool early = bench.Driver.TryTakeCommand(reset, out _);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(reset);
        var events = bench.Events();
        bench.Driver.ResetPort(bench.RootPort);
        bench.FillAddress();
        CommandResult addressed = bench.SendAddress();

        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Empty(events);
        Assert.True(addressed.Ok);
    }

    [Fact]
    public void Endpoint_0_goes_on_at_its_dequeue_pointer_after_reset_device()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = true;
        ulong[] at = bench.Queue(Control, GuestTrb.Setup(new SetupPacket(0x40, 2, 0, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);
        bench.Driver.ResetDevice(bench.Slot).Require("Reset Device");
        bench.Driver.ResetPort(bench.RootPort);

        bench.Queue(Control, GuestTrb.Setup(new SetupPacket(0x40, 3, 0, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        bool stopped = bench.Stop(Control).Ok && bench.Driver.SetTrDequeue(bench.Slot, Control, (at[1] + 16) | 1).Ok;
        bench.Kick(Control);
        UsbRequest request = bench.Device.CompleteNext();

        Assert.True(stopped);
        Assert.Equal(3, request.Setup.Request);
        Assert.Equal([(GuestCompletion.Success, at[1] + 32, 0)], bench.Events());
    }

    [Fact]
    public void Completion_that_had_no_room_is_dropped_by_reset_device_and_not_run_twice()
    {
        using var bench = new CommandBench(options: new XhciDriverOptions { Interrupters = 2, EventSegmentTrbs = 16 });
        bench.Driver.AutoAcknowledge = false;
        bench.Queue(InterruptIn, [.. Enumerable.Range(0, 14).Select(_ => GuestTrb.NoOp(interrupter: 1))]);
        bench.Kick(InterruptIn);
        bench.Queue(
            Control,
            GuestTrb.Setup(new SetupPacket(0xc0, 1, 0, 0, 64).Raw, 3),
            GuestTrb.Data(bench.Driver.AllocateBuffer(64).Address, 64, isIn: true, GuestTrb.InterruptOnCompletion, interrupter: 1));
        bench.Kick(Control);
        bench.Device.CompleteNext();
        bench.Machine.Step();
        bench.Driver.ProcessEvents();
        bench.Driver.Acknowledge(0);

        bench.Driver.ResetDevice(bench.Slot).Require("Reset Device");
        bool full = bench.Events()[^1].Code == GuestCompletion.EventRingFull;
        bench.Driver.Acknowledge(1);

        Assert.True(full);
        Assert.Empty(bench.Events());
        Assert.Empty(bench.Device.Held);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(BulkOut)]
    public void Reset_device_whose_output_context_cannot_be_written_is_a_host_system_error(int part)
    {
        // With 32-byte contexts one page holds all, so endpoints are missing only in the second run.
        using var bench = new CommandBench(part == 0 ? SlotAt.Addressed : SlotAt.Configured) { ExpectedRefusals = 1 };
        bench.Protect(bench.Output.Buffer.Address, MemoryProtection.ReadOnly);

        bench.Begin(GuestTrb.Command(GuestTrbType.ResetDevice, bench.Slot));

        Assert.True(bench.HostSystemError);
    }
}
