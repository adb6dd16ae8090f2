using System;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Pipeline.Requests;

/// <summary>
/// The data stage of one request: guest-memory segments in transfer order, or up to eight immediate bytes that the
/// frontend copied once (xHCI IDT). The array of segments is kept across uses, so steady state allocates nothing.
/// </summary>
public sealed class RequestData
{
    /// <summary>Most immediate bytes (xHCI 1.2 §6.4.1.1: IDT data fits the 8-byte buffer pointer field).</summary>
    public const int ImmediateCapacity = 8;

    private readonly byte[] _immediate = new byte[ImmediateCapacity];
    private GuestSegment[] _segments = new GuestSegment[4];
    private int _count;
    private bool _isImmediate;

    // Where the last access ended, so that sequential copies do not walk the list from its start.
    private int _cursorSegment;
    private int _cursorStart;

    /// <summary>Bytes in all segments together.</summary>
    public int Length { get; private set; }

    /// <summary>Segments, in transfer order; empty for immediate data.</summary>
    public ReadOnlySpan<GuestSegment> Segments => _segments.AsSpan(0, _count);

    /// <summary>Entries the segment array has room for; a frontend counts it against its own memory limit.</summary>
    public int Capacity => _segments.Length;

    /// <summary>The data came with the request instead of lying in guest memory.</summary>
    public bool IsImmediate => _isImmediate;

    /// <summary>The frontend has cut the request off from guest memory (<see cref="Sever"/>).</summary>
    public bool IsSevered { get; private set; }

    /// <summary>The immediate bytes.</summary>
    public ReadOnlySpan<byte> Immediate => _isImmediate ? _immediate.AsSpan(0, Length) : default;

    /// <summary>Empties the list and keeps its storage.</summary>
    public void Clear()
    {
        _count = 0;
        Length = 0;
        _isImmediate = false;
        IsSevered = false;
        _cursorSegment = 0;
        _cursorStart = 0;
    }

    /// <summary>
    /// Cuts a request in flight off from guest memory: from now on nothing can be mapped, so a device that gives it back late
    /// cannot write into memory that the guest has put to other use. Lasts until <see cref="Clear"/>.
    /// </summary>
    public void Sever() => IsSevered = true;

    /// <summary>Gives back storage beyond the smallest size, for pools that have grown under an odd guest.</summary>
    public void Trim()
    {
        Clear();
        if (_segments.Length > 4) _segments = new GuestSegment[4];
    }

    /// <summary>Appends a segment; zero bytes are allowed. Adjacent guest memory is merged into one segment.</summary>
    public void Add(GuestAddress address, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        if (length == 0) return;
        if (_count > 0)
        {
            ref GuestSegment last = ref _segments[_count - 1];
            if (last.Address.OffsetWrapping((ulong)last.Length) == address)
            {
                last = last with { Length = last.Length + length };
                Length += length;
                return;
            }

            if (_count == _segments.Length) Array.Resize(ref _segments, _count * 2);
        }

        _segments[_count++] = new GuestSegment(address, length);
        Length += length;
    }

    /// <summary>Sets immediate data, at most <see cref="ImmediateCapacity"/> bytes, in place of segments.</summary>
    public void SetImmediate(ReadOnlySpan<byte> data)
    {
        Clear();
        data.CopyTo(_immediate);
        _isImmediate = true;
        Length = data.Length;
    }

    /// <summary>
    /// The longest contiguous run of mapped memory at <paramref name="offset"/>, at most <paramref name="length"/> bytes.
    /// Empty when guest memory is not mapped there, or at the end of the data.
    /// </summary>
    public Span<byte> Map(IGuestMemory memory, int offset, int length, GuestAccess access)
    {
        ArgumentNullException.ThrowIfNull(memory);
        if (IsSevered || offset < 0 || offset >= Length || length <= 0) return default;
        if (_isImmediate) return _immediate.AsSpan(offset, Math.Min(length, Length - offset));
        if (offset < _cursorStart)
        {
            _cursorSegment = 0;
            _cursorStart = 0;
        }

        while (offset - _cursorStart >= _segments[_cursorSegment].Length)
            _cursorStart += _segments[_cursorSegment++].Length;
        GuestSegment segment = _segments[_cursorSegment];
        int within = offset - _cursorStart;
        return memory.Map(segment.Address.OffsetWrapping((ulong)within), Math.Min(length, segment.Length - within), access);
    }

    /// <summary>Copies device data into the guest at <paramref name="offset"/>. False when some byte has no memory or no room.</summary>
    public bool TryCopyToGuest(IGuestMemory memory, int offset, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            Span<byte> run = Map(memory, offset, source.Length, GuestAccess.Write);
            if (run.IsEmpty) return false;
            source[..run.Length].CopyTo(run);
            source = source[run.Length..];
            offset += run.Length;
        }

        return true;
    }

    /// <summary>Copies guest data at <paramref name="offset"/> for the device. False when some byte has no memory or is beyond the end.</summary>
    public bool TryCopyFromGuest(IGuestMemory memory, int offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            Span<byte> run = Map(memory, offset, destination.Length, GuestAccess.Read);
            if (run.IsEmpty) return false;
            run.CopyTo(destination);
            destination = destination[run.Length..];
            offset += run.Length;
        }

        return true;
    }
}
