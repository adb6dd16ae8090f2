namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// The register tables of xHCI 1.2 §5 and §7 in the order of the specification. This file is the first to read here:
/// <see cref="RegisterMap"/> lays the tables out, <see cref="XhciRegisters"/> applies the masks and dispatches.
/// </summary>
internal static class RegisterTables
{
    /// <summary>Bytes of BAR 0 that hold registers.</summary>
    public const int Length = 0x3000;

    /// <summary>CAPLENGTH: where the operational registers start. More than the 0x20 bytes in use, as real controllers have it.</summary>
    public const int OperationalOffset = 0x40;

    /// <summary>First port register set (operational + 0x400, §5.4 table 5-18).</summary>
    public const int PortsOffset = OperationalOffset + 0x400;

    /// <summary>Bytes from one port register set to the next.</summary>
    public const int PortStride = 0x10;

    /// <summary>xECP: first extended capability.</summary>
    public const int ExtendedOffset = 0x800;

    /// <summary>RTSOFF.</summary>
    public const int RuntimeOffset = 0x1000;

    /// <summary>First interrupter register set (runtime + 0x20, §5.5).</summary>
    public const int InterruptersOffset = RuntimeOffset + 0x20;

    /// <summary>Bytes from one interrupter register set to the next.</summary>
    public const int InterrupterStride = 0x20;

    /// <summary>DBOFF.</summary>
    public const int DoorbellOffset = 0x2000;

    /// <summary>ERSTMax: 2^8 segments in an event ring segment table (§5.3.4).</summary>
    public const int SegmentTableMaxExponent = 8;

    /// <summary>MaxPSASize: primary stream arrays of up to 2^(7+1) = 256 entries (§5.3.6).</summary>
    public const int MaxPrimaryStreamArraySize = 7;

    /// <summary>Isochronous scheduling threshold: TDs may be added up to 8 microframes (one frame) ahead: bit 3 frames, value 1 (§5.3.4).</summary>
    public const int IsochronousSchedulingThreshold = 0x9;

    /// <summary>
    /// HCCPARAMS1 (§5.3.6): AC64, PPC, LHRC, PAE, SPC, SEC, CFC and MaxPSASize; not BNC, CSZ (32-byte contexts: every guest
    /// knows them), PIND, LTC, NSS (secondary stream arrays are supported). xECP in dwords.
    /// </summary>
    public const uint CapabilityParameters1 =
        (1u << 0) | (1u << 3) | (1u << 5) | (1u << 8) | (1u << 9) | (1u << 10) | (1u << 11)
        | (MaxPrimaryStreamArraySize << 12) | ((uint)(ExtendedOffset / 4) << 16);

    /// <summary>
    /// HCCPARAMS2 (§5.3.9): U3C (U3 entry is reported) and CIC (configuration values in the input control context). Not
    /// CMC, FSC, CTC, LEC, ETC, ETC_TSC, GSC, VTC: nothing stands behind them here.
    /// </summary>
    public const uint CapabilityParameters2 = (1u << 0) | (1u << 5);

    /// <summary>Capability registers (§5.3). HCSPARAMS1 depends on the configuration.</summary>
    public static readonly RegisterSpec[] Capability =
    [
        new(0x00, 1, "CAPLENGTH", OperationalOffset),
        new(0x02, 2, "HCIVERSION", 0x0120),
        new(0x04, 4, "HCSPARAMS1"),
        new(0x08, 4, "HCSPARAMS2", IsochronousSchedulingThreshold | (SegmentTableMaxExponent << 4)),
        new(0x0c, 4, "HCSPARAMS3"),
        new(0x10, 4, "HCCPARAMS1", CapabilityParameters1),
        new(0x14, 4, "DBOFF", DoorbellOffset),
        new(0x18, 4, "RTSOFF", RuntimeOffset),
        new(0x1c, 4, "HCCPARAMS2", CapabilityParameters2),
    ];

    /// <summary>Operational registers (§5.4).</summary>
    public static readonly RegisterSpec[] Operational =
    [
        // R/S, INTE, HSEE, EWE, EU3S; strobes HCRST, LHCRST, CSS, CRS. CME, ETE, TSC_EN, VTIOE belong to absent capabilities.
        new(0x00, 4, "USBCMD", Writable: 0x0c0d, SetOnOne: 0x0382, Effect: RegisterEffect.UsbCommand),
        new(0x04, 4, "USBSTS", Reset: 0x0001, ClearOnOne: 0x041c, Effect: RegisterEffect.UsbStatus),
        new(0x08, 4, "PAGESIZE", 0x0001),
        new(0x14, 4, "DNCTRL", Writable: 0xffff),
        new(0x18, 8, "CRCR", Writable: 0xffff_ffff_ffff_ffc1, SetOnOne: 0x6, Effect: RegisterEffect.CommandRing),
        new(0x30, 8, "DCBAAP", Writable: 0xffff_ffff_ffff_ffc0),
        new(0x38, 4, "CONFIG", Writable: 0x03ff),
    ];

