using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Descriptors and options of the disk, and the store in memory by itself.</summary>
public sealed class DiskDeviceTests
{
    private sealed class Client : IBlockStoreClient
    {
        public int Count { get; private set; }

        public void Completed(BlockOperation operation) => Count++;
    }

    private static byte[] Descriptor(DeviceBench bench, int value, int length) => bench.Control(0x80, 6, (ushort)value, length: length).Data;

    [Theory]
    [InlineData(UsbSpeed.Full, "00 02", 64, "40 00", 32)]
    [InlineData(UsbSpeed.High, "00 02", 64, "00 02", 32)]
    [InlineData(UsbSpeed.Super, "00 03", 9, "00 04", 44)]
    public void Descriptors_follow_the_speed(UsbSpeed speed, string version, byte packet0, string packet, int length)
    {
        var bench = new DeviceBench(new DiskDevice(new MemoryBlockStore(64), new DiskOptions { Speed = speed }));
        byte[] device = Descriptor(bench, 0x100, 18);
        Assert.Equal([.. BotHost.Hex("12 01"), .. BotHost.Hex(version), 0, 0, 0, packet0, .. BotHost.Hex("f4 46 01 00 00 01 01 02 03 01")], device);
        byte[] configuration = Descriptor(bench, 0x200, 255);
        Assert.Equal(length, configuration.Length);
        Assert.Equal(BotHost.Hex("09 04 00 00 02 08 06 50 00"), configuration[9..18]);
        Assert.Equal([7, 5, 0x81, 2, .. BotHost.Hex(packet), 0], configuration[18..25]);
        Assert.Equal([7, 5, 0x02, 2, .. BotHost.Hex(packet), 0], configuration[^(speed == UsbSpeed.Super ? 13 : 7)..][..7]);
        Assert.Equal(speed == UsbSpeed.Super, Descriptor(bench, 0xf00, 255).Length == 22);
        Assert.Equal(speed == UsbSpeed.Super ? 0 : 10, Descriptor(bench, 0x600, 10).Length);
        Assert.Equal(speed == UsbSpeed.Super ? 0 : 32, Descriptor(bench, 0x700, 255).Length);
    }

    [Fact]
    public void Serial_number_string_has_twelve_digits_or_more()
    {
        var options = new DiskOptions { Serial = DiskOptions.SerialFromName("stick.img") };
        var bench = new DeviceBench(new DiskDevice(new MemoryBlockStore(64), options));
        byte[] text = bench.Control(0x80, 6, 0x303, 0x409, length: 255).Data;
        Assert.Equal(34, text.Length);
        Assert.Equal(options.Serial, System.Text.Encoding.Unicode.GetString(text[2..]));
        Assert.NotEqual(options.Serial, DiskOptions.SerialFromName("other.img"));
    }

    [Theory]
    [InlineData(UsbSpeed.Low, "000000000001")]
    [InlineData(UsbSpeed.High, "00000000001")]
    [InlineData(UsbSpeed.High, "00000000000a")]
    [InlineData(UsbSpeed.High, "000000000000000000000000000000001")]
    [InlineData(UsbSpeed.High, null)]
    public void Options_that_no_disk_can_have_are_refused(UsbSpeed speed, string? serial) =>
        Assert.Throws<ArgumentException>(() => new DiskDevice(new MemoryBlockStore(64), new DiskOptions { Speed = speed, Serial = serial! }));

    [Fact]
    public void Disk_names_its_store() => Assert.Equal("disk memory", new DiskDevice(new MemoryBlockStore(64), new DiskOptions()).Description);

    [Theory]
    [InlineData(BlockOperationKind.Read, 3, 2, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Read, 2, 2, BlockResult.Success)]
    [InlineData(BlockOperationKind.Read, 0, 3, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Read, -1, 1, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Write, 0, -1, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Write, 5, 0, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Discard, 0, 4, BlockResult.Success)]
    [InlineData(BlockOperationKind.WriteZeroes, 0, 5, BlockResult.MediumError)]
    [InlineData(BlockOperationKind.Flush, 99, 99, BlockResult.Success)]
    public void Memory_store_checks_its_operations(BlockOperationKind kind, long sector, long count, BlockResult result)
    {
        var client = new Client();
        var operation = new BlockOperation(client, 1024) { Kind = kind, Sector = sector, SectorCount = count };
        new MemoryBlockStore(4).Start(operation);
        Assert.Equal((result, 1), (operation.Result, client.Count));
    }

    [Fact]
    public void Memory_store_that_is_read_only_refuses_writes()
    {
        var store = new MemoryBlockStore(4, isReadOnly: true);
        var operation = new BlockOperation(new Client(), 512) { Kind = BlockOperationKind.Write, SectorCount = 1 };
        store.Start(operation);
        Assert.Equal(BlockResult.WriteProtected, operation.Result);
        Assert.True(store.MapWrite(0, 512).IsEmpty);
        Assert.Contains("/read-only yes", InspectWriter.Dump(store), StringComparison.Ordinal);
    }

    [Fact]
    public void Memory_store_maps_up_to_its_end_and_to_an_extent()
    {
        var store = new MemoryBlockStore(3 << 11);
        Assert.Equal(100, store.MapRead(MemoryBlockStore.ExtentBytes - 100, 512).Length);
        Assert.Equal(100, store.MapWrite((3 << 20) - 100, 512).Length);
        Assert.True(store.MapRead(3 << 20, 1).IsEmpty);
        Assert.True(store.MapRead(-1, 1).IsEmpty);
        Assert.True(store.MapWrite(0, 0).IsEmpty);
    }

    [Fact]
    public void Memory_store_keeps_data_across_extents_until_it_is_discarded()
    {
        var store = new MemoryBlockStore(4 << 11);
        byte[] data = BotHost.Pattern(3 << 20);
        store.Load(512, data);
        byte[] back = new byte[data.Length];
        store.Save(512, back);
        Assert.Equal(data, back);
        store.Start(new BlockOperation(new Client(), 0) { Kind = BlockOperationKind.Discard, SectorCount = 4 << 11 });
        store.Save(512, back);
        Assert.Equal(new byte[data.Length], back);
    }
}
