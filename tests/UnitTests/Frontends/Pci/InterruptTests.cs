using System;
using System.Linq;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class InterruptTests
{
    private const ulong Apic = 0xfee0_1000;

    [Fact]
    public void Intx_levelRaisedAndLowered_drivesPinOnChangesOnly()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.SetLevel(true);
        bench.Pci.SetLevel(true);
        ulong raised = bench.Status;
        bench.Pci.SetLevel(false);
        bench.Pci.SetLevel(false);

        Assert.Equal([true, false], bench.Levels);
        Assert.Equal(0x0018UL, raised);
        Assert.Equal(0x0010UL, bench.Status);
    }

    [Fact]
    public void Intx_interruptDisableSet_dropsPinAndKeepsStatus()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.SetLevel(true);

        bench.Pci.WriteConfig(PciBench.Command, 2, 0x0406);
        ulong status = bench.Status;
        bench.Pci.WriteConfig(PciBench.Command, 2, 0x0006);

        Assert.Equal([true, false, true], bench.Levels);
        Assert.Equal(0x0018UL, status);
    }

    [Theory]
    [InlineData(PciBench.MsiControl, 0x0001)]
    [InlineData(PciBench.MsiXControl, 0x8000)]
    public void Intx_messagesEnabled_isSilentUntilTheyAreDisabled(int register, int enable)
    {
        PciBench bench = PciBench.Running();
        bench.Pci.SetLevel(true);

        bench.Pci.WriteConfig(register, 2, (ulong)enable);
        bool enabled = bench.Pci.MessagesEnabled;
        ulong status = bench.Status;
        bench.Pci.WriteConfig(register, 2, 0);

        Assert.True(enabled);
        Assert.False(bench.Pci.MessagesEnabled);
        Assert.Equal([true, false, true], bench.Levels);
        Assert.Equal(0x0010UL, status);
    }

    [Fact]
    public void Intx_inD3hot_isSilentUntilD0()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.SetLevel(true);

        bench.Sleep();
        bench.Wake();

        Assert.Equal([true, false, true], bench.Levels);
    }

    [Fact]
    public void Intx_needsNoBusMaster()
    {
        var bench = new PciBench();

        bench.Pci.SetLevel(true);

        Assert.Equal([true], bench.Levels);
    }

    [Fact]
    public void Status_writtenByTheGuest_doesNotChangeInterruptStatus()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.SetLevel(true);

        bench.Pci.WriteConfig(6, 2, 0xffff);

        Assert.Equal(0x0018UL, bench.Status);
    }

    [Fact]
    public void Message_nothingEnabled_isDropped()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.SendMessage(0);
        bench.EnableMsi();

        Assert.Empty(bench.Messages);
    }

    [Fact]
    public void Msi_oneVector_sendsAddressAndDataAsProgrammed()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(address: 0x1_fee0_1000);

        bench.Pci.SendMessage(7);

        Assert.Equal([new InterruptMessage(MessageKind.Msi, 0, 0x1_fee0_1000, 0x4020)], bench.Messages);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 2)]
    [InlineData(2, 4)]
    [InlineData(3, 8)]
    [InlineData(4, 16)]
    [InlineData(5, 16)]
    [InlineData(7, 16)]
    public void Msi_multipleMessages_foldsInterruptersAndReplacesLowDataBits(int log2, int count)
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(log2, data: 0x40ff);

        for (int interrupter = 0; interrupter < 16; interrupter++) bench.Pci.SendMessage(interrupter);

        Assert.Equal(Enumerable.Range(0, 16).Select(n => n % count), bench.Messages.Select(message => message.Vector));
        Assert.All(bench.Messages, message => Assert.Equal((0x40ffu & ~(uint)(count - 1)) | (uint)message.Vector, message.Data));
    }

    [Fact]
    public void Msi_maskedVector_isPendingAndSentOnUnmask()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(4);
        bench.Pci.WriteConfig(0x80, 4, 0x000c);

        bench.Pci.SendMessage(2);
        bench.Pci.SendMessage(3);
        bench.Pci.SendMessage(3);
        bench.Pci.SendMessage(4);
        ulong pending = bench.Pci.ReadConfig(0x84, 4);
        bench.Pci.WriteConfig(0x80, 4, 0x0004);

        Assert.Equal([4, 3], bench.Messages.Select(message => message.Vector));
        Assert.Equal(0x000cUL, pending);
        Assert.Equal(0x0004UL, bench.Pci.ReadConfig(0x84, 4));
    }

    [Fact]
    public void Msi_disabledWithPending_forgetsIt()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(4);
        bench.Pci.WriteConfig(0x80, 4, 0xffff);
        bench.Pci.SendMessage(1);

        bench.Pci.WriteConfig(PciBench.MsiControl, 2, 0);
        bench.Pci.WriteConfig(0x80, 4, 0);
        bench.Pci.WriteConfig(PciBench.MsiControl, 2, 1);

        Assert.Empty(bench.Messages);
        Assert.Equal(0UL, bench.Pci.ReadConfig(0x84, 4));
    }

    [Fact]
    public void Msi_fewerMessagesEnabledWithPending_foldsThePendingVector()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(4);
        bench.Pci.WriteConfig(0x80, 4, 0xffff);
        bench.Pci.SendMessage(13);

        bench.Pci.WriteConfig(PciBench.MsiControl, 2, 0x0021);
        bench.Pci.WriteConfig(0x80, 4, 0);

        Assert.Equal([1], bench.Messages.Select(message => message.Vector));
    }

    [Fact]
    public void MsiAndMsiX_bothEnabled_msiXWins()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsi(4);
        bench.Pci.WriteConfig(0x80, 4, 0xffff);
        bench.Pci.SendMessage(2);
        bench.EnableMsiX();
        bench.SetVector(2, Apic, 0x99);

        bench.Pci.SendMessage(2);

        Assert.Equal([MessageKind.MsiX], bench.Messages.Select(message => message.Kind));
        Assert.Equal(0UL, bench.Pci.ReadConfig(0x84, 4));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Message_busMasterOff_isHeldAndSentWhenItIsOn(bool msix)
    {
        PciBench bench = PciBench.Running();
        if (msix) bench.EnableMsiX();
        else bench.EnableMsi();
        bench.SetVector(0, Apic, 1);
        bench.Pci.WriteConfig(PciBench.Command, 2, 0x0002);

        bench.Pci.SendMessage(0);
        int before = bench.Messages.Count;
        bench.Pci.WriteConfig(PciBench.Command, 2, 0x0006);

        Assert.Equal(0, before);
        Assert.Single(bench.Messages);
    }

    [Fact]
    public void Message_inD3hot_isHeldAndSentInD0()
    {
        PciBench bench = PciBench.Running();
        bench.EnableMsiX();
        bench.SetVector(0, Apic, 1);
        bench.Sleep();

        bench.Pci.SendMessage(0);
        int before = bench.Messages.Count;
        bench.Wake();

        Assert.Equal(0, before);
        Assert.Single(bench.Messages);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Message_andRegisterAccess_allocateNothing(bool msix)
    {
        var quiet = new Quiet();
        var pci = new PciFunction(quiet, quiet, PciIdentity.XhciDefault, quiet);
        pci.WriteConfig(0x10, 8, PciBench.Base);
        pci.WriteConfig(PciBench.Command, 2, 6);
        pci.WriteConfig(msix ? PciBench.MsiXControl : PciBench.MsiControl, 2, msix ? 0x8000u : 0x0041u);
        for (ulong vector = 0; vector < 16; vector++) pci.WriteBar(0, PciBench.Table + (vector * 16) + 12, 4, 0);
        pci.SendMessage(3);
        long before = GC.GetAllocatedBytesForCurrentThread();

        for (int i = 0; i < 1000; i++)
        {
            pci.SendMessage(i & 15);
            pci.WriteBar(0, 0x2000, 4, pci.ReadBar(0, 0x1000, 4));
            pci.WriteBar(0, 0x2ffe, 8, pci.ReadBar(0, 0x2ffd, 7));
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(1001, quiet.Messages);
    }

    [Fact]
    public void Reset_CVE20167466_leavesNoInterruptStateBehind()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.SetLevel(true);
        bench.EnableMsiX(0xc000);
        bench.SetVector(0, Apic, 0x77);
        bench.Pci.SendMessage(0);

        bench.Pci.Reset();
        bench.Start();
        bench.EnableMsiX();
        ulong entry = bench.Pci.ReadBar(0, PciBench.Table, 8);
        ulong control = bench.Pci.ReadBar(0, PciBench.Table + 12, 4);
        bench.Pci.WriteBar(0, PciBench.Table + 12, 4, 0);
        bench.EnableMsiX(0);

        Assert.Empty(bench.Messages);
        Assert.Equal((0UL, 1UL), (entry, control));
        Assert.Equal([true, false], bench.Levels); // the level of before the reset does not come back
    }

    private sealed class Quiet : IInterruptSink, IPciHost, IMemoryBar
    {
        public int Messages { get; private set; }

        public void SetIntx(bool asserted)
        {
        }

        public void SendMessage(in InterruptMessage message) => Messages++;

        public void BarMoved(int bar, ulong address, bool enabled)
        {
        }

        public ulong Read(int offset, int size) => 0;

        public void Write(int offset, int size, ulong value)
        {
        }
    }
}
