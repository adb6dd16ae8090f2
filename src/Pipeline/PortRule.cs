using System;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Pipeline;

/// <summary>Speeds that one port accepts, as a set.</summary>
[Flags]
public enum AllowedSpeeds
{
    /// <summary>Nothing may be attached.</summary>
    None = 0,

    /// <summary>1.5 Mb/s.</summary>
    Low = 1,

    /// <summary>12 Mb/s.</summary>
    Full = 2,

    /// <summary>480 Mb/s.</summary>
    High = 4,

    /// <summary>5 Gb/s.</summary>
    Super = 8,

    /// <summary>What a connector with USB 2 pins alone carries.</summary>
    Usb2 = Low | Full | High,

    /// <summary>Every speed.</summary>
    Any = Usb2 | Super,
}

/// <summary>What the frontend or the operator lets onto one port; usbif ports carry no SuperSpeed, for example.</summary>
/// <param name="Speeds">Speeds that <see cref="UsbPipeline.Attach"/> accepts.</param>
public readonly record struct PortRule(AllowedSpeeds Speeds)
{
    /// <summary>The rule of a port for which none was set.</summary>
    public static PortRule Open => new(AllowedSpeeds.Any);

    /// <summary>True when a device of <paramref name="speed"/> may be attached; false for values outside the enumeration.</summary>
    public bool Allows(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Low => Speeds.HasFlag(AllowedSpeeds.Low),
        UsbSpeed.Full => Speeds.HasFlag(AllowedSpeeds.Full),
        UsbSpeed.High => Speeds.HasFlag(AllowedSpeeds.High),
        UsbSpeed.Super => Speeds.HasFlag(AllowedSpeeds.Super),
        _ => false,
    };
}
