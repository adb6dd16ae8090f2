using System;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci.Commands;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Frontends.Xhci.Transfers;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Frontends.Xhci;

// The folder's first file.
//
//   MMIO ---> Registers ---> IRegisterEffects (this class) --doorbell--> Commands/CommandRing     (commands, one at a time)
//                |                                          '----------> Transfers/TransferEngine (transfers, many)
//                |                                                          |  TdFetcher: TRBs -> Transfer (one UsbRequest)
//             Ports, Interrupters                                           v
//                ^                                                       UsbPipeline ... device
//                |                                                          |
//                '---- events, interrupts <--- TdRetirer: result -> events <'  IUsbFrontend.Completed (this class)
//
// Slots/ holds the state of devices and endpoints, Contexts/ and Trb.cs the wire structures, Rings/ the one ring walker.
// A register access does bounded work and returns; rings are walked in Advance, under XhciLimits' budgets. The model keeps
// no clock and no thread: the same calls in the same order give the same guest memory, events and interrupts.

/// <summary>
/// An xHCI 1.2 host controller as a synchronous, deterministic object: register accesses, completions and time go in;
/// guest memory writes, requests and interrupts come out.
/// </summary>
public sealed partial class XhciController : IMemoryBar, ITimed, IInspectable, IUsbFrontend, IRegisterEffects
{
    private readonly LateBus _bus = new();
    private readonly XhciOptions _options;
    private readonly UsbPipeline _pipeline;
    private readonly XhciRegisters _registers;
    private readonly Interrupters _interrupters;
    private readonly RootPorts _ports;
    private readonly TransferEngine _engine;
    private readonly DeviceSlots _slots;
    private readonly Bandwidth _bandwidth = new();
    private readonly CommandRing _commands;
    private readonly XhciLog _log;

