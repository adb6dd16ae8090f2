using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

public sealed class XenHostTests
{
    private const ulong Bar = 0xf100_0000;
    private const int BarBytes = 0x4000;

    [Fact]
    public void Server_is_made_in_the_order_that_xen_needs()
    {
        using XenGuest guest = new XenGuest(2).Start();

        // Ports are in the page only after the server was enabled, and bound before a request can come.
        Assert.Equal(
            ["nr_vcpus", "create", "map_resource", "enable", "bind", "bind", "map_pcidev"],
            guest.Xen.Calls.Where(call => call is not ("take" or "unmask")));
        Assert.Equal([XenLimits.DefaultSlot], guest.Xen.PciSlots);
        Assert.Empty(guest.Xen.Ranges);
    }

    [Fact]
    public void End_leaves_nothing_in_xen()
    {
        var guest = new XenGuest(2).Start();
        new PciSetup(guest).Enable(Bar);
        guest.Xen.Calls.Clear();

        guest.Dispose();

        Assert.Equal(["unmap_range", "unmap_pcidev", "disable", "unbind", "unbind", "destroy"], guest.Xen.Calls);
        Assert.False(guest.Xen.ServerExists);
        Assert.False(guest.Xen.Enabled);
        Assert.Equal(0, guest.Xen.MappedPages);
        guest.Dispose();
    }

    [Fact]
    public void Request_that_waits_at_the_end_is_answered()
    {
        var guest = new XenGuest(2).Start();
        new PciSetup(guest).Enable(Bar);
        Assert.True(guest.Xen.Send(0, IoreqType.Memory, Bar, 4, 0, 0x20));
        guest.Xen.Slot(1)[30] = (int)IoreqState.InProcess;

        guest.Dispose();

        Assert.NotNull(guest.Xen.Take(0));
        Assert.Equal(IoreqState.Answered, guest.Xen.State(1));
    }

    [Fact]
    public void Range_follows_the_bar_with_decoding_on_and_off()
    {
        using XenGuest guest = new XenGuest().Start();
        new PciSetup(guest).Enable(Bar);
        Assert.Equal([(Bar, Bar + BarBytes - 1)], guest.Xen.Ranges);

        guest.ConfigWrite(4, 2, 0);
        Assert.Empty(guest.Xen.Ranges);
        guest.ConfigWrite(4, 2, 6);
        Assert.Equal([(Bar, Bar + BarBytes - 1)], guest.Xen.Ranges);

        // An operating system moves it with decoding on, one half after the other (64-bit BAR).
        guest.ConfigWrite(0x10, 4, 0xe000_0000);
        guest.ConfigWrite(0x14, 4, 0x10);
        Assert.Equal([(0x10_e000_0000UL, 0x10_e000_0000UL + BarBytes - 1)], guest.Xen.Ranges);
        Assert.Equal(0x0120UL, guest.MmioRead(0x10_e000_0002, 2));
        Assert.Equal(ulong.MaxValue, guest.MmioRead(Bar, 4));
    }

    [Fact]
    public void Place_of_the_bar_is_said_once_and_again_when_it_is_another()
    {
        var log = new LogList();
        using XenGuest guest = new XenGuest(logger: log).Start();
        new PciSetup(guest).Enable(Bar);
        log.Lines.Clear();

        // A driver sizes the BAR and turns decoding off and on around every capability.
        for (int i = 0; i < 10; i++)
        {
            guest.ConfigWrite(4, 2, 0);
            guest.ConfigWrite(0x10, 4, uint.MaxValue);
            guest.ConfigWrite(0x10, 4, (uint)Bar);
            guest.ConfigWrite(4, 2, 6);
        }

        Assert.Empty(log.Lines);
        guest.ConfigWrite(0x10, 4, 0xe000_0000);
        Assert.Equal("Information: the guest has put BAR 0 at 0xe0000000", Assert.Single(log.Lines));
    }

    [Fact]
    public void Domain_is_named_with_its_name_where_it_has_one() => Assert.Equal("domain 5 (guest)", XenHost.LabelOf(new FakeXen().Open()));

    [Fact]
    public void Range_that_xen_refuses_leaves_the_bar_without_a_place()
    {
        var log = new LogList();
        using XenGuest guest = new XenGuest(logger: log).Start();
        guest.Xen.Errors["map_range"] = XenError.NoSpace;

        new PciSetup(guest).Enable(Bar);

        Assert.Empty(guest.Xen.Ranges);
        Assert.Contains(log.Lines, line => line.Contains("does not take BAR 0 at 0xf1000000: error 28", StringComparison.Ordinal));
        guest.Xen.Errors.Clear();
        guest.ConfigWrite(4, 2, 0);
        guest.ConfigWrite(4, 2, 6);
        Assert.Single(guest.Xen.Ranges);
    }

