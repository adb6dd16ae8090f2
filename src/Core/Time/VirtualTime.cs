using System;

namespace XenUsbDm.Core.Time;

/// <summary>
/// A point in time in nanoseconds since the model was made. The host hands it in; the model never reads a clock.
/// It never runs backwards: a host clamps to the latest value it has handed in.
/// </summary>
public readonly record struct VirtualTime(ulong Nanoseconds) : IComparable<VirtualTime>
{
    /// <summary>The model's first instant.</summary>
    public static VirtualTime Zero => new(0);

    /// <summary>No deadline: later than every instant.</summary>
    public static VirtualTime Never => new(ulong.MaxValue);

    /// <summary>Nanoseconds in one USB microframe (125 us).</summary>
    public const ulong MicroframeNanoseconds = 125_000;

    /// <summary>Whole microframes since <see cref="Zero"/>.</summary>
    public ulong Microframe => Nanoseconds / MicroframeNanoseconds;

    /// <summary>The instant at which microframe <paramref name="index"/> starts.</summary>
    public static VirtualTime AtMicroframe(ulong index) =>
        index > (ulong.MaxValue - 1) / MicroframeNanoseconds ? Never : new(index * MicroframeNanoseconds);

    /// <summary>This instant plus a span; saturates at <see cref="Never"/>.</summary>
    public VirtualTime Plus(ulong nanoseconds) =>
        Nanoseconds > ulong.MaxValue - nanoseconds ? Never : new(Nanoseconds + nanoseconds);

    /// <summary>The earlier of two instants.</summary>
    public static VirtualTime Min(VirtualTime a, VirtualTime b) => a.Nanoseconds <= b.Nanoseconds ? a : b;

    /// <inheritdoc/>
    public int CompareTo(VirtualTime other) => Nanoseconds.CompareTo(other.Nanoseconds);

    /// <summary>Earlier than.</summary>
    public static bool operator <(VirtualTime a, VirtualTime b) => a.Nanoseconds < b.Nanoseconds;

    /// <summary>Later than.</summary>
    public static bool operator >(VirtualTime a, VirtualTime b) => a.Nanoseconds > b.Nanoseconds;

    /// <summary>Not later than.</summary>
    public static bool operator <=(VirtualTime a, VirtualTime b) => a.Nanoseconds <= b.Nanoseconds;

    /// <summary>Not earlier than.</summary>
    public static bool operator >=(VirtualTime a, VirtualTime b) => a.Nanoseconds >= b.Nanoseconds;

    /// <inheritdoc/>
    public override string ToString() => this == Never ? "never" : $"{Nanoseconds} ns";
}
