using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>
/// The middle of the road: doorbell -> <see cref="TdFetcher"/> -> pipeline ... pipeline -> <see cref="TdRetirer"/> -> event.
/// It decides which endpoint is served when, and nothing else.
/// </summary>
/// <remarks>
/// A doorbell only marks its endpoint ready; rings are walked from <see cref="Service"/>, under a budget, so a vCPU never
/// waits for a transfer and a completion never recurses into a fetch (CVE-2017-9375).
/// </remarks>
internal sealed class TransferEngine
{
    // Transfers fetched for one endpoint before the next one has its turn.
    private const int Quantum = 32;

    private readonly XhciController _controller;
    private readonly IGuestMemory _memory;
    private readonly UsbPipeline _pipeline;
    private readonly XhciRegisters _registers;
    private readonly TdFetcher _fetcher;
    private readonly TdRetirer _retirer;
    private readonly Transfer[] _unlinkOrder = new Transfer[XhciLimits.TransfersPerRing];
    private Endpoint? _firstReady;
    private Endpoint? _lastReady;
    private Endpoint? _parked;
    private Endpoint? _isoch;

    /// <summary>Makes the engine of <paramref name="controller"/>.</summary>
    public TransferEngine(XhciController controller, IGuestMemory memory, UsbPipeline pipeline, XhciRegisters registers, Interrupters interrupters)
    {
        _controller = controller;
        _memory = memory;
        _pipeline = pipeline;
        _registers = registers;
        _fetcher = new TdFetcher(memory, Pool);
        _retirer = new TdRetirer(interrupters, Pool);
    }

    /// <summary>The controller's transfers.</summary>
    public TransferPool Pool { get; } = new();

    /// <summary>Some endpoint has work now.</summary>
    public bool HasReady => _firstReady is not null;

    /// <summary>When the next isochronous ring will have run dry.</summary>
    public VirtualTime NextDeadline
    {
        get
        {
            VirtualTime next = VirtualTime.Never;
            for (Endpoint? e = _isoch; e is not null; e = e.NextIsoch)
            {
                bool runsDry = e.IsScheduled && e.State == EndpointState.Running && e.Ring.Count == 0 && !e.IsParked && e.Drain == DrainMode.None;
                if (runsDry) next = VirtualTime.Min(next, VirtualTime.AtMicroframe(e.NextService));
            }

            return next;
        }
    }

    /// <summary>A doorbell of an enabled endpoint (§4.7, §4.8.3): Stopped endpoints run again; Halted and Error ones stay.</summary>
    public void RingDoorbell(Endpoint endpoint, int streamId)
    {
        if (endpoint.State is EndpointState.Halted or EndpointState.Error) return;
        if (endpoint.Streams is { } streams)
        {
            if (!streams.IsValidId(streamId)) return;
            streams.RingDoorbell(streamId);
        }

        if (endpoint.State == EndpointState.Stopped)
        {
            endpoint.State = EndpointState.Running;
            WriteState(endpoint);
        }

        endpoint.Ring.ShouldFetch = true;
        MakeReady(endpoint);
    }

    /// <summary>Serves ready endpoints in turn until none is left or the budget is spent.</summary>
    public void Service(ref WorkBudget budget)
    {
        CheckIsochRings();
        while (_firstReady is { } endpoint && budget.HasRoomForTransfer && !_registers.IsDead)
        {
            _firstReady = endpoint.NextReady;
            if (_firstReady is null) _lastReady = null;
            endpoint.NextReady = null;
            endpoint.IsReady = false;
            Serve(endpoint, ref budget);
        }
    }

    /// <summary>A request came back (IUsbFrontend.Completed).</summary>
    public void Completed(UsbRequest request)
    {
        var transfer = (Transfer)request.Tag!;
        transfer.IsDone = true;
        if (transfer.Ring is not { } ring)
        {
            Pool.Release(transfer);
            UnparkAll();
            return;
        }

        Endpoint endpoint = ring.Endpoint;
        ring.InFlight--;
        endpoint.InFlight--;
        if (endpoint.InFlight == 0)
        {
            endpoint.IsUnlinking = false;
            _controller.WakeCommand();
        }

        // Drivers may add TRBs to a running ring without a doorbell; looking once per completion finds them (§4.9.2).
        ring.ShouldFetch = true;
        if (!_controller.CanWork)
        {
            MakeReady(endpoint);
            return;
        }

        RetireRing(endpoint, ring);
        MakeReady(endpoint);
        if (_parked is not null) UnparkAll();
    }

