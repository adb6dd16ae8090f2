using System;

namespace XenUsbDm.Frontends.Xhci;

/// <content>Saved state.</content>
internal sealed partial class XhciRegisters
{
    private const uint SavedErrors = StatusHostSystemError | StatusSaveRestoreError | StatusHostControllerError;

    private static readonly int[] SavedWords =
    [
        UsbCommandWord, (RegisterTables.OperationalOffset + 0x14) / 4, CommandRingWord, CommandRingWord + 1, DcbaapWord, DcbaapWord + 1,
        ConfigWord, LegacyControlWord - 1, LegacyControlWord,
    ];

    /// <summary>Saves the registers, without interrupters and ports, which save themselves.</summary>
    public XhciRegistersStateV1 Capture() => new(
        Array.ConvertAll(SavedWords, word => _values[word]),
        Running,
        _errors,
        CommandRingWritten,
        CommandRingRunning,
        _microframeOrigin,
        _frozenMicroframe,
        _nextWrap,
        _wrapPending);

    /// <summary>Takes saved registers back. Sets nothing off. After false the registers are as they were.</summary>
    public bool TryRestore(XhciRegistersStateV1 state, out string error)
    {
        if (state?.Words is null || state.Words.Length != SavedWords.Length)
        {
            error = "the saved state has another number of registers";
            return false;
        }

        for (int i = 0; i < SavedWords.Length; i++)
        {
            ref readonly RegisterSpec register = ref _map.Word(SavedWords[i]);
            uint changeable = (uint)(register.Writable | register.ClearOnOne);
            if (((state.Words[i] ^ (uint)register.Reset) & ~changeable) == 0) continue;
            error = $"{register.Name}: reserved bits are set";
            return false;
        }

        bool dead = (state.Errors & (StatusHostControllerError | StatusHostSystemError)) != 0;
        if ((state.Errors & ~SavedErrors) != 0 || (state.Running && dead) || (state.Words[0] & RunStop) != 0
            || state.FrozenMicroframe >= MicroframeWrap || (state.NextWrap is not null && !state.Running))
        {
            error = "USBCMD, USBSTS and MFINDEX contradict each other";
            return false;
        }

        for (int i = 0; i < SavedWords.Length; i++) _values[SavedWords[i]] = state.Words[i];
        Running = state.Running;
        _errors = state.Errors;
        CommandRingWritten = state.CommandRingWritten;
        CommandRingRunning = state.CommandRingRunning;
        _microframeOrigin = state.MicroframeOrigin;
        _frozenMicroframe = state.FrozenMicroframe;
        _nextWrap = state.NextWrap;
        _wrapPending = state.WrapPending;
        error = "";
        return true;
    }
}

/// <summary>Saved <see cref="XhciRegisters"/>: the registers that hold something in the order of the table, and what lies behind them.</summary>
public sealed record XhciRegistersStateV1(
    uint[] Words,
    bool Running,
    uint Errors,
    bool CommandRingWritten,
    bool CommandRingRunning,
    ulong MicroframeOrigin,
    uint FrozenMicroframe,
    ulong? NextWrap,
    bool WrapPending);
