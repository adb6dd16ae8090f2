using System.Collections.Generic;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// The configuration space of a function, one row per register in offset order (PCI 3.0 chapter 6, PCI PM 1.2 §3.2,
/// xHCI 1.2 §5.2). The capabilities lie where the Renesas part has them, which leaves room for the vendor registers of
/// every profile.
/// </summary>
internal static class ConfigLayout
{
    /// <summary>Bytes of the configuration space. There is no PCI Express capability and hence no extended space.</summary>
    public const int Size = 256;

    /// <summary>Command register.</summary>
    public const int Command = 0x04;

    /// <summary>Status register.</summary>
    public const int Status = 0x06;

    /// <summary>BAR 0, low half; the high half follows.</summary>
    public const int Bar0 = 0x10;

    /// <summary>Power Management capability.</summary>
    public const int PowerManagement = 0x50;

    /// <summary>Power Management Control/Status.</summary>
    public const int PowerControl = PowerManagement + 4;

    /// <summary>MSI capability.</summary>
    public const int Msi = 0x70;

    /// <summary>MSI-X capability.</summary>
    public const int MsiX = 0x90;

    /// <summary>Command: Memory Space.</summary>
    public const uint CommandMemory = 1 << 1;

    /// <summary>Command: Bus Master.</summary>
    public const uint CommandBusMaster = 1 << 2;

    /// <summary>Command: Interrupt Disable.</summary>
    public const uint CommandInterruptDisable = 1 << 10;

    /// <summary>Status: Interrupt Status.</summary>
    public const uint StatusInterrupt = 1 << 3;

    /// <summary>PMCSR: PowerState field; 0 is D0, 3 is D3hot.</summary>
    public const uint PowerStateMask = 3;

    /// <summary>PMCSR: PME_En.</summary>
    public const uint PmeEnable = 1 << 8;

    /// <summary>PMCSR: PME_Status.</summary>
    public const uint PmeStatus = 1 << 15;

    private const ConfigEffects Evaluate = ConfigEffects.Evaluate;

    /// <summary>The table for one identity and a BAR of <paramref name="barSize"/> bytes, a power of two.</summary>
    public static IReadOnlyList<ConfigRegister> Build(PciIdentity identity, int barSize)
    {
        uint table = (uint)PciFunction.TableOffset(barSize);
        List<ConfigRegister> rows =
        [
            new("Vendor ID", 0x00, 2, identity.VendorId),
            new("Device ID", 0x02, 2, identity.DeviceId),
            // No I/O space, no Memory Write and Invalidate; parity and SERR# enable are stored and never acted on.
            new("Command", Command, 2, 0, Write: CommandMemory | CommandBusMaster | 0x0140 | CommandInterruptDisable, Effects: Evaluate),
            // Capabilities List; no bus error ever happens, so the RW1C bits stay 0.
            new("Status", Status, 2, 0x0010, ClearOnes: 0xf900, Hardware: StatusInterrupt),
            new("Revision ID", 0x08, 1, identity.Revision),
            new("Programming Interface", 0x09, 1, identity.ClassCode & 0xff),
            new("Sub-Class and Base Class", 0x0a, 2, identity.ClassCode >> 8),
            new("Cache Line Size", 0x0c, 1, 0, Write: 0xff),
            new("Latency Timer", 0x0d, 1, 0, Write: 0xff),
            new("Header Type", 0x0e, 1, 0),
            new("BIST", 0x0f, 1, 0),
            // 64-bit (bits 2:1 = 10b), not prefetchable: register reads have side effects of their own.
            new("BAR 0", Bar0, 4, 0x4, Write: ~((uint)barSize - 1), Effects: Evaluate),
            new("BAR 1", Bar0 + 4, 4, 0, Write: 0xffff_ffff, Effects: Evaluate),
            new("Subsystem Vendor ID", 0x2c, 2, identity.SubsystemVendorId),
            new("Subsystem ID", 0x2e, 2, identity.SubsystemId),
            new("Expansion ROM Base Address", 0x30, 4, 0),
            new("Capabilities Pointer", 0x34, 1, PowerManagement),
            new("Interrupt Line", 0x3c, 1, 0, Write: 0xff),
            new("Interrupt Pin", 0x3d, 1, 1),
            new("Min_Gnt", 0x3e, 1, 0),
            new("Max_Lat", 0x3f, 1, 0),

            new("PM Capability ID", PowerManagement, 1, 0x01),
            new("PM Next", PowerManagement + 1, 1, Msi),
            // PM 1.2; D0 and D3hot only, PME# from D3hot. Not from D3cold: there is no auxiliary power to keep PME_Status.
            new("PMC", PowerManagement + 2, 2, 0x4003),
            // No_Soft_Reset: the registers survive D3hot, as guests expect of a controller whose ports wake them.
            new("PMCSR", PowerControl, 2, 0x0008, Write: PowerStateMask | PmeEnable, ClearOnes: PmeStatus, Effects: ConfigEffects.Power),
            new("PMCSR_BSE", PowerManagement + 6, 1, 0),
            new("PM Data", PowerManagement + 7, 1, 0),

            new("SBRN", 0x60, 1, identity.SerialBusRelease),
            // 20h is 60000 bit times, the nominal frame (xHCI 1.2 §5.2, FLADJ). Nothing drifts here: the value is only kept.
            new("FLADJ", 0x61, 1, 0x20, Write: 0x3f),
            new("DBESL", 0x62, 1, 0),

            new("MSI Capability ID", Msi, 1, 0x05),
            new("MSI Next", Msi + 1, 1, MsiX),
            // Per-vector masking, 64-bit, Multiple Message Capable = 16.
            new("MSI Message Control", Msi + 2, 2, 0x0188, Write: 0x0071, Effects: Evaluate),
            new("MSI Message Address", Msi + 4, 4, 0, Write: 0xffff_fffc),
            new("MSI Message Upper Address", Msi + 8, 4, 0, Write: 0xffff_ffff),
            new("MSI Message Data", Msi + 0xc, 2, 0, Write: 0xffff),
            new("MSI Mask Bits", Msi + 0x10, 4, 0, Write: 0xffff, Effects: Evaluate),
            new("MSI Pending Bits", Msi + 0x14, 4, 0, Hardware: 0xffff),

            new("MSI-X Capability ID", MsiX, 1, 0x11),
            new("MSI-X Next", MsiX + 1, 1, 0),
            new("MSI-X Message Control", MsiX + 2, 2, MsiXTable.Vectors - 1, Write: 0xc000, Effects: Evaluate),
            new("MSI-X Table Offset/BIR", MsiX + 4, 4, table),
            new("MSI-X PBA Offset/BIR", MsiX + 8, 4, table + MsiXTable.PendingOffset),
        ];
        rows.AddRange(identity.VendorRegisters);
        return rows;
    }
}
