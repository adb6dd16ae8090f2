using System;

namespace XenUsbDm.CommandLine;

/// <summary>A parsed <c>--attach PORT=DEVICE</c>.</summary>
/// <param name="Controller">One-based number of the controller, in the order of the <c>--controller</c> options.</param>
/// <param name="Port">One-based connector of that controller.</param>
/// <param name="Device">What to plug in.</param>
internal sealed record AttachSpec(int Controller, int Port, DeviceSpec Device)
{
    /// <summary>Most controllers of one process: the PCI device numbers of one bus.</summary>
    public const int MaxControllers = 32;

    /// <summary>Parses one value; on false <paramref name="error"/> says what to write instead.</summary>
    public static bool TryParse(string text, out AttachSpec? spec, out string error)
    {
        spec = null;
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0)
        {
            error = $"--attach {text}: must be PORT=DEVICE, as in 1=disk:stick.img";
            return false;
        }

        string place = text[..equals];
        int dot = place.IndexOf('.', StringComparison.Ordinal);
        int controller = 1;
        if (!SpecText.TryNumber(place[(dot + 1)..], 1, Core.Usb.PortNumber.Max, out int port) ||
            (dot >= 0 && !SpecText.TryNumber(place[..dot], 1, MaxControllers, out controller)))
        {
            error = $"--attach {text}: PORT must be N or CONTROLLER.N, counted from 1";
            return false;
        }

        if (!DeviceSpec.TryParse(text[(equals + 1)..], out DeviceSpec? device, out error)) return false;
        spec = new AttachSpec(controller, port, device!);
        return true;
    }
}
