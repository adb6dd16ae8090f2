using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>One TRB of a transfer, copied when it was fetched: all that its events will need.</summary>
internal struct TrbRecord
{
    /// <summary>Where the TRB lies.</summary>
    public GuestAddress Address;

    /// <summary>The TRB's 64-bit parameter (data of an Event Data TRB).</summary>
    public ulong Parameter;

    /// <summary>The TRB's control word (type and flags, cycle bit included).</summary>
    public uint Control;

    /// <summary>Bytes of the TRB that an earlier transfer moved.</summary>
    public int Skip;

    /// <summary>Bytes of the TRB that this transfer covers.</summary>
    public int Length;

    /// <summary>Bytes of the TRB that a later transfer will cover.</summary>
    public int Left;

    /// <summary>Interrupter Target.</summary>
    public ushort Interrupter;

    /// <summary>The TRB without its data words, for its flags.</summary>
    public readonly Trb Flags => new(0, 0, Control);

    /// <summary>TRB type.</summary>
    public readonly TrbType Type => (TrbType)((Control >> 10) & 0x3f);

    /// <summary>The TRB's place in its ring.</summary>
    public readonly RingPosition Position => new(Address, (Control & 1) != 0);

    /// <summary>A record of <paramref name="trb"/>, lengths not set.</summary>
    public static TrbRecord From(GuestAddress at, in Trb trb) => new()
    {
        Address = at,
        Parameter = trb.Parameter,
        Control = trb.Control,
        Interrupter = (ushort)trb.InterrupterTarget,
    };
}

/// <summary>
/// One request's worth of a transfer ring: a whole TD, or a part of a TD that ends at a packet border. It owns the
/// <see cref="UsbRequest"/> that travels the road and the TRB records from which its events are made.
/// </summary>
internal sealed class Transfer
{
    private TrbRecord[] _records = new TrbRecord[4];

    /// <summary>Makes a transfer with its request.</summary>
    public Transfer()
    {
        Request = new UsbRequest { Tag = this, Packets = new IsoPacket[1] };
    }

    /// <summary>The request that travels the road.</summary>
    public UsbRequest Request { get; }

    /// <summary>The ring it came from; null once the controller has lost interest in its result.</summary>
    public TransferRing? Ring { get; set; }

    /// <summary>Next transfer of the ring, in order.</summary>
    public Transfer? Next { get; set; }

    /// <summary>Number of records.</summary>
    public int Count { get; private set; }

    /// <summary>Records that the array has room for.</summary>
    public int Capacity => _records.Length;

    /// <summary>The first TRB of the TD is among the records, from its first byte.</summary>
    public bool StartsTd { get; set; }

    /// <summary>The last TRB of the TD is among the records, to its last byte.</summary>
    public bool EndsTd { get; set; }

    /// <summary>No request is behind it: No Op, Event Data, Setup Stage, or the rest of a TD after a short packet.</summary>
    public bool IsLocal { get; set; }

    /// <summary>The rest of a TD that a short packet has ended.</summary>
    public bool IsSkipped { get; set; }

    /// <summary>The result is there.</summary>
    public bool IsDone { get; set; }

    /// <summary>Isochronous TD that is not sent and does not halt: Missed Service or Bandwidth Overrun; else <see cref="CompletionCode.Invalid"/>.</summary>
    public CompletionCode IsochError { get; set; }

    /// <summary>Bad TRB: no request was made, the endpoint goes to Error with this code. <see cref="CompletionCode.Invalid"/> for none.</summary>
    public CompletionCode Malformed { get; set; }

    /// <summary>Place after the last record.</summary>
    public RingPosition End { get; set; }

    /// <summary>Bytes of the TRB at <see cref="End"/> that this transfer covers.</summary>
    public int EndSkip { get; set; }

    /// <summary>First record whose event has not been dealt with; kept while an event ring is full.</summary>
    public int EventIndex { get; set; }

    /// <summary>Bytes of the records before <see cref="EventIndex"/>.</summary>
    public int EventBytes { get; set; }

    /// <summary>A short packet lies before <see cref="EventIndex"/>.</summary>
    public bool ShortSeen { get; set; }

    /// <summary>The records in ring order.</summary>
    public Span<TrbRecord> Records => _records.AsSpan(0, Count);

    /// <summary>Adds a record.</summary>
    public void Add(in TrbRecord record)
    {
        if (Count == _records.Length) Array.Resize(ref _records, Count * 2);
        _records[Count++] = record;
    }

    /// <summary>Makes the object ready for its next use.</summary>
    public void Clear()
    {
        Request.Clear();
        Ring = null;
        Next = null;
        Count = 0;
        StartsTd = false;
        EndsTd = false;
        IsLocal = false;
        IsSkipped = false;
        IsDone = false;
        IsochError = CompletionCode.Invalid;
        Malformed = CompletionCode.Invalid;
        EndSkip = 0;
        EventIndex = 0;
        EventBytes = 0;
        ShortSeen = false;
        if (_records.Length > XhciLimits.TrbRecordsKept)
        {
            _records = new TrbRecord[4];
            Request.Data.Trim();
        }
    }

    /// <summary>Index of the record that byte <paramref name="offset"/> falls into (the last data record if it is the end), and its first byte.</summary>
    public int FindRecord(int offset, out int start)
    {
        int bytes = 0;
        int last = 0;
        int lastStart = 0;
        for (int i = 0; i < Count; i++)
        {
            // A transfer without data has its Status Stage instead.
            if (!TransferRing.MovesData(_records[i].Type) && _records[i].Type != TrbType.StatusStage) continue;
            last = i;
            lastStart = bytes;
            if (offset < bytes + _records[i].Length) break;
            bytes += _records[i].Length;
        }

        start = lastStart;
        return last;
    }
}

/// <summary>The controller's transfers: made when first needed, used again for ever, bounded in number and in records.</summary>
internal sealed class TransferPool
{
    private Transfer? _free;

    /// <summary>Transfers in use.</summary>
    public int InUse { get; private set; }

    /// <summary>TRB records of the transfers in use.</summary>
    public int Records { get; private set; }

    /// <summary>A cleared transfer, or null when the controller holds as much as it may.</summary>
    public Transfer? TryTake()
    {
        if (InUse >= XhciLimits.Transfers || Records >= XhciLimits.TrbRecords) return null;
        Transfer transfer = _free ?? new Transfer();
        _free = transfer.Next;
        transfer.Next = null;
        InUse++;
        return transfer;
    }

    /// <summary>Counts the records of a transfer that has been built.</summary>
    public void Charge(Transfer transfer) => Records += transfer.Count;

    /// <summary>Takes a transfer back. <paramref name="charged"/> says that <see cref="Charge"/> was called for it.</summary>
    public void Release(Transfer transfer, bool charged = true)
    {
        if (charged) Records -= transfer.Count;
        transfer.Clear();
        transfer.Next = _free;
        _free = transfer;
        InUse--;
    }
}
