using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Attacks;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Run;

/// <summary>HCRST and LHCRST in every situation (xHCI 1.2 §4.2, §5.4.1).</summary>
public sealed class ResetTests
{
    private const uint Hcrst = 2;
    private const uint NotReady = 0x800;

    [Theory]
    [InlineData("running")]
    [InlineData("halted")]
    [InlineData("host system error")]
    [InlineData("host controller error")]
    [InlineData("command waiting")]
    [InlineData("endpoint halted")]
    [InlineData("port in reset")]
    [InlineData("event ring full")]
    public void Hcrst_in_any_situation_gives_reset_values_and_a_working_controller(string situation)
    {
        using var arena = new Arena { AllowsRefusals = situation == "host system error" };
        XhciDriver driver = arena.Driver;
        Dictionary<int, uint> expected = ResetValues();
        Bring(arena, situation);

        driver.WriteOperational(XhciDriver.UsbCommand, Hcrst);
        driver.Spin(() => (arena.Status & NotReady) == 0, 1_000_000_000, "CNR");

        foreach ((int offset, uint value) in expected) Assert.Equal((offset, value), (offset, driver.Read32(offset)));
        Assert.Equal(1u, arena.Status & 0x1005);
    }

    // §5.4.1: ports detect anew; a USB 3 device is trained by a reset, a USB 2 device waits for one.
    [Fact]
    public void Hcrst_makes_ports_detect_their_devices_again()
    {
        using var arena = new Arena();
        arena.Rig.PlugZero(UsbSpeed.Super, 2);

        arena.Driver.WriteOperational(XhciDriver.UsbCommand, Hcrst);
        arena.Machine.AdvanceBy(100_000_000);
        uint usb2 = arena.Driver.ReadPort(1);
        uint usb3 = arena.Driver.ReadPort(6);

        Assert.Equal(XhciDriver.PortConnected | XhciDriver.PortConnectChange, usb2 & (XhciDriver.PortConnected | XhciDriver.PortEnabled | XhciDriver.PortConnectChange));
        Assert.Equal(
            XhciDriver.PortConnected | XhciDriver.PortEnabled | XhciDriver.PortConnectChange,
            usb3 & (XhciDriver.PortConnected | XhciDriver.PortEnabled | XhciDriver.PortConnectChange));
    }

    // CVE-2021-3750's other half: the device gives its buffers back late. The controller does not wait for it (CNR stays 0);
    // it takes the buffers away, so that nothing of the guest's memory is touched after the reset.
    [Theory]
    [InlineData(Arena.BulkIn)]
    [InlineData(Arena.InterruptIn)]
    [InlineData(Arena.IsochIn)]
    public void Hcrst_in_mid_transfer_cuts_devices_off_from_guest_memory(byte endpoint)
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(4096);
        if (endpoint == Arena.IsochIn) arena.Pipe(endpoint).SubmitIsochronous(buffer.Address, 512);
        else for (int i = 0; i < 3; i++) arena.Pipe(endpoint).Submit(buffer.Address, 64);
        arena.Machine.AdvanceBy(10_000_000);
        int held = arena.Device.Held.Count;
        arena.Device.CancelsAtOnce = false;
        arena.Device.ResetsAtOnce = false;

        arena.Driver.WriteOperational(XhciDriver.UsbCommand, Hcrst);
        uint status = arena.Status & NotReady;
        arena.Machine.Memory.AccessLog = [];
        bool written = false;
        while (arena.Device.Held.Count > 0)
        {
            UsbRequest late = arena.Device.Held[0];
            written |= arena.Device.Fill(late, [0x5a]);
            arena.Device.Complete(late, RequestStatus.Success, 1);
            arena.Machine.AdvanceBy(1_000_000);
        }

        arena.Device.FinishReset();
        arena.Machine.AdvanceBy(100_000_000);

