using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.Disk;

// The transport (Bulk-Only Transport 1.0 §5.3, §6). Both pipes may hold any number of requests, also such as belong to a
// later phase: a pipe whose turn it is not answers NAK, that is, its requests wait.
//
// Where §6.7 leaves a choice: data that the device does not have ends with a short packet and STALL (not with fill data,
// which looks like data); data that it does not want is refused with STALL (not received and dropped); of case 7 it sends
// what there is room for; of case 13 it stores nothing.
public sealed partial class DiskDevice
{
    private BotPhase _phase;
    private CommandBlockWrapper _wrapper;
    private ScsiPlan _plan;
    private BotCase _case = BotCase.HnDn;

    // Bytes of the data stage: to be moved, and moved.
    private long _limit;
    private long _moved;
    private CommandStatus _status;
    private uint _residue;

    /// <summary>What the transport waits for.</summary>
    private enum BotPhase
    {
        /// <summary>A command block wrapper.</summary>
        Command,

        /// <summary>The host takes data.</summary>
        DataIn,

        /// <summary>The host gives data.</summary>
        DataOut,

        /// <summary>The medium has to finish.</summary>
        Busy,

        /// <summary>The host takes the status.</summary>
        Status,

        /// <summary>Reset recovery, after an invalid wrapper (§6.6.1).</summary>
        Wedged,
    }

    /// <inheritdoc/>
    protected override bool Pump(EmulatedEndpoint endpoint, UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(request);
        if (IsUas(endpoint.Address)) return PumpUas(endpoint, request);
        if (endpoint.Address.IsIn)
        {
            return _phase switch
            {
                BotPhase.DataIn => SendData(endpoint, request),
                BotPhase.Status => SendStatus(endpoint, request),
                _ => false,
            };
        }

        return _phase switch
        {
            BotPhase.Command => TakeWrapper(endpoint, request),
            BotPhase.DataOut => TakeData(endpoint, request),
            _ => false,
        };
    }

    private void ResetTransport()
    {
        _medium.Abandon();
        _phase = BotPhase.Command;
        _plan = ScsiPlan.Good;
        _limit = 0;
        _moved = 0;
    }

    /// <summary>An operation on the medium has ended later than it was started.</summary>
    private void MediumProgress()
    {
        if (!IsAttached) return;
        switch (_phase)
        {
            case BotPhase.DataIn:
                Wake(DiskDescriptors.In);
                break;
            case BotPhase.Busy:
                Work();
                break;
            case BotPhase.DataOut or BotPhase.Command:
                Wake(DiskDescriptors.Out);
                break;
        }
    }

    private bool TakeWrapper(EmulatedEndpoint endpoint, UsbRequest request)
    {
        // After a reset in the middle of a command its operations may still be with the store.
        if (!_medium.IsQuiet) return false;
        Span<byte> bytes = stackalloc byte[CommandBlockWrapper.Length];
        Span<byte> command = stackalloc byte[CommandBlockWrapper.MaxCommandLength];
        bool rightLength = request.Length == CommandBlockWrapper.Length;
        if (rightLength && !request.Data.TryCopyFromGuest(Memory, 0, bytes))
        {
            Complete(endpoint, request, RequestStatus.MemoryFault);
            return true;
        }

        // A wrapper is exactly one short packet (§5.1): one in pieces or with more behind it is not valid.
        request.ActualLength = Math.Min(request.Length, endpoint.MaxPacket);
        bool valid = CommandBlockWrapper.TryRead(bytes, command, out _wrapper) && rightLength;
        _residue = 0;
        _limit = 0;
        _moved = 0;
        Complete(endpoint, request, valid || request.Length <= endpoint.MaxPacket ? RequestStatus.Success : RequestStatus.Stall);
        if (!valid)
        {
            _invalidWrappers++;
            _phase = BotPhase.Wedged;
            Halt(DiskDescriptors.In);
            Halt(DiskDescriptors.Out);
            return true;
        }

        _commands++;
        _target.Select(_task);
        _plan = _target.Begin(command, _wrapper.Lun);
        _moved = 0;
        _case = BotCases.Of(_wrapper, _plan);
        _limit = Math.Min(_plan.Length, _wrapper.DataLength);
        BeginData();
        return true;
    }

