using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>The guest's driver over the whole ioreq road.</summary>
public sealed class XenGuestTests
{
    private const uint ErrorBits = 0x1004;

    [Theory]
    [InlineData(GuestInterruptMode.MsiX, 1)]
    [InlineData(GuestInterruptMode.Msi, 1)]
    [InlineData(GuestInterruptMode.Intx, 1)]
    [InlineData(GuestInterruptMode.Polling, 1)]
    [InlineData(GuestInterruptMode.MsiX, 4)]
    [InlineData(GuestInterruptMode.MsiX, 128)]
    public void Driver_reads_what_it_wrote_to_a_disk(GuestInterruptMode mode, int vcpus)
    {
        using var guest = new XenGuest(vcpus);
        var store = new MemoryBlockStore(256);
        MassStorageClient disk = StartWithDisk(guest, store, new XhciDriverOptions { Interrupts = mode }, out GuestBuffer buffer);
        WriteAndReadBack(guest, disk, buffer);

        Assert.Equal(0x5a, store.MapRead(8 * 512, 1)[0]);
        Assert.Equal(0, guest.Host.Machine.Controller.Faults);
    }

    [Fact]
    public void Invalidation_between_and_during_transfers_loses_nothing()
    {
        using var guest = new XenGuest();
        MassStorageClient disk = StartWithDisk(guest, new MemoryBlockStore(256), new XhciDriverOptions(), out GuestBuffer buffer);

        for (int i = 0; i < 5; i++)
        {
            long maps = guest.Host.Memory.Maps;
            guest.Request(IoreqType.Invalidate, 0, 4, ulong.MaxValue, 0);
            Assert.Equal(0, guest.Host.Memory.Count);
            WriteAndReadBack(guest, disk, buffer);
            Assert.True(guest.Host.Memory.Maps > maps);
        }
    }

    [Fact]
    public void Steady_state_maps_and_allocates_nothing()
    {
        using var guest = new XenGuest();
        MassStorageClient disk = StartWithDisk(guest, new MemoryBlockStore(256), new XhciDriverOptions(), out GuestBuffer buffer);
        for (int i = 0; i < 20; i++) WriteAndReadBack(guest, disk, buffer);
        guest.Xen.Calls.Clear();
        guest.Xen.Calls.Capacity = 100_000;
        guest.Xen.Messages.Capacity = 100_000;
        long allocated = guest.HostBytes;
        long maps = guest.Host.Memory.Maps;

        for (int i = 0; i < 20; i++) WriteAndReadBack(guest, disk, buffer);

        Assert.Equal(0, guest.HostBytes - allocated);
        Assert.Equal(maps, guest.Host.Memory.Maps);
        Assert.Contains("notify", guest.Xen.Calls);
        Assert.Contains("inject_msi", guest.Xen.Calls);
    }

    [Fact]
    public void Pages_that_a_device_writes_are_told_to_xen_while_somebody_asks()
    {
        using var guest = new XenGuest();
        MassStorageClient disk = StartWithDisk(guest, new MemoryBlockStore(256), new XhciDriverOptions(), out GuestBuffer buffer);
        WriteAndReadBack(guest, disk, buffer);
        Assert.Empty(guest.Xen.Modified);

        guest.Host.Memory.TracksDirtyPages = true;
        Assert.True(disk.Read(8, 128, buffer.Address).Ok);
        for (ulong frame = buffer.Address / 4096; frame < (buffer.Address + 65536) / 4096; frame++)
            Assert.Contains(guest.Xen.Modified, extent => frame >= extent.FirstFrame && frame < extent.FirstFrame + extent.Count);
        guest.Host.Memory.TracksDirtyPages = false;
        guest.Xen.Modified.Clear();
        WriteAndReadBack(guest, disk, buffer);

        Assert.Empty(guest.Xen.Modified);
    }

