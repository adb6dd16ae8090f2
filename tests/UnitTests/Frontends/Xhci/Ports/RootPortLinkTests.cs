using System.Linq;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

/// <summary>Suspend, resume, link states and wake events of root ports. Ports 1 and 2 are USB 2, ports 3 and 4 the USB 3 pins of the same connectors.</summary>
public class RootPortLinkTests
{
    private const uint Plc = PortStatus.LinkChange;

    private static RegisterBench Started()
    {
        var bench = new RegisterBench();
        bench.Start();
        return bench;
    }

    private static void Acknowledge(RegisterBench bench, int port) =>
        bench.Write(RegisterBench.PortSc(port), 0x200 | PortStatus.ChangeMask | (bench.Port(port) & PortStatus.WakeMask));

    [Fact]
    public void Usb2_suspend_and_resume_by_software()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        Acknowledge(bench, 1);
        bench.SetLink(1, LinkState.U3);
        Assert.Equal(0x0e63u, bench.Port(1));
        Assert.True(bench.Ports.TryGetDevice(1, out _, out _));
        bench.SetLink(1, LinkState.Resume);
        Assert.Equal(0x0fe3u, bench.Port(1));
        bench.SetLink(1, LinkState.U0);
        Assert.Equal(Plc | 0x0e03u, bench.Port(1));
        Assert.Equal(["suspend", "resume"], device.Calls.Where(c => c is "suspend" or "resume"));
    }

    [Fact]
    public void Usb3_suspend_and_resume_by_software()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.Super);
        Acknowledge(bench, 3);
        bench.SetLink(3, LinkState.U3);
        bench.SetLink(3, LinkState.Resume);
        Assert.Equal(LinkState.U3, bench.Link(3));
        bench.SetLink(3, LinkState.U0);
        Assert.Equal(Plc | 0x1203u, bench.Port(3));
        Assert.Equal(["suspend", "resume"], device.Calls.Where(c => c is "suspend" or "resume"));
    }

    [Fact]
    public void U3_entry_sets_Plc_when_it_is_enabled()
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.Config, 0x100);
        bench.Attach(1, UsbSpeed.Super);
        Acknowledge(bench, 3);
        bench.SetLink(3, LinkState.U3);
        Assert.Equal(Plc | 0x1263u, bench.Port(3));
    }

    [Theory]
    [InlineData(15)]
    [InlineData(5)]
    [InlineData(4)]
    [InlineData(7)]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(10)]
    public void Link_state_that_is_not_legal_now_is_ignored_Windows_writes_Resume_with_Lws(int link)
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.Attach(2, UsbSpeed.Super);
        bench.ResetPort(1);
        foreach (int port in new[] { 1, 2, 3, 4 })
        {
            uint before = bench.Port(port);
            bench.SetLink(port, (LinkState)link);
            Assert.Equal(before, bench.Port(port));
        }
    }

    [Theory]
    [InlineData(3)]
    [InlineData(0)]
    [InlineData(15)]
    public void Link_state_of_a_port_that_is_not_enabled_is_ignored(int link)
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        uint before = bench.Port(1);
        bench.SetLink(1, (LinkState)link);
        Assert.Equal(before, bench.Port(1));
    }

    [Fact]
    public void Link_state_without_strobe_is_ignored()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.Super);
        bench.Write(RegisterBench.PortSc(3), 0x260);
        Assert.Equal(LinkState.U0, bench.Link(3));
    }

    [Theory]
    [InlineData(UsbSpeed.High, 1)]
    [InlineData(UsbSpeed.Super, 3)]
    public void Remote_wake_resumes_until_software_writes_U0(UsbSpeed speed, int port)
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, speed);
        if (port == 1) bench.ResetPort(1);
        Acknowledge(bench, port);
        bench.SetLink(port, LinkState.U3);
        device.Host!.RemoteWake();
        bench.After(0);
        Assert.Equal(LinkState.Resume, bench.Link(port));
        Assert.Equal(Plc, bench.Port(port) & PortStatus.ChangeMask);
        Assert.Equal(0, bench.WakeEvents);
        Acknowledge(bench, port);
        bench.SetLink(port, LinkState.U0);
        Assert.Equal(LinkState.U0, bench.Link(port));
        Assert.Equal(Plc, bench.Port(port) & PortStatus.ChangeMask);
    }

    [Fact]
    public void Remote_wake_of_a_port_that_is_not_suspended_is_ignored()
    {
        RegisterBench bench = Started();
        bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        uint before = bench.Port(1);
        bench.Ports.RemoteWake(new PortNumber(1));
        bench.Ports.RemoteWake(new PortNumber(2));
        Assert.Equal(before, bench.Port(1));
    }

    [Fact]
    public void Remote_wake_of_a_sleeping_controller_signals_Pme()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        bench.SetLink(1, LinkState.U3);
        bench.Write(RegisterBench.UsbCmd, 0);
        device.Host!.RemoteWake();
        bench.After(0);
        Assert.Equal(1, bench.WakeEvents);
    }

    [Theory]
    [InlineData(0u, 0, 0)]
    [InlineData(PortStatus.WakeOnConnect, 1, 1)]
    [InlineData(PortStatus.WakeOnDisconnect, 0, 1)]
    public void Connect_and_disconnect_wake_a_sleeping_controller_when_enabled(uint enable, int onConnect, int onBoth)
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.PortSc(1), 0x200 | enable);
        bench.Attach(1, UsbSpeed.High);
        Assert.Equal(onConnect, bench.WakeEvents);
        bench.Detach(1);
        Assert.Equal(onBoth, bench.WakeEvents);
    }

    [Fact]
    public void Running_controller_does_not_signal_Pme()
    {
        RegisterBench bench = Started();
        bench.Write(RegisterBench.PortSc(1), 0x200 | PortStatus.WakeMask);
        bench.Attach(1, UsbSpeed.High);
        Assert.Equal(0, bench.WakeEvents);
    }

    [Fact]
    public void Reset_of_a_suspended_port_ends_the_suspension()
    {
        RegisterBench bench = Started();
        FakeDevice device = bench.Attach(1, UsbSpeed.High);
        bench.ResetPort(1);
        bench.SetLink(1, LinkState.U3);
        bench.ResetPort(1);
        Assert.Equal(LinkState.U0, bench.Link(1));
        Assert.Contains("resume", device.Calls);
    }
}
