using System;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.Pipeline.State;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class PipelineStateTests
{
    private static PipelineRig Twin(bool configured = true)
    {
        var rig = new PipelineRig();
        rig.Device.SetConfigured(configured);
        rig.Pipeline.Attach(Port1, rig.Device);
        rig.Frontend.TakeEvents();
        return rig;
    }

    private static UsbRequest WithProgress(UsbRequest request, int actual)
    {
        request.ActualLength = actual;
        return request;
    }

    [Fact]
    public void Restore_in_the_middle_of_transfers_shows_the_same_tree_and_goes_on()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);
        UsbRequest bulk = rig.Submit(Bulk());
        rig.Submit(Interrupt());
        rig.Submit(Interrupt());
        rig.Submit(Iso(500));
        rig.Device.Fill(bulk, new byte[100]);
        Assert.True(rig.Pipeline.TrySettle(rig.Now));
        string before = InspectWriter.Dump(rig.Pipeline);

        PipelineStateV1 state = rig.Pipeline.Capture();
        PipelineRig twin = Twin();
        Assert.True(twin.Pipeline.TryRestore(state, out string error), error);
        UsbRequest again = twin.Submit(WithProgress(Bulk(), 100));
        twin.Submit(Interrupt());
        twin.Submit(Interrupt());
        twin.Submit(Iso(500));

        Assert.Equal(before, InspectWriter.Dump(twin.Pipeline));
        Assert.Equal(100, again.ActualLength);
        Assert.Equal(VirtualTime.AtMicroframe(108), twin.Pipeline.NextDeadline);
        twin.RunTo(108);
        Assert.Equal(3, twin.Device.Held.Count);
        twin.Device.CompleteNext();
        twin.Run();
        Assert.Equal("completed ep1in Success 512", twin.Frontend.TakeEvents());
    }

    [Fact]
    public void Restore_keeps_alternate_setting_streams_and_suspend()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(new SetupPacket(1, 11, 1, 0, 0)));
        rig.Pipeline.SetStreams(Port1, new EndpointAddress(5, true), 16);
        rig.Pipeline.SetSuspended(Port1, true);
        rig.Device.Host!.RemoteWake();
        Assert.Throws<InvalidOperationException>(() => rig.Pipeline.Capture());
        Assert.True(rig.Pipeline.TrySettle(rig.Now));
        rig.Device.Host.RemoteWake();

        PipelineStateV1 state = rig.Pipeline.Capture();
        PipelineRig twin = Twin();
        Assert.True(twin.Pipeline.TryRestore(state, out _));

        Assert.Equal(InspectWriter.Dump(rig.Pipeline), InspectWriter.Dump(twin.Pipeline));
        twin.Run();
        Assert.Equal("port 1 wake", twin.Frontend.TakeEvents());
        Assert.Equal(["attached"], twin.Device.Calls);
    }

    [Fact]
    public void Restore_of_a_reset_under_way_starts_it_again()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.ResetsAtOnce = false;
        rig.Pipeline.ResetPort(Port1);

        PipelineRig twin = Twin(configured: false);
        Assert.True(twin.Pipeline.TryRestore(rig.Pipeline.Capture(), out _));
        twin.Run();

        Assert.Equal("port 1 reset done", twin.Frontend.TakeEvents());
    }

    [Fact]
    public void Restore_of_a_finished_reset_tells_it()
    {
        var rig = new PipelineRig();
        rig.Pipeline.ResetPort(new PortNumber(2));

        var twin = new PipelineRig();
        Assert.True(twin.Pipeline.TryRestore(rig.Pipeline.Capture(), out _));
        twin.Run();

        Assert.Equal("port 2 reset done", twin.Frontend.TakeEvents());
    }

    [Fact]
    public void TrySettle_holds_new_requests_back_and_they_go_later()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CompletesAtOnce = true;
        rig.Frontend.OnCompleted = r => rig.Pipeline.Submit(r);
        rig.Submit(Bulk());

        Assert.True(rig.Pipeline.TrySettle(rig.Now));

        Assert.Equal("1", rig.Inspect("/port/1/ep1in/waiting"));
        rig.Frontend.OnCompleted = null;
        rig.Frontend.TakeEvents();
        rig.Run();
        Assert.Equal("completed ep1in Success 512", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void TrySettle_of_a_frontend_that_repeats_a_refused_request_gives_up()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Frontend.OnCompleted = r => rig.Pipeline.Submit(r);
        rig.Submit(Bulk(UsbRequest.MaxLength + 1));

        Assert.False(rig.Pipeline.TrySettle(rig.Now));

        Assert.Equal(PipelineLimits.SettleRounds, rig.Frontend.CompletedCount - 2);
    }

    private static PortStateV1 Valid()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());
        return rig.Pipeline.Capture().Ports[0];
    }

    public static TheoryData<string, PortStateV1?> HostilePorts()
    {
        PortStateV1 valid = Valid();
        PortStateV1 Endpoint(Func<EndpointStateV1, EndpointStateV1> change) => valid with { Endpoints = [change(valid.Endpoints[^1])] };
        PortStateV1 Counter(Func<TransferCountersStateV1, TransferCountersStateV1> change) => valid with { Counters = change(valid.Counters) };
        PortStateV1 empty = valid with { Attached = false };
        return new TheoryData<string, PortStateV1?>
        {
            { "null", null },
            { "no alternates", valid with { Alternates = null! } },
            { "no endpoints", valid with { Endpoints = null! } },
            { "no counters", valid with { Counters = null! } },
            { "empty", empty },
            { "address", valid with { Address = 128 } },
            { "faults", valid with { DeviceFaults = -1 } },
            { "alternate", valid with { Alternates = [new AlternateStateV1(0, 7)] } },
            { "null alternate", valid with { Alternates = [null!] } },
            { "alternates", valid with { Alternates = Enumerable.Repeat(new AlternateStateV1(0, 1), 33).ToArray() } },
            { "alternates without configuration", valid with { Configured = false, Alternates = [new AlternateStateV1(0, 1)] } },
            { "null endpoint", valid with { Endpoints = [null!] } },
            { "twice", valid with { Endpoints = [valid.Endpoints[0], valid.Endpoints[0]] } },
            { "index 1", Endpoint(e => e with { Index = 1 }) },
            { "index 32", Endpoint(e => e with { Index = 32 }) },
            { "index -1", Endpoint(e => e with { Index = -1 }) },
            { "handed over", Endpoint(e => e with { HandedOver = -1 }) },
            { "handed over many", Endpoint(e => e with { HandedOver = PipelineLimits.OutstandingPerPort + 1 }) },
            { "streams", Endpoint(e => e with { Streams = 65534 }) },
            { "negative streams", Endpoint(e => e with { Streams = -1 }) },
            { "endpoint counters", Endpoint(e => e with { Counters = null! }) },
            { "submitted", Counter(c => c with { Submitted = -1 }) },
            { "completed", Counter(c => c with { Completed = long.MaxValue }) },
            { "unlinked", Counter(c => c with { Unlinked = -1 }) },
            { "stalls", Counter(c => c with { Stalls = -1 }) },
            { "errors", Counter(c => c with { TransactionErrors = -1 }) },
            { "babbles", Counter(c => c with { Babbles = -1 }) },
            { "no device", Counter(c => c with { NoDevice = -1 }) },
            { "memory", Counter(c => c with { MemoryFaults = -1 }) },
            { "full", Counter(c => c with { QueueFull = -1 }) },
            { "in", Counter(c => c with { BytesIn = -1 }) },
            { "out", Counter(c => c with { BytesOut = -1 }) },
            { "high", Counter(c => c with { HighWater = -1 }) },
        };
    }

    [Theory]
    [MemberData(nameof(HostilePorts), DisableDiscoveryEnumeration = true)]
    public void Restore_of_a_hostile_port_is_refused_with_a_reason(string what, PortStateV1? port)
    {
        PipelineRig twin = Twin();
        PortStateV1 second = new PipelineRig().Pipeline.Capture().Ports[1];

        Assert.False(twin.Pipeline.TryRestore(new PipelineStateV1(0, [port!, second]), out string error), what);

        Assert.StartsWith("Port 1: ", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("address")]
    [InlineData("configured")]
    [InlineData("suspended")]
    [InlineData("resetting")]
    [InlineData("wake")]
    [InlineData("alternates")]
    [InlineData("attached")]
    public void Restore_of_an_empty_port_with_a_devices_state_is_refused(string what)
    {
        var twin = new PipelineRig();
        PipelineStateV1 state = twin.Pipeline.Capture();
        PortStateV1 port = state.Ports[0];
        state.Ports[0] = what switch
        {
            "address" => port with { Address = 1 },
            "configured" => port with { Configured = true },
            "suspended" => port with { Suspended = true },
            "resetting" => port with { Resetting = true },
            "wake" => port with { Wake = true },
            "alternates" => port with { Alternates = [new AlternateStateV1(0, 1)] },
            _ => port with { Attached = true },
        };

        Assert.False(twin.Pipeline.TryRestore(state, out string error));

        Assert.NotEmpty(error);
    }

    [Fact]
    public void Restore_with_another_number_of_ports_or_nothing_is_refused()
    {
        PipelineRig twin = Twin();

        Assert.False(twin.Pipeline.TryRestore(null!, out _));
        Assert.False(twin.Pipeline.TryRestore(new PipelineStateV1(0, null!), out _));
        Assert.False(twin.Pipeline.TryRestore(new PipelineStateV1(0, []), out string error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void Restore_with_a_device_that_is_not_configured_is_refused()
    {
        PipelineRig twin = Twin(configured: false);
        PortStateV1 second = new PipelineRig().Pipeline.Capture().Ports[1];

        Assert.False(twin.Pipeline.TryRestore(new PipelineStateV1(0, [Valid(), second]), out string error));

        Assert.Contains("another configuration", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Restore_while_requests_are_outstanding_is_refused()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());

        Assert.False(rig.Pipeline.TryRestore(rig.Pipeline.Capture(), out string error));

        Assert.Contains("outstanding", error, StringComparison.Ordinal);
    }
}
