using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Pci;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// The register block of an xHCI controller (xHCI 1.2 §5): 0x3000 bytes from the start of BAR 0. An access of any size
/// and alignment is split into 32-bit words with byte lanes; a lane that is not written neither changes an RW bit nor
/// clears an RW1C bit. Masks come from <see cref="RegisterMap"/>; what a write sets off is in one switch.
/// </summary>
internal sealed partial class XhciRegisters : IMemoryBar, ITimed, IInspectable
{
    private const uint RunStop = 1u << 0;
    private const uint HostControllerReset = 1u << 1;
    private const uint InterrupterEnable = 1u << 2;
    private const uint LightHostControllerReset = 1u << 7;
    private const uint ControllerSaveState = 1u << 8;
    private const uint ControllerRestoreState = 1u << 9;
    private const uint EnableWrapEvent = 1u << 10;

    private const uint StatusHalted = 1u << 0;
    private const uint StatusHostSystemError = 1u << 2;
    private const uint StatusEventInterrupt = 1u << 3;
    private const uint StatusPortChange = 1u << 4;
    private const uint StatusSaveRestoreError = 1u << 10;
    private const uint StatusHostControllerError = 1u << 12;

    private const uint CommandRingRunningBit = 1u << 3;
    private const uint OsOwnedSemaphore = 1u << 24;
    private const uint SmiOnOwnershipChange = 1u << 29;

    private const int UsbCommandWord = RegisterTables.OperationalOffset / 4;
    private const int CommandRingWord = (RegisterTables.OperationalOffset + 0x18) / 4;
    private const int DcbaapWord = (RegisterTables.OperationalOffset + 0x30) / 4;
    private const int ConfigWord = (RegisterTables.OperationalOffset + 0x38) / 4;
    private const int LegacyControlWord = (RegisterTables.ExtendedOffset + 4) / 4;

    private readonly RegisterMap _map;
    private readonly uint[] _values;
    private readonly XhciOptions _options;
    private readonly Interrupters _interrupters;
    private readonly RootPorts _ports;
    private readonly IRegisterEffects _effects;
    private readonly ILogger? _logger;
    private uint _errors;
    private VirtualTime _now;

    // Interrupter whose event ring registers the current access has changed, or -1.
    private int _changedRing = -1;

    /// <summary>Makes the registers with their values after a chip reset.</summary>
    /// <param name="options">Numbers of ports, slots and interrupters.</param>
    /// <param name="interrupters">Owner of the interrupter register sets.</param>
    /// <param name="ports">Owner of the port register sets.</param>
    /// <param name="effects">The rest of the controller.</param>
    /// <param name="logger">For errors of the guest; null for none.</param>
    public XhciRegisters(XhciOptions options, Interrupters interrupters, RootPorts ports, IRegisterEffects effects, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(interrupters);
        ArgumentNullException.ThrowIfNull(ports);
        ArgumentNullException.ThrowIfNull(effects);
        _options = options;
        _interrupters = interrupters;
        _ports = ports;
        _effects = effects;
        _logger = logger;
        _map = RegisterMap.For(options);
        _values = new uint[_map.WordCount];
        LoadResetValues(0, _values.Length);
        interrupters.Fault = OnEventRingFault;
    }

    /// <summary>The table that the registers were made from.</summary>
    public RegisterMap Map => _map;

    /// <summary>USBCMD.R/S.</summary>
    public bool Running { get; private set; }

    /// <summary>USBSTS.HCH: stopping takes effect within the write (§5.4.1.1 allows 16 ms).</summary>
    public bool Halted => !Running;

    /// <summary>USBSTS.HCE or HSE: the controller does nothing until it is reset.</summary>
    public bool IsDead => (_errors & (StatusHostControllerError | StatusHostSystemError)) != 0;

    /// <summary>DCBAAP, 64-byte aligned.</summary>
    public GuestAddress Dcbaap => new(Value64(DcbaapWord));

    /// <summary>CONFIG.MaxSlotsEn, at most MaxSlots (HCSPARAMS1).</summary>
    public int MaxSlotsEnabled => Math.Min((int)(_values[ConfigWord] & 0xff), _options.Slots);

