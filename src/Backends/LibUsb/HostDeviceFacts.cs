using System;
using System.Globalization;
using System.Text;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.LibUsb;

/// <summary>What the host knows of a device without asking it.</summary>
public sealed record HostDeviceFacts
{
    /// <summary>bDeviceClass of hubs (USB 2.0 §11.23.1).</summary>
    public const byte HubClass = 9;

    private const int LongestText = 64;

    /// <summary>Where it is plugged in: bus, dash, ports with dots between ("1-2.3").</summary>
    public required string BusPath { get; init; }

    /// <summary>Speed of its connection; SuperSpeedPlus shows as SuperSpeed.</summary>
    public required UsbSpeed Speed { get; init; }

    /// <summary>idVendor.</summary>
    public ushort VendorId { get; init; }

    /// <summary>idProduct.</summary>
    public ushort ProductId { get; init; }

    /// <summary>bDeviceClass.</summary>
    public byte DeviceClass { get; init; }

    /// <summary>iManufacturer's string as <see cref="Printable"/> leaves it, or empty.</summary>
    public string Manufacturer { get; init; } = "";

    /// <summary>iProduct's string, likewise.</summary>
    public string Product { get; init; } = "";

    /// <summary>iSerialNumber's string, likewise.</summary>
    public string Serial { get; init; } = "";

    /// <summary>It is a hub.</summary>
    public bool IsHub => DeviceClass == HubClass;

    /// <summary>"0951:1666".</summary>
    public string Id => string.Create(CultureInfo.InvariantCulture, $"{VendorId:x4}:{ProductId:x4}");

    /// <summary>"1-2.3: ID 0951:1666 Kingston DataTraveler", as xm usb-list-assignable-devices wrote it.</summary>
    public string ListLine => $"{BusPath}: ID {Id} {Manufacturer} {Product}".TrimEnd();

    /// <summary>One line for logs and trees.</summary>
    public string Description => $"host {BusPath} {Id} {Manufacturer} {Product}".TrimEnd();

    /// <summary>A device's string with what would disturb a terminal or a log replaced, and not longer than 64 characters.</summary>
    public static string Printable(string? text)
    {
        var result = new StringBuilder();
        foreach (char one in (text ?? "").Trim())
        {
            if (result.Length == LongestText) break;
            result.Append(char.IsControl(one) || char.IsSurrogate(one) || one is '\u2028' or '\u2029' ? '?' : one);
        }

        return result.ToString();
    }
}

/// <summary>
/// A device's configurations, taken from the block that the host's kernel keeps: the device descriptor, then each
/// configuration. The bytes are the device's own, so no length in them is believed.
/// </summary>
public sealed class HostDescriptors
{
    /// <summary>Bytes of a device descriptor (USB 2.0 table 9-8).</summary>
    public const int DeviceSize = 18;

    /// <summary>Most configurations that are kept; bNumConfigurations could say 255, the kernel reads 8.</summary>
    public const int Configurations = 8;

    /// <summary>Bytes of a configuration descriptor's own part (USB 2.0 table 9-10).</summary>
    public const int HeaderSize = 9;

    /// <summary>Where wTotalLength is in it.</summary>
    public const int TotalOffset = 2;

    /// <summary>Where bConfigurationValue is in it.</summary>
    public const int ValueOffset = 5;

    private readonly ReadOnlyMemory<byte>[] _configurations;

    /// <summary>Finds the configurations; what does not begin with a device descriptor has none.</summary>
    public HostDescriptors(ReadOnlyMemory<byte> block)
    {
        var found = new ReadOnlyMemory<byte>[Configurations];
        int count = 0;
        int at = block.Length >= DeviceSize && block.Span[0] == DeviceSize && block.Span[1] == (byte)DescriptorType.Device ? DeviceSize : block.Length;
        while (count < Configurations && at < block.Length)
        {
            int end = EndOf(block.Span, at);
            if (end == at) break;
            found[count++] = block[at..end];
            at = end;
        }

        _configurations = found[..count];
    }

    /// <summary>Configurations found.</summary>
    public int Count => _configurations.Length;

    /// <summary>The configuration of that bConfigurationValue; empty when there is none.</summary>
    public ReadOnlySpan<byte> Configuration(byte value)
    {
        foreach (ReadOnlyMemory<byte> configuration in _configurations)
        {
            if (configuration.Span[ValueOffset] == value) return configuration.Span;
        }

        return default;
    }

    /// <summary>Endpoint table indices (one bit each) of an interface, in all its alternate settings.</summary>
    public static uint EndpointsOf(ReadOnlySpan<byte> configuration, byte interfaceNumber)
    {
        const int EndpointSize = 7;
        uint mask = 0;
        bool inside = false;
        var reader = new Core.Usb.Descriptors.DescriptorReader(configuration);
        while (reader.TryRead(out DescriptorType type, out ReadOnlySpan<byte> bytes))
        {
            if (type == DescriptorType.Interface) inside = bytes.Length > 2 && bytes[2] == interfaceNumber;
            else if (type == DescriptorType.Endpoint && inside && bytes.Length >= EndpointSize) mask |= 1u << new EndpointAddress(bytes[2]).Index;
        }

        return mask & ~1u;
    }

    /// <summary>
    /// Interface numbers (one bit each) of a configuration. Numbers from 32 on are left out: libusb refuses to claim them
    /// (USB_MAXINTERFACES), so the guest sees such an interface and cannot use it.
    /// </summary>
    public static uint InterfacesOf(ReadOnlySpan<byte> configuration)
    {
        uint mask = 0;
        var reader = new Core.Usb.Descriptors.DescriptorReader(configuration);
        while (reader.TryRead(out DescriptorType type, out ReadOnlySpan<byte> bytes))
        {
            if (type == DescriptorType.Interface && bytes.Length > 2 && bytes[2] < Core.Usb.Descriptors.DescriptorLimits.Interfaces) mask |= 1u << bytes[2];
        }

        return mask;
    }

    // A configuration ends where its own length says, where the next begins, or with the block, whichever comes first; a
    // device that was read short has a wTotalLength that reaches into the next one or past the end.
    private static int EndOf(ReadOnlySpan<byte> block, int start)
    {
        ReadOnlySpan<byte> rest = block[start..];
        if (rest.Length < HeaderSize || rest[0] < HeaderSize || rest[1] != (byte)DescriptorType.Configuration) return start;
        int total = Math.Min(rest.Length, Math.Max(HeaderSize, rest[TotalOffset] | (rest[TotalOffset + 1] << 8)));
        int at = rest[0];
        while (at + 2 <= total && rest[at] >= 2 && rest[at + 1] != (byte)DescriptorType.Configuration && at + rest[at] <= total) at += rest[at];
        bool next = at + 2 <= total && rest[at + 1] == (byte)DescriptorType.Configuration && rest[at] >= HeaderSize;
        return start + (next ? at : total);
    }
}
