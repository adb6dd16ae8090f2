using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>How an attempt to write an event ended.</summary>
internal enum EventRingResult
{
    /// <summary>The event is in the ring.</summary>
    Posted,

    /// <summary>No room: an Event Ring Full Error event was written in its place, into the last slot (§4.9.4).</summary>
    FullReported,

    /// <summary>No room, and that was reported before.</summary>
    Full,

    /// <summary>The guest has not set the ring up, or has disabled it with ERSTSZ = 0 (§5.5.2.3.1).</summary>
    NotReady,

    /// <summary>Segment table or segment lie outside guest memory.</summary>
    Unmapped,

    /// <summary>A segment has fewer than 16 or more than 4096 TRBs (§6.5).</summary>
    Malformed,
}

/// <summary>
/// The producer side of one event ring (xHCI 1.2 §4.9.4): a ring of segments that the event ring segment table names. An
/// entry of the table is read once, when the enqueue pointer comes near it, and then used from the copy.
/// </summary>
internal sealed class EventRing : IInspectable
{
    /// <summary>Fewest TRBs in a segment (§6.5).</summary>
    public const int MinSegmentSize = 16;

    /// <summary>Most TRBs in a segment (§6.5).</summary>
    public const int MaxSegmentSize = 4096;

    private readonly record struct Segment(int Index, ulong Base, int Size)
    {
        public ulong Address(int trb) => unchecked(Base + ((ulong)trb * Trb.Size));
    }

    private Segment _current;
    private Segment _next;
    private bool _loaded;
    private bool _nextLoaded;
    private int _offset;
    private bool _cycle = true;
    private bool _fullReported;

    /// <summary>ERSTSZ as written, 0-65535; more than ERSTMax allows counts as ERSTMax.</summary>
    public uint TableSize { get; private set; }

    /// <summary>ERSTBA as written, 16-byte aligned.</summary>
    public ulong TableBase { get; private set; }

    /// <summary>ERDP's address, 16-byte aligned.</summary>
    public ulong DequeuePointer { get; set; }

    /// <summary>No event that software has not consumed: the enqueue pointer equals ERDP (§4.9.4).</summary>
    public bool IsEmpty => !_loaded || _current.Address(_offset) == DequeuePointer;

    private int Segments => (int)Math.Min(TableSize, 1u << RegisterTables.SegmentTableMaxExponent);

    /// <summary>Values after a reset (§5.5.2.3): no ring.</summary>
    public void Reset()
    {
        TableSize = 0;
        DequeuePointer = 0;
        SetTableBase(0);
    }

    /// <summary>ERSTSZ written. The position in the ring stays: a ring may grow while it runs (§4.9.4.1), and Windows writes 0 in passing.</summary>
    public void SetTableSize(uint size)
    {
        TableSize = size;
        _nextLoaded = false;
    }

    /// <summary>
    /// ERSTBA written, whole or one half of it: the ring starts again at segment 0 with cycle state 1 (§4.9.4). The table
    /// itself is read when the first event comes, so the halves may be written in either order.
    /// </summary>
    public void SetTableBase(ulong address)
    {
        TableBase = address;
        _loaded = false;
        _nextLoaded = false;
        _offset = 0;
        _cycle = true;
        _fullReported = false;
    }

    /// <summary>Whether <see cref="Post"/> would write the event: <see cref="EventRingResult.Posted"/>, or why not.</summary>
    public EventRingResult CheckRoom(IGuestMemory memory)
    {
        int segments = Segments;
        if (segments == 0 || TableBase == 0) return EventRingResult.NotReady;
        EventRingResult result;
        if (!_loaded)
        {
            result = TryReadEntry(memory, 0, out _current);
            if (result != EventRingResult.Posted) return result;
            _loaded = true;
        }

        if (_offset + 2 >= _current.Size && !_nextLoaded)
        {
            int index = _current.Index + 1 < segments ? _current.Index + 1 : 0;
            result = TryReadEntry(memory, index, out _next);
            if (result != EventRingResult.Posted) return result;
            _nextLoaded = true;
        }

        // One slot always stays free, or a full ring would look empty; the one before it is kept for the error event.
        if (Ahead(1) == DequeuePointer) return EventRingResult.Full;
        return Ahead(2) == DequeuePointer ? EventRingResult.FullReported : EventRingResult.Posted;
    }

