using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Frontends.Xhci.Transfers;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.State;

/// <summary>Between live slots and their saved records. Restoring trusts nothing: a record may come from an attacker.</summary>
internal static class SlotStateCodec
{
    /// <summary>Records of every enabled slot.</summary>
    public static SlotStateV1[] Capture(DeviceSlots slots)
    {
        var result = new List<SlotStateV1>();
        for (int id = 1; id <= slots.Count; id++)
        {
            if (slots.FindEnabled(id) is not { } slot) continue;
            var endpoints = new List<EndpointStateV1>();
            for (int dci = 1; dci <= XhciLimits.Endpoints; dci++)
                if (slot[dci] is { } endpoint) endpoints.Add(Capture(endpoint));
            SlotContext c = slot.Context;
            result.Add(new SlotStateV1(
                id, (int)slot.State, c.Word0, c.Word1, c.Word2, c.Word3, slot.ContextAddress.Value, slot.Port.Value, (int)slot.Speed,
                slot.Address.Value, [.. endpoints]));
        }

        return [.. result];
    }

    /// <summary>
    /// Restores one slot, with its transfers when <paramref name="withTransfers"/>. Returns the reason when the record cannot be valid;
    /// the slot is then in no defined state and the caller resets the controller.
    /// </summary>
    public static string? Restore(SlotStateV1 state, DeviceSlots slots, TransferEngine engine, Bandwidth bandwidth, int connectors, bool withTransfers)
    {
        if (slots.Find(state.Id) is not { IsEnabled: false } slot) return $"slot {state.Id} does not exist or is named twice";
        if (state.State is < 0 or > (int)SlotState.Configured) return $"slot {state.Id}: state {state.State}";
        if (state.Port < 0 || state.Port > connectors) return $"slot {state.Id}: port {state.Port}";
        if (state.Speed is < 0 or > (int)UsbSpeed.Super) return $"slot {state.Id}: speed {state.Speed}";
        if (state.Address is < 0 or > DeviceAddress.Max) return $"slot {state.Id}: address {state.Address}";
        if (state.State != (int)SlotState.Enabled && state.Port == 0) return $"slot {state.Id}: no port";
        slot.IsEnabled = true;
        slot.State = (SlotState)state.State;
        slot.Context = new SlotContext(state.Word0, state.Word1, state.Word2, state.Word3);
        slot.ContextAddress = new GuestAddress(state.ContextAddress);
        slot.Port = new PortNumber(state.Port);
        slot.Speed = (UsbSpeed)state.Speed;
        slot.Address = new DeviceAddress((byte)state.Address);
        foreach (EndpointStateV1 endpoint in state.Endpoints ?? [])
        {
            if (endpoint is null) return $"slot {state.Id}: an endpoint is missing";
            if (Restore(endpoint, slot, engine, bandwidth, withTransfers) is { } reason) return $"slot {state.Id} endpoint {endpoint.Dci}: {reason}";
        }

        return null;
    }

    private static EndpointStateV1 Capture(Endpoint e)
    {
        var rings = new List<RingStateV1>();
        if (e.Streams is null) rings.Add(Capture(e.Ring));
        for (TransferRing? ring = e.Streams?.Active; ring is not null; ring = ring.NextActive) rings.Add(Capture(ring));
        EndpointContext c = e.Context;
        return new EndpointStateV1(
            e.Dci, c.Word0, c.Word1, c.Dequeue, c.Word4, (int)e.State, e.PacketSize, (int)e.Drain, e.IsUnlinking, e.IsParked, (int)e.Stage,
            e.Setup.Raw, e.DataStageIsIn, e.IsScheduled, e.NextService, [.. rings], e.Streams?.PendingIds() ?? []);
    }

    private static RingStateV1 Capture(TransferRing r)
    {
        var transfers = new List<TransferStateV1>();
        for (Transfer? t = r.Head; t is not null; t = t.Next) transfers.Add(Capture(t));
        return new RingStateV1(
            r.StreamId, r.Fetch.ToPointer(), r.FetchSkip, r.Dequeue.ToPointer(), r.DequeueSkip, r.IsInTd, r.SkipsTd, r.Edtla,
            r.ShouldFetch, r.IsHaltPoint, r.IsStopReported, r.LastInterrupter, [.. transfers]);
    }

