using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Transfers;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>
/// The command ring (xHCI 1.2 §4.6.1, §4.9.3, §5.4.5): fetches a command only when its completion event has room, executes
/// it, posts the event. A command that waits is executed again when what it waits for has come; the ring waits with it.
/// </summary>
internal sealed class CommandRing(CommandContext context, XhciOptions options, XhciRegisters registers, Interrupters interrupters) : IInspectable
{
    // Link TRBs in a row that no driver needs; a ring of links would never end (CVE-2016-8576).
    private const int MaxLinks = 256;

    private readonly SlotCommands _slots = new(context);
    private readonly EndpointCommands _endpoints = new(context);
    private readonly ConfigurationCommands _configuration = new(context);
    private readonly PortCommands _ports = new(context, options);
    private RingPosition _position;
    private Trb _command;
    private GuestAddress _commandAddress;
    private bool _isWaiting;
    private CommandResult? _unposted;
    private bool _stop;
    private bool _abort;
    private bool _isReady;
    private int _links;

    /// <summary>There is something to do at once.</summary>
    public bool IsReady => _isReady && registers.CommandRingRunning;

    /// <summary>A command is under way; it waits for its endpoints to drain.</summary>
    public bool IsWaiting => _isWaiting;

    /// <summary>Doorbell 0 (§4.9.3): starts the ring where CRCR points, or looks again.</summary>
    public void RingDoorbell()
    {
        if (!registers.CommandRingRunning)
        {
            if (registers.CommandRingWritten)
            {
                _position = new RingPosition(registers.CommandRingPointer, registers.CommandRingCycle);
                registers.CommandRingWritten = false;
            }

            registers.CommandRingRunning = true;
        }

        _isReady = true;
    }

    /// <summary>CRCR.CS or CA (§4.6.1.1, §4.6.1.2): the ring stops behind the command under way, which CA gives up.</summary>
    public void Stop(bool abort)
    {
        if (!registers.CommandRingRunning) return;
        _stop = true;
        _abort |= abort;
        _isReady = true;
    }

    /// <summary>What a waiting command waits for may have come, or the event ring has room.</summary>
    public void Wake() => _isReady = true;

    /// <summary>The controller halts (R/S = 0) : CRR becomes 0; the position stays for the next start.</summary>
    public void Halt()
    {
        registers.CommandRingRunning = false;
        _isReady = false;
        // A stop that was asked for has come about; it must not stop the ring that is started next.
        _stop = false;
        _abort = false;
    }

    /// <summary>Forgets everything (HCRST).</summary>
    public void Reset()
    {
        _position = default;
        _isWaiting = false;
        _unposted = null;
        _stop = false;
        _abort = false;
        _isReady = false;
        _links = 0;
        _slots.Abandon();
        registers.CommandRingRunning = false;
    }

    /// <summary>True when the request was a command's own (SET_ADDRESS).</summary>
    public bool Completed(UsbRequest request)
    {
        if (!_slots.Completed(request)) return false;
        Wake();
        return true;
    }

    /// <summary>Executes commands until the ring is empty, one waits, an event has no room, or the budget is spent.</summary>
    public void Service(ref WorkBudget budget)
    {
        while (IsReady && !registers.IsDead)
        {
            if (budget.Commands <= 0 || budget.Trbs <= 0) return;
            if (!interrupters.HasRoom(0))
            {
                _isReady = false;
                return;
            }

            if (_unposted is { } result)
            {
                if (!Post(result)) return;
                continue;
            }

            if (_isWaiting && _abort)
            {
                // §4.6.1.2: the command under way ends as Command Aborted.
                _slots.Abandon();
                _isWaiting = false;
                if (!Post(CompletionCode.CommandAborted)) return;
                continue;
            }

            if (_stop && !_isWaiting)
            {
                if (!StopRing()) return;
                continue;
            }

            if (!_isWaiting && !FetchCommand(ref budget)) return;
            budget.Commands--;
            _isWaiting = true;
            CommandResult done = Execute(_command);
            if (done.IsWaiting)
            {
                _isReady = false;
                return;
            }

            _isWaiting = false;
            if (!Post(done)) return;
        }
    }

    /// <summary>For saving: position, flags and the command under way.</summary>
    public State.CommandRingStateV1 Capture() => new(
        _position.ToPointer(), _isWaiting, _command.Parameter, _command.Status, _command.Control, _commandAddress.Value,
        _unposted is not null, (int)(_unposted?.Code ?? 0), _unposted?.Slot ?? 0, _stop, _abort, _isReady,
        _slots.IsSetAddressDone, (int)_slots.SetAddressStatus);

