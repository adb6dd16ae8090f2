using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>One interrupter register set (xHCI 1.2 §5.5.2) with its event ring and moderation counter.</summary>
internal sealed class Interrupter : IInspectable
{
    /// <summary>IMODI and IMODC count in units of 250 ns (§5.5.2.2).</summary>
    public const ulong ModerationUnit = 250;

    /// <summary>IMODI after reset: 4000 units, 1 ms (§5.5.2.2).</summary>
    public const ushort DefaultInterval = 4000;

    /// <summary>The event ring.</summary>
    public EventRing Ring { get; } = new();

    /// <summary>IMAN.IP: an interrupt waits to be signalled (INTx: to be acknowledged).</summary>
    public bool Pending { get; set; }

    /// <summary>IMAN.IE.</summary>
    public bool Enabled { get; set; }

    /// <summary>ERDP.EHB: software is still busy with the last interrupt.</summary>
    public bool HandlerBusy { get; set; }

    /// <summary>ERDP.DESI, software's hint; kept and not used.</summary>
    public byte DequeueSegment { get; set; }

    /// <summary>The internal IPE flag (§4.17.5): an event without BEI is in the ring.</summary>
    public bool PendingEnable { get; set; }

    /// <summary>IMODI.</summary>
    public ushort Interval { get; set; } = DefaultInterval;

    /// <summary>When IMODC reaches 0.</summary>
    public VirtualTime CounterEnds { get; set; }

    /// <summary>IMODC at <paramref name="now"/>, rounded up so that 0 means that it has ended.</summary>
    public uint Counter(VirtualTime now) => CounterEnds <= now
        ? 0
        : (uint)Math.Min(0xffff, (CounterEnds.Nanoseconds - now.Nanoseconds + ModerationUnit - 1) / ModerationUnit);

    /// <summary>Starts IMODC at <paramref name="units"/>.</summary>
    public void LoadCounter(VirtualTime now, uint units) => CounterEnds = now.Plus(units * ModerationUnit);

    /// <summary>IP goes to 0: IMODC is loaded with IMODI (§5.5.2.2).</summary>
    public void ClearPending(VirtualTime now)
    {
        if (!Pending) return;
        Pending = false;
        LoadCounter(now, Interval);
    }

    /// <summary>Values after a reset.</summary>
    public void Reset()
    {
        Ring.Reset();
        Pending = false;
        Enabled = false;
        HandlerBusy = false;
        DequeueSegment = 0;
        PendingEnable = false;
        Interval = DefaultInterval;
        CounterEnds = VirtualTime.Zero;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Flag("ip", Pending);
        writer.Flag("ie", Enabled);
        writer.Flag("ehb", HandlerBusy);
        writer.Flag("ipe", PendingEnable);
        writer.Number("desi", DequeueSegment);
        writer.Number("imodi", Interval);
        writer.Text("imodc_ends", CounterEnds.ToString());
        writer.Child("ring", Ring);
    }

    /// <summary>Saves the interrupter.</summary>
    public InterrupterStateV1 Capture() => new(
        Pending, Enabled, HandlerBusy, DequeueSegment, PendingEnable, Interval, CounterEnds.Nanoseconds, Ring.Capture());

    /// <summary>Takes a saved interrupter back.</summary>
    public bool TryRestore(InterrupterStateV1 state)
    {
        if (state.Ring is null || state.DequeueSegment > 7 || !Ring.TryRestore(state.Ring)) return false;
        Pending = state.Pending;
        Enabled = state.Enabled;
        HandlerBusy = state.HandlerBusy;
        DequeueSegment = state.DequeueSegment;
        PendingEnable = state.PendingEnable;
        Interval = state.Interval;
        CounterEnds = new VirtualTime(state.CounterEnds);
        return true;
    }
}

/// <summary>Saved <see cref="Interrupter"/>; <paramref name="CounterEnds"/> in nanoseconds of virtual time.</summary>
public sealed record InterrupterStateV1(
    bool Pending,
    bool Enabled,
    bool HandlerBusy,
    byte DequeueSegment,
    bool PendingEnable,
    ushort Interval,
    ulong CounterEnds,
    EventRingStateV1 Ring);
