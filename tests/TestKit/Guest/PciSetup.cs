using System;

namespace XenUsbDm.TestKit.Guest;

/// <summary>The PCI half of the driver: finds capabilities, places the BAR, turns the function and its interrupts on.</summary>
public sealed class PciSetup
{
    public const byte CapabilityPowerManagement = 0x01;
    public const byte CapabilityMsi = 0x05;
    public const byte CapabilityMsiX = 0x11;

    /// <summary>Message address of an x86 local APIC.</summary>
    public const ulong MessageAddress = 0xfee0_0000;

    private readonly IGuestPlatform _platform;

    public PciSetup(IGuestPlatform platform) => _platform = platform;

    public ulong BarAddress { get; private set; }

    public ulong BarSize { get; private set; }

    public ushort VendorId => (ushort)_platform.ConfigRead(0x00, 2);

    public ushort DeviceId => (ushort)_platform.ConfigRead(0x02, 2);

    /// <summary>Base class, sub-class and programming interface: 0x0c0330 for xHCI.</summary>
    public uint ClassCode => _platform.ConfigRead(0x08, 4) >> 8;

    /// <summary>Offset of a capability, 0 when the function has none (PCI 3.0 §6.7).</summary>
    public int FindCapability(byte id)
    {
        if ((_platform.ConfigRead(0x06, 2) & 0x10) == 0) return 0;
        int at = (int)_platform.ConfigRead(0x34, 1) & 0xfc;
        for (int i = 0; at != 0 && i < 48; i++)
        {
            if (_platform.ConfigRead(at, 1) == id) return at;
            at = (int)_platform.ConfigRead(at + 1, 1) & 0xfc;
        }

        return 0;
    }

    /// <summary>Sizes and places the 64-bit BAR 0, then enables memory decoding and bus mastering.</summary>
    public void Enable(ulong barAddress)
    {
        SetCommand(0, 0x7);
        _platform.ConfigWrite(0x10, 4, 0xffff_ffff);
        _platform.ConfigWrite(0x14, 4, 0xffff_ffff);
        uint low = _platform.ConfigRead(0x10, 4);
        bool is64 = (low & 6) == 4;
        ulong mask = (low & 0xffff_fff0) | ((is64 ? (ulong)_platform.ConfigRead(0x14, 4) : 0xffff_ffff) << 32);
        if (low == 0) throw new GuestDriverException("BAR 0 is not there");
        BarSize = unchecked(~mask + 1);
        BarAddress = barAddress & mask;
        _platform.ConfigWrite(0x10, 4, (uint)(BarAddress & 0xffff_ffff));
        if (is64) _platform.ConfigWrite(0x14, 4, (uint)(BarAddress >> 32));
        SetCommand(0x6, 0);
    }

    /// <summary>Sets and clears bits of the Command register.</summary>
    public void SetCommand(uint set, uint clear) =>
        _platform.ConfigWrite(0x04, 2, (_platform.ConfigRead(0x04, 2) & ~clear) | set);

    /// <summary>Power state D0-D3 (PCI PM 1.2 §3.2.4).</summary>
    public void SetPowerState(uint state)
    {
        int at = FindCapability(CapabilityPowerManagement);
        if (at == 0) throw new GuestDriverException("no power management capability");
        _platform.ConfigWrite(at + 4, 2, (_platform.ConfigRead(at + 4, 2) & ~3u & ~0x8000u) | state);
    }

    /// <summary>Turns interrupts on; message data N is vector N. Returns how many vectors there are (1 for INTx).</summary>
    public int EnableInterrupts(GuestInterruptMode mode, int wanted)
    {
        switch (mode)
        {
            case GuestInterruptMode.MsiX:
                return EnableMsiX(wanted);
            case GuestInterruptMode.Msi:
                return EnableMsi(wanted);
            case GuestInterruptMode.Intx:
                SetCommand(0, 0x400);
                return 1;
            default:
                SetCommand(0x400, 0);
                return 1;
        }
    }

    /// <summary>Masks or unmasks one MSI-X vector (PCI 3.0 §6.8.2.9).</summary>
    public void MaskMsiX(int vector, bool masked) => _platform.MmioWrite(MsiXTable + (ulong)(vector * 16) + 12, 4, masked ? 1u : 0);

    /// <summary>True when the vector's PBA bit is set.</summary>
    public bool MsiXPending(int vector)
    {
        int at = RequireMsiX();
        uint pba = _platform.ConfigRead(at + 8, 4);
        return (_platform.MmioRead(BarAddress + (pba & ~7u) + (ulong)(vector / 64 * 8), 8) >> (vector % 64) & 1) != 0;
    }

    private ulong MsiXTable => BarAddress + (_platform.ConfigRead(RequireMsiX() + 4, 4) & ~7u);

    private int RequireMsiX()
    {
        int at = FindCapability(CapabilityMsiX);
        return at != 0 ? at : throw new GuestDriverException("no MSI-X capability");
    }

    private int EnableMsiX(int wanted)
    {
        int at = RequireMsiX();
        uint control = _platform.ConfigRead(at + 2, 2);
        int vectors = Math.Min((int)(control & 0x7ff) + 1, wanted);
        if ((_platform.ConfigRead(at + 4, 4) & 7) != 0) throw new GuestDriverException("the MSI-X table is not in BAR 0");
        _platform.ConfigWrite(at + 2, 2, control | 0xc000);
        ulong table = MsiXTable;
        for (int i = 0; i < vectors; i++)
        {
            ulong entry = table + (ulong)(i * 16);
            _platform.MmioWrite(entry, 4, MessageAddress);
            _platform.MmioWrite(entry + 4, 4, 0);
            _platform.MmioWrite(entry + 8, 4, (ulong)i);
            _platform.MmioWrite(entry + 12, 4, 0);
        }

        _platform.ConfigWrite(at + 2, 2, (control & ~0x4000u) | 0x8000);
        SetCommand(0x400, 0);
        return vectors;
    }

    private int EnableMsi(int wanted)
    {
        int at = FindCapability(CapabilityMsi);
        if (at == 0) throw new GuestDriverException("no MSI capability");
        uint control = _platform.ConfigRead(at + 2, 2);
        int log = 0;
        while (log < ((control >> 1) & 7) && 1 << (log + 1) <= wanted) log++;
        bool is64 = (control & 0x80) != 0;
        _platform.ConfigWrite(at + 4, 4, (uint)MessageAddress);
        if (is64) _platform.ConfigWrite(at + 8, 4, 0);
        _platform.ConfigWrite(at + (is64 ? 12 : 8), 2, 0);
        _platform.ConfigWrite(at + 2, 2, (control & ~0x70u) | ((uint)log << 4) | 1);
        SetCommand(0x400, 0);
        return 1 << log;
    }
}