    /// <summary>One USB 2 port (§5.4.8-§5.4.11). LPM hardware is not announced (HLC = 0), so HLE and PORTHLPMC are reserved.</summary>
    public static readonly RegisterSpec[] Usb2Port =
    [
        new(0x00, 4, "PORTSC", Reset: 0x2a0, Writable: 0x0e00_c3e0, ClearOnOne: 0x00fe_0002, SetOnOne: 0x0001_0010, Effect: RegisterEffect.PortStatus),
        new(0x04, 4, "PORTPMSC", Writable: 0xf000_fff8, Effect: RegisterEffect.PortPower),
        new(0x08, 4, "PORTLI"),
        new(0x0c, 4, "PORTHLPMC"),
    ];

    /// <summary>One USB 3 port (§5.4.8-§5.4.11).</summary>
    public static readonly RegisterSpec[] Usb3Port =
    [
        new(0x00, 4, "PORTSC", Reset: 0x2a0, Writable: 0x0e00_c3e0, ClearOnOne: 0x00fe_0002, SetOnOne: 0x8001_0010, Effect: RegisterEffect.PortStatus),
        new(0x04, 4, "PORTPMSC", Writable: 0x1_ffff, Effect: RegisterEffect.PortPower),
        new(0x08, 4, "PORTLI", Writable: 0xffff, Effect: RegisterEffect.PortLink),
        new(0x0c, 4, "PORTHLPMC"),
    ];

    /// <summary>
    /// Extended capabilities (§7). No firmware owns the controller, so the BIOS semaphore is 0 from the start. PSIs are
    /// the default speed ids: 1 = full, 2 = low, 3 = high, 4 = SuperSpeed (§7.2.2.1.1 table 7-13).
    /// </summary>
    public static readonly RegisterSpec[] Extended =
    [
        new(0x00, 4, "USBLEGSUP", 0x0000_0401, Writable: 0x0101_0000, Effect: RegisterEffect.LegacySupport),
        new(0x04, 4, "USBLEGCTLSTS", Writable: 0x0000_e011, ClearOnOne: 0xe000_0000, Effect: RegisterEffect.LegacyControl),
        new(0x10, 4, "SUPPORTED_PROTOCOL_USB2", 0x0200_0802),
        new(0x14, 4, "SUPPORTED_PROTOCOL_USB2_NAME", 0x2042_5355),
        new(0x18, 4, "SUPPORTED_PROTOCOL_USB2_PORTS"),
        new(0x1c, 4, "SUPPORTED_PROTOCOL_USB2_SLOT_TYPE"),
        new(0x20, 4, "SUPPORTED_PROTOCOL_USB2_PSI1", 0x000c_0021),
        new(0x24, 4, "SUPPORTED_PROTOCOL_USB2_PSI2", 0x05dc_0012),
        new(0x28, 4, "SUPPORTED_PROTOCOL_USB2_PSI3", 0x01e0_0023),
        new(0x30, 4, "SUPPORTED_PROTOCOL_USB3", 0x0300_0002),
        new(0x34, 4, "SUPPORTED_PROTOCOL_USB3_NAME", 0x2042_5355),
        new(0x38, 4, "SUPPORTED_PROTOCOL_USB3_PORTS"),
        new(0x3c, 4, "SUPPORTED_PROTOCOL_USB3_SLOT_TYPE"),
        new(0x40, 4, "SUPPORTED_PROTOCOL_USB3_PSI1", 0x0005_0134),
    ];

    /// <summary>Runtime registers before the interrupters (§5.5).</summary>
    public static readonly RegisterSpec[] Runtime =
    [
        new(0x00, 4, "MFINDEX", Effect: RegisterEffect.MicroframeIndex),
    ];

    /// <summary>
    /// One interrupter (§5.5.2). ERSTBA keeps bits 5:4, which the specification reserves: the NEC driver aligns its table
    /// to 16 bytes (QEMU.md 1d).
    /// </summary>
    public static readonly RegisterSpec[] Interrupter =
    [
        new(0x00, 4, "IMAN", Writable: 0x2, ClearOnOne: 0x1, Effect: RegisterEffect.InterrupterManagement),
        new(0x04, 4, "IMOD", Reset: 4000, Writable: 0xffff_ffff, Effect: RegisterEffect.InterrupterModeration),
        new(0x08, 4, "ERSTSZ", Writable: 0xffff, Effect: RegisterEffect.SegmentTableSize),
        new(0x10, 8, "ERSTBA", Writable: 0xffff_ffff_ffff_fff0, Effect: RegisterEffect.SegmentTableBase),
        new(0x18, 8, "ERDP", Writable: 0xffff_ffff_ffff_fff7, ClearOnOne: 0x8, Effect: RegisterEffect.DequeuePointer),
    ];

    /// <summary>One doorbell (§5.6): the write is the request, reads are 0.</summary>
    public static readonly RegisterSpec[] Doorbell =
    [
        new(0x00, 4, "DB", SetOnOne: 0xffff_ffff, Effect: RegisterEffect.Doorbell),
    ];
}
