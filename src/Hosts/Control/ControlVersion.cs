using System;
using System.Globalization;
using System.Text.Json;

namespace XenUsbDm.Hosts.Control;

/// <summary>This program's version in the shape that QMP clients read: they expect a member called "qemu".</summary>
public sealed record ControlVersion(int Major, int Minor, int Micro, string Package)
{
    /// <summary>Takes apart "1.2.3" and whatever follows; what is missing is 0.</summary>
    public static ControlVersion Parse(string version)
    {
        ArgumentNullException.ThrowIfNull(version);
        Span<int> numbers = stackalloc int[3];
        int at = 0;
        for (int i = 0; i < numbers.Length; i++)
        {
            int start = at;
            while (at < version.Length && char.IsAsciiDigit(version[at])) at++;
            _ = int.TryParse(version.AsSpan(start, at - start), NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]);
            if (at == version.Length || version[at] != '.') break;
            at++;
        }

        return new ControlVersion(numbers[0], numbers[1], numbers[2], $"xen-usb-dm {version}");
    }

    /// <summary>Writes it as one value.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteStartObject();
        writer.WriteStartObject("qemu");
        writer.WriteNumber("micro", Micro);
        writer.WriteNumber("minor", Minor);
        writer.WriteNumber("major", Major);
        writer.WriteEndObject();
        writer.WriteString("package", Package);
        writer.WriteEndObject();
    }
}
