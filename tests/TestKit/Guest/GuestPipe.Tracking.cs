using System;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>TDs in flight, matched with their transfer events (xHCI 1.2 §4.10, §4.11).</summary>
public sealed partial class GuestPipe
{
    /// <summary>A transfer event for this endpoint. False when it names nothing that the pipe queued.</summary>
    internal bool OnEvent(in GuestEvent taken)
    {
        switch (taken.Code)
        {
            case GuestCompletion.Stopped:
            case GuestCompletion.StoppedLengthInvalid:
            case GuestCompletion.StoppedShortPacket:
                LastStop = taken;
                return true;
            case GuestCompletion.RingUnderrun:
            case GuestCompletion.RingOverrun:
                UnderrunsAndOverruns++;
                return true;
            default:
                return taken.IsEventData ? OnEventData(taken) : OnTransferEvent(taken);
        }
    }

    private bool OnEventData(in GuestEvent taken)
    {
        foreach (Lane lane in _lanes)
        {
            for (int i = 0; i < lane.Count; i++)
            {
                if ((ulong)lane.At(i).Id != taken.Pointer) continue;
                Finish(lane, i, taken.Code, taken.Residual);
                return true;
            }
        }

        return false;
    }

    private bool OnTransferEvent(in GuestEvent taken)
    {
        foreach (Lane lane in _lanes)
        {
            if (!lane.Ring.Contains(taken.Pointer)) continue;
            for (int i = 0; i < lane.Count; i++)
            {
                ref Td td = ref lane.At(i);
                if (lane.Ring.Distance(td.First, taken.Pointer) > td.Trbs) continue;
                OnTdEvent(lane, i, ref td, taken);
                return true;
            }

            if (lane.LastDone != taken.Pointer) return false;
            RedundantEvents++;
            return true;
        }

        return false;
    }

    private void OnTdEvent(Lane lane, int index, ref Td td, in GuestEvent taken)
    {
        bool isLast = taken.Pointer == td.Last;
        switch (taken.Code)
        {
            case GuestCompletion.Success when !isLast:
                return;
            case GuestCompletion.Success when isLast && taken.Residual == 0:
                Finish(lane, index, td.ShortActual >= 0 ? GuestCompletion.ShortPacket : GuestCompletion.Success, td.ShortActual >= 0 ? td.ShortActual : td.Length);
                return;
            case GuestCompletion.ShortPacket when td.IsControl && !isLast:
                td.ShortActual = BytesThrough(lane.Ring, td, taken);
                return;
            default:
                Finish(lane, index, taken.Code, td.ShortActual >= 0 ? td.ShortActual : BytesThrough(lane.Ring, td, taken));
                return;
        }
    }

    // Sums what the TRBs before the event's moved, and what that one moved.
    private static int BytesThrough(GuestRing ring, in Td td, in GuestEvent taken)
    {
        int sum = 0;
        ulong at = td.First;
        for (int i = 0; i < td.Trbs; i++)
        {
            GuestTrb trb = ring.Read(at);
            bool isData = trb.Type is GuestTrbType.Normal or GuestTrbType.DataStage or GuestTrbType.Isoch;
            if (at == taken.Pointer) return isData ? sum + Math.Max(0, trb.Length - taken.Residual) : sum;
            if (isData) sum += trb.Length;
            at = ring.Next(at);
        }

        return sum;
    }

    // Ends the TD at an index; those before it were passed over without an event of their own.
    private void Finish(Lane lane, int index, GuestCompletion code, int actual)
    {
        bool isIsochronous = Endpoint.Kind == TransferKind.Isochronous;
        for (int i = 0; i < index; i++)
            Push(lane, lane.At(i), isIsochronous ? GuestCompletion.MissedService : GuestCompletion.Undefined, 0);
        Td td = lane.At(index);
        Push(lane, td, code, actual);
        lane.Drop(index + 1);
        lane.LastDone = td.Last;
        lane.Ring.ReleaseThrough(td.Last);
        InFlight -= index + 1;
        if (!isIsochronous && code is not (GuestCompletion.Success or GuestCompletion.ShortPacket)) Halted = true;
    }

