using System;
using System.Collections.Generic;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// What a function says it is. Drivers switch on these numbers, so a profile is a promise to behave as that part does:
/// <list type="bullet">
/// <item><see cref="XhciDefault"/> matches no vendor table; class drivers run without quirks. Right for every guest with
/// an inbox xHCI driver (Linux, BSDs, Windows 8 and later, all firmware).</item>
/// <item><see cref="XhciRenesas"/> is for guests whose only xHCI driver is Renesas' own (Windows XP).</item>
/// <item><see cref="XhciIntel"/> is for Windows 7 with Intel's 7-series driver and for older macOS.</item>
/// </list>
/// What drivers assume of each is in firmware-tables/README.md.
/// </summary>
public sealed class PciIdentity
{
    private PciIdentity(string name, ushort vendor, ushort device, byte revision, uint classCode, byte serialBusRelease, ConfigRegister[] vendorRegisters)
    {
        Name = name;
        VendorId = vendor;
        DeviceId = device;
        Revision = revision;
        ClassCode = classCode;
        SerialBusRelease = serialBusRelease;
        VendorRegisters = vendorRegisters;
    }

    /// <summary>Short name, as in the operator's options and the file names of firmware-tables/pci.</summary>
    public string Name { get; }

    /// <summary>Vendor ID.</summary>
    public ushort VendorId { get; }

    /// <summary>Device ID.</summary>
    public ushort DeviceId { get; }

    /// <summary>Revision ID.</summary>
    public byte Revision { get; }

    /// <summary>Class code, 24 bits: base class, sub-class, programming interface (0c0330 is xHCI, xHCI 1.2 §5.2).</summary>
    public uint ClassCode { get; }

    /// <summary>SBRN at offset 60h (xHCI 1.2 §5.2): 30h for USB 3.x.</summary>
    public byte SerialBusRelease { get; }

    /// <summary>Subsystem Vendor ID: 1af4, the one that emulated parts share, whatever chip is named.</summary>
    public ushort SubsystemVendorId { get; } = 0x1af4;

    /// <summary>Subsystem ID.</summary>
    public ushort SubsystemId { get; } = 0x1100;

    /// <summary>Vendor-specific registers, in offset order.</summary>
    internal IReadOnlyList<ConfigRegister> VendorRegisters { get; }

    /// <summary>1b36:000d, no vendor quirks in any driver.</summary>
    public static PciIdentity XhciDefault { get; } = new("xhci-default", 0x1b36, 0x000d, 0x01, 0x0c0330, 0x30, []);

    /// <summary>
    /// Renesas uPD720201 (1912:0014). Drivers read the firmware status before they touch the controller and download
    /// firmware unless it says that firmware runs, so it does: FW Download Lock and result Success, and an external ROM
    /// that was loaded with success. There is nothing behind the download registers; they read as zero.
    /// </summary>
    public static PciIdentity XhciRenesas { get; } = new("xhci-renesas", 0x1912, 0x0014, 0x03, 0x0c0330, 0x30,
    [
        // Bits 23:8 hold the version: 2026h, as of the firmware images that guests carry, so none looks newer.
        new("FW Version", 0x6c, 4, 0x0020_2600),
        new("External ROM Information", 0xf0, 4, 0),
        new("FW Download Control and Status", 0xf4, 2, 0x0012),
        new("External ROM Access Control and Status", 0xf6, 2, 0x8010),
        new("Data0", 0xf8, 4, 0),
        new("Data1", 0xfc, 4, 0),
    ]);

    /// <summary>
    /// Intel 7-series (8086:1e31). Drivers and firmware route the shared ports from EHCI to xHCI with four registers,
    /// reading the masks and writing them to the switches. All ports are routed here from the start, since there is no
    /// companion; the registers hold what is written and route nothing.
    /// </summary>
    public static PciIdentity XhciIntel { get; } = new("xhci-intel", 0x8086, 0x1e31, 0x04, 0x0c0330, 0x30,
    [
        new("XUSB2PR", 0xd0, 4, 0xf, Write: 0xffff_ffff),
        new("XUSB2PRM", 0xd4, 4, 0xf, Write: 0xffff_ffff),
        new("USB3_PSSEN", 0xd8, 4, 0xf, Write: 0xffff_ffff),
        new("USB3PRM", 0xdc, 4, 0xf, Write: 0xffff_ffff),
    ]);

    /// <summary>All profiles.</summary>
    public static IReadOnlyList<PciIdentity> All { get; } = [XhciDefault, XhciRenesas, XhciIntel];

    /// <summary>The profile called <paramref name="name"/>, null when there is none.</summary>
    public static PciIdentity? Find(string name)
    {
        foreach (PciIdentity identity in All)
        {
            if (string.Equals(identity.Name, name, StringComparison.Ordinal)) return identity;
        }

        return null;
    }
}
