using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

// Commands that address sectors (SBC-3 §5).
internal sealed partial class ScsiTarget
{
    private static ScsiPlan FlushPlan => new(ScsiAction.Flush, 0, 0, 0, false, Sense.None);

    private bool InRange(long sector, long count) => sector >= 0 && count >= 0 && sector <= _store.SectorCount && count <= _store.SectorCount - sector;

    private ScsiPlan? DecodeMedium(ScsiOperation operation, ReadOnlySpan<byte> cdb)
    {
        switch (operation)
        {
            case ScsiOperation.TestUnitReady:
                return ScsiPlan.Good;
            case ScsiOperation.ReadCapacity10:
                return (cdb[8] & 1) == 0 && Double(cdb, 2) != 0
                    ? ScsiPlan.Fail(Sense.InvalidField)
                    : ScsiPlan.Respond(ScsiPages.WriteCapacity10(Buffer, _store.SectorCount));
            case ScsiOperation.ServiceActionIn16:
                return (cdb[1] & 0x1f) != ScsiCommand.ReadCapacity16
                    ? ScsiPlan.Fail(Sense.InvalidField)
                    : Respond(ScsiPages.WriteCapacity16(Buffer, _store.SectorCount, _store.CanDiscard), Double(cdb, 10));
            case ScsiOperation.Read6:
            case ScsiOperation.Write6:
                int blocks = cdb[4] == 0 ? 256 : cdb[4];
                return Transfer(operation == ScsiOperation.Read6 ? ScsiAction.Read : ScsiAction.Write, 0, Double(cdb, 0) & 0x1fffff, blocks);
            case ScsiOperation.Read10 or ScsiOperation.Read12 or ScsiOperation.Read16:
                return Transfer(ScsiAction.Read, cdb);
            case ScsiOperation.Write10 or ScsiOperation.Write12 or ScsiOperation.Write16:
                return Transfer(ScsiAction.Write, cdb);
            case ScsiOperation.WriteAndVerify10 or ScsiOperation.WriteAndVerify12 or ScsiOperation.WriteAndVerify16:
                return WriteAndVerify(cdb);
            case ScsiOperation.Verify10 or ScsiOperation.Verify12 or ScsiOperation.Verify16:
                return Verify(cdb);
            case ScsiOperation.SynchronizeCache10 or ScsiOperation.SynchronizeCache16:
                Addresses(cdb, out long sector, out long count);
                return InRange(sector, count) ? FlushPlan : ScsiPlan.Fail(Sense.OutOfRange);
            case ScsiOperation.WriteSame10 or ScsiOperation.WriteSame16:
                return WriteSame(operation, cdb);
            case ScsiOperation.Unmap:
                return Unmap(cdb);
            default:
                return null;
        }
    }

    /// <summary>LBA and length of a 10, 12 or 16-byte CDB, by its group code. An LBA beyond 2^63 comes out as -1.</summary>
    private static void Addresses(ReadOnlySpan<byte> cdb, out long sector, out long count)
    {
        int group = cdb[0] >> 5;
        ulong address = group == 4 ? BinaryPrimitives.ReadUInt64BigEndian(cdb[2..]) : Double(cdb, 2);
        sector = address > long.MaxValue ? -1 : (long)address;
        count = group switch { 4 => Double(cdb, 10), 5 => Double(cdb, 6), _ => Word(cdb, 7) };
    }

    private ScsiPlan Transfer(ScsiAction action, ReadOnlySpan<byte> cdb)
    {
        Addresses(cdb, out long sector, out long count);
        return Transfer(action, cdb[1], sector, count);
    }

    private ScsiPlan Transfer(ScsiAction action, byte flags, long sector, long count)
    {
        if ((flags & 0xe0) != 0) return ScsiPlan.Fail(Sense.InvalidField); // RDPROTECT, WRPROTECT: no protection information.
        if (action is not (ScsiAction.Read or ScsiAction.Compare) && _store.IsReadOnly) return ScsiPlan.Fail(Sense.WriteProtected);
        if (!InRange(sector, count)) return ScsiPlan.Fail(Sense.OutOfRange);
        return count == 0
            ? ScsiPlan.Good
            : new ScsiPlan(action, count * IBlockStore.SectorSize, sector, count, (flags & 0x08) != 0, Sense.None);
    }

