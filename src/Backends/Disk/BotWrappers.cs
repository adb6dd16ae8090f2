using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

/// <summary>Command block wrapper, 31 bytes (Bulk-Only Transport 1.0 §5.1), without the command block itself.</summary>
/// <param name="Tag">dCBWTag, given back in the status.</param>
/// <param name="DataLength">dCBWDataTransferLength, bytes.</param>
/// <param name="IsIn">bmCBWFlags bit 7: data goes to the host. Means nothing when there is no data.</param>
/// <param name="Lun">bCBWLUN, 0-15.</param>
internal readonly record struct CommandBlockWrapper(uint Tag, uint DataLength, bool IsIn, byte Lun)
{
    /// <summary>Bytes of a wrapper.</summary>
    public const int Length = 31;

    /// <summary>"USBC", little-endian.</summary>
    public const uint Signature = 0x43425355;

    /// <summary>Most bytes of a command block.</summary>
    public const int MaxCommandLength = 16;

    /// <summary>
    /// Reads 31 bytes. False when the wrapper is not valid (§6.2.1) or not meaningful (§6.2.2): reserved bits set, or a command
    /// block of no or more than 16 bytes. A logical unit that does not exist is left to the SCSI target.
    /// </summary>
    /// <param name="bytes">What the host sent, 31 bytes.</param>
    /// <param name="command">The command block, padded with zeroes to 16 bytes; bytes beyond bCBWCBLength are not looked at.</param>
    /// <param name="wrapper">The rest.</param>
    public static bool TryRead(ReadOnlySpan<byte> bytes, Span<byte> command, out CommandBlockWrapper wrapper)
    {
        wrapper = new CommandBlockWrapper(
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
            (bytes[12] & 0x80) != 0,
            (byte)(bytes[13] & 0x0f));
        int length = bytes[14];
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Signature) return false;
        if ((bytes[12] & 0x7f) != 0 || (bytes[13] & 0xf0) != 0 || length is 0 or > MaxCommandLength) return false;
        command.Clear();
        bytes.Slice(15, length).CopyTo(command);
        return true;
    }
}

/// <summary>bCSWStatus (§5.2 table 5.3).</summary>
internal enum CommandStatus : byte
{
    /// <summary>Command passed.</summary>
    Passed = 0,

    /// <summary>Command failed; REQUEST SENSE tells why.</summary>
    Failed = 1,

    /// <summary>Host and device disagree about the data stage; the host is to do reset recovery.</summary>
    PhaseError = 2,
}

/// <summary>Command status wrapper, 13 bytes (§5.2).</summary>
/// <param name="Tag">dCSWTag: the command's.</param>
/// <param name="Residue">dCSWDataResidue: announced bytes that were not sent or not processed.</param>
/// <param name="Status">bCSWStatus.</param>
internal readonly record struct CommandStatusWrapper(uint Tag, uint Residue, CommandStatus Status)
{
    /// <summary>Bytes of a wrapper.</summary>
    public const int Length = 13;

    /// <summary>"USBS", little-endian.</summary>
    public const uint Signature = 0x53425355;

    /// <summary>Writes 13 bytes.</summary>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, Signature);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[4..], Tag);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], Residue);
        destination[12] = (byte)Status;
    }
}

/// <summary>The thirteen cases of host and device expectations, numbered as in §6.7 table 6.1. H and D: host and device; n, i, o: no data, in, out.</summary>
internal enum BotCase
{
    /// <summary>Hn = Dn.</summary>
    HnDn = 1,

    /// <summary>Hn &lt; Di: phase error.</summary>
    HnDi = 2,

    /// <summary>Hn &lt; Do: phase error.</summary>
    HnDo = 3,

    /// <summary>Hi &gt; Dn: stall IN.</summary>
    HiDn = 4,

    /// <summary>Hi &gt; Di: short packet and stall IN.</summary>
    HiMoreThanDi = 5,

    /// <summary>Hi = Di.</summary>
    HiDi = 6,

    /// <summary>Hi &lt; Di: what the host has room for, then phase error.</summary>
    HiLessThanDi = 7,

    /// <summary>Hi &lt;&gt; Do: stall IN, phase error.</summary>
    HiDo = 8,

    /// <summary>Ho &gt; Dn: stall OUT.</summary>
    HoDn = 9,

    /// <summary>Ho &lt;&gt; Di: stall OUT, phase error.</summary>
    HoDi = 10,

    /// <summary>Ho &gt; Do: stall OUT after what the device wants.</summary>
    HoMoreThanDo = 11,

    /// <summary>Ho = Do.</summary>
    HoDo = 12,

    /// <summary>Ho &lt; Do: stall OUT, phase error; nothing is processed.</summary>
    HoLessThanDo = 13,
}

/// <summary>Sorts commands into the thirteen cases.</summary>
internal static class BotCases
{
    /// <summary>The case of a wrapper and the plan made from its command.</summary>
    public static BotCase Of(CommandBlockWrapper wrapper, in ScsiPlan plan)
    {
        bool sends = plan.Sends;
        bool receives = plan.Receives;
        if (wrapper.DataLength == 0) return sends ? BotCase.HnDi : receives ? BotCase.HnDo : BotCase.HnDn;
        int order = plan.Length.CompareTo(wrapper.DataLength);
        if (wrapper.IsIn)
        {
            if (receives) return BotCase.HiDo;
            if (!sends) return BotCase.HiDn;
            return order < 0 ? BotCase.HiMoreThanDi : order == 0 ? BotCase.HiDi : BotCase.HiLessThanDi;
        }

        if (sends) return BotCase.HoDi;
        if (!receives) return BotCase.HoDn;
        return order < 0 ? BotCase.HoMoreThanDo : order == 0 ? BotCase.HoDo : BotCase.HoLessThanDo;
    }
}
