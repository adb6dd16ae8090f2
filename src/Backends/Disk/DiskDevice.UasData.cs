using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.Disk;

// The work of a task of USB Attached SCSI: data between the host and the medium, what follows it, and the end.
//
// A transfer that is longer than the data ends with what there was; one of the data-out pipe is taken whole, and the rest of
// it forgotten. Data for which the host has no transfer waits until it has one, or until the task is aborted.
public sealed partial class DiskDevice
{
    // Without streams: the tasks that the data pipes serve.
    private UasTask? _dataInTask;
    private UasTask? _dataOutTask;

    private void BeginPlan(UasTask task, in ScsiPlan plan)
    {
        task.Plan = plan;
        if (plan.Sends)
        {
            task.Phase = UasPhase.DataIn;
            if (plan.Action == ScsiAction.Read) task.BeginMedium(0);
            ServeData(task);
        }
        else if (plan.Receives)
        {
            task.Phase = UasPhase.DataOut;
            if (plan.Action != ScsiAction.Receive) task.BeginMedium(0);
            ServeData(task);
        }
        else
        {
            task.Phase = UasPhase.Busy;
            if (plan.Action != ScsiAction.Done) task.Medium.BeginJob(plan, task.Scsi);
            Work(task);
        }
    }

    /// <summary>An operation of a task has ended later than it was started.</summary>
    private void TaskProgress(UasTask task)
    {
        if (task.Phase == UasPhase.Draining) task.End();
        if (!IsAttached) return;
        switch (task.Phase)
        {
            case UasPhase.Free:
                Wake(DiskDescriptors.UasCommand);
                break;
            case UasPhase.DataIn or UasPhase.DataOut:
                ServeData(task);
                break;
            case UasPhase.Busy:
                Work(task);
                break;
        }
    }

    private void ServeData(UasTask task)
    {
        bool isIn = task.Phase == UasPhase.DataIn;
        if (!HasStreams) ServePipe(isIn);
        else if (EndpointAt(isIn ? DiskDescriptors.UasIn : DiskDescriptors.UasOut) is { } endpoint) Wake(endpoint, task.Tag);
    }

    /// <summary>Without streams: gives a data pipe that serves no task to the oldest one that can use it, and tells the host.</summary>
    private void ServePipe(bool isIn)
    {
        ref UasTask? owner = ref isIn ? ref _dataInTask : ref _dataOutTask;
        if (owner is null)
        {
            owner = NextFor(isIn);
            if (owner is null) return;
            Announce(owner, isIn);
        }

        Wake(isIn ? DiskDescriptors.UasIn : DiskDescriptors.UasOut);
    }

    private void Announce(UasTask task, bool isIn)
    {
        task.IsUnannounced = true;
        Answer(new UasReply(isIn ? UasUnit.ReadReady : UasUnit.WriteReady, task.Tag, 0, Sense.None, -1, task));
    }

    private UasTask? NextFor(bool isIn)
    {
        UasTask? next = null;
        foreach (UasTask task in _tasks)
        {
            bool wants = task.Phase == (isIn ? UasPhase.DataIn : UasPhase.DataOut);
            if (!wants || (next is not null && next.Order < task.Order)) continue;

            // A read whose sectors are not there yet does not keep those of a younger one from the pipe.
            if (isIn && task.Plan.Action == ScsiAction.Read && task.Medium.Peek(1).IsEmpty && !task.Medium.Failure.IsSet) continue;
            next = task;
        }

        return next;
    }

    private void ReleasePipes(UasTask task)
    {
        if (ReferenceEquals(_dataInTask, task))
        {
            _dataInTask = null;
            ServePipe(isIn: true);
        }

        if (ReferenceEquals(_dataOutTask, task))
        {
            _dataOutTask = null;
            ServePipe(isIn: false);
        }
    }

