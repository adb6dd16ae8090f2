using System;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Machine;

namespace XenUsbDm.Hosts.Xen;

/// <summary>What a Xen host is made of.</summary>
public sealed record XenHostOptions
{
    /// <summary>The controller.</summary>
    public XhciOptions Xhci { get; init; } = new();

    /// <summary>What the PCI function says it is.</summary>
    public PciIdentity Identity { get; init; } = PciIdentity.XhciDefault;

    /// <summary>PCI device number on bus 0, 0 to 31.</summary>
    public int Slot { get; init; } = XenLimits.DefaultSlot;

    /// <summary>Where the record for a take-over is kept; null for nowhere. It stays the caller's.</summary>
    public IRecordStore? Records { get; init; }

    /// <summary>Messages of host and model. It names the guest: they do not.</summary>
    public ILogger? Logger { get; init; }
}

/// <summary>
/// Serves one HVM domain with one controller on its PCI bus, beside QEMU. Made with its machine, to which devices can be
/// attached; <see cref="TryStart"/> makes it visible to the guest. It ends when the domain does.
/// </summary>
public sealed class XenHost : ITimed, IPciHost, IInspectable, IDisposable
{
    private readonly IEventLoop _loop;
    private readonly IXenDomain _domain;
    private readonly XenHostOptions _options;
    private readonly XenMemory _memory;
    private readonly XenInterrupts _interrupts;
    private readonly IoreqHandler _handler;
    private readonly IoreqServer _server;
    private readonly ILogger _log;
    private readonly LogBudget _budget = new();
    private readonly LogBudget _barBudget = new();
    private ILoopWatch? _events;
    private ILoopWatch? _release;
    private ulong _range;
    private ulong _saidRange;
    private bool _started;
    private bool _recordStale;
    private VirtualTime _recordDue = VirtualTime.Zero;
    private VirtualTime _slotDue = VirtualTime.Never;
    private int _slotChecks;

    /// <summary>Makes a host of a domain, which stays the caller's.</summary>
    public XenHost(IEventLoop loop, IXenDomain domain, XenHostOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(domain);
        _loop = loop;
        _domain = domain;
        _options = options ?? new XenHostOptions();
        _log = _options.Logger ?? NullLogger.Instance;
        _memory = new XenMemory(domain);
        _interrupts = new XenInterrupts(domain, _options.Slot);
        Machine = new XhciMachine(_options.Xhci, _options.Identity, _memory, _interrupts, this, _options.Logger);
        _handler = new IoreqHandler(Machine, _memory, (uint)_options.Slot << 3) { Invalidated = _memory.Clear, TimeNeeded = PassTime };
        _server = new IoreqServer(domain, _handler) { Answered = Settle, Created = SaveRecord };
    }

    /// <summary>A domain as messages name it: "domain 5 (win11)".</summary>
    public static string LabelOf(IXenDomain domain)
    {
        ArgumentNullException.ThrowIfNull(domain);
        return $"domain {domain.Id}{(domain.Name.Length > 0 ? $" ({domain.Name})" : "")}";
    }

    /// <summary>The machine.</summary>
    public XhciMachine Machine { get; }

    /// <summary>Guest memory.</summary>
    public XenMemory Memory => _memory;

    /// <summary>The domain is gone: nothing is left to serve.</summary>
    public bool IsGone { get; private set; }

    /// <summary>This process went on for one that was killed.</summary>
    public bool TookOver { get; private set; }

