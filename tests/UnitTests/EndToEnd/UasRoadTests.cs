using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

public sealed class UasRoadTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Stick_with_uas_moves_data_of_many_streams_at_once(bool direct)
    {
        using var rig = new Rig();
        var store = new MemoryBlockStore(4096, direct: direct);
        var client = new UasClient(rig.Plug(new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super, Uas = true })));
        GuestBuffer data = rig.Driver.AllocateBuffer(16 * 8192);
        GuestBuffer back = rig.Driver.AllocateBuffer(16 * 8192);
        new Random(11).NextBytes(rig.Driver.Platform.Memory(data.Address, data.Length));
        client.Begin(31, [0], default, isIn: false);
        Assert.Equal((2, 0), client.End(31, isIn: false));

        for (int tag = 1; tag <= 16; tag++) client.Begin(tag, MassStorageClient.TransferCommand((ulong)tag * 16, 16, isIn: false), data.Slice((tag - 1) * 8192, 8192), isIn: false);
        for (int tag = 16; tag >= 1; tag--) Assert.Equal((0, 8192), client.End(tag, isIn: false));
        for (int tag = 16; tag >= 1; tag--) client.Begin(tag, MassStorageClient.TransferCommand((ulong)tag * 16, 16, isIn: true), back.Slice((tag - 1) * 8192, 8192), isIn: true);
        for (int tag = 1; tag <= 16; tag++) Assert.Equal((0, 8192), client.End(tag, isIn: true));

        Assert.Equal(rig.Bytes(data), rig.Bytes(back));
        byte[] stored = new byte[8192];
        store.Save(16 * 512, stored);
        Assert.Equal(rig.Bytes(data.Slice(0, 8192)), stored);
    }

    [Fact]
    public void Stick_with_uas_is_a_bulk_only_stick_for_firmware()
    {
        using var rig = new Rig();
        var store = new MemoryBlockStore(64);
        var disk = new MassStorageClient(rig.Plug(new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super, Uas = true })));

        Assert.False(disk.TestUnitReady());
        Assert.True(disk.TestUnitReady());
        disk.ReadCapacity();

        Assert.Equal(64UL, disk.Blocks);
    }
}
