using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class PowerTests
{
    [Theory]
    [InlineData(0x0000, false)]
    [InlineData(0x0002, false)]
    [InlineData(0x0004, true)]
    [InlineData(0x0006, true)]
    public void DmaAllowed_followsBusMasterEnable(int command, bool allowed)
    {
        var bench = new PciBench();

        bench.Pci.WriteConfig(PciBench.Command, 2, (ulong)command);

        Assert.Equal(allowed, bench.Pci.DmaAllowed);
    }

    [Fact]
    public void D3hot_enteredAndLeft_stopsAndResumesEverythingWithNothingLost()
    {
        PciBench bench = PciBench.Running();
        bench.SetVector(4, 0xfee0_0000, 0x44);
        string before = XenUsbDm.Core.Inspect.InspectWriter.Dump(bench.Pci);

        bench.Sleep();
        bool asleep = bench.Pci is { IsAsleep: true, DmaAllowed: false, BarMapping.Enabled: false };
        bench.Wake();

        Assert.True(asleep);
        Assert.True(bench.Pci.DmaAllowed);
        Assert.Equal(["bar 0 febf0000 off", "bar 0 febf0000 on"], bench.HostCalls);
        Assert.Equal(before, XenUsbDm.Core.Inspect.InspectWriter.Dump(bench.Pci));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0, 2)]
    [InlineData(3, 1)]
    [InlineData(3, 2)]
    public void PowerState_unsupportedStateWritten_staysAndOtherBitsAreTaken(int from, int to)
    {
        var bench = new PciBench();
        bench.Pci.WriteConfig(PciBench.Pmcsr, 2, (ulong)from);

        bench.Pci.WriteConfig(PciBench.Pmcsr, 2, (ulong)(0x0100 | to));

        Assert.Equal((ulong)(0x0108 | from), bench.Pci.ReadConfig(PciBench.Pmcsr, 2));
    }

    [Fact]
    public void D3hot_placedWhileAsleep_mapsAtTheNewPlaceOnWake()
    {
        PciBench bench = PciBench.Running();
        bench.Sleep();
        bench.HostCalls.Clear();

        bench.Pci.WriteConfig(0x10, 8, 0x1_0000_0000);
        int asleep = bench.HostCalls.Count;
        bench.Wake();

        Assert.Equal(0, asleep);
        Assert.Equal(["bar 0 100000000 on"], bench.HostCalls);
    }

    [Fact]
    public void Pme_inD3hotAndEnabled_assertsUntilStatusIsWrittenWithOne()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.WriteConfig(PciBench.Pmcsr, 2, 0x0103);
        bench.HostCalls.Clear();

        bench.Pci.SignalPowerManagementEvent();
        bench.Pci.SignalPowerManagementEvent();
        ulong status = bench.Pci.ReadConfig(PciBench.Pmcsr, 2);
        bench.Pci.WriteConfig(PciBench.Pmcsr + 1, 1, 0x81);

        Assert.Equal(["pme on", "pme off"], bench.HostCalls);
        Assert.Equal(0x810bUL, status);
        Assert.Equal(0x010bUL, bench.Pci.ReadConfig(PciBench.Pmcsr, 2));
    }

    [Fact]
    public void Pme_statusWrittenWithZero_stays()
    {
        PciBench bench = PciBench.Running();
        bench.Sleep();
        bench.Pci.SignalPowerManagementEvent();

        bench.Wake();

        Assert.Equal(0x8008UL, bench.Pci.ReadConfig(PciBench.Pmcsr, 2));
    }

    [Fact]
    public void Pme_notEnabled_setsStatusOnlyAndAssertsWhenEnabled()
    {
        PciBench bench = PciBench.Running();
        bench.Sleep();
        bench.HostCalls.Clear();

        bench.Pci.SignalPowerManagementEvent();
        int before = bench.HostCalls.Count;
        bench.Pci.WriteConfig(PciBench.Pmcsr, 2, 0x0103);

        Assert.Equal(0, before);
        Assert.Equal(["pme on"], bench.HostCalls);
    }

    [Fact]
    public void Pme_inD0_isNotPromisedAndNotSet()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.SignalPowerManagementEvent();

        Assert.Equal(0x0008UL, bench.Pci.ReadConfig(PciBench.Pmcsr, 2));
    }

    [Fact]
    public void Reset_inD3hotWithPme_isD0WithNothingSet()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.WriteConfig(PciBench.Pmcsr, 2, 0x0103);
        bench.Pci.SignalPowerManagementEvent();
        bench.HostCalls.Clear();

        bench.Pci.Reset();

        Assert.Equal(["pme off"], bench.HostCalls);
        Assert.Equal(0x0008UL, bench.Pci.ReadConfig(PciBench.Pmcsr, 2));
        Assert.Equal(default, bench.Pci.BarMapping);
        Assert.False(bench.Pci.IsAsleep);
    }

    [Fact]
    public void Host_thatHearsOnlyOfBars_isEnough()
    {
        var host = new BarsOnly();
        var pci = new PciFunction(new PciBench(), host, PciIdentity.XhciDefault);

        pci.WriteConfig(0x10, 8, PciBench.Base);
        pci.WriteConfig(PciBench.Command, 2, 6);
        pci.WriteConfig(PciBench.Pmcsr, 2, 0x0103);
        pci.SignalPowerManagementEvent();

        Assert.Equal(2, host.Moves);
    }

    private sealed class BarsOnly : IPciHost
    {
        public int Moves { get; private set; }

        public void BarMoved(int bar, ulong address, bool enabled) => Moves++;
    }
}
