using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Address Device (xHCI 1.2 §4.6.5).</summary>
public sealed class AddressDeviceTests
{
    private static readonly SetupPacket Vendor = new(0x40, 2, 0, 0, 0);

    [Theory]
    [InlineData(SlotAt.Disabled, false, GuestCompletion.SlotNotEnabled)]
    [InlineData(SlotAt.Default, true, GuestCompletion.ContextStateError)]
    [InlineData(SlotAt.Addressed, false, GuestCompletion.ContextStateError)]
    [InlineData(SlotAt.Addressed, true, GuestCompletion.ContextStateError)]
    [InlineData(SlotAt.Configured, false, GuestCompletion.ContextStateError)]
    public void Slot_in_a_state_that_does_not_fit_is_refused(SlotAt state, bool block, GuestCompletion expected)
    {
        using var bench = new CommandBench(state);
        bench.FillAddress();
        byte[] before = bench.Snapshot();

        Assert.Equal(expected, bench.SendAddress(block).Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData(SlotAt.Enabled)]
    [InlineData(SlotAt.Default)]
    public void Device_gets_an_address_and_the_output_contexts_say_so(SlotAt state)
    {
        using var bench = new CommandBench(state);
        GuestContext wanted = bench.Input.Slot;
        wanted.SlotInterrupter = 3;
        wanted.MaxExitLatency = 77;

        CommandResult result = bench.SendAddress();

        Assert.True(result.Ok);
        GuestContext slot = bench.Output.Slot;
        Assert.Equal((GuestSlotState.Addressed, 1u, 1u), (slot.SlotState, slot.DeviceAddress, slot.Entries));
        Assert.Equal(((uint)bench.RootPort, 3u, 77u), (slot.RootPort, slot.SlotInterrupter, slot.MaxExitLatency));
        GuestContext control = bench.EndpointContext(Control);
        Assert.Equal((GuestEndpointState.Running, 4u, 64u), (control.EndpointState, control.EndpointType, control.MaxPacketSize));
        Assert.Equal(bench.Ring(Control).Base | 1, control.DequeuePointer);
        Assert.Empty(bench.Device.Calls);
    }

    [Fact]
    public void Blocked_set_address_leaves_the_device_at_address_0_and_endpoint_0_running()
    {
        using var bench = new CommandBench(SlotAt.Enabled);

        CommandResult result = bench.SendAddress(block: true);
        bench.Queue(Control, GuestTrb.Setup(Vendor.Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);

        Assert.True(result.Ok);
        Assert.Equal((GuestSlotState.Default, 0u), (bench.Output.Slot.SlotState, bench.Output.Slot.DeviceAddress));
        Assert.Equal(GuestEndpointState.Running, bench.State(Control));
        Assert.Equal(0, Assert.Single(bench.Device.Held).Address.Value);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    [InlineData(255)]
    [InlineData(2)]
    [InlineData(5)]
    public void Port_that_does_not_exist_or_has_no_device_answers_nothing(int port)
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext slot = bench.Input.Slot;
        slot.RootPort = (uint)port;
        byte[] before = bench.Snapshot();

        CommandResult result = bench.SendAddress();

        Assert.Equal(GuestCompletion.TransactionError, result.Code);
        Assert.Equal(before, bench.Snapshot());
        bench.FillAddress();
        Assert.True(bench.SendAddress().Ok);
    }

    [Fact]
    public void Port_that_is_not_enabled_answers_nothing()
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        bench.Driver.WritePort(bench.RootPort, XhciDriver.PortEnabled);

        Assert.Equal(GuestCompletion.TransactionError, bench.SendAddress().Code);
    }

    [Fact]
    public void Device_behind_a_hub_that_is_not_there_answers_nothing()
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext slot = bench.Input.Slot;
        slot.RouteString = 1;

        Assert.Equal(GuestCompletion.TransactionError, bench.SendAddress().Code);
    }

    // The device has left address 0 with the first slot, so nobody answers the second one's SET_ADDRESS.
    [Fact]
    public void Port_whose_device_another_slot_addresses_answers_nothing()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        int second = bench.Driver.EnableSlot().Slot;
        GuestDeviceContext output = bench.Driver.NewDeviceContext();
        bench.Driver.SetDeviceContext(second, output.Buffer.Address);

        CommandResult result = bench.Driver.AddressDevice(second, bench.Input.Buffer.Address);