    /// <summary>Event rings have room or transfers are free: everybody who waited may try again.</summary>
    public void UnparkAll()
    {
        while (_parked is { } endpoint)
        {
            _parked = endpoint.NextParked;
            endpoint.NextParked = null;
            endpoint.IsParked = false;
            MakeReady(endpoint);
        }
    }

    /// <summary>R/S = 0: isochronous schedules end; what is in flight is reported when the controller runs again.</summary>
    public void Halt()
    {
        for (Endpoint? e = _isoch; e is not null; e = e.NextIsoch) e.IsScheduled = false;
    }

    /// <summary>R/S = 1: transfers that ended while the controller was halted are still to be reported.</summary>
    public void Resume(DeviceSlots slots)
    {
        UnparkAll();
        for (int id = 1; id <= slots.Count; id++)
        {
            if (slots.FindEnabled(id) is not { } slot) continue;
            for (int dci = 1; dci <= XhciLimits.Endpoints; dci++)
                if (slot[dci] is { } endpoint) MakeReady(endpoint);
        }
    }

    /// <summary>Puts an endpoint into the list of those with work.</summary>
    public void MakeReady(Endpoint endpoint)
    {
        if (endpoint.IsReady) return;
        endpoint.IsReady = true;
        if (_lastReady is null) _firstReady = endpoint;
        else _lastReady.NextReady = endpoint;
        _lastReady = endpoint;
    }

    /// <summary>An endpoint was configured: isochronous ones are watched for running dry.</summary>
    public void Enabled(Endpoint endpoint, bool isRestored = false)
    {
        // A restored pipeline knows its streams, also that a port reset has taken them away.
        if (!isRestored && endpoint.Streams is { } streams) _pipeline.SetStreams(endpoint.Slot.Port, endpoint.Address, streams.HighestId);
        if (endpoint.Kind != TransferKind.Isochronous) return;
        endpoint.NextIsoch = _isoch;
        _isoch = endpoint;
    }

    /// <summary>An endpoint is gone: it is in no list any more and its transfers concern nobody.</summary>
    public void Disabled(Endpoint endpoint)
    {
        endpoint.State = EndpointState.Disabled;
        if (endpoint.InFlight > 0) Unlink(endpoint);
        _retirer.Drop(endpoint.Ring);
        for (TransferRing? ring = endpoint.Streams?.Active; ring is not null; ring = ring.NextActive) _retirer.Drop(ring);
        if (endpoint.Streams is not null) _pipeline.SetStreams(endpoint.Slot.Port, endpoint.Address, 0);
        Endpoint? previous = null;
        for (Endpoint? e = _isoch; e is not null; previous = e, e = e.NextIsoch)
        {
            if (e != endpoint) continue;
            if (previous is null) _isoch = e.NextIsoch;
            else previous.NextIsoch = e.NextIsoch;
            break;
        }
    }

    /// <summary>Forgets every list (controller reset); the endpoints themselves are disabled by their slots.</summary>
    public void Clear()
    {
        while (_firstReady is { } ready)
        {
            _firstReady = ready.NextReady;
            ready.NextReady = null;
            ready.IsReady = false;
        }

        _lastReady = null;
        _parked = null;
        _isoch = null;
    }

    /// <summary>
    /// Asks for everything that is in flight and says whether it is all back. The youngest goes first, so that nothing young
    /// starts while an older one is taken away, and what was moved stays a prefix of the ring.
    /// </summary>
    public bool Quiesce(Endpoint endpoint, DrainMode mode)
    {
        if (endpoint.Drain == DrainMode.None)
        {
            endpoint.Drain = mode;
            if (endpoint.InFlight > 0) Unlink(endpoint);
        }

        if (mode == DrainMode.Discarding) endpoint.Drain = mode;
        if (endpoint.InFlight > 0) return false;
        // What had ended and waited for room in an event ring goes too.
        return mode != DrainMode.Discarding || Retire(endpoint);
    }

