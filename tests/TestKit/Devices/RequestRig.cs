using System;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A pipeline with a fake frontend and some guest memory, and the short ways by which tests make and submit requests.</summary>
public abstract class RequestRig
{
    public static readonly PortNumber Port1 = new(1);
    public static readonly EndpointAddress BulkIn = new(1, true);
    public static readonly EndpointAddress BulkOut = new(2, false);
    public static readonly EndpointAddress InterruptIn = new(3, true);
    public static readonly EndpointAddress IsoIn = new(4, true);

    private protected RequestRig(int ports, int memoryBytes)
    {
        Memory = new InProcessMemory(memoryBytes);
        Pipeline = new UsbPipeline(ports, Memory);
        Pipeline.Connect(Frontend);
    }

    public InProcessMemory Memory { get; }

    public UsbPipeline Pipeline { get; }

    public FakeFrontend Frontend { get; } = new();

    public VirtualTime Now { get; private protected set; }

    /// <summary>A request of <paramref name="length"/> bytes of guest memory from <paramref name="at"/> on.</summary>
    public static UsbRequest Request(EndpointAddress endpoint, TransferKind kind, int length, byte address = 5, ulong at = 0x1000)
    {
        var request = new UsbRequest { Port = Port1, Address = new DeviceAddress(address), Endpoint = endpoint, Kind = kind };
        request.Data.Add(new GuestAddress(at), length);
        return request;
    }

    /// <summary>A control request; <paramref name="length"/> is that of the data, wLength unless said.</summary>
    public static UsbRequest Control(SetupPacket setup, byte address = 5, int? length = null)
    {
        UsbRequest request = Request(EndpointAddress.Control, TransferKind.Control, length ?? setup.Length, address);
        request.Setup = setup;
        return request;
    }

    /// <summary>Isochronous packets whose data lie one after the other.</summary>
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

    /// <summary>As the loop does, without letting time pass: what has ended outside, then the pipeline, until nothing is due. Throws when it does not come to rest.</summary>
    public void Run()
    {
        for (int i = 0; i < 1000; i++)
        {
            Deliver();
            if (Pipeline.NextDeadline > Now) return;
            Pipeline.Advance(Now);
        }

        throw new InvalidOperationException("The pipeline does not come to rest:\n" + InspectWriter.Dump(Pipeline));
    }

    /// <summary>What has ended outside the pipeline is handed over.</summary>
    private protected virtual void Deliver()
    {
    }

    /// <summary>Runs until what was asked of the device is done.</summary>
    private protected virtual void Settle() => Run();

    /// <summary>Attaches the device, resets it, gives it address 5 and configuration 1, and forgets what was recorded on the way.</summary>
    private protected void Configure(IUsbDevice device)
    {
        Pipeline.Attach(Port1, device);
        Pipeline.ResetPort(Port1);
        Settle();
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetAddress, 5, 0, 0), 0));
        Settle();
        Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0)));
        Settle();
        Frontend.Events.Clear();
        Frontend.CompletedRequests.Clear();
    }
}
