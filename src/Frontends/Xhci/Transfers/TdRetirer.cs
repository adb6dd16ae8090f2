using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>What <see cref="TdRetirer.Retire"/> came to.</summary>
internal enum RetireResult
{
    /// <summary>Every finished transfer at the head of the ring is retired.</summary>
    Done,

    /// <summary>An event ring has no room; call again when it may have.</summary>
    EventRingFull,

    /// <summary>A transfer halted the endpoint: its state and dequeue pointer are set, the rest must be unlinked.</summary>
    Halted,
}

/// <summary>
/// From results to events: retires finished transfers in ring order, one Transfer Event for every TRB that asks for one
/// (xHCI 1.2 §4.10, §4.11.3, §4.11.5.2). Where an event ring is full it stops between two events and goes on later, so no event is
/// lost and none is doubled.
/// </summary>
internal sealed class TdRetirer(Interrupters interrupters, TransferPool pool)
{
    private const uint EdtlaMask = 0xffffff;

    /// <summary>Retires what is done at the head of <paramref name="ring"/>.</summary>
    public RetireResult Retire(TransferRing ring)
    {
        Endpoint endpoint = ring.Endpoint;
        while (ring.Head is { IsDone: true } transfer)
        {
            if (endpoint.State == EndpointState.Disabled || endpoint.Drain == DrainMode.Discarding || ring.IsHaltPoint)
            {
                pool.Release(ring.RemoveHead());
                continue;
            }

            RequestStatus status = StatusOf(transfer, out int actual);
            if (status == RequestStatus.Cancelled && endpoint.Drain == DrainMode.Stopping) return RetireResult.Done;
            if (status == RequestStatus.Cancelled && endpoint.State != EndpointState.Running)
            {
                // Another stream halted the endpoint: this one goes on from here when the endpoint runs again. Not before all
                // of it is back: what was dropped while its device has it could move data after Reset Endpoint.
                if (ring.InFlight > 0) return RetireResult.Done;
                int index = transfer.FindRecord(actual, out int first);
                if (!PostEvents(ring, transfer, actual, index)) return RetireResult.EventRingFull;
                ring.Edtla = (ring.Edtla + (uint)(actual - first)) & EdtlaMask;
                SetStopPoint(ring, transfer, index, actual - first);
                Drop(ring);
                return RetireResult.Done;
            }

            CompletionCode error = ErrorCode(transfer, status);
            if (error != CompletionCode.Invalid)
            {
                if (!PostError(ring, transfer, error, actual)) return RetireResult.EventRingFull;
                if (endpoint.Kind != TransferKind.Isochronous || transfer.Malformed != CompletionCode.Invalid)
                {
                    Halt(ring, transfer, actual);
                    pool.Release(ring.RemoveHead());
                    return RetireResult.Halted;
                }
            }
            else if (!PostEvents(ring, transfer, actual, transfer.Count))
            {
                return RetireResult.EventRingFull;
            }

            ring.Dequeue = transfer.End;
            ring.DequeueSkip = transfer.EndSkip;
            if (transfer.EndsTd) ring.Edtla = 0;
            else if (transfer.ShortSeen) ring.SkipsTd = true;
            pool.Release(ring.RemoveHead());
        }

        return RetireResult.Done;
    }

    /// <summary>
    /// The end of a Stop Endpoint Command for one ring (§4.6.9): everything it had in flight is back. Posts the events of the
    /// TRBs that were finished and the Stopped event, and leaves the dequeue pointer where the work stopped. False when an
    /// event ring is full; call again.
    /// </summary>
    public bool FinishStop(TransferRing ring)
    {
        if (ring.IsStopReported) return true;
        if (ring.Head is { } transfer)
        {
            StatusOf(transfer, out int actual);
            int index = transfer.FindRecord(actual, out int start);
            ref TrbRecord record = ref transfer.Records[index];
            if (!PostEvents(ring, transfer, actual, index)) return false;
            int within = actual - start;
            int residual = record.Length - within + record.Left;
            if (!PostStopped(ring, CompletionCode.Stopped, record, residual)) return false;
            ring.Edtla = (ring.Edtla + (uint)within) & EdtlaMask;
            if (ring.Endpoint.Kind == TransferKind.Control) RewindStage(ring, transfer);
            else if (ring.Endpoint.Kind == TransferKind.Isochronous) RewindTd(ring, transfer);
            else SetStopPoint(ring, transfer, index, within);
        }
        else if (ring.SkipsTd)
        {
            // §4.6.9: the TD met a short packet and its last TRBs were not there yet; the length is what the TD moved.
            Trb stopped = Trb.TransferEvent(ring.Dequeue.Address.Value, CompletionCode.StoppedShortPacket, (int)ring.Edtla, false, ring.Endpoint.Slot.Id, ring.Endpoint.Dci);
            if (!interrupters.TryPost(Target(ring.LastInterrupter), stopped)) return false;
        }
        else if (ring.IsInTd)
        {
            // Between two TRBs of an open TD there is no TRB whose length could be told.
            Trb stopped = Trb.TransferEvent(ring.Dequeue.Address.Value, CompletionCode.StoppedLengthInvalid, 0, false, ring.Endpoint.Slot.Id, ring.Endpoint.Dci);
            if (!interrupters.TryPost(Target(ring.LastInterrupter), stopped)) return false;
        }

        Drop(ring);
        ring.RewindFetch(ring.IsInTd);
        ring.IsStopReported = true;
        return true;
    }