    /// <summary>
    /// Second half of Stop Endpoint (§4.6.9) once <see cref="Quiesce"/> is true: retires what ended, posts the Stopped events
    /// and writes the contexts. False while an event ring is full. The endpoint may turn out to have halted instead.
    /// </summary>
    public bool FinishStop(Endpoint endpoint)
    {
        if (endpoint.Streams is not { } streams)
        {
            if (!StopRing(endpoint, endpoint.Ring)) return false;
            endpoint.Ring.IsStopReported = false;
        }
        else
        {
            for (TransferRing? ring = streams.Active; ring is not null; ring = ring.NextActive)
                if (!StopRing(endpoint, ring)) return false;
            for (TransferRing? ring = streams.Active, next; ring is not null; ring = next)
            {
                next = ring.NextActive;
                ring.IsStopReported = false;
                SaveStream(streams, ring);
            }

            streams.ClearPending();
        }

        endpoint.Drain = DrainMode.None;
        if (endpoint.State != EndpointState.Running) return true;
        endpoint.State = EndpointState.Stopped;
        endpoint.IsScheduled = false;
        WriteState(endpoint);
        return true;
    }

    /// <summary>Everything that an error unlinked is back and dealt with, so the endpoint may be reset (§4.6.8).</summary>
    public bool IsIdle(Endpoint endpoint) => endpoint.InFlight == 0 && Retire(endpoint);

    /// <summary>Writes EP State and TR Dequeue Pointer to the output Endpoint Context (§4.8.3: on every change of state).</summary>
    public void WriteState(Endpoint endpoint)
    {
        ulong dequeue = endpoint.Streams is null ? endpoint.Ring.Dequeue.ToPointer() : endpoint.Context.Dequeue;
        endpoint.Context = endpoint.Context.WithState(endpoint.State) with { Dequeue = dequeue };
        GuestAddress address = endpoint.Slot.ContextOf(endpoint.Dci);
        System.Span<byte> bytes = stackalloc byte[EndpointContext.Size];
        endpoint.Context.Write(bytes);
        if (!_memory.TryWrite(address, bytes)) _controller.SystemError("endpoint context", address);
    }

    /// <summary>Puts a restored transfer back on its ring; if it had not ended, on the road again.</summary>
    public void RestoreTransfer(Endpoint endpoint, TransferRing ring, Transfer transfer)
    {
        Pool.Charge(transfer);
        ring.Append(transfer);
        // Also one that had ended is judged by its direction and kind.
        if (transfer.IsDone) Name(endpoint, ring, transfer.Request);
        else Submit(endpoint, ring, transfer);
    }

    /// <summary>Goes on with an unlinking that was under way when the state was saved.</summary>
    public void RestoreDrain(Endpoint endpoint, DrainMode drain, bool isUnlinking)
    {
        endpoint.Drain = drain;
        if (drain != DrainMode.None || isUnlinking) Unlink(endpoint);
    }

    private void Serve(Endpoint endpoint, ref WorkBudget budget)
    {
        if (!Retire(endpoint)) return;
        if (endpoint.State != EndpointState.Running || endpoint.Drain != DrainMode.None || endpoint.IsUnlinking) return;
        if (endpoint.Streams is { } streams)
        {
            ServeStreams(endpoint, streams, ref budget);
            return;
        }

        if (ServeRing(endpoint, endpoint.Ring, ref budget)) MakeReady(endpoint);
    }

    private void ServeStreams(Endpoint endpoint, StreamSet streams, ref WorkBudget budget)
    {
        while (streams.HasPending && streams.ActiveCount < XhciLimits.ActiveStreams && budget.HasRoomForTransfer)
        {
            // A doorbell costs as much as a TRB: a guest may have rung for 65,533 streams that are not there.
            budget.Trbs--;
            int id = streams.TakePending();
            if (streams.FindActive(id) is { } active)
            {
                active.ShouldFetch = true;
                continue;
            }

            CompletionCode? found = streams.Resolve(_memory, id, out GuestAddress address, out StreamContext context);
            if (found is null)
            {
                _controller.SystemError("stream context", address);
                return;
            }

            if (found == CompletionCode.Success) streams.Activate(id, context).ShouldFetch = true;
            else if (!FailStream(endpoint, id, found.Value)) return;
        }

        bool more = false;
        for (TransferRing? ring = streams.Active, next; ring is not null && endpoint.State == EndpointState.Running; ring = next)
        {
            next = ring.NextActive;
            more |= ServeRing(endpoint, ring, ref budget);
            if (!ring.ShouldFetch && ring.IsAtTdBorder && !streams.Deactivate(_memory, ring)) _controller.SystemError("stream context", endpoint.Slot.ContextAddress);
        }

        if (more || (streams.HasPending && streams.ActiveCount < XhciLimits.ActiveStreams)) MakeReady(endpoint);
    }

