using System;
using System.IO;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>A process is killed, and another one goes on for it.</summary>
public sealed class TakeOverTests
{
    private const uint Halted = 1;
    private const uint HostControllerError = 1 << 12;

    [Fact]
    public void Vcpus_that_waited_go_on_and_the_driver_finds_a_controller_to_reset()
    {
        var log = new LogList();
        using var guest = new XenGuest(4, new MemoryRecords(), log);
        AttachDisk(guest);
        guest.Start();
        XhciDriver driver = ReadDisk(guest);
        ulong status = driver.Pci.BarAddress + (ulong)driver.OperationalOffset + XhciDriver.UsbStatus;
        (ulong First, ulong Last) range = Assert.Single(guest.Xen.Ranges);
        guest.Relax(20_000_000);

        guest.KillAndReplace();
        // One vCPU asks while nobody is there, one had been half answered, one had been answered.
        Assert.True(guest.Xen.Send(0, IoreqType.Memory, status, 4, 0, 0x20));
        Assert.True(guest.Xen.Send(1, IoreqType.Memory, status, 4, 0, 0x20));
        guest.Xen.Slot(1)[30] = (byte)(0x20 | (int)IoreqState.InProcess);
        guest.Xen.Slot(2)[30] = (byte)(0x20 | (int)IoreqState.Answered);
        AttachDisk(guest);
        guest.Start();

        Assert.True(guest.Host.TookOver);
        Assert.Equal(Halted | HostControllerError, (uint)guest.Xen.Take(0)!.Value & (Halted | HostControllerError));
        Assert.Equal(Halted | HostControllerError, (uint)guest.Xen.Take(1)!.Value & (Halted | HostControllerError));
        Assert.NotNull(guest.Xen.Take(2));
        Assert.Contains("/xen/server/taken-over-requests 2\n", guest.Diagnose());
        Assert.Equal([range], guest.Xen.Ranges);
        Assert.DoesNotContain("destroy", guest.Xen.Calls);
        Assert.Contains(log.Lines, line => line.Contains("took over ioreq server 1", StringComparison.Ordinal));

        ReadDisk(guest);
        Assert.Equal(0u, (uint)guest.MmioRead(status, 4) & (Halted | HostControllerError));
    }

    [Fact]
    public void Configuration_of_the_function_is_as_the_guest_left_it()
    {
        using var guest = new XenGuest(1, new MemoryRecords());
        guest.Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        guest.ConfigWrite(0x3c, 1, 11);
        guest.MmioWrite(driver.Pci.BarAddress + 0x3000 + 8, 4, 0x33);
        guest.Relax(20_000_000);

        guest.KillAndReplace();
        guest.Start();

        Assert.Equal(11u, guest.ConfigRead(0x3c, 1));
        Assert.Equal(6u, guest.ConfigRead(4, 2) & 6);
        Assert.Equal((uint)driver.Pci.BarAddress, guest.ConfigRead(0x10, 4) & ~0xfu);
        Assert.Equal(0x33UL, guest.MmioRead(driver.Pci.BarAddress + 0x3000 + 8, 4));
    }

    [Fact]
    public void Interrupt_level_of_the_killed_process_is_taken_back()
    {
        using var guest = new XenGuest(1, new MemoryRecords());
        guest.Start();
        guest.Xen.Intx = true;

        guest.KillAndReplace();
        guest.Start();

        Assert.False(guest.Xen.Intx);
    }

    [Fact]
    public void Configuration_write_that_the_record_has_not_seen_is_done_again()
    {
        using var guest = new XenGuest(1, new MemoryRecords());
        guest.Start();
        new PciSetup(guest).Enable(0xf100_0000);
        guest.Relax(20_000_000);
        // Killed between telling Xen of the new place and answering.
        guest.Xen.Ranges.Clear();
        guest.Xen.Ranges.Add((0xf200_0000, 0xf200_3fff));
        guest.KillAndReplace();
        Assert.True(guest.Xen.Send(0, IoreqType.PciConfig, XenGuest.ConfigBase + 0x10, 4, 0xf200_0000, 0));
        guest.Xen.Slot(0)[30] = (int)IoreqState.InProcess;

        guest.Start();

        Assert.NotNull(guest.Xen.Take(0));
        Assert.Equal([(0xf200_0000UL, 0xf200_3fffUL)], guest.Xen.Ranges);
        Assert.Equal(0xf200_0000u, guest.ConfigRead(0x10, 4) & ~0xfu);
    }

    [Fact]
    public void Record_of_another_domain_of_that_number_is_not_used()
    {
        using var guest = new XenGuest(1, new MemoryRecords());
        guest.Start();
        guest.Xen.ServerExists = false;
        guest.Xen.PciSlots.Clear();
        guest.KillAndReplace();
        guest.Domain.Uuid = Guid.NewGuid();

        guest.Start();

        Assert.False(guest.Host.TookOver);
        Assert.Equal(2, guest.Xen.Calls.FindAll(call => call == "create").Count);
    }

