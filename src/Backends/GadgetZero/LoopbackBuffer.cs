using System;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>
/// Packets on their way from the OUT to the IN endpoint, in a ring of fixed size. Packet borders are kept, so a transfer
/// that ended with a short or empty packet ends the same way on its way back.
/// </summary>
internal sealed class LoopbackBuffer
{
    /// <summary>Bytes held at most: one of Windows's largest transfers. When full, OUT requests wait.</summary>
    internal const int Capacity = 64 << 10;

    private readonly ushort[] _lengths;
    private readonly int _packet;

    // Made for the first packet: most devices never see one.
    private byte[] _bytes = [];
    private int _first;

    internal LoopbackBuffer(int maxPacket)
    {
        _packet = maxPacket;
        _lengths = new ushort[Capacity / maxPacket];
    }

    internal int Count { get; private set; }

    internal bool IsFull => Count == _lengths.Length;

    /// <summary>The oldest packet; only when <see cref="Count"/> is not 0.</summary>
    internal ReadOnlySpan<byte> First => _bytes.AsSpan(_first * _packet, _lengths[_first]);

    /// <summary>Room for one packet of <paramref name="length"/> bytes, to be filled by the caller; not when full.</summary>
    internal Span<byte> Room(int length)
    {
        if (_bytes.Length == 0) _bytes = new byte[_lengths.Length * _packet];
        return _bytes.AsSpan(Place(Count) * _packet, length);
    }

    /// <summary>Appends the packet that was put into <see cref="Room"/>.</summary>
    internal void Add(int length) => _lengths[Place(Count++)] = (ushort)length;

    /// <summary>Drops the oldest packet.</summary>
    internal void RemoveFirst()
    {
        _first = Place(1);
        Count--;
    }

    internal void Clear()
    {
        _first = 0;
        Count = 0;
    }

    internal ushort[] CaptureLengths()
    {
        ushort[] lengths = new ushort[Count];
        for (int i = 0; i < Count; i++) lengths[i] = _lengths[Place(i)];
        return lengths;
    }

    internal byte[] CaptureBytes()
    {
        int total = 0;
        for (int i = 0; i < Count; i++) total += _lengths[Place(i)];
        byte[] bytes = new byte[total];
        for (int i = 0, at = 0; i < Count; i++)
        {
            int place = Place(i);
            _bytes.AsSpan(place * _packet, _lengths[place]).CopyTo(bytes.AsSpan(at));
            at += _lengths[place];
        }

        return bytes;
    }

    /// <summary>The saved packets would fit: count, sizes and total agree.</summary>
    internal bool Accepts(ushort[] lengths, byte[] bytes)
    {
        if (lengths.Length > _lengths.Length) return false;
        int total = 0;
        foreach (ushort length in lengths)
        {
            if (length > _packet) return false;
            total += length;
        }

        return total == bytes.Length;
    }

    /// <summary>Takes saved packets that <see cref="Accepts"/> has agreed to.</summary>
    internal void Restore(ushort[] lengths, ReadOnlySpan<byte> bytes)
    {
        Clear();
        foreach (ushort length in lengths)
        {
            bytes[..length].CopyTo(Room(length));
            Add(length);
            bytes = bytes[length..];
        }
    }

    private int Place(int index)
    {
        int place = _first + index;
        return place >= _lengths.Length ? place - _lengths.Length : place;
    }
}
