using System;

namespace XenUsbDm.Hosts.Control;

/// <summary>Bytes on their way to a client, bounded.</summary>
internal sealed class OutputQueue
{
    private const int FirstBytes = 1 << 10;

    private byte[] _bytes = new byte[FirstBytes];
    private int _first;

    /// <summary>Bytes waiting.</summary>
    public int Count { get; private set; }

    /// <summary>The bytes waiting.</summary>
    public ReadOnlySpan<byte> Pending => _bytes.AsSpan(_first, Count);

    /// <summary>Appends; false, with nothing appended, when more than <see cref="ControlLimits.QueuedBytes"/> would wait.</summary>
    public bool TryAppend(ReadOnlySpan<byte> data)
    {
        if (data.Length > ControlLimits.QueuedBytes - Count) return false;
        if (data.Length > _bytes.Length - _first - Count)
        {
            byte[] target = Count + data.Length > _bytes.Length ? new byte[Math.Max(_bytes.Length * 2, Count + data.Length)] : _bytes;
            Pending.CopyTo(target);
            _bytes = target;
            _first = 0;
        }

        data.CopyTo(_bytes.AsSpan(_first + Count));
        Count += data.Length;
        return true;
    }

    /// <summary>The first <paramref name="count"/> bytes are gone.</summary>
    public void Take(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, Count);
        _first += count;
        Count -= count;
        if (Count > 0) return;
        _first = 0;
        if (_bytes.Length > ControlLimits.KeptBytes) _bytes = new byte[FirstBytes];
    }
}
