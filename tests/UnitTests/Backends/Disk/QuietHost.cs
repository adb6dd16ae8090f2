using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>A disk's host that allocates nothing itself: the same requests again and again, all of which succeed.</summary>
internal abstract class QuietHost : IUsbDeviceHost
{
    private readonly FlatMemory _memory = new(1 << 20);
    private readonly DiskDevice _disk;

    protected QuietHost(DiskDevice disk)
    {
        _disk = disk;
        disk.Attached(this);
        disk.SetConfiguration(new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(0, 9, 1, 0, 0) }, 1);
    }

    public int Completions { get; protected set; }

    public VirtualTime Now => VirtualTime.Zero;

    IGuestMemory IUsbDeviceHost.Memory => _memory;

    protected FlatMemory Memory => _memory;

    public void Complete(UsbRequest request, RequestStatus status)
    {
        if (status != RequestStatus.Success) Assert.Fail($"{request} {status}");
        Completions++;
    }

    public void ResetDone()
    {
    }

    public void RemoteWake()
    {
    }

    protected void Submit(UsbRequest request)
    {
        request.ActualLength = 0;
        _disk.Submit(request);
    }
}
