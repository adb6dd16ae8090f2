using System;
using System.Collections.Generic;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.Machine;

// Machine/ is what every host composes: controller, PCI function, pipeline, and the order in which they are entered. A
// host brings guest memory, a place for interrupts, the client's accesses and time.

/// <summary>
/// One xHCI controller as a PCI function, with its pipeline. Every entry notes the machine's instant first, so a host
/// calls <see cref="PassTime"/> and then whatever happened. Nothing happens by itself.
/// </summary>
public sealed class XhciMachine : ITimed, IInspectable
{
    private readonly List<ICompletionSource> _completions = [];
    private bool _held;

    /// <summary>Makes a machine as after power-on, with nothing attached.</summary>
    public XhciMachine(XhciOptions options, PciIdentity identity, IGuestMemory memory, IInterruptSink interrupts, IPciHost host, ILogger? logger = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        var bus = new BusMasterMemory(memory);
        Pipeline = new UsbPipeline(options.Connectors, bus, logger);
        Controller = new XhciController(options, Pipeline, bus, logger);
        Pci = new PciFunction(interrupts, host, identity, Controller);
        bus.Function = Pci;
        Controller.ConnectBus(new HeldBus(this));
    }

    /// <summary>The road to the devices.</summary>
    public UsbPipeline Pipeline { get; }

    /// <summary>The controller.</summary>
    public XhciController Controller { get; }

    /// <summary>The PCI function in front of it.</summary>
    public PciFunction Pci { get; }

    /// <summary>The machine's instant.</summary>
    public VirtualTime Now { get; private set; }

    /// <summary>
    /// Guest memory is away for now (no client, or it is being moved about): the controller takes up no work and holds its
    /// events back, as without Bus Master Enable. The host does not step the machine meanwhile. Set to false, it goes on.
    /// </summary>
    public bool IsHeld
    {
        get => _held;
        set
        {
            if (value == _held) return;
            _held = value;
            Enter();
            Controller.HostBusChanged();
        }
    }

    /// <summary>Rounds of all <see cref="Step"/>s.</summary>
    public long Rounds { get; private set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            foreach (ICompletionSource source in _completions)
            {
                if (source.IsReady) return Now;
            }

            return VirtualTime.Min(Controller.NextDeadline, Pipeline.NextDeadline);
        }
    }

    /// <summary>Sets the instant of what follows; an earlier one than the last is taken as the last.</summary>
    public void PassTime(VirtualTime now)
    {
        if (now > Now) Now = now;
    }

    /// <summary>Completions that are delivered before each step, until <see cref="RemoveCompletions"/>.</summary>
    public void AddCompletions(ICompletionSource source) => _completions.Add(source);

    /// <summary>Delivers nothing of <paramref name="source"/> any more.</summary>
    public void RemoveCompletions(ICompletionSource source) => _completions.Remove(source);

    /// <summary>The guest reads 1 to 8 bytes of configuration space.</summary>
    public ulong ReadConfig(int offset, int size) => Pci.ReadConfig(offset, size);

    /// <summary>The guest writes 1 to 8 bytes of configuration space.</summary>
    public void WriteConfig(int offset, int size, ulong value)
    {
        Enter();
        Pci.WriteConfig(offset, size, value);
        Controller.HostBusChanged();
    }

    /// <summary>
    /// Whether an access to BAR 0 shows the present instant or counts from it. Before any other one a host need not call
    /// <see cref="PassTime"/>.
    /// </summary>
    public bool DependsOnTime(ulong offset, int size, bool isWrite) =>
        offset < (ulong)Pci.BarSize && Controller.DependsOnTime((int)offset, size, isWrite);

    /// <summary>The guest reads 1 to 8 bytes of BAR 0, by offset.</summary>
    public ulong ReadBar(ulong offset, int size)
    {
        Enter();
        return Pci.ReadBar(0, offset, size);
    }

    /// <summary>The guest writes 1 to 8 bytes of BAR 0, by offset.</summary>
    public void WriteBar(ulong offset, int size, ulong value)
    {
        Enter();
        Pci.WriteBar(0, offset, size, value);
    }

    /// <summary>Bus reset: function and controller as after power-on; devices stay plugged in.</summary>
    public void Reset()
    {
        Enter();
        Pci.Reset();
        Controller.Reset();
    }

    /// <summary>Plugs a device into a connector.</summary>
    public AttachResult Attach(PortNumber connector, IUsbDevice device)
    {
        Enter();
        return Pipeline.Attach(connector, device);
    }

    /// <summary>Unplugs a connector's device; null when there was none.</summary>
    public IUsbDevice? Detach(PortNumber connector)
    {
        Enter();
        return Pipeline.Detach(connector);
    }

    /// <summary>Notes the instant everywhere, for entries that do not come through this class.</summary>
    public void Enter()
    {
        Pipeline.NoteTime(Now);
        Controller.NoteTime(Now);
    }

    /// <summary>Lets everything that is due now happen, in at most <paramref name="rounds"/> rounds. False when more is due then.</summary>
    public bool Step(int rounds)
    {
        for (int round = 0; round < rounds; round++)
        {
            DeliverCompletions();
            Controller.Advance(Now);
            Pipeline.Advance(Now);
            Rounds++;
            if (NextDeadline > Now) return true;
        }

        return false;
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        PassTime(now);
        Step(1);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("now", (long)Math.Min(Now.Nanoseconds, long.MaxValue));
        writer.Child("pci", Pci);
        writer.Child("xhci", Controller);
        writer.Child("pipeline", Pipeline);
    }

    private void DeliverCompletions()
    {
        if (_completions.Count == 0) return;
        Enter();
        foreach (ICompletionSource source in _completions)
        {
            if (source.IsReady) source.Deliver();
        }
    }

    private sealed class HeldBus(XhciMachine machine) : IHostBus
    {
        public bool DmaAllowed => !machine._held && machine.Pci.DmaAllowed;

        public bool MessagesEnabled => machine.Pci.MessagesEnabled;

        public void SendMessage(int interrupter) => machine.Pci.SendMessage(interrupter);

        public void SetLevel(bool asserted) => machine.Pci.SetLevel(asserted);

        public void SignalPowerManagementEvent() => machine.Pci.SignalPowerManagementEvent();
    }
}
