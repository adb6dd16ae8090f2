using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

/// <summary>Ports 1 and 2 are USB 2, ports 3 and 4 the USB 3 pins of the same connectors.</summary>
public class RootPortsTests
{
    private const uint Csc = PortStatus.ConnectChange;
    private const uint Prc = PortStatus.ResetChange;
    private const uint Wrc = PortStatus.WarmResetChange;

    private static RegisterBench Started()
    {
        var bench = new RegisterBench();
        bench.Start();
        return bench;
    }

    private static void Acknowledge(RegisterBench bench, int port) =>
        bench.Write(RegisterBench.PortSc(port), 0x200 | PortStatus.ChangeMask | (bench.Port(port) & PortStatus.WakeMask));

    [Theory]
    [InlineData(UsbSpeed.Low, 1, 0x0002_0ae1u)]
    [InlineData(UsbSpeed.Full, 1, 0x0002_06e1u)]
    [InlineData(UsbSpeed.High, 1, 0x0002_0ee1u)]
    [InlineData(UsbSpeed.Super, 3, 0x0002_1203u)]
    public void Device_appears_on_the_port_of_its_bus(UsbSpeed speed, int port, uint status)
    {
        RegisterBench bench = Started();
        bench.Attach(1, speed);
        Assert.Equal(status, bench.Port(port));
        Assert.Equal(0x2a0u, bench.Port(port == 1 ? 3 : 1));
        Assert.Equal(0x10u, bench.Read(RegisterBench.UsbSts) & 0x10);
        Trb trb = bench.Event(0, 0, 0);
        Assert.Equal(TrbType.PortStatusChangeEvent, trb.Type);
        Assert.Equal((ulong)port << 24, trb.Parameter);
        Assert.Equal(port == 3, bench.Ports.TryGetDevice(port, out _, out _));
    }

    [Fact]
    public void Connector_without_pins_for_the_speed_shows_nothing()
    {
        var bench = new RegisterBench(usb2: 2, usb3: 1);
        bench.Start();
        bench.Attach(2, UsbSpeed.Super);
        Assert.Equal(0x2a0u, bench.Port(2));
        Assert.Equal(0x2a0u, bench.Port(3));
    }

    [Fact]
    public void Device_attached_before_the_ports_were_made_shows()
    {
        var bench = new RegisterBench();
        bench.Attach(1, UsbSpeed.High);
        var ports = new RootPorts(bench.Options, bench.Pipeline, bench.Interrupters);
        Assert.Equal(0x0002_0ee1u, ports.ReadRegister(0, RegisterEffect.PortStatus));
        Assert.Equal(0u, ports.ReadRegister(0, RegisterEffect.None));
    }

