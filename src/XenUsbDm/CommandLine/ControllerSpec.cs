using XenUsbDm.Frontends.Xhci;

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
    public int Connectors => System.Math.Max(Usb2Ports, Usb3Ports);

    /// <summary>Parses <c>xhci|ehci[,usb2-ports=N][,usb3-ports=N][,slot=N]</c>; on false <paramref name="error"/> says what to write instead.</summary>
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
        int usb3 = kind == ControllerKind.Xhci ? DefaultPorts : 0;
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
                    if (!SpecText.TryNumber(value, 0, XhciOptions.MaxPortsPerBus, out usb3))
                    {
                        error = $"--controller {text}: usb3-ports must be 0 to {XhciOptions.MaxPortsPerBus}";
                        return false;
                    }

                    break;
                case "usb3-ports":
                    error = $"--controller {text}: an EHCI controller has no USB 3 ports; use xhci or leave usb3-ports out";
                    return false;
                case "slot":
                    if (!SpecText.TryNumber(value, 0, 31, out int number))
                    {
                        error = $"--controller {text}: slot must be a PCI device number, 0 to 31 (0x1f)";
                        return false;
                    }

                    slot = number;
                    break;
                default:
                    error = $"--controller {text}: unknown '{parts[i]}'; known are usb2-ports=N, usb3-ports=N and slot=N";
                    return false;
            }
        }

        spec = new ControllerSpec(kind, usb2, usb3, slot);
        error = "";
        return true;
    }
}