    private static TransferStateV1 Capture(Transfer t)
    {
        UsbRequest q = t.Request;
        var trbs = new TrbStateV1[t.Count];
        for (int i = 0; i < t.Count; i++)
        {
            ref TrbRecord r = ref t.Records[i];
            trbs[i] = new TrbStateV1(r.Address.Value, r.Parameter, r.Control, r.Skip, r.Length, r.Left, r.Interrupter);
        }

        Span<byte> immediate = stackalloc byte[RequestData.ImmediateCapacity];
        q.Data.Immediate.CopyTo(immediate);
        var segments = new List<SegmentStateV1>();
        foreach (GuestSegment s in q.Data.Segments) segments.Add(new SegmentStateV1(s.Address.Value, s.Length));
        // A transfer without a request still has the packet of the one before it in the pool.
        IsoPacket packet = q.PacketCount > 0 ? q.Packets[0] : default;
        return new TransferStateV1(
            t.StartsTd, t.EndsTd, t.IsLocal, t.IsSkipped, t.IsDone, (int)t.IsochError, (int)t.Malformed, t.End.ToPointer(), t.EndSkip,
            t.EventIndex, t.EventBytes, t.ShortSeen, q.Setup.Raw, q.StartMicroframe, q.ActualLength, (int)q.Status,
            packet.ActualLength, (int)packet.Status, q.Data.IsImmediate, BinaryPrimitives.ReadUInt64LittleEndian(immediate),
            q.Data.Immediate.Length, [.. segments], trbs);
    }

    private static string? Restore(EndpointStateV1 s, Slot slot, TransferEngine engine, Bandwidth bandwidth, bool withTransfers)
    {
        if (s.Dci is < 1 or > XhciLimits.Endpoints || slot[s.Dci] is not null) return "no such endpoint, or named twice";
        var context = new EndpointContext(s.Word0, s.Word1, s.Dequeue, s.Word4);
        bool valid = s.Dci == 1 ? Commands.EndpointContextRules.IsValidControl(context) : Commands.EndpointContextRules.IsValid(context, s.Dci, slot.Speed);
        if (!valid) return "endpoint context";
        if (s.State is < (int)EndpointState.Running or > (int)EndpointState.Error) return $"state {s.State}";
        if (s.PacketSize is < 1 or > 1024) return $"packet size {s.PacketSize}";
        if (s.Drain is < 0 or > (int)DrainMode.Discarding || s.Stage is < 0 or > (int)ControlStage.Status) return "drain or stage";
        var endpoint = new Endpoint(slot, s.Dci, context)
        {
            State = (EndpointState)s.State,
            PacketSize = s.PacketSize,
            Stage = (ControlStage)s.Stage,
            Setup = new SetupPacket(s.Setup),
            DataStageIsIn = s.DataStageIsIn,
            IsScheduled = s.IsScheduled,
            NextService = s.NextService,
        };
        int wanted = s.Rings?.Length ?? 0;
        if (endpoint.Streams is null ? wanted != 1 : wanted > XhciLimits.ActiveStreams) return $"{wanted} rings";
        slot[s.Dci] = endpoint;
        if (s.Dci > 1) bandwidth.Reserve(slot, s.Dci, context);
        engine.Enabled(endpoint, isRestored: withTransfers);
        foreach (int id in s.PendingStreams ?? [])
        {
            if (endpoint.Streams is not { } streams || !streams.IsValidId(id)) return $"stream {id}";
            streams.RingDoorbell(id);
        }

        foreach (RingStateV1 ring in s.Rings ?? [])
        {
            if (ring is null) return "a ring is missing";
            if (Restore(ring, endpoint, engine, withTransfers) is { } reason) return reason;
        }

        if (withTransfers) engine.RestoreDrain(endpoint, (DrainMode)s.Drain, s.IsUnlinking);
        if (s.IsParked && withTransfers) engine.Park(endpoint);
        else engine.MakeReady(endpoint);
        return null;
    }

    private static string? Restore(RingStateV1 s, Endpoint endpoint, TransferEngine engine, bool withTransfers)
    {
        TransferRing ring = endpoint.Ring;
        if (endpoint.Streams is { } streams)
        {
            if (!streams.IsValidId(s.StreamId) || streams.FindActive(s.StreamId) is not null) return $"stream {s.StreamId}";
            ring = streams.Activate(s.StreamId, new StreamContext(s.Dequeue, 0));
        }

        if (s.FetchSkip is < 0 or > TdFetcher.MaxTrbLength || s.DequeueSkip is < 0 or > TdFetcher.MaxTrbLength) return "offset outside a TRB";
        ring.SetDequeue(RingPosition.FromPointer(s.Dequeue));
        ring.DequeueSkip = s.DequeueSkip;
        ring.IsInTd = s.IsInTd;
        ring.SkipsTd = s.SkipsTd;
        ring.Edtla = s.Edtla & 0xffffff;
        ring.IsHaltPoint = s.IsHaltPoint;
        ring.LastInterrupter = s.LastInterrupter & 0x3ff;
        ring.IsStopReported = s.IsStopReported;
        ring.ShouldFetch = s.ShouldFetch;
        if (!withTransfers)
        {
            ring.RewindFetch(s.DequeueSkip > 0 || (s.IsInTd && s.Fetch == s.Dequeue));
            return null;
        }

        ring.Fetch = RingPosition.FromPointer(s.Fetch);
        ring.FetchSkip = s.FetchSkip;
        if ((s.Transfers?.Length ?? 0) > XhciLimits.TransfersPerRing) return "too many transfers";
        foreach (TransferStateV1 t in s.Transfers ?? [])
        {
            if (t is null || engine.Pool.TryTake() is not { } transfer) return "a transfer is missing or there are too many";
            if (!TryFill(t, transfer))
            {
                engine.Pool.Release(transfer, charged: false);
                return "transfer";
            }

            engine.RestoreTransfer(endpoint, ring, transfer);
        }

        return null;
    }

