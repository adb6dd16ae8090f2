using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class PciStateTests
{
    [Fact]
    public void Restore_intoAFreshFunction_showsTheSameTreeAndGoesOn()
    {
        PciBench saved = Busy();
        var fresh = new PciBench();

        bool restored = fresh.Pci.TryRestore(saved.Pci.Capture(), out string error);

        Assert.True(restored, error);
        Assert.Equal(InspectWriter.Dump(saved.Pci), InspectWriter.Dump(fresh.Pci));
        Assert.True(fresh.Pci.DmaAllowed);
        Assert.Equal(["bar 0 febf0000 on"], fresh.HostCalls);
        fresh.Pci.WriteBar(0, PciBench.Table + (2 * 16) + 12, 4, 0);
        Assert.Equal(0x22u, Assert.Single(fresh.Messages).Data);
    }

    [Fact]
    public void Restore_withIntxAsserted_drivesThePinAgain()
    {
        PciBench saved = PciBench.Running();
        saved.Pci.SetLevel(true);
        var fresh = new PciBench();

        Assert.True(fresh.Pci.TryRestore(saved.Pci.Capture(), out _));

        Assert.Equal([true], fresh.Levels);
    }

    [Fact]
    public void Restore_asleepWithPme_isAsleepWithPme()
    {
        PciBench saved = PciBench.Running();
        saved.Pci.WriteConfig(PciBench.Pmcsr, 2, 0x0103);
        saved.Pci.SignalPowerManagementEvent();
        var fresh = new PciBench();

        Assert.True(fresh.Pci.TryRestore(saved.Pci.Capture(), out _));

        Assert.True(fresh.Pci.IsAsleep);
        Assert.Equal(["pme on"], fresh.HostCalls);
    }

    [Fact]
    public void Restore_overARunningFunction_replacesItsState()
    {
        PciBench target = Busy();
        target.Pci.SetLevel(true);
        PciStateV1 reset = new PciBench().Pci.Capture();

        Assert.True(target.Pci.TryRestore(reset, out _));

        Assert.Equal(InspectWriter.Dump(new PciBench().Pci), InspectWriter.Dump(target.Pci));
    }

    public static TheoryData<string> Corruptions() =>
    [
        "bar size", "config null", "config short", "table null", "table short", "identity", "capability pointer", "power state",
        "pending", "address bits", "vector control", "hole",
    ];

    [Theory]
    [MemberData(nameof(Corruptions))]
    public void Restore_ofAStateThatCannotBe_isRefusedAndChangesNothing(string corruption)
    {
        PciStateV1 good = new PciBench().Pci.Capture();
        PciStateV1 bad = corruption switch
        {
            "bar size" => good with { BarSize = 0x8000 },
            "config null" => good with { Config = null! },
            "config short" => good with { Config = new byte[255] },
            "table null" => good with { MsiXTable = null! },
            "table short" => good with { MsiXTable = new byte[255] },
            "identity" => good with { Config = With(good.Config, 0x02, 0x0e) },
            "capability pointer" => good with { Config = With(good.Config, 0x34, 0x60) },
            "power state" => good with { Config = With(good.Config, 0x54, 0x09) },
            "pending" => good with { MsiXPending = 0x10000 },
            "address bits" => good with { MsiXTable = With(good.MsiXTable, 0, 0x01) },
            "vector control" => good with { MsiXTable = With(good.MsiXTable, 0x0d, 0x01) },
            _ => good with { Config = With(good.Config, 0xe0, 0x01) },
        };
        PciBench target = Busy();
        string before = InspectWriter.Dump(target.Pci);

        bool restored = target.Pci.TryRestore(bad, out string error);

        Assert.False(restored);
        Assert.StartsWith("PCI: ", error, StringComparison.Ordinal);
        Assert.Equal(before, InspectWriter.Dump(target.Pci));
    }

    [Fact]
    public void Restore_ofAnotherIdentity_isRefused()
    {
        PciStateV1 intel = new PciBench(PciIdentity.XhciIntel).Pci.Capture();

        Assert.False(new PciBench(PciIdentity.XhciRenesas).Pci.TryRestore(intel, out _));
    }

    [Fact]
    public void Inspect_showsPowerBarAndVectorsByPath()
    {
        PciBench bench = Busy();
        var writer = new InspectWriter();
        writer.Child("pci", bench.Pci);

        Assert.Equal("/pci/power D0\n", writer.Render("/pci/power"));
        Assert.Equal("/pci/bar/0/address 0xfebf0000\n", writer.Render("/pci/bar/0/address"));
        Assert.Equal("/pci/msix/vector/2/data 0x22\n", writer.Render("/pci/msix/vector/2/data"));
        bench.Sleep();
        writer = new InspectWriter();
        writer.Child("pci", bench.Pci);
        Assert.Equal("/pci/power D3hot\n", writer.Render("/pci/power"));
    }

    private static PciBench Busy()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        bench.SetVector(2, 0xfee0_2000, 0x22, masked: true);
        bench.Pci.SendMessage(2);
        bench.Pci.SetLevel(true);
        bench.Pci.WriteConfig(0x3c, 1, 11);
        return bench;
    }

    private static byte[] With(byte[] bytes, int offset, byte value)
    {
        var copy = (byte[])bytes.Clone();
        copy[offset] = value;
        return copy;
    }
}
