#pragma warning disable CA1822, CS9113 // Seam only; the implementation follows.
using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>Interrupters and event rings.</summary>
internal sealed class Interrupters(int count, IGuestMemory memory, IHostBus bus) : ITimed, IInspectable
{
    /// <summary>Interrupters (MaxIntrs).</summary>
    public int Count => count;

    /// <inheritdoc/>
    public VirtualTime NextDeadline => VirtualTime.Never;

    /// <inheritdoc/>
    public void Advance(VirtualTime now) => throw new InvalidOperationException();

    /// <summary>Room for one ordinary event; the last slot is kept for Event Ring Full Error.</summary>
    public bool HasRoom(int interrupter) => throw new InvalidOperationException();

    /// <summary>Posts an event. False: keep it and try again after <see cref="IRegisterEffects.EventRingMayHaveRoom"/>.</summary>
    public bool TryPost(int interrupter, in Trb trb, bool blockEventInterrupt = false) => throw new InvalidOperationException();

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer) => throw new InvalidOperationException();

    /// <summary>Saved state.</summary>
    public InterruptersStateV1 Capture() => throw new InvalidOperationException();

    /// <summary>Restores.</summary>
    public bool TryRestore(InterruptersStateV1 state, out string error) => throw new InvalidOperationException();
}

/// <summary>State.</summary>
public sealed record InterruptersStateV1(int Count);
