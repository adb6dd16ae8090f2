using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Commands on a whole slot: Enable, Disable, Address Device, Reset Device (xHCI 1.2 §4.6.3-§4.6.5, §4.6.11).</summary>
internal sealed class SlotCommands(CommandContext context)
{
    // Block Set Address Request (§6.4.3.4).
    private const uint BlockSetAddress = 1u << 9;

    private readonly UsbRequest _setAddress = new();
    private bool _setAddressSent;
    private bool _setAddressDone;
    private RequestStatus _setAddressStatus;

    /// <summary>SET_ADDRESS was answered and Address Device has not gone on yet (for saving).</summary>
    public bool IsSetAddressDone => _setAddressDone;

    /// <summary>Its answer.</summary>
    public RequestStatus SetAddressStatus => _setAddressStatus;

    /// <summary>Enable Slot (§4.6.3): the lowest free slot; the Slot Type of both protocols is 0.</summary>
    public CommandResult Enable(in Trb command)
    {
        if (((command.Control >> 16) & 0x1f) != 0) return CompletionCode.TrbError;
        if (context.Slots.FindFree() is not { } slot) return CompletionCode.NoSlotsAvailableError;
        slot.IsEnabled = true;
        slot.State = SlotState.Enabled;
        return new CommandResult(CompletionCode.Success, slot.Id);
    }

    /// <summary>Disable Slot (§4.6.4): once its transfers are back, the slot is free.</summary>
    public CommandResult Disable(in Trb command)
    {
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        if (!QuiesceAll(slot)) return CommandResult.Waiting;
        GuestAddress output = slot.ContextAddress;
        context.Bandwidth.ReleaseAll(slot);
        if (output != default && !context.Slots.WriteSlotContext(slot, slot.Context.WithAddressAndState(0, SlotState.Enabled)))
            return context.Fault("slot context", output);
        context.Slots.DisableSlot(slot);
        return CompletionCode.Success;
    }

    /// <summary>Address Device (§4.6.5): Enabled or Default to Addressed, or with BSR Enabled to Default.</summary>
    public CommandResult AddressDevice(in Trb command)
    {
        CommandResult result = TryAddressDevice(command);
        if (result.IsWaiting) return result;
        // However it ended, an answer to SET_ADDRESS concerns no later command, and endpoint 0 of a slot that stayed as it
        // was goes on.
        Abandon();
        if (context.Slots.FindEnabled(command.SlotId)?[1] is { Drain: DrainMode.Discarding } control) Resume(control);
        return result;
    }

    private CommandResult TryAddressDevice(in Trb command)
    {
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        bool block = (command.Control & BlockSetAddress) != 0;
        bool stateFits = slot.State == SlotState.Enabled || (slot.State == SlotState.Default && !block);
        if (!stateFits) return CompletionCode.ContextStateError;
        var address = new GuestAddress(command.Parameter & ~0xfUL);
        Span<byte> buffer = stackalloc byte[InputContext.Size];
        if (!InputContext.TryRead(context.Memory, address, buffer, out InputContext input)) return context.Fault("input context", address);
        // §4.6.5: exactly A0 and A1.
        if (input.Control.Drop != 0 || input.Control.Add != 3) return CompletionCode.ParameterError;
        SlotContext wanted = input.Slot;
        EndpointContext control = input.Endpoint(1);
        if (!EndpointContextRules.IsValidControl(control) || wanted.InterrupterTarget >= context.Interrupters) return CompletionCode.ParameterError;
        // No device answers behind a hub that is not there, or on a port that is not enabled.
        if (wanted.RouteString != 0 || !context.Ports.TryGetDevice(wanted.RootHubPort, out PortNumber port, out UsbSpeed speed))
            return CompletionCode.UsbTransactionError;
        if (!context.Slots.TryReadContextAddress(slot, out GuestAddress output)) return context.Fault("DCBAA", address);
        if (!QuiesceAll(slot)) return CommandResult.Waiting;
        byte usbAddress = 0;
        if (!block)
        {
            // Each root port is a bus of its own, so any address of 1-127 is free; the slot's ID makes it easy to recognise.
            usbAddress = (byte)(((slot.Id - 1) % DeviceAddress.Max) + 1);
            if (!_setAddressDone) return SendSetAddress(port, slot.Address, usbAddress);
            // The slot stays as it was. The pipeline answers SET_ADDRESS without a stall: no device of the address is left.
            if (_setAddressStatus != RequestStatus.Success) return CompletionCode.UsbTransactionError;
        }

        slot.Port = port;
        slot.Speed = speed;
        slot.Address = new DeviceAddress(usbAddress);
        slot.ContextAddress = output;
        context.Slots.DisableEndpoint(slot, 1);
        SlotContext result = wanted.WithAddressAndState(usbAddress, block ? SlotState.Default : SlotState.Addressed);
        if (!context.Slots.WriteSlotContext(slot, result)) return context.Fault("slot context", output);
        context.Slots.EnableEndpoint(slot, new Endpoint(slot, 1, control));
        return CompletionCode.Success;
    }

