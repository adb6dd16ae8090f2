using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Frontends.Xhci;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// A PCI function around a controller: configuration space, one 64-bit memory BAR, INTx, MSI, MSI-X and power
/// management. Start here: <see cref="ConfigLayout"/> is the register table, <see cref="ConfigSpace"/> runs it,
/// <see cref="MsiCapability"/> and <see cref="MsiXTable"/> hold the messages, and this class derives everything else from
/// them in one place (<see cref="Evaluate"/>).
/// </summary>
/// <remarks>
/// <para>BAR 0: the controller's registers first, MSI-X table and PBA in the last 4 KiB, because NetBSD shrinks its
/// mapping of the registers to the table's offset.</para>
/// <para>Messages leave through <see cref="IInterruptSink"/> only. They are never looked up as addresses here, so a guest
/// that programs the address of its own BAR gets an odd message and no register access (QEMU LP 1905444).</para>
/// <para>A message is a memory write, so it needs Bus Master Enable and D0. One that is raised without is held in the
/// pending bits and sent when both are back: a controller that cleared its own pending state on raising
/// (IMAN.IP, xHCI 1.2 §5.5.2.1) would otherwise lose the interrupt, and the guest would wait for ever.</para>
/// <para>Reset is the host's doing and reaches the controller by the host too: call <see cref="Reset"/> beside the
/// controller's own reset. Power states keep all state (No_Soft_Reset).</para>
/// </remarks>
public sealed class PciFunction : IHostBus, IInspectable
{
    /// <summary>Bytes of an xHCI controller's BAR 0.</summary>
    public const int XhciBarSize = 0x4000;

    private const uint D0 = 0;
    private const uint D3Hot = 3;

    private readonly IInterruptSink _interrupts;
    private readonly IPciHost _host;
    private readonly ConfigSpace _config;
    private readonly MsiCapability _msi;
    private readonly MsiXTable _msix = new();
    private readonly int _registerSize;
    private IMemoryBar? _registers;

    // Derived from the configuration space by Evaluate.
    private bool _decoding;
    private bool _msixEnabled;
    private bool _msixFunctionMask;

    // Inputs and outputs that have a level.
    private bool _levelWanted;
    private bool _intx;
    private bool _pme;

    /// <summary>Makes a function in its reset state.</summary>
    /// <param name="interrupts">Where INTx and messages go.</param>
    /// <param name="host">Who maps the BAR.</param>
    /// <param name="identity">What the function says it is.</param>
    /// <param name="registers">The controller's registers; may be handed in later by <see cref="Connect"/>.</param>
    /// <param name="barSize">Bytes of BAR 0, a power of two from 8 KiB to 1 GiB.</param>
    public PciFunction(IInterruptSink interrupts, IPciHost host, PciIdentity identity, IMemoryBar? registers = null, int barSize = XhciBarSize)
    {
        ArgumentNullException.ThrowIfNull(interrupts);
        ArgumentNullException.ThrowIfNull(host);
        ArgumentNullException.ThrowIfNull(identity);
        if (barSize is < 0x2000 or > 0x4000_0000 || !int.IsPow2(barSize)) throw new ArgumentOutOfRangeException(nameof(barSize));
        _interrupts = interrupts;
        _host = host;
        _registers = registers;
        _registerSize = TableOffset(barSize);
        Identity = identity;
        BarSize = barSize;
        _config = new ConfigSpace(ConfigLayout.Build(identity, barSize));
        _msi = new MsiCapability(_config);
    }

    /// <summary>What the function says it is.</summary>
    public PciIdentity Identity { get; }

    /// <summary>Bytes of BAR 0.</summary>
    public int BarSize { get; }

    /// <summary>Where BAR 0 is mapped, as last told to the host.</summary>
    public BarMapping BarMapping { get; private set; }

    /// <summary>The function is in D3hot: configuration space answers, the BAR does not.</summary>
    public bool IsAsleep => PowerState != D0;

    /// <inheritdoc/>
    public bool DmaAllowed { get; private set; }

    /// <inheritdoc/>
    public bool MessagesEnabled { get; private set; }

    private uint PowerState => _config.Get16(ConfigLayout.PowerControl) & ConfigLayout.PowerStateMask;

