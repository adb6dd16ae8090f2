using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Configure Endpoint and Evaluate Context (xHCI 1.2 §4.6.6, §4.6.7).</summary>
internal sealed class ConfigurationCommands(CommandContext context)
{
    // Deconfigure (§6.4.3.5).
    private const uint Deconfigure = 1u << 9;

    // A0, and the bits that must be 0: A1, D0, D1 (§6.2.5.1).
    private const uint SlotFlag = 1;
    private const uint ReservedFlags = 3;

    /// <summary>Configure Endpoint (§4.6.6): all changes or none.</summary>
    public CommandResult Configure(in Trb command)
    {
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        if (slot.State is not (SlotState.Addressed or SlotState.Configured)) return CompletionCode.ContextStateError;
        if ((command.Control & Deconfigure) != 0) return RemoveAll(slot);
        var address = new GuestAddress(command.Parameter & ~0xfUL);
        Span<byte> buffer = stackalloc byte[InputContext.Size];
        if (!InputContext.TryRead(context.Memory, address, buffer, out InputContext input)) return context.Fault("input context", address);
        InputControlContext control = input.Control;
        if ((control.Drop & ReservedFlags) != 0 || (control.Add & ReservedFlags) != SlotFlag) return CompletionCode.ParameterError;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
        {
            // §6.2.2.2: Context Entries is the index of the last valid Endpoint Context.
            if (control.Adds(dci) && dci > input.Slot.ContextEntries) return CompletionCode.ParameterError;
            if (control.Adds(dci) && !EndpointContextRules.IsValid(input.Endpoint(dci), dci, slot.Speed)) return CompletionCode.ParameterError;
            // §4.6.6: adding what is there without dropping it is an error of the driver's.
            if (control.Adds(dci) && slot[dci] is not null && !control.Drops(dci)) return CompletionCode.ParameterError;
        }

        if (!context.Bandwidth.Fits(slot, input)) return CompletionCode.BandwidthError;
        bool idle = true;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
            if (control.Drops(dci) && slot[dci] is { } endpoint) idle &= context.Engine.Quiesce(endpoint, DrainMode.Discarding);
        if (!idle) return CommandResult.Waiting;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
            if (control.Drops(dci) && !Remove(slot, dci)) return context.Fault("endpoint context", slot.ContextOf(dci));
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
        {
            if (!control.Adds(dci)) continue;
            EndpointContext added = input.Endpoint(dci);
            context.Bandwidth.Reserve(slot, dci, added);
            context.Slots.EnableEndpoint(slot, new Endpoint(slot, dci, added));
        }

        SlotState state = slot.HighestEndpoint > 1 ? SlotState.Configured : SlotState.Addressed;
        SlotContext wanted = input.Slot;
        // §6.2.2.2: of the Slot Context, Context Entries and the hub fields are evaluated.
        SlotContext result = slot.Context with
        {
            Word0 = (slot.Context.Word0 & 0x00ffffff) | (wanted.Word0 & 0x07000000),
            Word1 = (slot.Context.Word1 & 0x00ffffff) | (wanted.Word1 & 0xff000000),
            Word2 = (slot.Context.Word2 & 0xfffc0000) | (wanted.Word2 & 0x0003ffff),
        };
        return Commit(slot, result.WithContextEntries(slot.HighestEndpoint), state);
    }

    /// <summary>Evaluate Context (§4.6.7): Max Exit Latency, Interrupter Target, and endpoint 0's Max Packet Size.</summary>
    public CommandResult Evaluate(in Trb command)
    {
        if (context.Slots.FindEnabled(command.SlotId) is not { } slot) return CompletionCode.SlotNotEnabledError;
        if (slot.State == SlotState.Enabled) return CompletionCode.ContextStateError;
        var address = new GuestAddress(command.Parameter & ~0xfUL);
        Span<byte> buffer = stackalloc byte[InputContext.Size];
        if (!InputContext.TryRead(context.Memory, address, buffer, out InputContext input)) return context.Fault("input context", address);
        InputControlContext control = input.Control;
        if (control.Drop != 0) return CompletionCode.ParameterError;
        SlotContext wanted = input.Slot;
        EndpointContext zero = input.Endpoint(1);
        if (control.Adds(0) && wanted.InterrupterTarget >= context.Interrupters) return CompletionCode.ParameterError;
        if (control.Adds(1) && !EndpointContextRules.IsValidControlPacket(zero)) return CompletionCode.ParameterError;
        if (control.Adds(1) && slot[1] is { } endpoint)
        {
            endpoint.PacketSize = zero.MaxPacketSize;
            endpoint.Context = endpoint.Context with { Word1 = (endpoint.Context.Word1 & 0xffff) | ((uint)zero.MaxPacketSize << 16) };
            context.Engine.WriteState(endpoint);
        }

        if (!control.Adds(0)) return CompletionCode.Success;
        SlotContext result = slot.Context with
        {
            Word1 = (slot.Context.Word1 & 0xffff0000) | (wanted.Word1 & 0x0000ffff),
            Word2 = (slot.Context.Word2 & 0x003fffff) | (wanted.Word2 & 0xffc00000),
        };
        return Commit(slot, result, slot.State);
    }

    private CommandResult RemoveAll(Slot slot)
    {
        bool idle = true;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
            if (slot[dci] is { } endpoint) idle &= context.Engine.Quiesce(endpoint, DrainMode.Discarding);
        if (!idle) return CommandResult.Waiting;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
            if (!Remove(slot, dci)) return context.Fault("endpoint context", slot.ContextOf(dci));
        return Commit(slot, slot.Context.WithContextEntries(1), SlotState.Addressed);
    }

    private bool Remove(Slot slot, int dci)
    {
        if (slot[dci] is null) return true;
        context.Bandwidth.Release(slot, dci);
        context.Slots.DisableEndpoint(slot, dci);
        return context.Slots.ClearEndpointContext(slot, dci);
    }

    private CommandResult Commit(Slot slot, in SlotContext result, SlotState state) =>
        context.Slots.WriteSlotContext(slot, result.WithAddressAndState(slot.Address.Value, state))
            ? CompletionCode.Success
            : context.Fault("slot context", slot.ContextAddress);
}