    /// <summary>CONFIG.U3E.</summary>
    public bool U3EntryEnabled => (_values[ConfigWord] & 0x100) != 0;

    /// <summary>CONFIG.CIE.</summary>
    public bool ConfigurationInformationEnabled => (_values[ConfigWord] & 0x200) != 0;

    /// <summary>Command ring pointer as last written to CRCR while CRR was 0, 64-byte aligned.</summary>
    public GuestAddress CommandRingPointer => new(Value64(CommandRingWord) & ~0x3ful);

    /// <summary>RCS as last written to CRCR while CRR was 0.</summary>
    public bool CommandRingCycle => (_values[CommandRingWord] & 1) != 0;

    /// <summary>
    /// The low half of CRCR was written while CRR was 0. The core clears it when it takes pointer and cycle at the next
    /// doorbell; while it is false the command ring goes on where it stopped (§5.4.5). The high half alone does not count:
    /// Linux writes CA with the low half, and the high half may come after the ring has stopped.
    /// </summary>
    public bool CommandRingWritten { get; set; }

    /// <summary>CRCR.CRR, set by the core.</summary>
    public bool CommandRingRunning { get; set; }

    /// <summary>The instant of the current entry, set by the core at each entry; handed on to interrupters and ports.</summary>
    public VirtualTime Now
    {
        get => _now;
        set
        {
            _now = value;
            _interrupters.Now = value;
            _ports.Now = value;
        }
    }

    /// <summary>USBSTS.HCE (§4.24.1): the controller stops until HCRST. The core sees it in <see cref="IsDead"/>.</summary>
    public void RaiseHostControllerError()
    {
        _errors |= StatusHostControllerError;
        Stop();
    }

    /// <summary>
    /// USBSTS.HSE (§4.10.2.6): R/S goes to 0 and HCHalted to 1. HSEE would assert SERR#, which the platform does not have;
    /// no interrupter is involved. The core sees it in <see cref="IsDead"/>.
    /// </summary>
    public void RaiseHostSystemError()
    {
        _errors |= StatusHostSystemError;
        Stop();
    }

    /// <summary>All register values after HCRST, interrupters and ports with them. The extended capabilities keep theirs, unless the whole chip is reset.</summary>
    public void Reset(bool chip = false)
    {
        if (chip) LoadResetValues(0, _values.Length);
        ResetValues();
        if (chip) _interrupters.Reset(chip: true);
        _ports.Reset(light: false);
    }

    /// <summary>The PCI function's message enables or its permission to write memory (Bus Master Enable, power state) changed.</summary>
    public void HostBusChanged()
    {
        _interrupters.SignallingChanged();
        _ports.PostPending();
        PostWrapEvent();
        for (int i = 0; i < _interrupters.Count; i++) _effects.EventRingMayHaveRoom(i);
    }

    /// <inheritdoc/>
    public ulong Read(int offset, int size)
    {
        if (!IsInside(offset, size)) return 0;
        ulong result = 0;
        for (int word = offset / 4; word * 4 < offset + size; word++)
        {
            ulong value = ReadWord(word);
            int shift = ((word * 4) - offset) * 8;
            result |= shift < 0 ? value >> -shift : value << shift;
        }

        return result & SizeMask(size);
    }

