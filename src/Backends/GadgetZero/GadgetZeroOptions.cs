using System;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>What source endpoints send and sink endpoints accept; the values are those of Linux's pattern parameters.</summary>
public enum ZeroPattern
{
    /// <summary>All bytes zero, sent and demanded.</summary>
    Zeros = 0,

    /// <summary>
    /// Byte i of every packet is i modulo 63. A sink also takes a transfer of zeros only, so that usbtest's throughput
    /// cases (27, 28), which run with its pattern 0, need no second device.
    /// </summary>
    Mod63 = 1,

    /// <summary>Zeros are sent, anything is accepted.</summary>
    Unchecked = 2,
}

/// <summary>How a gadget zero is made.</summary>
public sealed record GadgetZeroOptions
{
    /// <summary>Speed it runs at.</summary>
    public UsbSpeed Speed { get; init; } = UsbSpeed.High;

    /// <summary>Data of the source and sink endpoints.</summary>
    public ZeroPattern Pattern { get; init; } = ZeroPattern.Mod63;

    /// <summary>
    /// Isochronous packets per service interval: 1-3 at high speed (USB 2.0 §9.6.6), 1-48 at SuperSpeed (burst times mult,
    /// USB 3.2 §9.6.7; a count that is neither up to 16 nor a multiple of 2 or 3 is refused). Full speed has one.
    /// </summary>
    public int IsochronousPackets { get; init; } = 1;

    /// <summary>bInterval of the isochronous endpoints, 1-16: every 2^(n-1) frames or microframes.</summary>
    public byte IsochronousInterval { get; init; } = 4;

    /// <summary>Checks the values; throws <see cref="ArgumentOutOfRangeException"/>.</summary>
    internal void Validate()
    {
        int most = Speed switch { UsbSpeed.High => 3, UsbSpeed.Super => 48, _ => 1 };
        ArgumentOutOfRangeException.ThrowIfLessThan(IsochronousPackets, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(IsochronousPackets, most);
        ArgumentOutOfRangeException.ThrowIfLessThan(IsochronousInterval, (byte)1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(IsochronousInterval, (byte)16);
        if (BurstOf(IsochronousPackets) * MultOf(IsochronousPackets) != IsochronousPackets)
            throw new ArgumentOutOfRangeException(nameof(IsochronousPackets), "Not a product of a burst up to 16 and a mult up to 3.");
    }

    /// <summary>SuperSpeed mult, 1-3: the smallest that lets the burst stay within 16.</summary>
    internal static int MultOf(int packets) => packets <= 16 ? 1 : packets <= 32 && packets % 2 == 0 ? 2 : 3;

    /// <summary>SuperSpeed burst, 1-16.</summary>
    internal static int BurstOf(int packets) => packets / MultOf(packets);
}
