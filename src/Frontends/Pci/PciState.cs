namespace XenUsbDm.Frontends.Pci;

/// <summary>A PCI function's saved state, version 1.</summary>
/// <param name="BarSize">Bytes of BAR 0.</param>
/// <param name="Config">The 256 bytes of configuration space.</param>
/// <param name="MsiXTable">The 256 bytes of the MSI-X table.</param>
/// <param name="MsiXPending">MSI-X pending bits, vector 0 in bit 0.</param>
/// <param name="InterruptLevel">The level that the controller wants INTx to have.</param>
public sealed record PciStateV1(int BarSize, byte[] Config, byte[] MsiXTable, uint MsiXPending, bool InterruptLevel);
