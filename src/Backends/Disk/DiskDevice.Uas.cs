using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.Disk;

// USB Attached SCSI (UAS-3): units from the host, the task set, task management, units to the host. The data of tasks is in
// DiskDevice.UasData.cs.
//
// At SuperSpeed a task's data and status go on the stream of its tag, so every task has pipes of its own. At high speed READ
// READY and WRITE READY name the task that a data pipe serves next, once the host has taken them. Requests may be on a pipe before or after the task wants
// them; they wait.
public sealed partial class DiskDevice
{
    /// <summary>Commands in flight: one for each stream.</summary>
    internal const int UasTasks = DiskDescriptors.Streams;

    // Units for the host that are not about a task of the set. When so many wait, the command pipe waits too.
    private const int MaxLooseReplies = 32;

    private readonly UasTask[] _tasks;
    private readonly UasReply[] _replies;
    private int _replyCount;
    private int _looseReplies;
    private long _taskOrder;
    private long _refusedUnits;
    private long _abortedTasks;

    private bool HasStreams => Speed == UsbSpeed.Super;

    private static bool IsUas(EndpointAddress address) =>
        address == DiskDescriptors.UasCommand || address == DiskDescriptors.UasStatus || address == DiskDescriptors.UasIn || address == DiskDescriptors.UasOut;

    private static UasTask[] MakeTasks(IBlockStore store, bool uas, Action<UasTask> progress)
    {
        var tasks = new UasTask[uas ? UasTasks : 0];
        for (int i = 0; i < tasks.Length; i++) tasks[i] = new UasTask(store, progress);
        return tasks;
    }

    private bool PumpUas(EmulatedEndpoint endpoint, UsbRequest request)
    {
        if (endpoint.Address == DiskDescriptors.UasCommand) return TakeUnit(endpoint, request);
        if (endpoint.Address == DiskDescriptors.UasStatus) return SendReply(endpoint, request);
        return endpoint.Address.IsIn ? SendTaskData(endpoint, request) : TakeTaskData(endpoint, request);
    }

    private void ResetUas()
    {
        _replyCount = 0;
        _looseReplies = 0;
        _dataInTask = null;
        _dataOutTask = null;
        foreach (UasTask task in _tasks) task.End();
    }

    private bool TakeUnit(EmulatedEndpoint endpoint, UsbRequest request)
    {
        Span<byte> bytes = stackalloc byte[UasRequestUnit.CommandLength];
        bytes.Clear();
        int length = Math.Min(request.Length, bytes.Length);
        if (!request.Data.TryCopyFromGuest(Memory, 0, bytes[..length]))
        {
            Complete(endpoint, request, RequestStatus.MemoryFault);
            return true;
        }

        var unit = new UasRequestUnit(bytes, request.Length);
        bool canAnswer = length >= UasRequestUnit.HeaderLength && unit.Tag != 0 && (!HasStreams || unit.Tag <= DiskDescriptors.Streams);
        if (!canAnswer)
        {
            // Nothing says on which stream or with which tag to refuse it.
            _refusedUnits++;
            Halt(endpoint);
            return true;
        }

        bool isCommand = unit.IsWhole && unit.Id == UasUnit.Command;
        if (_looseReplies == MaxLooseReplies || (isCommand && MustWait(unit))) return false;
        request.ActualLength = request.Length;
        Complete(endpoint, request, RequestStatus.Success);
        if (isCommand) BeginCommand(unit);
        else if (unit.IsWhole) Answer(UasReply.Response(unit.Tag, Manage(unit)));
        else RefuseUnit(UasReply.Response(unit.Tag, UasResponse.InvalidUnit));
        return true;
    }

    // An ordered task is alone (SAM-4 §8): it begins when the older ones have ended, and the younger ones when it has.
    private bool MustWait(in UasRequestUnit unit)
    {
        foreach (UasTask task in _tasks)
        {
            if (task.IsActive && (task.IsOrdered || unit.Attribute == 2)) return true;
        }

        return false;
    }

    private void BeginCommand(in UasRequestUnit unit)
    {
        _commands++;
        if (Find(unit.Tag) is { } earlier)
        {
            // SAM-4 §5.10: neither of the two can be told from the other any more, so both end, with one answer.
            Abort(earlier);
            RefuseUnit(UasReply.Response(unit.Tag, UasResponse.OverlappedTag));
            return;
        }

        UasTask? task = Array.Find(_tasks, t => t.Phase == UasPhase.Free);
        if (unit.Attribute > 2 || task is null)
        {
            RefuseUnit(unit.Attribute > 2
                ? UasReply.Refusal(unit.Tag, UasReply.CheckCondition, Sense.InvalidUnitField)
                : UasReply.Refusal(unit.Tag, UasReply.TaskSetFull, Sense.None));
            return;
        }

        task.Begin(unit.Tag, _taskOrder++, unit.Attribute == 2);
        _target.Select(task.Scsi);
        BeginPlan(task, _target.Begin(unit.Command, unit.Lun));
    }