    // A Stream Context of the wrong type halts the endpoint in the Error state (§4.12.2.1).
    private bool FailStream(Endpoint endpoint, int id, CompletionCode code)
    {
        if (code == CompletionCode.InvalidStreamIdError) return true;
        endpoint.Ring.StreamId = id;
        if (!_retirer.PostRingEvent(endpoint.Ring, code))
        {
            endpoint.Streams!.RingDoorbell(id);
            Park(endpoint);
            return false;
        }

        endpoint.State = EndpointState.Error;
        WriteState(endpoint);
        Unlink(endpoint);
        return false;
    }

    // True when the ring has more to fetch at once.
    private bool ServeRing(Endpoint endpoint, TransferRing ring, ref WorkBudget budget)
    {
        if (!ring.ShouldFetch) return false;
        for (int n = 0; n < Quantum; n++)
        {
            if (ring.Count >= XhciLimits.TransfersPerRing)
            {
                ring.ShouldFetch = false;
                return false;
            }

            switch (_fetcher.Fetch(ring, ref budget, out Transfer transfer))
            {
                case FetchResult.Made:
                    Send(endpoint, ring, transfer);
                    if (endpoint.State != EndpointState.Running || endpoint.IsParked || endpoint.IsUnlinking) return false;
                    break;
                case FetchResult.Idle:
                    ring.ShouldFetch = false;
                    return false;
                case FetchResult.OutOfBudget:
                    return true;
                case FetchResult.OutOfTransfers:
                    Park(endpoint);
                    return false;
                default:
                    _controller.SystemError("transfer ring", ring.Fetch.Address);
                    return false;
            }
        }

        return true;
    }

    private void Send(Endpoint endpoint, TransferRing ring, Transfer transfer)
    {
        ring.Append(transfer);
        if (endpoint.Kind == TransferKind.Isochronous && !transfer.IsLocal) PlaceIsoch(endpoint, transfer);
        if (transfer.IsLocal)
        {
            transfer.IsDone = true;
            RetireRing(endpoint, ring);
            return;
        }

        Submit(endpoint, ring, transfer);
    }

    /// <summary>Fills in where a transfer goes and hands it to the pipeline.</summary>
    private void Submit(Endpoint endpoint, TransferRing ring, Transfer transfer)
    {
        Name(endpoint, ring, transfer.Request);
        ring.InFlight++;
        endpoint.InFlight++;
        _pipeline.Submit(transfer.Request);
    }

    private static void Name(Endpoint endpoint, TransferRing ring, UsbRequest request)
    {
        request.Port = endpoint.Slot.Port;
        request.Address = endpoint.Slot.Address;
        request.Endpoint = endpoint.Address;
        request.Kind = endpoint.Kind;
        request.StreamId = (ushort)ring.StreamId;
        request.IntervalMicroframes = endpoint.Kind is TransferKind.Interrupt or TransferKind.Isochronous ? endpoint.Interval : 0;
    }

    private void PlaceIsoch(Endpoint endpoint, Transfer transfer)
    {
        uint control = 0;
        foreach (ref TrbRecord record in transfer.Records)
        {
            if (record.Type != TrbType.Isoch) continue;
            control = record.Control;
            break;
        }

        ulong now = _registers.Now.Microframe;
        UsbRequest request = transfer.Request;
        // §4.14.2: an OUT TD beyond what the interval was given. Drivers that leave the field 0 (macOS) have no limit; an IN
        // buffer may be larger than what the device can send.
        int payload = endpoint.Context.MaxEsitPayload;
        bool takesLate = _pipeline.AttachedDevice(endpoint.Slot.Port)?.PacesItself ?? false;
        if (!IsochSchedule.TryPlace(endpoint, control, now, _registers.MfindexOrigin, takesLate, out ulong start)) transfer.IsochError = CompletionCode.MissedServiceError;
        else if (!endpoint.IsIn && payload > 0 && request.Length > payload) transfer.IsochError = CompletionCode.BandwidthOverrunError;
        transfer.IsLocal = transfer.IsochError != CompletionCode.Invalid;
        if (transfer.IsLocal) return;
        request.StartMicroframe = start;
        request.PacketCount = 1;
        request.Packets[0] = new IsoPacket { Length = request.Length };
    }

