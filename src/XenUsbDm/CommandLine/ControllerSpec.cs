using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Pipeline;

namespace XenUsbDm.CommandLine;

/// <summary>Host controller that the guest sees.</summary>
internal enum ControllerKind
{
    /// <summary>USB 2 and USB 3 (xHCI 1.2).</summary>
    Xhci,

    /// <summary>USB 2 only (EHCI 1.0).</summary>
    Ehci,
}

/// <summary>A parsed <c>--controller</c> value.</summary>
/// <param name="Kind">xhci or ehci.</param>
/// <param name="Usb2Ports">USB 2 ports, 1-15 (EHCI 1.0 §2.2.3: N_PORTS is 1-15).</param>
/// <param name="Usb3Ports">USB 3 ports, 0-15; 0 for EHCI.</param>
/// <param name="Slot">PCI device number, 0-31, or null for the first free one.</param>
internal sealed record ControllerSpec(ControllerKind Kind, int Usb2Ports, int Usb3Ports, int? Slot)
{
    /// <summary>Ports of each bus when the option does not say (as many as QEMU's default).</summary>
    public const int DefaultPorts = 4;

    /// <summary>The controller of a process that names none.</summary>
    public static ControllerSpec Default { get; } = new(ControllerKind.Xhci, DefaultPorts, DefaultPorts, null);

    /// <summary>Connectors to attach devices to.</summary>
    public int Connectors => Math.Max(Usb2Ports, Usb3Ports);

    /// <summary>Fastest device that its ports take; a faster one is refused when it is attached. Without USB 3 ports nothing faster than high speed is.</summary>
    public UsbSpeed MaxSpeed { get; init; } = UsbSpeed.Super;

    /// <summary>What each of its ports lets in.</summary>
    public PortRule PortRule => new(MaxSpeed switch
    {
        UsbSpeed.Full => AllowedSpeeds.Low | AllowedSpeeds.Full,
        UsbSpeed.High => AllowedSpeeds.Usb2,
        _ => AllowedSpeeds.Any,
    });

    /// <summary>Sets what each port of the controller's <paramref name="pipeline"/> lets in.</summary>
    public void Restrict(UsbPipeline pipeline)
    {
        for (int port = 1; port <= Connectors; port++) pipeline.SetRule(new PortNumber(port), PortRule);
    }

    private static ReadOnlySpan<UsbSpeed> MaxSpeeds => [UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    /// <summary>Parses <c>xhci|ehci[,usb2-ports=N][,usb3-ports=N][,max-speed=full|high|super][,slot=N]</c>; on false <paramref name="error"/> says what to write instead.</summary>
    public static bool TryParse(string text, out ControllerSpec spec, out string error)
    {
        spec = Default;
        var parts = SpecText.Split(text);
        ControllerKind kind;
        switch (parts[0])
        {
            case "xhci": kind = ControllerKind.Xhci; break;
            case "ehci": kind = ControllerKind.Ehci; break;
            default:
                error = $"--controller {text}: the kind must be xhci or ehci";
                return false;
        }

        int usb2 = DefaultPorts;
        int? usb3 = null;
        UsbSpeed maxSpeed = UsbSpeed.Super;
        int? slot = null;
        for (int i = 1; i < parts.Count; i++)
        {
            (string key, string value) = SpecText.KeyValue(parts[i]);
            switch (key)
            {
                case "usb2-ports":
                    if (!SpecText.TryNumber(value, 1, XhciOptions.MaxPortsPerBus, out usb2))
                    {
                        error = $"--controller {text}: usb2-ports must be 1 to {XhciOptions.MaxPortsPerBus}";
                        return false;
                    }

                    break;
                case "usb3-ports" when kind == ControllerKind.Xhci:
                    if (!SpecText.TryNumber(value, 0, XhciOptions.MaxPortsPerBus, out int super))
                    {
                        error = $"--controller {text}: usb3-ports must be 0 to {XhciOptions.MaxPortsPerBus}";
                        return false;
                    }

                    usb3 = super;
                    break;
                case "usb3-ports":
                    error = $"--controller {text}: an EHCI controller has no USB 3 ports; use xhci or leave usb3-ports out";
                    return false;
                case "max-speed":
                    if (!SpecText.TrySpeed(value, MaxSpeeds, out maxSpeed))
                    {
                        error = $"--controller {text}: max-speed must be {SpecText.Names(MaxSpeeds)}";
                        return false;
                    }

                    break;
                case "slot":
                    if (!SpecText.TryNumber(value, 0, 31, out int number))
                    {
                        error = $"--controller {text}: slot must be a PCI device number, 0 to 31 (0x1f)";
                        return false;
                    }

                    slot = number;
                    break;
                default:
                    error = $"--controller {text}: unknown '{parts[i]}'; known are usb2-ports=N, usb3-ports=N, max-speed=... and slot=N";
                    return false;
            }
        }

        bool carriesUsb3 = kind == ControllerKind.Xhci && maxSpeed == UsbSpeed.Super;
        if (!carriesUsb3 && usb3 > 0)
        {
            error = $"--controller {text}: nothing could be attached to USB 3 ports with that max-speed; write usb3-ports=0 or leave it out";
            return false;
        }

        spec = new ControllerSpec(kind, usb2, usb3 ?? (carriesUsb3 ? DefaultPorts : 0), slot) { MaxSpeed = maxSpeed };
        error = "";
        return true;
    }
}
