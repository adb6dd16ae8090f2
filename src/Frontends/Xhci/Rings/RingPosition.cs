using System;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Frontends.Xhci.Rings;

/// <summary>A place in a command or transfer ring: the TRB's address and the cycle state its owner bit must have there.</summary>
internal readonly record struct RingPosition(GuestAddress Address, bool Cycle)
{
    /// <summary>A dequeue pointer field: address in bits 63:4, cycle state in bit 0 (§6.2.3, §6.4.3.9, §5.4.5).</summary>
    public static RingPosition FromPointer(ulong pointer) => new(new GuestAddress(pointer & ~0xfUL), (pointer & 1) != 0);

    /// <summary>The pointer field for this place.</summary>
    public ulong ToPointer() => Address.Value | (Cycle ? 1UL : 0);
}

/// <summary>What <see cref="RingWalker.Next"/> found.</summary>
internal enum RingItem
{
    /// <summary>A TRB that belongs to the controller; the position has moved past it (for a Link TRB: to its target).</summary>
    Trb,

    /// <summary>The TRB still belongs to the driver; the position has not moved.</summary>
    Empty,

    /// <summary>The TRB's address is not mapped; the position has not moved.</summary>
    Fault,
}

/// <summary>
/// Walks command and transfer rings (xHCI 1.2 §4.9.2). One call fetches exactly one TRB, Link TRBs included, and copies it
/// once; so whoever loops over it counts every fetch against its own budget and a ring of links cannot hold the model
/// (CVE-2016-8576, CVE-2020-14394).
/// </summary>
internal static class RingWalker
{
    /// <summary>Fetches the TRB at <paramref name="position"/> and moves on.</summary>
    public static RingItem Next(IGuestMemory memory, ref RingPosition position, out Trb trb, out GuestAddress at)
    {
        at = position.Address;
        Span<byte> run = memory.Map(at, Trb.Size, GuestAccess.Read);
        if (run.Length == Trb.Size)
        {
            trb = Trb.Read(run);
        }
        else
        {
            Span<byte> bytes = stackalloc byte[Trb.Size];
            if (!memory.TryRead(at, bytes))
            {
                trb = default;
                return RingItem.Fault;
            }

            trb = Trb.Read(bytes);
        }

        if (trb.Cycle != position.Cycle) return RingItem.Empty;
        position = trb.Type == TrbType.Link
            ? new RingPosition(new GuestAddress(trb.Parameter & ~0xfUL), position.Cycle ^ trb.ToggleCycle)
            : position with { Address = at.OffsetWrapping(Trb.Size) };
        return RingItem.Trb;
    }
}