    private static bool TryFill(TransferStateV1 s, Transfer t)
    {
        if (s.Trbs is not { Length: > 0 and <= XhciLimits.TrbsPerTransferHard } || s.Segments is null || s.Segments.Length > XhciLimits.TrbsPerTransferHard) return false;
        if (s.EventIndex < 0 || s.EventIndex > s.Trbs.Length || s.EndSkip is < 0 or > TdFetcher.MaxTrbLength) return false;
        if (!Enum.IsDefined((RequestStatus)s.Status) || !Enum.IsDefined((RequestStatus)s.PacketStatus) || s.Malformed is < 0 or > 255 || s.IsochError is < 0 or > 255) return false;
        long bytes = 0;
        int covered = 0;
        int reported = 0;
        foreach (TrbStateV1 r in s.Trbs)
        {
            if (r is null || !IsTrbPart(r.Skip) || !IsTrbPart(r.Length) || !IsTrbPart(r.Left) || r.Interrupter is < 0 or > 0x3ff) return false;
            if (t.Count < s.EventIndex) reported += r.Length;
            covered += r.Length;
            t.Add(new TrbRecord
            {
                Address = new GuestAddress(r.Address),
                Parameter = r.Parameter,
                Control = r.Control,
                Skip = r.Skip,
                Length = r.Length,
                Left = r.Left,
                Interrupter = (ushort)r.Interrupter,
            });
        }

        UsbRequest q = t.Request;
        if (s.IsImmediate)
        {
            if (s.ImmediateLength is < 0 or > RequestData.ImmediateCapacity) return false;
            Span<byte> immediate = stackalloc byte[RequestData.ImmediateCapacity];
            BinaryPrimitives.WriteUInt64LittleEndian(immediate, s.Immediate);
            q.Data.SetImmediate(immediate[..s.ImmediateLength]);
        }

        foreach (SegmentStateV1 g in s.Segments)
        {
            if (g is null || g.Length < 0 || (bytes += g.Length) > UsbRequest.MaxLength || s.IsImmediate) return false;
            q.Data.Add(new GuestAddress(g.Address), g.Length);
        }

        // Where a request is behind them, the TRBs cover its data and nothing else; the events count on it.
        if (s.EventBytes != reported || (!s.IsLocal && covered != q.Length)) return false;
        foreach (ref TrbRecord r in t.Records)
            if (r.Length > 0 && !TransferRing.MovesData(r.Type)) return false;
        if (s.ActualLength < 0 || s.ActualLength > q.Length || s.PacketActualLength < 0 || s.PacketActualLength > q.Length) return false;
        t.StartsTd = s.StartsTd;
        t.EndsTd = s.EndsTd;
        t.IsLocal = s.IsLocal;
        t.IsSkipped = s.IsSkipped;
        t.IsDone = s.IsDone || s.IsLocal;
        t.IsochError = (CompletionCode)s.IsochError;
        t.Malformed = (CompletionCode)s.Malformed;
        t.End = RingPosition.FromPointer(s.End);
        t.EndSkip = s.EndSkip;
        t.EventIndex = s.EventIndex;
        t.EventBytes = s.EventBytes;
        t.ShortSeen = s.ShortSeen;
        q.Setup = new SetupPacket(s.Setup);
        q.StartMicroframe = s.StartMicroframe;
        q.RestoreResult((RequestStatus)s.Status, s.ActualLength);
        q.PacketCount = 1;
        q.Packets[0] = new IsoPacket { Length = q.Length, ActualLength = s.PacketActualLength, Status = (RequestStatus)s.PacketStatus };
        return true;
    }

    private static bool IsTrbPart(int bytes) => bytes is >= 0 and <= TdFetcher.MaxTrbLength;
}
