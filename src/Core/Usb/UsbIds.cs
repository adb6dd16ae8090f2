namespace XenUsbDm.Core.Usb;

/// <summary>A one-based port of a pipeline (a connector: its USB 2 and USB 3 pins together), 1-31.</summary>
public readonly record struct PortNumber(int Value)
{
    /// <summary>Most ports that one frontend has (usbif's 5-bit field; xHCI: 15 of each bus).</summary>
    public const int Max = 31;

    /// <summary>Zero-based table index.</summary>
    public int Index => Value - 1;

    /// <summary>Accepts 1 to <paramref name="count"/>.</summary>
    public static bool TryCreate(int value, int count, out PortNumber port)
    {
        bool ok = value >= 1 && value <= count && value <= Max;
        port = ok ? new PortNumber(value) : default;
        return ok;
    }

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>A USB device address, 0-127; 0 is the default address (USB 2.0 §9.1.1.4).</summary>
public readonly record struct DeviceAddress(byte Value)
{
    /// <summary>Highest address.</summary>
    public const byte Max = 127;

    /// <inheritdoc/>
    public override string ToString() => Value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