    /// <summary>Where the MSI-X window starts in a BAR of <paramref name="barSize"/> bytes, and the registers end.</summary>
    public static int TableOffset(int barSize) => barSize - MsiXTable.WindowSize;

    /// <summary>Plugs in the controller's registers; a controller and its function need each other, so one comes later.</summary>
    public void Connect(IMemoryBar registers) => _registers = registers;

    /// <summary>Bus reset: every register, vector and level as after power-on. Nothing pending survives (CVE-2016-7466).</summary>
    public void Reset()
    {
        _config.Reset();
        _msix.Reset();
        _levelWanted = false;
        Evaluate();
    }

    /// <summary>Reads configuration space: <paramref name="size"/> 1 to 8 bytes at any offset, little-endian; ones where there is nothing.</summary>
    public ulong ReadConfig(int offset, int size) => size is < 1 or > 8 ? ulong.MaxValue : _config.Read(offset, size);

    /// <summary>
    /// Writes configuration space: <paramref name="size"/> 1 to 8 bytes at any offset; anything else is dropped. The host tells
    /// its controller afterwards that the bus may have changed, since it may have put work off or signal otherwise now.
    /// </summary>
    public void WriteConfig(int offset, int size, ulong value)
    {
        if (size is < 1 or > 8) return;
        uint oldPower = PowerState;
        ConfigEffects effects = _config.Write(offset, size, value);
        if (effects == ConfigEffects.None) return;
        if ((effects & ConfigEffects.Power) != 0 && PowerState is not (D0 or D3Hot))
            _config.Set16(ConfigLayout.PowerControl, ConfigLayout.PowerStateMask, oldPower);
        Evaluate();
    }

    /// <summary>
    /// Reads <paramref name="size"/> 1 to 8 bytes of a BAR at any offset. All ones when the BAR is not decoded, does not
    /// exist, or ends before the access does (byte by byte).
    /// </summary>
    public ulong ReadBar(int bar, ulong offset, int size)
    {
        if (size is < 1 or > 8) return ulong.MaxValue;
        ulong ones = ulong.MaxValue >> (64 - (8 * size));
        if (bar != 0 || !_decoding || offset >= (ulong)BarSize) return ones;
        if (IsWhole(offset, size)) return _registers is null ? ones : _registers.Read((int)offset, size) & ones;
        ulong value = 0;
        for (int done = 0; done < size;)
        {
            int piece = PieceSize(offset + (ulong)done, size - done);
            value |= ReadPiece(offset + (ulong)done, piece) << (8 * done);
            done += piece;
        }

        return value;
    }

    /// <summary>Writes <paramref name="size"/> 1 to 8 bytes of a BAR at any offset; dropped where a read would give ones.</summary>
    public void WriteBar(int bar, ulong offset, int size, ulong value)
    {
        if (size is < 1 or > 8 || bar != 0 || !_decoding || offset >= (ulong)BarSize) return;
        if (IsWhole(offset, size))
        {
            _registers?.Write((int)offset, size, value & (ulong.MaxValue >> (64 - (8 * size))));
            return;
        }

        bool tableTouched = false;
        for (int done = 0; done < size;)
        {
            ulong at = offset + (ulong)done;
            int piece = PieceSize(at, size - done);
            tableTouched |= WritePiece(at, piece, value >> (8 * done));
            done += piece;
        }

        // Once, after all bytes: an access that sets data and clears the mask sends the new data.
        if (tableTouched) DeliverPending();
    }

    /// <inheritdoc/>
    public void SendMessage(int interrupter)
    {
        if (_msixEnabled) _msix.Post(interrupter & (MsiXTable.Vectors - 1));
        else if (MessagesEnabled) _msi.Post(interrupter);
        else return;
        DeliverPending();
    }

    /// <inheritdoc/>
    public void SetLevel(bool asserted)
    {
        _levelWanted = asserted;
        DriveIntx();
    }

    /// <inheritdoc/>
    public void SignalPowerManagementEvent()
    {
        // PMC promises PME# from D3hot only; a stale status from D0 would wake the guest as soon as it goes to sleep.
        if (PowerState != D3Hot) return;
        _config.Set16(ConfigLayout.PowerControl, ConfigLayout.PmeStatus, ConfigLayout.PmeStatus);
        DrivePme();
    }

