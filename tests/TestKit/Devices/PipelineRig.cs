using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A pipeline with a fake frontend, a fake device on port 1 and some guest memory, and the short ways tests need.</summary>
public sealed class PipelineRig
{
    public static readonly PortNumber Port1 = new(1);
    public static readonly EndpointAddress BulkIn = new(1, true);
    public static readonly EndpointAddress BulkOut = new(2, false);
    public static readonly EndpointAddress InterruptIn = new(3, true);
    public static readonly EndpointAddress IsoIn = new(4, true);

    public PipelineRig(int ports = 2, FakeDevice? device = null)
    {
        Memory = new InProcessMemory(4 << 20);
        Pipeline = new UsbPipeline(ports, Memory);
        Pipeline.Connect(Frontend);
        Device = device ?? new FakeDevice { Configuration = DefaultConfiguration() };
    }

    public InProcessMemory Memory { get; }

    public UsbPipeline Pipeline { get; }

    public FakeFrontend Frontend { get; } = new();

    public FakeDevice Device { get; }

    public VirtualTime Now { get; private set; }

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

    /// <summary>Attaches the device, resets it, gives it address 5 and configuration 1, and forgets what was recorded on the way.</summary>
    public PipelineRig Configured()
    {
        Pipeline.Attach(Port1, Device);
        Pipeline.ResetPort(Port1);
        Run();
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetAddress, 5, 0, 0), 0));
        Run();
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0)));
        Run();
        Frontend.Events.Clear();
        Frontend.CompletedRequests.Clear();
        Device.Calls.Clear();
        return this;
    }

    /// <summary>A request of <paramref name="length"/> bytes of guest memory.</summary>
    public static UsbRequest Request(EndpointAddress endpoint, TransferKind kind, int length, byte address = 5)
    {
        var request = new UsbRequest { Port = Port1, Address = new DeviceAddress(address), Endpoint = endpoint, Kind = kind };
        request.Data.Add(new GuestAddress(0x1000), length);
        return request;
    }

    public static UsbRequest Bulk(int length = 512) => Request(BulkIn, TransferKind.Bulk, length);

    public static UsbRequest Interrupt(int length = 64) => Request(InterruptIn, TransferKind.Interrupt, length);

    /// <summary>One isochronous packet of 1024 bytes due at <paramref name="microframe"/>.</summary>
    public static UsbRequest Iso(ulong microframe)
    {
        UsbRequest request = Request(IsoIn, TransferKind.Isochronous, 1024);
        request.StartMicroframe = microframe;
        request.IntervalMicroframes = 1;
        request.Packets = [new IsoPacket { Length = 1024 }];
        request.PacketCount = 1;
        return request;
    }

    public static UsbRequest Control(SetupPacket setup, byte address = 5)
    {
        UsbRequest request = Request(EndpointAddress.Control, TransferKind.Control, setup.Length, address);
        request.Setup = setup;
        return request;
    }

    /// <summary>Submits as a frontend does: the pipeline must not call back meanwhile.</summary>
    public UsbRequest Submit(UsbRequest request)
    {
        Frontend.InCall = true;
        Pipeline.Submit(request);
        Frontend.InCall = false;
        return request;
    }

    public void Unlink(UsbRequest request)
    {
        Frontend.InCall = true;
        Pipeline.Unlink(request);
        Frontend.InCall = false;
    }

    /// <summary>Advances, without letting time pass, until the pipeline has nothing due. Throws when it does not come to rest.</summary>
    public void Run()
    {
        for (int i = 0; i < 1000; i++)
        {
            if (Pipeline.NextDeadline > Now) return;
            Pipeline.Advance(Now);
        }

        throw new InvalidOperationException("The pipeline does not come to rest:\n" + InspectWriter.Dump(Pipeline));
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