    private bool SendTaskData(EmulatedEndpoint endpoint, UsbRequest request)
    {
        UasTask? task = HasStreams ? Find(request.StreamId) : _dataInTask;
        if (task is not { Phase: UasPhase.DataIn, IsUnannounced: false }) return false;
        while (task.Moved < task.Plan.Length)
        {
            int room = request.Length - request.ActualLength;
            if (room == 0)
            {
                Complete(endpoint, request, RequestStatus.Success);
                return true;
            }

            int most = (int)Math.Min(room, task.Plan.Length - task.Moved);
            bool reading = task.Plan.Action == ScsiAction.Read;
            ReadOnlySpan<byte> data = reading ? task.Medium.Peek(most) : task.Scsi.Buffer.AsSpan((int)task.Moved, most);
            if (data.IsEmpty)
            {
                if (!task.Medium.Failure.IsSet) return false;
                break;
            }

            if (!request.Data.TryCopyToGuest(Memory, request.ActualLength, data))
            {
                Complete(endpoint, request, RequestStatus.MemoryFault);
                return true;
            }

            request.ActualLength += data.Length;
            task.Moved += data.Length;
            if (!reading) continue;
            _bytesRead += data.Length;
            task.Medium.Take(data.Length);
        }

        task.Phase = UasPhase.Busy;
        Complete(endpoint, request, RequestStatus.Success);
        EndTask(task);
        return true;
    }

    private bool TakeTaskData(EmulatedEndpoint endpoint, UsbRequest request)
    {
        UasTask? task = HasStreams ? Find(request.StreamId) : _dataOutTask;
        if (task is not { Phase: UasPhase.DataOut, IsUnannounced: false }) return false;
        while (task.Moved < task.Plan.Length)
        {
            int left = request.Length - request.ActualLength;
            if (left == 0)
            {
                Complete(endpoint, request, RequestStatus.Success);
                return true;
            }

            int most = (int)Math.Min(left, task.Plan.Length - task.Moved);
            bool parameters = task.Plan.Action == ScsiAction.Receive;
            Span<byte> room = parameters ? task.Scsi.Buffer.AsSpan((int)task.Moved, most) : task.Medium.Room(most);
            if (room.IsEmpty)
            {
                if (!task.Medium.Failure.IsSet) return false;
                break;
            }

            if (!request.Data.TryCopyFromGuest(Memory, request.ActualLength, room))
            {
                Complete(endpoint, request, RequestStatus.MemoryFault);
                return true;
            }

            request.ActualLength += room.Length;
            task.Moved += room.Length;
            if (parameters) continue;
            _bytesWritten += room.Length;
            task.Medium.Commit(room.Length);
        }

        task.Phase = UasPhase.Busy;
        request.ActualLength = request.Length;
        Complete(endpoint, request, RequestStatus.Success);
        ReleasePipes(task);
        Work(task);
        return true;
    }

    /// <summary>Goes on with what follows the data, one step after the other, until the medium has to be waited for.</summary>
    private void Work(UasTask task)
    {
        switch (task.Plan.Action)
        {
            case ScsiAction.Receive:
                _target.Select(task.Scsi);
                BeginPlan(task, _target.Continue((int)task.Plan.Length));
                return;
            case ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare:
                if (!task.Medium.IsSettled) return;
                if (task.Medium.Failure.IsSet || !task.Plan.ForceUnitAccess) break;
                task.Plan = task.Plan with { Action = ScsiAction.Flush };
                task.Medium.BeginJob(task.Plan, task.Scsi);
                if (!task.Medium.RunJob()) return;
                break;
            case ScsiAction.Done:
                break;
            default:
                if (!task.Medium.RunJob()) return;
                break;
        }

        EndTask(task);
    }

    /// <summary>The command is over: what the host still has on the task's streams ends, then comes the sense unit.</summary>
    private void EndTask(UasTask task)
    {
        if (task.Medium.Failure.IsSet) task.Scsi.SetSense(task.Medium.Failure, task.Medium.FailedSector);
        task.Medium.Abandon();
        task.Phase = UasPhase.Status;
        if (task.Scsi.Sense.IsSet) _failedCommands++;
        if (HasStreams)
        {
            EndStream(DiskDescriptors.UasIn, task.Tag);
            EndStream(DiskDescriptors.UasOut, task.Tag);
        }

        AnswerStatus(task);
        ReleasePipes(task);
    }

    private void AnswerStatus(UasTask task)
    {
        byte status = task.Scsi.Sense.IsSet ? UasReply.CheckCondition : UasReply.Good;
        Answer(new UasReply(UasUnit.Sense, task.Tag, status, task.Scsi.Sense, task.Scsi.SenseSector, task));
    }

    // Only the requests that wait now. Data-out that nobody wants is taken and forgotten.
    private void EndStream(Core.Usb.EndpointAddress address, ushort stream)
    {
        if (EndpointAt(address) is not { Halted: false } endpoint) return;
        for (int left = endpoint.Pending; left > 0 && endpoint.FirstOf(stream) is { } request; left--)
        {
            if (!address.IsIn) request.ActualLength = request.Length;
            Complete(endpoint, request, RequestStatus.Success);
        }
    }
}