    /// <summary>
    /// Masks or unmasks an MSI-X vector (0-15) for a host whose client keeps the table itself, so that the guest's writes to it
    /// never arrive here (vfio-user): the client says which vectors it takes. One that is pending is sent when unmasked.
    /// </summary>
    public void SetVectorMask(int vector, bool masked)
    {
        if ((uint)vector >= MsiXTable.Vectors) return;
        _msix.WriteByte((vector * MsiXTable.EntrySize) + 12, masked ? (byte)1 : (byte)0);
        DeliverPending();
    }

    /// <summary>Everything that a restored function needs.</summary>
    public PciStateV1 Capture() => new(BarSize, _config.Bytes.ToArray(), _msix.Bytes.ToArray(), _msix.Pending, _levelWanted);

    /// <summary>
    /// Takes over a saved state and tells host and sink what changed. The state may come from anywhere: wrong lengths,
    /// another identity, read-only bits that differ or an impossible power state are refused and change nothing.
    /// </summary>
    public bool TryRestore(PciStateV1 state, out string error)
    {
        ArgumentNullException.ThrowIfNull(state);
        error = Load(state);
        if (error.Length != 0) return false;
        Evaluate();
        return true;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("identity", Identity.Name);
        writer.Hex("id", _config.Get32(0));
        writer.Hex("command", _config.Get16(ConfigLayout.Command));
        writer.Hex("status", _config.Get16(ConfigLayout.Status));
        writer.Text("power", PowerState == D0 ? "D0" : "D3hot");
        using (writer.Node("bar", 0))
        {
            writer.Hex("address", BarMapping.Address);
            writer.Hex("size", (ulong)BarSize);
            writer.Flag("enabled", BarMapping.Enabled);
        }

        using (writer.Node("intx"))
        {
            writer.Flag("wanted", _levelWanted);
            writer.Flag("asserted", _intx);
        }

        using (writer.Node("pme"))
        {
            writer.Flag("status", (_config.Get16(ConfigLayout.PowerControl) & ConfigLayout.PmeStatus) != 0);
            writer.Flag("asserted", _pme);
        }

        writer.Child("msi", _msi);
        using (writer.Node("msix"))
        {
            writer.Flag("enabled", _msixEnabled);
            writer.Flag("functionMask", _msixFunctionMask);
            _msix.Inspect(writer);
        }

        using (writer.Node("config"))
        {
            for (int row = 0; row < ConfigLayout.Size; row += 16)
                writer.Text($"{row:x2}", Convert.ToHexStringLower(_config.Bytes.Slice(row, 16)));
        }
    }

    /// <summary>
    /// Derives decoding, mastering and interrupts from the registers and tells the outside what changed. Runs after every
    /// write with an effect, after reset and after restore; it has no memory of what was written.
    /// </summary>
    private void Evaluate()
    {
        uint command = _config.Get16(ConfigLayout.Command);
        uint msixControl = _config.Get16(ConfigLayout.MsiX + 2);
        bool awake = PowerState == D0;
        DmaAllowed = awake && (command & ConfigLayout.CommandBusMaster) != 0;
        _decoding = awake && (command & ConfigLayout.CommandMemory) != 0;
        _msixFunctionMask = (msixControl & 0x4000) != 0;
        // A guest must not enable both (PCI 3.0 §6.8); if it does, MSI-X wins.
        _msixEnabled = (msixControl & 0x8000) != 0;
        MessagesEnabled = _msixEnabled || _msi.Enabled;
        // What a capability held back is gone with it: the interrupt now belongs to whatever is enabled instead.
        if (!_msixEnabled) _msix.ClearPending();
        if (_msixEnabled || !_msi.Enabled) _msi.ClearPending();

        MoveBar();
        DriveIntx();
        DrivePme();
        DeliverPending();
    }