    private void BeginData()
    {
        switch (_case)
        {
            case BotCase.HnDn:
                BeginWork(_plan);
                break;
            case BotCase.HnDi or BotCase.HnDo:
                EndWith(CommandStatus.PhaseError);
                break;
            case BotCase.HiDn:
                Halt(DiskDescriptors.In);
                BeginWork(_plan);
                break;
            case BotCase.HiMoreThanDi or BotCase.HiDi or BotCase.HiLessThanDi:
                _phase = BotPhase.DataIn;
                if (_plan.Action == ScsiAction.Read) BeginMedium(0);
                Wake(DiskDescriptors.In);
                break;
            case BotCase.HiDo:
                Halt(DiskDescriptors.In);
                EndWith(CommandStatus.PhaseError);
                break;
            case BotCase.HoDn:
                Halt(DiskDescriptors.Out);
                BeginWork(_plan);
                break;
            case BotCase.HoMoreThanDo or BotCase.HoDo:
                _phase = BotPhase.DataOut;
                if (_plan.Action != ScsiAction.Receive) BeginMedium(0);
                break;
            default:
                Halt(DiskDescriptors.Out);
                EndWith(CommandStatus.PhaseError);
                break;
        }
    }

    private void BeginMedium(long from)
    {
        long start = _plan.Sector * IBlockStore.SectorSize;
        _medium.Begin(_plan.Action, start + from, start + _limit);
    }

    private bool SendData(EmulatedEndpoint endpoint, UsbRequest request)
    {
        while (_moved < _limit)
        {
            int room = request.Length - request.ActualLength;
            if (room == 0)
            {
                Complete(endpoint, request, RequestStatus.Success);
                return true;
            }

            int most = (int)Math.Min(room, _limit - _moved);
            bool reading = _plan.Action == ScsiAction.Read;
            ReadOnlySpan<byte> data = reading ? _medium.Peek(most) : _task.Buffer.AsSpan((int)_moved, most);
            if (data.IsEmpty)
            {
                if (!_medium.Failure.IsSet) return false;
                return EndDataIn(endpoint, request);
            }

            if (!request.Data.TryCopyToGuest(Memory, request.ActualLength, data))
            {
                // The packets before the hole in memory are not counted: they will be sent again.
                Complete(endpoint, request, RequestStatus.MemoryFault);
                return true;
            }

            request.ActualLength += data.Length;
            _moved += data.Length;
            if (!reading) continue;
            _bytesRead += data.Length;
            _medium.Take(data.Length);
        }

        return EndDataIn(endpoint, request);
    }

    /// <summary>The device has no more data: all was sent, or the medium failed.</summary>
    private bool EndDataIn(EmulatedEndpoint endpoint, UsbRequest request)
    {
        bool full = request.ActualLength == request.Length;
        bool shortPacket = request.ActualLength % endpoint.MaxPacket != 0;
        bool stall = _moved < _wrapper.DataLength;
        EndMedium();
        if (full || shortPacket) Complete(endpoint, request, RequestStatus.Success);

        // Without a stall, a request with room left at a packet border gets the status as its last packet, as on a bus.
        if (stall) Halt(endpoint);
        else if (!full && !shortPacket) return SendStatus(endpoint, request);
        return true;
    }

    private bool TakeData(EmulatedEndpoint endpoint, UsbRequest request)
    {
        while (_moved < _limit)
        {
            int left = request.Length - request.ActualLength;
            if (left == 0)
            {
                // Also a short packet before the announced end: the host owes the rest.
                Complete(endpoint, request, RequestStatus.Success);
                return true;
            }

            int most = (int)Math.Min(left, _limit - _moved);
            bool parameters = _plan.Action == ScsiAction.Receive;
            Span<byte> room = parameters ? _task.Buffer.AsSpan((int)_moved, most) : _medium.Room(most);
            if (room.IsEmpty)
            {
                if (!_medium.Failure.IsSet) return false;
                break;
            }

            if (!request.Data.TryCopyFromGuest(Memory, request.ActualLength, room))
            {
                Complete(endpoint, request, RequestStatus.MemoryFault);
                return true;
            }

            request.ActualLength += room.Length;
            _moved += room.Length;
            if (parameters) continue;
            _bytesWritten += room.Length;
            _medium.Commit(room.Length);
        }

        EndDataOut(endpoint, request);
        return true;
    }

