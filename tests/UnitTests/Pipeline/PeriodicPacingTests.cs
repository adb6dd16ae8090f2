using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class PeriodicPacingTests
{
    // Microframes in which the device got its requests while time ran to the given one.
    private static List<ulong> Handovers(PipelineRig rig, ulong until)
    {
        var seen = new List<ulong>();
        rig.Device.OnSubmit = (device, request) =>
        {
            seen.Add(device.Host!.Now.Microframe);
            device.Complete(request);
        };
        rig.RunTo(until);
        return seen;
    }

    private static PipelineRig RigWith(TransferKind kind, int maxPacketSize, byte interval, UsbSpeed speed = UsbSpeed.High) =>
        new PipelineRig(device: new FakeDevice(speed)
        {
            Configuration = new DescriptorBuilder().Interface(0).Endpoint(0x83, kind, maxPacketSize, interval).Build(),
        }).Configured();

    [Fact]
    public void Interrupt_requests_go_one_per_service_interval()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CompletesAtOnce = true;
        rig.RunTo(100);

        for (int i = 0; i < 4; i++) rig.Submit(Interrupt());

        Assert.Single(rig.Device.Calls);
        Assert.Equal([108ul, 116, 124], Handovers(rig, 200));
        Assert.Equal(4, rig.Frontend.CompletedCount - 2);
    }

    [Fact]
    public void Interrupt_request_of_several_payloads_takes_as_many_intervals()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);

        rig.Submit(Interrupt(64 * 3));
        rig.Submit(Interrupt((64 * 2) + 1));
        rig.Submit(Interrupt());

        Assert.Equal([124ul, 148], Handovers(rig, 300));
    }

    [Fact]
    public void Interrupt_request_that_ends_short_gives_its_intervals_back()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);
        rig.Submit(Interrupt(64 * 10));
        rig.Submit(Interrupt());
        rig.Device.CompleteNext(actual: 70);

        Assert.Equal([116ul], Handovers(rig, 300));
    }

    [Fact]
    public void Interrupt_request_with_progress_counts_the_rest_alone()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);
        UsbRequest request = Interrupt(64 * 4);
        request.ActualLength = 64 * 3;
        rig.Submit(request);
        rig.Submit(Interrupt());

        Assert.Equal([108ul], Handovers(rig, 300));
    }

    [Fact]
    public void Interrupt_loop_that_wakes_late_does_not_stretch_the_interval()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);
        for (int i = 0; i < 3; i++) rig.Submit(Interrupt());

        rig.Pipeline.Advance(VirtualTime.AtMicroframe(108).Plus(50_000));

        Assert.Equal(2, rig.Device.Held.Count);
        rig.Pipeline.Advance(VirtualTime.AtMicroframe(108).Plus(50_001)); // What ended is delivered.
        Assert.Equal(VirtualTime.AtMicroframe(116), rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Interrupt_after_a_pause_goes_at_once_and_saves_nothing_up()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Interrupt());
        rig.RunTo(1000);

        rig.Submit(Interrupt());
        rig.Submit(Interrupt());

        Assert.Equal(2, rig.Device.Held.Count);
        Assert.Equal(VirtualTime.AtMicroframe(1008), rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Interrupt_with_an_unusable_descriptor_uses_the_requests_interval()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 64, 0);
        rig.RunTo(100);
        for (int i = 0; i < 2; i++)
        {
            UsbRequest request = Interrupt();
            request.IntervalMicroframes = 32;
            rig.Submit(request);
        }

        Assert.Equal([132ul], Handovers(rig, 200));
    }

    [Fact]
    public void Interrupt_interval_named_by_the_frontend_is_capped()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 1, 0);
        UsbRequest request = Interrupt(UsbRequest.MaxLength);
        request.IntervalMicroframes = uint.MaxValue;

        rig.Submit(request);
        rig.Submit(Interrupt());

        ulong most = (ulong)UsbRequest.MaxLength * PipelineLimits.LongestIntervalMicroframes;
        Assert.Equal(VirtualTime.AtMicroframe(most), rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Interrupt_without_any_interval_uses_one_frame()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 64, 0);
        rig.RunTo(100);
        rig.Submit(Interrupt());
        rig.Submit(Interrupt());

        Assert.Equal([108ul], Handovers(rig, 200));
    }

    [Fact]
    public void Interrupt_endpoint_without_packet_size_takes_one_interval()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 0, 4);
        rig.RunTo(100);
        rig.Submit(Interrupt(1 << 20));
        rig.Submit(Interrupt());

        Assert.Equal([108ul], Handovers(rig, 200));
    }

    [Fact]
    public void Interrupt_low_speed_interval_is_in_frames()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 8, 10, UsbSpeed.Low);
        rig.RunTo(100);
        rig.Submit(Interrupt(8));
        rig.Submit(Interrupt(8));

        Assert.Equal([164ul], Handovers(rig, 300));
    }

    [Fact]
    public void Interrupt_high_bandwidth_counts_three_packets_per_interval()
    {
        PipelineRig rig = RigWith(TransferKind.Interrupt, 0x1400, 4);
        rig.RunTo(100);
        rig.Submit(Interrupt(3072));
        rig.Submit(Interrupt(3073));
        rig.Submit(Interrupt());

        Assert.Equal([108ul, 124], Handovers(rig, 300));
    }

    [Fact]
    public void Isochronous_requests_go_in_their_microframe()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.RunTo(100);

        rig.Submit(Iso(110));
        rig.Submit(Iso(111));
        rig.Submit(Iso(50)); // Late, and behind the others.

        Assert.Empty(rig.Device.Held);
        Assert.Equal(VirtualTime.AtMicroframe(110), rig.Pipeline.NextDeadline);
        Assert.Equal([110ul, 111, 111], Handovers(rig, 200));
    }

    [Fact]
    public void Isochronous_microframe_beyond_all_time_waits_until_it_is_unlinked()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Iso(ulong.MaxValue));

        Assert.Equal(VirtualTime.Never, rig.Pipeline.NextDeadline);
        rig.Unlink(request);
        rig.Run();
        Assert.Equal("completed ep4in Cancelled 0", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Device_that_paces_itself_gets_everything_at_once()
    {
        var device = new FakeDevice { Configuration = DefaultConfiguration(), PacesItself = true };
        PipelineRig rig = new PipelineRig(device: device).Configured();

        for (int i = 0; i < 4; i++) rig.Submit(Interrupt());
        rig.Submit(Iso(1_000_000));

        Assert.Equal(5, device.Held.Count);
        Assert.Equal(VirtualTime.Never, rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Waiting_request_whose_endpoint_went_away_fails_in_its_turn()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Iso(80));
        rig.Submit(Control(new SetupPacket(0, 9, 0, 0, 0)));
        rig.Run();
        rig.Frontend.TakeEvents();

        rig.RunTo(80);

        Assert.Equal("completed ep4in TransactionError 0", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Many_due_requests_go_in_bounded_steps()
    {
        PipelineRig rig = new PipelineRig().Configured();
        for (int i = 0; i < PipelineLimits.HandedOverPerStep + 10; i++) rig.Submit(Iso(80));

        rig.Pipeline.Advance(VirtualTime.AtMicroframe(80));
        Assert.Equal(PipelineLimits.HandedOverPerStep, rig.Device.Held.Count);
        Assert.True(rig.Pipeline.NextDeadline <= VirtualTime.AtMicroframe(80));
        rig.Pipeline.Advance(VirtualTime.AtMicroframe(80));

        Assert.Equal(PipelineLimits.HandedOverPerStep + 10, rig.Device.Held.Count);
    }

    [Fact]
    public void Bulk_and_control_are_not_paced()
    {
        PipelineRig rig = new PipelineRig().Configured();

        for (int i = 0; i < 3; i++)
        {
            rig.Submit(Bulk());
            rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18)));
        }

        Assert.Equal(6, rig.Device.Held.Count);
        Assert.Equal(3, rig.Device.Calls.Count(c => c == "submit ep0"));
    }
}
