using System;
using System.Threading;

namespace XenUsbDm.TestKit.Guest;

/// <summary>
/// A command or transfer ring as its producer keeps it (xHCI 1.2 §4.9.2): segments joined by Link TRBs, the last one with
/// Toggle Cycle. Raw enqueueing is open to tests; <see cref="Free"/> counts what completions have not released yet.
/// </summary>
public sealed class GuestRing
{
    private readonly IGuestPlatform _platform;
    private readonly GuestBuffer[] _segments;
    private readonly int[] _firstOrdinal;
    private int _segment;
    private int _index;
    private uint _cycle = 1;
    private bool _lastChained;
    private int _enqueueOrdinal;

    // First TRB of the open TD: its cycle bit stays inverted until the TD is complete.
    private ulong _held;
    private uint _heldControl;
    private bool _inTd;

    /// <summary>A ring of segments with <paramref name="segmentTrbs"/> TRBs each, Link TRBs included (2 or more).</summary>
    public GuestRing(IGuestPlatform platform, GuestAllocator allocator, ReadOnlySpan<int> segmentTrbs, bool high = false)
    {
        _platform = platform;
        _segments = new GuestBuffer[segmentTrbs.Length];
        _firstOrdinal = new int[segmentTrbs.Length];
        for (int i = 0; i < segmentTrbs.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(segmentTrbs[i], 2);
            ArgumentOutOfRangeException.ThrowIfGreaterThan(segmentTrbs[i], 65536 / GuestTrb.Size);
            _segments[i] = allocator.Allocate(segmentTrbs[i] * GuestTrb.Size, high);
            _firstOrdinal[i] = Capacity;
            Capacity += segmentTrbs[i] - 1;
        }
    }

    /// <summary>TRBs that fit, Link TRBs not counted.</summary>
    public int Capacity { get; }

    /// <summary>TRBs that may be enqueued before the oldest ones are released. One place stays empty, so full and empty differ.</summary>
    public int Free => Capacity - 1 - Used;

    /// <summary>TRBs enqueued and not released.</summary>
    public int Used { get; private set; }

    /// <summary>First TRB of the ring.</summary>
    public ulong Base => _segments[0].Address;

    /// <summary>Where the next TRB goes, past a Link TRB that is due.</summary>
    public ulong EnqueuePointer => AtLink ? _segments[NextSegment].Address : _segments[_segment].Address + ((ulong)_index * GuestTrb.Size);

    /// <summary>Cycle bit that the next TRB gets; the DCS of a dequeue pointer set to <see cref="EnqueuePointer"/>.</summary>
    public uint EnqueueCycle => AtLink && NextSegment == 0 ? _cycle ^ 1 : _cycle;

    public ReadOnlySpan<GuestBuffer> Segments => _segments;

    private bool AtLink => _index == (_segments[_segment].Length / GuestTrb.Size) - 1;

    private int NextSegment => _segment + 1 == _segments.Length ? 0 : _segment + 1;

    /// <summary>Opens a TD: nothing of it is valid to the controller before <see cref="EndTd"/>.</summary>
    public void BeginTd()
    {
        if (_inTd) throw new InvalidOperationException("a TD is open");
        _inTd = true;
        _held = 0;
    }

    /// <summary>Makes the open TD valid: the cycle bit of its first TRB is written last (§4.9.2.1).</summary>
    public void EndTd()
    {
        _inTd = false;
        if (_held == 0) return;
        Thread.MemoryBarrier();
        WriteControl(_held, _heldControl);
        _held = 0;
    }

    /// <summary>Writes the next TRB with the ring's cycle bit and returns where it lies. Does not ring a doorbell.</summary>
    public ulong Enqueue(in GuestTrb trb)
    {
        if (Free <= 0) throw new GuestDriverException("ring is full");
        if (AtLink) PassLink();
        ulong address = _segments[_segment].Address + ((ulong)_index * GuestTrb.Size);
        uint control = (trb.Control & ~GuestTrb.Cycle) | _cycle;
        if (_inTd && _held == 0)
        {
            _held = address;
            _heldControl = control;
            control ^= GuestTrb.Cycle;
        }

        Span<byte> place = _platform.Memory(address, GuestTrb.Size);
        new GuestTrb(trb.Parameter, trb.Status, 0).Write(place, (control & ~GuestTrb.Cycle) | (_cycle ^ 1));
        Thread.MemoryBarrier();
        WriteControl(address, control);
        _lastChained = trb.IsChained;
        _index++;
        _enqueueOrdinal = (_enqueueOrdinal + 1) % Capacity;
        Used++;
        return address;
    }