    private void MoveBar()
    {
        ulong address = _config.Get64(ConfigLayout.Bar0) & ~((ulong)BarSize - 1);
        // Zero is "not placed yet" and the topmost window is what sizing writes: neither may be laid over guest memory,
        // even when the guest sizes with decoding on.
        bool placed = address != 0 && address != unchecked(0UL - (ulong)BarSize);
        var mapping = new BarMapping(address, _decoding && placed);
        BarMapping old = BarMapping;
        BarMapping = mapping;
        // A move while nothing is mapped is no news to the host.
        if (mapping != old && (mapping.Enabled || old.Enabled)) _host.BarMoved(0, mapping.Address, mapping.Enabled);
    }

    /// <summary>
    /// INTx is the level wanted, unless messages replace it, Interrupt Disable is set or the function sleeps. Interrupt
    /// Status shows it before Interrupt Disable (PCI 3.0 §6.2.3).
    /// </summary>
    private void DriveIntx()
    {
        bool active = _levelWanted && !MessagesEnabled;
        _config.Set16(ConfigLayout.Status, ConfigLayout.StatusInterrupt, active ? ConfigLayout.StatusInterrupt : 0);
        bool pin = active && PowerState == D0 && (_config.Get16(ConfigLayout.Command) & ConfigLayout.CommandInterruptDisable) == 0;
        if (pin == _intx) return;
        _intx = pin;
        _interrupts.SetIntx(pin);
    }

    private void DrivePme()
    {
        const uint Both = ConfigLayout.PmeStatus | ConfigLayout.PmeEnable;
        bool asserted = (_config.Get16(ConfigLayout.PowerControl) & Both) == Both;
        if (asserted == _pme) return;
        _pme = asserted;
        _host.PowerManagementEvent(asserted);
    }

    private void DeliverPending()
    {
        if (!DmaAllowed) return;
        if (!_msixEnabled) _msi.Deliver(_interrupts);
        else if (!_msixFunctionMask) _msix.Deliver(_interrupts);
    }

    /// <summary>The access is one that a register block takes: 1, 2, 4 or 8 bytes, all of them registers.</summary>
    private bool IsWhole(ulong offset, int size) =>
        int.IsPow2(size) && offset <= (ulong)(_registerSize - size);

    /// <summary>The next naturally aligned piece; such a piece never crosses from the registers into the MSI-X window.</summary>
    private static int PieceSize(ulong offset, int left)
    {
        int size = 4;
        while (size > left || (offset & (ulong)(size - 1)) != 0) size >>= 1;
        return size;
    }

    private ulong ReadPiece(ulong offset, int size)
    {
        ulong ones = ulong.MaxValue >> (64 - (8 * size));
        if (offset >= (ulong)BarSize) return ones;
        if (offset < (ulong)_registerSize) return _registers is null ? ones : _registers.Read((int)offset, size) & ones;
        ulong value = 0;
        for (int i = 0; i < size; i++) value |= (ulong)_msix.ReadByte((int)offset - _registerSize + i) << (8 * i);
        return value;
    }

    /// <summary>Writes one piece; true when it went to the MSI-X window.</summary>
    private bool WritePiece(ulong offset, int size, ulong value)
    {
        if (offset >= (ulong)BarSize) return false;
        if (offset < (ulong)_registerSize)
        {
            _registers?.Write((int)offset, size, value & (ulong.MaxValue >> (64 - (8 * size))));
            return false;
        }

        for (int i = 0; i < size; i++) _msix.WriteByte((int)offset - _registerSize + i, (byte)((value >> (8 * i)) & 0xff));
        return true;
    }

    private string Load(PciStateV1 state)
    {
        if (state.BarSize != BarSize) return "PCI: another BAR size";
        if (state.Config is not { Length: ConfigLayout.Size } || state.MsiXTable is null) return "PCI: wrong length";
        uint power = state.Config[ConfigLayout.PowerControl] & ConfigLayout.PowerStateMask;
        if (power is not (D0 or D3Hot)) return "PCI: impossible power state";
        PciStateV1 old = Capture();
        int wrong = _config.TryLoad(state.Config);
        if (wrong >= 0) return $"PCI: read-only bits differ at offset 0x{wrong:x2}";
        if (!_msix.TryLoad(state.MsiXTable, state.MsiXPending))
        {
            _config.TryLoad(old.Config);
            return "PCI: impossible MSI-X table";
        }

        _levelWanted = state.InterruptLevel;
        return string.Empty;
    }
}
