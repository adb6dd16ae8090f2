using System;
using Xunit;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Configure Endpoint (xHCI 1.2 §4.6.6).</summary>
public sealed class ConfigureEndpointTests
{
    [Theory]
    [InlineData(SlotAt.Disabled, GuestCompletion.SlotNotEnabled)]
    [InlineData(SlotAt.Enabled, GuestCompletion.ContextStateError)]
    [InlineData(SlotAt.Default, GuestCompletion.ContextStateError)]
    public void Slot_that_is_not_addressed_is_refused(SlotAt state, GuestCompletion expected)
    {
        using var bench = new CommandBench(state);
        bench.NewConfigure();
        bench.Add(BulkIn);

        Assert.Equal(expected, bench.SendConfigure().Code);
        Assert.Equal(expected, bench.SendConfigure(deconfigure: true).Code);
    }

    [Fact]
    public void Addressed_slot_becomes_configured_with_running_endpoints()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        bench.Add(BulkOut);
        GuestContext wanted = bench.Add(BulkIn);
        wanted.AverageTrbLength = 1234;

        CommandResult result = bench.SendConfigure();

        Assert.True(result.Ok);
        Assert.Equal((GuestSlotState.Configured, (uint)BulkIn, 1u), (bench.Output.Slot.SlotState, bench.Output.Slot.Entries, bench.Output.Slot.DeviceAddress));
        GuestContext context = bench.EndpointContext(BulkIn);
        Assert.Equal((GuestEndpointState.Running, 6u, 512u, 1234u), (context.EndpointState, context.EndpointType, context.MaxPacketSize, context.AverageTrbLength));
        Assert.Equal(bench.Ring(BulkIn).Base | 1, context.DequeuePointer);
        Assert.Equal(GuestEndpointState.Running, bench.State(BulkOut));
        Assert.Equal(GuestEndpointState.Disabled, bench.State(InterruptIn));
    }

    [Fact]
    public void Configured_slot_drops_adds_and_re_initialises_endpoints_at_once()
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, EndpointAt.Halted);
        bench.NewConfigure();
        bench.Input.Drop(IsochIn);
        bench.Input.Drop(BulkIn);
        bench.Add(BulkIn);
        ulong place = bench.Ring(BulkIn).EnqueuePointer;

        CommandResult result = bench.SendConfigure();

        Assert.True(result.Ok);
        Assert.Equal(GuestEndpointState.Disabled, bench.State(IsochIn));
        Assert.Equal((GuestEndpointState.Running, place | 1), (bench.State(BulkIn), bench.EndpointContext(BulkIn).DequeuePointer));
        Assert.Equal((uint)IsochOut, bench.Output.Slot.Entries);
        Assert.Equal(GuestEndpointState.Running, bench.State(BulkOut));
    }

    [Fact]
    public void Adding_an_enabled_endpoint_without_dropping_it_is_a_parameter_error()
    {
        using var bench = new CommandBench();
        byte[] before = bench.Snapshot();
        bench.NewConfigure();
        bench.Add(BulkIn);

        Assert.Equal(GuestCompletion.ParameterError, bench.SendConfigure().Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void Dropped_endpoint_waits_for_its_transfers_and_ends_them_without_events()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512));
        bench.Kick(BulkIn);
        bench.NewConfigure();
        bench.Input.Drop(BulkIn);

        ulong command = bench.Begin(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, bench.Slot, 0, bench.Input.Buffer.Address));
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        bool early = bench.Driver.TryTakeCommand(command, out _);
        bench.Device.CompleteNext(RequestStatus.Success);
        CommandResult result = bench.Driver.WaitCommand(command);
        bench.Kick(BulkIn);

        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Equal(new byte[32], bench.Bytes(bench.EndpointContext(BulkIn).Address, 32));
        Assert.Empty(bench.Events());
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Dropping_a_disabled_endpoint_changes_nothing()
    {
        using var bench = new CommandBench();
        byte[] before = bench.Snapshot();
        bench.NewConfigure();
        bench.Input.Drop(Unused);

        Assert.True(bench.SendConfigure().Ok);
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void Dropping_every_endpoint_leaves_the_slot_addressed()
    {
        using var bench = new CommandBench();
        bench.NewConfigure();
        for (int dci = 2; dci < 32; dci++) bench.Input.Drop(dci);

        Assert.True(bench.SendConfigure().Ok);
        Assert.Equal((GuestSlotState.Addressed, 1u), (bench.Output.Slot.SlotState, bench.Output.Slot.Entries));
    }

    [Theory]
    [InlineData(1u, 1u)]
    [InlineData(2u, 1u)]
    [InlineData(0u, 3u)]
    [InlineData(0u, 0u)]
    [InlineData(0u, 8u)]
    public void Flags_of_slot_and_endpoint_0_must_be_a0_alone(uint drop, uint add)
    {
        using var bench = new CommandBench();
        byte[] before = bench.Snapshot();
        GuestInputContext input = bench.NewConfigure();
        input.DropFlags = drop;
        input.AddFlags = add;

        Assert.Equal(GuestCompletion.ParameterError, bench.SendConfigure().Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void A0_alone_changes_no_endpoint(SlotAt state)
    {
        using var bench = new CommandBench(state);
        byte[] before = bench.Snapshot();
        bench.NewConfigure();

        Assert.True(bench.SendConfigure().Ok);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(2, false)]
    [InlineData(3, true)]
    [InlineData(31, true)]
    public void Context_entries_must_cover_what_is_added(int entries, bool accepted)
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        bench.Add(BulkIn);
        GuestContext slot = bench.Input.Slot;
        slot.Entries = (uint)entries;

        CommandResult result = bench.SendConfigure();

        Assert.Equal(accepted ? GuestCompletion.Success : GuestCompletion.ParameterError, result.Code);
        Assert.Equal(accepted ? 3u : 1u, bench.Output.Slot.Entries);
    }

    [Fact]
    public void Hub_fields_of_the_slot_context_are_taken_over_and_others_are_not()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        bench.Add(BulkIn);
        GuestContext slot = bench.Input.Slot;
        slot[0] |= (1u << 26) | (1u << 25) | 0x12345;
        slot[1] = (7u << 24) | 0x99;
        slot[2] = (2u << 16) | (5u << 22);

        bench.SendConfigure().Require("Configure Endpoint");

        GuestContext output = bench.Output.Slot;
        Assert.Equal((3u, 7u, 2u), (output.Get(0, 25, 2), output.Get(1, 24, 8), output.Get(2, 16, 2)));
        Assert.Equal((0u, 0u, 0u), (output.RouteString, output.MaxExitLatency, output.SlotInterrupter));
        Assert.Equal((uint)bench.RootPort, output.RootPort);
    }

    [Theory]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void Deconfigure_leaves_endpoint_0_alone_in_an_addressed_slot(SlotAt state)
    {
        using var bench = new CommandBench(state);

        // The input context is not looked at (§6.4.3.5).
        CommandResult result = bench.Driver.ConfigureEndpoint(bench.Slot, Unmapped, deconfigure: true);

        Assert.True(result.Ok);
        Assert.Equal((GuestSlotState.Addressed, 1u, 1u), (bench.Output.Slot.SlotState, bench.Output.Slot.Entries, bench.Output.Slot.DeviceAddress));
        Assert.Equal(GuestEndpointState.Running, bench.State(Control));
        for (int dci = 2; dci < 32; dci++) Assert.Equal(GuestEndpointState.Disabled, bench.State(dci));
    }

    [Fact]
    public void Deconfigure_waits_for_transfers_and_ends_them_without_events()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);

        ulong command = bench.Begin(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, bench.Slot, 0, 0, GuestTrb.Deconfigure));
        bool early = bench.Driver.TryTakeCommand(command, out _);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);

        Assert.False(early);
        Assert.True(bench.Driver.WaitCommand(command).Ok);
        Assert.Empty(bench.Events());
    }

    [Fact]
    public void Dequeue_pointer_that_is_not_mapped_is_no_error_before_the_doorbell()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        GuestContext wanted = bench.Add(BulkIn);
        wanted.DequeuePointer = Unmapped | 1;

        CommandResult result = bench.SendConfigure();
        bool healthy = !bench.HostSystemError;
        bench.ExpectedRefusals = 2;
        bench.Kick(BulkIn);

        Assert.True(result.Ok);
        Assert.True(healthy);
        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Refused_endpoint_leaves_everything_as_it_was_and_running_transfers_alone()
    {
        using var bench = new CommandBench();
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        byte[] before = bench.Snapshot();
        bench.NewConfigure();
        bench.Input.Drop(BulkIn);
        bench.Input.Drop(InterruptIn);
        GuestContext bad = bench.Add(InterruptIn);
        bad.MaxPacketSize = 0;

        CommandResult result = bench.SendConfigure();

        Assert.Equal(GuestCompletion.ParameterError, result.Code);
        Assert.Equal(before, bench.Snapshot());
        Assert.Single(bench.Device.Held);
        Assert.DoesNotContain("cancel", string.Join(' ', bench.Device.Calls));
    }

    [Fact]
    public void Input_context_that_is_not_mapped_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Addressed) { ExpectedRefusals = 1 };

        bench.Begin(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, bench.Slot, 0, Unmapped));

        Assert.True(bench.HostSystemError);
    }

    [Theory]
    [InlineData(GuestTrb.Deconfigure)]
    [InlineData(0u)]
    public void Output_context_that_cannot_be_written_is_a_host_system_error(uint flags)
    {
        using var bench = new CommandBench() { ExpectedRefusals = 1 };
        bench.NewConfigure();
        bench.Input.Drop(BulkIn);

        // The input context shares no page with what is protected.
        GuestInputContext far = new(bench.Driver.Platform, bench.Driver.Memory.Allocate(8192), 32);
        bench.Bytes(bench.Input.Buffer.Address, 1056).AsSpan().CopyTo(bench.Driver.Platform.Memory(far.Buffer.Address, 1056));
        bench.Protect(bench.Output.Buffer.Address, MemoryProtection.ReadOnly);
        bench.Begin(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, bench.Slot, 0, far.Buffer.Address, flags));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Slot_context_that_cannot_be_written_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Addressed) { ExpectedRefusals = 1 };
        bench.NewConfigure();
        bench.Protect(bench.Output.Buffer.Address, MemoryProtection.ReadOnly);

        bench.Begin(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, bench.Slot, 0, bench.Input.Buffer.Address));

        Assert.True(bench.HostSystemError);
    }
}