    private ScsiPlan WriteAndVerify(ReadOnlySpan<byte> cdb)
    {
        // BYTCHK 01b compares; 00b asks that the medium hold the data, which force unit access gives.
        int check = (cdb[1] >> 1) & 3;
        if (check > 1) return ScsiPlan.Fail(Sense.InvalidField);
        Addresses(cdb, out long sector, out long count);
        return Transfer(check == 1 ? ScsiAction.WriteAndCompare : ScsiAction.Write, (byte)((cdb[1] & 0xe0) | 0x08), sector, count);
    }

    private ScsiPlan Verify(ReadOnlySpan<byte> cdb)
    {
        // BYTCHK 00b reads the medium without data; the file system below keeps its own checks, so the range is all there is.
        int check = (cdb[1] >> 1) & 3;
        if (check > 1) return ScsiPlan.Fail(Sense.InvalidField);
        Addresses(cdb, out long sector, out long count);
        ScsiPlan plan = Transfer(ScsiAction.Compare, (byte)(cdb[1] & 0xe0), sector, count);
        return check == 0 && !plan.Sense.IsSet ? ScsiPlan.Good : plan;
    }

    private ScsiPlan WriteSame(ScsiOperation operation, ReadOnlySpan<byte> cdb)
    {
        // WRPROTECT, ANCHOR, PBDATA, LBDATA are not supported; zero blocks would mean the rest of the medium (WSNZ says no).
        bool withoutData = operation == ScsiOperation.WriteSame16 && (cdb[1] & 1) != 0;
        bool unmap = (cdb[1] & 0x08) != 0;
        Addresses(cdb, out long sector, out long count);
        if ((cdb[1] & 0xf6) != 0 || (unmap && !_store.CanDiscard && !_store.IsReadOnly) || count == 0 || count > ScsiPages.MaxRangeSectors)
            return ScsiPlan.Fail(Sense.InvalidField);
        if (_store.IsReadOnly) return ScsiPlan.Fail(Sense.WriteProtected);
        if (!InRange(sector, count)) return ScsiPlan.Fail(Sense.OutOfRange);
        if (withoutData) return new ScsiPlan(unmap ? ScsiAction.Discard : ScsiAction.WriteZeroes, 0, sector, count, false, Sense.None);
        return Receive(operation, IBlockStore.SectorSize, new ScsiPlan(unmap ? ScsiAction.Discard : ScsiAction.Fill, IBlockStore.SectorSize, sector, count, false, Sense.None));
    }

    private ScsiPlan WriteSameData()
    {
        bool zero = !Buffer.AsSpan(0, IBlockStore.SectorSize).ContainsAnyExcept((byte)0);
        ScsiPlan plan = _task.AfterReceive with { Length = 0 };
        if (!zero) return plan with { Action = ScsiAction.Fill };
        return plan.Action == ScsiAction.Fill ? plan with { Action = ScsiAction.WriteZeroes } : plan;
    }

    private ScsiPlan Unmap(ReadOnlySpan<byte> cdb)
    {
        if (!_store.CanDiscard) return ScsiPlan.Fail(_store.IsReadOnly ? Sense.WriteProtected : Sense.InvalidOperation);
        if ((cdb[1] & 1) != 0) return ScsiPlan.Fail(Sense.InvalidField); // ANCHOR.
        int length = Word(cdb, 7);
        if (length == 0) return ScsiPlan.Good;
        return length < 8 ? ScsiPlan.Fail(Sense.ListLength) : Receive(ScsiOperation.Unmap, length, ScsiPlan.Good);
    }

    private ScsiPlan UnmapList(int length)
    {
        // SBC-3 §5.28: everything is checked before anything is given back.
        int ranges = UnmapRanges(length);
        if (ranges > ScsiPages.MaxUnmapRanges) return ScsiPlan.Fail(Sense.InvalidParameter);
        long total = 0;
        for (int i = 0; i < ranges; i++)
        {
            _task.UnmapRange(i, out long sector, out long count);
            if (!InRange(sector, count)) return ScsiPlan.Fail(Sense.OutOfRange);
            total += count;
        }

        if (total > ScsiPages.MaxRangeSectors) return ScsiPlan.Fail(Sense.InvalidParameter);
        return total == 0 ? ScsiPlan.Good : new ScsiPlan(ScsiAction.DiscardList, 0, 0, ranges, false, Sense.None);
    }

    private int UnmapRanges(int length) => Math.Min((int)Word(Buffer, 2), length - 8) / 16;
}
