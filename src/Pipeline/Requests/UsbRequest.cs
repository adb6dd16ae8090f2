using XenUsbDm.Core.Usb;

namespace XenUsbDm.Pipeline.Requests;

/// <summary>One isochronous packet: a slice of the request's data for one service interval.</summary>
public record struct IsoPacket
{
    /// <summary>First byte within the request's data.</summary>
    public int Offset { get; set; }

    /// <summary>Bytes asked for or to be sent, 0 or more.</summary>
    public int Length { get; set; }

    /// <summary>Bytes moved.</summary>
    public int ActualLength { get; set; }

    /// <summary>How this packet ended.</summary>
    public RequestStatus Status { get; set; }
}

/// <summary>
/// The one request type of every frontend (DESIGN: the road of a transfer). A frontend owns it, fills it in and submits
/// it; the pipeline and one device work on it; it comes back exactly once through <see cref="IUsbFrontend.Completed"/>.
/// Objects are pooled by their frontend: nothing here is allocated per transfer.
/// </summary>
public sealed class UsbRequest
{
    /// <summary>Root port (connector) the device hangs on, one-based.</summary>
    public PortNumber Port { get; set; }

    /// <summary>The address the frontend believes the device to have; 0 before SET_ADDRESS.</summary>
    public DeviceAddress Address { get; set; }

    /// <summary>Endpoint number and direction. Control requests name endpoint 0 with either direction.</summary>
    public EndpointAddress Endpoint { get; set; }

    /// <summary>Transfer type that the frontend believes the endpoint to have.</summary>
    public TransferKind Kind { get; set; }

    /// <summary>Setup packet of a control request. The data length is <see cref="Data"/>'s, which may differ from wLength.</summary>
    public SetupPacket Setup { get; set; }

    /// <summary>Bulk stream id, 0 for endpoints without streams.</summary>
    public ushort StreamId { get; set; }

    /// <summary>
    /// An OUT transfer that ends at a packet border is followed by a zero-length packet only when the data is empty;
    /// this asks that a short IN transfer be reported as an error by devices that need to know (usbif SHORT_NOT_OK).
    /// </summary>
    public bool ShortNotOk { get; set; }

    /// <summary>Isochronous: microframe (of <see cref="Core.Time.VirtualTime"/>) in which packet 0 is due; later packets follow at <see cref="IntervalMicroframes"/>.</summary>
    public ulong StartMicroframe { get; set; }

    /// <summary>Periodic kinds: service interval in microframes, a power of two from 1; 0 leaves it to the device's descriptor.</summary>
    public uint IntervalMicroframes { get; set; }

    /// <summary>Data stage or payload, at most <see cref="MaxLength"/> bytes.</summary>
    public RequestData Data { get; } = new();

    /// <summary>Isochronous packets; the first <see cref="PacketCount"/> are in use.</summary>
    public IsoPacket[] Packets { get; set; } = [];

    /// <summary>Number of isochronous packets.</summary>
    public int PacketCount { get; set; }

    /// <summary>Most bytes of one request: 1 MiB, so that a Windows 64 KiB transfer and Linux's largest are one request.</summary>
    public const int MaxLength = 1 << 20;

    /// <summary>How it ended. Valid from completion until the next submit.</summary>
    public RequestStatus Status { get; internal set; }

    /// <summary>
    /// Bytes moved between guest memory and device so far. Exact at completion, also after a cancel or an error; a device
    /// keeps it up to date while it works on the request in parts.
    /// </summary>
    public int ActualLength { get; set; }

    /// <summary>Where the request is. Only the pipeline changes it.</summary>
    public RequestState State { get; internal set; }

    /// <summary>For the frontend's own bookkeeping (the xHCI transfer this request is part of). Not touched by others.</summary>
    public object? Tag { get; set; }

    /// <summary>For the device's own queues while the request is in flight: the next request of the same endpoint.</summary>
    public UsbRequest? DeviceNext { get; set; }

    // The pipeline's intrusive lists.
    internal UsbRequest? QueueNext { get; set; }

    internal UsbRequest? QueuePrevious { get; set; }

    internal UsbRequest? DoneNext { get; set; }

    internal bool UnlinkRequested { get; set; }

    // Where the request is queued; null while it is idle or was refused before it reached a queue.
    internal Ports.EndpointQueue? Queue { get; set; }

    /// <summary>Bytes asked for.</summary>
    public int Length => Data.Length;

    /// <summary>Data moves device to host: by the setup packet for control requests, by the endpoint address otherwise.</summary>
    public bool IsIn => Kind == TransferKind.Control ? Setup.IsIn : Endpoint.IsIn;

    /// <summary>Restores the result of a request that had ended when its frontend's state was saved.</summary>
    public void RestoreResult(RequestStatus status, int actualLength)
    {
        Status = status;
        ActualLength = actualLength;
    }

    /// <summary>Makes an idle request ready to be filled in again.</summary>
    public void Clear()
    {
        Data.Clear();
        Port = default;
        Address = default;
        Endpoint = default;
        Kind = default;
        Setup = default;
        StreamId = 0;
        ShortNotOk = false;
        StartMicroframe = 0;
        IntervalMicroframes = 0;
        PacketCount = 0;
        ActualLength = 0;
        Status = RequestStatus.Success;
    }

    /// <inheritdoc/>
    public override string ToString() => $"port {Port} address {Address} {Endpoint} {Kind} {Length} bytes";
}
