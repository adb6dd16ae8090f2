using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Backends.Disk;

/// <summary>
/// The logical unit: decodes command blocks into plans and answers those that need no sectors (SPC-4, SBC-3). It moves no
/// sector itself. Each call works on the task that was selected; bulk-only transport has one for good.
/// </summary>
/// <remarks>
/// Unit attention: 6/29/00 is reported once after the device is made, as real sticks and QEMU's do, since drivers wait for
/// it at TEST UNIT READY and some firmware takes a disk without it for one that was already set up. A USB reset does not
/// raise it again: hosts reset a port several times while they enumerate, and firmware would meet it at READ CAPACITY.
/// A medium that is loaded again raises 6/28/00.
/// </remarks>
internal sealed partial class ScsiTarget : IInspectable
{
    /// <summary>Bytes of the buffer for responses and parameter lists: the largest is UNMAP's, 8 + 16 * 255.</summary>
    public const int BufferBytes = 4096;

    private readonly IBlockStore _store;
    private readonly string _serial;
    private readonly bool _removable;
    private readonly ScsiTask _bulkOnly;
    private ScsiTask _task;
    private Sense _attention = Sense.PowerOn;
    private bool _ejected;
    private bool _removalPrevented;

    /// <summary>A logical unit over <paramref name="store"/>.</summary>
    /// <param name="task">The task of bulk-only transport, which is selected first.</param>
    /// <param name="store">The medium.</param>
    /// <param name="serial">Unit serial number, printable ASCII, 12 to 32 characters.</param>
    /// <param name="removable">RMB: the medium can be ejected.</param>
    public ScsiTarget(IBlockStore store, string serial, bool removable, ScsiTask task)
    {
        _bulkOnly = task;
        _task = task;
        _store = store;
        _serial = serial;
        _removable = removable;
    }

    private byte[] Buffer => _task.Buffer;

    /// <summary>The task that the following calls are about.</summary>
    public void Select(ScsiTask task) => _task = task;

    /// <summary>A logical unit reset (SAM-4 §6.3): the next command hears of it, and removal is allowed again.</summary>
    public void ResetUnit()
    {
        _attention = Sense.PowerOn;
        _removalPrevented = false;
    }

    /// <summary>Decodes one command. <paramref name="cdb"/> has 16 bytes, zero beyond bCBWCBLength.</summary>
    public ScsiPlan Begin(ReadOnlySpan<byte> cdb, int lun)
    {
        var operation = (ScsiOperation)cdb[0];
        if (operation == ScsiOperation.RequestSense) return RequestSense(cdb, lun);
        _task.SetSense(Sense.None, -1);
        if (operation == ScsiOperation.Inquiry) return Checked(Inquiry(cdb, lun));
        if (lun != 0) return Checked(ScsiPlan.Fail(Sense.NoSuchUnit));
        if (_attention.IsSet && operation != ScsiOperation.ReportLuns)
        {
            Sense attention = _attention;
            _attention = Sense.None;
            return Checked(ScsiPlan.Fail(attention));
        }

        return Checked(Decode(operation, cdb));
    }