    /// <summary>
    /// Forgets every transfer of a ring. Those still on the road are cut off from guest memory, which the driver may use for
    /// something else at once (HCRST does not wait), and released when they come back.
    /// </summary>
    public void Drop(TransferRing ring)
    {
        while (ring.Head is not null)
        {
            Transfer transfer = ring.RemoveHead();
            if (transfer.IsDone)
            {
                pool.Release(transfer);
            }
            else
            {
                transfer.Ring = null;
                transfer.Request.Data.Sever();
                ring.InFlight--;
                ring.Endpoint.InFlight--;
            }
        }
    }

    /// <summary>Posts an event that belongs to the ring but to no TRB (Ring Underrun, Ring Overrun; §4.10.3.1).</summary>
    public bool PostRingEvent(TransferRing ring, CompletionCode code) =>
        interrupters.TryPost(Target(ring.LastInterrupter), Trb.TransferEvent(0, code, 0, false, ring.Endpoint.Slot.Id, ring.Endpoint.Dci));

    private static RequestStatus StatusOf(Transfer transfer, out int actual)
    {
        UsbRequest request = transfer.Request;
        // The pipeline checks what a device claims with a completion; what it claimed of a request on its way is checked here.
        actual = transfer.IsLocal ? 0 : System.Math.Clamp(request.ActualLength, 0, request.Length);
        if (transfer.IsLocal) return RequestStatus.Success;
        if (request.Kind != TransferKind.Isochronous || request.Status != RequestStatus.Success) return request.Status;
        ref readonly IsoPacket packet = ref request.Packets[0];
        actual = System.Math.Clamp(packet.ActualLength, 0, System.Math.Max(0, packet.Length));
        return packet.Status;
    }

    private static CompletionCode ErrorCode(Transfer transfer, RequestStatus status)
    {
        if (transfer.Malformed != CompletionCode.Invalid) return transfer.Malformed;
        if (transfer.IsochError != CompletionCode.Invalid) return transfer.IsochError;
        UsbRequest request = transfer.Request;
        return status switch
        {
            RequestStatus.Success when !request.IsIn && !transfer.IsLocal && request.ActualLength < request.Length && request.Kind != TransferKind.Isochronous => CompletionCode.UsbTransactionError,
            RequestStatus.Success => CompletionCode.Invalid,
            RequestStatus.Stall => CompletionCode.StallError,
            // A buffer outside mapped memory costs its endpoint, not the controller (table 6-90; CVE-2020-25084).
            RequestStatus.MemoryFault => CompletionCode.DataBufferError,
            // §4.10.2.4: a device that sends more than the TD holds, but no more than the interval allows.
            RequestStatus.Babble when request.Kind == TransferKind.Isochronous => CompletionCode.IsochBufferOverrun,
            RequestStatus.Babble => CompletionCode.BabbleDetectedError,
            // NoDevice and a cancel that the guest did not ask for (a port reset) look like silence on the bus.
            _ => CompletionCode.UsbTransactionError,
        };
    }

    // Events of the records before `until`, from where the last call stopped.
    private bool PostEvents(TransferRing ring, Transfer transfer, int actual, int until)
    {
        if (transfer.IsSkipped) transfer.ShortSeen = true;
        while (transfer.EventIndex < until)
        {
            ref TrbRecord record = ref transfer.Records[transfer.EventIndex];
            int moved = 0;
            bool isShort = transfer.ShortSeen;
            Trb? trbEvent = null;
            Trb flags = record.Flags;
            ring.LastInterrupter = record.Interrupter;
            if (record.Type == TrbType.EventData)
            {
                if (flags.InterruptOnCompletion)
                    trbEvent = Event(ring, record.Parameter, isShort ? CompletionCode.ShortPacket : CompletionCode.Success, (int)ring.Edtla, isEventData: true);
            }
            else if (TransferRing.MovesData(record.Type))
            {
                moved = System.Math.Clamp(actual - transfer.EventBytes, 0, record.Length);
                bool endsHere = !transfer.ShortSeen && moved < record.Length;
                isShort |= endsHere;
                int residual = record.Length - moved + record.Left;
                // The rest of a TRB whose first part was short or came after a short packet has had its event (Skip > 0).
                bool reports = endsHere
                    ? flags.InterruptOnCompletion || flags.InterruptOnShort
                    : flags.InterruptOnCompletion && (isShort ? record.Skip == 0 : record.Left == 0);
                if (reports)
                    trbEvent = Event(ring, record.Address.Value, isShort ? CompletionCode.ShortPacket : CompletionCode.Success, residual, isEventData: false);
            }
            else if (flags.InterruptOnCompletion)
            {
                trbEvent = Event(ring, record.Address.Value, CompletionCode.Success, 0, isEventData: false);
            }

            if (trbEvent is { } post && !interrupters.TryPost(Target(record.Interrupter), post, record.Type != TrbType.Link && flags.BlockEventInterrupt)) return false;
            // §4.11.5.2: the accumulator restarts behind an Event Data TRB.
            ring.Edtla = record.Type == TrbType.EventData ? 0 : (ring.Edtla + (uint)moved) & EdtlaMask;
            transfer.ShortSeen = isShort;
            transfer.EventBytes += record.Length;
            transfer.EventIndex++;
        }

        return true;
    }

