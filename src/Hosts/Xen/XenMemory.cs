using System;
using System.Collections.Generic;
using System.Numerics;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// Guest memory through foreign mappings, kept in buckets of <see cref="XenLimits.BucketBytes"/>. A span that was handed
/// out stays valid until <see cref="Settle"/> or <see cref="Clear"/>, which the host calls when the model has returned:
/// nothing is unmapped in between, whatever else is mapped meanwhile.
/// </summary>
/// <remarks>
/// Pages that Xen does not map (holes, pages ballooned out, ROM) are no memory. Such a page is tried once more in each
/// entry, since the guest may have got it back; Xen asks for <see cref="Clear"/> only when pages go.
/// </remarks>
public sealed class XenMemory : IGuestMemory, IInspectable
{
    // At most this many spans are in use at the same time; older runs have been written when others follow.
    private const int RunsInUse = 8;

    private const int PageBytes = IoreqLayout.PageBytes;

    private readonly IXenDomain _domain;
    private readonly Dictionary<ulong, Bucket> _buckets = new(XenLimits.MostBuckets);
    private readonly List<IForeignPages> _retired = [];
    private readonly int[] _errors = new int[XenLimits.BucketPages];
    private readonly DirtyExtents _dirty = new();
    private readonly int _limit;
    private readonly int _most;
    private Bucket? _last;
    private ulong _entry = 1;
    private ulong _uses;
    private long _maps;
    private long _refused;
    private long _clears;
    private long _told;

    /// <summary>An empty cache of at most <paramref name="limit"/> buckets, and <paramref name="most"/> within one entry.</summary>
    public XenMemory(IXenDomain domain, int limit = XenLimits.Buckets, int most = XenLimits.MostBuckets)
    {
        ArgumentNullException.ThrowIfNull(domain);
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(most, limit);
        _domain = domain;
        _limit = limit;
        _most = most;
    }

    /// <summary>Tell Xen of every page written, for its dirty log: somebody copies the guest's memory while it runs.</summary>
    public bool TracksDirtyPages { get; set; }

    /// <summary>Buckets mapped now.</summary>
    public int Count => _buckets.Count;

    /// <summary>Calls that mapped a bucket.</summary>
    public long Maps => _maps;

    /// <summary>The error that the last call to Xen ended with, if it was that the domain is gone.</summary>
    public bool DomainGone { get; private set; }

    /// <inheritdoc/>
    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        if (length <= 0) return default;
        ulong number = address.Value / XenLimits.BucketBytes;
        Bucket? bucket = _last;
        if (bucket is null || bucket.Number != number)
        {
            if (!_buckets.TryGetValue(number, out bucket)) bucket = AddBucket(number);
            if (bucket is null)
            {
                _refused++;
                return default;
            }

            _last = bucket;
            bucket.LastUse = ++_uses;
        }

        bucket.LastEntry = _entry;
        int offset = (int)(address.Value % XenLimits.BucketBytes);
        int run = bucket.Run(offset, length);
        if (run == 0)
        {
            if (bucket.Tried != _entry) Retry(bucket);
            run = bucket.Run(offset, length);
            if (run == 0)
            {
                _refused++;
                return default;
            }
        }

