namespace XenUsbDm.Core.Time;

/// <summary>An object that acts when time passes: now is handed in, the next deadline is handed out.</summary>
public interface ITimed
{
    /// <summary>
    /// When <see cref="Advance"/> wants to be called next: a past or present instant while work is pending,
    /// <see cref="VirtualTime.Never"/> when nothing will happen by itself.
    /// </summary>
    VirtualTime NextDeadline { get; }

    /// <summary>Does the work that is due at <paramref name="now"/>, up to the object's own budget for one call.</summary>
    void Advance(VirtualTime now);
}
