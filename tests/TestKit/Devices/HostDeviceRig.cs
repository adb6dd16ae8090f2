using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A pipeline with a physical device on port 1 over a fake handle.</summary>
public sealed class HostDeviceRig : RequestRig
{
    public static readonly EndpointAddress IsoOut = new(5, false);
    public static readonly EndpointAddress OtherIn = new(6, true);

    public HostDeviceRig(byte[]? descriptors = null)
        : base(2, 8 << 20)
    {
        Device = new HostDevice(Handle, new HostDescriptors(descriptors ?? Block(Configuration())));
    }

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
        Configure(Device);
        Handle.Operations.Clear();
        return this;
    }

    public static UsbRequest Bulk(EndpointAddress endpoint, int length, ulong at = 0x1000) => Request(endpoint, TransferKind.Bulk, length, at: at);

    /// <summary>Lets time pass.</summary>
    public void Pass(ulong nanoseconds)
    {
        Now = Now.Plus(nanoseconds);
        Pipeline.Advance(Now);
        Run();
    }

    /// <summary>Completions since the last call, as one text.</summary>
    public string RunAndTake()
    {
        Run();
        return Frontend.TakeEvents();
    }

    private protected override void Deliver() => Device.Deliver();

    private protected override void Settle()
    {
        Run();
        if (!Handle.OperationRuns) return;
        Handle.EndOperation();
        Run();
    }
}
