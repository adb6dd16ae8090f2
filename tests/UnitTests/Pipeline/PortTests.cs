using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class PortTests
{
    private static readonly PortNumber Port2 = new(2);

    [Fact]
    public void Attach_tells_device_and_frontend()
    {
        var rig = new PipelineRig();

        Assert.Equal(AttachResult.Attached, rig.Pipeline.Attach(Port1, rig.Device));

        Assert.True(rig.Device.IsAttached);
        Assert.Equal("port 1 changed", rig.Frontend.TakeEvents());
        Assert.Equal(UsbSpeed.High, rig.Pipeline.AttachedSpeed(Port1));
        Assert.Same(rig.Device, rig.Pipeline.AttachedDevice(Port1));
        Assert.Null(rig.Pipeline.AttachedSpeed(Port2));
        Assert.Null(rig.Pipeline.AttachedSpeed(new PortNumber(3)));
    }

    [Theory]
    [InlineData(0, AttachResult.NoSuchPort)]
    [InlineData(3, AttachResult.NoSuchPort)]
    [InlineData(-1, AttachResult.NoSuchPort)]
    [InlineData(1, AttachResult.PortTaken)]
    public void Attach_to_a_port_that_is_missing_or_taken_is_refused(int port, AttachResult expected)
    {
        var rig = new PipelineRig();
        rig.Pipeline.Attach(Port1, rig.Device);
        var second = new FakeDevice();

        Assert.Equal(expected, rig.Pipeline.Attach(new PortNumber(port), second));

        Assert.False(second.IsAttached);
    }

    [Fact]
    public void Attach_of_a_device_that_is_attached_is_refused()
    {
        var rig = new PipelineRig();
        rig.Pipeline.Attach(Port1, rig.Device);

        Assert.Equal(AttachResult.AlreadyAttached, rig.Pipeline.Attach(Port2, rig.Device));
    }

    [Theory]
    [InlineData(UsbSpeed.Low, AllowedSpeeds.Low)]
    [InlineData(UsbSpeed.Full, AllowedSpeeds.Full)]
    [InlineData(UsbSpeed.High, AllowedSpeeds.High)]
    [InlineData(UsbSpeed.Super, AllowedSpeeds.Super)]
    public void Rule_admits_its_speeds_alone(UsbSpeed speed, AllowedSpeeds allowed)
    {
        var rig = new PipelineRig();
        rig.Pipeline.SetRule(Port1, new PortRule(AllowedSpeeds.Any & ~allowed));
        rig.Pipeline.SetRule(Port2, new PortRule(allowed));
        rig.Pipeline.SetRule(new PortNumber(9), new PortRule(allowed));
        rig.Device.Speed = speed;

        Assert.Equal(AttachResult.SpeedNotAllowed, rig.Pipeline.Attach(Port1, rig.Device));
        Assert.Equal(AttachResult.Attached, rig.Pipeline.Attach(Port2, rig.Device));
    }

    [Fact]
    public void Attach_of_an_unknown_speed_is_refused()
    {
        var rig = new PipelineRig();
        rig.Device.Speed = (UsbSpeed)17;

        Assert.Equal(AttachResult.SpeedNotAllowed, rig.Pipeline.Attach(Port1, rig.Device));
    }

    [Fact]
    public void Attach_before_the_frontend_connects_is_found_by_asking()
    {
        var pipeline = new UsbPipeline(1, new InProcessMemory(4096));
        pipeline.Attach(Port1, new FakeDevice(UsbSpeed.Super));
        var frontend = new FakeFrontend();

        pipeline.Connect(frontend);

        Assert.Empty(frontend.Events);
        Assert.Equal(UsbSpeed.Super, pipeline.AttachedSpeed(Port1));
        Assert.Throws<InvalidOperationException>(() => pipeline.Connect(frontend));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(32)]
    public void Pipeline_with_an_impossible_number_of_ports_is_refused(int ports) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new UsbPipeline(ports, new InProcessMemory(4096)));

    [Fact]
    public void Detach_ends_all_requests_with_NoDevice_and_what_was_moved()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest moved = rig.Submit(Bulk());
        rig.Device.Fill(moved, new byte[10]);
        rig.Submit(Bulk());
        rig.Submit(Iso(800));

        Assert.Same(rig.Device, rig.Pipeline.Detach(Port1));

        Assert.Equal("port 1 changed", rig.Frontend.TakeEvents());
        rig.Run();
        Assert.Equal("completed ep1in NoDevice 10; completed ep1in NoDevice 0; completed ep4in NoDevice 0", rig.Frontend.TakeEvents());
        Assert.Equal("detached", rig.Device.Calls[^1]);
        Assert.Equal("0", rig.Inspect("/port/1/outstanding"));
        Assert.Equal(VirtualTime.Never, rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Detach_with_a_hostile_progress_clamps_it()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());
        request.ActualLength = 5000;

        rig.Pipeline.Detach(Port1);

        Assert.Equal(512, request.ActualLength);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(7)]
    [InlineData(0)]
    public void Detach_of_nothing_is_null(int port)
    {
        PipelineRig rig = new PipelineRig().Configured();

        Assert.Null(rig.Pipeline.Detach(new PortNumber(port)));

        Assert.Empty(rig.Frontend.Events);
    }

    [Fact]
    public void Detached_device_that_goes_on_talking_reaches_nobody()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());
        rig.Pipeline.Detach(Port1);
        var next = new FakeDevice();
        rig.Pipeline.Attach(Port1, next);
        rig.Frontend.TakeEvents();

        rig.Device.Host!.Complete(request, RequestStatus.Success);
        rig.Device.Host.ResetDone();
        rig.Device.Host.RemoteWake();
        rig.Run();

        Assert.Equal("completed ep1in NoDevice 0", rig.Frontend.TakeEvents());
        Assert.Equal("3", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void Attach_after_detach_starts_at_address_0_with_fresh_endpoint_counters()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());
        rig.Pipeline.Detach(Port1);
        rig.Run();

        rig.Pipeline.Attach(Port1, rig.Device);

        Assert.Equal(new DeviceAddress(0), rig.Pipeline.AddressOf(Port1));
        Assert.Throws<InvalidOperationException>(() => rig.Inspect("/port/1/ep1in/submitted"));
        Assert.Equal("3", rig.Inspect("/port/1/submitted"));
        UsbRequest request = rig.Submit(Bulk());
        rig.Run();
        Assert.Equal(RequestStatus.TransactionError, request.Status);
    }

    [Fact]
    public void ResetPort_cancels_everything_then_says_done()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());
        rig.Submit(Iso(800));

        rig.Pipeline.ResetPort(Port1);
        Assert.Empty(rig.Frontend.Events);
        rig.Run();

        Assert.Equal("completed ep4in Cancelled 0; completed ep1in Cancelled 0; port 1 reset done", rig.Frontend.TakeEvents());
        Assert.Equal(new DeviceAddress(0), rig.Pipeline.AddressOf(Port1));
        UsbRequest request = Bulk();
        request.Address = default;
        rig.Submit(request);
        rig.Run();
        Assert.Equal(RequestStatus.TransactionError, request.Status);
    }

    [Fact]
    public void ResetPort_of_an_empty_port_is_done_from_Advance()
    {
        var rig = new PipelineRig();

        rig.Pipeline.ResetPort(Port2);
        rig.Pipeline.ResetPort(new PortNumber(9));

        Assert.Empty(rig.Frontend.Events);
        Assert.True(rig.Pipeline.NextDeadline <= rig.Now);
        rig.Run();
        Assert.Equal("port 2 reset done", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void ResetPort_that_takes_long_refuses_requests_and_joins_a_second_reset()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.ResetsAtOnce = false;
        rig.Pipeline.ResetPort(Port1);
        rig.Pipeline.ResetPort(Port1);
        UsbRequest request = rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 8), address: 0));
        rig.Run();
        Assert.Equal("completed ep0 TransactionError 0", rig.Frontend.TakeEvents());
        Assert.Equal(["reset"], rig.Device.Calls);

        rig.Device.FinishReset();
        rig.Run();

        Assert.Equal("port 1 reset done", rig.Frontend.TakeEvents());
        rig.Submit(request);
        Assert.Equal(RequestState.InFlight, request.State);
    }

    [Fact]
    public void ResetPort_again_before_the_first_was_told_says_done_once_and_after_the_completions()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.ResetPort(Port1);
        UsbRequest request = rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 8), address: 0));
        rig.Pipeline.ResetPort(Port1);
        rig.Run();

        Assert.Equal(RequestStatus.Cancelled, request.Status);
        Assert.Equal("completed ep0 Cancelled 0; port 1 reset done", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void ResetPort_from_inside_a_completion_is_told_after_its_own_completions()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.ResetPort(Port1);
        UsbRequest first = rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 8), address: 0));
        UsbRequest second = rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 8), address: 0));
        rig.Device.Complete(first);
        rig.Frontend.OnCompleted = r =>
        {
            if (ReferenceEquals(r, first)) rig.Pipeline.ResetPort(Port1);
        };
        rig.Run();

        Assert.Equal(RequestStatus.Cancelled, second.Status);
        Assert.Equal("completed ep0 Success 8; completed ep0 Cancelled 0; port 1 reset done", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Device_that_keeps_requests_over_a_reset_loses_them()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.ResetsAtOnce = false;
        UsbRequest request = rig.Submit(Bulk());
        rig.Pipeline.ResetPort(Port1);

        rig.Device.Host!.ResetDone();
        rig.Device.Complete(request);
        rig.Run();

        Assert.Equal("completed ep1in Cancelled 512; port 1 reset done", rig.Frontend.TakeEvents());
        Assert.Equal("2", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void Device_that_ends_a_reset_nobody_asked_for_is_counted()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Device.Host!.ResetDone();
        rig.Run();

        Assert.Empty(rig.Frontend.Events);
        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void Detach_during_a_reset_ends_the_reset()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.ResetsAtOnce = false;
        rig.Pipeline.ResetPort(Port1);

        rig.Pipeline.Detach(Port1);
        rig.Run();

        Assert.Equal("port 1 changed; port 1 reset done", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Configuration_that_ends_during_a_reset_stays_closed()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.AnswersConfiguration = false;
        rig.Device.ResetsAtOnce = false;
        rig.Submit(Control(new SetupPacket(0, 9, 1, 0, 0)));
        rig.Pipeline.ResetPort(Port1);

        rig.Device.CompleteNext();
        rig.Device.FinishReset();
        rig.Run();

        Assert.Equal("no", rig.Inspect("/port/1/configuration/configured"));
    }

    [Fact]
    public void Suspend_holds_requests_until_resume()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.SetSuspended(Port1, true);
        rig.Pipeline.SetSuspended(Port1, true);
        rig.Pipeline.SetSuspended(Port2, true);
        UsbRequest request = rig.Submit(Bulk());
        rig.Run();
        Assert.Equal(["suspend"], rig.Device.Calls);
        Assert.Equal(RequestState.Waiting, request.State);

        rig.Pipeline.SetSuspended(Port1, false);
        rig.Run();

        Assert.Equal(["suspend", "resume", "submit ep1in"], rig.Device.Calls);
    }

    [Fact]
    public void RemoteWake_of_a_suspended_device_is_told_once_from_Advance()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.Host!.RemoteWake();
        rig.Run();
        Assert.Empty(rig.Frontend.Events);
        rig.Pipeline.SetSuspended(Port1, true);

        rig.Device.Host.RemoteWake();
        rig.Device.Host.RemoteWake();
        Assert.Empty(rig.Frontend.Events);
        rig.Run();

        Assert.Equal("port 1 wake", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void RemoteWake_that_the_guest_forestalls_is_not_told()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.SetSuspended(Port1, true);
        rig.Device.Host!.RemoteWake();

        rig.Pipeline.SetSuspended(Port1, false);
        rig.Run();

        Assert.Empty(rig.Frontend.Events);
    }

    [Fact]
    public void Streams_are_told_to_the_device_and_bound_the_stream_id()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.SetStreams(Port1, BulkIn, 4);
        UsbRequest stream4 = Bulk();
        stream4.StreamId = 4;
        UsbRequest stream5 = Bulk();
        stream5.StreamId = 5;

        rig.Submit(stream4);
        rig.Submit(stream5);
        UsbRequest none = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal(["set-streams ep1in 4", "submit ep1in stream 4"], rig.Device.Calls);
        Assert.Equal(RequestStatus.TransactionError, stream5.Status);
        Assert.Equal(RequestStatus.TransactionError, none.Status);
        rig.Pipeline.SetStreams(Port1, BulkIn, 0);
        rig.Pipeline.SetStreams(Port1, BulkIn, 0);
        Assert.Equal("set-streams ep1in 0", rig.Device.Calls[^1]);
        Assert.Equal(3, rig.Device.Calls.Count);
    }

    [Fact]
    public void Streams_set_before_the_configuration_are_told_when_the_endpoint_appears()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(new SetupPacket(0, 9, 0, 0, 0)));
        rig.Device.Calls.Clear();

        rig.Pipeline.SetStreams(Port1, BulkIn, 4);
        rig.Pipeline.SetStreams(Port1, new EndpointAddress(5, true), 8);
        rig.Pipeline.SetStreams(Port1, InterruptIn, 8);
        Assert.Empty(rig.Device.Calls);
        rig.Submit(Control(new SetupPacket(0, 9, 1, 0, 0)));
        rig.Submit(Control(new SetupPacket(1, 11, 1, 0, 0)));

        Assert.Equal(["set-configuration 1", "set-streams ep1in 4", "set-interface 0 1", "set-streams ep5in 8"], rig.Device.Calls);
    }

    [Theory]
    [InlineData(-3, 0)]
    [InlineData(int.MaxValue, PipelineLimits.Streams)]
    public void Streams_out_of_range_are_clamped(int asked, int kept)
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());

        rig.Pipeline.SetStreams(Port1, BulkIn, asked);
        rig.Pipeline.SetStreams(Port1, EndpointAddress.Control, asked);
        rig.Pipeline.SetStreams(Port2, BulkIn, asked);
        rig.Pipeline.SetStreams(new PortNumber(40), BulkIn, asked);

        Assert.Equal($"{kept}", rig.Inspect("/port/1/ep1in/streams"));
    }

    [Fact]
    public void Reset_forgets_streams()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.SetStreams(Port1, BulkIn, 4);
        rig.Submit(Bulk());

        rig.Pipeline.ResetPort(Port1);

        Assert.Equal("0", rig.Inspect("/port/1/ep1in/streams"));
    }

    [Fact]
    public void Two_ports_do_not_disturb_each_other()
    {
        PipelineRig rig = new PipelineRig().Configured();
        var other = new FakeDevice();
        rig.Pipeline.Attach(Port2, other);
        UsbRequest request = rig.Submit(Bulk());

        rig.Pipeline.ResetPort(Port2);
        rig.Pipeline.Detach(Port2);
        rig.Run();

        Assert.Equal(RequestState.InFlight, request.State);
        Assert.Equal(new DeviceAddress(5), rig.Pipeline.AddressOf(Port1));
        Assert.Equal(new GuestAddress(0x1000), request.Data.Segments[0].Address);
    }
}
