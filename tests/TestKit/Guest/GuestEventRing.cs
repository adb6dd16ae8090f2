using System;

namespace XenUsbDm.TestKit.Guest;

/// <summary>An event ring as its consumer keeps it (xHCI 1.2 §4.9.4): segments listed in an ERST, no Link TRBs.</summary>
public sealed class GuestEventRing
{
    private readonly IGuestPlatform _platform;
    private readonly GuestBuffer[] _segments;
    private int _segment;
    private int _index;
    private uint _cycle = 1;

    public GuestEventRing(IGuestPlatform platform, GuestAllocator allocator, int interrupter, int segments, int trbsPerSegment, bool high)
    {
        _platform = platform;
        Interrupter = interrupter;
        _segments = new GuestBuffer[segments];
        Table = allocator.Allocate(segments * 16, high);
        Span<byte> table = platform.Memory(Table.Address, Table.Length);
        for (int i = 0; i < segments; i++)
        {
            _segments[i] = allocator.Allocate(trbsPerSegment * GuestTrb.Size, high);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(table[(i * 16)..], _segments[i].Address);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(table[((i * 16) + 8)..], (uint)trbsPerSegment);
        }
    }

    public int Interrupter { get; }

    /// <summary>The Event Ring Segment Table (§6.5).</summary>
    public GuestBuffer Table { get; }

    public int SegmentCount => _segments.Length;

    public ReadOnlySpan<GuestBuffer> Segments => _segments;

    /// <summary>Where the consumer is.</summary>
    public ulong DequeuePointer => _segments[_segment].Address + ((ulong)_index * GuestTrb.Size);

    /// <summary>Segment the consumer is in (ERDP.DESI).</summary>
    public int DequeueSegment => _segment;

    /// <summary>Events taken since the dequeue pointer was last told to the controller.</summary>
    public int Unacknowledged { get; set; }

    /// <summary>Takes the next event, if its cycle bit says that there is one.</summary>
    public bool TryTake(out GuestEvent taken)
    {
        ulong address = DequeuePointer;
        GuestTrb trb = GuestTrb.Read(_platform.Memory(address, GuestTrb.Size));
        if ((trb.Control & GuestTrb.Cycle) != _cycle)
        {
            taken = default;
            return false;
        }

        taken = new GuestEvent(trb, Interrupter, address);
        Unacknowledged++;
        if (++_index == _segments[_segment].Length / GuestTrb.Size)
        {
            _index = 0;
            if (++_segment == _segments.Length)
            {
                _segment = 0;
                _cycle ^= 1;
            }
        }

        return true;
    }

    /// <summary>Starts again: zeroed, first segment, cycle 1.</summary>
    public void Reset()
    {
        foreach (GuestBuffer segment in _segments) _platform.Memory(segment.Address, segment.Length).Clear();
        _segment = 0;
        _index = 0;
        _cycle = 1;
        Unacknowledged = 0;
    }
}
