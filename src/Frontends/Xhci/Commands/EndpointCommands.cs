using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Frontends.Xhci.Transfers;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Commands on one endpoint: Stop, Reset, Set TR Dequeue Pointer (xHCI 1.2 §4.6.8-§4.6.10).</summary>
internal sealed class EndpointCommands(CommandContext context)
{
    // Transfer State Preserve (§6.4.3.7).
    private const uint TransferStatePreserve = 1u << 9;

    /// <summary>
    /// Stop Endpoint (§4.6.9): Running to Stopped. Everything in flight is asked back; when it is, finished transfers get
    /// their events, the one that was cut off gets a Stopped event with the bytes it has not moved, and the dequeue pointer
    /// stays at its TRB. If a transfer halts the endpoint meanwhile, the command fails with Context State Error.
    /// </summary>
    public CommandResult Stop(in Trb command)
    {
        CompletionCode found = Find(command, out Endpoint endpoint);
        if (found != CompletionCode.Success) return found;
        if (endpoint.State != EndpointState.Running)
        {
            endpoint.Drain = DrainMode.None;
            return CompletionCode.ContextStateError;
        }

        if (!context.Engine.Quiesce(endpoint, DrainMode.Stopping)) return CommandResult.Waiting;
        if (!context.Engine.FinishStop(endpoint)) return CommandResult.Waiting;
        return endpoint.State == EndpointState.Stopped ? CompletionCode.Success : CompletionCode.ContextStateError;
    }

    /// <summary>
    /// Reset Endpoint (§4.6.8): Halted to Stopped. With TSP the next doorbell retries from the byte where the error was;
    /// without, the partly moved TRB counts as not begun (software moves the dequeue pointer).
    /// </summary>
    public CommandResult Reset(in Trb command)
    {
        CompletionCode found = Find(command, out Endpoint endpoint);
        if (found != CompletionCode.Success) return found;
        if (endpoint.State != EndpointState.Halted) return CompletionCode.ContextStateError;
        if (!context.Engine.IsIdle(endpoint)) return CommandResult.Waiting;
        bool preserve = (command.Control & TransferStatePreserve) != 0;
        for (TransferRing? ring = endpoint.Streams is null ? endpoint.Ring : endpoint.Streams.Active; ring is not null; ring = ring.NextActive)
        {
            if (ring.IsHaltPoint && !preserve) ring.SetDequeue(ring.Dequeue);
            ring.IsHaltPoint = false;
        }

        endpoint.State = EndpointState.Stopped;
        context.Engine.WriteState(endpoint);
        return CompletionCode.Success;
    }

    /// <summary>Set TR Dequeue Pointer (§4.6.10): Stopped or Error; Error becomes Stopped.</summary>
    public CommandResult SetDequeue(in Trb command)
    {
        CompletionCode found = Find(command, out Endpoint endpoint);
        if (found != CompletionCode.Success) return found;
        if (endpoint.State is not (EndpointState.Stopped or EndpointState.Error)) return CompletionCode.ContextStateError;
        if (!context.Engine.IsIdle(endpoint)) return CommandResult.Waiting;
        if (endpoint.Streams is { } streams)
        {
            CompletionCode? moved = MoveStream(streams, command, out GuestAddress address);
            if (moved is null) return context.Fault("stream context", address);
            if (moved != CompletionCode.Success) return moved.Value;
        }
        else
        {
            endpoint.Ring.SetDequeue(RingPosition.FromPointer(command.Parameter));
            endpoint.Stage = ControlStage.Setup;
        }

        endpoint.State = EndpointState.Stopped;
        context.Engine.WriteState(endpoint);
        return CompletionCode.Success;
    }

    // §4.6.10 for streams: the Stream Context gets pointer, cycle state and type (SCT, bits 3:1 of the parameter).
    private CompletionCode? MoveStream(StreamSet streams, in Trb command, out GuestAddress address)
    {
        int id = (int)(command.Status >> 16);
        CompletionCode? found = streams.Resolve(context.Memory, id, out address, out StreamContext old);
        // §4.6.10: a Stream ID that the arrays do not have is an error of the command's TRB.
        if (found == CompletionCode.InvalidStreamIdError) return CompletionCode.TrbError;
        if (found != CompletionCode.Success) return found;
        // FreeBSD leaves SCT 0 (xhci_configure_reset_endpoint): the context keeps its type then.
        int type = (int)((command.Parameter >> 1) & 7);
        if (type != 0 && type != old.Type) return CompletionCode.InvalidStreamTypeError;
        if (streams.FindActive(id) is { } active)
        {
            active.SetDequeue(RingPosition.FromPointer(command.Parameter));
            streams.Remove(active);
        }

        ulong moved = (command.Parameter & ~0xEUL) | ((ulong)old.Type << 1);
        return context.Memory.TryWrite64(address, moved) ? CompletionCode.Success : null;
    }

    private CompletionCode Find(in Trb command, out Endpoint endpoint)
    {
        endpoint = null!;
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        int dci = command.EndpointId;
        if (dci is < 1 or > XhciLimits.Endpoints) return CompletionCode.TrbError;
        if (slot[dci] is not { } present) return CompletionCode.EndpointNotEnabledError;
        endpoint = present;
        return CompletionCode.Success;
    }
}
