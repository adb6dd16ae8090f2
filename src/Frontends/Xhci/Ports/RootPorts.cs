using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// The root ports of a controller (xHCI 1.2 §4.19). Each connector of the pipeline is a USB 2 port and a USB 3 port; a
/// device appears on the one that its speed belongs to. USB 2 ports wait for a reset before they are enabled, USB 3
/// ports train and are enabled by themselves. Links have no power management of their own: U1, U2 and L1 are never entered.
/// </summary>
internal sealed partial class RootPorts : ITimed, IInspectable
{
    /// <summary>Length of a USB 2 reset: TDRST, 10 ms (USB 2.0 §7.1.7.5). A root port drives 50 ms; nothing here needs them.</summary>
    public const ulong Usb2ResetNanoseconds = 10_000_000;

    /// <summary>Length of a USB 3 hot reset; the specification gives a time-out of 12 ms only (USB 3.2 §7.5.12).</summary>
    public const ulong HotResetNanoseconds = 1_000_000;

    /// <summary>Length of a USB 3 warm reset; tReset is 80 ms to 120 ms on a wire (USB 3.2 table 6-30), which nothing here needs.</summary>
    public const ulong WarmResetNanoseconds = 10_000_000;

    private readonly UsbPipeline _pipeline;
    private readonly Interrupters _interrupters;
    private readonly RootPort[] _ports;

