using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Transfers;

namespace XenUsbDm.Frontends.Xhci.Slots;

/// <summary>The device slots and their contexts in guest memory (xHCI 1.2 §4.5, §6.1, §6.2).</summary>
internal sealed class DeviceSlots : IInspectable
{
    private readonly Slot[] _slots;
    private readonly IGuestMemory _memory;
    private readonly XhciRegisters _registers;
    private readonly TransferEngine _engine;

    /// <summary>Makes <paramref name="count"/> slots (1-255), all disabled.</summary>
    public DeviceSlots(int count, IGuestMemory memory, XhciRegisters registers, TransferEngine engine)
    {
        _memory = memory;
        _registers = registers;
        _engine = engine;
        _slots = new Slot[count];
        for (int i = 0; i < count; i++) _slots[i] = new Slot(i + 1);
    }

    /// <summary>MaxSlots.</summary>
    public int Count => _slots.Length;

    /// <summary>The slot with ID <paramref name="id"/>, enabled or not; null for an ID that does not exist.</summary>
    public Slot? Find(int id) => id >= 1 && id <= _slots.Length ? _slots[id - 1] : null;

    /// <summary>The enabled slot with ID <paramref name="id"/>, or null.</summary>
    public Slot? FindEnabled(int id) => Find(id) is { IsEnabled: true } slot ? slot : null;

    /// <summary>The lowest free slot within MaxSlotsEn, or null (§4.6.3).</summary>
    public Slot? FindFree()
    {
        int limit = Math.Min(_slots.Length, _registers.MaxSlotsEnabled);
        for (int i = 0; i < limit; i++)
            if (!_slots[i].IsEnabled) return _slots[i];
        return null;
    }

    /// <summary>Device Context pointer of a slot from the DCBAA (§6.1). False when the array is not mapped.</summary>
    public bool TryReadContextAddress(Slot slot, out GuestAddress address)
    {
        bool ok = _memory.TryRead64(_registers.Dcbaap.OffsetWrapping((ulong)slot.Id * 8), out ulong value);
        address = new GuestAddress(value & ~0x3fUL);
        return ok;
    }

    /// <summary>Writes the output Slot Context. False when it is not mapped.</summary>
    public bool WriteSlotContext(Slot slot, in SlotContext context)
    {
        slot.Context = context;
        slot.State = context.State;
        Span<byte> bytes = stackalloc byte[SlotContext.Size];
        context.Write(bytes);
        return _memory.TryWrite(slot.ContextOf(0), bytes);
    }

    /// <summary>Writes an output Endpoint Context that reads as disabled.</summary>
    public bool ClearEndpointContext(Slot slot, int dci)
    {
        Span<byte> bytes = stackalloc byte[EndpointContext.Size];
        bytes.Clear();
        return _memory.TryWrite(slot.ContextOf(dci), bytes);
    }

    /// <summary>Puts a configured endpoint into its slot, running (§4.6.6).</summary>
    public void EnableEndpoint(Slot slot, Endpoint endpoint)
    {
        slot[endpoint.Dci] = endpoint;
        _engine.Enabled(endpoint);
        _engine.WriteState(endpoint);
    }

    /// <summary>Takes an endpoint out of its slot; its transfers are forgotten.</summary>
    public void DisableEndpoint(Slot slot, int dci)
    {
        if (slot[dci] is not { } endpoint) return;
        _engine.Disabled(endpoint);
        slot[dci] = null;
    }

    /// <summary>Back to the state after Disable Slot.</summary>
    public void DisableSlot(Slot slot)
    {
        for (int dci = 1; dci <= XhciLimits.Endpoints; dci++) DisableEndpoint(slot, dci);
        slot.Clear();
    }

    /// <summary>Every slot disabled (controller reset).</summary>
    public void Clear()
    {
        foreach (Slot slot in _slots)
            if (slot.IsEnabled) DisableSlot(slot);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        foreach (Slot slot in _slots)
        {
            if (!slot.IsEnabled) continue;
            using (writer.Node(slot.Id.ToString(System.Globalization.CultureInfo.InvariantCulture))) slot.Inspect(writer);
        }
    }
}
