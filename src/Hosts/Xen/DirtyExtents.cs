using System;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// Runs of pages that the model writes, collected for Xen. A page is noted when it is handed out and must be told after it
/// was written: so runs are told when the model has returned, and those told earlier for want of room, of which the newest
/// may not have been written yet, are kept and told again.
/// </summary>
internal sealed class DirtyExtents
{
    private readonly PageExtent[] _extents = new PageExtent[XenLimits.DirtyExtents];
    private int _count;

    /// <summary>Runs that wait to be told, oldest first.</summary>
    public ReadOnlySpan<PageExtent> Waiting => _extents.AsSpan(0, _count);

    /// <summary>No room for another run.</summary>
    public bool IsFull => _count == _extents.Length;

    /// <summary>Notes pages; <see cref="IsFull"/> must be false.</summary>
    public void Add(ulong firstFrame, uint count)
    {
        if (_count > 0)
        {
            ref PageExtent last = ref _extents[_count - 1];
            ulong end = last.FirstFrame + last.Count;
            if (firstFrame >= last.FirstFrame && firstFrame <= end)
            {
                last = last with { Count = (uint)Math.Max(last.Count, firstFrame - last.FirstFrame + count) };
                return;
            }
        }

        _extents[_count++] = new PageExtent(firstFrame, count);
    }

    /// <summary>Forgets all but the newest <paramref name="kept"/>, which may not have been written yet.</summary>
    public void Told(int kept = 0)
    {
        kept = Math.Min(kept, _count);
        _extents.AsSpan(_count - kept, kept).CopyTo(_extents);
        _count = kept;
    }
}
