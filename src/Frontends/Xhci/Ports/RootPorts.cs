#pragma warning disable CA1822, CS9113 // Seam only; the implementation follows.
using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>Root ports.</summary>
internal sealed class RootPorts(XhciOptions options, UsbPipeline pipeline, Interrupters interrupters) : ITimed, IInspectable
{
    /// <summary>Root port (one-based) lost its device or is being reset.</summary>
    public Action<int>? PortDisconnectedOrReset { get; set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline => VirtualTime.Never;

    /// <inheritdoc/>
    public void Advance(VirtualTime now) => throw new InvalidOperationException();

    /// <summary>Forwarded from <see cref="IUsbFrontend.PortChanged"/>.</summary>
    public void PortChanged(PortNumber connector) => throw new InvalidOperationException();

    /// <summary>Forwarded from <see cref="IUsbFrontend.PortResetDone"/>.</summary>
    public void PortResetDone(PortNumber connector) => throw new InvalidOperationException();

    /// <summary>Forwarded from <see cref="IUsbFrontend.RemoteWake"/>.</summary>
    public void RemoteWake(PortNumber connector) => throw new InvalidOperationException();

    /// <summary>The device on a root port (one-based), when it is connected and the port is enabled.</summary>
    public bool TryGetDevice(int rootPort, out PortNumber connector, out UsbSpeed speed) => throw new InvalidOperationException();

    /// <summary>HCRST or LHCRST.</summary>
    public void Reset(bool light) => throw new InvalidOperationException();

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer) => throw new InvalidOperationException();

    /// <summary>Saved state.</summary>
    public RootPortsStateV1 Capture() => throw new InvalidOperationException();

    /// <summary>Restores.</summary>
    public bool TryRestore(RootPortsStateV1 state, out string error) => throw new InvalidOperationException();
}

/// <summary>State.</summary>
public sealed record RootPortsStateV1(int Count);
