using System;
using System.Collections.Generic;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>
/// The guest's memory as the client mapped it: a sorted table of ranges, of which the one found last is looked at first.
/// Ranges that came without a descriptor (ROM, device memory, RAM that is not shared) are kept, so that they can be unmapped,
/// and are not reachable.
/// </summary>
public sealed class VfioMemory : IGuestMemory, IInspectable
{
    private readonly List<Range> _ranges = [];
    private Range? _last;

    /// <summary>Ranges, reachable or not.</summary>
    public int Count => _ranges.Count;

    /// <inheritdoc/>
    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        Range? range = _last;
        if (range is null || !range.Contains(address.Value))
        {
            range = Find(address.Value);
            if (range is null) return default;
            _last = range;
        }

        if (range.Memory is null || (access == GuestAccess.Write && !range.Writable)) return default;
        return range.Memory.Slice(address.Value - range.Address, length);
    }

    /// <summary>
    /// Adds a range and takes over its mapping. False, with the errno, when it is empty, wraps, overlaps another one or is
    /// one too many; the mapping then stays the caller's.
    /// </summary>
    public bool TryAdd(ulong address, ulong size, bool writable, IMappedMemory? memory, out int error)
    {
        error = VfioUserError.Invalid;
        if (size == 0 || address > ulong.MaxValue - (size - 1)) return false;
        int at = IndexAfter(address);
        error = VfioUserError.Exists;
        if (at > 0 && _ranges[at - 1].Last >= address) return false;
        if (at < _ranges.Count && _ranges[at].Address <= address + (size - 1)) return false;
        error = VfioUserError.NoMemory;
        if (_ranges.Count >= VfioUserLimits.MaxMaps) return false;
        _ranges.Insert(at, new Range(address, size, writable, memory));
        error = 0;
        return true;
    }

    /// <summary>True when <see cref="TryAdd"/> would refuse the range because of others.</summary>
    public bool Overlaps(ulong address, ulong size)
    {
        int at = IndexAfter(address);
        return (at > 0 && _ranges[at - 1].Last >= address) || (at < _ranges.Count && _ranges[at].Address <= address + (size - 1));
    }

    /// <summary>Removes and unmaps exactly this range; false when there is no such range.</summary>
    public bool TryRemove(ulong address, ulong size)
    {
        int at = IndexAfter(address) - 1;
        if (at < 0 || _ranges[at].Address != address || _ranges[at].Size != size) return false;
        _last = null;
        _ranges[at].Memory?.Dispose();
        _ranges.RemoveAt(at);
        return true;
    }

    /// <summary>Removes and unmaps everything.</summary>
    public void Clear()
    {
        _last = null;
        foreach (Range range in _ranges) range.Memory?.Dispose();
        _ranges.Clear();
    }

    /// <summary>Some range's file became shorter below it.</summary>
    public bool IsLost => _ranges.Exists(static range => range.Memory is { IsLost: true });

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("ranges", _ranges.Count);
        for (int i = 0; i < _ranges.Count; i++)
        {
            Range range = _ranges[i];
            using (writer.Node("range", i))
            {
                writer.Hex("address", range.Address);
                writer.Hex("size", range.Size);
                writer.Flag("writable", range.Writable);
                writer.Flag("mapped", range.Memory is not null);
            }
        }
    }

    private Range? Find(ulong address)
    {
        int at = IndexAfter(address) - 1;
        return at >= 0 && _ranges[at].Contains(address) ? _ranges[at] : null;
    }

    /// <summary>Index of the first range that starts after <paramref name="address"/>.</summary>
    private int IndexAfter(ulong address)
    {
        int low = 0;
        int high = _ranges.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_ranges[middle].Address <= address) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    private sealed record Range(ulong Address, ulong Size, bool Writable, IMappedMemory? Memory)
    {
        public ulong Last => Address + (Size - 1);

        public bool Contains(ulong address) => address >= Address && address - Address < Size;
    }
}
