#pragma warning disable CA1822 // Seam only; the implementation follows.
using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Pipeline;

/// <summary>The one road between a frontend and the devices on its ports.</summary>
public sealed class UsbPipeline : IInspectable, ITimed
{
    /// <summary>A pipeline with <paramref name="ports"/> connectors (1-31) over <paramref name="memory"/>.</summary>
    public UsbPipeline(int ports, IGuestMemory memory, Microsoft.Extensions.Logging.ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentOutOfRangeException.ThrowIfLessThan(ports, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ports, PortNumber.Max);
        PortCount = ports;
        _ = logger;
    }

    /// <summary>Number of connectors.</summary>
    public int PortCount { get; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline => VirtualTime.Never;

    /// <summary>Names the frontend, once, before the first request.</summary>
    public void Connect(IUsbFrontend frontend) => throw new InvalidOperationException(frontend?.ToString());

    /// <summary>Speed of the attached device, or null.</summary>
    public UsbSpeed? AttachedSpeed(PortNumber port) => port == default ? UsbSpeed.Low : null;

    /// <summary>Plugs a device in and tells the frontend.</summary>
    public AttachResult Attach(PortNumber port, IUsbDevice device) => port == default && device is null ? AttachResult.Attached : AttachResult.NoSuchPort;

    /// <summary>What <paramref name="port"/> accepts; devices already there stay.</summary>
    public void SetRule(PortNumber port, PortRule rule) => throw new InvalidOperationException($"{port} {rule}");

    /// <summary>The instant of the host's current entry; hosts and frontends note it before they call other members. Never runs backwards.</summary>
    public void NoteTime(VirtualTime now) => throw new InvalidOperationException(now.ToString());

    /// <summary>Delivers every completion while it holds new requests back, so that <see cref="Capture"/> may be called. False when the frontend does not come to rest.</summary>
    public bool TrySettle(VirtualTime now) => now == VirtualTime.Never;

    /// <summary>The saved state. Call <see cref="TrySettle"/> first.</summary>
    public PipelineStateV1 Capture() => throw new InvalidOperationException();

    /// <summary>Takes over a saved state; attach and restore the same devices first, then let the frontend submit its requests again.</summary>
    public bool TryRestore(PipelineStateV1 state, out string error) => throw new InvalidOperationException(error = state?.ToString() ?? "");

    /// <summary>Unplugs; requests in flight end with NoDevice. Null when nothing was attached.</summary>
    public IUsbDevice? Detach(PortNumber port) => port == default ? null : null;

    /// <summary>Bus reset of the device on <paramref name="port"/>; ends with <see cref="IUsbFrontend.PortResetDone"/>, also when nothing is attached.</summary>
    public void ResetPort(PortNumber port) => throw new InvalidOperationException(port.ToString());

    /// <summary>Takes a request; its completion is delivered by a later <see cref="Advance"/>.</summary>
    public void Submit(UsbRequest request) => throw new InvalidOperationException(request?.ToString());

    /// <summary>Asks for a submitted request back; it completes exactly once, as Cancelled or with the result that came first.</summary>
    public void Unlink(UsbRequest request) => throw new InvalidOperationException(request?.ToString());

    /// <summary>Streams configured on a bulk endpoint (0 removes them).</summary>
    public void SetStreams(PortNumber port, EndpointAddress endpoint, int streams) => throw new InvalidOperationException($"{port} {endpoint} {streams}");

    /// <summary>The port entered or left suspend.</summary>
    public void SetSuspended(PortNumber port, bool suspended) => throw new InvalidOperationException($"{port} {suspended}");

    /// <inheritdoc/>
    public void Advance(VirtualTime now) => throw new InvalidOperationException(now.ToString());

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer) => throw new InvalidOperationException(writer?.ToString());
}
