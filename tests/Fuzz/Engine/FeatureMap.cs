using System;

namespace XenUsbDm.Fuzz.Engine;

/// <summary>
/// Which features one case has reached: cheap coverage feedback without instrumentation. A feature is a hash of what the
/// guest can see (register classes, event codes, endpoint states) and of what the driver did to get there.
/// </summary>
public sealed class FeatureMap
{
    /// <summary>Features told apart; more collide.</summary>
    public const int Size = 1 << 18;

    private readonly byte[] _seen = new byte[Size];
    private readonly int[] _list = new int[Size];

    /// <summary>Features of this case.</summary>
    public int Count { get; private set; }

    public ReadOnlySpan<int> Hits => _list.AsSpan(0, Count);

    public void Hit(uint feature)
    {
        feature ^= feature >> 15;
        int index = (int)(feature & (Size - 1));
        if (_seen[index] != 0) return;
        _seen[index] = 1;
        _list[Count++] = index;
    }

    public void Clear()
    {
        foreach (int index in Hits) _seen[index] = 0;
        Count = 0;
    }
}