        Assert.Equal((GuestCompletion.TransactionError, second), (result.Code, result.Slot));
        Assert.Equal(GuestSlotState.DisabledOrEnabled, output.Slot.SlotState);
        Assert.Equal(GuestSlotState.Addressed, bench.Output.Slot.SlotState);
    }

    [Fact]
    public void Slot_whose_set_address_fails_stays_default_and_its_endpoint_0_goes_on()
    {
        using var bench = new CommandBench(SlotAt.Default);
        int second = bench.Driver.EnableSlot().Slot;
        GuestDeviceContext output = bench.Driver.NewDeviceContext();
        bench.Driver.SetDeviceContext(second, output.Buffer.Address);
        bench.Driver.AddressDevice(second, bench.Input.Buffer.Address).Require("Address Device");
        ulong[] at = bench.Queue(Control, GuestTrb.NoOp());

        CommandResult result = bench.SendAddress();
        bench.Kick(Control);

        Assert.Equal(GuestCompletion.TransactionError, result.Code);
        Assert.Equal(GuestSlotState.Default, bench.Output.Slot.SlotState);
        Assert.Equal([(GuestCompletion.Success, at[0], 0)], bench.Events());
    }

    // The port fails between two rounds of a command that waits; endpoint 0 must not be left half drained. The transfer
    // that was cut off has lost its setup stage, which a TRB Error tells.
    [Fact]
    public void Port_disabled_while_the_command_waits_fails_it_and_endpoint_0_is_served_again()
    {
        using var bench = new CommandBench(SlotAt.Default);
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(Control, GuestTrb.Setup(Vendor.Raw, 0), GuestTrb.StatusStage(isIn: true));
        bench.Kick(Control);

        ulong address = bench.Begin(GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, bench.Input.Buffer.Address));
        bool early = bench.Driver.TryTakeCommand(address, out _);
        bench.Driver.WritePort(bench.RootPort, XhciDriver.PortEnabled);
        if (bench.Device.Held.Count > 0) bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(address);
        bench.Device.CancelsAtOnce = true;
        bench.Driver.ResetPort(bench.RootPort);
        bench.Kick(Control);

        Assert.False(early);
        Assert.Equal(GuestCompletion.TransactionError, result.Code);
        Assert.Equal([(GuestCompletion.TrbError, at[1], 0)], bench.Events());
    }

    // §6.2.2: the Speed field is deprecated; the port knows.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(15)]
    public void Speed_of_the_slot_context_does_not_matter(int speed)
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext slot = bench.Input.Slot;
        slot.Speed = (uint)speed;

        Assert.True(bench.SendAddress().Ok);
        Assert.True(bench.Configure().Ok);
    }

    [Theory]
    [InlineData("type")]
    [InlineData("zero packet")]
    [InlineData("long packet")]
    [InlineData("streams")]
    [InlineData("interrupter")]
    public void Context_of_endpoint_0_or_slot_out_of_range_is_a_parameter_error(string what)
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext control = bench.Input.Endpoint(1);
        GuestContext slot = bench.Input.Slot;
        switch (what)
        {
            case "type": control.EndpointType = 6; break;
            case "zero packet": control.MaxPacketSize = 0; break;
            case "long packet": control.MaxPacketSize = 513; break;
            case "streams": control.MaxPrimaryStreams = 1; break;
            default: slot.SlotInterrupter = 16; break;
        }

        Assert.Equal(GuestCompletion.ParameterError, bench.SendAddress().Code);
        Assert.Equal(GuestSlotState.DisabledOrEnabled, bench.Output.Slot.SlotState);
    }

    [Theory]
    [InlineData(0u, 0u)]
    [InlineData(0u, 1u)]
    [InlineData(0u, 2u)]
    [InlineData(0u, 7u)]
    [InlineData(1u, 3u)]
    [InlineData(4u, 3u)]
    public void Flags_other_than_a0_and_a1_are_a_parameter_error(uint drop, uint add)
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestInputContext input = bench.Input;
        input.DropFlags = drop;
        input.AddFlags = add;

        Assert.Equal(GuestCompletion.ParameterError, bench.SendAddress().Code);
    }

    [Fact]
    public void Dequeue_pointer_of_endpoint_0_is_looked_at_by_the_doorbell_only()
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext control = bench.Input.Endpoint(1);
        control.DequeuePointer = Unmapped | 1;

        CommandResult result = bench.SendAddress();
        bool healthy = !bench.HostSystemError;
        bench.ExpectedRefusals = 2;
        bench.Kick(Control);

        Assert.True(result.Ok);
        Assert.True(healthy);
        Assert.True(bench.HostSystemError);
    }

    [Theory]
    [InlineData(0x8000_0000, 1)]
    [InlineData(32 * 1024 * 1024 - 32, 1)]
    public void Input_context_that_is_not_mapped_is_a_host_system_error(ulong address, int refusals)
    {
        using var bench = new CommandBench(SlotAt.Enabled) { ExpectedRefusals = refusals };
        new GuestTrb(3UL << 32, 0, 0).Write(bench.Driver.Platform.Memory(32 * 1024 * 1024 - 32, 16));

        bench.Begin(GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, address));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Output_context_that_is_not_mapped_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Enabled) { ExpectedRefusals = 1 };
        bench.Driver.SetDeviceContext(bench.Slot, Unmapped);

        bench.Begin(GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, bench.Input.Buffer.Address));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Context_base_array_that_is_not_mapped_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Enabled) { ExpectedRefusals = 1 };
        bench.Driver.Write64(bench.Driver.OperationalOffset + XhciDriver.ContextBaseArray, Unmapped);

        bench.Begin(GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, bench.Input.Buffer.Address));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Low_bits_of_the_input_context_pointer_are_ignored()
    {
        using var bench = new CommandBench(SlotAt.Enabled);

        CommandResult result = bench.Driver.AddressDevice(bench.Slot, bench.Input.Buffer.Address | 0xf);

        Assert.True(result.Ok);
        Assert.Equal(GuestSlotState.Addressed, bench.Output.Slot.SlotState);
    }

    [Fact]
    public void Input_context_is_copied_once_before_it_is_checked()
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        bench.Machine.Memory.AccessLog = [];

        bench.SendAddress(block: true).Require("Address Device");

        ulong start = bench.Input.Buffer.Address;
        for (ulong part = 0; part < 3; part++)
            Assert.Single(bench.Machine.Memory.AccessLog, access => access.Address.Value == start + (part * 32));
        Assert.DoesNotContain(bench.Machine.Memory.AccessLog, access => access.Address.Value >= start + 96 && access.Address.Value < start + (33 * 32));
    }

    [Fact]
    public void Device_that_went_away_answers_nothing()
    {
        using var bench = new CommandBench(SlotAt.Default);
        bench.Machine.Detach(1);

        Assert.Equal(GuestCompletion.TransactionError, bench.SendAddress().Code);
        Assert.Equal(GuestSlotState.Default, bench.Output.Slot.SlotState);
    }

    // A suspended port carries no SET_ADDRESS; the command waits for the resume, and an aborted one leaves nothing behind.
    [Fact]
    public void Set_address_on_a_suspended_port_waits_and_an_aborted_one_is_taken_back()
    {
        using var bench = new CommandBench(SlotAt.Default);
        bench.Driver.SetLinkState(bench.RootPort, 3);
        bench.Machine.Step();
        GuestTrb command = GuestTrb.Command(GuestTrbType.AddressDevice, bench.Slot, 0, bench.Input.Buffer.Address);
        ulong first = bench.Begin(command);

        bench.Driver.StopCommandRing(abort: true);
        CommandResult aborted = bench.Driver.WaitCommand(first);
        ulong second = bench.Begin(command);
        bench.Driver.RingDoorbell(0);
        bench.Machine.Step();
        bool early = bench.Driver.TryTakeCommand(second, out _);
        bench.Driver.SetLinkState(bench.RootPort, 15);
        bench.Machine.AdvanceBy(25_000_000);
        bench.Driver.SetLinkState(bench.RootPort, 0);
        CommandResult result = bench.Driver.WaitCommand(second);

        Assert.Equal(GuestCompletion.CommandAborted, aborted.Code);
        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Equal(GuestSlotState.Addressed, bench.Output.Slot.SlotState);
    }

    [Fact]
    public void Second_port_has_addresses_of_its_own()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        var other = new FakeDevice(UsbSpeed.Full);
        int port = bench.Plug(other, 2);
        int second = bench.Driver.EnableSlot().Slot;
        GuestDeviceContext output = bench.Driver.NewDeviceContext();
        bench.Driver.SetDeviceContext(second, output.Buffer.Address);
        bench.Input.Clear();
        Fill(bench.Input, port, UsbSpeed.Full, bench.Driver.Ring(16).EnqueuePointer | 1);

        CommandResult result = bench.Driver.AddressDevice(second, bench.Input.Buffer.Address);

        Assert.True(result.Ok);
        Assert.Equal((2u, (uint)port), (output.Slot.DeviceAddress, output.Slot.RootPort));
    }
}
