using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>A host that allocates nothing itself: three requests, used again and again.</summary>
internal sealed class AllocationProbe : IUsbDeviceHost
{
    private readonly FlatMemory _memory = new(1 << 20);
    private readonly DiskDevice _disk;
    private readonly UsbRequest _wrapper = DeviceBench.Make(BotHost.Out, TransferKind.Bulk, BotHost.WrapperAt, 31);
    private readonly UsbRequest _status = DeviceBench.Make(BotHost.In, TransferKind.Bulk, BotHost.StatusAt, 13);
    private readonly UsbRequest _in = DeviceBench.Make(BotHost.In, TransferKind.Bulk, BotHost.DataAt, 64 << 10);
    private readonly UsbRequest _out = DeviceBench.Make(BotHost.Out, TransferKind.Bulk, BotHost.DataAt, 64 << 10);

    public AllocationProbe(DiskDevice disk)
    {
        _disk = disk;
        disk.Attached(this);
        var configure = new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(0, 9, 1, 0, 0) };
        disk.SetConfiguration(configure, 1);
        byte[] ready = new BotHost(new MemoryBlockStore(1)).Wrapper(new byte[6], 0, false);
        Send(ready);
        Submit(_status);
        Completions = 0;
    }

    public int Completions { get; private set; }

    public VirtualTime Now => VirtualTime.Zero;

    public IGuestMemory Memory => _memory;

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

    public void Run(ReadOnlySpan<byte> wrapper, bool isIn, int count)
    {
        for (int i = 0; i < count; i++)
        {
            Send(wrapper);
            Submit(isIn ? _in : _out);
            Submit(_status);
        }
    }

    private void Send(ReadOnlySpan<byte> wrapper)
    {
        wrapper.CopyTo(_memory.Bytes);
        Submit(_wrapper);
    }

    private void Submit(UsbRequest request)
    {
        request.ActualLength = 0;
        _disk.Submit(request);
    }
}
