using Xunit;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Stop Endpoint on an endpoint with streams (xHCI 1.2 §4.6.9, §4.12, §6.2.4.1).</summary>
public sealed class StopStreamTests
{
    [Fact]
    public void Two_stopped_streams_each_get_an_event_and_their_place_in_the_stream_context()
    {
        using CommandBench bench = WithStreams();
        GuestRing one = bench.StreamRing(1);
        GuestRing two = bench.StreamRing(2);
        ulong first = one.Enqueue(bench.Normal(1024));
        ulong second = one.Enqueue(bench.Normal(2048));
        ulong other = two.Enqueue(bench.Normal(4096));
        bench.Kick(BulkIn, 1);
        bench.Kick(BulkIn, 2);
        UsbRequest cut = bench.Device.Held[1];
        bench.Device.CancelsAtOnce = false;
        bench.Device.CompleteNext();
        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.Complete(bench.Device.Held[1], RequestStatus.Cancelled, 0);
        bench.Device.Complete(cut, RequestStatus.Cancelled, 500);

        CommandResult result = bench.Driver.WaitCommand(stop);
        var events = bench.Events();
        ulong array = bench.Streams!.Primary.Address;
        ulong placeOne = bench.Read64(array + 16);
        uint edtla = (uint)bench.Read64(array + 24) & 0xffffff;
        ulong placeTwo = bench.Read64(array + 32);
        bench.Kick(BulkIn, 1);
        UsbRequest resumed = Assert.Single(bench.Device.Held);

        Assert.True(result.Ok);
        Assert.Equal(3, events.Count);
        Assert.Contains((GuestCompletion.Success, first, 0), events);
        Assert.Contains((GuestCompletion.Stopped, second, 1548), events);
        Assert.Contains((GuestCompletion.Stopped, other, 4096), events);
        Assert.Equal((second | 3, 500u, other | 3), (placeOne, edtla, placeTwo));
        Assert.Equal((1548, (ushort)1), (resumed.Length, resumed.StreamId));
    }

    [Fact]
    public void Stall_on_one_stream_while_another_is_cut_fails_the_command_and_loses_neither()
    {
        using CommandBench bench = WithStreams();
        ulong stalled = bench.StreamRing(1).Enqueue(bench.Normal(1024));
        ulong cut = bench.StreamRing(2).Enqueue(bench.Normal(2048));
        bench.Device.CancelsAtOnce = false;
        bench.Kick(BulkIn, 1);
        bench.Kick(BulkIn, 2);
        UsbRequest second = bench.Device.Held[1];

        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Stall, 0);
        bench.Device.Complete(second, RequestStatus.Cancelled, 1024);
        CommandResult result = bench.Driver.WaitCommand(stop);
        var events = bench.Events();
        bench.Driver.ResetEndpoint(bench.Slot, BulkIn).Require("Reset Endpoint");
        bench.Kick(BulkIn, 2);
        UsbRequest resumed = Assert.Single(bench.Device.Held, request => request.StreamId == 2);

        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.Contains((GuestCompletion.Stall, stalled, 1024), events);
        Assert.DoesNotContain(events, entry => entry.Pointer == cut && entry.Code == GuestCompletion.Success);
        Assert.Equal(1024, resumed.Length);
    }
}
