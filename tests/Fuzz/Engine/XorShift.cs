namespace XenUsbDm.Fuzz.Engine;

/// <summary>The fuzzer's own random numbers (xorshift64*), so that a seed gives the same run on every runtime.</summary>
public sealed class XorShift
{
    private ulong _state;

    public XorShift(ulong seed) => _state = seed == 0 ? 0x9e3779b97f4a7c15 : unchecked(seed * 0x9e3779b97f4a7c15 | 1);

    public ulong Next()
    {
        _state ^= _state >> 12;
        _state ^= _state << 25;
        _state ^= _state >> 27;
        return unchecked(_state * 0x2545f4914f6cdd1d);
    }

    /// <summary>0 to <paramref name="bound"/> - 1.</summary>
    public int Below(int bound) => (int)((Next() >> 33) % (ulong)bound);

    public bool OneIn(int n) => Below(n) == 0;
}