    /// <summary>Reads a TRB back.</summary>
    public GuestTrb Read(ulong address) => GuestTrb.Read(_platform.Memory(address, GuestTrb.Size));

    /// <summary>The address of the TRB after <paramref name="address"/>, Link TRBs passed over.</summary>
    public ulong Next(ulong address)
    {
        int segment = SegmentOf(address);
        if (segment < 0) throw new GuestDriverException($"0x{address:x} is not on this ring");
        GuestBuffer place = _segments[segment];
        ulong next = address + GuestTrb.Size;
        return next == place.End - GuestTrb.Size ? _segments[segment + 1 == _segments.Length ? 0 : segment + 1].Address : next;
    }

    /// <summary>True when <paramref name="address"/> is a TRB of this ring.</summary>
    public bool Contains(ulong address) => SegmentOf(address) >= 0;

    /// <summary>Position of a TRB within the ring, 0 to <see cref="Capacity"/> - 1; a Link TRB counts as the TRB after it.</summary>
    public int Ordinal(ulong address)
    {
        int segment = SegmentOf(address);
        if (segment < 0) throw new GuestDriverException($"0x{address:x} is not on this ring");
        return (_firstOrdinal[segment] + (int)((address - _segments[segment].Address) / GuestTrb.Size)) % Capacity;
    }

    /// <summary>TRBs from <paramref name="from"/> up to and with <paramref name="to"/>.</summary>
    public int Distance(ulong from, ulong to) => ((Ordinal(to) - Ordinal(from) + Capacity) % Capacity) + 1;

    /// <summary>The controller is done with everything up to and with the TRB at <paramref name="address"/>.</summary>
    public void ReleaseThrough(ulong address)
    {
        int ahead = (_enqueueOrdinal - Ordinal(address) - 1 + Capacity) % Capacity;
        if (ahead < Used) Used = ahead;
    }

    /// <summary>The controller will not look at anything enqueued so far.</summary>
    public void ReleaseAll() => Used = 0;

    /// <summary>Empties the ring: zeroed, from its first TRB, cycle 1.</summary>
    public void Reset()
    {
        foreach (GuestBuffer segment in _segments) _platform.Memory(segment.Address, segment.Length).Clear();
        _segment = 0;
        _index = 0;
        _cycle = 1;
        _enqueueOrdinal = 0;
        Used = 0;
        _inTd = false;
        _held = 0;
        _lastChained = false;
    }

    /// <summary>Gives the ring's memory back.</summary>
    public void FreeMemory(GuestAllocator allocator)
    {
        foreach (GuestBuffer segment in _segments) allocator.Free(segment);
    }

    private void PassLink()
    {
        bool last = _segment == _segments.Length - 1;
        ulong address = _segments[_segment].Address + ((ulong)_index * GuestTrb.Size);
        uint flags = (last ? GuestTrb.ToggleCycle : 0) | (_lastChained ? GuestTrb.Chain : 0);
        GuestTrb link = GuestTrb.Link(_segments[NextSegment].Address, flags | _cycle);
        link.Write(_platform.Memory(address, GuestTrb.Size), (link.Control & ~GuestTrb.Cycle) | (_cycle ^ 1));
        Thread.MemoryBarrier();
        WriteControl(address, link.Control);
        _segment = NextSegment;
        _index = 0;
        if (last) _cycle ^= 1;
    }

    private void WriteControl(ulong address, uint control) =>
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(_platform.Memory(address + 12, 4), control);

    private int SegmentOf(ulong address)
    {
        for (int i = 0; i < _segments.Length; i++)
        {
            if (address >= _segments[i].Address && address < _segments[i].End) return i;
        }

        return -1;
    }
}
