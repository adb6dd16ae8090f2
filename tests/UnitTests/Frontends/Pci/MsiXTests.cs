using System.Linq;
using XenUsbDm.Core.Interrupts;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class MsiXTests
{
    private const ulong Apic = 0xfee0_1000;

    [Fact]
    public void MsiX_everyVector_sendsItsOwnEntry()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        for (int vector = 0; vector < 16; vector++) bench.SetVector(vector, Apic + ((ulong)vector << 36), (uint)(0x100 + vector));

        for (int interrupter = 0; interrupter < 16; interrupter++) bench.Pci.SendMessage(interrupter);

        Assert.Equal(
            Enumerable.Range(0, 16).Select(n => new InterruptMessage(MessageKind.MsiX, n, Apic + ((ulong)n << 36), (uint)(0x100 + n))),
            bench.Messages);
    }

    [Fact]
    public void MsiX_afterReset_everyVectorIsMasked()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();

        for (int interrupter = 0; interrupter < 16; interrupter++) bench.Pci.SendMessage(interrupter);

        Assert.Empty(bench.Messages);
        Assert.Equal(0xffffUL, bench.Pci.ReadBar(0, PciBench.Pba, 8));
    }

    [Fact]
    public void MsiX_vectorUnmasked_deliversOnceAndClearsPending()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        bench.SetVector(3, Apic, 0x33, masked: true);
        bench.Pci.SendMessage(3);
        bench.Pci.SendMessage(3);
        ulong pending = bench.Pci.ReadBar(0, PciBench.Pba, 4);

        bench.Pci.WriteBar(0, PciBench.Table + (3 * 16) + 12, 4, 0);

        Assert.Equal([new InterruptMessage(MessageKind.MsiX, 3, Apic, 0x33)], bench.Messages);
        Assert.Equal(8UL, pending);
        Assert.Equal(0UL, bench.Pci.ReadBar(0, PciBench.Pba, 4));
    }

    [Fact]
    public void MsiX_dataAndUnmaskInOneWrite_sendsTheNewData()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        bench.SetVector(0, Apic, 0x11, masked: true);
        bench.Pci.SendMessage(0);

        bench.Pci.WriteBar(0, PciBench.Table + 8, 8, 0x22);

        Assert.Equal([0x22u], bench.Messages.Select(message => message.Data));
    }

    [Fact]
    public void MsiX_functionMask_holdsAllVectorsUntilCleared()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX(0xc000);
        bench.SetVector(0, Apic, 0x10);
        bench.SetVector(15, Apic, 0x1f);
        bench.Pci.SendMessage(15);
        bench.Pci.SendMessage(0);
        int before = bench.Messages.Count;
        ulong pending = bench.Pci.ReadBar(0, PciBench.Pba, 2);

        bench.EnableMsiX(0x8000);

        Assert.Equal(0, before);
        Assert.Equal(0x8001UL, pending);
        Assert.Equal([0x10u, 0x1fu], bench.Messages.Select(message => message.Data));
    }

    [Fact]
    public void MsiX_disabledWithPending_forgetsItAndKeepsTheTable()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX(0xc000);
        bench.SetVector(0, Apic, 0x10);
        bench.Pci.SendMessage(0);

        bench.EnableMsiX(0);
        ulong pending = bench.Pci.ReadBar(0, PciBench.Pba, 8);
        bench.EnableMsiX();
        bench.Pci.SendMessage(0);

        Assert.Equal(0UL, pending);
        Assert.Equal([0x10u], bench.Messages.Select(message => message.Data));
    }

    [Fact]
    public void MsiX_pendingBitArrayWritten_doesNotChange()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        bench.Pci.SendMessage(5);

        bench.Pci.WriteBar(0, PciBench.Pba, 8, ulong.MaxValue);
        ulong ones = bench.Pci.ReadBar(0, PciBench.Pba, 8);
        bench.Pci.WriteBar(0, PciBench.Pba, 8, 0);

        Assert.Equal(0x20UL, ones);
        Assert.Equal(0x20UL, bench.Pci.ReadBar(0, PciBench.Pba, 8));
    }

    [Fact]
    public void MsiX_disabledWhileMsiIsEnabled_fallsBackToMsi()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi();
        bench.EnableMsiX();

        bench.EnableMsiX(0);
        bench.Pci.SendMessage(0);

        Assert.Equal([MessageKind.Msi], bench.Messages.Select(message => message.Kind));
    }

    [Fact]
    public void MsiX_LP1905444_addressOfOwnBar_goesToTheSinkAndTouchesNoRegister()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        // Interrupter 0's IMAN, and the mask of the very vector that sends.
        bench.SetVector(0, PciBench.Base + 0x1020, 3);
        bench.SetVector(1, PciBench.Base + 0x3000 + 16 + 12, 1);

        bench.Pci.SendMessage(0);
        bench.Pci.SendMessage(1);
        bench.Pci.SendMessage(1);

        Assert.Equal([PciBench.Base + 0x1020, PciBench.Base + 0x301c, PciBench.Base + 0x301c], bench.Messages.Select(message => message.Address));
        Assert.Empty(bench.RegisterCalls);
        Assert.Equal(0UL, bench.Pci.ReadBar(0, PciBench.Table + 16 + 12, 4));
    }
}
