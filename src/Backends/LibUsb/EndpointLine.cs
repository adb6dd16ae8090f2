using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.LibUsb;

/// <summary>The requests of one endpoint that a physical device has: those in flight in order of submission, then those that wait.</summary>
internal sealed class EndpointLine(EndpointAddress address)
{
    private HostTransfer? _first;
    private HostTransfer? _last;
    private UsbRequest? _waitingLast;

    /// <summary>Number and direction.</summary>
    public EndpointAddress Address { get; } = address;

    /// <summary>This endpoint's bit in masks.</summary>
    public uint Bit => 1u << Address.Index;

    /// <summary>The oldest transfer, in flight or parked.</summary>
    public HostTransfer? First => _first;

    /// <summary>Transfers that the host's stack has.</summary>
    public int Active { get; private set; }

    /// <summary>The oldest request that waits.</summary>
    public UsbRequest? Waiting { get; private set; }

    /// <summary>Requests that wait.</summary>
    public int WaitingCount { get; private set; }

    /// <summary>Transfers come back to be handed over again after an operation.</summary>
    public bool Recalling { get; set; }

    /// <summary>Highest stream id that the guest asked for; told to the device by an operation.</summary>
    public int Streams { get; set; }

    /// <summary>A request comes last.</summary>
    public void Append(UsbRequest request)
    {
        request.DeviceNext = null;
        if (Waiting is null) Waiting = request;
        else _waitingLast!.DeviceNext = request;
        _waitingLast = request;
        WaitingCount++;
    }

    /// <summary>Takes the oldest waiting request out.</summary>
    public UsbRequest? TakeWaiting()
    {
        UsbRequest? request = Waiting;
        if (request is null) return null;
        Waiting = request.DeviceNext;
        if (Waiting is null) _waitingLast = null;
        request.DeviceNext = null;
        WaitingCount--;
        return request;
    }

    /// <summary>Takes a waiting request out of the middle; false when it does not wait here.</summary>
    public bool RemoveWaiting(UsbRequest request)
    {
        UsbRequest? before = null;
        for (UsbRequest? one = Waiting; one is not null; before = one, one = one.DeviceNext)
        {
            if (!ReferenceEquals(one, request)) continue;
            if (before is null) Waiting = one.DeviceNext;
            else before.DeviceNext = one.DeviceNext;
            if (ReferenceEquals(_waitingLast, one)) _waitingLast = before;
            one.DeviceNext = null;
            WaitingCount--;
            return true;
        }

        return false;
    }

    /// <summary>A transfer is in flight.</summary>
    public void Sent(HostTransfer transfer)
    {
        transfer.Next = null;
        transfer.Previous = _last;
        if (_last is null) _first = transfer;
        else _last.Next = transfer;
        _last = transfer;
        Active++;
    }

    /// <summary>A transfer has come back and stays in its place until the endpoint may be used again.</summary>
    public void Park(HostTransfer transfer)
    {
        transfer.Parked = true;
        Active--;
    }

    /// <summary>A transfer leaves the line.</summary>
    public void Remove(HostTransfer transfer)
    {
        if (transfer.Previous is null) _first = transfer.Next;
        else transfer.Previous.Next = transfer.Next;
        if (transfer.Next is null) _last = transfer.Previous;
        else transfer.Next.Previous = transfer.Previous;
        transfer.Next = null;
        transfer.Previous = null;
        if (!transfer.Parked) Active--;
        transfer.Parked = false;
    }

    /// <summary>The transfer that carries <paramref name="request"/>.</summary>
    public HostTransfer? Find(UsbRequest request)
    {
        for (HostTransfer? one = _first; one is not null; one = one.Next)
        {
            if (ReferenceEquals(one.Request, request)) return one;
        }

        return null;
    }

    /// <summary>The newest parked transfer leaves the line and its request becomes the oldest that waits; null when none is left.</summary>
    public HostTransfer? Unpark()
    {
        if (_last is not { Parked: true } transfer) return null;
        Remove(transfer);
        UsbRequest request = transfer.Request!;
        request.DeviceNext = Waiting;
        Waiting = request;
        _waitingLast ??= request;
        WaitingCount++;
        return transfer;
    }
}
