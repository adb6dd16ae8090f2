namespace XenUsbDm.Frontends.Pci;

/// <summary>What a PCI function tells the host that it is plugged into. Called only on a change.</summary>
public interface IPciHost
{
    /// <summary>
    /// The memory window of <paramref name="bar"/> is now at <paramref name="address"/>, or nowhere when
    /// <paramref name="enabled"/> is false: the host then takes the old window away.
    /// </summary>
    void BarMoved(int bar, ulong address, bool enabled);

    /// <summary>PME# (PME_Status and PME_En, PCI PM 1.2 §3.2.4) changed level. A host that cannot wake a guest ignores it.</summary>
    void PowerManagementEvent(bool asserted)
    {
    }
}

/// <summary>Where a BAR is mapped.</summary>
/// <param name="Address">Guest-physical address that the guest programmed.</param>
/// <param name="Enabled">The function answers there.</param>
public readonly record struct BarMapping(ulong Address, bool Enabled);