    // §4.10.3.1: a ring that is empty when its interval comes tells so once, and starts anew with the next doorbell.
    private void CheckIsochRings()
    {
        ulong now = _registers.Now.Microframe;
        for (Endpoint? e = _isoch; e is not null; e = e.NextIsoch)
        {
            if (!e.IsScheduled || e.State != EndpointState.Running || e.Ring.Count > 0 || e.NextService > now || e.Drain != DrainMode.None) continue;
            if (e.Ring.ShouldFetch && e.IsReady) continue;
            if (_retirer.PostRingEvent(e.Ring, e.IsIn ? CompletionCode.RingOverrun : CompletionCode.RingUnderrun)) e.IsScheduled = false;
            else Park(e);
        }
    }

    private bool Retire(Endpoint endpoint)
    {
        if (endpoint.Streams is not { } streams) return RetireRing(endpoint, endpoint.Ring);
        for (TransferRing? ring = streams.Active; ring is not null; ring = ring.NextActive)
            if (!RetireRing(endpoint, ring)) return false;
        return true;
    }

    // False when the endpoint cannot go on now.
    private bool RetireRing(Endpoint endpoint, TransferRing ring)
    {
        switch (_retirer.Retire(ring))
        {
            case RetireResult.EventRingFull:
                Park(endpoint);
                return false;
            case RetireResult.Halted:
                WriteState(endpoint);
                if (endpoint.Streams is { } streams) SaveStream(streams, ring);
                Unlink(endpoint);
                return false;
            default:
                return true;
        }
    }

    private bool StopRing(Endpoint endpoint, TransferRing ring)
    {
        switch (_retirer.Retire(ring))
        {
            case RetireResult.EventRingFull:
                return false;
            case RetireResult.Halted:
                WriteState(endpoint);
                _retirer.Drop(ring);
                return true;
            default:
                return endpoint.State != EndpointState.Running || _retirer.FinishStop(ring);
        }
    }

    // Place and Stopped EDTLA of a stream that stopped (§6.2.4.1; HCCPARAMS1.SEC = 1). A stream in the middle of a TD stays
    // active with what it knows beyond the dequeue pointer, unless software moves it.
    private void SaveStream(StreamSet streams, TransferRing ring)
    {
        if (streams.Resolve(_memory, ring.StreamId, out GuestAddress address, out StreamContext context) is CompletionCode.Success)
        {
            bool ok = _memory.TryWrite32(address.OffsetWrapping(8), ring.Edtla);
            ok &= _memory.TryWrite64(address, context.WithPosition(ring.Dequeue.ToPointer()).Dequeue);
            if (!ok) _controller.SystemError("stream context", address);
        }

        ring.ShouldFetch = false;
        if (ring.IsAtTdBorder) streams.Remove(ring);
    }

    /// <summary>Sets an endpoint aside until <see cref="UnparkAll"/>: an event ring is full, or all transfers are in use.</summary>
    public void Park(Endpoint endpoint)
    {
        if (endpoint.IsParked) return;
        endpoint.IsParked = true;
        endpoint.NextParked = _parked;
        _parked = endpoint;
    }

    private void Unlink(Endpoint endpoint)
    {
        endpoint.IsUnlinking = endpoint.InFlight > 0;
        if (endpoint.Streams is null) UnlinkRing(endpoint.Ring);
        for (TransferRing? ring = endpoint.Streams?.Active; ring is not null; ring = ring.NextActive) UnlinkRing(ring);
    }

    // Youngest first; the list has no back links, so it is walked into a stack that is kept for this.
    private void UnlinkRing(TransferRing ring)
    {
        int count = 0;
        for (Transfer? t = ring.Head; t is not null && count < _unlinkOrder.Length; t = t.Next)
            if (!t.IsDone) _unlinkOrder[count++] = t;
        while (count > 0)
        {
            Transfer transfer = _unlinkOrder[--count];
            _unlinkOrder[count] = null!;
            _pipeline.Unlink(transfer.Request);
        }
    }
}