    /// <summary>Reset Device (§4.6.11): Addressed or Configured to Default; every endpoint but 0 is disabled.</summary>
    public CommandResult ResetDevice(in Trb command)
    {
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        if (slot.State is not (SlotState.Addressed or SlotState.Configured)) return CompletionCode.ContextStateError;
        if (!QuiesceAll(slot)) return CommandResult.Waiting;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
        {
            if (slot[dci] is null) continue;
            context.Bandwidth.Release(slot, dci);
            context.Slots.DisableEndpoint(slot, dci);
            if (!context.Slots.ClearEndpointContext(slot, dci)) return context.Fault("endpoint context", slot.ContextOf(dci));
        }

        slot.Address = default;
        if (slot[1] is { } control) Resume(control);

        SlotContext result = slot.Context.WithAddressAndState(0, SlotState.Default).WithContextEntries(1);
        return context.Slots.WriteSlotContext(slot, result) ? CompletionCode.Success : context.Fault("slot context", slot.ContextAddress);
    }

    /// <summary>The SET_ADDRESS request came back. False when the request is not the commands' own.</summary>
    public bool Completed(UsbRequest request)
    {
        if (request != _setAddress) return false;
        _setAddressDone = _setAddressSent;
        _setAddressSent = false;
        _setAddressStatus = request.Status;
        return true;
    }

    /// <summary>The command that waited is given up (abort or reset): its answer concerns nobody.</summary>
    public void Abandon()
    {
        _setAddressSent = false;
        _setAddressDone = false;
        // It may wait in the pipeline (suspended port); answered later, it would take the address from the next command.
        if (_setAddress.State != RequestState.Idle) context.Pipeline.Unlink(_setAddress);
    }

    /// <summary>Restores the answer of SET_ADDRESS.</summary>
    public void RestoreSetAddress(bool isDone, RequestStatus status)
    {
        _setAddressSent = false;
        _setAddressDone = isDone;
        _setAddressStatus = status;
    }

    // The pipeline answers SET_ADDRESS itself and keeps the address table; it comes back like any other request.
    private CommandResult SendSetAddress(PortNumber port, DeviceAddress current, byte address)
    {
        if (_setAddress.State != RequestState.Idle) return CommandResult.Waiting;
        _setAddress.Clear();
        _setAddress.Port = port;
        _setAddress.Address = current;
        _setAddress.Kind = TransferKind.Control;
        _setAddress.Setup = new SetupPacket(0, (byte)StandardRequest.SetAddress, address, 0, 0);
        _setAddressSent = true;
        context.Pipeline.Submit(_setAddress);
        return CommandResult.Waiting;
    }

    // What was in flight on endpoint 0 is gone; it goes on at its dequeue pointer with the next doorbell.
    private static void Resume(Endpoint control)
    {
        control.Drain = DrainMode.None;
        control.Stage = ControlStage.Setup;
        control.Ring.RewindFetch(inTd: false);
        control.Ring.ShouldFetch = false;
    }

    private bool QuiesceAll(Slot slot)
    {
        bool idle = true;
        for (int dci = 1; dci <= XhciLimits.Endpoints; dci++)
            if (slot[dci] is { } endpoint) idle &= context.Engine.Quiesce(endpoint, DrainMode.Discarding);
        return idle;
    }
}