    /// <summary>Writes an event, its cycle bit last. Nothing else of <paramref name="trb"/> is changed.</summary>
    public EventRingResult Post(IGuestMemory memory, in Trb trb)
    {
        EventRingResult room = CheckRoom(memory);
        EventRingResult written;
        switch (room)
        {
            case EventRingResult.Posted:
                written = Write(memory, trb);
                if (written == EventRingResult.Posted) _fullReported = false;
                return written;
            case EventRingResult.FullReported:
                // Once per time of being full: a guest that frees single slots must not be fed errors only.
                if (_fullReported) return EventRingResult.Full;
                written = Write(memory, Trb.HostControllerEvent(CompletionCode.EventRingFullError));
                if (written != EventRingResult.Posted) return written;
                _fullReported = true;
                return EventRingResult.FullReported;
            default:
                return room;
        }
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("erstsz", TableSize);
        writer.Hex("erstba", TableBase);
        writer.Hex("erdp", DequeuePointer);
        writer.Flag("loaded", _loaded);
        if (!_loaded) return;
        writer.Number("segment", _current.Index);
        writer.Hex("enqueue", _current.Address(_offset));
        writer.Flag("cycle", _cycle);
        writer.Flag("full_reported", _fullReported);
    }

    /// <summary>Saves the ring. The prefetched entry is read again after a restore.</summary>
    public EventRingStateV1 Capture() => new(
        TableSize, TableBase, DequeuePointer, _loaded, _current.Index, _current.Base, _current.Size, _offset, _cycle, _fullReported);

    /// <summary>Takes a saved ring back; false leaves this one as it was.</summary>
    public bool TryRestore(EventRingStateV1 state)
    {
        bool positionOk = state.Loaded
            ? state.SegmentSize is >= MinSegmentSize and <= MaxSegmentSize
                && state.Offset >= 0 && state.Offset < state.SegmentSize
                && state.Segment is >= 0 and < (1 << RegisterTables.SegmentTableMaxExponent)
                && (state.SegmentBase & 0x3f) == 0
            : state.Offset == 0 && state.Cycle;
        if (!positionOk || state.TableSize > 0xffff || (state.TableBase & 0xf) != 0 || (state.DequeuePointer & 0xf) != 0) return false;
        TableSize = state.TableSize;
        DequeuePointer = state.DequeuePointer;
        SetTableBase(state.TableBase);
        _loaded = state.Loaded;
        _current = state.Loaded ? new Segment(state.Segment, state.SegmentBase, state.SegmentSize) : default;
        _offset = state.Offset;
        _cycle = state.Cycle;
        _fullReported = state.FullReported;
        return true;
    }

    /// <summary>
    /// CRS (§4.23.2): goes on where the ring was at the save, if software gave it the same table back; its registers it
    /// restores itself.
    /// </summary>
    public void Continue(EventRingStateV1 saved)
    {
        if (saved.TableBase != TableBase) return;
        uint size = TableSize;
        ulong dequeue = DequeuePointer;
        TryRestore(saved);
        TableSize = size;
        DequeuePointer = dequeue;
    }

    // Address of the slot 1 or 2 after the enqueue pointer; segments have at least 16, so one border at most lies between.
    private ulong Ahead(int slots)
    {
        int offset = _offset + slots;
        return offset < _current.Size ? _current.Address(offset) : _next.Address(offset - _current.Size);
    }

    private EventRingResult Write(IGuestMemory memory, in Trb trb)
    {
        Span<byte> bytes = stackalloc byte[Trb.Size];
        (trb with { Control = (trb.Control & ~1u) | (_cycle ? 1u : 0u) }).Write(bytes);
        if (!memory.TryPublish(new GuestAddress(_current.Address(_offset)), bytes)) return EventRingResult.Unmapped;
        if (++_offset < _current.Size) return EventRingResult.Posted;
        _offset = 0;
        _current = _next;
        _nextLoaded = false;
        if (_current.Index == 0) _cycle = !_cycle;
        return EventRingResult.Posted;
    }

    // §6.5: base bits 5:0 are reserved and ignored; size in TRBs in bits 15:0 of the third word.
    private EventRingResult TryReadEntry(IGuestMemory memory, int index, out Segment segment)
    {
        segment = default;
        Span<byte> bytes = stackalloc byte[16];
        if (!memory.TryRead(new GuestAddress(TableBase).OffsetWrapping((ulong)index * 16), bytes)) return EventRingResult.Unmapped;
        ulong address = BinaryPrimitives.ReadUInt64LittleEndian(bytes) & ~0x3ful;
        int size = BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]);
        if (size is < MinSegmentSize or > MaxSegmentSize) return EventRingResult.Malformed;
        segment = new Segment(index, address, size);
        return EventRingResult.Posted;
    }
}

/// <summary>Saved <see cref="EventRing"/>.</summary>
public sealed record EventRingStateV1(
    uint TableSize,
    ulong TableBase,
    ulong DequeuePointer,
    bool Loaded,
    int Segment,
    ulong SegmentBase,
    int SegmentSize,
    int Offset,
    bool Cycle,
    bool FullReported);
