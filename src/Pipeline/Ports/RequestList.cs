using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>A queue threaded through the requests themselves: append, remove from anywhere, no allocation.</summary>
internal struct RequestList
{
    /// <summary>The oldest request.</summary>
    public UsbRequest? Head { get; private set; }

    /// <summary>The newest request.</summary>
    public UsbRequest? Tail { get; private set; }

    /// <summary>Requests in the list.</summary>
    public int Count { get; private set; }

    /// <summary>Adds at the end. The request must be in no other list.</summary>
    public void Append(UsbRequest request)
    {
        request.QueuePrevious = Tail;
        request.QueueNext = null;
        if (Tail is null) Head = request;
        else Tail.QueueNext = request;
        Tail = request;
        Count++;
    }

    /// <summary>Takes a request of this list out.</summary>
    public void Remove(UsbRequest request)
    {
        if (request.QueuePrevious is null) Head = request.QueueNext;
        else request.QueuePrevious.QueueNext = request.QueueNext;
        if (request.QueueNext is null) Tail = request.QueuePrevious;
        else request.QueueNext.QueuePrevious = request.QueuePrevious;
        request.QueuePrevious = null;
        request.QueueNext = null;
        Count--;
    }
}

/// <summary>Ended requests in the order in which they ended, until their delivery.</summary>
internal struct DoneList
{
    private UsbRequest? _tail;

    /// <summary>The request that ended first.</summary>
    public UsbRequest? Head { get; private set; }

    /// <summary>Adds a request that has just ended.</summary>
    public void Append(UsbRequest request)
    {
        request.DoneNext = null;
        if (_tail is null) Head = request;
        else _tail.DoneNext = request;
        _tail = request;
    }

    /// <summary>Empties the list and returns its first request; the rest follow by <see cref="UsbRequest.DoneNext"/>.</summary>
    public UsbRequest? TakeAll()
    {
        UsbRequest? head = Head;
        Head = null;
        _tail = null;
        return head;
    }
}