    /// <summary>Makes the ports; devices that are attached already show at once.</summary>
    public RootPorts(XhciOptions options, UsbPipeline pipeline, Interrupters interrupters)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(pipeline);
        ArgumentNullException.ThrowIfNull(interrupters);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Connectors, pipeline.PortCount);
        _pipeline = pipeline;
        _interrupters = interrupters;
        _ports = new RootPort[options.RootPorts];
        for (int i = 0; i < _ports.Length; i++)
        {
            bool usb3 = i >= options.Usb2Ports;
            var connector = new PortNumber(usb3 ? i - options.Usb2Ports + 1 : i + 1);
            _ports[i] = new RootPort(i + 1, usb3, connector);
        }

        foreach (RootPort port in _ports) ConnectIfAttached(port);
    }

    /// <summary>The instant of the current entry; set by <see cref="XhciRegisters.Now"/>.</summary>
    public VirtualTime Now { get; set; }

    /// <summary>CONFIG.U3E: entering U3 sets PLC (§5.4.7); set by <see cref="XhciRegisters"/>.</summary>
    public bool ReportU3Entry { get; set; }

    /// <summary>USBSTS.PCD: a change bit of some port went from 0 to 1 (§5.4.2).</summary>
    public bool ChangeDetected { get; set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            VirtualTime next = VirtualTime.Never;
            foreach (RootPort port in _ports) next = VirtualTime.Min(next, port.Deadline);
            return next;
        }
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        Now = now;
        foreach (RootPort port in _ports)
        {
            if (port.Activity == PortActivity.None) continue;
            if (port.NeedsPipeline && !port.PipelineResetting) RequestReset(port);
            EndActivityIfDue(port);
        }
    }

    /// <summary>Forwarded from <see cref="IUsbFrontend.PortChanged"/>.</summary>
    public void PortChanged(PortNumber connector)
    {
        foreach (RootPort port in _ports)
        {
            if (port.Connector != connector) continue;
            port.PipelineResetting = false;
            if (port.Status.Has(PortStatus.Connected)) Disconnect(port);
            else if (port.Activity == PortActivity.Training) port.StopActivity();
            else port.NeedsPipeline = false;
            ConnectIfAttached(port);
        }
    }

    /// <summary>Forwarded from <see cref="IUsbFrontend.PortResetDone"/>.</summary>
    public void PortResetDone(PortNumber connector)
    {
        foreach (RootPort port in _ports)
        {
            if (port.Connector != connector || !port.PipelineResetting) continue;
            port.PipelineResetting = false;
            port.NeedsPipeline = false;
            EndActivityIfDue(port);
        }
    }

    /// <summary>Forwarded from <see cref="IUsbFrontend.RemoteWake"/>: a suspended port goes to Resume until software writes U0 (§4.15.2).</summary>
    public void RemoteWake(PortNumber connector)
    {
        foreach (RootPort port in _ports)
        {
            if (port.Connector != connector || !IsEnabled(port) || port.Status.Link != LinkState.U3) continue;
            port.Status = port.Status.WithLink(LinkState.Resume);
            RaiseChange(port, PortStatus.LinkChange);
            if (!_interrupters.Running) _interrupters.Bus.SignalPowerManagementEvent();
        }
    }

    /// <summary>The device on a root port (one-based, as in the Slot Context), when it is connected and the port is enabled.</summary>
    public bool TryGetDevice(int rootPort, out PortNumber connector, out UsbSpeed speed)
    {
        connector = default;
        speed = default;
        if (rootPort < 1 || rootPort > _ports.Length || !IsEnabled(_ports[rootPort - 1])) return false;
        connector = _ports[rootPort - 1].Connector;
        speed = _ports[rootPort - 1].Speed;
        return true;
    }

    /// <summary>
    /// HCRST (§5.4.1): USB 2 devices connect anew and wait for a reset, USB 3 devices get a hot reset and connect after it.
    /// LHCRST (<paramref name="light"/>) leaves the ports alone.
    /// </summary>
    public void Reset(bool light)
    {
        if (light) return;
        ChangeDetected = false;
        ReportU3Entry = false;
        foreach (RootPort port in _ports)
        {
            Resume(port);
            port.Reset();
            ConnectOrTrain(port);
        }
    }

    /// <summary>The controller was started: ports whose change bits were set before say so now (§4.19.3).</summary>
    public void Started()
    {
        foreach (RootPort port in _ports) port.EventPending = port.Status.Has(PortStatus.ChangeMask);
        PostPending();
    }

    /// <summary>Posts the events that wait for room in the event ring.</summary>
    public void PostPending()
    {
        foreach (RootPort port in _ports)
        {
            if (port.EventPending) port.EventPending = !_interrupters.TryPost(0, Trb.PortStatusChangeEvent(port.Id));
        }
    }

    /// <summary>Value of a word of the register set of port <paramref name="index"/> (zero-based).</summary>
    public uint ReadRegister(int index, RegisterEffect register) => register switch
    {
        RegisterEffect.PortStatus => _ports[index].Status.Raw,
        RegisterEffect.PortPower => _ports[index].PowerManagement,
        RegisterEffect.PortLink => _ports[index].LinkInfo,
        _ => 0,
    };

    /// <summary>Takes a write to a word of a port's register set, masks already applied.</summary>
    /// <param name="index">Zero-based port.</param>
    /// <param name="register">Which register.</param>
    /// <param name="value">Current value with the written RW bits put in.</param>
    /// <param name="cleared">RW1C bits written as 1.</param>
    /// <param name="requested">RW1S and strobe bits written as 1.</param>
    public void WriteRegister(int index, RegisterEffect register, uint value, uint cleared, uint requested)
    {
        RootPort port = _ports[index];
        if (register == RegisterEffect.PortPower) port.PowerManagement = value;
        else if (register == RegisterEffect.PortLink) port.LinkInfo = value;
        else if (register == RegisterEffect.PortStatus) WriteStatus(port, new PortStatus(value), cleared, requested);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Flag("pcd", ChangeDetected);
        foreach (RootPort port in _ports)
        {
            using (writer.Node("port", port.Id)) port.Inspect(writer);
        }
    }

    /// <summary>Saves the ports.</summary>
    public RootPortsStateV1 Capture() => new(ChangeDetected, ReportU3Entry, Array.ConvertAll(_ports, p => p.Capture()));

    /// <summary>Takes saved ports back without telling anybody. After false the controller has to be reset.</summary>
    public bool TryRestore(RootPortsStateV1 state, out string error)
    {
        if (state?.Ports is null || state.Ports.Length != _ports.Length)
        {
            error = "the saved state has another number of ports";
            return false;
        }

        for (int i = 0; i < _ports.Length; i++)
        {
            if (state.Ports[i] is { } saved && _ports[i].TryRestore(saved)) continue;
            error = $"port {i + 1}: not a state that a port can be in";
            return false;
        }

        ChangeDetected = state.ChangeDetected;
        ReportU3Entry = state.ReportU3Entry;
        error = "";
        return true;
    }

    private static bool IsEnabled(RootPort port) => port.Status.Has(PortStatus.Enabled);

    private bool IsAttached(RootPort port, out UsbSpeed speed)
    {
        UsbSpeed? attached = _pipeline.AttachedSpeed(port.Connector);
        speed = attached ?? UsbSpeed.Low;
        return attached is not null && (speed == UsbSpeed.Super) == port.IsUsb3;
    }
}

/// <summary>Saved <see cref="RootPorts"/>.</summary>
public sealed record RootPortsStateV1(bool ChangeDetected, bool ReportU3Entry, RootPortStateV1[] Ports);
