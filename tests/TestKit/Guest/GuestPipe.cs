using System;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>How a transfer ended, as the driver worked it out from its events.</summary>
/// <param name="Id">What Submit returned.</param>
/// <param name="Code">Completion code of the event that ended it; Undefined when the controller passed over it without an event.</param>
/// <param name="Actual">Bytes moved.</param>
/// <param name="Length">Bytes asked for.</param>
/// <param name="Stream">Stream id, or 0.</param>
public readonly record struct TransferCompletion(long Id, GuestCompletion Code, int Actual, int Length, int Stream)
{
    /// <summary>Success, or a short packet.</summary>
    public bool Ok => Code is GuestCompletion.Success or GuestCompletion.ShortPacket;
}

/// <summary>How a TD is to be written.</summary>
[Flags]
public enum TdFlags
{
    None = 0,

    /// <summary>Ends in an Event Data TRB that carries the transfer's id (§4.11.5.2); IOC there and nowhere else.</summary>
    EventData = 1,

    /// <summary>IOC on every TRB.</summary>
    InterruptEachTrb = 2,

    /// <summary>No ISP on IN TRBs.</summary>
    NoInterruptOnShort = 4,

    /// <summary>BEI on the last TRB.</summary>
    BlockEventInterrupt = 8,

    /// <summary>The caller rings the doorbell.</summary>
    NoDoorbell = 16,
}

/// <summary>
/// One endpoint as the driver drives it: transfer rings (one per stream), TDs in flight, completions. Nothing is allocated
/// per transfer on Submit and TryReap.
/// </summary>
public sealed partial class GuestPipe
{
    private readonly Lane[] _lanes;
    private TransferCompletion[] _done = new TransferCompletion[64];
    private int _doneHead;
    private int _doneCount;
    private long _nextId = 1;

    /// <summary>A pipe over rings by stream id; a pipe without streams has one ring for id 0.</summary>
    public GuestPipe(XhciDriver driver, int slot, GuestEndpoint endpoint, IReadOnlyList<(int Stream, GuestRing Ring)> rings)
    {
        ArgumentNullException.ThrowIfNull(rings);
        Driver = driver;
        Slot = slot;
        Endpoint = endpoint;
        _lanes = new Lane[rings.Count];
        for (int i = 0; i < rings.Count; i++) _lanes[i] = new Lane(rings[i].Stream, rings[i].Ring);
    }

    public XhciDriver Driver { get; }

    public int Slot { get; }

    public GuestEndpoint Endpoint { get; }

    /// <summary>DCI; 1 for the default control pipe.</summary>
    public int Dci => Endpoint.Address == 0 ? 1 : Endpoint.Dci;

    public bool IsIn => Endpoint.IsIn;

    /// <summary>The ring of the pipe, or of its first stream.</summary>
    public GuestRing Ring => _lanes[0].Ring;

    /// <summary>Interrupter that TRBs name.</summary>
    public int Interrupter { get; set; }

    /// <summary>The last event halted the endpoint.</summary>
    public bool Halted { get; private set; }

    /// <summary>The last Stopped event (§4.6.9), or null.</summary>
    public GuestEvent? LastStop { get; private set; }

    /// <summary>Ring Underrun and Ring Overrun events.</summary>
    public int UnderrunsAndOverruns { get; private set; }

    /// <summary>Events for TDs that an earlier short packet event had ended (§4.10.1.1).</summary>
    public int RedundantEvents { get; private set; }

    /// <summary>TDs in flight, all streams.</summary>
    public int InFlight { get; private set; }

    /// <summary>Completions not reaped yet.</summary>
    public int DoneCount => _doneCount;

    /// <summary>Ring of a stream.</summary>
    public GuestRing RingOf(int stream) => LaneOf(stream).Ring;

    /// <summary>Rings the endpoint's doorbell.</summary>
    public void Kick(int stream = 0) => Driver.RingDoorbell(Slot, Dci, stream);

