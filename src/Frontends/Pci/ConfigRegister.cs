using System;

namespace XenUsbDm.Frontends.Pci;

/// <summary>What a write to a configuration register sets off after its masks have been applied.</summary>
[Flags]
internal enum ConfigEffects
{
    /// <summary>Nothing: the value is only stored.</summary>
    None = 0,

    /// <summary>Address decoding, bus mastering, INTx, MSI or MSI-X may have changed and are evaluated again.</summary>
    Evaluate = 1,

    /// <summary>PowerState was written: unsupported states are undone (PCI PM 1.2 §3.2.4), then as <see cref="Evaluate"/>.</summary>
    Power = 2,
}

/// <summary>
/// One row of the configuration space table. Bits that no mask names are read-only at their reset value.
/// </summary>
/// <param name="Name">Name in the specification.</param>
/// <param name="Offset">First byte, 0-255.</param>
/// <param name="Width">Bytes: 1, 2 or 4.</param>
/// <param name="Reset">Value after a bus reset.</param>
/// <param name="Write">Bits the guest may write.</param>
/// <param name="ClearOnes">Bits that the function sets and that writing 1 clears (RW1C).</param>
/// <param name="Hardware">Read-only bits that the function itself changes.</param>
/// <param name="Effects">What a write sets off.</param>
internal readonly record struct ConfigRegister(
    string Name, int Offset, int Width, uint Reset, uint Write = 0, uint ClearOnes = 0, uint Hardware = 0, ConfigEffects Effects = ConfigEffects.None);
