namespace XenUsbDm.Frontends.Xhci;

/// <content>What a write to one 32-bit word does once the masks have been applied.</content>
internal sealed partial class XhciRegisters
{
    private void WriteWord(int word, uint value, uint lanes)
    {
        ref readonly RegisterSpec register = ref _map.Word(word);
        uint writable = (uint)register.Writable & lanes;
        uint cleared = value & lanes & (uint)register.ClearOnOne;
        uint requested = value & lanes & (uint)register.SetOnOne;
        if ((writable | cleared | requested) == 0 && register.Effect != RegisterEffect.Doorbell) return;
        int instance = _map.Instance(word);
        RegisterEffect effect = register.Effect;
        uint stored = effect is RegisterEffect.None or RegisterEffect.UsbCommand or RegisterEffect.CommandRing
            or RegisterEffect.LegacySupport or RegisterEffect.LegacyControl
            ? _values[word] : ReadWord(word);
        uint merged = (stored & ~writable & ~cleared) | (value & writable);
        switch (effect)
        {
            case RegisterEffect.None:
                _values[word] = merged;
                if (word == ConfigWord) _ports.ReportU3Entry = U3EntryEnabled;
                break;
            case RegisterEffect.UsbCommand:
                WriteUsbCommand(merged, (lanes & RunStop) != 0 ? (value & RunStop) != 0 : Running, requested);
                break;
            case RegisterEffect.UsbStatus:
                _errors &= ~(cleared & (StatusHostSystemError | StatusSaveRestoreError));
                if ((cleared & StatusEventInterrupt) != 0) _interrupters.EventInterrupt = false;
                if ((cleared & StatusPortChange) != 0) _ports.ChangeDetected = false;
                break;
            case RegisterEffect.CommandRing:
                WriteCommandRing(word, merged, writable, requested, register.Half);
                break;
            case RegisterEffect.PortStatus:
            case RegisterEffect.PortPower:
            case RegisterEffect.PortLink:
                _ports.WriteRegister(instance, effect, merged, cleared, requested);
                break;
            case RegisterEffect.LegacySupport:
                if (((merged ^ stored) & OsOwnedSemaphore) != 0) _values[LegacyControlWord] |= SmiOnOwnershipChange;
                _values[word] = merged;
                break;
            case RegisterEffect.LegacyControl:
                _values[word] = merged;
                break;
            case RegisterEffect.Doorbell:
                // A write of one byte rings too if it is the target's; one of the others names no endpoint.
                if ((lanes & 0xff) != 0) _effects.Doorbell(instance, requested);
                break;
            default:
                WriteInterrupter(instance, effect, register.Half, merged, cleared);
                break;
        }
    }

    private void WriteInterrupter(int index, RegisterEffect effect, int half, uint value, uint cleared)
    {
        _interrupters.WriteRegister(index, effect, half, value, cleared);
        if (effect is RegisterEffect.SegmentTableSize or RegisterEffect.SegmentTableBase or RegisterEffect.DequeuePointer) _changedRing = index;
    }

    // After the whole access, so that no event is written between the halves of a 64-bit ERDP or ERSTBA.
    private void NoteChangedRing()
    {
        int index = _changedRing;
        _changedRing = -1;
        if (index == 0)
        {
            _ports.PostPending();
            PostWrapEvent();
        }

        _effects.EventRingMayHaveRoom(index);
    }

    // §5.4.5: while the ring runs only CS and CA mean something. Pointer and RCS are taken with the low half.
    private void WriteCommandRing(int word, uint merged, uint writable, uint requested, int half)
    {
        if (CommandRingRunning)
        {
            if (requested != 0) _effects.CommandRingStop(abort: (requested & 4) != 0);
            return;
        }

        _values[word] = merged;
        if (half == 0 && writable != 0) CommandRingWritten = true;
    }

    // §5.4.1. A reset swallows everything else in the same write.
    private void WriteUsbCommand(uint value, bool run, uint requested)
    {
        if ((requested & HostControllerReset) != 0)
        {
            Stop();
            _effects.HostControllerReset();
            Reset();
            return;
        }

        if ((requested & LightHostControllerReset) != 0)
        {
            Stop();
            _effects.LightReset();
            ResetValues();
            return;
        }

        _values[UsbCommandWord] = value & ~RunStop;
        _interrupters.InterruptsEnabled = (value & InterrupterEnable) != 0;
        if (run != Running) RunOrStop(run);
        ArmWrapEvent();
        if (Halted) SaveOrRestore(requested);
    }

    private void RunOrStop(bool run)
    {
        if (!run)
        {
            // The core writes what is left to write before the event rings close.
            _effects.RunStopChanged(false);
            Stop();
            return;
        }

        if (IsDead) return;
        StartMicroframes();
        Running = true;
        _interrupters.Running = true;
        _effects.RunStopChanged(true);
        _ports.Started();
    }

    private void Stop()
    {
        StopMicroframes();
        Running = false;
        CommandRingRunning = false;
        _interrupters.Running = false;
    }

    // §4.23.2, §5.4.1: both end within the write, so SSS and RSS are never seen set. SRE tells the outcome of the last one.
    private void SaveOrRestore(uint requested)
    {
        if ((requested & (ControllerSaveState | ControllerRestoreState)) == 0) return;
        bool save = (requested & ControllerSaveState) != 0;
        bool done = save ? _effects.SaveState() : _effects.RestoreState();
        if (done && save) _interrupters.SaveRings();
        if (done && !save) _interrupters.ContinueRings();
        _errors = done ? _errors & ~StatusSaveRestoreError : _errors | StatusSaveRestoreError;
    }
}
