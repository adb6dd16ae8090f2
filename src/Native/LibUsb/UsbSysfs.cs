using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Native.LibUsb;

/// <summary>A device that is plugged into the host, as its kernel shows it.</summary>
/// <param name="Facts">Place, identity, speed.</param>
/// <param name="Bus">Bus number.</param>
/// <param name="Number">Device number; another one after every plug and after a reset that found another device; 0 while the kernel resets it.</param>
/// <param name="Configuration">Active configuration; 0 when there is none, or not yet.</param>
/// <param name="Folder">Its folder in sysfs.</param>
public sealed record PluggedDevice(HostDeviceFacts Facts, int Bus, int Number, byte Configuration, string Folder)
{
    /// <summary>Its node.</summary>
    public string Node => string.Create(CultureInfo.InvariantCulture, $"/dev/bus/usb/{Bus:D3}/{Number:D3}");

    /// <summary>Bus and number in one: another one after every plug.</summary>
    public int Plug => (Bus << 16) | Number;

    /// <summary>The kernel resets it at this moment: it has no number and no address. Whether it comes back shows later.</summary>
    public bool IsInReset => Number == 0;

    /// <summary>True when <paramref name="now"/>, what is plugged in at its place, is nothing or another device.</summary>
    public bool IsPulled(PluggedDevice? now) => now is null || now.Bus != Bus || (now.Number != Number && !now.IsInReset);
}

/// <summary>The host's USB devices in sysfs. Files may vanish and devices' strings may hold anything; nothing here throws for it.</summary>
public sealed class UsbSysfs(string root = UsbSysfs.Root)
{
    /// <summary>Where the kernel lists them.</summary>
    public const string Root = "/sys/bus/usb/devices";

    // wTotalLength is 16 bits, the kernel reads 8 configurations; the file's size is not in its status.
    private const int LongestDescriptors = 18 + (8 * 65_535);
    private const int LongestText = 256;

    /// <summary>All devices but root hubs, in the order of their places.</summary>
    public List<PluggedDevice> Devices()
    {
        var found = new List<PluggedDevice>();
        if (!Directory.Exists(root)) return found;
        foreach (string folder in Directory.EnumerateFileSystemEntries(root))
        {
            if (Find(Path.GetFileName(folder)) is { } device) found.Add(device);
        }

        found.Sort(static (a, b) => ComparePlaces(a.Facts.BusPath, b.Facts.BusPath));
        return found;
    }

    /// <summary>The device at <paramref name="busPath"/> ("1-2.3"); null when there is none.</summary>
    public PluggedDevice? Find(string busPath)
    {
        ArgumentNullException.ThrowIfNull(busPath);
        int dash = busPath.IndexOf('-', StringComparison.Ordinal);
        if (dash < 1 || busPath.Contains(':', StringComparison.Ordinal) || busPath.Contains('/', StringComparison.Ordinal)) return null;
        string folder = Path.Combine(root, busPath);
        if (!TryNumber(folder, "busnum", out int bus) || !TryNumber(folder, "devnum", out int number)) return null;
        var facts = new HostDeviceFacts
        {
            BusPath = busPath,
            Speed = SpeedOf(Read(folder, "speed")),
            VendorId = (ushort)Hex(folder, "idVendor"),
            ProductId = (ushort)Hex(folder, "idProduct"),
            DeviceClass = (byte)Hex(folder, "bDeviceClass"),
            Manufacturer = HostDeviceFacts.Printable(Read(folder, "manufacturer")),
            Product = HostDeviceFacts.Printable(Read(folder, "product")),
            Serial = HostDeviceFacts.Printable(Read(folder, "serial")),
        };
        TryNumber(folder, "bConfigurationValue", out int configuration);
        return new PluggedDevice(facts, bus, number, (byte)Math.Clamp(configuration, 0, 255), folder);
    }

    /// <summary>Device and configuration descriptors as the kernel has read them; empty when the device is gone.</summary>
    public static byte[] Descriptors(PluggedDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        try
        {
            using FileStream file = File.OpenRead(Path.Combine(device.Folder, "descriptors"));
            byte[] buffer = new byte[LongestDescriptors];
            int length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            return buffer[..length];
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>What of the host's own uses the device (a mounted disk, a network link that is up); null when nothing was found. Best effort.</summary>
    public static string? UseOf(PluggedDevice device, string mounts = "/proc/self/mounts")
    {
        ArgumentNullException.ThrowIfNull(device);
        try
        {
            string mounted = File.Exists(mounts) ? File.ReadAllText(mounts) : "";
            return Look(device.Folder, mounted, 6);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    // block/NAME and net/NAME below the interfaces; links are not followed.
    private static string? Look(string folder, string mounted, int depth)
    {
        foreach (DirectoryInfo child in new DirectoryInfo(folder).EnumerateDirectories())
        {
            if (child.LinkTarget is not null) continue;
            if (child.Name == "block")
            {
                foreach (DirectoryInfo disk in child.EnumerateDirectories())
                {
                    if (mounted.Contains($"/dev/{disk.Name}", StringComparison.Ordinal)) return $"/dev/{disk.Name} is mounted";
                }
            }
            else if (child.Name == "net")
            {
                foreach (DirectoryInfo link in child.EnumerateDirectories())
                {
                    if (Read(link.FullName, "operstate") == "up") return $"network link {link.Name} is up";
                }
            }
            else if (depth > 0 && Look(child.FullName, mounted, depth - 1) is { } use)
            {
                return use;
            }
        }

        return null;
    }

    // "1.5", "12", "480", "5000", "10000", "20000" Mb/s.
    private static UsbSpeed SpeedOf(string text) => text switch
    {
        "1.5" => UsbSpeed.Low,
        "12" => UsbSpeed.Full,
        "480" => UsbSpeed.High,
        _ => UsbSpeed.Super,
    };

    private static int ComparePlaces(string a, string b)
    {
        string[] left = a.Split('-', '.');
        string[] right = b.Split('-', '.');
        for (int i = 0; i < Math.Min(left.Length, right.Length); i++)
        {
            int order = int.TryParse(left[i], out int x) && int.TryParse(right[i], out int y) ? x.CompareTo(y) : string.CompareOrdinal(left[i], right[i]);
            if (order != 0) return order;
        }

        return left.Length.CompareTo(right.Length);
    }

    private static bool TryNumber(string folder, string name, out int number) =>
        int.TryParse(Read(folder, name), NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static int Hex(string folder, string name) =>
        ushort.TryParse(Read(folder, name), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort value) ? value : 0;

    private static string Read(string folder, string name)
    {
        try
        {
            using var file = new StreamReader(Path.Combine(folder, name));
            char[] text = new char[LongestText];
            return new string(text, 0, file.ReadBlock(text)).Trim();
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
