using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>The guest's driver over the whole road: socket, shared memory and eventfds are the system's own.</summary>
public sealed class VfioGuestTests
{
    [Theory]
    [InlineData(GuestInterruptMode.MsiX)]
    [InlineData(GuestInterruptMode.Intx)]
    [InlineData(GuestInterruptMode.Polling)]
    public void Driver_reads_what_it_wrote_to_a_disk(GuestInterruptMode mode)
    {
        using var client = new VfioClient();
        using var guest = new VfioGuest(client);
        var store = new MemoryBlockStore(256);
        client.Host.Machine.Attach(new PortNumber(1), new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        var driver = new XhciDriver(guest, new XhciDriverOptions { Interrupts = mode });
        driver.Start();

        var disk = new MassStorageClient(Enumerate(driver));
        disk.TestUnitReady();
        disk.ReadCapacity();
        GuestBuffer buffer = driver.AllocateBuffer(65536);
        guest.Memory(buffer.Address, 65536).Fill(0x5a);
        Assert.True(disk.Write(8, 128, buffer.Address).Ok);
        guest.Memory(buffer.Address, 65536).Clear();
        Assert.True(disk.Read(8, 128, buffer.Address).Ok);

        Assert.Equal(-1, guest.Memory(buffer.Address, 65536).IndexOfAnyExcept((byte)0x5a));
        Assert.Equal(0x5a, store.MapRead(8 * 512, 1)[0]);
        Assert.Equal(0, client.Host.Machine.Controller.Faults);
    }

    /// <summary>Linux reads each doorbell after it has rung it (xhci_ring_ep_doorbell): its processor must not wait for the transfer.</summary>
    [Fact]
    public void Read_behind_a_posted_doorbell_is_answered_before_the_controller_works()
    {
        using var client = new VfioClient();
        using var guest = new VfioGuest(client);
        client.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        var driver = new XhciDriver(guest);
        driver.Start();
        Enumerate(driver);
        ulong doorbells = client.ReadValue(0, 0x14, 4);
        client.Turn();
        long rounds = client.Host.Machine.Rounds;
        byte[] ring = VfioClient.Message(1, 10, VfioClient.Join(VfioClient.Long(doorbells), VfioClient.Words(0, 4, 0)), flags: 0x10);
        byte[] read = VfioClient.Message(2, 9, VfioClient.Join(VfioClient.Long(doorbells), VfioClient.Words(0, 4)));

        client.Send(VfioClient.Join(ring, read));
        foreach (ILoopSource source in client.Loop.Sources.ToArray()) source.Ready(LoopEvents.Readable);
        SocketOutcome outcome = client.Socket.Receive(new byte[64], new List<SafeHandle>(), out int count);

        Assert.Equal((SocketOutcome.Moved, 36), (outcome, count));
        Assert.Equal(rounds, client.Host.Machine.Rounds);
        client.Turn();
        Assert.True(client.Host.Machine.Rounds > rounds);
    }

    [Fact]
    public void Reset_with_a_transfer_in_flight_leaves_a_device_that_enumerates_again()
    {
        using var client = new VfioClient();
        using var guest = new VfioGuest(client);
        client.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        var driver = new XhciDriver(guest);
        driver.Start();
        UsbDeviceHandle keyboard = Enumerate(driver);
        Assert.NotEmpty(keyboard.ConfigurationDescriptor);

        Assert.Equal(0, client.Request(13, []).Error);
        client.Turn();
        var second = new XhciDriver(guest);
        second.Start();

        Assert.NotEmpty(Enumerate(second).ConfigurationDescriptor);
    }

    [Fact]
    public void Next_client_goes_on_where_the_last_one_left()
    {
        using var first = new VfioClient();
        using var before = new VfioGuest(first);
        first.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        var driver = new XhciDriver(before);
        driver.Start();
        Enumerate(driver);
        ulong command = first.ReadValue(7, 4, 2);
        ulong run = Usbcmd(first);

        first.Disconnect();
        Assert.False(first.Host.HasClient);
        Assert.True(first.Host.IsPaused);
        first.Host.Machine.Detach(new PortNumber(1));
        first.Loop.Turn(first.Host);
        using var second = new VfioClient(first.Host, first.Loop);
        using var after = new VfioGuest(second);

        Assert.Equal(command, second.ReadValue(7, 4, 2));
        Assert.Equal(1u, run & 1);
        Assert.Equal(run, Usbcmd(second));
        Assert.Equal(0u, Errors(second));
        Assert.False(first.Host.IsPaused);
    }

    [Fact]
    public void Memory_that_is_away_for_a_moment_stops_nothing()
    {
        using var client = new VfioClient();
        using var guest = new VfioGuest(client);
        var driver = new XhciDriver(guest);
        driver.Start();
        var file = client.MemoryFile(32 << 20);
        Assert.Equal(0, client.Map(1UL << 32, 1 << 20, file).Error);

        Assert.Equal(0, client.Unmap(0, 32 << 20).Error);
        Assert.True(client.Host.IsPaused);
        client.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        client.Turn();
        Assert.Equal(0, client.Map(0, 32 << 20, guest.RamFile).Error);
        Assert.True(client.Host.IsPaused);
        client.PassTime(VfioUserLimits.UnmapPauseNanoseconds);

        Assert.False(client.Host.IsPaused);
        Assert.Equal(0u, Errors(client));
    }

    private static ulong Usbcmd(VfioClient client) => client.ReadValue(0, RegisterTables.OperationalOffset, 4);

    // USBSTS: HSE, HCE and HCHalted (xHCI 1.2 §5.4.2).
    private static ulong Errors(VfioClient client) => client.ReadValue(0, RegisterTables.OperationalOffset + 4, 4) & 0x1005;

    private static UsbDeviceHandle Enumerate(XhciDriver driver)
    {
        driver.Expect(() => driver.ConnectedPorts().Count == 1, "the connection");
        return UsbDeviceHandle.Enumerate(driver, driver.ConnectedPorts()[0]);
    }
}