    /// <summary>Makes a controller in its reset state, with <paramref name="pipeline"/>'s ports as its connectors.</summary>
    public XhciController(XhciOptions options, UsbPipeline pipeline, IGuestMemory memory, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(pipeline);
        ArgumentNullException.ThrowIfNull(memory);
        _options = options;
        _pipeline = pipeline;
        ILogger log = logger ?? NullLogger.Instance;
        _log = new XhciLog(log);
        _interrupters = new Interrupters(options.Interrupters, memory, _bus);
        _ports = new RootPorts(options, pipeline, _interrupters);
        _registers = new XhciRegisters(options, _interrupters, _ports, this, log);
        _engine = new TransferEngine(this, memory, pipeline, _registers, _interrupters);
        _slots = new DeviceSlots(options.Slots, memory, _registers, _engine);
        var context = new CommandContext(this, memory, _slots, _engine, _ports, _bandwidth, pipeline, options.Interrupters);
        _commands = new CommandRing(context, options, _registers, _interrupters);
        pipeline.Connect(this);
    }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            VirtualTime next = VirtualTime.Min(_ports.NextDeadline, VirtualTime.Min(_interrupters.NextDeadline, _registers.NextDeadline));
            if (!CanWork) return next;
            if (_commands.IsReady || _engine.HasReady) return _registers.Now;
            return VirtualTime.Min(next, _engine.NextDeadline);
        }
    }

    /// <summary>The controller runs and may touch guest memory.</summary>
    internal bool CanWork => _registers.Running && !_registers.IsDead && _bus.DmaAllowed;

    /// <summary>
    /// The instant of the host's current entry, for registers that show time (MFINDEX, IMOD). <see cref="Advance"/> notes it
    /// too; hosts do before every other entry. Never runs backwards.
    /// </summary>
    public void NoteTime(VirtualTime now)
    {
        if (now > _registers.Now) _registers.Now = now;
    }

    /// <summary>Names the PCI function, once, before the first access.</summary>
    public void ConnectBus(IHostBus bus) => _bus.Target = bus;

    /// <summary>Memory space, bus mastering, message enables or the power state changed (called by the host on the function's word).</summary>
    public void HostBusChanged() => Guarded(default, static (c, _) =>
    {
        c._registers.HostBusChanged();
        if (!c.CanWork) return;
        c._engine.Resume(c._slots);
        c._commands.Wake();
    });

    /// <summary>Conventional reset of the function: registers and all state as after power on; devices stay attached.</summary>
    public void Reset()
    {
        Guarded(default, static (c, _) =>
        {
            c._saved = null;
            c.ResetState(light: false);
            c._registers.Reset(chip: true);
        });
    }

    /// <summary>
    /// What the controller knew of the guest's devices is lost, while the guest believes it running (another process took
    /// over): host controller error (§4.24.1), which a driver ends with a reset.
    /// </summary>
    public void StateLost() => Guarded(default, static (c, _) => c.ControllerError("the state was lost with another process"));

    /// <summary>
    /// Whether an access to the registers shows the present instant (MFINDEX, IMOD) or sets something off that counts from
    /// it. Reads of other registers, and writes that only store or acknowledge, do not.
    /// </summary>
    public bool DependsOnTime(int offset, int size, bool isWrite) => _registers.DependsOnTime(offset, size, isWrite);

    /// <inheritdoc/>
    public ulong Read(int offset, int size)
    {
        try
        {
            return _registers.Read(offset, size);
        }
        catch (Exception e) when (Contain(e))
        {
            return ulong.MaxValue;
        }
    }

    /// <inheritdoc/>
    public void Write(int offset, int size, ulong value)
    {
        try
        {
            _registers.Write(offset, size, value);
        }
        catch (Exception e) when (Contain(e))
        {
            // Contained: the controller is in its error state, the process goes on.
        }
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        try
        {
            NoteTime(now);
            _ports.Advance(now);
            _interrupters.Advance(now);
            _registers.Advance(now);
            if (!CanWork) return;
            WorkBudget budget = WorkBudget.Full;
            // Transfers first: what was rung before a Stop Endpoint Command has begun when the command looks.
            _engine.Service(ref budget);
            _commands.Service(ref budget);
            if (_engine.HasReady) _engine.Service(ref budget);
        }
        catch (Exception e) when (Contain(e))
        {
            // As above.
        }
    }

    /// <inheritdoc/>
    public void Completed(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        try
        {
            if (!_commands.Completed(request)) _engine.Completed(request);
        }
        catch (Exception e) when (Contain(e))
        {
            // As above.
        }
    }

    /// <inheritdoc/>
    public void PortChanged(PortNumber port) => Guarded(port, static (c, p) => c._ports.PortChanged(p));

    /// <inheritdoc/>
    public void PortResetDone(PortNumber port) => Guarded(port, static (c, p) => c._ports.PortResetDone(p));

    /// <inheritdoc/>
    public void RemoteWake(PortNumber port) => Guarded(port, static (c, p) => c._ports.RemoteWake(p));

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Child("registers", _registers);
        writer.Child("interrupter", _interrupters);
        writer.Child("port", _ports);
        writer.Child("command-ring", _commands);
        writer.Child("slot", _slots);
        using (writer.Node("transfers"))
        {
            writer.Number("in-use", _engine.Pool.InUse);
            writer.Number("trb-records", _engine.Pool.Records);
        }
    }

    void IRegisterEffects.RunStopChanged(bool run)
    {
        if (run)
        {
            // Transfers that ended while the controller was halted are still to be reported.
            _engine.Resume(_slots);
            return;
        }

        _commands.Halt();
        _engine.Halt();
    }

    void IRegisterEffects.HostControllerReset() => ResetState(light: false);

    void IRegisterEffects.LightReset() => ResetState(light: true);

    void IRegisterEffects.CommandRingStop(bool abort) => _commands.Stop(abort);

    void IRegisterEffects.Doorbell(int index, uint value)
    {
        if (!_registers.Running || _registers.IsDead) return;
        int target = (int)(value & 0xff);
        if (index == 0)
        {
            if (target == 0) _commands.RingDoorbell();
            return;
        }

        // Reserved targets, slots that are not enabled and endpoints that are not there are ignored (§4.7; 0a076730ad).
        if (target is < 1 or > XhciLimits.Endpoints) return;
        if (_slots.FindEnabled(index)?[target] is { } endpoint) _engine.RingDoorbell(endpoint, (int)(value >> 16));
        else _log.DoorbellIgnored(_registers.Now, index, target);
    }

    void IRegisterEffects.EventRingMayHaveRoom(int interrupter)
    {
        // A Stop Endpoint Command may wait for room on the ring of any interrupter.
        _commands.Wake();
        _engine.UnparkAll();
    }

    /// <summary>An endpoint has nothing in flight any more; a command may wait for that.</summary>
    internal void WakeCommand()
    {
        if (_commands.IsWaiting) _commands.Wake();
    }

    /// <summary>Guest memory that the controller needs is not mapped: host system error (§4.10.2.6), reported with its cause.</summary>
    internal void SystemError(string what, GuestAddress address)
    {
        _log.HostSystemError(_registers.Now, what, address);
        _registers.RaiseHostSystemError();
    }

    /// <summary>The guest did what leaves no way on: host controller error (§4.24.1), until the guest resets the controller.</summary>
    internal void ControllerError(string why)
    {
        _log.HostControllerError(_registers.Now, why);
        _registers.RaiseHostControllerError();
    }

    private void ResetState(bool light)
    {
        _lostSinceSave = true;
        _slots.Clear();
        _engine.Clear();
        _commands.Reset();
        _bandwidth.Clear();
        _ports.Reset(light);
    }

    private void Guarded(PortNumber port, Action<XhciController, PortNumber> entry)
    {
        try
        {
            entry(this, port);
        }
        catch (Exception e) when (Contain(e))
        {
            // As in Write.
        }
    }

    // The single fault barrier around each entry point (STYLE P8): a defect of ours becomes HCE, which the guest can
    // see and reset; the process and its other devices go on. Tests and the fuzzer count these as failures.
    private bool Contain(Exception exception)
    {
        Faults++;
        _log.Fault(exception);
        _registers.RaiseHostControllerError();
        return true;
    }

    /// <summary>Exceptions contained so far; any is a defect of this program.</summary>
    public long Faults { get; private set; }

    private sealed class LateBus : IHostBus
    {
        public IHostBus? Target { get; set; }

        public bool DmaAllowed => Target is { DmaAllowed: true };

        public bool MessagesEnabled => Target is { MessagesEnabled: true };

        public void SendMessage(int interrupter) => Target?.SendMessage(interrupter);

        public void SetLevel(bool asserted) => Target?.SetLevel(asserted);

        public void SignalPowerManagementEvent() => Target?.SignalPowerManagementEvent();
    }
}
