using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

public sealed class DiskTests
{
    [Theory]
    [InlineData(UsbSpeed.Full)]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Stick_is_found_written_and_read_at_every_speed(UsbSpeed speed)
    {
        using var rig = new Rig();
        (MassStorageClient disk, MemoryBlockStore store) = rig.PlugDisk(speed);
        GuestBuffer data = rig.Driver.AllocateBuffer(65536);
        GuestBuffer back = rig.Driver.AllocateBuffer(65536);
        new Random(7).NextBytes(rig.Driver.Platform.Memory(data.Address, data.Length));
        GetReady(disk);

        byte[] inquiry = disk.Inquiry();
        disk.ReadCapacity();
        ScsiResult written = disk.Write(100, 128, data.Address);
        ScsiResult read = disk.Read(100, 128, back.Address);
        ScsiResult flushed = disk.Flush();

        Assert.Equal(0, inquiry[0] & 0x1f);
        Assert.Equal((4096UL, 512), (disk.Blocks, disk.BlockSize));
        Assert.Equal(new ScsiResult(0, 0, 65536), written);
        Assert.Equal(new ScsiResult(0, 0, 65536), read);
        Assert.True(flushed.Ok);
        Assert.Equal(rig.Bytes(data), rig.Bytes(back));
        byte[] stored = new byte[512];
        store.Save(100 * 512, stored);
        Assert.Equal(rig.Bytes(data.Slice(0, 512)), stored);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(511)]
    [InlineData(513)]
    [InlineData(4095)]
    public void Data_split_into_odd_trbs_arrives_whole(int piece)
    {
        using var rig = new Rig(new XhciDriverOptions { RingSegmentTrbs = 512, RingSegments = 3 });
        (MassStorageClient disk, _) = rig.PlugDisk();
        int length = piece == 1 ? 1024 : 8192;
        GuestBuffer data = rig.Driver.AllocateBuffer(length);
        GuestBuffer back = rig.Driver.AllocateBuffer(length);
        new Random(piece).NextBytes(rig.Driver.Platform.Memory(data.Address, length));
        GetReady(disk);

        ScsiResult written = disk.Execute(MassStorageClient.TransferCommand(8, length / 512, isIn: false), Split(data, piece), isIn: false);
        ScsiResult read = disk.Execute(MassStorageClient.TransferCommand(8, length / 512, isIn: true), Split(back, piece), isIn: true);

        Assert.Equal((0, length), (written.Status, written.Actual));
        Assert.Equal((0, length), (read.Status, read.Actual));
        Assert.Equal(rig.Bytes(data), rig.Bytes(back));
    }

    [Fact]
    public void Failed_command_stalls_and_its_sense_data_says_why()
    {
        using var rig = new Rig();
        (MassStorageClient disk, _) = rig.PlugDisk();
        GuestBuffer buffer = rig.Driver.AllocateBuffer(512);
        GetReady(disk);

        ScsiResult beyond = disk.Read(1_000_000, 1, buffer.Address);
        (int key, int code, _) = disk.RequestSense();
        ScsiResult good = disk.Read(0, 1, buffer.Address);

        Assert.Equal(1, beyond.Status);
        Assert.Equal((5, 0x21), (key, code));
        Assert.True(good.Ok);
    }

    [Fact]
    public void Invalid_command_wrapper_needs_reset_recovery_and_gets_it()
    {
        using var rig = new Rig();
        (MassStorageClient disk, _) = rig.PlugDisk();
        GetReady(disk);
        GuestBuffer junk = rig.Driver.AllocateBuffer(64);

        TransferCompletion sent = disk.Out.Transfer(junk.Address, 31);
        TransferCompletion status = disk.In.Transfer(junk.Address, 13);
        disk.ResetRecovery();

        Assert.True(sent.Ok || sent.Code == GuestCompletion.Stall);
        Assert.Equal(GuestCompletion.Stall, status.Code);
        Assert.True(disk.TestUnitReady());
    }

    [Fact]
    public void Disk_beyond_2_tib_is_reached_by_16_byte_commands()
    {
        using var rig = new Rig();
        (MassStorageClient disk, _) = rig.PlugDisk(sectors: (1L << 32) + 1000);
        GuestBuffer data = rig.PatternBuffer(4096, 512);
        GuestBuffer back = rig.Driver.AllocateBuffer(4096);
        GetReady(disk);
        disk.ReadCapacity();

        ScsiResult written = disk.Write(disk.Blocks - 8, 8, data.Address);
        ScsiResult read = disk.Read(disk.Blocks - 8, 8, back.Address);

        Assert.Equal((1UL << 32) + 1000, disk.Blocks);
        Assert.True(written.Ok);
        Assert.True(read.Ok);
        Assert.Equal(rig.Bytes(data), rig.Bytes(back));
    }

    // A unit attention after power-on is cleared by its sense data, as every driver does.
    private static void GetReady(MassStorageClient disk)
    {
        for (int i = 0; i < 3 && !disk.TestUnitReady(); i++) disk.RequestSense();
    }

    private static GuestBuffer[] Split(GuestBuffer whole, int piece)
    {
        var parts = new GuestBuffer[(whole.Length + piece - 1) / piece];
        for (int i = 0; i < parts.Length; i++) parts[i] = whole.Slice(i * piece, Math.Min(piece, whole.Length - (i * piece)));
        return parts;
    }
}
