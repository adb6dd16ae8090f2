using System;

namespace XenUsbDm.Backends.Disk;

// Save and restore, also in the middle of a command. Operations in flight are not saved: reads are begun anew where the
// data stage is, writes from the data that was received, jobs from their first sector that was not done. All of these
// may be done twice without harm.
public sealed partial class DiskDevice
{
    private const int MaxPending = MediumTransfer.OperationCount * MediumTransfer.OperationBytes;

    /// <summary>The disk's state as a record.</summary>
    public DiskStateV1 Capture()
    {
        bool buffered = _phase is BotPhase.DataIn or BotPhase.DataOut or BotPhase.Busy
            && _plan.Action is ScsiAction.Respond or ScsiAction.Receive or ScsiAction.DiscardList or ScsiAction.Fill;
        return new DiskStateV1(
            CaptureStandard(),
            _target.Capture(_task),
            new BotStateV1(
                (int)_phase,
                _wrapper.Tag,
                _wrapper.DataLength,
                _wrapper.IsIn,
                _wrapper.Lun,
                (int)_case,
                (int)_plan.Action,
                _plan.Length,
                _plan.Sector,
                _plan.SectorCount,
                _plan.ForceUnitAccess,
                _limit,
                _moved,
                (int)_status,
                _residue,
                buffered ? [.. _task.Buffer] : []),
            CaptureMedium(_medium),
            [_commands, _failedCommands, _phaseErrors, _invalidWrappers, _resets, _bytesRead, _bytesWritten],
            CaptureUas());
    }

    private static MediumStateV1 CaptureMedium(MediumTransfer medium) => new(
        medium.CapturePending(),
        medium.Failure.Key,
        medium.Failure.Code,
        medium.Failure.Qualifier,
        medium.FailedSector,
        medium.JobSector,
        medium.JobLeft,
        medium.JobRange);

    /// <summary>
    /// Takes a saved state, checked as if from an attacker, before any request is submitted. False: <paramref name="error"/> says
    /// what is wrong and nothing has changed. The store must have the same size; what it held is not part of the state.
    /// </summary>
    public bool TryRestore(DiskStateV1? state, out string error)
    {
        error = state is null ? "no disk state" : Check(state);
        if (error.Length > 0 || !TryRestoreStandard(state!.Device, out error)) return false;
        _target.Restore(state.Unit, _task);
        BotStateV1 t = state.Transport;
        _phase = (BotPhase)t.Phase;
        _wrapper = new CommandBlockWrapper(t.Tag, t.DataLength, t.IsIn, t.Lun);
        _case = (BotCase)t.Case;
        _plan = Plan(t);
        _limit = t.Limit;
        _moved = t.Moved;
        _status = (CommandStatus)t.Status;
        _residue = t.Residue;
        t.Buffer.CopyTo(_task.Buffer, 0);
        long[] c = state.Counters;
        (_commands, _failedCommands, _phaseErrors, _invalidWrappers) = (c[0], c[1], c[2], c[3]);
        (_resets, _bytesRead, _bytesWritten) = (c[4], c[5], c[6]);
        RestoreMedium(state.Medium);
        RestoreUas(state.Uas);
        return true;
    }

    private void RestoreMedium(MediumStateV1 m)
    {
        _medium.Abandon();
        if (_phase is not (BotPhase.DataIn or BotPhase.DataOut or BotPhase.Busy)) return;
        if (MovesSectors(_plan.Action))
        {
            BeginMedium(_moved - m.Pending.Length);
            if (m.FailureKey == 0) _medium.RestorePending(m.Pending);
        }
        else if (_phase == BotPhase.Busy)
        {
            _medium.BeginJob(_plan, _task);
            _medium.RestoreJob(m.JobSector, m.JobLeft, m.JobRange);
        }

        if (m.FailureKey != 0) _medium.RestoreFailure(new Sense(m.FailureKey, m.FailureCode, m.FailureQualifier), m.FailedSector);
        if (_phase == BotPhase.Busy) Work();
    }

    private static bool MovesSectors(ScsiAction action) =>
        action is ScsiAction.Read or ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare;

    private static ScsiPlan Plan(BotStateV1 t) => new((ScsiAction)t.Action, t.Length, t.Sector, t.SectorCount, t.ForceUnitAccess, Sense.None);

