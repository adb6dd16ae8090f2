using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Transfers;

// Control transfers (xHCI 1.2 §4.11.2.2): Setup Stage, Data Stage and Status Stage are TDs of their own. The request goes
// with the first TD that lets the device do its work: the Data Stage, or the Status Stage where there is no data. So a
// transfer starts before its Status Stage is queued (LP 1859378).
internal sealed partial class TdFetcher
{
    // DIR flag of Data and Status Stage TRBs (§6.4.1.2.2).
    private const uint DirIn = 1u << 16;

    // wLength is 16 bits wide, so no data stage is longer.
    private const int MaxDataStage = 0xffff;

    private FetchResult FetchStage(ref Walk walk, ref WorkBudget budget)
    {
        Transfer transfer = walk.Transfer;
        Endpoint endpoint = walk.Ring.Endpoint;
        transfer.StartsTd = true;
        TrbType stage = TrbType.Reserved;
        for (int steps = 0; ; steps++)
        {
            budget.Trbs--;
            RingItem item = RingWalker.Next(memory, ref walk.Position, out Trb trb, out GuestAddress at);
            if (item == RingItem.Fault) return FetchResult.Fault;
            if (item == RingItem.Empty) return FetchResult.Idle;
            TrbRecord record = TrbRecord.From(at, trb);
            if (steps == XhciLimits.TrbsPerTransferHard - 1) return Malformed(transfer, record);
            if (trb.Type == TrbType.Link)
            {
                if (trb.InterruptOnCompletion) transfer.Add(record);
                continue;
            }

            bool isFirst = stage == TrbType.Reserved;
            if (isFirst) stage = trb.Type;
            bool valid = trb.Type switch
            {
                TrbType.SetupStage => isFirst && TakeSetup(endpoint, trb),
                TrbType.DataStage => isFirst && endpoint.Stage == ControlStage.Data && DirectionFits(endpoint, trb) && TakeStageData(ref record, transfer, endpoint, trb),
                TrbType.Normal => stage == TrbType.DataStage && TakeStageData(ref record, transfer, endpoint, trb),
                TrbType.StatusStage => isFirst && endpoint.Stage is ControlStage.Status or ControlStage.StatusWithRequest,
                TrbType.EventData or TrbType.NoOp => true,
                _ => false,
            };
            if (!valid) return Malformed(transfer, record);
            transfer.Add(record);
            if (trb.Chain && trb.Type != TrbType.SetupStage) continue;
            transfer.EndsTd = true;
            transfer.IsLocal = !(stage == TrbType.DataStage || (stage == TrbType.StatusStage && endpoint.Stage == ControlStage.StatusWithRequest));
            if (!transfer.IsLocal) transfer.Request.Setup = endpoint.Setup;
            endpoint.Stage = stage switch
            {
                TrbType.SetupStage => endpoint.Stage,
                TrbType.DataStage => ControlStage.Status,
                TrbType.StatusStage => ControlStage.Setup,
                _ => endpoint.Stage,
            };
            return FetchResult.Made;
        }
    }

    // A Setup Stage also ends a transfer whose later stages the driver gave up (USB 2.0 §8.5.3).
    private static bool TakeSetup(Endpoint endpoint, in Trb trb)
    {
        uint transferType = (trb.Control >> 16) & 3;
        bool valid = trb.ImmediateData && trb.TransferLength == RequestData.ImmediateCapacity && transferType is TrtNoData or TrtOut or TrtIn;
        if (!valid) return false;
        var setup = new SetupPacket(trb.Parameter);
        endpoint.Setup = setup;
        endpoint.Stage = transferType == TrtNoData ? ControlStage.StatusWithRequest : ControlStage.Data;
        endpoint.DataStageIsIn = transferType == TrtIn;
        return true;
    }

    // A DIR flag that contradicts the Setup Stage is a TRB Error, not the end of the controller.
    private static bool DirectionFits(Endpoint endpoint, in Trb trb) =>
        (trb.Control & DirIn) != 0 == endpoint.DataStageIsIn && endpoint.DataStageIsIn == endpoint.Setup.IsIn;

    private static bool TakeStageData(ref TrbRecord record, Transfer transfer, Endpoint endpoint, in Trb trb)
    {
        RequestData data = transfer.Request.Data;
        if (trb.TransferLength > MaxTrbLength || data.Length + trb.TransferLength > MaxDataStage || data.IsImmediate) return false;
        record.Length = trb.TransferLength;
        if (!trb.ImmediateData)
        {
            data.Add(new GuestAddress(trb.Parameter), trb.TransferLength);
            return true;
        }

        if (endpoint.DataStageIsIn || data.Length > 0 || trb.TransferLength > RequestData.ImmediateCapacity) return false;
        System.Span<byte> bytes = stackalloc byte[RequestData.ImmediateCapacity];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(bytes, trb.Parameter);
        data.SetImmediate(bytes[..trb.TransferLength]);
        return true;
    }
}