    [Fact]
    public void Server_that_is_not_there_any_more_is_replaced()
    {
        var log = new LogList();
        using var guest = new XenGuest(1, new MemoryRecords(), log);
        guest.Start();
        guest.Xen.ServerExists = false;
        guest.Xen.PciSlots.Clear();
        guest.KillAndReplace();

        guest.Start();

        Assert.False(guest.Host.TookOver);
        Assert.True(guest.Xen.ServerExists);
        Assert.Contains(log.Lines, line => line.Contains("is of no use: map_resource: error 2", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("map_resource")]
    [InlineData("enable")]
    [InlineData("bind")]
    [InlineData("map_pcidev")]
    public void Process_killed_as_it_starts_leaves_a_server_that_the_next_one_takes(string call)
    {
        var log = new LogList();
        using var guest = new XenGuest(2, new MemoryRecords(), log);
        KillAt(guest, call);
        Assert.True(guest.Xen.ServerExists);

        guest.Start();

        Assert.Single(guest.Xen.Calls, called => called == "create");
        Assert.Equal([XenLimits.DefaultSlot], guest.Xen.PciSlots);
        Assert.Contains(log.Lines, line => line.Contains("killed as it started", StringComparison.Ordinal));
        // The guest has not seen that controller: there is no state whose loss it would have to be told of (§4.24.1).
        new PciSetup(guest).Enable(0xf100_0000);
        Assert.Equal(Halted, (uint)guest.MmioRead(0xf100_0044, 4) & (Halted | HostControllerError));
        AttachDisk(guest);
        ReadDisk(guest);
    }

    [Fact]
    public void Process_killed_after_its_start_is_not_taken_for_one_that_was_not_seen()
    {
        using var guest = new XenGuest(1, new MemoryRecords());
        guest.Start();
        guest.KillAndReplace();

        guest.Start();

        new PciSetup(guest).Enable(0xf100_0000);
        Assert.NotEqual(0u, (uint)guest.MmioRead(0xf100_0044, 4) & HostControllerError);
    }

    [Fact]
    public void Server_that_was_made_and_not_recorded_serves_nobody()
    {
        // Between two calls of one process nothing can be done; what is left then takes one of the domain's eight places.
        using var guest = new XenGuest(1, new MemoryRecords { Kills = true });
        Assert.Throws<KilledException>(() => guest.Host.TryStart(out _));

        Assert.True(guest.Xen.ServerExists);
        Assert.False(guest.Xen.Enabled);
        Assert.Empty(guest.Xen.PciSlots);
        Assert.Empty(guest.Xen.Ranges);
        Assert.Equal("create", guest.Xen.Calls[^1]);
        guest.Xen.Kill();
    }

    [Fact]
    public void Start_that_fails_forgets_its_record()
    {
        var records = new MemoryRecords();
        using var guest = new XenGuest(1, records);
        guest.Xen.Errors["map_pcidev"] = XenError.Exists;

        Assert.False(guest.Host.TryStart(out _));

        Assert.Null(records.Bytes);
    }

    [Fact]
    public void Record_is_written_when_the_function_changed_and_not_too_often()
    {
        var records = new MemoryRecords();
        using var guest = new XenGuest(1, records);
        guest.Start();
        new PciSetup(guest).Enable(0xf100_0000);
        guest.Relax(XenLimits.RecordPeriodNanoseconds);
        int saves = records.Saves;
        Assert.InRange(saves, 2, 3);

        for (int i = 0; i < 50; i++) guest.MmioRead(0xf100_0000, 4);
        guest.Relax(XenLimits.RecordPeriodNanoseconds);
        Assert.Equal(saves, records.Saves);
        for (int i = 0; i < 50; i++) guest.ConfigWrite(0x3c, 1, (uint)i);
        Assert.Equal(saves + 1, records.Saves);
        guest.Relax(XenLimits.RecordPeriodNanoseconds);

        Assert.Equal(saves + 2, records.Saves);
        Assert.Equal(49, records.Load()!.Pci.Config[0x3c]);
    }

    [Fact]
    public void Record_that_cannot_be_written_is_said()
    {
        var log = new LogList();
        using var guest = new XenGuest(1, new MemoryRecords { Refuses = true }, log);

        guest.Start();

        Assert.Contains(log.Lines, line => line.Contains("cannot be written", StringComparison.Ordinal));
    }

    [Fact]
    public void Record_that_names_an_impossible_function_costs_only_the_function()
    {
        var records = new MemoryRecords();
        using var guest = new XenGuest(1, records);
        guest.Start();
        TakeOverRecord record = records.Load()!;
        record.Pci.Config[0] ^= 0xff;
        records.Save(record with { RangeStart = ulong.MaxValue });
        guest.KillAndReplace();

        guest.Start();

        Assert.True(guest.Host.TookOver);
        Assert.Equal(0x000d1b36u, guest.ConfigRead(0, 4));
    }

    [Fact]
    public void Record_survives_the_way_through_its_bytes()
    {
        TakeOverRecord record = Sample();
        var bytes = new byte[TakeOverRecord.Bytes];

        record.Write(bytes, 7);
        TakeOverRecord? read = TakeOverRecord.Read(bytes, out ulong sequence);

        Assert.Equal(7UL, sequence);
        Assert.Equal(record with { Pci = read!.Pci }, read);
        (record with { IsUnseen = true }).Write(bytes, 8);
        Assert.True(TakeOverRecord.Read(bytes, out _)!.IsUnseen);
        Assert.Equal(record.Pci.Config, read.Pci.Config);
        Assert.Equal(record.Pci.MsiXTable, read.Pci.MsiXTable);
        Assert.Equal((record.Pci.BarSize, record.Pci.MsiXPending, record.Pci.InterruptLevel), (read.Pci.BarSize, read.Pci.MsiXPending, read.Pci.InterruptLevel));
    }

    [Fact]
    public void Damaged_bytes_are_no_record()
    {
        var bytes = new byte[TakeOverRecord.Bytes];
        Sample().Write(bytes, 7);

        for (int i = 0; i < bytes.Length; i++)
        {
            bytes[i] ^= 1;
            Assert.Null(TakeOverRecord.Read(bytes, out _));
            bytes[i] ^= 1;
        }

        Assert.Null(TakeOverRecord.Read(bytes.AsSpan(1), out _));
        Assert.Null(TakeOverRecord.Read([], out _));
    }

    [Fact]
    public void File_keeps_the_newest_whole_record_and_is_held_by_one_process()
    {
        string folder = Path.Combine(Directory.CreateTempSubdirectory().FullName, "state");
        try
        {
            using (RecordFile first = RecordFile.Open(folder, 5, 0x1e, out string error)!)
            {
                Assert.Equal("", error);
                Assert.Null(first.Load());
                for (ushort server = 1; server <= 3; server++) Assert.True(first.Save(Sample() with { Server = server }));
                Assert.Null(RecordFile.Open(folder, 5, 0x1e, out error));
                Assert.Contains("another process serves slot 0x1e of domain 5", error);
                using RecordFile other = RecordFile.Open(folder, 5, 0x1d, out error)!;
                Assert.NotNull(other);
            }

            string path = Path.Combine(folder, "5.1e");
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            using (RecordFile second = RecordFile.Open(folder, 5, 0x1e, out _)!)
            {
                Assert.Equal(3, second.Load()!.Server);
                Assert.True(second.Save(Sample() with { Server = 4 }));
            }

            // The newest is torn: the one before counts.
            byte[] bytes = File.ReadAllBytes(path);
            Assert.Equal(2 * TakeOverRecord.Bytes, bytes.Length);
            bytes[100] ^= 1;
            File.WriteAllBytes(path, bytes);
            using RecordFile third = RecordFile.Open(folder, 5, 0x1e, out _)!;
            Assert.Equal(3, third.Load()!.Server);
            third.Clear();
            Assert.False(File.Exists(path));
            Assert.Null(third.Load());
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
        }
    }

    private static void KillAt(XenGuest guest, string call)
    {
        guest.Xen.Called = called =>
        {
            if (called == call) throw new KilledException();
        };
        Assert.Throws<KilledException>(() => guest.Host.TryStart(out _));
        guest.Xen.Called = null;
        guest.KillAndReplace();
    }

    private static TakeOverRecord Sample()
    {
        var config = new byte[256];
        var table = new byte[256];
        for (int i = 0; i < 256; i++) (config[i], table[i]) = ((byte)i, (byte)(255 - i));
        return new TakeOverRecord(Guid.NewGuid(), 5, 1, 0x1e, 0xf100_0000, new PciStateV1(0x4000, config, table, 0xa5, true));
    }

    private static void AttachDisk(XenGuest guest) =>
        guest.Host.Machine.Attach(new PortNumber(1), new DiskDevice(new MemoryBlockStore(64), new DiskOptions { Speed = UsbSpeed.High }));

    private static XhciDriver ReadDisk(XenGuest guest)
    {
        var driver = new XhciDriver(guest);
        driver.Start();
        driver.Expect(() => driver.ConnectedPorts().Count == 1, "the connection");
        var disk = new MassStorageClient(UsbDeviceHandle.Enumerate(driver, driver.ConnectedPorts()[0]));
        disk.TestUnitReady();
        Assert.True(disk.Read(0, 8, driver.AllocateBuffer(4096).Address).Ok);
        return driver;
    }
}