    /// <inheritdoc/>
    public void Write(int offset, int size, ulong value)
    {
        if (!IsInside(offset, size)) return;
        ulong mask = SizeMask(size);
        for (int word = offset / 4; word * 4 < offset + size; word++)
        {
            int shift = ((word * 4) - offset) * 8;
            ulong lanes = shift < 0 ? mask << -shift : mask >> shift;
            ulong part = shift < 0 ? value << -shift : value >> shift;
            WriteWord(word, (uint)(part & 0xffff_ffff), (uint)(lanes & 0xffff_ffff));
        }

        if (_changedRing >= 0) NoteChangedRing();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        foreach (RegisterSpec register in _map.Registers)
        {
            if (register.Offset < RegisterTables.OperationalOffset || register.Offset >= RegisterTables.ExtendedOffset) continue;
            if (register.Offset >= RegisterTables.PortsOffset) continue;
            writer.Hex(register.Name.ToLowerInvariant(), Read(register.Offset, register.Width));
        }

        writer.Hex("usblegsup", ReadWord(LegacyControlWord - 1));
        writer.Hex("usblegctlsts", ReadWord(LegacyControlWord));
        writer.Hex("mfindex", MicroframeIndex);
        writer.Hex("command_ring", CommandRingPointer.Value);
        writer.Flag("command_ring_cycle", CommandRingCycle);
        writer.Flag("command_ring_written", CommandRingWritten);
        writer.Flag("wrap_pending", _wrapPending);
    }

    private static bool IsInside(int offset, int size) =>
        size is 1 or 2 or 4 or 8 && offset >= 0 && offset <= RegisterTables.Length - size;

    private static ulong SizeMask(int size) => size == 8 ? ulong.MaxValue : (1ul << (size * 8)) - 1;

    private ulong Value64(int word) => _values[word] | ((ulong)_values[word + 1] << 32);

    private uint ReadWord(int word)
    {
        ref readonly RegisterSpec register = ref _map.Word(word);
        int instance = _map.Instance(word);
        switch (register.Effect)
        {
            case RegisterEffect.UsbCommand:
                return _values[word] | (Running ? RunStop : 0);
            case RegisterEffect.UsbStatus:
                return _errors
                    | (Running ? 0 : StatusHalted)
                    | (_interrupters.EventInterrupt ? StatusEventInterrupt : 0)
                    | (_ports.ChangeDetected ? StatusPortChange : 0);
            case RegisterEffect.CommandRing:
                // §5.4.5: pointer, RCS, CS and CA read as 0.
                return register.Half == 0 && CommandRingRunning ? CommandRingRunningBit : 0;
            case RegisterEffect.PortStatus:
            case RegisterEffect.PortPower:
            case RegisterEffect.PortLink:
                return _ports.ReadRegister(instance, register.Effect);
            case RegisterEffect.LegacyControl:
                // §7.1.2: bit 16 shadows EINT, bit 20 shadows HSE.
                return _values[word]
                    | (_interrupters.EventInterrupt ? 1u << 16 : 0)
                    | ((_errors & StatusHostSystemError) != 0 ? 1u << 20 : 0);
            case RegisterEffect.MicroframeIndex:
                return MicroframeIndex;
            case RegisterEffect.InterrupterManagement:
            case RegisterEffect.InterrupterModeration:
            case RegisterEffect.SegmentTableSize:
            case RegisterEffect.SegmentTableBase:
            case RegisterEffect.DequeuePointer:
                return _interrupters.ReadRegister(instance, register.Effect, register.Half);
            default:
                return _values[word];
        }
    }

    private void ResetValues()
    {
        int extended = RegisterTables.ExtendedOffset / 4;
        LoadResetValues(0, extended);
        LoadResetValues(RegisterTables.RuntimeOffset / 4, _values.Length);
        _errors = 0;
        Running = false;
        CommandRingRunning = false;
        CommandRingWritten = false;
        ResetMicroframes();
        _interrupters.Reset();
        _ports.ReportU3Entry = false;
        _ports.ChangeDetected = false;
    }

    // HCHalted and the like are composed on reading, so that no stored value can disagree with them.
    private void LoadResetValues(int from, int to)
    {
        for (int word = from; word < to; word++) _values[word] = (uint)_map.Word(word).Reset;
    }

    private void OnEventRingFault(bool unmapped)
    {
        // §4.10.2.6 for memory that is not there; a malformed table is undefined (§6.5), which ends in HCE here.
        if (unmapped) RaiseHostSystemError();
        else RaiseHostControllerError();
        if (_logger is not null && _logBudget.TryTake(_now, out long suppressed))
            LogEventRingFault(_logger, unmapped ? "is not in mapped memory" : "has a segment of less than 16 or more than 4096 TRBs", suppressed);
    }
}
