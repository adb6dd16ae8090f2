using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>A host that allocates nothing itself: three requests, used again and again.</summary>
internal sealed class AllocationProbe : QuietHost
{
    private readonly UsbRequest _wrapper = DeviceBench.Make(BotHost.Out, TransferKind.Bulk, BotHost.WrapperAt, 31);
    private readonly UsbRequest _status = DeviceBench.Make(BotHost.In, TransferKind.Bulk, BotHost.StatusAt, 13);
    private readonly UsbRequest _in = DeviceBench.Make(BotHost.In, TransferKind.Bulk, BotHost.DataAt, 64 << 10);
    private readonly UsbRequest _out = DeviceBench.Make(BotHost.Out, TransferKind.Bulk, BotHost.DataAt, 64 << 10);

    public AllocationProbe(DiskDevice disk)
        : base(disk)
    {
        byte[] ready = new BotHost(new MemoryBlockStore(1)).Wrapper(new byte[6], 0, false);
        Send(ready);
        Submit(_status);
        Completions = 0;
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
        wrapper.CopyTo(Memory.Bytes);
        Submit(_wrapper);
    }
}
