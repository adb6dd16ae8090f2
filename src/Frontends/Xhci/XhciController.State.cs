using XenUsbDm.Frontends.Xhci.State;

namespace XenUsbDm.Frontends.Xhci;

// Two kinds of saving: the host's (the whole controller, transfers in flight included) and the guest's (USBCMD.CSS and CRS,
// xHCI 1.2 §4.23.2: what survives a loss of power, for slots and endpoints that the driver has stopped).
public sealed partial class XhciController
{
    private SlotStateV1[]? _saved;
    private bool _lostSinceSave;

    /// <summary>The whole state as plain records. Call it when the pipeline has delivered every completion.</summary>
    public XhciStateV1 Capture() => new(
        _registers.Capture(), _interrupters.Capture(), _ports.Capture(), _commands.Capture(), SlotStateCodec.Capture(_slots), _saved);

    /// <summary>
    /// Takes over a saved state, from whatever source, into a controller whose pipeline already has the devices attached;
    /// requests that were in flight are submitted again. On false the controller is reset and <paramref name="error"/> says why.
    /// </summary>
    public bool TryRestore(XhciStateV1 state, out string error)
    {
        error = "";
        ResetState(light: true);
        // The instant of the entry, which no Advance has told this controller yet; MFINDEX counts from it.
        _registers.Now = _pipeline.Now;
        if (state?.Slots is null || state.Registers is null || state.Interrupters is null || state.Ports is null || state.CommandRing is null)
        {
            error = "xhci: a part of the state is missing";
            return false;
        }

        bool ok = _registers.TryRestore(state.Registers, out error)
            && _interrupters.TryRestore(state.Interrupters, out error)
            && _ports.TryRestore(state.Ports, out error)
            && _commands.TryRestore(state.CommandRing, out error)
            && TryRestoreSlots(state.Slots, withTransfers: true, out error);
        if (!ok)
        {
            ResetState(light: false);
            _registers.Reset();
            error = $"xhci: {error}";
            return false;
        }

        _saved = state.SavedByGuest;
        _lostSinceSave = false;
        return true;
    }

    // §4.23.2: software has stopped everything it wants to keep. The snapshot is ours, not the guest's, so nothing in it has
    // to be believed.
    bool IRegisterEffects.SaveState()
    {
        _saved = SlotStateCodec.Capture(_slots);
        _lostSinceSave = false;
        return true;
    }

    // Without a reset since the save everything is still here, newer than the snapshot or the same.
    bool IRegisterEffects.RestoreState()
    {
        if (_saved is null) return false;
        if (!_lostSinceSave) return true;
        _lostSinceSave = false;
        if (TryRestoreSlots(_saved, withTransfers: false, out _)) return true;
        ResetState(light: true);
        return false;
    }

    private bool TryRestoreSlots(SlotStateV1[] slots, bool withTransfers, out string error)
    {
        error = "";
        _slots.Clear();
        foreach (SlotStateV1 slot in slots)
        {
            error = slot is null ? "a slot is missing" : SlotStateCodec.Restore(slot, _slots, _engine, _bandwidth, _options.Connectors, withTransfers) ?? "";
            if (error.Length > 0) return false;
        }

        return true;
    }
}
