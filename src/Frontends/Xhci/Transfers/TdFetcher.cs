using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>What <see cref="TdFetcher.Fetch"/> came to.</summary>
internal enum FetchResult
{
    /// <summary>A transfer was made (it may be malformed, which its retirement reports).</summary>
    Made,

    /// <summary>Nothing complete is on the ring; a doorbell or a completion will call again.</summary>
    Idle,

    /// <summary>The budget of this call is spent; call again.</summary>
    OutOfBudget,

    /// <summary>All transfers are in use; call again when one is free.</summary>
    OutOfTransfers,

    /// <summary>The ring is not mapped: host system error.</summary>
    Fault,
}

/// <summary>
/// From TRBs to transfers: the one place that reads transfer rings (xHCI 1.2 §4.11). Each TRB is copied once and decoded
/// into a record; what follows never looks at guest memory again for it.
/// </summary>
internal sealed partial class TdFetcher(IGuestMemory memory, TransferPool pool)
{
    /// <summary>Largest TRB Transfer Length (§6.4.1.1: 0 to 64 KiB).</summary>
    public const int MaxTrbLength = 0x10000;

    // TRT values of a Setup Stage TRB (table 6-26).
    private const uint TrtNoData = 0;
    private const uint TrtOut = 2;
    private const uint TrtIn = 3;

    /// <summary>Makes the next transfer of <paramref name="ring"/>. It is charged to the pool but not appended to the ring.</summary>
    public FetchResult Fetch(TransferRing ring, ref WorkBudget budget, out Transfer transfer)
    {
        transfer = null!;
        if (!budget.HasRoomForTransfer) return FetchResult.OutOfBudget;
        Endpoint endpoint = ring.Endpoint;
        // A part of a TD goes when the part before has ended well: a short packet in it would end the TD. The stages of a
        // control transfer follow each other on the wire (USB 2.0 §8.5.3), so there is one at a time.
        if (ring.Count > 0 && (ring.IsInTd || endpoint.Kind == TransferKind.Control)) return FetchResult.Idle;
        // Behind a malformed TD nothing goes to the device: the endpoint will be in Error when its turn comes (§4.8.3).
        if (ring.Tail is { Malformed: not CompletionCode.Invalid }) return FetchResult.Idle;
        if (pool.TryTake() is not { } taken) return FetchResult.OutOfTransfers;
        var walk = new Walk(ring, taken);
        FetchResult result = endpoint.Kind == TransferKind.Control
            ? FetchStage(ref walk, ref budget)
            : FetchTd(ref walk, ref budget);
        if (result != FetchResult.Made)
        {
            // Link TRBs before an empty place are behind us for good; an open TD is fetched again from its start.
            if (result == FetchResult.Idle && taken.Count == 0 && walk.Skip == 0) ring.Fetch = walk.Position;
            pool.Release(taken, charged: false);
            return result;
        }

        taken.End = walk.Position;
        taken.EndSkip = walk.Skip;
        ring.Fetch = walk.Position;
        ring.FetchSkip = walk.Skip;
        ring.IsInTd = !taken.EndsTd;
        if (taken.IsSkipped && taken.EndsTd) ring.SkipsTd = false;
        pool.Charge(taken);
        budget.Bytes -= taken.Request.Length;
        transfer = taken;
        return FetchResult.Made;
    }