    [Theory]
    [InlineData("nr_vcpus", XenError.Invalid, "not an HVM guest")]
    [InlineData("nr_vcpus", XenError.NoDomain, "the domain is gone")]
    [InlineData("create", XenError.NoSpace, "as many device models as Xen allows")]
    [InlineData("create", XenError.NotPermitted, "run as root")]
    [InlineData("map_resource", XenError.NotSupported, "map_resource: error 95")]
    [InlineData("enable", XenError.NoEntry, "set_ioreq_server_state: error 2")]
    [InlineData("bind", XenError.Invalid, "bind_interdomain of vCPU 0: error 22")]
    [InlineData("map_pcidev", XenError.Exists, "map_pcidev of slot 0x1e: error 17")]
    public void Call_that_fails_at_the_start_is_a_line_and_leaves_nothing(string call, int error, string expected)
    {
        using var guest = new XenGuest();
        guest.Xen.Errors[call] = error;

        Assert.False(guest.Host.TryStart(out string line));

        Assert.Contains(expected, line);
        Assert.False(guest.Xen.ServerExists);
        Assert.Equal(0, guest.Xen.MappedPages);
        Assert.Empty(guest.Loop.Sources);
    }

    [Fact]
    public void Slot_that_qemu_has_is_refused_at_the_start()
    {
        using var guest = new XenGuest();
        guest.Xen.Others[0] = [2, 3, XenLimits.DefaultSlot];

        Assert.False(guest.Host.TryStart(out string line));

        Assert.Equal("QEMU has a device in PCI slot 0x1e; name another slot (--controller xhci,slot=N)", line);
        Assert.False(guest.Xen.ServerExists);
        Assert.Equal([2, 3, XenLimits.DefaultSlot], guest.Xen.Others[0].Order());
    }

    [Fact]
    public void Slot_that_qemu_takes_after_the_start_is_said_when_the_guest_does_not_ask_for_ours()
    {
        var log = new LogList();
        using XenGuest guest = new XenGuest(logger: log);
        guest.Xen.Others[0] = [2];
        guest.Start();
        guest.Xen.Others[2] = [3];
        guest.Relax(XenLimits.SlotCheckNanoseconds);
        Assert.DoesNotContain(log.Lines, line => line.Contains("QEMU", StringComparison.Ordinal));
        Assert.Equal([3], guest.Xen.Others[2]);
        Assert.Equal([2], guest.Xen.Others[0]);

        guest.Xen.Others[2].Add(XenLimits.DefaultSlot);
        guest.Relax(2 * XenLimits.SlotCheckNanoseconds);

        Assert.Single(log.Lines, line => line.Contains("QEMU has a device in PCI slot 0x1e too", StringComparison.Ordinal));
        Assert.Equal(VirtualTime.Never, guest.Host.NextDeadline);
    }

    [Fact]
    public void Slot_is_not_asked_for_once_the_guest_has_looked_at_it_and_not_for_ever()
    {
        using XenGuest guest = new XenGuest().Start();
        guest.Xen.Others[2] = [];
        guest.ConfigRead(0, 4);
        guest.Relax(XenLimits.SlotCheckNanoseconds);
        Assert.Equal(VirtualTime.Never, guest.Host.NextDeadline);

        using XenGuest paused = new XenGuest().Start();
        int checks = 0;
        while (paused.Host.NextDeadline != VirtualTime.Never && checks++ < 100) paused.Relax(paused.Host.NextDeadline.Nanoseconds - paused.Now);
        Assert.Equal(XenLimits.SlotChecks, checks);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(129)]
    public void Domain_with_more_vcpus_than_the_page_has_requests_is_refused(int vcpus)
    {
        using var guest = new XenGuest(vcpus);

        Assert.False(guest.Host.TryStart(out string line));

        Assert.Contains("128 at most", line);
    }

