using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

/// <summary>Operation codes that the disk knows (SPC-4 table E.2, SBC-3 table 31; MMC for READ FORMAT CAPACITIES).</summary>
internal enum ScsiOperation : byte
{
    /// <summary>TEST UNIT READY.</summary>
    TestUnitReady = 0x00,

    /// <summary>REQUEST SENSE.</summary>
    RequestSense = 0x03,

    /// <summary>READ (6).</summary>
    Read6 = 0x08,

    /// <summary>WRITE (6).</summary>
    Write6 = 0x0a,

    /// <summary>INQUIRY.</summary>
    Inquiry = 0x12,

    /// <summary>MODE SELECT (6).</summary>
    ModeSelect6 = 0x15,

    /// <summary>MODE SENSE (6).</summary>
    ModeSense6 = 0x1a,

    /// <summary>START STOP UNIT.</summary>
    StartStopUnit = 0x1b,

    /// <summary>SEND DIAGNOSTIC.</summary>
    SendDiagnostic = 0x1d,

    /// <summary>PREVENT ALLOW MEDIUM REMOVAL.</summary>
    PreventAllow = 0x1e,

    /// <summary>READ FORMAT CAPACITIES.</summary>
    ReadFormatCapacities = 0x23,

    /// <summary>READ CAPACITY (10).</summary>
    ReadCapacity10 = 0x25,

    /// <summary>READ (10).</summary>
    Read10 = 0x28,

    /// <summary>WRITE (10).</summary>
    Write10 = 0x2a,

    /// <summary>WRITE AND VERIFY (10).</summary>
    WriteAndVerify10 = 0x2e,

    /// <summary>VERIFY (10).</summary>
    Verify10 = 0x2f,

    /// <summary>SYNCHRONIZE CACHE (10).</summary>
    SynchronizeCache10 = 0x35,

    /// <summary>WRITE SAME (10).</summary>
    WriteSame10 = 0x41,

    /// <summary>UNMAP.</summary>
    Unmap = 0x42,

    /// <summary>MODE SELECT (10).</summary>
    ModeSelect10 = 0x55,

    /// <summary>MODE SENSE (10).</summary>
    ModeSense10 = 0x5a,

    /// <summary>READ (16).</summary>
    Read16 = 0x88,

    /// <summary>WRITE (16).</summary>
    Write16 = 0x8a,

    /// <summary>WRITE AND VERIFY (16).</summary>
    WriteAndVerify16 = 0x8e,

    /// <summary>VERIFY (16).</summary>
    Verify16 = 0x8f,

    /// <summary>SYNCHRONIZE CACHE (16).</summary>
    SynchronizeCache16 = 0x91,

    /// <summary>WRITE SAME (16).</summary>
    WriteSame16 = 0x93,

    /// <summary>SERVICE ACTION IN (16): READ CAPACITY (16) is service action 0x10.</summary>
    ServiceActionIn16 = 0x9e,

    /// <summary>REPORT LUNS.</summary>
    ReportLuns = 0xa0,

    /// <summary>MAINTENANCE IN: REPORT SUPPORTED OPERATION CODES is service action 0x0c.</summary>
    MaintenanceIn = 0xa3,

    /// <summary>READ (12).</summary>
    Read12 = 0xa8,

    /// <summary>WRITE (12).</summary>
    Write12 = 0xaa,

    /// <summary>WRITE AND VERIFY (12).</summary>
    WriteAndVerify12 = 0xae,

    /// <summary>VERIFY (12).</summary>
    Verify12 = 0xaf,
}

/// <summary>One supported command as REPORT SUPPORTED OPERATION CODES shows it (SPC-4 §6.30).</summary>
/// <param name="Operation">Operation code.</param>
/// <param name="ServiceAction">Service action, or -1 for commands without one.</param>
/// <param name="Usage">CDB usage data (SPC-4 table 276): the bits of each CDB byte that the disk evaluates. As long as the CDB.</param>
internal sealed record ScsiCommand(ScsiOperation Operation, int ServiceAction, byte[] Usage)
{
    /// <summary>READ CAPACITY (16)'s service action.</summary>
    public const int ReadCapacity16 = 0x10;

    /// <summary>REPORT SUPPORTED OPERATION CODES' service action.</summary>
    public const int ReportOperationCodes = 0x0c;

