using Xunit;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Reset Endpoint (xHCI 1.2 §4.6.8).</summary>
public sealed class ResetEndpointTests
{
    [Fact]
    public void Slot_that_is_disabled_is_refused()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.ResetEndpoint(bench.Slot, Control).Code);
    }

    [Theory]
    [InlineData(Unused, GuestCompletion.EndpointNotEnabled)]
    [InlineData(0, GuestCompletion.TrbError)]
    public void Endpoint_that_is_disabled_or_does_not_exist_is_refused(int dci, GuestCompletion expected)
    {
        using var bench = new CommandBench();

        Assert.Equal(expected, bench.Driver.ResetEndpoint(bench.Slot, dci).Code);
    }

    [Theory]
    [InlineData(EndpointAt.Running)]
    [InlineData(EndpointAt.Stopped)]
    [InlineData(EndpointAt.Error)]
    public void Endpoint_that_is_not_halted_is_a_context_state_error(EndpointAt state)
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, state);

        CommandResult result = bench.Driver.ResetEndpoint(bench.Slot, BulkIn);

        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.Equal((GuestEndpointState)state, bench.State(BulkIn));
    }

    // TSP = 1 retries from the byte where the error was; TSP = 0 counts the TRB as not begun.
    [Theory]
    [InlineData(false, 1000)]
    [InlineData(true, 700)]
    public void Halted_endpoint_is_stopped_at_the_failed_trb_and_retries_at_the_doorbell(bool preserve, int expected)
    {
        using var bench = new CommandBench();
        ulong[] at = bench.Queue(BulkOut, bench.Normal(512, GuestTrb.Chain), bench.Normal(1000), bench.Normal(100));
        bench.Kick(BulkOut);
        bench.Device.CompleteNext(RequestStatus.Stall, 812);
        var events = bench.Events();

        CommandResult result = bench.Driver.ResetEndpoint(bench.Slot, BulkOut, preserve);
        GuestEndpointState state = bench.State(BulkOut);
        ulong place = bench.EndpointContext(BulkOut).DequeuePointer;
        int before = bench.Device.Held.Count;
        bench.Kick(BulkOut);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Stall, at[1], 700)], events);
        Assert.Equal((GuestEndpointState.Stopped, at[1] | 1), (state, place));
        Assert.Equal(0, before);
        Assert.Equal(expected, bench.Device.Held[0].Length);
    }

    [Fact]
    public void Command_waits_until_what_the_error_unlinked_is_back()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512));
        bench.Kick(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Stall, 0);
        bench.Events();

        ulong reset = bench.Begin(GuestTrb.Command(GuestTrbType.ResetEndpoint, bench.Slot, BulkIn));
        bool early = bench.Driver.TryTakeCommand(reset, out _);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(reset);

        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Empty(bench.Events());
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
    }

    [Fact]
    public void Doorbell_of_a_halted_endpoint_does_nothing()
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, EndpointAt.Halted);

        bench.Kick(BulkIn);

        Assert.Empty(bench.Device.Held);
        Assert.Equal(GuestEndpointState.Halted, bench.State(BulkIn));
    }

    [Fact]
    public void Both_streams_of_a_halted_endpoint_go_on_after_the_reset()
    {
        using CommandBench bench = WithStreams();
        bench.StreamRing(1).Enqueue(bench.Normal(1024));
        bench.StreamRing(2).Enqueue(bench.Normal(2048));
        bench.Kick(BulkIn, 1);
        bench.Kick(BulkIn, 2);
        bench.Device.CompleteNext(RequestStatus.Stall, 0);
        bench.Events();

        bench.Driver.ResetEndpoint(bench.Slot, BulkIn).Require("Reset Endpoint");
        bench.Kick(BulkIn, 1);
        bench.Kick(BulkIn, 2);

        Assert.Contains(bench.Device.Held, request => request is { StreamId: 1, Length: 1024 });
        Assert.Contains(bench.Device.Held, request => request is { StreamId: 2, Length: 2048 });
    }
}
