using System;
using System.Collections.Generic;
using XenUsbDm.Backends.Emulated;

namespace XenUsbDm.Backends.Disk;

// Save and restore of the task set. What a task does on the medium is begun anew as with bulk-only transport, and what it is
// checked against is the same: a task counts as a transport whose data stage is as long as its data.
public sealed partial class DiskDevice
{
    private UasStateV1? CaptureUas()
    {
        if (_tasks.Length == 0) return null;
        var replies = new List<UasReplyStateV1>();
        foreach (UasReply r in _replies.AsSpan(0, _replyCount))
        {
            if (r.Task is null) replies.Add(new UasReplyStateV1((byte)r.Id, r.Tag, r.Code, r.Sense.Key, r.Sense.Code, r.Sense.Qualifier));
        }

        return new UasStateV1(
            ActiveByAge().ConvertAll(CaptureTask).ToArray(),
            _dataInTask?.Tag ?? 0,
            _dataOutTask?.Tag ?? 0,
            _dataInTask is { IsUnannounced: true },
            _dataOutTask is { IsUnannounced: true },
            [.. replies],
            [_refusedUnits, _abortedTasks]);
    }

    // What the guest's commands are: without those that ended and that the store has not let go, and in whatever places they are.
    private List<UasTask> ActiveByAge()
    {
        List<UasTask> active = [.. Array.FindAll(_tasks, t => t.IsActive)];
        active.Sort((a, b) => a.Order.CompareTo(b.Order));
        return active;
    }

    private static UasTaskStateV1 CaptureTask(UasTask task)
    {
        ScsiPlan plan = task.Plan;
        bool buffered = task.Phase != UasPhase.Status && plan.Action is ScsiAction.Respond or ScsiAction.Receive or ScsiAction.DiscardList or ScsiAction.Fill;
        return new UasTaskStateV1(
            (int)task.Phase,
            task.Tag,
            task.IsOrdered,
            (int)plan.Action,
            plan.Length,
            plan.Sector,
            plan.SectorCount,
            plan.ForceUnitAccess,
            task.Moved,
            task.Scsi.Sense.Key,
            task.Scsi.Sense.Code,
            task.Scsi.Sense.Qualifier,
            task.Scsi.SenseSector,
            (byte)task.Scsi.Receiving,
            (int)task.Scsi.AfterReceive.Action,
            task.Scsi.AfterReceive.Sector,
            task.Scsi.AfterReceive.SectorCount,
            buffered ? [.. task.Scsi.Buffer] : [],
            CaptureMedium(task.Medium));
    }

    private void RestoreUas(UasStateV1? state)
    {
        ResetUas();
        if (state is null) return;
        (_refusedUnits, _abortedTasks) = (state.Counters[0], state.Counters[1]);
        foreach (UasReplyStateV1 r in state.Replies)
            Answer(new UasReply((UasUnit)r.Id, r.Tag, r.Code, new Sense(r.SenseKey, r.SenseCode, r.SenseQualifier), -1, null));
        for (int i = 0; i < state.Tasks.Length; i++) RestoreTask(_tasks[i], state.Tasks[i]);
        _dataInTask = Find(state.DataIn);
        _dataOutTask = Find(state.DataOut);
        if (state.ReadReady) Announce(_dataInTask!, isIn: true);
        if (state.WriteReady) Announce(_dataOutTask!, isIn: false);

        // Only now, since what goes on may end and give its pipe to another.
        foreach (UasTask task in _tasks)
        {
            if (task.Phase is UasPhase.Status) AnswerStatus(task);
            else if (task.Phase is UasPhase.Busy) Work(task);
            else if (task.IsActive) ServeData(task);
        }
    }

    private void RestoreTask(UasTask task, UasTaskStateV1 t)
    {
        task.Begin(t.Tag, _taskOrder++, t.Ordered);
        task.Phase = (UasPhase)t.Phase;
        task.Plan = new ScsiPlan((ScsiAction)t.Action, t.Length, t.Sector, t.SectorCount, t.ForceUnitAccess, Sense.None);
        task.Moved = t.Moved;
        task.Scsi.SetSense(new Sense(t.SenseKey, t.SenseCode, t.SenseQualifier), t.SenseSector);
        task.Scsi.Receiving = (ScsiOperation)t.Receiving;
        task.Scsi.AfterReceive = ScsiTarget.After(t.AfterAction, t.AfterSector, t.AfterCount);
        t.Buffer.CopyTo(task.Scsi.Buffer, 0);
        if (task.Phase == UasPhase.Status) return;
        MediumStateV1 m = t.Medium;
        if (MovesSectors(task.Plan.Action))
        {
            task.BeginMedium(t.Moved - m.Pending.Length);
            if (m.FailureKey == 0) task.Medium.RestorePending(m.Pending);
        }
        else if (task.Phase == UasPhase.Busy)
        {
            task.Medium.BeginJob(task.Plan, task.Scsi);
            task.Medium.RestoreJob(m.JobSector, m.JobLeft, m.JobRange);
        }

        if (m.FailureKey != 0) task.Medium.RestoreFailure(new Sense(m.FailureKey, m.FailureCode, m.FailureQualifier), m.FailedSector);
    }