    /// <summary>Restores what <see cref="Capture"/> gave. A command that waited is executed again. False for what no ring can be in.</summary>
    public bool TryRestore(State.CommandRingStateV1 state, out string error)
    {
        error = "command ring: no such result";
        if (state.ResultCode is < 0 or > byte.MaxValue || state.ResultSlot is < 0 or > byte.MaxValue) return false;
        if (state.HasResult && state.ResultCode == (int)CompletionCode.Invalid) return false;
        error = "";
        _position = RingPosition.FromPointer(state.Position);
        _command = new Trb(state.CommandParameter, state.CommandStatus, state.CommandControl);
        _commandAddress = new GuestAddress(state.CommandAddress);
        _isWaiting = state.IsWaiting;
        _unposted = state.HasResult ? new CommandResult((CompletionCode)state.ResultCode, state.ResultSlot) : null;
        _stop = state.Stop;
        _abort = state.Abort;
        _isReady = state.IsReady || state.IsWaiting;
        _links = 0;
        _slots.RestoreSetAddress(state.IsSetAddressDone, (RequestStatus)state.SetAddressStatus);
        return true;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Hex("position", _position.ToPointer());
        writer.Flag("running", registers.CommandRingRunning);
        writer.Text("waiting", _isWaiting ? _command.Type.ToString() : null);
        writer.Flag("stop-asked", _stop);
        writer.Flag("abort-asked", _abort);
    }

    // False when there is no command now.
    private bool FetchCommand(ref WorkBudget budget)
    {
        while (budget.Trbs-- > 0)
        {
            switch (RingWalker.Next(context.Memory, ref _position, out Trb trb, out GuestAddress at))
            {
                case RingItem.Empty:
                    _isReady = false;
                    return false;
                case RingItem.Fault:
                    context.Controller.SystemError("command ring", at);
                    return false;
            }

            _command = trb;
            _commandAddress = at;
            if (trb.Type != TrbType.Link)
            {
                _links = 0;
                return true;
            }

            if (++_links > MaxLinks)
            {
                context.Controller.ControllerError("command ring of Link TRBs only");
                return false;
            }

            // §6.4.4.1: a Link TRB of the command ring with IOC is a command that always succeeds.
            if (trb.InterruptOnCompletion) return true;
        }

        return false;
    }

    private CommandResult Execute(in Trb command) => command.Type switch
    {
        TrbType.Link or TrbType.NoOpCommand => CompletionCode.Success,
        TrbType.EnableSlotCommand => _slots.Enable(command),
        TrbType.DisableSlotCommand => _slots.Disable(command),
        TrbType.AddressDeviceCommand => _slots.AddressDevice(command),
        TrbType.ConfigureEndpointCommand => _configuration.Configure(command),
        TrbType.EvaluateContextCommand => _configuration.Evaluate(command),
        TrbType.ResetEndpointCommand => _endpoints.Reset(command),
        TrbType.StopEndpointCommand => _endpoints.Stop(command),
        TrbType.SetTrDequeuePointerCommand => _endpoints.SetDequeue(command),
        TrbType.ResetDeviceCommand => _slots.ResetDevice(command),
        TrbType.GetPortBandwidthCommand => _ports.GetBandwidth(command),
        TrbType.ForceHeaderCommand => _ports.ForceHeader(command),
        // Optional commands whose capability bits read 0: Force Event (VMMs), Negotiate Bandwidth (BNC), Set Latency
        // Tolerance Value (LTC), Get and Set Extended Property (GSC); and whatever is no command (§4.6.1).
        _ => CompletionCode.TrbError,
    };

    private bool Post(CommandResult result)
    {
        int slot = result.Slot != 0 ? result.Slot : EventSlot(_command);
        if (!interrupters.TryPost(0, Trb.CommandCompletionEvent(_commandAddress.Value, result.Code, slot)))
        {
            _unposted = result;
            _isReady = false;
            return false;
        }

        _unposted = null;
        return true;
    }

    // §6.4.2.2: the Slot ID field is 0 for commands that name no slot.
    private static int EventSlot(in Trb command) => command.Type switch
    {
        TrbType.NoOpCommand or TrbType.EnableSlotCommand or TrbType.Link => 0,
        TrbType.ForceHeaderCommand or TrbType.GetPortBandwidthCommand => 0,
        _ => command.SlotId,
    };

    // §4.6.1.1: a Command Ring Stopped event names the next command, then CRR is 0.
    private bool StopRing()
    {
        if (!interrupters.TryPost(0, Trb.CommandCompletionEvent(_position.Address.Value, CompletionCode.CommandRingStopped, 0)))
        {
            _isReady = false;
            return false;
        }

        _stop = false;
        _abort = false;
        _isReady = false;
        registers.CommandRingRunning = false;
        return true;
    }
}
