using System;
using System.Numerics;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends;

/// <summary>
/// What every emulated device has in common: endpoint queues, halts, cancel and reset (this file), the standard requests
/// of USB 2.0 and 3.2 chapter 9 (EmulatedDevice.Chapter9.cs), packets to and from guest memory (EmulatedDevice.Packets.cs).
/// A device says what it is with a <see cref="DescriptorSet"/> and what it does in <see cref="Pump"/>,
/// <see cref="TryControlIn"/> and <see cref="TryControlOut"/>.
/// </summary>
public abstract partial class EmulatedDevice : IUsbDevice
{
    /// <summary>Entries of the endpoint table: 15 in each direction, and the unused places of endpoint 0.</summary>
    private const int EndpointTable = 32;

    private readonly EmulatedEndpoint?[] _endpoints = new EmulatedEndpoint?[EndpointTable];
    private IUsbDeviceHost? _host;
    private bool _suspended;

    /// <summary>
    /// Checks the descriptors and makes a device that is not configured. <paramref name="controlCapacity"/> is the most
    /// bytes (up to 65535) that a control OUT data stage may bring; longer ones stall.
    /// Throws <see cref="ArgumentException"/> on descriptors that contradict themselves.
    /// </summary>
    protected EmulatedDevice(UsbSpeed speed, DescriptorSet descriptors, int controlCapacity = 256)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(controlCapacity, ushort.MaxValue);
        ArgumentOutOfRangeException.ThrowIfLessThan(controlCapacity, StandardReplyCapacity);
        Speed = speed;
        _controlCapacity = controlCapacity;
        _control = new byte[Math.Min(controlCapacity, FirstControlCapacity)];
        LoadDescriptors(descriptors);
        foreach (ConfigurationPlan plan in _plans)
        {
            foreach (EndpointPlan endpoint in plan.Endpoints)
                _endpoints[endpoint.Address.Index] ??= new EmulatedEndpoint(endpoint.Address);
        }
    }

    /// <inheritdoc/>
    public UsbSpeed Speed { get; }

    /// <inheritdoc/>
    public abstract string Description { get; }

    /// <inheritdoc/>
    public bool PacesItself => false;

    /// <inheritdoc/>
    public virtual VirtualTime NextDeadline => VirtualTime.Never;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> ActiveConfigurationDescriptor => _active is null ? default : _active.Block;

    /// <summary>The way back to the pipeline; only between <see cref="Attached"/> and <see cref="Detached"/>.</summary>
    protected IUsbDeviceHost Host => _host ?? throw new InvalidOperationException("The device is not attached.");

    /// <summary>The device is plugged into a pipeline.</summary>
    protected bool IsAttached => _host is not null;

    /// <summary>The port is suspended.</summary>
    protected bool IsSuspended => _suspended;

    /// <summary>bConfigurationValue of the active configuration, 0 when not configured.</summary>
    protected byte ConfigurationValue => _active?.Value ?? 0;

    /// <inheritdoc/>
    public virtual void Advance(VirtualTime now)
    {
    }

    /// <inheritdoc/>
    public void Attached(IUsbDeviceHost host)
    {
        ArgumentNullException.ThrowIfNull(host);
        _host = host;
        ForgetAll();
        Deconfigure();
        _suspended = false;
        OnReset();
    }

    /// <inheritdoc/>
    public void Detached()
    {
        ForgetAll();
        OnDetached();
        _host = null;
    }

    /// <inheritdoc/>
    public void Reset()
    {
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is not null) Flush(endpoint, RequestStatus.Cancelled);
        }

        Deconfigure();
        _suspended = false;
        OnReset();
        Host.ResetDone();
    }

    /// <inheritdoc/>
    public void Submit(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Endpoint.Number == 0)
        {
            if (request.Kind == TransferKind.Control) ControlRequest(request);
            else Host.Complete(request, RequestStatus.TransactionError);
            return;
        }

        // A transfer type that the endpoint does not have gets no valid answer on a bus; interrupt and bulk look alike there.
        EmulatedEndpoint? endpoint = _endpoints[request.Endpoint.Index];
        bool isochronous = request.Kind == TransferKind.Isochronous;
        if (endpoint is not { Exists: true } || request.Kind == TransferKind.Control || isochronous != (endpoint.Kind == TransferKind.Isochronous))
        {
            Host.Complete(request, RequestStatus.TransactionError);
            return;
        }

        // A stream that the device does not have gets no answer either (USB 3.2 §8.12.1.4: the device never starts it).
        int stream = endpoint.StreamOf(request);
        if (stream > endpoint.MaxStreams)
        {
            Host.Complete(request, RequestStatus.TransactionError);
            return;
        }

        endpoint.Enqueue(request);
        Run(endpoint, 1UL << stream);
    }

    /// <inheritdoc/>
    public void Cancel(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        EmulatedEndpoint? endpoint = _endpoints[request.Endpoint.Index];
        if (endpoint is null) return;
        int stream = endpoint.StreamOf(request);
        bool head = ReferenceEquals(endpoint.FirstOf(stream), request);
        if ((head && !OnCancelHead(endpoint, request)) || !endpoint.Remove(request)) return;
        Host.Complete(request, RequestStatus.Cancelled);
        if (head) Run(endpoint, 1UL << stream);
    }

    /// <inheritdoc/>
    public void SetSuspended(bool suspended)
    {
        if (_suspended == suspended) return;
        _suspended = suspended;
        OnSuspended(suspended);
    }

    /// <inheritdoc/>
    public virtual void SetStreams(EndpointAddress endpoint, int streams)
    {
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("description", Description);
        writer.Text("speed", Speed.ToString());
        InspectChapter9(writer);
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is not { Exists: true }) continue;
            using (writer.Node("endpoint", endpoint.Address.Value))
            {
                writer.Text("address", endpoint.Address.ToString());
                writer.Text("kind", endpoint.Kind.ToString());
                writer.Number("max-packet", endpoint.MaxPacket);
                writer.Flag("halted", endpoint.Halted);
                writer.Number("pending", endpoint.Pending);
            }
        }

        InspectDevice(writer);
    }

    /// <summary>
    /// Works on <paramref name="request"/>, the oldest of the endpoint (of its stream), from its ActualLength on. True when it was
    /// given back (<see cref="Complete"/>); false when it must wait, until <see cref="Wake(EmulatedEndpoint)"/> is called. Not called while
    /// the endpoint is halted.
    /// </summary>
    protected abstract bool Pump(EmulatedEndpoint endpoint, UsbRequest request);

    /// <summary>
    /// A class or vendor request, or GET_DESCRIPTOR to an interface, that asks for data. The reply is cut to wLength and to
    /// the guest's buffer. False stalls. <see cref="ControlBuffer"/> may hold the reply.
    /// </summary>
    protected virtual bool TryControlIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        reply = default;
        return false;
    }

    /// <summary>
    /// A class or vendor request that brings data, or has no data stage. <paramref name="data"/> may be shorter than
    /// wLength when the host ended the data stage early. False stalls.
    /// </summary>
    protected virtual bool TryControlOut(SetupPacket setup, ReadOnlySpan<byte> data) => false;

    /// <summary>Bus reset, or a new host: the device's own protocol state returns to its start. Requests are gone already.</summary>
    protected virtual void OnReset()
    {
    }

    /// <summary>The device was unplugged: release what is held. Requests are forgotten already.</summary>
    protected virtual void OnDetached()
    {
    }

    /// <summary>The port entered or left suspend.</summary>
    protected virtual void OnSuspended(bool suspended)
    {
    }

    /// <summary>A configuration was selected (0: none); all its interfaces are at setting 0 and no endpoint is halted.</summary>
    protected virtual void OnConfigured(byte configuration)
    {
    }

    /// <summary>An alternate setting was selected; its endpoints are not halted.</summary>
    protected virtual void OnInterfaceSet(byte interfaceNumber, byte alternateSetting)
    {
    }

    /// <summary>CLEAR_FEATURE(ENDPOINT_HALT) arrived. False: the request succeeds but the endpoint stays halted (bulk-only transport 1.0 §5.3.4).</summary>
    protected virtual bool OnClearHalt(EmulatedEndpoint endpoint) => true;

    /// <summary>
    /// The head request is to be cancelled. True: the base gives it back now. False: the device itself completes it later
    /// (it is being written to by someone else) with an exact ActualLength.
    /// </summary>
    protected virtual bool OnCancelHead(EmulatedEndpoint endpoint, UsbRequest request) => true;

    /// <summary>The device's own part of the inspect tree.</summary>
    protected virtual void InspectDevice(InspectWriter writer)
    {
    }

    /// <summary>The endpoint at <paramref name="address"/> in the selected settings, or null.</summary>
    protected EmulatedEndpoint? EndpointAt(EndpointAddress address) =>
        _endpoints[address.Index] is { Exists: true } endpoint ? endpoint : null;

    /// <summary>Works on the endpoint's queue until it is empty or must wait. Also to be called when what it waited for is there.</summary>
    protected void Wake(EmulatedEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        Run(endpoint, endpoint.WaitingStreams());
    }

    /// <summary>As <see cref="Wake(EmulatedEndpoint)"/> for the requests of one stream (0 on an endpoint without streams).</summary>
    protected void Wake(EmulatedEndpoint endpoint, ushort stream)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        if (stream <= endpoint.MaxStreams) Run(endpoint, 1UL << stream);
    }

    // A nested call only notes what is due. Every inner round gives back one queued request or ends, so the number of requests
    // in flight bounds the loop.
    private void Run(EmulatedEndpoint endpoint, ulong streams)
    {
        endpoint.DueStreams |= streams;
        if (endpoint.Pumping) return;
        endpoint.Pumping = true;
        while (endpoint.DueStreams != 0)
        {
            int stream = BitOperations.TrailingZeroCount(endpoint.DueStreams);
            endpoint.DueStreams &= endpoint.DueStreams - 1;
            while (endpoint.FirstOf(stream) is { } request)
            {
                if (endpoint.Halted) Complete(endpoint, request, RequestStatus.Stall);
                else if (!Pump(endpoint, request)) break;
            }
        }

        endpoint.Pumping = false;
    }

    /// <summary>Gives back a request of the endpoint's queue; ActualLength must be exact.</summary>
    protected void Complete(EmulatedEndpoint endpoint, UsbRequest request, RequestStatus status)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(request);
        if (ReferenceEquals(endpoint.Head, request)) endpoint.Dequeue();
        else if (!endpoint.Remove(request)) return;
        Host.Complete(request, status);
    }

    /// <summary>Halts the endpoint: what waits on it ends with Stall, now and until the halt is cleared (USB 2.0 §9.4.5).</summary>
    protected void Halt(EmulatedEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        endpoint.Halted = true;
        Wake(endpoint);
    }

    /// <summary>Ends the device's own halt of an endpoint without a request from the host (bulk-only mass storage reset and the like).</summary>
    protected void ClearHalt(EmulatedEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        endpoint.Halted = false;
        Wake(endpoint);
    }

    /// <summary>Guest memory.</summary>
    protected IGuestMemory Memory => Host.Memory;

    // Only the requests that wait now: what a completion submits anew is not flushed.
    private void Flush(EmulatedEndpoint endpoint, RequestStatus status)
    {
        for (int left = endpoint.Pending; left > 0; left--)
        {
            if (endpoint.Dequeue() is { } request) Host.Complete(request, status);
        }
    }

    private void ForgetAll()
    {
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            while (endpoint?.Dequeue() is not null)
            {
            }
        }
    }
}
