using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Native.Storage;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.UnitTests.Backends.Disk;
using Xunit;

namespace XenUsbDm.UnitTests.Native;

/// <summary>A disk on an image, with a loop that waits for the image's completions.</summary>
internal sealed class ImageHost
{
    private readonly ImageFile _image;

    public ImageHost(ImageFile image)
    {
        _image = image;
        Bench = new DeviceBench(new DiskDevice(image, new DiskOptions { Speed = UsbSpeed.Super }));
        Bench.Configure(1);
        Assert.Equal(1, Command("00 00 00 00 00 00", 0, true));
    }

    public DeviceBench Bench { get; }

    /// <summary>Reads one sector; the status and, after it, the sense data.</summary>
    public string Read(int sector)
    {
        int status = Command($"28 00 00 00 {sector >> 8:x2} {sector & 0xff:x2} 00 00 01 00", 512, true);
        Assert.Equal(0, Command("03 00 00 00 12 00", 18, true));
        byte[] d = Bench.Memory.Bytes.Slice(BotHost.DataAt, 18).ToArray();
        return $"{status} {d[2] & 0xf:x}/{d[12]:x2}/{d[13]:x2}";
    }

    /// <summary>A whole command; gives bCSWStatus.</summary>
    public int Command(string command, int length, bool isIn, byte[]? data = null)
    {
        byte[] wrapper = new BotHost(new MemoryBlockStore(1), clearAttention: false).Wrapper(BotHost.Hex(command), (uint)length, isIn);
        if (data is not null) data.AsSpan().CopyTo(Bench.Memory.Bytes[BotHost.DataAt..]);
        Wait(Bench.Send(BotHost.Out, TransferKind.Bulk, wrapper, BotHost.WrapperAt));
        if (length > 0) Wait(Bench.Submit(isIn ? BotHost.In : BotHost.Out, TransferKind.Bulk, BotHost.DataAt, length));
        Bench.Control(0x02, 1, 0, BotHost.In);
        Bench.Control(0x02, 1, 0, BotHost.Out);
        Assert.Equal(RequestStatus.Success, Wait(Bench.Submit(BotHost.In, TransferKind.Bulk, BotHost.StatusAt, 13)));
        Bench.Forget();
        return Bench.Memory.Bytes[BotHost.StatusAt + 12];
    }

    private RequestStatus Wait(UsbRequest request)
    {
        while (Bench.StatusOf(request) is null)
        {
            Assert.True(_image.Ready.WaitOne(30_000));
            _image.Drain();
        }

        return Bench.StatusOf(request)!.Value;
    }
}
