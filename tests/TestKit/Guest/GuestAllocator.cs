using System;
using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>
/// Hands out guest RAM below or above 4 GiB, keeping the alignment and boundary rules of xHCI 1.2 table 6-1: up to a page
/// never crosses a page, up to 64 KiB never crosses 64 KiB. Freed pieces are used again for the same size.
/// </summary>
public sealed class GuestAllocator
{
    private const int PageSize = 4096;
    private const int Boundary = 65536;

    private readonly IGuestPlatform _platform;
    private readonly Dictionary<(int Length, bool High), Stack<ulong>> _free = [];
    private ulong _nextLow;
    private ulong _nextHigh;

    public GuestAllocator(IGuestPlatform platform)
    {
        _platform = platform;
        _nextLow = platform.LowMemory.Address;
        _nextHigh = platform.HighMemory.Address;
    }

    /// <summary>Bytes below 4 GiB not handed out yet.</summary>
    public ulong LowLeft => _platform.LowMemory.End - _nextLow;

    /// <summary>Zeroed memory of at least 64-byte alignment; from a page on, page-aligned.</summary>
    public GuestBuffer Allocate(int length, bool high = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(length, 1);
        int size = (length + 63) & ~63;
        ulong address = _free.TryGetValue((size, high), out Stack<ulong>? stack) && stack.Count > 0
            ? stack.Pop()
            : Carve(size, high);
        _platform.Memory(address, size).Clear();
        return new GuestBuffer(address, length);
    }

    public void Free(GuestBuffer buffer)
    {
        if (buffer.Length == 0) return;
        bool high = buffer.Address >= 1UL << 32;
        int size = (buffer.Length + 63) & ~63;
        if (!_free.TryGetValue((size, high), out Stack<ulong>? stack)) _free[(size, high)] = stack = new Stack<ulong>();
        stack.Push(buffer.Address);
    }

    private ulong Carve(int size, bool high)
    {
        ulong next = high ? _nextHigh : _nextLow;
        ulong end = high ? _platform.HighMemory.End : _platform.LowMemory.End;
        ulong boundary = size <= PageSize ? (ulong)PageSize : Boundary;
        if (size >= PageSize) next = AlignUp(next, PageSize);
        if (size <= Boundary && next / boundary != (next + (ulong)size - 1) / boundary) next = AlignUp(next, boundary);
        if (next + (ulong)size > end) throw new GuestDriverException($"guest memory {(high ? "above" : "below")} 4 GiB is used up");
        if (high) _nextHigh = next + (ulong)size;
        else _nextLow = next + (ulong)size;
        return next;
    }

    private static ulong AlignUp(ulong value, ulong alignment) => (value + alignment - 1) & ~(alignment - 1);
}