    /// <summary>
    /// Queues one bulk or interrupt transfer from contiguous guest memory. The data is cut where a TRB must not cross 64 KiB
    /// (§6.4.1). Returns an id, or -1 while the ring has no room.
    /// </summary>
    public long Submit(ulong address, int length, int stream = 0, TdFlags flags = TdFlags.None)
    {
        Lane lane = LaneOf(stream);
        int trbs = length == 0 ? 1 : (int)(((address + (ulong)length - 1) >> 16) - (address >> 16)) + 1;
        if (lane.Ring.Free < trbs + 1) return -1;
        lane.Ring.BeginTd();
        long id = Open(lane, length);
        int left = length;
        do
        {
            int part = Math.Min(left, 65536 - (int)(address & 0xffff));
            left -= part;
            Append(lane, GuestTrb.Normal(address, part), left, left == 0, id, flags);
            address += (ulong)part;
        }
        while (left > 0);
        Close(lane, flags);
        return id;
    }

    /// <summary>Queues one transfer with exactly one TRB per part, zero-length parts included.</summary>
    public long Submit(ReadOnlySpan<GuestBuffer> parts, int stream = 0, TdFlags flags = TdFlags.None)
    {
        Lane lane = LaneOf(stream);
        if (lane.Ring.Free < parts.Length + 1) return -1;
        int total = 0;
        foreach (GuestBuffer part in parts) total += part.Length;
        lane.Ring.BeginTd();
        long id = Open(lane, total);
        int left = total;
        for (int i = 0; i < parts.Length; i++)
        {
            left -= parts[i].Length;
            Append(lane, GuestTrb.Normal(parts[i].Address, parts[i].Length), left, i == parts.Length - 1, id, flags);
        }

        Close(lane, flags);
        return id;
    }

    /// <summary>Queues an OUT transfer of at most eight bytes that lie in the TRB itself (IDT, §6.4.1.1).</summary>
    public long SubmitImmediate(ReadOnlySpan<byte> data, TdFlags flags = TdFlags.None)
    {
        Lane lane = _lanes[0];
        if (lane.Ring.Free < 2) return -1;
        ulong word = 0;
        for (int i = data.Length - 1; i >= 0; i--) word = (word << 8) | data[i];
        lane.Ring.BeginTd();
        long id = Open(lane, data.Length);
        Append(lane, GuestTrb.Normal(word, data.Length, GuestTrb.ImmediateData), 0, true, id, flags);
        Close(lane, flags);
        return id;
    }

    /// <summary>Queues one isochronous TD: one service interval's data (§4.11.2.3). <paramref name="frame"/> null starts as soon as possible.</summary>
    public long SubmitIsochronous(ulong address, int length, int? frame = null, TdFlags flags = TdFlags.None)
    {
        Lane lane = _lanes[0];
        if (lane.Ring.Free < 4) return -1;
        int burst = XhciDriver.ContextBurst(Endpoint) + 1;
        int packets = Math.Max(1, (length + Endpoint.MaxPacketSize - 1) / Endpoint.MaxPacketSize);
        int bursts = (packets + burst - 1) / burst;
        int last = packets % burst == 0 ? burst : packets % burst;
        lane.Ring.BeginTd();
        long id = Open(lane, length);
        int first = Math.Min(length, 65536 - (int)(address & 0xffff));
        Append(lane, GuestTrb.Isoch(address, first, frame, bursts - 1, last - 1), length - first, first == length, id, flags);
        if (first < length) Append(lane, GuestTrb.Normal(address + (ulong)first, length - first), 0, true, id, flags);
        Close(lane, flags);
        return id;
    }

