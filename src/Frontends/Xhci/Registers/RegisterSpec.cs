namespace XenUsbDm.Frontends.Xhci;

/// <summary>One line of a register table: where a register lies and what a write may do to its bits.</summary>
/// <param name="Offset">Byte offset from the start of its block (of its first instance, for arrays).</param>
/// <param name="Width">Bytes: 1, 2, 4 or 8. Registers of 1 and 2 bytes share a 32-bit word and are read-only.</param>
/// <param name="Name">The name in the specification.</param>
/// <param name="Reset">Value after a chip reset. Values that depend on the configuration are set by <see cref="RegisterMap"/>.</param>
/// <param name="Writable">Bits that take the value written (RW, RWS).</param>
/// <param name="ClearOnOne">Bits that a written 1 clears (RW1C, RW1CS).</param>
/// <param name="SetOnOne">Bits of which a written 1 asks for something and which are not stored (RW1S, write strobes).</param>
/// <param name="Effect">Who owns the value or what a write sets off.</param>
/// <param name="Half">Which 32-bit half of a 64-bit register the line stands for, after expansion: 0 low, 1 high.</param>
internal readonly record struct RegisterSpec(
    int Offset,
    int Width,
    string Name,
    ulong Reset = 0,
    ulong Writable = 0,
    ulong ClearOnOne = 0,
    ulong SetOnOne = 0,
    RegisterEffect Effect = RegisterEffect.None,
    int Half = 0);

/// <summary>What stands behind a register: the switch in <see cref="XhciRegisters"/> has one arm for each.</summary>
internal enum RegisterEffect : byte
{
    /// <summary>The stored value and nothing else.</summary>
    None,

    /// <summary>USBCMD (§5.4.1).</summary>
    UsbCommand,

    /// <summary>USBSTS (§5.4.2): composed.</summary>
    UsbStatus,

    /// <summary>CRCR (§5.4.5).</summary>
    CommandRing,

    /// <summary>PORTSC (§5.4.8): owned by the port.</summary>
    PortStatus,

    /// <summary>PORTPMSC (§5.4.9): owned by the port.</summary>
    PortPower,

    /// <summary>PORTLI (§5.4.10): owned by the port.</summary>
    PortLink,

    /// <summary>USBLEGSUP (§7.1.1).</summary>
    LegacySupport,

    /// <summary>USBLEGCTLSTS (§7.1.2): composed.</summary>
    LegacyControl,

    /// <summary>MFINDEX (§5.5.1): computed from the time.</summary>
    MicroframeIndex,

    /// <summary>IMAN (§5.5.2.1): owned by the interrupter.</summary>
    InterrupterManagement,

    /// <summary>IMOD (§5.5.2.2): owned by the interrupter.</summary>
    InterrupterModeration,

    /// <summary>ERSTSZ (§5.5.2.3.1): owned by the interrupter.</summary>
    SegmentTableSize,

    /// <summary>ERSTBA (§5.5.2.3.2): owned by the interrupter.</summary>
    SegmentTableBase,

    /// <summary>ERDP (§5.5.2.3.3): owned by the interrupter.</summary>
    DequeuePointer,

    /// <summary>Doorbells (§5.6).</summary>
    Doorbell,
}
