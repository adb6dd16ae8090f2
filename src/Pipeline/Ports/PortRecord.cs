using System;
using System.Numerics;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>
/// One connector: the device on it, the address it has been given, its active configuration and the queues of its
/// endpoints. This file: the port's state and its time; PortRecord.Requests.cs: the way of a request;
/// PortRecord.State.cs: save, restore, inspect.
/// </summary>
internal sealed partial class PortRecord(UsbPipeline pipeline, PortNumber number) : IInspectable
{
    private const int QueueCount = 32;

    private readonly LogBudget _refusalBudget = new();
    private readonly LogBudget _faultBudget = new();
    private readonly TransferCounters _counters = new();
    private readonly EndpointQueue?[] _queues = new EndpointQueue?[QueueCount];
    private ConfigurationTable _table = new();
    private uint _waitingMask; // Queues with waiting requests.
    private uint _streamsTold; // Endpoints of which the device knows the streams.
    private long _deviceFaults;
    private bool _configured;
    private bool _suspended;
    private bool _resetting;
    private bool _resetDone; // Over, and the frontend has not been told.
    private bool _wake; // Signalled, and the frontend has not been told.

    /// <summary>The port's number.</summary>
    public PortNumber Number { get; } = number;

    /// <summary>The device's stay; null while the port is empty.</summary>
    public DeviceSession? Session { get; private set; }

    /// <summary>Address that the last SET_ADDRESS gave, 0 after a reset.</summary>
    public DeviceAddress Address { get; private set; }

    /// <summary>Requests taken and not ended.</summary>
    public int Outstanding => _counters.Outstanding;

    /// <summary>What may be attached.</summary>
    public PortRule Rule { get; set; } = PortRule.Open;

    /// <summary>When this port has something to do.</summary>
    public VirtualTime NextDeadline
    {
        get
        {
            if (Session is null) return VirtualTime.Never;
            VirtualTime due = Session.Device.NextDeadline;
            if (!MayHandOver) return due;
            for (uint mask = _waitingMask; mask != 0; mask &= mask - 1)
                due = VirtualTime.Min(due, _queues[BitOperations.TrailingZeroCount(mask)]!.DueAt(Session.PacesItself));
            return due;
        }
    }

    private bool MayHandOver => !_suspended && !_resetting && !pipeline.HoldsBack;

    /// <summary>Lets the device work and hands over what has come due.</summary>
    public void Advance(VirtualTime now)
    {
        if (Session is null) return;
        if (Session.Device.NextDeadline <= now) Session.Device.Advance(now);
        for (uint mask = _waitingMask; mask != 0; mask &= mask - 1)
            HandOverDue(_queues[BitOperations.TrailingZeroCount(mask)]!);
    }

    /// <summary>Plugs a device into the empty port.</summary>
    public void Attach(IUsbDevice device, UsbSpeed speed)
    {
        for (int i = 0; i < QueueCount; i++)
        {
            if (i == 1) continue; // Endpoint 0 uses index 0 for both directions.
            _queues[i] ??= new EndpointQueue(this, AddressOf(i));
            _queues[i]!.Counters.Clear();
        }

        Unconfigure();
        _deviceFaults = 0;
        Session = new DeviceSession(pipeline, this, device, speed);
        device.Attached(Session);
    }

