using System;
using System.Numerics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Ports;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Pipeline;

/// <summary>
/// The one road between a frontend and the devices on its ports. It answers what the bus would answer (addresses, endpoints
/// that do not exist), paces periodic traffic, and hands back every request exactly once. No member throws for a value
/// that comes from a guest or a device.
/// </summary>
public sealed class UsbPipeline : IInspectable, ITimed
{
    private readonly PortRecord[] _ports;
    private DoneList _done;
    private IUsbFrontend? _frontend;
    private long _strayRequests;

    // One bit per port (PortNumber.Index).
    private uint _attached;
    private uint _events;
    private uint _delivering;

    /// <summary>A pipeline with <paramref name="ports"/> connectors (1-31) over <paramref name="memory"/>.</summary>
    public UsbPipeline(int ports, IGuestMemory memory, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentOutOfRangeException.ThrowIfLessThan(ports, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ports, PortNumber.Max);
        Memory = memory;
        Log = logger ?? NullLogger.Instance;
        _ports = new PortRecord[ports];
        for (int i = 0; i < ports; i++) _ports[i] = new PortRecord(this, new PortNumber(i + 1));
    }

    /// <summary>Number of connectors.</summary>
    public int PortCount => _ports.Length;

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            if (_done.Head is not null || _events != 0) return VirtualTime.Zero;
            VirtualTime next = VirtualTime.Never;
            for (uint mask = _attached; mask != 0; mask &= mask - 1)
                next = VirtualTime.Min(next, _ports[BitOperations.TrailingZeroCount(mask)].NextDeadline);
            return next;
        }
    }

    /// <summary>The latest instant handed in.</summary>
    public VirtualTime Now { get; private set; }

    /// <summary>The guest memory that requests' segments name.</summary>
    internal IGuestMemory Memory { get; }

    /// <summary>Where messages go.</summary>
    internal ILogger Log { get; }

    /// <summary>New requests wait instead of going to their device.</summary>
    internal bool HoldsBack { get; private set; }

    /// <summary>Names the frontend, once, before the first request. Devices that are attached already it finds by <see cref="AttachedSpeed"/>.</summary>
    public void Connect(IUsbFrontend frontend)
    {
        ArgumentNullException.ThrowIfNull(frontend);
        if (_frontend is not null) throw new InvalidOperationException("The pipeline has a frontend.");
        _frontend = frontend;
    }

    /// <summary>
    /// The instant of the host's current entry; hosts and frontends note it before they call other members, so that
    /// devices see it and requests that are due go at once. <see cref="Advance"/> does it too. Never runs backwards.
    /// </summary>
    public void NoteTime(VirtualTime now)
    {
        if (now > Now) Now = now;
    }

    /// <summary>Speed of the attached device; null when there is none or no such port.</summary>
    public UsbSpeed? AttachedSpeed(PortNumber port) => Find(port)?.Session?.Speed;

    /// <summary>The device on <paramref name="port"/>; null when there is none or no such port.</summary>
    public IUsbDevice? AttachedDevice(PortNumber port) => Find(port)?.Session?.Device;

    /// <summary>Address that the last SET_ADDRESS gave the device on <paramref name="port"/>; 0 after a reset or without device.</summary>
    public DeviceAddress AddressOf(PortNumber port) => Find(port)?.Address ?? default;

    /// <summary>What <paramref name="port"/> accepts from now on; a device already there stays. Ignored when there is no such port.</summary>
    public void SetRule(PortNumber port, PortRule rule)
    {
        if (Find(port) is { } record) record.Rule = rule;
    }

    /// <summary>Plugs a device in and tells the frontend.</summary>
    public AttachResult Attach(PortNumber port, IUsbDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        UsbSpeed speed = device.Speed;
        AttachResult result = MayAttach(port, device, speed);
        if (result != AttachResult.Attached)
        {
            PipelineLog.NotAttached(Log, port, device.Description, result);
            return result;
        }

        _attached |= 1u << port.Index;
        _ports[port.Index].Attach(device, speed);
        PipelineLog.Attached(Log, port, device.Description, speed);
        _frontend?.PortChanged(port);
        return result;
    }

    /// <summary>
    /// Unplugs and tells the frontend. Requests end with NoDevice and what was moved; their completions are delivered by the
    /// next <see cref="Advance"/>. Null when nothing was attached.
    /// </summary>
    public IUsbDevice? Detach(PortNumber port)
    {
        if (Find(port) is not { Session: { } session } record) return null;
        int outstanding = record.Outstanding;
        _attached &= ~(1u << port.Index);
        IUsbDevice device = record.Detach(session);
        PipelineLog.Detached(Log, port, device.Description, outstanding);
        _frontend?.PortChanged(port);
        return device;
    }

    /// <summary>
    /// Bus reset of the device on <paramref name="port"/>: its requests end as Cancelled, its address is 0 and it is not
    /// configured. Ends with one <see cref="IUsbFrontend.PortResetDone"/> after the completions, also when nothing is
    /// attached. A reset that is under way is joined, not started again. Requests submitted meanwhile end with TransactionError.
    /// </summary>
    public void ResetPort(PortNumber port) => Find(port)?.Reset();

    /// <summary>
    /// Takes a request; its completion is delivered by a later <see cref="Advance"/>. One that cannot reach a device ends with
    /// TransactionError (address, endpoint, kind, stream, length, too many outstanding) or NoDevice. A request with
    /// <see cref="UsbRequest.ActualLength"/> above 0 goes on from there.
    /// </summary>
    public void Submit(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.State != RequestState.Idle)
        {
            _strayRequests++; // It is here already; its one completion will come.
            return;
        }

        if (Find(request.Port) is { } port)
        {
            port.Submit(request);
            return;
        }

        _strayRequests++;
        request.Queue = null;
        request.Status = RequestStatus.NoDevice;
        QueueDone(request);
    }

    /// <summary>
    /// Asks for a submitted request back; it completes exactly once, as Cancelled with what was moved or with the result that
    /// came first. Nothing happens when it has ended or was never submitted.
    /// </summary>
    public void Unlink(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Queue is { } queue && ReferenceEquals(Find(queue.Port.Number), queue.Port)) queue.Port.Unlink(request, queue);
    }

    /// <summary>Streams configured on a bulk endpoint: the highest stream id, 0 removes them. Told to the device once its configuration has the endpoint.</summary>
    public void SetStreams(PortNumber port, EndpointAddress endpoint, int streams) => Find(port)?.SetStreams(endpoint, streams);

    /// <summary>The port entered or left suspend. Requests wait while it is suspended (USB 2.0 §7.1.7.6: no traffic reaches the device).</summary>
    public void SetSuspended(PortNumber port, bool suspended) => Find(port)?.SetSuspended(suspended);

    /// <summary>
    /// Lets devices work, hands over what has come due, and delivers every completion present then. What the frontend's
    /// answers bring about is delivered by the next call, which is due at once; so one call is bounded.
    /// </summary>
    public void Advance(VirtualTime now)
    {
        NoteTime(now);
        for (uint mask = _attached; mask != 0; mask &= mask - 1)
            _ports[BitOperations.TrailingZeroCount(mask)].Advance(Now);
        Deliver();
    }

    /// <summary>
    /// Delivers every completion while it holds new requests back, so that <see cref="Capture"/> may be called. False when
    /// the frontend does not come to rest within <see cref="PipelineLimits.SettleRounds"/>.
    /// </summary>
    public bool TrySettle(VirtualTime now)
    {
        NoteTime(now);
        HoldsBack = true;
        for (int round = 0; round < PipelineLimits.SettleRounds && _done.Head is not null; round++) Deliver();
        HoldsBack = false;
        return _done.Head is null;
    }

    /// <summary>
    /// The saved state. Requests that are outstanding are not in it: after restore the frontend submits them again, in order.
    /// Throws when a completion is undelivered; call <see cref="TrySettle"/> first.
    /// </summary>
    public PipelineStateV1 Capture()
    {
        if (_done.Head is not null) throw new InvalidOperationException("A completion is undelivered: settle before capture.");
        return new PipelineStateV1(Now.Nanoseconds, Array.ConvertAll(_ports, port => port.Capture()));
    }

    /// <summary>
    /// Takes over a saved state. Attach and restore the same devices first, then restore the pipeline, then let the frontend
    /// submit its requests again. On false <paramref name="error"/> says why and the pipeline is to be discarded.
    /// </summary>
    public bool TryRestore(PipelineStateV1 state, out string error)
    {
        if (state?.Ports is null || state.Ports.Length != _ports.Length)
        {
            error = "The saved pipeline has another number of ports.";
            return false;
        }

        NoteTime(new VirtualTime(state.Now));
        for (int i = 0; i < _ports.Length; i++)
        {
            error = _ports[i].FindFlaw(state.Ports[i]) ?? (_ports[i].TryRestore(state.Ports[i]) ? "" : "its device has another configuration");
            if (error.Length == 0) continue;
            error = $"Port {_ports[i].Number}: {error}.";
            return false;
        }

        error = "";
        return true;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("ports", _ports.Length);
        writer.Number("stray-requests", _strayRequests);
        foreach (PortRecord port in _ports)
        {
            using (writer.Node("port", port.Number.Value)) port.Inspect(writer);
        }
    }

    /// <summary>Queues an ended request for delivery.</summary>
    internal void QueueDone(UsbRequest request)
    {
        request.State = RequestState.Done;
        _done.Append(request);
    }

    /// <summary>A port has something to tell the frontend.</summary>
    internal void NoteEvent(PortNumber port) => _events |= 1u << port.Index;

    /// <summary>A port has nothing to tell any more: a new reset began before the frontend heard of the last.</summary>
    internal void ForgetEvents(PortNumber port)
    {
        uint keep = ~(1u << port.Index);
        _events &= keep;
        _delivering &= keep;
    }

    private PortRecord? Find(PortNumber port) =>
        port.Value >= 1 && port.Value <= _ports.Length ? _ports[port.Index] : null;

    private AttachResult MayAttach(PortNumber port, IUsbDevice device, UsbSpeed speed)
    {
        if (Find(port) is not { } record) return AttachResult.NoSuchPort;
        foreach (PortRecord other in _ports)
        {
            if (ReferenceEquals(other.Session?.Device, device)) return AttachResult.AlreadyAttached;
        }

        if (record.Session is not null) return AttachResult.PortTaken;
        return record.Rule.Allows(speed) ? AttachResult.Attached : AttachResult.SpeedNotAllowed;
    }

    // Port events that are pending at entry come after the completions that came before them; later ones wait for the next call.
    private void Deliver()
    {
        _delivering = _events;
        _events = 0;
        UsbRequest? request = _done.TakeAll();
        while (request is not null)
        {
            UsbRequest? next = request.DoneNext;
            request.DoneNext = null;
            request.Queue = null;
            request.State = RequestState.Idle;
            _frontend?.Completed(request);
            request = next;
        }

        while (_delivering != 0)
        {
            PortRecord port = _ports[BitOperations.TrailingZeroCount(_delivering)];
            _delivering &= _delivering - 1;
            if (port.TakeResetDone()) _frontend?.PortResetDone(port.Number);
            if (port.TakeWake()) _frontend?.RemoteWake(port.Number);
        }
    }
}
