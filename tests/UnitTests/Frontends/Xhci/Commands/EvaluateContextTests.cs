using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Evaluate Context (xHCI 1.2 §4.6.7).</summary>
public sealed class EvaluateContextTests
{
    [Theory]
    [InlineData(SlotAt.Disabled, GuestCompletion.SlotNotEnabled)]
    [InlineData(SlotAt.Enabled, GuestCompletion.ContextStateError)]
    public void Slot_without_a_device_is_refused(SlotAt state, GuestCompletion expected)
    {
        using var bench = new CommandBench(state);

        Assert.Equal(expected, bench.SendEvaluate().Code);
    }

    // UEFI firmware fills in Max Packet Size and nothing else.
    [Theory]
    [InlineData(SlotAt.Default)]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void Packet_size_of_endpoint_0_is_taken_and_nothing_else_of_its_context(SlotAt state)
    {
        using var bench = new CommandBench(state, UsbSpeed.Full);
        byte[] before = bench.Snapshot();
        bench.Input.Clear();
        bench.Input.Add(1);
        GuestContext wanted = bench.Input.Endpoint(1);
        wanted.MaxPacketSize = 64;

        CommandResult result = bench.SendEvaluate();

        Assert.True(result.Ok);
        Assert.Equal(64u, bench.EndpointContext(Control).MaxPacketSize);
        GuestContext control = bench.EndpointContext(Control);
        control.MaxPacketSize = 8;
        ulong place = bench.Ring(Control).EnqueuePointer | 1;
        Assert.Equal(place, control.DequeuePointer);
        control.DequeuePointer = System.BitConverter.ToUInt64(before, 32 + 8);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData(SlotAt.Addressed)]
    [InlineData(SlotAt.Configured)]
    public void Exit_latency_and_interrupter_of_the_slot_are_taken_and_nothing_else(SlotAt state)
    {
        using var bench = new CommandBench(state);
        byte[] before = bench.Snapshot();
        bench.Input.Clear();
        bench.Input.Add(0);
        GuestContext wanted = bench.Input.Slot;
        for (int i = 0; i < 8; i++) wanted[i] = uint.MaxValue;
        wanted.SlotInterrupter = 7;

        CommandResult result = bench.SendEvaluate();

        // Leaving U1 and U2 takes no time here, so no exit latency is too large.
        Assert.True(result.Ok);
        GuestContext slot = bench.Output.Slot;
        Assert.Equal((0xffffu, 7u), (slot.MaxExitLatency, slot.SlotInterrupter));
        slot.MaxExitLatency = 0;
        slot.SlotInterrupter = 0;
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void No_flags_change_nothing()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        byte[] before = bench.Snapshot();
        bench.Input.Clear();

        Assert.True(bench.SendEvaluate().Ok);
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void Flags_of_other_endpoints_are_not_evaluated()
    {
        using var bench = new CommandBench();
        byte[] before = bench.Snapshot();
        bench.Input.Clear();
        bench.Input.Add(BulkIn);

        Assert.True(bench.SendEvaluate().Ok);
        Assert.Equal(before, bench.Snapshot());
    }

    [Theory]
    [InlineData("drop")]
    [InlineData("interrupter")]
    [InlineData("zero packet")]
    [InlineData("long packet")]
    public void Input_out_of_range_is_a_parameter_error_that_changes_nothing(string what)
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        byte[] before = bench.Snapshot();
        bench.FillAddress();
        GuestContext slot = bench.Input.Slot;
        GuestContext control = bench.Input.Endpoint(1);
        slot.MaxExitLatency = 5;
        switch (what)
        {
            case "drop": bench.Input.Drop(4); break;
            case "interrupter": slot.SlotInterrupter = 16; break;
            case "zero packet": control.MaxPacketSize = 0; break;
            default: control.MaxPacketSize = 1024; break;
        }

        Assert.Equal(GuestCompletion.ParameterError, bench.SendEvaluate().Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void Input_context_that_is_not_mapped_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Addressed) { ExpectedRefusals = 1 };

        bench.Begin(GuestTrb.Command(GuestTrbType.EvaluateContext, bench.Slot, 0, Unmapped));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Output_context_that_cannot_be_written_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Addressed) { ExpectedRefusals = 1 };
        bench.Input.Clear();
        bench.Input.Add(0);
        bench.Protect(bench.Output.Buffer.Address, MemoryProtection.ReadOnly);

        bench.Begin(GuestTrb.Command(GuestTrbType.EvaluateContext, bench.Slot, 0, bench.Input.Buffer.Address));

        Assert.True(bench.HostSystemError);
    }
}
