using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.CommandLine;

/// <summary>
/// The small grammar that the option values share (DESIGN, command line): parts separated by commas, of the form
/// <c>value</c>, <c>flag</c> or <c>key=value</c>. Two commas in a row stand for a comma within a part.
/// </summary>
/// <remarks>This folder turns words into records: nothing here opens, reads or starts anything.</remarks>
internal static class SpecText
{
    /// <summary>Splits at single commas and turns doubled ones into one.</summary>
    public static List<string> Split(string text)
    {
        var parts = new List<string>();
        var part = new StringBuilder();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != ',')
            {
                part.Append(text[i]);
            }
            else if (i + 1 < text.Length && text[i + 1] == ',')
            {
                part.Append(',');
                i++;
            }
            else
            {
                parts.Add(part.ToString());
                part.Clear();
            }
        }

        parts.Add(part.ToString());
        return parts;
    }

    /// <summary>Splits "key=value" at its first equals sign; the value is empty when there is none.</summary>
    public static (string Key, string Value) KeyValue(string part)
    {
        int at = part.IndexOf('=', StringComparison.Ordinal);
        return at < 0 ? (part, "") : (part[..at], part[(at + 1)..]);
    }

    /// <summary>A decimal number, or a hexadecimal one after "0x"; no sign, no blanks.</summary>
    public static bool TryNumber(string text, int least, int most, out int value)
    {
        bool ok = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? int.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
        return ok && value >= least && value <= most;
    }

    /// <summary>A speed by name, if it is one of <paramref name="allowed"/>.</summary>
    public static bool TrySpeed(string text, ReadOnlySpan<UsbSpeed> allowed, out UsbSpeed speed)
    {
        foreach (UsbSpeed candidate in allowed)
        {
            if (text == Name(candidate))
            {
                speed = candidate;
                return true;
            }
        }

        speed = default;
        return false;
    }

    /// <summary>A speed as it is written on the command line.</summary>
    public static string Name(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Low => "low",
        UsbSpeed.Full => "full",
        UsbSpeed.High => "high",
        _ => "super",
    };

    /// <summary>The names of some speeds, for a message: "full, high or super".</summary>
    public static string Names(ReadOnlySpan<UsbSpeed> speeds)
    {
        var text = new StringBuilder();
        for (int i = 0; i < speeds.Length; i++)
            text.Append(i == 0 ? "" : i == speeds.Length - 1 ? " or " : ", ").Append(Name(speeds[i]));
        return text.ToString();
    }
}