    private string Check(DiskStateV1 state)
    {
        if (state.Transport is not { Buffer: not null } t || state.Medium is not { Pending: not null } m || state.Counters is not { Length: 7 })
            return "a field is missing";
        string unit = _target.Check(state.Unit);
        if (unit.Length > 0) return unit;
        if (t.Phase is < 0 or > (int)BotPhase.Wedged || t.Case is < 1 or > 13 || t.Lun > 15) return "transport phase";
        if (t.Status is < 0 or > 2 || t.Residue > t.DataLength) return "command status";
        if (t.Moved < 0 || t.Limit < t.Moved || t.Limit > t.DataLength) return "progress of the data stage";
        if (t.Action is < 0 or > (int)ScsiAction.Fill || t.Buffer.Length > ScsiTarget.BufferBytes) return "command";
        if (m.FailureKey > 0xf || m.FailedSector < -1 || m.FailedSector > _store.SectorCount) return "failure";
        string uas = CheckUas(state.Uas, state.Device);
        if (uas.Length > 0) return uas;
        return (BotPhase)t.Phase switch
        {
            BotPhase.DataIn or BotPhase.DataOut => CheckData(t, m),
            BotPhase.Busy => CheckBusy(t, m),
            _ => string.Empty,
        };
    }

    private string CheckData(BotStateV1 t, MediumStateV1 m)
    {
        ScsiPlan plan = Plan(t);
        bool sends = t.Phase == (int)BotPhase.DataIn;
        if (!(sends ? plan.Sends : plan.Receives) || t.Moved >= t.Limit) return "data stage without data";
        if ((int)BotCases.Of(new CommandBlockWrapper(t.Tag, t.DataLength, t.IsIn, t.Lun), plan) != t.Case) return "transport case";
        if (t.Limit != Math.Min(plan.Length, t.DataLength) || (!sends && t.Limit != plan.Length)) return "length of the data stage";
        if (MovesSectors(plan.Action)) return CheckSectors(t, m);
        return plan.Length <= ScsiTarget.BufferBytes && m.Pending.Length == 0 ? string.Empty : "length of the response or parameter list";
    }

    private string CheckSectors(BotStateV1 t, MediumStateV1 m)
    {
        if (!InRange(t.Sector, t.SectorCount) || t.SectorCount > uint.MaxValue || t.Length != t.SectorCount * IBlockStore.SectorSize) return "range of sectors";
        var action = (ScsiAction)t.Action;
        if (action == ScsiAction.Read) return m.Pending.Length == 0 ? string.Empty : "data pending in a read";
        if (_store.IsReadOnly && action != ScsiAction.Compare) return "write to a read-only store";
        int most = action == ScsiAction.Write ? MaxPending : MediumTransfer.OperationBytes;
        long from = t.Moved - m.Pending.Length;
        return m.Pending.Length <= most && from >= 0 && from % IBlockStore.SectorSize == 0 ? string.Empty : "pending data";
    }

    private string CheckBusy(BotStateV1 t, MediumStateV1 m)
    {
        switch ((ScsiAction)t.Action)
        {
            case ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare:
                bool complete = t.Moved == t.Limit && t.Limit == t.Length;
                return complete || m.FailureKey != 0 ? CheckSectors(t, m) : "unfinished data stage";
            case ScsiAction.Flush:
                return m.JobLeft is 0 or 1 ? string.Empty : "flush";
            case ScsiAction.DiscardList:
                if (!_target.CheckUnmapList(t.Buffer, t.SectorCount) || m.JobRange < 0 || m.JobRange > t.SectorCount) return "list of ranges";
                break;
            case ScsiAction.WriteZeroes or ScsiAction.Discard or ScsiAction.Fill:
                if (!InRange(t.Sector, t.SectorCount) || m.JobRange != 0) return "range of sectors";
                if (_store.IsReadOnly || (t.Action == (int)ScsiAction.Discard && !_store.CanDiscard)) return "job on a store that cannot do it";
                if (t.Action == (int)ScsiAction.Fill && t.Buffer.Length < IBlockStore.SectorSize) return "pattern";
                break;
            default:
                return "busy without work";
        }

        return m.JobLeft <= ScsiPages.MaxRangeSectors && InRange(m.JobSector, m.JobLeft) ? string.Empty : "progress of the job";
    }

    private bool InRange(long sector, long count) => sector >= 0 && count >= 0 && sector <= _store.SectorCount && count <= _store.SectorCount - sector;
}
