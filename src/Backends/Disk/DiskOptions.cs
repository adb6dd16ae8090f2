using System;
using System.Buffers;
using System.Globalization;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Disk;

/// <summary>What a disk is, apart from its medium.</summary>
public sealed record DiskOptions
{
    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789ABCDEF");

    /// <summary>Speed: full, high or super; mass storage at low speed has no bulk pipes.</summary>
    public UsbSpeed Speed { get; init; } = UsbSpeed.High;

    /// <summary>
    /// iSerialNumber and unit serial number: 12 to 32 digits "0"-"9", "A"-"F" (Bulk-Only Transport 1.0 §4.1.1), the last 12 of them
    /// unlike those of any other disk of the same identifiers.
    /// </summary>
    public string Serial { get; init; } = "000000000001";

    /// <summary>
    /// RMB: hosts may eject the medium, and poll for a new one. Off, as with QEMU's usb-storage: a medium that never changes
    /// needs no polling.
    /// </summary>
    public bool Removable { get; init; }

    /// <summary>
    /// USB Attached SCSI as alternate setting 1 beside bulk-only transport: many commands in flight. Needs high speed or more;
    /// at SuperSpeed with streams.
    /// </summary>
    public bool Uas { get; init; }

    /// <summary>idVendor; QEMU's, whose usb-storage every host has met.</summary>
    public ushort Vendor { get; init; } = 0x46f4;

    /// <summary>idProduct.</summary>
    public ushort Product { get; init; } = 0x0001;

    /// <summary>A valid serial number that follows from a name, such as the path of the image: 16 digits (FNV-1a).</summary>
    public static string SerialFromName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        ulong hash = 14695981039346656037;
        foreach (char c in name) hash = unchecked((hash ^ c) * 1099511628211);
        return hash.ToString("X16", CultureInfo.InvariantCulture);
    }

    internal void Check()
    {
        if (Speed == UsbSpeed.Low) throw new ArgumentException("A disk needs full speed or more.");
        if (Uas && Speed == UsbSpeed.Full) throw new ArgumentException("USB Attached SCSI needs high speed or more.");
        bool valid = Serial is { Length: >= 12 and <= 32 } && !Serial.AsSpan().ContainsAnyExcept(Digits);
        if (!valid) throw new ArgumentException("A disk's serial number is 12 to 32 hexadecimal digits in upper case.");
    }
}