    private void EndDataOut(EmulatedEndpoint endpoint, UsbRequest request)
    {
        // A packet is taken whole even when only its first bytes are wanted.
        int rest = request.ActualLength % endpoint.MaxPacket;
        if (rest != 0) request.ActualLength = Math.Min(request.Length, request.ActualLength + endpoint.MaxPacket - rest);
        bool more = request.ActualLength < request.Length;
        if (!more) Complete(endpoint, request, RequestStatus.Success);
        _phase = BotPhase.Busy;
        if (more || _moved < _wrapper.DataLength) Halt(endpoint);
        Work();
    }

    private void BeginWork(in ScsiPlan plan)
    {
        _plan = plan;
        _phase = BotPhase.Busy;
        if (plan.Action != ScsiAction.Done) _medium.BeginJob(plan, _task);
        Work();
    }

    /// <summary>Goes on with what follows the data stage, one step after the other, until the medium has to be waited for.</summary>
    private void Work()
    {
        while (_phase == BotPhase.Busy)
        {
            switch (_plan.Action)
            {
                case ScsiAction.Done:
                    EndMedium();
                    break;
                case ScsiAction.Receive:
                    _target.Select(_task);
                    BeginWork(_target.Continue((int)_limit));
                    return;
                case ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare:
                    if (!_medium.IsSettled) return;
                    if (_medium.Failure.IsSet || !_plan.ForceUnitAccess) EndMedium();
                    else BeginFlush();
                    break;
                default:
                    if (!_medium.RunJob()) return;
                    EndMedium();
                    break;
            }
        }
    }

    private void BeginFlush()
    {
        _plan = _plan with { Action = ScsiAction.Flush };
        _medium.BeginJob(_plan, _task);
    }

    /// <summary>The command is over as far as the medium goes; its failure becomes sense data.</summary>
    private void EndMedium()
    {
        if (_medium.Failure.IsSet) _task.SetSense(_medium.Failure, _medium.FailedSector);
        bool failed = _medium.Failure.IsSet || _plan.Sense.IsSet;

        // Data that was received and is not on the medium was not processed (§5.2, dCSWDataResidue).
        if (_medium.Failure.IsSet) _moved -= _medium.PendingBytes;
        EndWith(_case == BotCase.HiLessThanDi ? CommandStatus.PhaseError : failed ? CommandStatus.Failed : CommandStatus.Passed);
    }

    private void EndWith(CommandStatus status)
    {
        _medium.Abandon();
        _status = status;
        _residue = (uint)(_wrapper.DataLength - _moved);
        _phase = BotPhase.Status;
        if (status == CommandStatus.Failed) _failedCommands++;
        if (status == CommandStatus.PhaseError) _phaseErrors++;
        Wake(DiskDescriptors.In);
    }

    private bool SendStatus(EmulatedEndpoint endpoint, UsbRequest request)
    {
        int room = request.Length - request.ActualLength;
        if (room == 0)
        {
            Complete(endpoint, request, RequestStatus.Success);
            return true;
        }

        Span<byte> bytes = stackalloc byte[CommandStatusWrapper.Length];
        new CommandStatusWrapper(_wrapper.Tag, _residue, _status).Write(bytes);
        if (room < bytes.Length)
        {
            // The packet is larger than what the host has room for (USB 2.0 §8.7.4); it was not acknowledged, so it stays.
            Complete(endpoint, request, RequestStatus.Babble);
            return true;
        }

        if (!request.Data.TryCopyToGuest(Memory, request.ActualLength, bytes))
        {
            Complete(endpoint, request, RequestStatus.MemoryFault);
            return true;
        }

        request.ActualLength += bytes.Length;
        _phase = BotPhase.Command;
        Complete(endpoint, request, RequestStatus.Success);
        Wake(DiskDescriptors.Out);
        return true;
    }
}
