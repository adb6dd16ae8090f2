using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>The requests of one endpoint: those that wait for their time, and those the device has.</summary>
internal sealed class EndpointQueue(PortRecord port, EndpointAddress address) : IInspectable
{
    // The last interrupt request that was handed over, for giving back the intervals that a short packet did not use.
    private UsbRequest? _served;
    private VirtualTime _servedAt;
    private int _servedFrom;
    private int _servedPayload;
    private ulong _servedInterval;

    /// <summary>The port this endpoint belongs to.</summary>
    public PortRecord Port { get; } = port;

    /// <summary>Number and direction.</summary>
    public EndpointAddress Address { get; } = address;

    /// <summary>What happened here since the device was attached.</summary>
    public TransferCounters Counters { get; } = new();

    /// <summary>Requests that wait, in order of submission.</summary>
    public ref RequestList Waiting => ref _waiting;

    /// <summary>Requests that the device has, in order of hand-over.</summary>
    public ref RequestList InFlight => ref _inFlight;

    /// <summary>Earliest instant of the next hand-over of an interrupt request.</summary>
    public VirtualTime NextService { get; private set; }

    /// <summary>Highest stream id, 0 without streams.</summary>
    public int Streams { get; set; }

    /// <summary>Requests that had been handed over when the state was saved: so many go without waiting for an interval again.</summary>
    public int Prepaid { get; private set; }

    private RequestList _waiting;
    private RequestList _inFlight;

    /// <summary>When the oldest waiting request may be handed over as far as this endpoint decides; Never while it must wait for another request.</summary>
    public VirtualTime DueAt(bool devicePacesItself)
    {
        if (_waiting.Head is not { } head) return VirtualTime.Never;
        if (Address.Index == 0)
            return _inFlight.Count > 0 && ControlActions.IsLocal(head.Setup) ? VirtualTime.Never : VirtualTime.Zero;
        if (devicePacesItself || Prepaid > 0) return VirtualTime.Zero;
        return head.Kind switch
        {
            TransferKind.Interrupt => NextService,
            TransferKind.Isochronous => VirtualTime.AtMicroframe(head.StartMicroframe),
            _ => VirtualTime.Zero,
        };
    }

    /// <summary>
    /// Notes that a periodic request goes to the device at <paramref name="now"/>, and with it the next service time. A
    /// request of several intervals' payload takes as many intervals.
    /// </summary>
    public void Serve(UsbRequest request, in EndpointDescriptor endpoint, UsbSpeed speed, VirtualTime now)
    {
        if (Prepaid > 0)
        {
            Prepaid--;
            return;
        }

        if (request.Kind != TransferKind.Interrupt) return;
        uint microframes = endpoint.IntervalMicroframes(speed);
        if (microframes == 0) microframes = Math.Min(request.IntervalMicroframes, PipelineLimits.LongestIntervalMicroframes);
        if (microframes == 0) microframes = PipelineLimits.FallbackIntervalMicroframes;
        _servedInterval = microframes * VirtualTime.MicroframeNanoseconds;

        // A loop that wakes a little late does not stretch the interval; after a pause the count starts anew.
        bool late = now.Nanoseconds - NextService.Nanoseconds >= _servedInterval;
        _servedAt = late ? now : NextService;
        _served = request;
        _servedFrom = request.ActualLength;
        _servedPayload = endpoint.BytesPerInterval(speed);
        NextService = After(request.Length - request.ActualLength, endsShort: false);
    }

    /// <summary>The device gave a request back: intervals that it did not use become free.</summary>
    public void Ended(UsbRequest request)
    {
        if (!ReferenceEquals(_served, request)) return;
        _served = null;
        NextService = VirtualTime.Min(NextService, After(Math.Max(0, request.ActualLength - _servedFrom), endsShort: true));
    }

    /// <summary>Forgets pacing and streams after a bus reset or for a new device.</summary>
    public void Reset()
    {
        _served = null;
        NextService = VirtualTime.Zero;
        Prepaid = 0;
        Streams = 0;
    }

    /// <summary>The saved form.</summary>
    public EndpointStateV1 Capture()
    {
        bool periodic = _inFlight.Head?.Kind is TransferKind.Interrupt or TransferKind.Isochronous;
        int handedOver = Math.Min(Prepaid + (periodic ? _inFlight.Count : 0), PipelineLimits.OutstandingPerPort);
        return new EndpointStateV1(Address.Index, NextService.Nanoseconds, handedOver, Streams, Counters.Capture());
    }

    /// <summary>True when a saved form can be taken over.</summary>
    public static bool IsValid(EndpointStateV1? state) =>
        state is not null && state.Index is 0 or (>= 2 and <= 31) && state.HandedOver is >= 0 and <= PipelineLimits.OutstandingPerPort
        && state.Streams is >= 0 and <= PipelineLimits.Streams && TransferCounters.IsValid(state.Counters);

    /// <summary>Takes over a valid saved form.</summary>
    public void Restore(EndpointStateV1 state)
    {
        Reset();
        NextService = new VirtualTime(state.NextService);
        Prepaid = state.HandedOver;
        Streams = state.Streams;
        Counters.Restore(state.Counters);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("waiting", _waiting.Count);
        writer.Number("in-flight", _inFlight.Count);
        writer.Number("streams", Streams);
        writer.Text("next-service", NextService.ToString());
        Counters.Inspect(writer);
    }

    private VirtualTime After(int bytes, bool endsShort)
    {
        ulong intervals = 1;
        if (_servedPayload > 0)
        {
            ulong whole = (ulong)(bytes / _servedPayload);
            bool partial = endsShort || bytes % _servedPayload != 0;
            intervals = Math.Max(1, whole + (partial ? 1ul : 0));
        }

        return _servedAt.Plus(intervals * _servedInterval);
    }
}
