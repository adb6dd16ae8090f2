using System;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.Control;

/// <summary>A controller as the control side sees it. It looks at registers that a read does not change, as a debugger would.</summary>
public sealed class ControlledController
{
    // xHCI 1.2 §5.3.1 and §5.4.2: USBSTS is at CAPLENGTH + 4; HCHalted, HSE, HCE.
    private const int UsbStatusOffset = 4;
    private const uint Halted = 1;
    private const uint HostSystemError = 1 << 2;
    private const uint HostControllerError = 1 << 12;

    private readonly XhciMachine _machine;
    private readonly int _statusOffset;

    /// <summary>The controller of <paramref name="machine"/>.</summary>
    public ControlledController(XhciMachine machine)
    {
        ArgumentNullException.ThrowIfNull(machine);
        _machine = machine;
        _statusOffset = (int)machine.Controller.Read(0, 1) + UsbStatusOffset;
    }

    /// <summary>"xhci".</summary>
    public string Kind { get; } = "xhci";

    /// <summary>The road to its devices.</summary>
    public UsbPipeline Pipeline => _machine.Pipeline;

    /// <summary>The guest has started it, and it has not stopped.</summary>
    public bool IsRunning => (Status & Halted) == 0;

    /// <summary>"HCE" or "HSE" when it stopped for an error that only a reset ends, else null.</summary>
    public string? Error
    {
        get
        {
            uint status = Status;
            if ((status & HostControllerError) != 0) return "HCE";
            return (status & HostSystemError) != 0 ? "HSE" : null;
        }
    }

    private uint Status => (uint)_machine.Controller.Read(_statusOffset, 4);

    /// <summary>Notes the instant of what follows.</summary>
    public void Enter(VirtualTime now)
    {
        _machine.PassTime(now);
        _machine.Enter();
    }

    /// <summary>Plugs a device in.</summary>
    public AttachResult Attach(PortNumber port, IOpenedDevice opened)
    {
        ArgumentNullException.ThrowIfNull(opened);
        AttachResult result = _machine.Attach(port, opened.Device);
        if (result == AttachResult.Attached && opened.Completions is { } completions) _machine.AddCompletions(completions);
        return result;
    }

    /// <summary>Unplugs a device; null when there is none. <paramref name="opened"/> is what it was attached with, if it was through here.</summary>
    public IUsbDevice? Detach(PortNumber port, IOpenedDevice? opened)
    {
        IUsbDevice? device = _machine.Detach(port);
        if (opened?.Completions is { } completions) _machine.RemoveCompletions(completions);
        return device;
    }
}
