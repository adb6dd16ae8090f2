using XenUsbDm.Core.Time;

namespace XenUsbDm.Core.Logging;

/// <summary>
/// Token bucket in virtual time for messages that a guest or a device can trigger: <see cref="Burst"/> messages at
/// once, then one per <see cref="RefillNanoseconds"/>. Says how many were suppressed when the next one may pass.
/// </summary>
public sealed class LogBudget
{
    /// <summary>Messages that may pass at once; enough to see a pattern, few enough to keep a log readable.</summary>
    public const int Burst = 10;

    /// <summary>One more message per second.</summary>
    public const ulong RefillNanoseconds = 1_000_000_000;

    private int _tokens = Burst;
    private VirtualTime _refilled;
    private long _suppressed;

    /// <summary>True when a message may be written now; <paramref name="suppressed"/> counts those dropped since the last.</summary>
    public bool TryTake(VirtualTime now, out long suppressed)
    {
        ulong elapsed = now > _refilled ? now.Nanoseconds - _refilled.Nanoseconds : 0;
        ulong refill = elapsed / RefillNanoseconds;
        if (refill > 0)
        {
            _tokens = refill >= Burst ? Burst : System.Math.Min(Burst, _tokens + (int)refill);
            _refilled = _refilled.Plus(refill * RefillNanoseconds);
        }

        suppressed = _suppressed;
        if (_tokens == 0)
        {
            _suppressed++;
            return false;
        }

        _tokens--;
        _suppressed = 0;
        return true;
    }
}
