using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.Emulated;

/// <summary>
/// One endpoint of an emulated device: what the selected alternate setting says about it, whether it is halted, and the
/// requests that wait for it in order of submission (linked through <see cref="UsbRequest.DeviceNext"/>).
/// </summary>
public sealed class EmulatedEndpoint
{
    /// <summary>Most streams that an emulated endpoint may have.</summary>
    internal const int MostStreams = 32;

    internal EmulatedEndpoint(EndpointAddress address) => Address = address;

    /// <summary>Number and direction.</summary>
    public EndpointAddress Address { get; }

    /// <summary>The endpoint exists in the active configuration and the selected alternate settings.</summary>
    public bool Exists { get; internal set; }

    /// <summary>Transfer type, from bmAttributes.</summary>
    public TransferKind Kind { get; internal set; }

    /// <summary>Largest packet in bytes, 0-1024: wMaxPacketSize bits 10:0.</summary>
    public int MaxPacket { get; internal set; }

    /// <summary>
    /// Most bytes in one service interval of a periodic endpoint: packet size times the high-bandwidth multiplier
    /// (USB 2.0 §9.6.6), or times burst and mult (USB 3.2 §9.6.7). Equals <see cref="MaxPacket"/> otherwise.
    /// </summary>
    public int IntervalBytes { get; internal set; }

    /// <summary>The interface the endpoint belongs to.</summary>
    public byte InterfaceNumber { get; internal set; }

    /// <summary>The Halt feature (USB 2.0 §9.4.5): every request ends with Stall until it is cleared.</summary>
    public bool Halted { get; internal set; }

    /// <summary>The request being worked on, or null.</summary>
    public UsbRequest? Head { get; private set; }

    /// <summary>Requests waiting, the head included.</summary>
    public int Pending { get; private set; }

    /// <summary>Highest stream id, 0 without streams: MaxStreams of the companion (USB 3.2 §9.6.7), at most 32.</summary>
    public int MaxStreams { get; internal set; }

    // A pump of this endpoint is on the stack; a nested one only notes the streams that are due.
    internal bool Pumping { get; set; }

    internal ulong DueStreams { get; set; }

    private UsbRequest? _tail;

    internal void Enqueue(UsbRequest request)
    {
        request.DeviceNext = null;
        if (_tail is null) Head = request;
        else _tail.DeviceNext = request;
        _tail = request;
        Pending++;
    }

    /// <summary>The queue that a request waits in: its stream, or 0 where there are none.</summary>
    internal int StreamOf(UsbRequest request) => MaxStreams == 0 ? 0 : request.StreamId;

    /// <summary>The oldest request of a stream. The walk is bounded as in <see cref="Remove"/>.</summary>
    internal UsbRequest? FirstOf(int stream)
    {
        if (MaxStreams == 0) return stream == 0 ? Head : null;
        UsbRequest? request = Head;
        while (request is not null && request.StreamId != stream) request = request.DeviceNext;
        return request;
    }

    /// <summary>One bit per stream that has a request.</summary>
    internal ulong WaitingStreams()
    {
        if (MaxStreams == 0) return 1;
        ulong streams = 0;
        for (UsbRequest? request = Head; request is not null; request = request.DeviceNext) streams |= 1UL << request.StreamId;
        return streams;
    }

    internal UsbRequest? Dequeue()
    {
        UsbRequest? request = Head;
        if (request is null) return null;
        Head = request.DeviceNext;
        if (Head is null) _tail = null;
        request.DeviceNext = null;
        Pending--;
        return request;
    }

    // The walk is bounded by the requests the frontend has in flight, which its own limits bound.
    internal bool Remove(UsbRequest request)
    {
        UsbRequest? previous = null;
        for (UsbRequest? current = Head; current is not null; previous = current, current = current.DeviceNext)
        {
            if (!ReferenceEquals(current, request)) continue;
            if (previous is null) Head = current.DeviceNext;
            else previous.DeviceNext = current.DeviceNext;
            if (ReferenceEquals(_tail, current)) _tail = previous;
            current.DeviceNext = null;
            Pending--;
            return true;
        }

        return false;
    }
}
