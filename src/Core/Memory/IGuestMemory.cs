using System;

namespace XenUsbDm.Core.Memory;

/// <summary>
/// The guest's memory as a device sees it on the bus: RAM that the host has mapped, and nothing else.
/// The controller's own registers are never reachable through it (CVE-2021-3750: DMA into one's own MMIO).
/// </summary>
/// <remarks>
/// No member throws for a guest address. Data may change at any time under the model (the guest runs), so each
/// guest structure is copied once, then validated, then used.
/// </remarks>
public interface IGuestMemory
{
    /// <summary>
    /// The longest contiguous mapped run at <paramref name="address"/>, at most <paramref name="length"/> bytes.
    /// Empty when the address is not mapped (or not writable and <paramref name="access"/> asks for writing).
    /// The span is valid until the model returns to its host.
    /// </summary>
    Span<byte> Map(GuestAddress address, int length, GuestAccess access);
}

/// <summary>What the caller will do with a mapped run. Hosts that track dirty pages mark them for <see cref="Write"/>.</summary>
public enum GuestAccess
{
    /// <summary>The device reads guest memory.</summary>
    Read,

    /// <summary>The device writes guest memory.</summary>
    Write,
}
