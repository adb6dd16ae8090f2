using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Frontends.Xhci;

/// <content>MFINDEX and its wrap event (§4.14.2, §5.5.1), and logging.</content>
internal sealed partial class XhciRegisters
{
    // MFINDEX has 14 bits.
    private const ulong MicroframeWrap = 1 << 14;

    private readonly LogBudget _logBudget = new();

    // MFINDEX is what the virtual microframe is ahead of this while running, and frozen otherwise.
    private ulong _microframeOrigin;
    private uint _frozenMicroframe;

    // Virtual microframe of the next wrap event; none when EWE is 0 or the controller is halted.
    private ulong? _nextWrap;
    private bool _wrapPending;

    /// <summary>MFINDEX, 0-0x3fff; counts while the controller runs (§5.5.1).</summary>
    public uint MicroframeIndex => Running
        ? (uint)(unchecked(_now.Microframe - _microframeOrigin) & (MicroframeWrap - 1))
        : _frozenMicroframe;

    /// <summary>
    /// The virtual microframe (<see cref="VirtualTime.Microframe"/>) at which MFINDEX was 0; may have wrapped below 0. A
    /// Frame ID f of a running controller is the virtual microframe origin + 8 f modulo 2^14.
    /// </summary>
    public ulong MfindexOrigin => _microframeOrigin;

    /// <inheritdoc/>
    public VirtualTime NextDeadline => _nextWrap is { } wrap ? VirtualTime.AtMicroframe(wrap) : VirtualTime.Never;

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        Now = now;
        if (_nextWrap is not { } wrap || now.Microframe < wrap) return;
        _wrapPending = true;
        _nextWrap = null;
        ArmWrapEvent();
        PostWrapEvent();
    }

    /// <summary>See <see cref="XhciController.DependsOnTime"/>; true for what is not inside the registers.</summary>
    public bool DependsOnTime(int offset, int size, bool isWrite)
    {
        if (!IsInside(offset, size)) return true;
        for (int word = offset / 4; word * 4 < offset + size; word++)
        {
            ref readonly RegisterSpec register = ref _map.Word(word);
            if (register.Effect is RegisterEffect.MicroframeIndex or RegisterEffect.InterrupterModeration) return true;
            // What a 64-bit register sets off by the time (moderation, §4.17.2) it does with its low half.
            if (isWrite && register.Half == 0 && register.Effect is not (RegisterEffect.None or RegisterEffect.UsbStatus)) return true;
        }

        return false;
    }

    private void StartMicroframes() => _microframeOrigin = unchecked(_now.Microframe - _frozenMicroframe);

    private void StopMicroframes()
    {
        if (Running) _frozenMicroframe = MicroframeIndex;
        _nextWrap = null;
    }

    private void ResetMicroframes()
    {
        _microframeOrigin = 0;
        _frozenMicroframe = 0;
        _nextWrap = null;
        _wrapPending = false;
    }

    // An event that is due already stays due.
    private void ArmWrapEvent()
    {
        if (!Running || (_values[UsbCommandWord] & EnableWrapEvent) == 0) _nextWrap = null;
        else _nextWrap ??= _now.Microframe + MicroframeWrap - MicroframeIndex;
    }

    private void PostWrapEvent()
    {
        if (_wrapPending) _wrapPending = !_interrupters.TryPost(0, Trb.MicroframeIndexWrapEvent());
    }

    [LoggerMessage(120, LogLevel.Warning, "xHCI: an event ring {Fault}; the controller stops until the guest resets it ({Suppressed} messages suppressed)")]
    private static partial void LogEventRingFault(ILogger logger, string fault, long suppressed);
}
