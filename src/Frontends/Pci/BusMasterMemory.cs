using System;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// Guest memory as the function reaches it: nothing while Bus Master Enable is 0 or the function sleeps (PCI 3.0 §6.2.2).
/// Controller and devices both go through it, so a guest that takes bus mastering away (kexec, a crash kernel) is safe from
/// transfers that are still in flight.
/// </summary>
public sealed class BusMasterMemory(IGuestMemory memory) : IGuestMemory
{
    /// <summary>The function whose enable counts; nothing is reachable before it is named.</summary>
    public PciFunction? Function { get; set; }

    /// <inheritdoc/>
    public Span<byte> Map(GuestAddress address, int length, GuestAccess access) =>
        Function is { DmaAllowed: true } ? memory.Map(address, length, access) : default;
}
