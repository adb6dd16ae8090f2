namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// Whether another device model of the domain, QEMU as a rule, has a function in a PCI slot. Xen has no call that tells; but
/// a server refuses a slot that it has already (EEXIST), and servers of one toolstack domain may be asked by all of it. One
/// that takes the slot has it only until the next call takes it back, so this is for a guest that does not use the slot yet.
/// </summary>
/// <remarks>Of two servers with one slot Xen asks the one with the higher number, without a word to anybody.</remarks>
internal static class SlotProbe
{
    /// <summary>Looks at every server but <paramref name="own"/>. Those of a stub domain cannot be asked and count as without.</summary>
    public static bool IsTaken(IXenDomain domain, ushort own, int slot)
    {
        for (ushort server = 0; server < XenLimits.MaxServers; server++)
        {
            if (server == own) continue;
            int error = domain.MapPciDevice(server, slot);
            if (error == XenError.Exists) return true;
            if (error == 0) domain.UnmapPciDevice(server, slot);
        }

        return false;
    }
}