    /// <summary>Takes the device off the port; its requests end with NoDevice and what was moved.</summary>
    public IUsbDevice Detach(DeviceSession session)
    {
        IUsbDevice device = session.Device;
        Session = null;
        device.Detached();
        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is null) continue;
            TakeBack(queue, ref queue.InFlight, RequestStatus.NoDevice);
            TakeBack(queue, ref queue.Waiting, RequestStatus.NoDevice);
        }

        Unconfigure();
        _suspended = false;
        _wake = false;
        if (_resetting) EndReset();
        return device;
    }

    /// <summary>Starts a bus reset (USB 2.0 §7.1.7.5). One that is still under way is joined.</summary>
    public void Reset()
    {
        if (_resetting) return;
        pipeline.ForgetEvents(Number);
        _resetDone = false;
        _wake = false;
        _suspended = false;
        Unconfigure();
        _resetting = true;
        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is not null) TakeBack(queue, ref queue.Waiting, RequestStatus.Cancelled);
        }

        if (Session is null) EndReset();
        else Session.Device.Reset();
    }

    /// <summary>The device says that the reset is over.</summary>
    public void DeviceResetDone()
    {
        if (!_resetting)
        {
            NoteDeviceFault("ended a reset that nobody asked for");
            return;
        }

        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is null || queue.InFlight.Count == 0) continue;
            NoteDeviceFault("kept requests over a reset");
            TakeBack(queue, ref queue.InFlight, RequestStatus.Cancelled);
        }

        EndReset();
    }

    /// <summary>The device signals resume; a port that is not suspended cannot hear it.</summary>
    public void DeviceWakes()
    {
        if (!_suspended) return;
        _wake = true;
        pipeline.NoteEvent(Number);
    }

    /// <summary>True once after each reset.</summary>
    public bool TakeResetDone()
    {
        bool done = _resetDone;
        _resetDone = false;
        return done;
    }

    /// <summary>True once after each wake signal.</summary>
    public bool TakeWake()
    {
        bool wake = _wake;
        _wake = false;
        return wake;
    }

    /// <summary>The port enters or leaves suspend. Requests wait while it is suspended.</summary>
    public void SetSuspended(bool suspended)
    {
        if (Session is null || _suspended == suspended) return;
        _suspended = suspended;
        if (!suspended) _wake = false;
        Session.Device.SetSuspended(suspended);
    }

    /// <summary>
    /// Notes the streams of an endpoint. The device hears of them as soon as its configuration has the endpoint: drivers
    /// configure the controller before they send SET_CONFIGURATION or SET_INTERFACE.
    /// </summary>
    public void SetStreams(EndpointAddress endpoint, int streams)
    {
        if (Session is null || endpoint.Number == 0) return;
        EndpointQueue queue = _queues[endpoint.Index]!;
        queue.Streams = Math.Clamp(streams, 0, PipelineLimits.Streams);
        TellStreams(queue);
    }

    /// <summary>Counts a breach of contract by the device.</summary>
    public void NoteDeviceFault(string fault)
    {
        _deviceFaults++;
        if (_faultBudget.TryTake(pipeline.Now, out long suppressed))
            PipelineLog.DeviceFault(pipeline.Log, Number, fault, suppressed);
    }

    private void EndReset()
    {
        _resetting = false;
        _resetDone = true;
        pipeline.NoteEvent(Number);
    }

    private void Unconfigure()
    {
        Address = default;
        _configured = false;
        _streamsTold = 0;
        _table.Clear();
        foreach (EndpointQueue? queue in _queues) queue?.Reset();
    }

    private void TellStreams(EndpointQueue queue)
    {
        if (!_table.TryFind(queue.Address, out EndpointDescriptor endpoint) || endpoint.Kind != TransferKind.Bulk) return;
        uint bit = 1u << queue.Address.Index;
        if (queue.Streams == 0 && (_streamsTold & bit) == 0) return;
        _streamsTold = queue.Streams == 0 ? _streamsTold & ~bit : _streamsTold | bit;
        Session!.Device.SetStreams(queue.Address, queue.Streams);
    }

    // After SET_CONFIGURATION (all endpoints) or SET_INTERFACE (those of one interface) the device starts without streams.
    private void TellStreamsAgain(byte? interfaceNumber)
    {
        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is null || queue.Streams == 0) continue;
            if (interfaceNumber is { } number && !_table.BelongsTo(queue.Address, number)) continue;
            TellStreams(queue);
        }
    }
}