    /// <summary>Queues a control transfer: Setup, Data (and Normal) and Status stages (§4.11.2.2).</summary>
    public long SubmitControl(SetupPacket setup, ulong address, int length, TdFlags flags = TdFlags.None)
    {
        Lane lane = _lanes[0];
        if (lane.Ring.Free < (length / 65536) + 6) return -1;
        lane.Ring.BeginTd();
        long id = Open(lane, length, isControl: true);
        bool isIn = setup.IsIn && length > 0;
        Note(lane, lane.Ring.Enqueue(GuestTrb.Setup(setup.Raw, length == 0 ? 0 : isIn ? 3 : 2, interrupter: Interrupter)));
        int left = length;
        uint shortFlag = isIn && (flags & TdFlags.NoInterruptOnShort) == 0 ? GuestTrb.InterruptOnShort : 0;
        for (bool first = true; left > 0; first = false)
        {
            int part = Math.Min(left, 65536 - (int)(address & 0xffff));
            left -= part;
            uint bits = shortFlag | (left > 0 ? GuestTrb.Chain : 0);
            int size = left == 0 ? 0 : TdSize(left);
            Note(lane, lane.Ring.Enqueue(first
                ? GuestTrb.Data(address, part, isIn, bits, size, Interrupter)
                : GuestTrb.Normal(address, part, bits, size, Interrupter)));
            address += (ulong)part;
        }

        Note(lane, lane.Ring.Enqueue(GuestTrb.StatusStage(!isIn, GuestTrb.InterruptOnCompletion, Interrupter)));
        Close(lane, flags);
        return id;
    }

    /// <summary>Takes the oldest completion. Looks at the event rings only when there is none yet.</summary>
    public bool TryReap(out TransferCompletion completion)
    {
        if (_doneCount == 0) Driver.ProcessEvents();
        if (_doneCount == 0)
        {
            completion = default;
            return false;
        }

        completion = _done[_doneHead];
        _doneHead = (_doneHead + 1) % _done.Length;
        _doneCount--;
        return true;
    }

    /// <summary>Takes the oldest completion, running the machine until there is one.</summary>
    public TransferCompletion Reap(ulong timeoutNanoseconds = 0)
    {
        ulong end = Driver.Platform.Now + (timeoutNanoseconds == 0 ? Driver.Options.TimeoutNanoseconds : timeoutNanoseconds);
        TransferCompletion completion;
        while (!TryReap(out completion))
        {
            if (Driver.Platform.Now >= end) throw Driver.Timeout($"a transfer on slot {Slot} DCI {Dci}");
            Driver.Rest(end - Driver.Platform.Now);
        }

        return completion;
    }

    /// <summary>Waits for one transfer; others' completions stay for their owners.</summary>
    public TransferCompletion Wait(long id, ulong timeoutNanoseconds = 0)
    {
        if (id < 0) throw new GuestDriverException("the transfer was not queued: no room on the ring");
        ulong end = Driver.Platform.Now + (timeoutNanoseconds == 0 ? Driver.Options.TimeoutNanoseconds : timeoutNanoseconds);
        while (true)
        {
            Driver.ProcessEvents();
            if (TryTake(id, out TransferCompletion completion)) return completion;
            if (Driver.Platform.Now >= end) throw Driver.Timeout($"transfer {id} on slot {Slot} DCI {Dci}");
            Driver.Rest(end - Driver.Platform.Now);
        }
    }

    /// <summary>Runs one transfer to its end.</summary>
    public TransferCompletion Transfer(ulong address, int length, int stream = 0, TdFlags flags = TdFlags.None) =>
        Wait(Submit(address, length, stream, flags));

    /// <summary>Runs one transfer with a TRB per part to its end.</summary>
    public TransferCompletion Transfer(ReadOnlySpan<GuestBuffer> parts, int stream = 0, TdFlags flags = TdFlags.None) =>
        Wait(Submit(parts, stream, flags));

    private bool TryTake(long id, out TransferCompletion completion)
    {
        for (int i = 0; i < _doneCount; i++)
        {
            completion = _done[(_doneHead + i) % _done.Length];
            if (completion.Id != id) continue;
            for (int j = i; j > 0; j--) _done[(_doneHead + j) % _done.Length] = _done[(_doneHead + j - 1) % _done.Length];
            _doneHead = (_doneHead + 1) % _done.Length;
            _doneCount--;
            return true;
        }

        completion = default;
        return false;
    }
}
