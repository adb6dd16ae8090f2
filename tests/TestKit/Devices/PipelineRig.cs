using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A pipeline with a fake device on port 1.</summary>
public sealed class PipelineRig : RequestRig
{
    public PipelineRig(int ports = 2, FakeDevice? device = null)
        : base(ports, 4 << 20)
    {
        Device = device ?? new FakeDevice { Configuration = DefaultConfiguration() };
    }

    public FakeDevice Device { get; }

    /// <summary>High-speed bulk 1 IN and 2 OUT, interrupt 3 IN (64 bytes, 8 microframes), isochronous 4 IN; alternate 1 of interface 0 has bulk 5 IN alone.</summary>
    public static byte[] DefaultConfiguration() => new DescriptorBuilder()
        .Interface(0)
        .Endpoint(0x81, TransferKind.Bulk, 512)
        .Endpoint(0x02, TransferKind.Bulk, 512)
        .Endpoint(0x83, TransferKind.Interrupt, 64, 4)
        .Endpoint(0x84, TransferKind.Isochronous, 1024, 1)
        .Interface(0, 1)
        .Endpoint(0x85, TransferKind.Bulk, 512)
        .Build();

    /// <summary>Attached, reset, address 5, configuration 1; nothing of that is left in the lists.</summary>
    public PipelineRig Configured()
    {
        Configure(Device);
        Device.Calls.Clear();
        return this;
    }

    public static UsbRequest Bulk(int length = 512) => Request(BulkIn, TransferKind.Bulk, length);

    public static UsbRequest Interrupt(int length = 64) => Request(InterruptIn, TransferKind.Interrupt, length);

    /// <summary>One isochronous packet of 1024 bytes due at <paramref name="microframe"/>.</summary>
    public static UsbRequest Iso(ulong microframe)
    {
        UsbRequest request = Iso(IsoIn, 1024);
        request.StartMicroframe = microframe;
        request.IntervalMicroframes = 1;
        return request;
    }

    /// <summary>Lets time pass to the start of <paramref name="microframe"/>, and stops at every deadline on the way.</summary>
    public void RunTo(ulong microframe)
    {
        var end = VirtualTime.AtMicroframe(microframe);
        Run();
        while (Pipeline.NextDeadline <= end)
        {
            Now = Pipeline.NextDeadline;
            Run();
        }

        Now = end;
        Pipeline.Advance(end);
        Run();
    }

    /// <summary>One value of the inspect tree; throws when there is none.</summary>
    public string Inspect(string path)
    {
        var writer = new InspectWriter();
        Pipeline.Inspect(writer);
        foreach ((string key, string value) in writer.Fields)
        {
            if (key == path) return value;
        }

        throw new InvalidOperationException($"No {path} in:\n{writer.Render()}");
    }
}