    private UasResponse Manage(in UasRequestUnit unit)
    {
        if (Find(unit.Tag) is not null) return UasResponse.OverlappedTag;
        if (unit.Lun != 0) return UasResponse.IncorrectUnit;
        switch (unit.Function)
        {
            case UasFunction.AbortTask:
                if (Find(unit.ManagedTag) is { } task) Abort(task);
                return UasResponse.Complete;
            case UasFunction.AbortTaskSet or UasFunction.ClearTaskSet:
                AbortAll();
                return UasResponse.Complete;
            case UasFunction.LogicalUnitReset or UasFunction.NexusReset:
                AbortAll();
                _resets++;
                _target.ResetUnit();
                return UasResponse.Complete;
            case UasFunction.QueryTask:
                return Find(unit.ManagedTag) is null ? UasResponse.Complete : UasResponse.Succeeded;
            case UasFunction.QueryTaskSet:
                return Array.Exists(_tasks, t => t.IsActive) ? UasResponse.Succeeded : UasResponse.Complete;
            default:
                return UasResponse.NotSupported;
        }
    }

    private UasTask? Find(int tag)
    {
        foreach (UasTask task in _tasks)
        {
            if (task.Tag == tag && task.IsActive) return task;
        }

        return null;
    }

    /// <summary>Ends a task without a unit about it. What the host has on the pipes for it stays until the host takes it back.</summary>
    private void Abort(UasTask task)
    {
        Forget(task);
        Released(task);
    }

    private void AbortAll()
    {
        // All of them first: none is to get a data pipe from one that was aborted before it.
        _dataInTask = null;
        _dataOutTask = null;
        foreach (UasTask task in _tasks)
        {
            if (task.IsActive) Forget(task);
        }

        Wake(DiskDescriptors.UasCommand);
    }

    private void Forget(UasTask task)
    {
        _abortedTasks++;
        for (int i = _replyCount - 1; i >= 0; i--)
        {
            if (ReferenceEquals(_replies[i].Task, task)) RemoveReply(i);
        }

        task.End();
    }

    /// <summary>A task has left the set: its data pipe serves the next one, and a unit may wait for the room.</summary>
    private void Released(UasTask task)
    {
        ReleasePipes(task);
        Wake(DiskDescriptors.UasCommand);
    }

    private void RefuseUnit(in UasReply reply)
    {
        _refusedUnits++;
        Answer(reply);
    }

    private void Answer(in UasReply reply)
    {
        _replies[_replyCount++] = reply;
        if (reply.Task is null) _looseReplies++;
        if (EndpointAt(DiskDescriptors.UasStatus) is { } endpoint) Wake(endpoint, HasStreams ? reply.Tag : (ushort)0);
    }

    private void RemoveReply(int index)
    {
        if (_replies[index].Task is null) _looseReplies--;
        _replyCount--;
        Array.Copy(_replies, index + 1, _replies, index, _replyCount - index);
    }

    private bool SendReply(EmulatedEndpoint endpoint, UsbRequest request)
    {
        int index = 0;
        while (HasStreams && index < _replyCount && _replies[index].Tag != request.StreamId) index++;
        if (index >= _replyCount) return false;
        UasReply reply = _replies[index];
        Span<byte> bytes = stackalloc byte[UasReply.MaxLength];
        bytes = bytes[..reply.Write(bytes)];
        if (request.Length < bytes.Length)
        {
            // As with bulk-only transport's status: not acknowledged, so it stays.
            Complete(endpoint, request, RequestStatus.Babble);
            return true;
        }

        if (!request.Data.TryCopyToGuest(Memory, 0, bytes))
        {
            Complete(endpoint, request, RequestStatus.MemoryFault);
            return true;
        }

        RemoveReply(index);
        bool ended = reply.Task is not null && reply.Id == UasUnit.Sense;
        if (ended) reply.Task!.End();
        else if (reply.Task is not null) reply.Task.IsUnannounced = false;
        request.ActualLength = bytes.Length;
        Complete(endpoint, request, RequestStatus.Success);
        if (ended) Released(reply.Task!);
        else if (reply.Task is null) Wake(DiskDescriptors.UasCommand);
        else Wake(reply.Id == UasUnit.ReadReady ? DiskDescriptors.UasIn : DiskDescriptors.UasOut);
        return true;
    }

    private void InspectUas(InspectWriter writer)
    {
        if (_tasks.Length == 0) return;
        using (writer.Node("uas"))
        {
            writer.Flag("streams", HasStreams);
            writer.Number("replies", _replyCount);
            writer.Number("refused-units", _refusedUnits);
            writer.Number("aborted", _abortedTasks);
            foreach (UasTask task in ActiveByAge())
            {
                using (writer.Node("task", task.Tag)) task.Inspect(writer);
            }
        }
    }
}
