using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

/// <summary>A machine, the guest's driver on it, and the checks that hold after every scenario.</summary>
internal sealed class Rig : IDisposable
{
    public Rig(XhciDriverOptions? options = null, int highMemory = 0, bool start = true, XhciOptions? controller = null)
    {
        Machine = new InProcessMachine(new InProcessOptions { Xhci = controller ?? new XhciOptions(), HighMemory = highMemory });
        Driver = new XhciDriver(new InProcessPlatform(Machine), options);
        if (start) Driver.Start();
    }

    public InProcessMachine Machine { get; }

    public XhciDriver Driver { get; }

    /// <summary>Accesses outside mapped memory that the scenario itself provoked.</summary>
    public long ExpectedRefusals { get; set; }

    /// <summary>Nothing outside mapped memory was touched and the model always came to rest.</summary>
    public void Dispose()
    {
        // Not over the failure that brought us here.
        if (System.Runtime.InteropServices.Marshal.GetExceptionPointers() != 0) return;
        Assert.Equal(ExpectedRefusals, Machine.Memory.RefusedAccesses);
        Assert.Equal(0, Machine.BoundHits);
        Assert.Equal(0, Machine.Controller.Faults);
    }

    /// <summary>Root port that a device of a speed appears on, for a connector of the default controller.</summary>
    public static int RootPort(int connector, UsbSpeed speed) => speed == UsbSpeed.Super ? 4 + connector : connector;

    public UsbDeviceHandle Plug(IUsbDevice device, int connector = 1, int configuration = 0)
    {
        ArgumentNullException.ThrowIfNull(device);
        Assert.Equal(AttachResult.Attached, Machine.Attach(connector, device));
        int port = RootPort(connector, device.Speed);
        Driver.Expect(() => (Driver.ReadPort(port) & XhciDriver.PortConnected) != 0, "the connection");
        return UsbDeviceHandle.Enumerate(Driver, port, configuration);
    }

    public UsbDeviceHandle PlugZero(UsbSpeed speed = UsbSpeed.High, int connector = 1, int configuration = 0, GadgetZeroOptions? options = null) =>
        Plug(new GadgetZero((options ?? new GadgetZeroOptions()) with { Speed = speed }), connector, configuration);

    public (MassStorageClient Client, MemoryBlockStore Store) PlugDisk(UsbSpeed speed = UsbSpeed.High, int connector = 1, long sectors = 4096)
    {
        var store = new MemoryBlockStore(sectors);
        return (new MassStorageClient(Plug(new DiskDevice(store, new DiskOptions { Speed = speed }), connector)), store);
    }

    public (UsbDeviceHandle Handle, BootKeyboard Keyboard) PlugKeyboard(UsbSpeed speed = UsbSpeed.Full, int connector = 1)
    {
        var keyboard = new BootKeyboard(speed);
        return (Plug(keyboard, connector), keyboard);
    }

    /// <summary>A buffer with a pattern that gadget zero's sink accepts.</summary>
    public GuestBuffer PatternBuffer(int length, int packet)
    {
        GuestBuffer buffer = Driver.AllocateBuffer(length);
        Span<byte> bytes = Driver.Platform.Memory(buffer.Address, length);
        for (int i = 0; i < length; i++) bytes[i] = (byte)(i % packet % 63);
        return buffer;
    }

    public byte[] Bytes(GuestBuffer buffer) => Driver.Platform.Memory(buffer.Address, buffer.Length).ToArray();
}
