using System.Linq;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class PipelineLogTests
{
    private static (UsbPipeline Pipeline, LogList Log) Make()
    {
        var log = new LogList();
        return (new UsbPipeline(1, new InProcessMemory(4096), log), log);
    }

    [Fact]
    public void Hotplug_is_logged_with_the_device()
    {
        (UsbPipeline pipeline, LogList log) = Make();

        pipeline.Attach(Port1, new FakeDevice { Description = "disk a" });
        pipeline.Attach(Port1, new FakeDevice { Description = "disk b" });
        pipeline.Detach(Port1);

        Assert.Equal(
            [
                "Information: port 1: attached disk a, High speed",
                "Information: port 1: not attached disk b: PortTaken",
                "Information: port 1: detached disk a, 0 requests ended with it",
            ],
            log.Lines);
    }

    [Fact]
    public void Refusals_that_a_guest_repeats_are_rate_limited()
    {
        (UsbPipeline pipeline, LogList log) = Make();
        pipeline.Attach(Port1, new FakeDevice());
        log.Lines.Clear();

        for (int i = 0; i < 100; i++) pipeline.Submit(Bulk());
        Assert.Equal(LogBudget.Burst, log.Lines.Count);
        pipeline.NoteTime(new VirtualTime(LogBudget.RefillNanoseconds));
        pipeline.Submit(Bulk());

        Assert.Equal(
            "Warning: port 1: refused port 1 address 5 ep1in Bulk 512 bytes: no device of this address on the port (90 messages suppressed)",
            log.Lines[^1]);
    }

    [Fact]
    public void Faults_that_a_device_repeats_are_rate_limited()
    {
        (UsbPipeline pipeline, LogList log) = Make();
        var device = new FakeDevice();
        pipeline.Attach(Port1, device);
        log.Lines.Clear();

        for (int i = 0; i < 100; i++) device.Host!.ResetDone();

        Assert.Equal(LogBudget.Burst, log.Lines.Count);
        Assert.Equal(LogBudget.Burst, log.Lines.Count(l => l.StartsWith("Warning: port 1: device ended a reset", System.StringComparison.Ordinal)));
    }
}