    [Fact]
    public void Register_access_is_answered_before_the_ring_is_walked()
    {
        using var guest = new XenGuest();
        var store = new MemoryBlockStore(256);
        guest.Host.Machine.Attach(new PortNumber(1), new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        guest.Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        UsbDeviceHandle device = Enumerate(driver);
        Assert.NotEmpty(device.ConfigurationDescriptor);
        long rounds = guest.Host.Machine.Rounds;

        // Doorbell 0: the command ring is to be looked at.
        ulong doorbells = driver.Pci.BarAddress + (driver.Platform.MmioRead(driver.Pci.BarAddress + 0x14, 4) & ~3UL);
        rounds = guest.Host.Machine.Rounds;
        Assert.True(guest.Xen.Send(0, IoreqType.Memory, doorbells, 4, 0, 0));
        guest.Events.Ready(LoopEvents.Readable);

        Assert.Equal(IoreqState.Answered, guest.Xen.State(0));
        Assert.Equal(rounds, guest.Host.Machine.Rounds);
        guest.Host.Advance(guest.Loop.Now);
        Assert.True(guest.Host.Machine.Rounds > rounds);
        guest.Xen.Take(0);
    }

    [Fact]
    public void Doorbell_that_comes_while_the_model_works_is_served_in_the_same_turn()
    {
        using var guest = new XenGuest();
        guest.Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        ulong doorbells = driver.Pci.BarAddress + (driver.Platform.MmioRead(driver.Pci.BarAddress + 0x14, 4) & ~3UL);
        Assert.True(guest.Xen.Send(0, IoreqType.Memory, driver.Pci.BarAddress, 4, 0, 0x20));
        guest.Events.Ready(LoopEvents.Readable);
        guest.Xen.Take(0);
        long rounds = guest.Host.Machine.Rounds;

        Assert.True(guest.Xen.Send(0, IoreqType.Memory, doorbells, 4, 0, 0));
        guest.Host.Advance(guest.Loop.Now);

        Assert.NotNull(guest.Xen.Take(0));
        Assert.True(guest.Host.Machine.Rounds > rounds);
        Assert.True(guest.Host.Machine.NextDeadline > guest.Loop.Now);
    }

    [Fact]
    public void Memory_that_is_missing_stops_the_controller_and_not_the_host()
    {
        using var guest = new XenGuest();
        guest.Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        for (ulong frame = 0; frame < FakeXen.RamBytes / 4096; frame++) guest.Xen.Missing.Add(frame);
        guest.Request(IoreqType.Invalidate, 0, 4, 0, 0);

        guest.MmioWrite(driver.Pci.BarAddress + (guest.MmioRead(driver.Pci.BarAddress + 0x14, 4) & ~3UL), 4, 0);
        guest.Turn();

        Assert.NotEqual(0u, Status(guest, driver) & ErrorBits);
        guest.Xen.Missing.Clear();
        driver = new XhciDriver(guest);
        driver.Start();
        Assert.Equal(0u, Status(guest, driver) & ErrorBits);
    }

    [Fact]
    public void Vcpus_that_hammer_registers_together_are_all_answered()
    {
        const int Vcpus = 16;
        using var guest = new XenGuest(Vcpus);
        guest.Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        ulong bar = driver.Pci.BarAddress;

        for (int round = 0; round < 200; round++)
        {
            for (int vcpu = 0; vcpu < Vcpus; vcpu++)
            {
                bool read = (round + vcpu) % 3 != 0;
                ulong address = bar + (ulong)((round * 37) + (vcpu * 8)) % 0x3000;
                if (vcpu % 4 == 0) Assert.True(guest.Xen.Send(vcpu, IoreqType.PciConfig, XenGuest.ConfigBase, 4, 0, 0x20));
                else Assert.True(guest.Xen.Send(vcpu, IoreqType.Memory, read ? address : bar + 0x20, read ? 1 << (vcpu % 4) : 4, 5, (byte)(read ? 0x20 : 0)));
            }

            guest.Turn();
            for (int vcpu = 0; vcpu < Vcpus; vcpu++)
            {
                ulong? data = guest.Xen.Take(vcpu);
                Assert.True(data is not null);
                if (vcpu % 4 == 0) Assert.Equal(0x000d1b36UL, data);
            }
        }

        Assert.Equal(0, guest.Host.Machine.Controller.Faults);
    }

    private static MassStorageClient StartWithDisk(XenGuest guest, MemoryBlockStore store, XhciDriverOptions options, out GuestBuffer buffer)
    {
        guest.Host.Machine.Attach(new PortNumber(1), new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        guest.Start();
        var driver = new XhciDriver(guest, options);
        driver.Start();
        var disk = new MassStorageClient(Enumerate(driver));
        disk.TestUnitReady();
        disk.ReadCapacity();
        buffer = driver.AllocateBuffer(65536);
        return disk;
    }

    private static void WriteAndReadBack(XenGuest guest, MassStorageClient disk, GuestBuffer buffer)
    {
        guest.Memory(buffer.Address, 65536).Fill(0x5a);
        Assert.True(disk.Write(8, 128, buffer.Address).Ok);
        guest.Memory(buffer.Address, 65536).Clear();
        Assert.True(disk.Read(8, 128, buffer.Address).Ok);
        Assert.Equal(-1, guest.Memory(buffer.Address, 65536).IndexOfAnyExcept((byte)0x5a));
    }

    private static uint Status(XenGuest guest, XhciDriver driver) =>
        (uint)guest.MmioRead(driver.Pci.BarAddress + (ulong)driver.OperationalOffset + XhciDriver.UsbStatus, 4);

    private static UsbDeviceHandle Enumerate(XhciDriver driver)
    {
        driver.Expect(() => driver.ConnectedPorts().Count == 1, "the connection");
        return UsbDeviceHandle.Enumerate(driver, driver.ConnectedPorts()[0]);
    }
}