    private string CheckUas(UasStateV1? state, EmulatedDeviceStateV1? device)
    {
        if (state is null != (_tasks.Length == 0)) return "USB Attached SCSI on one side only";
        if (state is null) return string.Empty;
        if (state is not { Tasks: not null, Replies: not null, Counters: { Length: 2 } }) return "a field of the task set is missing";
        if (state.Tasks.Length > UasTasks || state.Replies.Length > MaxLooseReplies) return "size of the task set";
        bool selected = device?.AlternateSettings is { Length: 1 } settings && settings[0] == 1;
        if (!selected && state.Tasks.Length + state.Replies.Length > 0) return "tasks without their setting";
        var phases = new Dictionary<int, int>();
        foreach (UasTaskStateV1? t in state.Tasks)
        {
            string flaw = t is { Buffer: not null, Medium: { Pending: not null } } ? CheckTask(t) : "a field of a task is missing";
            if (flaw.Length > 0) return flaw;
            if (!IsTag(t.Tag) || !phases.TryAdd(t.Tag, t.Phase)) return "tag of a task";
        }

        foreach (UasReplyStateV1? r in state.Replies)
        {
            if (r is null || r.Id is not ((byte)UasUnit.Sense or (byte)UasUnit.Response) || r.SenseKey > 0xf || !IsTag(r.Tag)) return "unit for the host";
        }

        return OwnsPipe(state.DataIn, state.ReadReady, UasPhase.DataIn) && OwnsPipe(state.DataOut, state.WriteReady, UasPhase.DataOut)
            ? string.Empty
            : "task of a data pipe";

        bool OwnsPipe(int tag, bool announced, UasPhase phase) =>
            tag == 0 ? !announced : !HasStreams && phases.TryGetValue(tag, out int found) && found == (int)phase;
    }

    private bool IsTag(int tag) => tag > 0 && (!HasStreams || tag <= DiskDescriptors.Streams);

    private bool IsSenseSector(long sector) => sector >= -1 && sector <= _store.SectorCount;

    private string CheckTask(UasTaskStateV1 t)
    {
        MediumStateV1 m = t.Medium;
        if (t.Action is < 0 or > (int)ScsiAction.Fill || t.Buffer.Length > ScsiTarget.BufferBytes) return "command of a task";
        if (t.SenseKey > 0xf || m.FailureKey > 0xf || !IsSenseSector(t.SenseSector) || !IsSenseSector(m.FailedSector)) return "failure of a task";
        string after = _target.CheckAfter(t.AfterAction, t.AfterSector, t.AfterCount);
        if (after.Length > 0) return after;
        var plan = new ScsiPlan((ScsiAction)t.Action, t.Length, t.Sector, t.SectorCount, t.ForceUnitAccess, Sense.None);
        var stage = new BotStateV1(0, t.Tag, 0, false, 0, 0, t.Action, t.Length, t.Sector, t.SectorCount, t.ForceUnitAccess, t.Length, t.Moved, 0, 0, t.Buffer);
        switch ((UasPhase)t.Phase)
        {
            case UasPhase.DataIn or UasPhase.DataOut:
                bool directed = t.Phase == (int)UasPhase.DataIn ? plan.Sends : plan.Receives;
                if (!directed || t.Moved < 0 || t.Moved >= t.Length) return "data of a task";
                if (MovesSectors(plan.Action)) return CheckSectors(stage, m);
                return t.Length <= ScsiTarget.BufferBytes && m.Pending.Length == 0 ? string.Empty : "length of a task's response or parameter list";
            case UasPhase.Busy:
                return t.Moved < 0 || (MovesSectors(plan.Action) && t.Moved > t.Length) ? "data of a task" : CheckBusy(stage, m);
            case UasPhase.Status:
                return string.Empty;
            default:
                return "phase of a task";
        }
    }
}