        if (TracksDirtyPages && access == GuestAccess.Write) NoteDirty(address.Value, run);
        return bucket.Pages!.Bytes.Slice(offset, run);
    }

    /// <summary>The model has returned: tells Xen what it wrote and unmaps what is too much.</summary>
    public void Settle()
    {
        _entry++;
        if (!_dirty.Waiting.IsEmpty) TellDirty(0);
        Release();
        while (_buckets.Count > _limit) RemoveOldest();
        Release();
    }

    /// <summary>Unmaps everything. Not to be called while the model runs.</summary>
    public void Clear()
    {
        if (!_dirty.Waiting.IsEmpty) TellDirty(0);
        _clears++;
        _last = null;
        foreach (Bucket bucket in _buckets.Values) bucket.Pages?.Dispose();
        _buckets.Clear();
        Release();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("buckets", _buckets.Count);
        writer.Number("maps", _maps);
        writer.Number("refused", _refused);
        writer.Number("clears", _clears);
        writer.Flag("tracks-dirty-pages", TracksDirtyPages);
        writer.Number("dirty-calls", _told);
    }

    private Bucket? AddBucket(ulong number)
    {
        if (_buckets.Count >= _limit && !TryMakeRoom()) return null;
        var bucket = new Bucket(number);
        MapPages(bucket);
        _buckets.Add(number, bucket);
        return bucket;
    }

    // What this entry has used stays. One that finds no room may have more, up to a limit that ends a hostile guest's walk.
    private bool TryMakeRoom() => RemoveOldest() || _buckets.Count < _most;

    private bool RemoveOldest()
    {
        Bucket? oldest = null;
        foreach (Bucket bucket in _buckets.Values)
        {
            if (bucket.LastEntry != _entry && (oldest is null || bucket.LastUse < oldest.LastUse)) oldest = bucket;
        }

        if (oldest is null) return false;
        _buckets.Remove(oldest.Number);
        if (ReferenceEquals(oldest, _last)) _last = null;
        if (oldest.Pages is not null) _retired.Add(oldest.Pages);
        return true;
    }

    private void Retry(Bucket bucket)
    {
        if (bucket.Pages is not null) _retired.Add(bucket.Pages);
        MapPages(bucket);
    }

    private void MapPages(Bucket bucket)
    {
        _maps++;
        bucket.Tried = _entry;
        bucket.LastEntry = _entry;
        int error = _domain.MapGuest(bucket.Number * XenLimits.BucketPages, _errors, out IForeignPages? pages);
        if (error == XenError.NoDomain) DomainGone = true;
        bucket.Take(error == 0 ? pages : null, _errors);
    }

    private void NoteDirty(ulong address, int length)
    {
        if (_dirty.IsFull) TellDirty(RunsInUse);
        ulong first = address / PageBytes;
        ulong last = (address + (ulong)(length - 1)) / PageBytes;
        _dirty.Add(first, (uint)(last - first + 1));
    }

    private void TellDirty(int kept)
    {
        _told++;
        if (_domain.MarkModified(_dirty.Waiting) == XenError.NoDomain) DomainGone = true;
        _dirty.Told(kept);
    }

    private void Release()
    {
        foreach (IForeignPages pages in _retired) pages.Dispose();
        _retired.Clear();
    }

    private sealed class Bucket(ulong number)
    {
        private readonly ulong[] _present = new ulong[XenLimits.BucketPages / 64];

        public ulong Number => number;

        public IForeignPages? Pages { get; private set; }

        /// <summary>Order of use, for eviction.</summary>
        public ulong LastUse { get; set; }

        /// <summary>The entry that used it last; spans of the current one may be in use.</summary>
        public ulong LastEntry { get; set; }

        /// <summary>The entry in which it was mapped.</summary>
        public ulong Tried { get; set; }

        public void Take(IForeignPages? pages, ReadOnlySpan<int> errors)
        {
            Pages = pages;
            Array.Clear(_present);
            if (pages is null) return;
            for (int page = 0; page < errors.Length; page++)
            {
                if (errors[page] == 0) _present[page / 64] |= 1UL << (page % 64);
            }
        }

        /// <summary>Bytes from <paramref name="offset"/> that are present, at most <paramref name="length"/>.</summary>
        public int Run(int offset, int length)
        {
            int page = offset / PageBytes;
            int want = Math.Min(length, XenLimits.BucketBytes - offset);
            int end = (offset + want - 1) / PageBytes;
            while (page <= end)
            {
                // Ones from this page on, counted within its word.
                int run = BitOperations.TrailingZeroCount(~(_present[page / 64] >> (page % 64)));
                int inWord = 64 - (page % 64);
                page += Math.Min(run, inWord);
                if (run < inWord) break;
            }

            return Math.Clamp((page * PageBytes) - offset, 0, want);
        }
    }
}
