using Xunit;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Stop Endpoint: codes by state, exact progress, resumption (xHCI 1.2 §4.6.9).</summary>
public sealed class StopEndpointTests
{
    private const uint Ioc = GuestTrb.InterruptOnCompletion;
    private const uint Chain = GuestTrb.Chain;

    [Fact]
    public void Slot_that_is_disabled_is_refused()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Stop(Control).Code);
    }

    [Theory]
    [InlineData(EndpointAt.Halted, GuestEndpointState.Halted)]
    [InlineData(EndpointAt.Stopped, GuestEndpointState.Stopped)]
    [InlineData(EndpointAt.Error, GuestEndpointState.Error)]
    public void Endpoint_that_does_not_run_is_a_context_state_error(EndpointAt state, GuestEndpointState kept)
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, state);

        CommandResult result = bench.Stop(BulkIn);

        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.Equal(kept, bench.State(BulkIn));
        Assert.Empty(bench.Events());
    }

    [Theory]
    [InlineData(Unused, GuestCompletion.EndpointNotEnabled)]
    [InlineData(0, GuestCompletion.TrbError)]
    public void Endpoint_that_is_disabled_or_does_not_exist_is_refused(int dci, GuestCompletion expected)
    {
        using var bench = new CommandBench();

        Assert.Equal(expected, bench.Stop(dci).Code);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Idle_endpoint_stops_without_a_transfer_event(bool suspend)
    {
        using var bench = new CommandBench();
        ulong place = bench.Ring(BulkIn).EnqueuePointer;

        CommandResult result = bench.Stop(BulkIn, suspend);

        Assert.Equal(GuestCompletion.Success, result.Code);
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
        Assert.Equal(place | 1, bench.EndpointContext(BulkIn).DequeuePointer);
        Assert.Empty(bench.Events());
        Assert.Empty(bench.Device.Calls);
    }

    [Theory]
    [InlineData(BulkOut)]
    [InlineData(BulkIn)]
    public void Transfer_cut_in_its_second_trb_tells_the_rest_and_resumes_with_exactly_that(int dci)
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        GuestTrb second = bench.Normal(1000, Chain | Ioc);
        GuestTrb third = bench.Normal(536);
        ulong[] at = bench.Queue(dci, bench.Normal(512, Chain), second, third);
        bench.Kick(dci);
        UsbRequest first = bench.Device.Held[0];

        ulong stop = bench.BeginStop(dci);
        bool early = bench.Driver.TryTakeCommand(stop, out _);
        bench.Device.Complete(first, RequestStatus.Cancelled, 512 + 300);
        CommandResult result = bench.Driver.WaitCommand(stop);
        var stopped = bench.Events();
        ulong place = bench.EndpointContext(dci).DequeuePointer;
        bench.Kick(dci);
        UsbRequest rest = Assert.Single(bench.Device.Held);
        (int length, ulong address) = (rest.Length, rest.Data.Segments[0].Address.Value);
        bench.Device.Complete(rest);

        Assert.False(early);
        Assert.Equal(GuestCompletion.Success, result.Code);
        Assert.Equal([(GuestCompletion.Stopped, at[1], 700)], stopped);
        Assert.Equal(at[1] | 1, place);
        Assert.Equal((700 + 536, second.Parameter + 300), (length, address));
        Assert.Equal([(GuestCompletion.Success, at[1], 0), (GuestCompletion.Success, at[2], 0)], bench.Events());
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Transfer_cut_on_a_border_stops_at_the_next_trb_with_its_whole_length()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512, Chain | Ioc), bench.Normal(512));
        bench.Kick(BulkIn);

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 512);
        CommandResult result = bench.Driver.WaitCommand(stop);
        bench.Kick(BulkIn);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Success, at[0], 0), (GuestCompletion.Stopped, at[1], 512)], bench.Events());
        Assert.Equal(512, Assert.Single(bench.Device.Held).Length);
    }

    [Fact]
    public void Cancelled_transfer_that_had_moved_everything_is_not_moved_again()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkOut, bench.Normal(512));
        bench.Kick(BulkOut);

        ulong stop = bench.BeginStop(BulkOut);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 512);
        bench.Driver.WaitCommand(stop);
        bench.Kick(BulkOut);

        Assert.Equal([(GuestCompletion.Stopped, at[0], 0), (GuestCompletion.Success, at[0], 0)], bench.Events());
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Open_td_without_its_next_trb_stops_with_an_invalid_length()
    {
        using var bench = new CommandBench();
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512, Chain));
        bench.Kick(BulkIn);
        bench.Device.CompleteNext();

        CommandResult result = bench.Stop(BulkIn);
        var events = bench.Events();
        ulong[] rest = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        UsbRequest request = bench.Device.CompleteNext();

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.StoppedLengthInvalid, at[0] + 16, 0)], events);
        Assert.Equal(512, request.Length);
        Assert.Equal([(GuestCompletion.Success, rest[0], 0)], bench.Events());
    }

    [Fact]
    public void Open_td_after_a_short_packet_stops_with_what_it_moved()
    {
        using var bench = new CommandBench();
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512, Chain | GuestTrb.InterruptOnShort));
        bench.Kick(BulkIn);
        bench.Device.CompleteNext(actual: 100);

        CommandResult result = bench.Stop(BulkIn);
        var events = bench.Events();
        bench.Queue(BulkIn, bench.Normal(512, 0));
        ulong[] next = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.ShortPacket, at[0], 412), (GuestCompletion.StoppedShortPacket, at[0] + 16, 100)], events);
        bench.Device.CompleteNext();
        Assert.Equal([(GuestCompletion.Success, next[0], 0)], bench.Events());
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Of_several_transfers_the_first_unfinished_one_gets_the_event_and_all_go_on_later()
    {
        using var bench = new CommandBench();
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512), bench.Normal(512), bench.Normal(512));
        bench.Kick(BulkIn);
        bench.Device.CompleteNext();

        CommandResult result = bench.Stop(BulkIn);
        var events = bench.Events();
        ulong place = bench.EndpointContext(BulkIn).DequeuePointer;
        bench.Kick(BulkIn);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Success, at[0], 0), (GuestCompletion.Stopped, at[1], 512)], events);
        Assert.Equal(at[1] | 1, place);
        Assert.Equal(3, bench.Device.Held.Count);
        for (int i = 1; i < 4; i++)
        {
            bench.Device.CompleteNext();
            Assert.Equal([(GuestCompletion.Success, at[i], 0)], bench.Events());
        }
    }

    [Fact]
    public void Command_waits_until_every_transfer_is_back()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkOut, bench.Normal(100), bench.Normal(200), bench.Normal(300));
        bench.Kick(BulkOut);
        UsbRequest[] held = [.. bench.Device.Held];

        ulong stop = bench.BeginStop(BulkOut);
        for (int i = 2; i >= 0; i--)
        {
            Assert.False(bench.Driver.TryTakeCommand(stop, out _));
            bench.Device.Complete(held[i], RequestStatus.Cancelled, 0);
        }

        Assert.True(bench.Driver.WaitCommand(stop).Ok);
        Assert.Single(bench.Events());
    }

    [Fact]
    public void Completion_that_arrives_while_the_command_waits_is_reported_first()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512));
        bench.Kick(BulkIn);
        UsbRequest second = bench.Device.Held[1];

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Success);
        bench.Device.Complete(second, RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Success, at[0], 0), (GuestCompletion.Stopped, at[1], 512)], bench.Events());
    }

    [Fact]
    public void All_transfers_done_while_the_command_waits_leave_nothing_to_stop()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext();
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Success, at[0], 0)], bench.Events());
        Assert.Equal(bench.Ring(BulkIn).EnqueuePointer | 1, bench.EndpointContext(BulkIn).DequeuePointer);
    }

    [Fact]
    public void Stall_while_the_command_waits_halts_the_endpoint_and_fails_the_command()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        ulong[] at = bench.Queue(BulkIn, bench.Normal(512), bench.Normal(512));
        bench.Kick(BulkIn);
        UsbRequest second = bench.Device.Held[1];

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Stall, 0);
        bench.Device.Complete(second, RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(stop);

        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.Equal([(GuestCompletion.Stall, at[0], 512)], bench.Events());
        Assert.Equal(GuestEndpointState.Halted, bench.State(BulkIn));
        Assert.Equal(at[0] | 1, bench.EndpointContext(BulkIn).DequeuePointer);
    }

    [Fact]
    public void Doorbell_before_the_command_is_done_does_not_start_anything()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);

        ulong stop = bench.BeginStop(BulkIn);
        bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        int held = bench.Device.Held.Count;
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        bench.Driver.WaitCommand(stop);

        Assert.Equal(1, held);
        Assert.Empty(bench.Device.Held);
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
    }

    [Fact]
    public void Dequeue_pointer_after_a_wrap_carries_the_other_cycle_state()
    {
        using var bench = new CommandBench();
        bench.Device.CompletesAtOnce = true;
        for (int i = 0; i < 63; i++)
        {
            ulong at = bench.Queue(BulkIn, bench.Normal(512))[0];
            bench.Kick(BulkIn);
            bench.Ring(BulkIn).ReleaseThrough(at);
            bench.Events();
        }

        bench.Device.CompletesAtOnce = false;
        ulong[] last = bench.Queue(BulkIn, bench.Normal(512));
        bench.Kick(BulkIn);
        bench.Stop(BulkIn).Require("Stop Endpoint");

        Assert.Equal(bench.Ring(BulkIn).Base, last[0]);
        Assert.Equal(last[0], bench.EndpointContext(BulkIn).DequeuePointer);
    }

    [Fact]
    public void Cut_isochronous_td_starts_anew_as_a_whole()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        GuestBuffer buffer = bench.Driver.AllocateBuffer(256);
        ulong[] at = bench.Queue(
            IsochIn,
            GuestTrb.Isoch(buffer.Address, 100, null, 0, 0, Chain),
            GuestTrb.Normal(buffer.Address + 100, 156, Ioc));
        bench.Kick(IsochIn);

        ulong stop = bench.BeginStop(IsochIn);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 150);
        CommandResult result = bench.Driver.WaitCommand(stop);
        var stopped = bench.Events();
        ulong place = bench.EndpointContext(IsochIn).DequeuePointer;
        bench.Kick(IsochIn);
        UsbRequest again = Assert.Single(bench.Device.Held);
        again.Packets[0].ActualLength = 256;
        bench.Device.Complete(again);

        Assert.True(result.Ok);
        Assert.Equal([(GuestCompletion.Stopped, at[1], 106)], stopped);
        Assert.Equal(at[0] | 1, place);
        Assert.Equal(256, again.Length);
        Assert.Equal((GuestCompletion.Success, at[1], 0), bench.Events()[0]);
    }

    [Fact]
    public void Isochronous_endpoint_between_tds_stops_without_an_underrun_later()
    {
        using var bench = new CommandBench();
        GuestBuffer buffer = bench.Driver.AllocateBuffer(256);
        bench.Queue(IsochOut, GuestTrb.Isoch(buffer.Address, 256, null, 0, 0, Ioc));
        bench.Kick(IsochOut);
        UsbRequest request = bench.Device.Held[0];
        request.Packets[0].ActualLength = 256;
        bench.Device.Complete(request);
        bench.Events();

        CommandResult result = bench.Stop(IsochOut);
        bench.Machine.AdvanceBy(20_000_000);

        Assert.True(result.Ok);
        Assert.Empty(bench.Events());
        Assert.Equal(GuestEndpointState.Stopped, bench.State(IsochOut));
    }
}