    private void Push(Lane lane, in Td td, GuestCompletion code, int actual)
    {
        if (_doneCount == _done.Length)
        {
            var larger = new TransferCompletion[_done.Length * 2];
            for (int i = 0; i < _doneCount; i++) larger[i] = _done[(_doneHead + i) % _done.Length];
            _done = larger;
            _doneHead = 0;
        }

        _done[(_doneHead + _doneCount++) % _done.Length] = new TransferCompletion(td.Id, code, actual, td.Length, lane.Stream);
    }

    private long Open(Lane lane, int length, bool isControl = false)
    {
        long id = _nextId++;
        lane.Add(new Td { Id = id, Length = length, IsControl = isControl, ShortActual = -1 });
        InFlight++;
        return id;
    }

    private void Append(Lane lane, in GuestTrb trb, int left, bool last, long id, TdFlags flags)
    {
        bool eventData = (flags & TdFlags.EventData) != 0;
        uint bits = trb.Control;
        if (!last || eventData) bits |= GuestTrb.Chain;
        if ((last && !eventData) || (flags & TdFlags.InterruptEachTrb) != 0) bits |= GuestTrb.InterruptOnCompletion;
        if (IsIn && !eventData && (flags & TdFlags.NoInterruptOnShort) == 0) bits |= GuestTrb.InterruptOnShort;
        uint blocked = last && (flags & TdFlags.BlockEventInterrupt) != 0 ? GuestTrb.BlockEventInterrupt : 0;

        // Only Normal and Event Data TRBs have BEI in bit 9; in an Isoch TRB it is the same bit (§6.4.1.3).
        if (!eventData) bits |= blocked;
        if (eventData && last) bits |= GuestTrb.EvaluateNext;
        uint status = GuestTrb.TransferStatus(trb.Length, left == 0 ? 0 : TdSize(left), Interrupter);
        Note(lane, lane.Ring.Enqueue(new GuestTrb(trb.Parameter, status, bits)));
        if (eventData && last)
            Note(lane, lane.Ring.Enqueue(GuestTrb.EventData((ulong)id, GuestTrb.InterruptOnCompletion | blocked, Interrupter)));
    }

    // TD Size: packets left after the TRB, at most 31 (§4.11.2.4).
    private int TdSize(int left) => Math.Min(31, (left + Endpoint.MaxPacketSize - 1) / Math.Max(1, Endpoint.MaxPacketSize));

    private static void Note(Lane lane, ulong address)
    {
        ref Td td = ref lane.At(lane.Count - 1);
        if (td.Trbs++ == 0) td.First = address;
        td.Last = address;
    }

    private void Close(Lane lane, TdFlags flags)
    {
        lane.Ring.EndTd();
        if ((flags & TdFlags.NoDoorbell) == 0) Kick(lane.Stream);
    }

    private Lane LaneOf(int stream)
    {
        if (_lanes[0].Stream == stream) return _lanes[0];
        foreach (Lane lane in _lanes)
        {
            if (lane.Stream == stream) return lane;
        }

        throw new GuestDriverException($"no stream {stream} on DCI {Dci}");
    }

    private struct Td
    {
        public long Id;
        public ulong First;
        public ulong Last;
        public int Trbs;
        public int Length;
        public int ShortActual;
        public bool IsControl;
    }

    /// <summary>One ring and its TDs in flight, oldest first.</summary>
    private sealed class Lane(int stream, GuestRing ring)
    {
        private readonly Td[] _tds = new Td[ring.Capacity];
        private int _head;

        public int Stream => stream;

        public GuestRing Ring => ring;

        public int Count { get; private set; }

        public ulong LastDone { get; set; }

        public ref Td At(int index) => ref _tds[(_head + index) % _tds.Length];

        public void Add(in Td td) => _tds[(_head + Count++) % _tds.Length] = td;

        public void Drop(int count)
        {
            _head = (_head + count) % _tds.Length;
            Count -= count;
        }
    }
}