        Assert.True(held > 0);
        Assert.Equal(0u, status);
        Assert.False(written);
        Assert.Empty(arena.Machine.Memory.AccessLog);
        Assert.Equal(new byte[4096], arena.Rig.Bytes(buffer));
        Assert.Equal(0, arena.TransfersInUse());
        arena.Machine.Memory.AccessLog = null;
        arena.Device.ResetsAtOnce = true;
    }

    [Fact]
    public void Cnr_is_0_whenever_nothing_is_with_a_device()
    {
        using var arena = new Arena();
        uint running = arena.Status;
        arena.Driver.Halt();
        uint halted = arena.Status;
        arena.Driver.WriteOperational(XhciDriver.UsbCommand, Hcrst);
        uint reset = arena.Status;
        var fresh = new InProcessMachine();
        fresh.WriteConfig(0x10, 4, 0xfe00_0000);
        fresh.WriteConfig(4, 2, 2);
        uint powerOn = fresh.ReadBar32((int)(fresh.ReadBar32(0) & 0xff) + 4);

        Assert.All(new[] { running, halted, reset, powerOn }, s => Assert.Equal(0u, s & NotReady));
        Assert.Equal(1u, powerOn);
    }

    // §5.4.1 LHCRST: the controller's state goes, ports stay as they are.
    [Fact]
    public void Light_reset_in_mid_transfer_keeps_the_ports_and_forgets_the_rest()
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
        arena.Machine.Step();
        uint port = arena.Driver.ReadPort(1);
        arena.Driver.Halt();

        arena.Driver.WriteOperational(XhciDriver.UsbCommand, 0x80);
        arena.Machine.AdvanceBy(10_000_000);

        Assert.Equal(port, arena.Driver.ReadPort(1));
        Assert.Empty(arena.Device.Held);
        Assert.Equal(0, arena.TransfersInUse());
        Assert.Equal(1u, arena.Status & 0x1805);
        Assert.Equal(0u, arena.Driver.ReadOperational(XhciDriver.Configure));
    }

    private static Dictionary<int, uint> ResetValues()
    {
        using var rig = new EndToEnd.Rig(start: false);
        rig.Driver.AttachPci();
        var values = new Dictionary<int, uint>();
        for (int offset = 0; offset < 0x38; offset += 4) values[rig.Driver.OperationalOffset + offset] = rig.Driver.ReadOperational(offset);
        values.Remove(rig.Driver.OperationalOffset + XhciDriver.UsbStatus);
        for (int i = 0; i < 16; i++)
        {
            foreach (int register in new[] { 0, 4, 8, 0x10, 0x14, 0x18, 0x1c })
                values[rig.Driver.InterrupterOffset(i, register)] = rig.Driver.Read32(rig.Driver.InterrupterOffset(i, register));
        }

        return values;
    }

    private static void Bring(Arena arena, string situation)
    {
        XhciDriver driver = arena.Driver;
        GuestBuffer buffer = driver.AllocateBuffer(512);
        switch (situation)
        {
            case "halted":
                driver.Halt();
                break;
            case "host system error":
                int dci = arena.Aim(Arena.BulkIn, 0x8000_0001);
                driver.RingDoorbell(arena.Handle.Slot, dci);
                arena.Machine.Step();
                Assert.Equal(5u, arena.Status & 0x1005);
                break;
            case "host controller error":
                driver.StopCommandRing(abort: false);
                arena.Put(0, GuestTrb.Link(arena.At(0), 0));
                driver.Write64(driver.OperationalOffset + XhciDriver.CommandRingControl, arena.At(0) | 1);
                driver.RingDoorbell(0);
                arena.Machine.Step();
                Assert.Equal(0x1001u, arena.Status & 0x1005);
                break;
            case "command waiting":
                arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
                arena.Machine.Step();
                arena.Device.CancelsAtOnce = false;
                driver.PostCommand(GuestTrb.Command(GuestTrbType.DisableSlot, arena.Handle.Slot));
                driver.RingDoorbell(0);
                arena.Machine.Step();
                arena.Device.OnSubmit = null;
                arena.Device.OnAdvance = (device, _) => device.CompleteNext(RequestStatus.Cancelled, 0);
                arena.Device.NextDeadline = arena.Machine.Now.Plus(30_000_000);
                break;
            case "endpoint halted":
                arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
                arena.Machine.Step();
                arena.Device.CompleteNext(RequestStatus.Stall, 0);
                arena.Machine.Step();
                break;
            case "port in reset":
                driver.WritePort(1, XhciDriver.PortReset);
                break;
            case "event ring full":
                driver.AutoAcknowledge = false;
                for (int i = 0; i < 40; i++)
                {
                    for (int n = 0; n < 10; n++) driver.CommandRing.ReleaseAll();
                    for (int n = 0; n < 10; n++) driver.PostCommand(GuestTrb.Command(GuestTrbType.NoOpCommand));
                    driver.RingDoorbell(0);
                    arena.Machine.Step();
                }

                driver.AutoAcknowledge = true;
                break;
            default:
                arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
                arena.Machine.Step();
                break;
        }
    }
}