    // Bulk, interrupt and isochronous TDs: Normal TRBs (the first of an isochronous TD is an Isoch TRB), Event Data, No Op.
    private FetchResult FetchTd(ref Walk walk, ref WorkBudget budget)
    {
        TransferRing ring = walk.Ring;
        Transfer transfer = walk.Transfer;
        Endpoint endpoint = ring.Endpoint;
        bool isoch = endpoint.Kind == TransferKind.Isochronous;
        int packet = endpoint.PacketSize;
        int most = isoch ? UsbRequest.MaxLength : UsbRequest.MaxLength / packet * packet;
        transfer.StartsTd = !ring.IsInTd && walk.Skip == 0;
        transfer.IsSkipped = ring.SkipsTd;
        bool hasData = false;
        int steps = 0;
        while (true)
        {
            budget.Trbs--;
            RingPosition before = walk.Position;
            RingItem item = RingWalker.Next(memory, ref walk.Position, out Trb trb, out GuestAddress at);
            if (item == RingItem.Fault) return FetchResult.Fault;
            if (item == RingItem.Empty)
            {
                // §4.11: software may hand over a TD piece by piece. What makes whole packets is sent; the rest waits.
                bool wholePackets = !isoch && transfer.Request.Length > 0 && transfer.Request.Length % packet == 0;
                if (transfer.Count == 0 || !(wholePackets || transfer.IsSkipped)) return FetchResult.Idle;
                return Finish(transfer, hasData);
            }

            TrbRecord record = TrbRecord.From(at, trb);
            switch (trb.Type)
            {
                case TrbType.Link:
                    break;
                case TrbType.Normal:
                case TrbType.Isoch:
                    bool first = transfer.StartsTd && !hasData;
                    if (trb.Type == TrbType.Isoch != (isoch && first)) return Malformed(transfer, record);
                    if (trb.TransferLength > MaxTrbLength || (trb.ImmediateData && !((first || (walk.Skip > 0 && !hasData)) && CanBeImmediate(trb, endpoint)))) return Malformed(transfer, record);
                    if (hasData && transfer.Request.Data.IsImmediate) return Malformed(transfer, record);
                    hasData = true;
                    TakeData(ref walk, ref record, trb, most);
                    if (record.Left > 0)
                    {
                        if (isoch) return Malformed(transfer, record);
                        transfer.Add(record);
                        walk.Position = before;
                        walk.Skip = record.Skip + record.Length;
                        return Finish(transfer, hasData);
                    }

                    walk.Skip = 0;
                    break;
                case TrbType.EventData:
                case TrbType.NoOp:
                    break;
                default:
                    return Malformed(transfer, record);
            }

            // A Link TRB matters to events only when it asks for one (§6.4.4.1).
            if (trb.Type != TrbType.Link || trb.InterruptOnCompletion) transfer.Add(record);
            if (trb.Type != TrbType.Link && !trb.Chain)
            {
                transfer.EndsTd = true;
                return Finish(transfer, hasData);
            }

            int length = transfer.Request.Length;
            bool atBorder = transfer.IsSkipped || (length > 0 && length % packet == 0);
            if (!isoch && (length == most || (atBorder && transfer.Count >= XhciLimits.TrbsPerTransferSoft))) return Finish(transfer, hasData);
            if (++steps == XhciLimits.TrbsPerTransferHard - 1) return Malformed(transfer, record);
        }
    }

    private static void TakeData(ref Walk walk, ref TrbRecord record, in Trb trb, int most)
    {
        RequestData data = walk.Transfer.Request.Data;
        record.Skip = walk.Skip;
        int left = System.Math.Max(0, trb.TransferLength - walk.Skip);
        if (walk.Transfer.IsSkipped)
        {
            record.Length = left;
            return;
        }

        record.Length = System.Math.Min(left, most - data.Length);
        record.Left = left - record.Length;
        if (trb.ImmediateData)
        {
            System.Span<byte> bytes = stackalloc byte[RequestData.ImmediateCapacity];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(bytes, trb.Parameter);
            data.SetImmediate(bytes.Slice(trb.TransferLength - left, record.Length));
        }
        else
        {
            data.Add(new GuestAddress(trb.Parameter).OffsetWrapping((ulong)walk.Skip), record.Length);
        }
    }

    // §6.4.1.1: immediate data only for OUT, at most eight bytes.
    private static bool CanBeImmediate(in Trb trb, Endpoint endpoint) =>
        trb.TransferLength <= RequestData.ImmediateCapacity && !endpoint.IsIn;

    private static FetchResult Finish(Transfer transfer, bool hasData)
    {
        // The rest of a TD without data sends nothing: a zero-length packet takes a TD of its own (§4.9.1).
        transfer.IsLocal = transfer.IsSkipped || !hasData || (!transfer.StartsTd && transfer.Request.Length == 0);
        return FetchResult.Made;
    }

    // Table 6-90: a TRB that has no business here is a TRB Error, reported at that TRB.
    private static FetchResult Malformed(Transfer transfer, in TrbRecord record)
    {
        transfer.Add(record);
        transfer.Malformed = CompletionCode.TrbError;
        transfer.IsLocal = true;
        transfer.EndsTd = true;
        transfer.Request.Data.Clear();
        return FetchResult.Made;
    }

    private ref struct Walk(TransferRing ring, Transfer transfer)
    {
        public readonly TransferRing Ring = ring;
        public readonly Transfer Transfer = transfer;
        public RingPosition Position = ring.Fetch;
        public int Skip = ring.FetchSkip;
    }
}
