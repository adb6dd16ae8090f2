using System;
using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A pipeline with a physical device on port 1 over a fake handle.</summary>
public sealed class HostDeviceRig
{
    public static readonly EndpointAddress BulkIn = new(1, true);
    public static readonly EndpointAddress BulkOut = new(2, false);
    public static readonly EndpointAddress InterruptIn = new(3, true);
    public static readonly EndpointAddress IsoIn = new(4, true);
    public static readonly EndpointAddress IsoOut = new(5, false);
    public static readonly EndpointAddress OtherIn = new(6, true);

    private VirtualTime _now;

    public HostDeviceRig(byte[]? descriptors = null)
    {
        Pipeline = new UsbPipeline(2, Memory);
        Pipeline.Connect(Frontend);
        Device = new HostDevice(Handle, new HostDescriptors(descriptors ?? Block(Configuration())));
    }

    public InProcessMemory Memory { get; } = new(8 << 20);

    public UsbPipeline Pipeline { get; }

    public FakeFrontend Frontend { get; } = new();

    public FakeHostHandle Handle { get; } = new();

    public HostDevice Device { get; }

    /// <summary>Interface 0: bulk 1 IN and 2 OUT, interrupt 3 IN, isochronous 4 IN and 5 OUT; alternate 1 has bulk 1 IN alone. Interface 1: bulk 6 IN.</summary>
    public static byte[] Configuration(byte value = 1) => new DescriptorBuilder(value)
        .Interface(0)
        .Endpoint(0x81, TransferKind.Bulk, 512)
        .Endpoint(0x02, TransferKind.Bulk, 512)
        .Endpoint(0x83, TransferKind.Interrupt, 64, 4)
        .Endpoint(0x84, TransferKind.Isochronous, 1024, 1)
        .Endpoint(0x05, TransferKind.Isochronous, 1024, 1)
        .Interface(0, 1)
        .Endpoint(0x81, TransferKind.Bulk, 512)
        .Interface(1)
        .Endpoint(0x86, TransferKind.Bulk, 512)
        .Build();

    /// <summary>What the kernel keeps: a device descriptor and the configurations.</summary>
    public static byte[] Block(params byte[][] configurations)
    {
        byte[] device = [18, 1, 0x00, 0x02, 0, 0, 0, 64, 0x51, 0x09, 0x66, 0x16, 0, 1, 1, 2, 3, (byte)configurations.Length];
        return [.. device, .. configurations.SelectMany(static one => one)];
    }

    /// <summary>Attached, reset, address 5, configuration 1; nothing of that is left in the lists.</summary>
    public HostDeviceRig Configured()
    {
        Pipeline.Attach(PipelineRig.Port1, Device);
        Pipeline.ResetPort(PipelineRig.Port1);
        Handle.EndOperation();
        Run();
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetAddress, 5, 0, 0), 0));
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0)));
        Run();
        Handle.EndOperation();
        Run();
        Frontend.Events.Clear();
        Frontend.CompletedRequests.Clear();
        Handle.Operations.Clear();
        return this;
    }

    public static UsbRequest Request(EndpointAddress endpoint, TransferKind kind, int length, ulong at = 0x1000, byte address = 5)
    {
        var request = new UsbRequest { Port = PipelineRig.Port1, Address = new DeviceAddress(address), Endpoint = endpoint, Kind = kind };
        request.Data.Add(new GuestAddress(at), length);
        return request;
    }

    public static UsbRequest Bulk(EndpointAddress endpoint, int length, ulong at = 0x1000) => Request(endpoint, TransferKind.Bulk, length, at);

    public static UsbRequest Control(SetupPacket setup, byte address = 5, int? length = null)
    {
        UsbRequest request = Request(EndpointAddress.Control, TransferKind.Control, length ?? setup.Length, address: address);
        request.Setup = setup;
        return request;
    }

    public static UsbRequest Iso(EndpointAddress endpoint, params int[] lengths)
    {
        ArgumentNullException.ThrowIfNull(lengths);
        UsbRequest request = Request(endpoint, TransferKind.Isochronous, lengths.Sum());
        int at = 0;
        request.Packets = new IsoPacket[lengths.Length];
        for (int i = 0; i < lengths.Length; i++)
        {
            request.Packets[i] = new IsoPacket { Offset = at, Length = lengths[i] };
            at += lengths[i];
        }

        request.PacketCount = lengths.Length;
        return request;
    }

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

    /// <summary>As the loop does: what the host's stack has ended, then the pipeline, until nothing is due.</summary>
    public void Run()
    {
        for (int i = 0; i < 1000; i++)
        {
            Device.Deliver();
            Pipeline.Advance(_now);
            if (Pipeline.NextDeadline > _now) return;
        }

        throw new InvalidOperationException("The device does not come to rest:\n" + InspectWriter.Dump(Pipeline));
    }

    /// <summary>Lets time pass.</summary>
    public void Pass(ulong nanoseconds)
    {
        _now = _now.Plus(nanoseconds);
        Run();
    }

    /// <summary>Completions since the last call, as one text.</summary>
    public string RunAndTake()
    {
        Run();
        return Frontend.TakeEvents();
    }
}
