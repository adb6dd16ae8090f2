using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Slots;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>
/// The state of one transfer ring (of an endpoint, or of one stream): where TRBs are fetched, which transfers are on the
/// road, and where the architected dequeue pointer is (xHCI 1.2 §4.9.2, §4.11).
/// </summary>
internal sealed class TransferRing(Endpoint endpoint)
{
    /// <summary>The endpoint it belongs to.</summary>
    public Endpoint Endpoint { get; } = endpoint;

    /// <summary>Stream ID, 0 for an endpoint without streams.</summary>
    public int StreamId { get; set; }

    /// <summary>Next TRB to fetch; runs ahead of <see cref="Dequeue"/> by the transfers in flight.</summary>
    public RingPosition Fetch { get; set; }

    /// <summary>Bytes of the TRB at <see cref="Fetch"/> already given to a transfer.</summary>
    public int FetchSkip { get; set; }

    /// <summary>The TR Dequeue Pointer as software would see it if the endpoint stopped now.</summary>
    public RingPosition Dequeue { get; set; }

    /// <summary>Bytes of the TRB at <see cref="Dequeue"/> already moved.</summary>
    public int DequeueSkip { get; set; }

    /// <summary>The TRB before <see cref="Fetch"/> has its chain bit set (or was given away only in part): a TD is open.</summary>
    public bool IsInTd { get; set; }

    /// <summary>A short packet ended the open TD; the TRBs that are left of it move no data (§4.10.1.1).</summary>
    public bool SkipsTd { get; set; }

    /// <summary>Event Data Transfer Length Accumulator, 24 bits (§4.11.5.2).</summary>
    public uint Edtla { get; set; }

    /// <summary>Interrupter of the last TRB that was retired, for events that belong to no TRB.</summary>
    public int LastInterrupter { get; set; }

    /// <summary>The endpoint halted on this ring; what was behind the error is dropped and fetched again (§4.8.3).</summary>
    public bool IsHaltPoint { get; set; }

    /// <summary>The Stop Endpoint Command under way is done with this ring.</summary>
    public bool IsStopReported { get; set; }

    /// <summary>Nothing is in progress that the dequeue pointer alone would not tell.</summary>
    public bool IsAtTdBorder => Count == 0 && !IsInTd && !SkipsTd && DequeueSkip == 0;

    /// <summary>Look for TRBs: the doorbell was rung, or a transfer ended.</summary>
    public bool ShouldFetch { get; set; }

    /// <summary>Transfers fetched and not retired, oldest first.</summary>
    public Transfer? Head { get; private set; }

    /// <summary>The youngest.</summary>
    public Transfer? Tail { get; private set; }

    /// <summary>Length of the list.</summary>
    public int Count { get; private set; }

    /// <summary>Of these, requests that the pipeline has.</summary>
    public int InFlight { get; set; }

    /// <summary>Next active stream of the endpoint.</summary>
    public TransferRing? NextActive { get; set; }

    /// <summary>True for TRBs whose length counts: all but Link, Event Data, No Op, Setup and Status.</summary>
    public static bool MovesData(TrbType type) => type is TrbType.Normal or TrbType.DataStage or TrbType.Isoch;

    /// <summary>Points the ring at <paramref name="position"/>, with nothing in progress (§4.6.10).</summary>
    public void SetDequeue(RingPosition position)
    {
        Fetch = position;
        FetchSkip = 0;
        Dequeue = position;
        DequeueSkip = 0;
        IsInTd = false;
        SkipsTd = false;
        IsHaltPoint = false;
        Edtla = 0;
    }

    /// <summary>Makes fetching go on where the dequeue pointer is, in the middle of a TD if need be.</summary>
    public void RewindFetch(bool inTd)
    {
        Fetch = Dequeue;
        FetchSkip = DequeueSkip;
        IsInTd = inTd;
    }

    /// <summary>Appends a transfer.</summary>
    public void Append(Transfer transfer)
    {
        transfer.Ring = this;
        transfer.Next = null;
        if (Tail is null) Head = transfer;
        else Tail.Next = transfer;
        Tail = transfer;
        Count++;
    }

    /// <summary>Removes and returns the oldest transfer; the list is not empty.</summary>
    public Transfer RemoveHead()
    {
        Transfer head = Head!;
        Head = head.Next;
        if (Head is null) Tail = null;
        head.Next = null;
        Count--;
        return head;
    }
}
