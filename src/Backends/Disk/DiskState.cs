namespace XenUsbDm.Backends.Disk;

/// <summary>Saved state of the logical unit. Bytes and numbers as the wire has them.</summary>
/// <param name="SenseKey">Sense key, 0-15.</param>
/// <param name="SenseCode">Additional sense code.</param>
/// <param name="SenseQualifier">Additional sense code qualifier.</param>
/// <param name="SenseSector">Sector of the INFORMATION field, -1 for none.</param>
/// <param name="Attention">Additional sense code of the pending unit attention: 0, 0x28 or 0x29.</param>
/// <param name="Ejected">The medium is out.</param>
/// <param name="RemovalPrevented">PREVENT ALLOW MEDIUM REMOVAL's bit.</param>
/// <param name="Receiving">Operation code whose parameter list is awaited.</param>
/// <param name="AfterAction">What follows the parameter list: done, fill or discard.</param>
/// <param name="AfterSector">First sector of that.</param>
/// <param name="AfterCount">Its sectors.</param>
public sealed record ScsiStateV1(
    byte SenseKey,
    byte SenseCode,
    byte SenseQualifier,
    long SenseSector,
    byte Attention,
    bool Ejected,
    bool RemovalPrevented,
    byte Receiving,
    int AfterAction,
    long AfterSector,
    long AfterCount);