    /// <summary>Every command, in the order of operation codes.</summary>
    public static readonly ScsiCommand[] All =
    [
        Make(ScsiOperation.TestUnitReady, "00 00 00 00 00 00"),
        Make(ScsiOperation.RequestSense, "03 01 00 00 ff 00"),
        Make(ScsiOperation.Read6, "08 1f ff ff ff 00"),
        Make(ScsiOperation.Write6, "0a 1f ff ff ff 00"),
        Make(ScsiOperation.Inquiry, "12 01 ff ff ff 00"),
        Make(ScsiOperation.ModeSelect6, "15 11 00 00 ff 00"),
        Make(ScsiOperation.ModeSense6, "1a 08 ff ff ff 00"),
        Make(ScsiOperation.StartStopUnit, "1b 00 00 00 f3 00"),
        Make(ScsiOperation.SendDiagnostic, "1d 04 00 ff ff 00"),
        Make(ScsiOperation.PreventAllow, "1e 00 00 00 03 00"),
        Make(ScsiOperation.ReadFormatCapacities, "23 00 00 00 00 00 00 ff ff 00"),
        Make(ScsiOperation.ReadCapacity10, "25 00 ff ff ff ff 00 00 01 00"),
        Make(ScsiOperation.Read10, "28 f8 ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.Write10, "2a f8 ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.WriteAndVerify10, "2e f2 ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.Verify10, "2f f6 ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.SynchronizeCache10, "35 00 ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.WriteSame10, "41 fe ff ff ff ff 00 ff ff 00"),
        Make(ScsiOperation.Unmap, "42 01 00 00 00 00 00 ff ff 00"),
        Make(ScsiOperation.ModeSelect10, "55 11 00 00 00 00 00 ff ff 00"),
        Make(ScsiOperation.ModeSense10, "5a 18 ff ff 00 00 00 ff ff 00"),
        Make(ScsiOperation.Read16, "88 f8 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.Write16, "8a f8 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.WriteAndVerify16, "8e f2 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.Verify16, "8f f6 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.SynchronizeCache16, "91 00 ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.WriteSame16, "93 ff ff ff ff ff ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.ServiceActionIn16, "9e 1f ff ff ff ff ff ff ff ff ff ff ff ff 01 00", ReadCapacity16),
        Make(ScsiOperation.ReportLuns, "a0 00 ff 00 00 00 ff ff ff ff 00 00"),
        Make(ScsiOperation.MaintenanceIn, "a3 1f 07 ff ff ff ff ff ff ff 00 00", ReportOperationCodes),
        Make(ScsiOperation.Read12, "a8 f8 ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.Write12, "aa f8 ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.WriteAndVerify12, "ae f2 ff ff ff ff ff ff ff ff 00 00"),
        Make(ScsiOperation.Verify12, "af f6 ff ff ff ff ff ff ff ff 00 00"),
    ];

    private static ScsiCommand Make(ScsiOperation operation, string usage, int serviceAction = -1) =>
        new(operation, serviceAction, Convert.FromHexString(usage.Replace(" ", string.Empty, StringComparison.Ordinal)));

    /// <summary>
    /// The answer to REPORT SUPPORTED OPERATION CODES; -1 when its fields are invalid. <paramref name="destination"/> must hold
    /// 4 + 8 bytes per command.
    /// </summary>
    /// <param name="destination">Where the parameter data goes.</param>
    /// <param name="options">REPORTING OPTIONS, CDB byte 2 bits 2:0.</param>
    /// <param name="operation">REQUESTED OPERATION CODE.</param>
    /// <param name="serviceAction">REQUESTED SERVICE ACTION.</param>
    /// <param name="canDiscard">The disk offers UNMAP.</param>
    public static int Report(Span<byte> destination, int options, byte operation, ushort serviceAction, bool canDiscard)
    {
        if (options == 0) return ReportAll(destination, canDiscard);
        if (options > 3) return -1;
        ScsiCommand? found = null;
        bool hasActions = false;
        foreach (ScsiCommand row in All)
        {
            if ((byte)row.Operation != operation || (row.Operation == ScsiOperation.Unmap && !canDiscard)) continue;
            hasActions = row.ServiceAction >= 0;
            if (!hasActions || row.ServiceAction == serviceAction) found = row;
        }

        // 001b: a code without service actions; 010b: one with; 011b: either (SPC-4 table 272).
        if ((options == 1 && hasActions) || (options == 2 && found is not null && !hasActions)) return -1;
        if (options == 3 && found is { ServiceAction: < 0 } && serviceAction != 0) found = null;
        destination[..4].Clear();
        destination[1] = (byte)(found is null ? 1 : 3);
        if (found is null) return 4;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)found.Usage.Length);
        found.Usage.CopyTo(destination[4..]);
        if (hasActions) destination[5] = (byte)((destination[5] & 0xe0) | found.ServiceAction);
        return 4 + found.Usage.Length;
    }

    private static int ReportAll(Span<byte> destination, bool canDiscard)
    {
        int length = 4;
        foreach (ScsiCommand row in All)
        {
            if (row.Operation == ScsiOperation.Unmap && !canDiscard) continue;
            Span<byte> d = destination.Slice(length, 8);
            d.Clear();
            d[0] = (byte)row.Operation;
            if (row.ServiceAction >= 0)
            {
                BinaryPrimitives.WriteUInt16BigEndian(d[2..], (ushort)row.ServiceAction);
                d[5] = 1;
            }

            BinaryPrimitives.WriteUInt16BigEndian(d[6..], (ushort)row.Usage.Length);
            length += 8;
        }

        BinaryPrimitives.WriteUInt32BigEndian(destination, (uint)(length - 4));
        return length;
    }
}
