using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Benchmarks;

/// <summary>A machine with one enumerated device, and the driver's moves that allocate nothing.</summary>
public sealed class RoadRig
{
    private static readonly XhciDriverOptions DriverOptions = new() { RingSegmentTrbs = 1024, EventSegmentTrbs = 4096 };

    public RoadRig(IUsbDevice device, int configuration = 0)
    {
        ArgumentNullException.ThrowIfNull(device);
        Machine = new InProcessMachine(new InProcessOptions { LowMemory = 64 << 20 });
        Driver = new XhciDriver(new InProcessPlatform(Machine), DriverOptions);
        Driver.Start();
        if (Machine.Attach(1, device) != AttachResult.Attached) throw new InvalidOperationException("not attached");
        int port = device.Speed == UsbSpeed.Super ? Machine.Options.Xhci.Usb2Ports + 1 : 1;
        Driver.Expect(() => (Driver.ReadPort(port) & XhciDriver.PortConnected) != 0, "the connection");
        Device = UsbDeviceHandle.Enumerate(Driver, port, configuration);
    }

    public InProcessMachine Machine { get; }

    public XhciDriver Driver { get; }

    public UsbDeviceHandle Device { get; }

    public GuestBuffer Buffer(int length) => Driver.AllocateBuffer(length);

    public Span<byte> Bytes(GuestBuffer buffer) => Machine.Memory.Guest(new Core.Memory.GuestAddress(buffer.Address), buffer.Length);

    public void Ring(GuestPipe pipe)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        Driver.RingDoorbell(Device.Slot, pipe.Dci);
    }

    /// <summary>Takes completions, each of which must be a success.</summary>
    public void Reap(GuestPipe pipe, int count, int length = -1)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        for (int i = 0; i < count; i++)
        {
            if (!pipe.TryReap(out TransferCompletion done)) throw new InvalidOperationException($"{count - i} transfers did not end");
            if (!done.Ok || (length >= 0 && done.Actual != length)) throw new InvalidOperationException($"transfer ended with {done.Code}, {done.Actual} bytes");
        }

        Machine.TakeMessages();
    }
}