    /// <summary>Goes on after a parameter list of <paramref name="length"/> bytes has arrived in <see cref="Buffer"/>.</summary>
    public ScsiPlan Continue(int length) => Checked(_task.Receiving switch
    {
        ScsiOperation.ModeSelect6 => ModeSelect(Buffer.AsSpan(0, length), 4),
        ScsiOperation.ModeSelect10 => ModeSelect(Buffer.AsSpan(0, length), 8),
        ScsiOperation.Unmap => UnmapList(length),
        _ => WriteSameData(),
    });

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        // What REQUEST SENSE would say; the sense data of other tasks go with their status.
        writer.Text("sense", _bulkOnly.Sense.ToString());
        writer.Number("sense-sector", _bulkOnly.SenseSector);
        writer.Text("unit-attention", _attention.ToString());
        writer.Flag("ejected", _ejected);
        writer.Flag("removal-prevented", _removalPrevented);
    }

    /// <summary>Captures what outlives a command, and what <paramref name="task"/> keeps: the one of bulk-only transport.</summary>
    public ScsiStateV1 Capture(ScsiTask task) => new(
        task.Sense.Key,
        task.Sense.Code,
        task.Sense.Qualifier,
        task.SenseSector,
        _attention.Code,
        _ejected,
        _removalPrevented,
        (byte)task.Receiving,
        (int)task.AfterReceive.Action,
        task.AfterReceive.Sector,
        task.AfterReceive.SectorCount);

    /// <summary>Why a record cannot have come from <see cref="Capture"/>; empty when it can.</summary>
    public string Check(ScsiStateV1? state)
    {
        if (state is null) return "no SCSI state";
        if (state.SenseKey > 0xf || state.SenseSector < -1 || state.SenseSector > _store.SectorCount) return "sense data";
        if (state.Attention is not (0 or 0x28 or 0x29) || (state.Ejected && !_removable)) return "unit attention or medium";
        return CheckAfter(state.AfterAction, state.AfterSector, state.AfterCount);
    }

    /// <summary>Why nothing like that can follow a parameter list; empty when it can.</summary>
    public string CheckAfter(int action, long sector, long count)
    {
        var after = (ScsiAction)action;
        if (after is not (ScsiAction.Done or ScsiAction.Fill or ScsiAction.Discard)) return "action after the parameter list";
        bool inRange = count is >= 0 and <= ScsiPages.MaxRangeSectors && InRange(sector, count);
        if (after != ScsiAction.Done && (!inRange || _store.IsReadOnly)) return "range after the parameter list";
        return after == ScsiAction.Discard && !_store.CanDiscard ? "discard on a store without it" : string.Empty;
    }

    /// <summary>Takes a record that <see cref="Check"/> has found good; <paramref name="task"/> as with <see cref="Capture"/>.</summary>
    public void Restore(ScsiStateV1 state, ScsiTask task)
    {
        task.SetSense(new Sense(state.SenseKey, state.SenseCode, state.SenseQualifier), state.SenseSector);
        _attention = state.Attention switch { 0x28 => Sense.MediumChanged, 0x29 => Sense.PowerOn, _ => Sense.None };
        _ejected = state.Ejected;
        _removalPrevented = state.RemovalPrevented;
        task.Receiving = (ScsiOperation)state.Receiving;
        task.AfterReceive = After(state.AfterAction, state.AfterSector, state.AfterCount);
    }

    /// <summary>The plan that was saved as these numbers.</summary>
    public static ScsiPlan After(int action, long sector, long count) => (ScsiAction)action == ScsiAction.Done
        ? ScsiPlan.Good
        : new ScsiPlan((ScsiAction)action, IBlockStore.SectorSize, sector, count, false, Sense.None);

    /// <summary>The UNMAP parameter list in <paramref name="buffer"/> names <paramref name="ranges"/> ranges that all lie on the medium.</summary>
    public bool CheckUnmapList(ReadOnlySpan<byte> buffer, long ranges)
    {
        if (!_store.CanDiscard || ranges is < 1 or > ScsiPages.MaxUnmapRanges || buffer.Length < 8 + (ranges * 16)) return false;
        long total = 0;
        for (int i = 0; i < ranges; i++)
        {
            ReadOnlySpan<byte> d = buffer[(8 + (i * 16))..];
            uint count = Double(d, 8);
            if (!InRange(BinaryPrimitives.ReadInt64BigEndian(d), count)) return false;
            total += count;
        }

        return total <= ScsiPages.MaxRangeSectors;
    }

    private ScsiPlan Checked(ScsiPlan plan)
    {
        if (plan.Sense.IsSet) _task.SetSense(plan.Sense, -1);
        return plan;
    }

    private ScsiPlan Decode(ScsiOperation operation, ReadOnlySpan<byte> cdb)
    {
        switch (operation)
        {
            case ScsiOperation.ModeSelect6:
                return ReceiveModeSelect(operation, cdb, cdb[4], 4);
            case ScsiOperation.ModeSelect10:
                return ReceiveModeSelect(operation, cdb, Word(cdb, 7), 8);
            case ScsiOperation.ModeSense6:
                return ModeSense(cdb, false, cdb[4]);
            case ScsiOperation.ModeSense10:
                return ModeSense(cdb, true, Word(cdb, 7));
            case ScsiOperation.SendDiagnostic:
                return (cdb[1] & 0x04) == 0 || Word(cdb, 3) != 0 ? ScsiPlan.Fail(Sense.InvalidField) : ScsiPlan.Good;
            case ScsiOperation.PreventAllow:
                _removalPrevented = (cdb[4] & 3) != 0;
                return ScsiPlan.Good;
            case ScsiOperation.StartStopUnit:
                return StartStop(cdb[4]);
            case ScsiOperation.ReportLuns:
                return ReportLuns(cdb);
            case ScsiOperation.MaintenanceIn:
                return MaintenanceIn(cdb);
            case ScsiOperation.ReadFormatCapacities:
                return Respond(ScsiPages.WriteFormatCapacities(Buffer, _store.SectorCount, !_ejected), Word(cdb, 7));
        }

        ScsiPlan? medium = DecodeMedium(operation, cdb);
        if (medium is null) return ScsiPlan.Fail(Sense.InvalidOperation);
        return _ejected ? ScsiPlan.Fail(Sense.NoMedium) : medium.Value;
    }

    private ScsiPlan RequestSense(ReadOnlySpan<byte> cdb, int lun)
    {
        // SPC-4 §6.39: always GOOD status; pending unit attention is reported and cleared when there is no sense.
        Sense sense = _task.Sense;
        long sector = _task.SenseSector;
        if (lun != 0)
        {
            sense = Sense.NoSuchUnit;
            sector = -1;
        }
        else if (!sense.IsSet && _attention.IsSet)
        {
            sense = _attention;
            sector = -1;
            _attention = Sense.None;
        }
        else if (!sense.IsSet && _ejected)
        {
            sense = Sense.NoMedium;
        }

        _task.SetSense(Sense.None, -1);
        bool descriptor = (cdb[1] & 1) != 0;
        int length = descriptor ? sense.WriteDescriptor(Buffer, sector) : sense.WriteFixed(Buffer, sector);
        return Respond(length, cdb[4]);
    }

    private ScsiPlan Inquiry(ReadOnlySpan<byte> cdb, int lun)
    {
        bool vital = (cdb[1] & 1) != 0;
        if (!vital && cdb[2] != 0) return ScsiPlan.Fail(Sense.InvalidField);
        int length = vital
            ? ScsiPages.WriteVital(Buffer, cdb[2], _serial, _store.CanDiscard)
            : ScsiPages.WriteInquiry(Buffer, _removable, _task.Queues);
        if (length < 0) return ScsiPlan.Fail(Sense.InvalidField);
        if (lun != 0) Buffer[0] = 0x7f; // No logical unit can be here (SPC-4 table 141).
        return Respond(length, Word(cdb, 3));
    }

    private ScsiPlan ModeSense(ReadOnlySpan<byte> cdb, bool ten, int allocation)
    {
        int control = cdb[2] >> 6;
        if (control == 3) return ScsiPlan.Fail(Sense.NoSavedParameters);
        int header = ten ? 8 : 4;
        bool longBlock = ten && (cdb[1] & 0x10) != 0;
        int block = (cdb[1] & 0x08) != 0 || _ejected ? 0 : longBlock ? 16 : 8;
        Span<byte> d = Buffer;
        d[..(header + block)].Clear();
        int pages = ScsiPages.WriteModePages(d[(header + block)..], cdb[2] & 0x3f, cdb[3], control);
        if (pages < 0) return ScsiPlan.Fail(Sense.InvalidField);
        if (block > 0 && control != 1) WriteBlockDescriptor(d.Slice(header, block));
        byte parameter = (byte)(0x10 | (_store.IsReadOnly ? 0x80 : 0)); // DPOFUA, WP (SBC-3 §6.5.1).
        int length = header + block + pages;
        if (ten)
        {
            BinaryPrimitives.WriteUInt16BigEndian(d, (ushort)(length - 2));
            d[3] = parameter;
            d[4] = (byte)(longBlock ? 1 : 0);
            d[7] = (byte)block;
        }
        else
        {
            d[0] = (byte)(length - 1);
            d[2] = parameter;
            d[3] = (byte)block;
        }

        return Respond(length, allocation);
    }

    private void WriteBlockDescriptor(Span<byte> d)
    {
        if (d.Length == 16)
        {
            BinaryPrimitives.WriteInt64BigEndian(d, _store.SectorCount);
            BinaryPrimitives.WriteUInt32BigEndian(d[12..], IBlockStore.SectorSize);
            return;
        }

        BinaryPrimitives.WriteUInt32BigEndian(d, (uint)Math.Min(_store.SectorCount, uint.MaxValue));
        BinaryPrimitives.WriteUInt32BigEndian(d[4..], IBlockStore.SectorSize);
    }

    private ScsiPlan ReceiveModeSelect(ScsiOperation operation, ReadOnlySpan<byte> cdb, int length, int header)
    {
        if ((cdb[1] & 0x01) != 0) return ScsiPlan.Fail(Sense.InvalidField); // SP: nothing can be saved.
        if (length == 0) return ScsiPlan.Good;
        return length < header ? ScsiPlan.Fail(Sense.ListLength) : Receive(operation, length, ScsiPlan.Good);
    }

    private ScsiPlan ModeSelect(ReadOnlySpan<byte> list, int header)
    {
        if (list.Length < header) return ScsiPlan.Fail(Sense.ListLength); // Only a saved state can come here with so little.

        // Nothing is changeable, so the list must say what is the case already (SPC-4 §6.10).
        int block = header == 4 ? list[3] : Word(list, 6);
        if (block > list.Length - header) return ScsiPlan.Fail(Sense.ListLength);
        if (block is not (0 or 8 or 16)) return ScsiPlan.Fail(Sense.InvalidParameter);
        if (block > 0 && (Double(list, header + block - 4) & 0xffffff) != IBlockStore.SectorSize) return ScsiPlan.Fail(Sense.InvalidParameter);
        list = list[(header + block)..];
        Span<byte> current = stackalloc byte[20];
        while (!list.IsEmpty)
        {
            if (list.Length < 2 || list.Length - 2 < list[1]) return ScsiPlan.Fail(Sense.ListLength);
            int page = list[0] & 0x7f; // Bit 7 (PS) is reserved here; bit 6 (SPF) makes it a page that is not supported.
            int length = page == 0x3f ? -1 : ScsiPages.WriteModePages(current, page, 0, 0);
            if (length != list[1] + 2 || !current[2..length].SequenceEqual(list[2..length])) return ScsiPlan.Fail(Sense.InvalidParameter);
            list = list[length..];
        }

        return ScsiPlan.Good;
    }

    private ScsiPlan StartStop(byte flags)
    {
        // A power condition, START and STOP change nothing: there is no motor. Stopping still makes data durable.
        if ((flags & 0xf0) != 0) return ScsiPlan.Good;
        bool start = (flags & 1) != 0;
        bool loadOrEject = (flags & 2) != 0;
        if (loadOrEject && !_removable) return ScsiPlan.Fail(Sense.InvalidField);
        if (loadOrEject && !start && _removalPrevented && !_ejected) return ScsiPlan.Fail(Sense.RemovalPrevented);
        if (loadOrEject && start && _ejected) _attention = Sense.MediumChanged;
        if (loadOrEject) _ejected = !start;
        return start ? ScsiPlan.Good : new ScsiPlan(ScsiAction.Flush, 0, 0, 0, false, Sense.None);
    }

    private ScsiPlan ReportLuns(ReadOnlySpan<byte> cdb)
    {
        // SELECT REPORT 0 and 2 name all logical units, 1 the well-known ones, of which there are none (SPC-4 §6.33).
        if (cdb[2] > 2) return ScsiPlan.Fail(Sense.InvalidField);
        int list = cdb[2] == 1 ? 0 : 8;
        Buffer.AsSpan(0, 16).Clear();
        Buffer[3] = (byte)list;
        return Respond(8 + list, Double(cdb, 6));
    }

    private ScsiPlan MaintenanceIn(ReadOnlySpan<byte> cdb)
    {
        if ((cdb[1] & 0x1f) != ScsiCommand.ReportOperationCodes) return ScsiPlan.Fail(Sense.InvalidField);
        int length = ScsiCommand.Report(Buffer, cdb[2] & 7, cdb[3], Word(cdb, 4), _store.CanDiscard);
        return length < 0 ? ScsiPlan.Fail(Sense.InvalidField) : Respond(length, Double(cdb, 6));
    }

    private ScsiPlan Receive(ScsiOperation operation, int length, ScsiPlan after)
    {
        if (length > BufferBytes) return ScsiPlan.Fail(Sense.InvalidField);
        _task.Receiving = operation;
        _task.AfterReceive = after;
        return new ScsiPlan(ScsiAction.Receive, length, 0, 0, false, Sense.None);
    }

    private static ScsiPlan Respond(int length, long allocation) => ScsiPlan.Respond((int)Math.Min(length, allocation));

    private static ushort Word(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt16BigEndian(bytes[offset..]);

    private static uint Double(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32BigEndian(bytes[offset..]);
}