    // An error is reported at the TRB in which it happened, whatever its flags (§4.10.1, §4.10.2).
    private bool PostError(TransferRing ring, Transfer transfer, CompletionCode code, int actual)
    {
        int index = FailingRecord(transfer, actual, out int start);
        // Of a malformed TD nothing was sent, so its other TRBs have nothing to tell.
        if (transfer.Malformed == CompletionCode.Invalid && !PostEvents(ring, transfer, actual, index)) return false;
        ref TrbRecord record = ref transfer.Records[index];
        int residual = TransferRing.MovesData(record.Type) ? record.Length - (actual - start) + record.Left : 0;
        ring.LastInterrupter = record.Interrupter;
        return interrupters.TryPost(Target(record.Interrupter), Event(ring, record.Address.Value, code, residual, isEventData: false));
    }

    private static int FailingRecord(Transfer transfer, int actual, out int start)
    {
        if (transfer.Malformed == CompletionCode.Invalid) return transfer.FindRecord(actual, out start);
        start = 0;
        return transfer.Count - 1;
    }

    // §4.8.3: Halted for errors of the bus and the device, Error for a TRB Error; the dequeue pointer names the TRB.
    private static void Halt(TransferRing ring, Transfer transfer, int actual)
    {
        Endpoint endpoint = ring.Endpoint;
        endpoint.State = transfer.Malformed != CompletionCode.Invalid ? EndpointState.Error : EndpointState.Halted;
        int index = FailingRecord(transfer, actual, out int start);
        SetStopPoint(ring, transfer, index, transfer.Malformed != CompletionCode.Invalid ? 0 : actual - start);
        ring.SkipsTd = false;
        ring.IsHaltPoint = true;
        endpoint.Stage = ControlStage.Setup;
        endpoint.IsScheduled = false;
    }

    private static void SetStopPoint(TransferRing ring, Transfer transfer, int index, int within)
    {
        ref TrbRecord record = ref transfer.Records[index];
        ring.Dequeue = record.Position;
        ring.DequeueSkip = record.Skip + within;
        bool inTd = !transfer.StartsTd || ring.DequeueSkip > 0;
        for (int i = 0; i < index; i++) inTd |= transfer.Records[i].Type != TrbType.Link;
        ring.RewindFetch(inTd);
    }

    // A control transfer cannot be taken up in the middle of a stage: the device would see a new SETUP. It restarts at the
    // stage that was cut off.
    private static void RewindStage(TransferRing ring, Transfer transfer)
    {
        ref TrbRecord first = ref transfer.Records[0];
        for (int i = 0; i < transfer.Count && first.Type is TrbType.Link; i++) first = ref transfer.Records[i];
        ring.Endpoint.Stage = first.Type == TrbType.DataStage ? ControlStage.Data : ControlStage.StatusWithRequest;
        ring.Dequeue = first.Position;
        ring.DequeueSkip = 0;
        ring.Edtla = 0;
        ring.RewindFetch(inTd: false);
    }

    // Half an isochronous TD has no interval of its own; the TD is scheduled anew as a whole (§4.11.2.5).
    private static void RewindTd(TransferRing ring, Transfer transfer)
    {
        SetStopPoint(ring, transfer, index: 0, within: 0);
        ring.Edtla = 0;
    }

    private bool PostStopped(TransferRing ring, CompletionCode code, in TrbRecord record, int residual)
    {
        bool movesData = TransferRing.MovesData(record.Type) || record.Type == TrbType.StatusStage;
        Trb stopped = Event(ring, record.Address.Value, movesData ? code : CompletionCode.StoppedLengthInvalid, movesData ? residual : 0, isEventData: false);
        return interrupters.TryPost(Target(record.Interrupter), stopped);
    }

    private static Trb Event(TransferRing ring, ulong pointer, CompletionCode code, int length, bool isEventData) =>
        Trb.TransferEvent(pointer, code, length, isEventData, ring.Endpoint.Slot.Id, ring.Endpoint.Dci);

    // An Interrupter Target beyond MaxIntrs is undefined (§6.4.1); the primary interrupter loses no event.
    private int Target(int interrupter) => interrupter < interrupters.Count ? interrupter : 0;
}