    [Fact]
    public void Usb2_reset_lasts_its_time_and_enables_the_port()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        Acknowledge(bench, 1);
        bench.Write(RegisterBench.PortSc(1), 0x210);
        Assert.Equal(0x0ef1u, bench.Port(1));
        Assert.False(bench.Ports.TryGetDevice(1, out _, out _));
        bench.After(RootPorts.Usb2ResetNanoseconds - 1);
        Assert.Equal(0x0ef1u, bench.Port(1));
        Assert.Equal(new VirtualTime(RootPorts.Usb2ResetNanoseconds), bench.Ports.NextDeadline);
        bench.After(1);
        Assert.Equal(Prc | 0x0e03u, bench.Port(1));
        Assert.Equal(VirtualTime.Never, bench.Ports.NextDeadline);
        Assert.Single(device.Calls, "reset");
        Assert.True(bench.Ports.TryGetDevice(1, out PortNumber connector, out UsbSpeed speed));
        Assert.Equal(new PortNumber(1), connector);
        Assert.Equal(UsbSpeed.High, speed);
    }

    [Fact]
    public void Reset_waits_for_a_slow_device()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        device.ResetsAtOnce = false;
        bench.Write(RegisterBench.PortSc(1), 0x210);
        bench.After(1_000_000_000);
        Assert.Equal(VirtualTime.Never, bench.Ports.NextDeadline);
        Assert.Equal(PortStatus.Reset, bench.Port(1) & PortStatus.Reset);
        device.FinishReset();
        bench.After(0);
        Assert.Equal(PortStatus.Enabled, bench.Port(1) & (PortStatus.Reset | PortStatus.Enabled));
    }

    [Fact]
    public void Reset_asked_for_twice_happens_once()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        bench.Write(RegisterBench.PortSc(1), 0x210);
        bench.Write(RegisterBench.PortSc(1), 0x210);
        bench.After(RootPorts.Usb2ResetNanoseconds);
        Assert.Single(device.Calls, "reset");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Reset_without_device_is_ignored(int port)
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.PortSc(port), 0x210);
        Assert.Equal(0x2a0u, bench.Port(port));
    }

    [Fact]
    public void Hot_reset_of_a_usb3_port_sets_Prc_only()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.Super);
        Acknowledge(bench, 3);
        bench.Write(RegisterBench.PortSc(3), 0x210);
        Assert.Equal(LinkState.HotReset, bench.Link(3));
        Assert.False(bench.Ports.TryGetDevice(3, out _, out _));
        bench.After(RootPorts.HotResetNanoseconds);
        Assert.Equal(Prc | 0x1203u, bench.Port(3));
    }

    [Fact]
    public void Warm_reset_sets_Wrc_and_Prc_and_reads_zero()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.Super);
        Acknowledge(bench, 3);
        bench.Write(RegisterBench.PortSc(3), 0x8000_0200);
        Assert.Equal(0u, bench.Port(3) >> 31);
        bench.After(RootPorts.WarmResetNanoseconds);
        Assert.Equal(Wrc | Prc | 0x1203u, bench.Port(3));
    }

    [Fact]
    public void Warm_reset_works_without_device_and_one_that_comes_meanwhile_connects_at_its_end()
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.PortSc(3), 0x8000_0200);
        bench.Attach(1, UsbSpeed.Super);
        Assert.Equal(0u, bench.Port(3) & PortStatus.Connected);
        bench.After(RootPorts.WarmResetNanoseconds);
        Assert.Equal(Csc | Wrc | Prc | 0x1203u, bench.Port(3));
        bench.Write(RegisterBench.PortSc(4), 0x8000_0200);
        bench.After(RootPorts.WarmResetNanoseconds);
        Assert.Equal(Wrc | Prc | 0x2a0u, bench.Port(4));
    }

    [Fact]
    public void Warm_reset_of_a_usb2_port_is_reserved()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        uint before = bench.Port(1);
        bench.Write(RegisterBench.PortSc(1), 0x8000_0200);
        Assert.Equal(before, bench.Port(1));
    }

    [Fact]
    public void Unplugging_sets_Csc()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        Acknowledge(bench, 1);
        bench.Detach(1);
        Assert.Equal(Csc | 0x2a0u, bench.Port(1));
        Assert.False(bench.Ports.TryGetDevice(1, out _, out _));
    }

    [Fact]
    public void Unplugging_during_a_reset_ends_it()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High).ResetsAtOnce = false;
        Acknowledge(bench, 1);
        bench.Write(RegisterBench.PortSc(1), 0x210);
        bench.Detach(1);
        Assert.Equal(Csc | Prc | 0x2a0u, bench.Port(1));
        Assert.Equal(VirtualTime.Never, bench.Ports.NextDeadline);
        bench.After(1_000_000_000);
        Assert.Equal(Csc | Prc | 0x2a0u, bench.Port(1));
    }

    [Fact]
    public void Replacing_a_device_by_one_of_another_bus_moves_it()
    {
        RegisterBench bench = Started();
        bench.Attach(2, UsbSpeed.Full);
        bench.Detach(2);
        bench.Attach(2, UsbSpeed.Super);
        Assert.Equal(0u, bench.Port(2) & 1);
        Assert.Equal(1u, bench.Port(4) & 1);
    }

    [Fact]
    public void Change_bits_are_cleared_by_one_in_their_own_byte_only()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        int portsc = RegisterBench.PortSc(1);
        bench.Registers.Write(portsc + 1, 1, 0xff);
        bench.Registers.Write(portsc + 3, 1, 0xff);
        Assert.Equal(Csc, bench.Port(1) & PortStatus.ChangeMask);
        bench.Registers.Write(portsc + 2, 1, 0x02);
        Assert.Equal(0u, bench.Port(1) & PortStatus.ChangeMask);
        Assert.Equal(PortStatus.Power, bench.Port(1) & PortStatus.Power);
    }

    [Fact]
    public void Port_event_comes_once_until_all_change_bits_are_clear()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        Assert.Equal(1, bench.Count(TrbType.PortStatusChangeEvent));
        bench.Write(RegisterBench.PortSc(1), 0x200 | Csc);
        bench.ResetPort(1);
        Assert.Equal(1, bench.Count(TrbType.PortStatusChangeEvent));
        bench.Write(RegisterBench.PortSc(1), 0x200 | Prc);
        bench.ResetPort(1);
        Assert.Equal(2, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Port_change_detect_is_set_by_each_new_change_bit()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.Write(RegisterBench.UsbSts, 0x10);
        Assert.Equal(0u, bench.Read(RegisterBench.UsbSts) & 0x10);
        bench.ResetPort(1);
        Assert.Equal(0x10u, bench.Read(RegisterBench.UsbSts) & 0x10);
        bench.Write(RegisterBench.UsbSts, 0x10);
        bench.ResetPort(1);
        Assert.Equal(0u, bench.Read(RegisterBench.UsbSts) & 0x10);
    }

    [Fact]
    public void Port_event_of_a_halted_controller_comes_at_its_start()
    {
        var bench = new RegisterBench();
        bench.Attach(1, UsbSpeed.High);
        bench.Attach(2, UsbSpeed.Super);
        Assert.Equal(0x10u, bench.Read(RegisterBench.UsbSts) & 0x10);
        bench.Start();
        Assert.Equal(1ul << 24, bench.Event(0, 0, 0).Parameter);
        Assert.Equal(4ul << 24, bench.Event(0, 0, 1).Parameter);
        Assert.Equal(2, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Port_event_acknowledged_while_halted_does_not_come()
    {
        var bench = new RegisterBench();
        bench.Attach(1, UsbSpeed.High);
        Acknowledge(bench, 1);
        bench.Start();
        Assert.Equal(0, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Port_event_waits_for_room_and_is_not_lost()
    {
        RegisterBench bench = Started();
        while (bench.Post()) { }
        bench.Attach(1, UsbSpeed.High);
        bench.Attach(2, UsbSpeed.High);
        Assert.Equal(0, bench.Count(TrbType.PortStatusChangeEvent));
        bench.Consume(0, 0, 10);
        Assert.Equal(2, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Power_on_reports_a_device_that_is_there_GitLab_684()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        Acknowledge(bench, 1);
        bench.Write(RegisterBench.PortSc(1), 0);
        Assert.Equal(0x080u, bench.Port(1));
        Assert.False(bench.Ports.TryGetDevice(1, out _, out _));
        bench.Write(RegisterBench.PortSc(1), 0x200);
        Assert.Equal(0x0002_0ee1u, bench.Port(1));
        Assert.Equal(2, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Power_on_of_a_usb3_port_resets_the_device_before_it_connects()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.Super);
        Acknowledge(bench, 3);
        bench.Write(RegisterBench.PortSc(3), 0);
        bench.Write(RegisterBench.PortSc(3), 0x200);
        Assert.Equal(0x2a0u, bench.Port(3));
        bench.After(0);
        Assert.Equal(0x0002_1203u, bench.Port(3));
        Assert.Contains("reset", device.Calls);
    }

    [Fact]
    public void Unpowered_port_sees_neither_attach_nor_requests()
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.PortSc(1), 0);
        bench.Attach(1, UsbSpeed.High);
        bench.Write(RegisterBench.PortSc(1), 0x0001_0010);
        Assert.Equal(0x080u, bench.Port(1));
        Assert.Equal(0, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void Unplugging_while_a_usb3_link_trains_stops_it()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.Super);
        device.ResetsAtOnce = false;
        bench.Write(RegisterBench.PortSc(3), 0);
        bench.Write(RegisterBench.PortSc(3), 0x200);
        bench.Detach(1);
        bench.After(1_000_000);
        Assert.Equal(0u, bench.Port(3) & 1);
        Assert.Equal(VirtualTime.Never, bench.Ports.NextDeadline);
    }

    [Fact]
    public void Disabling_a_usb2_port_keeps_the_connection()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        Acknowledge(bench, 1);
        bench.Write(RegisterBench.PortSc(1), 0x202);
        Assert.Equal(0x0ee1u, bench.Port(1));
        bench.Write(RegisterBench.PortSc(1), 0x202);
        Assert.Equal(0x0ee1u, bench.Port(1));
        Assert.False(bench.Ports.TryGetDevice(1, out _, out _));
    }

    [Fact]
    public void Disabling_a_usb3_port_drops_the_device_until_RxDetect()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.Super);
        bench.Write(RegisterBench.PortSc(3), 0x202 | PortStatus.ChangeMask);
        Assert.Equal(Csc | 0x280u, bench.Port(3));
        Acknowledge(bench, 3);
        bench.Detach(1);
        bench.Attach(1, UsbSpeed.Super);
        Assert.Equal(0x280u, bench.Port(3));
        bench.SetLink(3, LinkState.RxDetect);
        bench.After(0);
        Assert.Equal(0x0002_1203u, bench.Port(3));
    }

    [Fact]
    public void RxDetect_without_device_waits_for_one()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.Super);
        bench.Write(RegisterBench.PortSc(3), 0x202);
        bench.Detach(1);
        bench.SetLink(3, LinkState.RxDetect);
        Assert.Equal(LinkState.RxDetect, bench.Link(3));
        bench.Attach(1, UsbSpeed.Super);
        Assert.Equal(LinkState.U0, bench.Link(3));
    }

    [Fact]
    public void Hcrst_connects_usb2_devices_anew_and_resets_usb3_devices()
    {
        RegisterBench bench = Started();
        FakeDevice high = bench.Attach(1, UsbSpeed.High);
        FakeDevice super = bench.Attach(2, UsbSpeed.Super);
        bench.ResetPort(1);
        high.Calls.Clear();
        super.Calls.Clear();
        bench.Write(RegisterBench.UsbCmd, 2);
        Assert.Equal(0x0002_0ee1u, bench.Port(1));
        Assert.Equal(0x2a0u, bench.Port(4));
        bench.After(0);
        Assert.Equal(0x0002_1203u, bench.Port(4));
        Assert.Empty(high.Calls);
        Assert.Equal(["reset"], super.Calls);
        Assert.Equal(0x11u, bench.Read(RegisterBench.UsbSts));
    }

    [Fact]
    public void Hcrst_during_a_port_reset_takes_the_answer_that_is_owed()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.Super);
        device.ResetsAtOnce = false;
        bench.Write(RegisterBench.PortSc(3), 0x210);
        bench.Write(RegisterBench.UsbCmd, 2);
        bench.Write(RegisterBench.UsbCmd, 2);
        bench.After(1_000_000);
        Assert.Equal(0x2a0u, bench.Port(3));
        device.FinishReset();
        bench.After(0);
        Assert.Equal(0x0002_1203u, bench.Port(3));
        Assert.Single(device.Calls, "reset");
    }

    [Fact]
    public void Reset_of_one_port_leaves_the_others_alone()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        FakeDevice other = bench.Attach(2, UsbSpeed.Full);
        bench.ResetPort(2);
        other.Calls.Clear();
        uint before = bench.Port(2);
        bench.ResetPort(1);
        Assert.Equal(before, bench.Port(2));
        Assert.Empty(other.Calls);
    }

    [Fact]
    public void Over_current_cold_attach_and_removable_bits_are_never_set()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        bench.Write(RegisterBench.PortSc(1), 0x5110_020c);
        Assert.Equal(0u, bench.Port(1) & 0x5110_000c);
    }

    [Fact]
    public void Test_mode_of_a_usb2_port_does_nothing()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        uint before = bench.Port(1);
        bench.Write(RegisterBench.PortSc(1) + 4, 0x5000_0000);
        Assert.Equal(before, bench.Port(1));
        Assert.True(bench.Ports.TryGetDevice(1, out _, out _));
    }

    [Fact]
    public void Portpmsc_is_cleared_by_reset_and_connect()
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.PortSc(3) + 4, 0x1_7f7f);
        bench.Attach(1, UsbSpeed.Super);
        Assert.Equal(0u, bench.Read(RegisterBench.PortSc(3) + 4));
        bench.Write(RegisterBench.PortSc(3) + 4, 0x1_7f7f);
        Assert.Equal(0x1_7f7fu, bench.Read(RegisterBench.PortSc(3) + 4));
        bench.Write(RegisterBench.PortSc(3), 0x210);
        Assert.Equal(0u, bench.Read(RegisterBench.PortSc(3) + 4));
        bench.Write(RegisterBench.PortSc(3) + 8, 0x1234_5678);
        Assert.Equal(0x5678u, bench.Read(RegisterBench.PortSc(3) + 8));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(5)]
    [InlineData(255)]
    public void Root_port_that_does_not_exist_has_no_device(int port)
    {
        RegisterBench bench = Started();
        Assert.False(bench.Ports.TryGetDevice(port, out _, out _));
    }

    [Fact]
    public void State_restored_into_a_new_controller_shows_the_same_tree()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.Attach(2, UsbSpeed.Super);
        bench.ResetPort(1);
        bench.SetLink(4, LinkState.U3);
        var other = new RegisterBench();
        Assert.True(other.Ports.TryRestore(bench.Ports.Capture(), out string error), error);
        Assert.Equal(InspectWriter.Dump(bench.Ports), InspectWriter.Dump(other.Ports));
    }

    [Fact]
    public void State_saved_during_a_reset_asks_for_it_again()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High).ResetsAtOnce = false;
        bench.Write(RegisterBench.PortSc(1), 0x210);
        RootPortsStateV1 state = bench.Ports.Capture();
        var other = new RegisterBench();
        other.Start();
        FakeDevice device = other.Attach(1, UsbSpeed.High);
        Assert.True(other.Ports.TryRestore(state, out _));
        other.After(RootPorts.Usb2ResetNanoseconds);
        other.After(0);
        Assert.Single(device.Calls, "reset");
        Assert.True(other.Ports.TryGetDevice(1, out _, out _));
    }

    [Fact]
    public void State_that_no_port_can_have_is_refused()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        RootPortsStateV1 good = bench.Ports.Capture();
        RootPortStateV1 port = good.Ports[0];
        RootPortStateV1[] bad =
        [
            null!,
            port with { Status = port.Status | PortStatus.WarmReset },
            port with { Status = port.Status | PortStatus.Reset },
            port with { Status = new PortStatus(port.Status).WithLink((LinkState)14).Raw },
            port with { Status = (port.Status | PortStatus.Enabled) & ~PortStatus.Connected },
            port with { Speed = 9 },
            port with { Speed = (int)UsbSpeed.Super },
            port with { Activity = 4 },
            port with { Activity = -1 },
            port with { Activity = 1 },
        ];
        foreach (RootPortStateV1 state in bad)
        {
            Assert.False(bench.Ports.TryRestore(good with { Ports = [state, .. good.Ports.Skip(1)] }, out string error));
            Assert.NotEmpty(error);
        }

        Assert.False(bench.Ports.TryRestore(null!, out _));
        Assert.False(bench.Ports.TryRestore(good with { Ports = null! }, out _));
        Assert.False(bench.Ports.TryRestore(good with { Ports = [] }, out _));
        Assert.True(bench.Ports.TryRestore(good, out _));
    }
}
