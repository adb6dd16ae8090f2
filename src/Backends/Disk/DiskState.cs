using XenUsbDm.Backends.Emulated;

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

/// <summary>Saved state of a disk, also in the middle of a command. What is on the medium is not in it.</summary>
/// <param name="Device">Chapter 9 state.</param>
/// <param name="Unit">The logical unit.</param>
/// <param name="Transport">The transport.</param>
/// <param name="Medium">Work on the medium that is under way.</param>
/// <param name="Counters">Commands, failed, phase errors, invalid wrappers, resets, bytes read, bytes written.</param>
/// <param name="Uas">The task set of USB Attached SCSI; null for a disk without it.</param>
public sealed record DiskStateV1(EmulatedDeviceStateV1 Device, ScsiStateV1 Unit, BotStateV1 Transport, MediumStateV1 Medium, long[] Counters, UasStateV1? Uas);

/// <summary>Saved task set of USB Attached SCSI.</summary>
/// <param name="Tasks">The tasks in the order in which they came.</param>
/// <param name="DataIn">Without streams: tag of the task that the data-in pipe serves, 0 for none.</param>
/// <param name="DataOut">As <paramref name="DataIn"/>, of the data-out pipe.</param>
/// <param name="ReadReady">The host has still to be told of <paramref name="DataIn"/>.</param>
/// <param name="WriteReady">The host has still to be told of <paramref name="DataOut"/>.</param>
/// <param name="Replies">Units for the host that are not about one of the tasks.</param>
/// <param name="Counters">Refused units, aborted tasks.</param>
public sealed record UasStateV1(UasTaskStateV1[] Tasks, int DataIn, int DataOut, bool ReadReady, bool WriteReady, UasReplyStateV1[] Replies, long[] Counters);

/// <summary>A saved unit for the host.</summary>
/// <param name="Id">IU ID: 3 sense, 4 response.</param>
/// <param name="Tag">Its tag.</param>
/// <param name="Code">Status or response code.</param>
/// <param name="SenseKey">Sense key, 0 without sense data.</param>
/// <param name="SenseCode">Additional sense code.</param>
/// <param name="SenseQualifier">Its qualifier.</param>
public sealed record UasReplyStateV1(byte Id, ushort Tag, byte Code, byte SenseKey, byte SenseCode, byte SenseQualifier);

/// <summary>A saved task of USB Attached SCSI.</summary>
/// <param name="Phase">1 data in, 2 data out, 3 busy, 4 status.</param>
/// <param name="Tag">Its tag.</param>
/// <param name="Ordered">Task attribute ORDERED.</param>
/// <param name="Action">What the command takes (the number of its <c>ScsiAction</c>).</param>
/// <param name="Length">Bytes that the device means to move.</param>
/// <param name="Sector">First sector.</param>
/// <param name="SectorCount">Sectors, or ranges of an UNMAP.</param>
/// <param name="ForceUnitAccess">FUA.</param>
/// <param name="Moved">Bytes of data that were moved.</param>
/// <param name="SenseKey">Sense key, in the status phase; 0 for none.</param>
/// <param name="SenseCode">Additional sense code.</param>
/// <param name="SenseQualifier">Its qualifier.</param>
/// <param name="SenseSector">Sector of the INFORMATION field, -1 for none.</param>
/// <param name="Receiving">Operation code whose parameter list is awaited.</param>
/// <param name="AfterAction">What follows the parameter list: done, fill or discard.</param>
/// <param name="AfterSector">First sector of that.</param>
/// <param name="AfterCount">Its sectors.</param>
/// <param name="Buffer">Response or parameter list; empty when it has none.</param>
/// <param name="Medium">Work on the medium that is under way.</param>
public sealed record UasTaskStateV1(
    int Phase,
    ushort Tag,
    bool Ordered,
    int Action,
    long Length,
    long Sector,
    long SectorCount,
    bool ForceUnitAccess,
    long Moved,
    byte SenseKey,
    byte SenseCode,
    byte SenseQualifier,
    long SenseSector,
    byte Receiving,
    int AfterAction,
    long AfterSector,
    long AfterCount,
    byte[] Buffer,
    MediumStateV1 Medium);

/// <summary>Saved state of the bulk-only transport.</summary>
/// <param name="Phase">0 command, 1 data in, 2 data out, 3 busy, 4 status, 5 reset recovery awaited.</param>
/// <param name="Tag">dCBWTag.</param>
/// <param name="DataLength">dCBWDataTransferLength, bytes.</param>
/// <param name="IsIn">Direction that the host announced.</param>
/// <param name="Lun">bCBWLUN.</param>
/// <param name="Case">Which of the thirteen cases, 1-13.</param>
/// <param name="Action">What the command takes (the number of its <c>ScsiAction</c>).</param>
/// <param name="Length">Bytes that the device means to move.</param>
/// <param name="Sector">First sector.</param>
/// <param name="SectorCount">Sectors, or ranges of an UNMAP.</param>
/// <param name="ForceUnitAccess">FUA.</param>
/// <param name="Limit">Bytes of the data stage that will be moved.</param>
/// <param name="Moved">Bytes of the data stage that were moved.</param>
/// <param name="Status">bCSWStatus, in the status phase.</param>
/// <param name="Residue">dCSWDataResidue, in the status phase.</param>
/// <param name="Buffer">Response or parameter list of the command under way; empty when it has none.</param>
public sealed record BotStateV1(
    int Phase,
    uint Tag,
    uint DataLength,
    bool IsIn,
    byte Lun,
    int Case,
    int Action,
    long Length,
    long Sector,
    long SectorCount,
    bool ForceUnitAccess,
    long Limit,
    long Moved,
    int Status,
    uint Residue,
    byte[] Buffer);

/// <summary>Saved work on the medium. Operations in flight are begun anew: reads ahead of the data stage, writes from their data.</summary>
/// <param name="Pending">Received bytes that are not known to be stored; they end where the data stage is.</param>
/// <param name="FailureKey">Sense key of a failure that is not reported yet, 0 for none.</param>
/// <param name="FailureCode">Its additional sense code.</param>
/// <param name="FailureQualifier">Its qualifier.</param>
/// <param name="FailedSector">Its sector, -1 for none.</param>
/// <param name="JobSector">First sector of a job that is not done.</param>
/// <param name="JobLeft">Sectors of it that are not done.</param>
/// <param name="JobRange">Next range of a list.</param>
public sealed record MediumStateV1(
    byte[] Pending,
    byte FailureKey,
    byte FailureCode,
    byte FailureQualifier,
    long FailedSector,
    long JobSector,
    long JobLeft,
    int JobRange);