    [Theory]
    [InlineData("unmask")]
    [InlineData("notify")]
    [InlineData("inject_msi")]
    [InlineData("set_intx")]
    [InlineData("map_range")]
    [InlineData("map_guest")]
    [InlineData("unmap_range")]
    public void Domain_that_is_gone_ends_the_host_wherever_it_is_noticed(string call)
    {
        int gone = 0;
        var guest = new XenGuest();
        guest.Host.Gone = () => gone++;
        guest.Start();
        var mode = call == "set_intx" ? GuestInterruptMode.Intx : GuestInterruptMode.MsiX;
        var driver = new XhciDriver(guest, new XhciDriverOptions { Interrupts = mode });
        driver.Start();
        guest.Request(IoreqType.Invalidate, 0, 4, 0, 0);
        guest.Xen.Errors[call] = XenError.NoDomain;

        guest.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        guest.Turn();
        guest.ConfigWrite(0x10, 4, 0xe000_0000);
        guest.ConfigRead(0, 4);

        Assert.Equal(1, gone);
        Assert.True(guest.Host.IsGone);
        Assert.Equal(VirtualTime.Never, guest.Host.NextDeadline);
        guest.Dispose();
        Assert.Equal(0, guest.Xen.MappedPages);
    }

    [Fact]
    public void Domain_that_is_released_ends_the_host()
    {
        int gone = 0;
        var records = new MemoryRecords();
        var guest = new XenGuest(records: records);
        guest.Host.Gone = () => gone++;
        guest.Start();
        Assert.NotNull(records.Bytes);

        // Another domain goes first.
        guest.Turn();
        Assert.False(guest.Host.IsGone);
        guest.Xen.Alive = false;
        guest.Turn();
        guest.Turn();

        Assert.True(guest.Host.IsGone);
        Assert.Equal(1, gone);
        guest.Dispose();
        Assert.Null(records.Bytes);
    }

    [Fact]
    public void Domain_that_goes_before_the_start_is_over_ends_the_host()
    {
        var guest = new XenGuest();
        guest.Xen.Alive = false;

        Assert.True(guest.Host.TryStart(out _));

        Assert.True(guest.Host.IsGone);
        guest.Dispose();
    }

    [Fact]
    public void Interrupt_that_xen_refuses_is_said_and_counted()
    {
        var log = new LogList();
        using XenGuest guest = new XenGuest(logger: log).Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        guest.Xen.Errors["inject_msi"] = XenError.Invalid;

        guest.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        guest.Relax(1_000_000);

        Assert.False(guest.Host.IsGone);
        Assert.Contains(log.Lines, line => line.Contains("does not take an interrupt: error 22", StringComparison.Ordinal));
    }

    [Fact]
    public void Message_reaches_xen_as_the_guest_programmed_it()
    {
        using XenGuest guest = new XenGuest().Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        ulong table = driver.Pci.BarAddress + 0x3000;
        // Extended destination, no vector: Xen's event channel form (hvm_pirq).
        guest.MmioWrite(table, 4, 0xfee1_2004);
        guest.MmioWrite(table + 4, 4, 0x1234_5600);
        guest.MmioWrite(table + 8, 4, 0x0000_4300);

        guest.Host.Machine.Attach(new PortNumber(1), new BootKeyboard(UsbSpeed.High));
        guest.Relax(1_000_000);

        Assert.Equal((0x1234_5600_fee1_2004UL, 0x4300u), guest.Xen.Messages[^1]);
    }

    [Fact]
    public void Frame_index_is_of_the_instant_at_which_the_guest_reads_it()
    {
        using XenGuest guest = new XenGuest().Start();
        var driver = new XhciDriver(guest);
        driver.Start();
        ulong index = driver.Pci.BarAddress + (guest.MmioRead(driver.Pci.BarAddress + 0x18, 4) & ~0x1fUL);
        ulong before = guest.MmioRead(index, 4);

        // The process slept; MFINDEX has counted on (xHCI 1.2 §5.5.1), and shows it in the first read after that.
        guest.Loop.PassTo(guest.Loop.Now.Plus(80 * VirtualTime.MicroframeNanoseconds));
        Assert.True(guest.Xen.Send(0, IoreqType.Memory, index, 4, 0, 0x20));
        guest.Events.Ready(LoopEvents.Readable);

        Assert.Equal((before + 80) & 0x3fff, guest.Xen.Take(0)!.Value & 0x3fff);
    }

    [Fact]
    public void Tree_shows_server_memory_and_interrupts()
    {
        using XenGuest guest = new XenGuest().Start();

        string tree = InspectWriter.Dump(guest.Host);

        Assert.All(new List<string> { "xen", "domain", "vcpus", "register-accesses", "buckets", "messages", "xhci" }, name => Assert.Contains(name, tree));
    }
}