    /// <summary>Called once when the domain is gone.</summary>
    public Action? Gone { get; set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            if (!_started || IsGone) return VirtualTime.Never;
            VirtualTime next = VirtualTime.Min(Machine.NextDeadline, _slotDue);
            return _recordStale ? VirtualTime.Min(_recordDue, next) : next;
        }
    }

    /// <summary>
    /// Makes the controller visible: an ioreq server (that of a killed process, if there is one), the PCI device, then the
    /// loop's watches. The guest must not have looked at its bus yet. On false nothing is left and <paramref name="error"/>
    /// is a line for the operator.
    /// </summary>
    public bool TryStart(out string error)
    {
        Machine.PassTime(_loop.Now);
        if (!TryTakeOver() && !TryCreate(out error))
        {
            _options.Records?.Clear();
            return false;
        }

        error = "";
        _started = true;
        if (!TookOver) _slotDue = _loop.Now.Plus(XenLimits.SlotCheckNanoseconds);
        _events = _loop.Watch(_domain.EventHandle, LoopEvents.Readable, _server);
        if (_domain.ReleaseHandle is { } released) _release = _loop.Watch(released, LoopEvents.Readable, new ReleaseSource(this));
        SaveRecord();
        if (!TookOver) XenLog.Serving(_log, _server.Id, _server.Vcpus);
        // What waited for the earlier process goes on now; its events are gone with it.
        if (TookOver) _server.AnswerWaiting();
        CheckDomain();
        return true;
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        Machine.PassTime(now);
        if (!_started) return;
        if (!IsGone)
        {
            if (_recordStale && now >= _recordDue) SaveRecord();
            if (now >= _slotDue) CheckSlot(now);
            Work();
        }

        // What was found may have set something off; done here, the loop need not go round for it.
        if (_server.Rearm() && !IsGone) Work();
        Settle();
    }

    /// <inheritdoc/>
    void IPciHost.BarMoved(int bar, ulong address, bool enabled)
    {
        if (_range != 0) Note(_domain.UnmapRange(_server.Id, _range, RangeEnd(_range)));
        _range = 0;
        _handler.FunctionChanged = true;
        if (enabled)
        {
            // One that is there already was left by an earlier process.
            int error = _domain.MapRange(_server.Id, address, RangeEnd(address));
            if (error is 0 or XenError.Exists) _range = address;
            else if (error == XenError.NoDomain) Note(error);
            else if (_budget.TryTake(_loop.Now, out long suppressed)) XenLog.RangeRefused(_log, address, error, XenLog.More(suppressed));
        }

        // Drivers turn decoding off and on many times; only another place is news.
        if (_range == 0 || _range == _saidRange || !_barBudget.TryTake(_loop.Now, out _)) return;
        _saidRange = _range;
        XenLog.BarMoved(_log, _range);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        using (writer.Node("xen"))
        {
            writer.Number("domain", _domain.Id);
            writer.Text("name", _domain.Name);
            writer.Hex("slot", (ulong)_options.Slot);
            writer.Flag("gone", IsGone);
            writer.Flag("took-over", TookOver);
            writer.Child("server", _server);
            writer.Child("memory", _memory);
            writer.Child("interrupts", _interrupts);
        }

        Machine.Inspect(writer);
    }

    /// <summary>Takes the controller away from the guest, in an order that leaves no vCPU waiting, and forgets the record.</summary>
    public void Dispose()
    {
        _events?.Dispose();
        _release?.Dispose();
        if (_started)
        {
            _started = false;
            if (_range != 0 && !IsGone) _domain.UnmapRange(_server.Id, _range, RangeEnd(_range));
            if (!IsGone) _domain.UnmapPciDevice(_server.Id, _options.Slot);
            _server.Close();
            _options.Records?.Clear();
        }

        // Devices are unplugged after this: their events have no guest any more to go to.
        Machine.IsHeld = true;
        _memory.Clear();
    }

    private ulong RangeEnd(ulong start) => start + (ulong)(Machine.Pci.BarSize - 1);

    private bool TryCreate(out string error)
    {
        if (!_server.TryCreate(out error)) return false;
        // QEMU runs before us where an operator starts us, and after us where the wrapper does: see CheckSlot.
        if (SlotProbe.IsTaken(_domain, _server.Id, _options.Slot))
        {
            error = $"QEMU has a device in PCI slot 0x{_options.Slot:x2}; name another slot (--controller xhci,slot=N)";
            _server.Close();
            return false;
        }

        int code = _domain.MapPciDevice(_server.Id, _options.Slot);
        if (code == 0) return true;
        error = $"map_pcidev of slot 0x{_options.Slot:x2}: error {code}";
        _server.Close();
        return false;
    }

    // A QEMU that was started after us has the higher server: the guest sees its device, and never asks for ours.
    private void CheckSlot(VirtualTime now)
    {
        _slotDue = VirtualTime.Never;
        if (_handler.WasLookedAt) return;
        if (SlotProbe.IsTaken(_domain, _server.Id, _options.Slot)) XenLog.SlotHidden(_log, _options.Slot);
        else if (++_slotChecks < XenLimits.SlotChecks) _slotDue = now.Plus(XenLimits.SlotCheckNanoseconds << _slotChecks);
    }

    private bool TryTakeOver()
    {
        if (_options.Records?.Load() is not { } record || record.Uuid != _domain.Uuid || record.DomainId != _domain.Id || record.Slot != _options.Slot) return false;
        if (!_server.TryTakeOver(record.Server, out string why))
        {
            XenLog.NotTakenOver(_log, why);
            return false;
        }

        int code = _domain.MapPciDevice(_server.Id, _options.Slot);
        if (code is not (0 or XenError.Exists)) XenLog.NotTakenOver(_log, $"map_pcidev: error {code}");
        TookOver = true;
        if (record.IsUnseen)
        {
            XenLog.TookOverUnseen(_log, _server.Id);
            return true;
        }

        XenLog.TookOver(_log, _server.Id);
        // Where the last move had got to is not known: the old range goes, and the restored function registers its own.
        if (record.RangeStart != 0 && record.RangeStart <= ulong.MaxValue - (ulong)Machine.Pci.BarSize)
            _domain.UnmapRange(_server.Id, record.RangeStart, RangeEnd(record.RangeStart));
        // The level may have changed since the record; the controller that comes back wants none.
        _interrupts.SetIntx(false);
        if (!Machine.Pci.TryRestore(record.Pci with { InterruptLevel = false }, out why)) XenLog.NotTakenOver(_log, why);
        Machine.Enter();
        Machine.Controller.HostBusChanged();
        Machine.Controller.StateLost();
        return true;
    }

    private void Work()
    {
        if (Machine.NextDeadline <= Machine.Now) Machine.Step(XenLimits.StepRounds);
    }

    private void PassTime() => Machine.PassTime(_loop.Now);

    // The guest's vCPUs go on already; now what they asked for may cost time.
    private void Settle()
    {
        if (_handler.FunctionChanged)
        {
            _handler.FunctionChanged = false;
            _recordStale = true;
        }

        _memory.Settle();
        if (_interrupts.Error != 0)
        {
            Note(_interrupts.Error);
            if (_interrupts.Error != XenError.NoDomain && _budget.TryTake(_loop.Now, out long suppressed))
                XenLog.InterruptRefused(_log, _interrupts.Error, XenLog.More(suppressed));
            _interrupts.Error = 0;
        }

        if (_server.DomainGone || _memory.DomainGone) End();
    }

    private void SaveRecord()
    {
        _recordStale = false;
        if (_options.Records is null) return;
        _recordDue = _loop.Now.Plus(XenLimits.RecordPeriodNanoseconds);
        var record = new TakeOverRecord(_domain.Uuid, _domain.Id, _server.Id, _options.Slot, _range, Machine.Pci.Capture()) { IsUnseen = !_started };
        if (!_options.Records.Save(record) && _budget.TryTake(_loop.Now, out long suppressed)) XenLog.RecordNotWritten(_log, XenLog.More(suppressed));
    }

    private void Note(int error)
    {
        if (error == XenError.NoDomain) End();
    }

    private void CheckDomain()
    {
        if (!_domain.IsAlive()) End();
    }

    private void End()
    {
        if (IsGone) return;
        IsGone = true;
        XenLog.DomainGone(_log);
        Gone?.Invoke();
    }

    private sealed class ReleaseSource(XenHost host) : ILoopSource
    {
        public void Ready(LoopEvents events) => host.CheckDomain();
    }
}
