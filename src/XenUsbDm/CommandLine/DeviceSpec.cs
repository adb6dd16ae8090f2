using System;
using System.Collections.Generic;
using System.Globalization;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.CommandLine;

/// <summary>A parsed DEVICE: what to plug in.</summary>
internal abstract record DeviceSpec
{
    /// <summary>The forms that DEVICE takes, for messages and help.</summary>
    public const string Forms =
        "disk:PATH[,ro][,speed=full|high|super][,uas], zero[,speed=low|full|high|super], keyboard[,speed=low|full|high|super], " +
        "host:BUS-PORT[.PORT...] or host:VID:PID[:SERIAL]";

    /// <summary>Most hub tiers below a root port (USB 2.0 §4.1.1: seven tiers, the root hub and the device among them).</summary>
    public const int MaxPortDepth = 6;

    private static ReadOnlySpan<UsbSpeed> DiskSpeeds => [UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    private static ReadOnlySpan<UsbSpeed> AllSpeeds => [UsbSpeed.Low, UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    /// <summary>Parses a DEVICE; on false <paramref name="error"/> says what to write instead.</summary>
    public static bool TryParse(string text, out DeviceSpec? spec, out string error)
    {
        spec = null;
        if (text.StartsWith("disk:", StringComparison.Ordinal)) return TryDisk(text, out spec, out error);
        if (text.StartsWith("host:", StringComparison.Ordinal)) return TryHost(text, out spec, out error);
        var parts = SpecText.Split(text);
        switch (parts[0])
        {
            case "zero":
                if (!TrySpeedOnly(text, parts, UsbSpeed.High, out UsbSpeed zeroSpeed, out error)) return false;
                spec = new ZeroSpec(zeroSpeed);
                return true;
            case "keyboard":
                if (!TrySpeedOnly(text, parts, UsbSpeed.Full, out UsbSpeed keyboardSpeed, out error)) return false;
                spec = new KeyboardSpec(keyboardSpeed);
                return true;
            default:
                error = $"device '{text}': must be {Forms}";
                return false;
        }
    }

    private static bool TryDisk(string text, out DeviceSpec? spec, out string error)
    {
        spec = null;
        var parts = SpecText.Split(text);
        string path = parts[0]["disk:".Length..];
        if (path.Length == 0)
        {
            error = $"device '{text}': name the image file, as in disk:stick.img";
            return false;
        }

        bool readOnly = false, uas = false;
        UsbSpeed speed = UsbSpeed.Super;
        for (int i = 1; i < parts.Count; i++)
        {
            (string key, string value) = SpecText.KeyValue(parts[i]);
            if (parts[i] == "ro")
            {
                readOnly = true;
            }
            else if (parts[i] == "uas")
            {
                uas = true;
            }
            else if (key == "speed")
            {
                if (!TrySpeed(text, value, DiskSpeeds, out speed, out error)) return false;
            }
            else
            {
                error = $"device '{text}': unknown '{parts[i]}'; known are ro, speed=... and uas; write a comma in PATH twice";
                return false;
            }
        }

        if (uas && speed == UsbSpeed.Full)
        {
            error = $"device '{text}': uas needs speed=high or speed=super";
            return false;
        }

        spec = new DiskSpec(path, readOnly, speed, uas);
        error = "";
        return true;
    }

    private static bool TryHost(string text, out DeviceSpec? spec, out string error)
    {
        spec = null;
        error = $"device '{text}': must be host:BUS-PORT[.PORT...] (as 1-2.3) or host:VID:PID[:SERIAL] (as 0951:1666, hexadecimal)";
        string body = text["host:".Length..];
        int colon = body.IndexOf(':', StringComparison.Ordinal);
        if (colon >= 0)
        {
            // Everything after the second colon is the serial number, colons and commas included.
            string rest = body[(colon + 1)..];
            int second = rest.IndexOf(':', StringComparison.Ordinal);
            string product = second < 0 ? rest : rest[..second];
            string? serial = second < 0 ? null : rest[(second + 1)..];
            if (!TryHex16(body[..colon], out ushort vendorId) || !TryHex16(product, out ushort productId) || serial?.Length == 0) return false;
            spec = new HostIdSpec(vendorId, productId, serial);
        }
        else
        {
            int dash = body.IndexOf('-', StringComparison.Ordinal);
            if (dash < 0 || !SpecText.TryNumber(body[..dash], 1, 255, out int bus)) return false;
            string[] numbers = body[(dash + 1)..].Split('.');
            if (numbers.Length > MaxPortDepth) return false;
            var ports = new List<int>(numbers.Length);
            foreach (string number in numbers)
            {
                if (!SpecText.TryNumber(number, 1, 255, out int port)) return false;
                ports.Add(port);
            }

            spec = new HostPathSpec(bus, string.Join('.', ports));
        }

        error = "";
        return true;
    }

    private static bool TryHex16(string text, out ushort value)
    {
        value = 0;
        return text.Length is >= 1 and <= 4 &&
            ushort.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }

    private static bool TrySpeedOnly(string text, List<string> parts, UsbSpeed unless, out UsbSpeed speed, out string error)
    {
        speed = unless;
        error = "";
        for (int i = 1; i < parts.Count; i++)
        {
            (string key, string value) = SpecText.KeyValue(parts[i]);
            if (key != "speed")
            {
                error = $"device '{text}': unknown '{parts[i]}'; known is speed=...";
                return false;
            }

            if (!TrySpeed(text, value, AllSpeeds, out speed, out error)) return false;
        }

        return true;
    }

    private static bool TrySpeed(string text, string value, ReadOnlySpan<UsbSpeed> allowed, out UsbSpeed speed, out string error)
    {
        bool ok = SpecText.TrySpeed(value, allowed, out speed);
        error = ok ? "" : $"device '{text}': speed must be {SpecText.Names(allowed)}";
        return ok;
    }
}

/// <summary>A mass-storage stick on a raw image file.</summary>
/// <param name="Path">The image, as written.</param>
/// <param name="ReadOnly">The guest may not write.</param>
/// <param name="Speed">full, high or super; super unless said.</param>
/// <param name="Uas">USB Attached SCSI beside bulk-only transport; not at full speed.</param>
internal sealed record DiskSpec(string Path, bool ReadOnly, UsbSpeed Speed, bool Uas = false) : DeviceSpec;

/// <summary>Gadget zero, the device that Linux's usbtest runs against.</summary>
/// <param name="Speed">Any; high unless said.</param>
internal sealed record ZeroSpec(UsbSpeed Speed) : DeviceSpec;

/// <summary>A boot-protocol keyboard.</summary>
/// <param name="Speed">Any; full unless said.</param>
internal sealed record KeyboardSpec(UsbSpeed Speed) : DeviceSpec;

/// <summary>A physical device by where it is plugged in.</summary>
/// <param name="Bus">Bus number, 1-255.</param>
/// <param name="Ports">Port numbers from the root port on, as "2.3".</param>
internal sealed record HostPathSpec(int Bus, string Ports) : DeviceSpec;

/// <summary>A physical device by what it says it is.</summary>
/// <param name="VendorId">idVendor.</param>
/// <param name="ProductId">idProduct.</param>
/// <param name="Serial">iSerialNumber's string, or null for any.</param>
internal sealed record HostIdSpec(ushort VendorId, ushort ProductId, string? Serial) : DeviceSpec;
