using System.Collections.Generic;
using System.Globalization;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Frontends.Pci;

namespace XenUsbDm.UnitTests.Frontends.Pci;

/// <summary>A function with everything around it recorded, and the few steps that most tests need.</summary>
internal sealed class PciBench : IInterruptSink, IPciHost, IMemoryBar
{
    public const int Command = 0x04;
    public const int Pmcsr = 0x54;
    public const int MsiControl = 0x72;
    public const int MsiXControl = 0x92;
    public const ulong Table = 0x3000;
    public const ulong Pba = 0x3800;
    public const ulong Base = 0xfebf_0000;

    public PciBench(PciIdentity? identity = null, int barSize = PciFunction.XhciBarSize, bool connect = true)
    {
        Pci = new PciFunction(this, this, identity ?? PciIdentity.XhciDefault, connect ? this : null, barSize);
    }

    public PciFunction Pci { get; }

    public List<InterruptMessage> Messages { get; } = [];

    public List<bool> Levels { get; } = [];

    public List<string> HostCalls { get; } = [];

    public List<string> RegisterCalls { get; } = [];

    public byte[] Registers { get; } = new byte[0x3000];

    public static PciBench Running()
    {
        var bench = new PciBench();
        bench.Start();
        bench.HostCalls.Clear();
        return bench;
    }

    public void Start()
    {
        Pci.WriteConfig(0x10, 8, Base);
        Pci.WriteConfig(Command, 2, 0x0006);
    }

    public void EnableMsi(int log2 = 0, ushort data = 0x4020, ulong address = 0xfee0_1000)
    {
        Pci.WriteConfig(0x74, 8, address);
        Pci.WriteConfig(0x7c, 2, data);
        Pci.WriteConfig(MsiControl, 2, 1u | (uint)(log2 << 4));
    }

    public void EnableMsiX(uint control = 0x8000) => Pci.WriteConfig(MsiXControl, 2, control);

    public void SetVector(int vector, ulong address, uint data, bool masked = false)
    {
        ulong entry = Table + ((ulong)vector * 16);
        Pci.WriteBar(0, entry, 8, address);
        Pci.WriteBar(0, entry + 8, 4, data);
        Pci.WriteBar(0, entry + 12, 4, masked ? 1u : 0);
    }

    public void Sleep() => Pci.WriteConfig(Pmcsr, 2, 3);

    public void Wake() => Pci.WriteConfig(Pmcsr, 2, 0);

    public ulong Status => Pci.ReadConfig(6, 2);

    void IInterruptSink.SetIntx(bool asserted) => Levels.Add(asserted);

    void IInterruptSink.SendMessage(in InterruptMessage message) => Messages.Add(message);

    void IPciHost.BarMoved(int bar, ulong address, bool enabled) =>
        HostCalls.Add(string.Create(CultureInfo.InvariantCulture, $"bar {bar} {address:x} {(enabled ? "on" : "off")}"));

    void IPciHost.PowerManagementEvent(bool asserted) => HostCalls.Add(asserted ? "pme on" : "pme off");

    ulong IMemoryBar.Read(int offset, int size)
    {
        RegisterCalls.Add(string.Create(CultureInfo.InvariantCulture, $"r {offset:x} {size}"));
        ulong value = 0;
        for (int i = 0; i < size; i++) value |= (ulong)Registers[offset + i] << (8 * i);
        return value;
    }

    void IMemoryBar.Write(int offset, int size, ulong value)
    {
        RegisterCalls.Add(string.Create(CultureInfo.InvariantCulture, $"w {offset:x} {size} {value:x}"));
        for (int i = 0; i < size; i++) Registers[offset + i] = (byte)((value >> (8 * i)) & 0xff);
    }
}
