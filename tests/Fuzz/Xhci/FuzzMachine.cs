using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>
/// The host half: one controller on its road, made anew for every case, with an oracle around every entry into the model.
/// Everything the guest could see goes into <see cref="Hash"/>.
/// </summary>
public sealed class FuzzMachine : IInterruptSink, IPciHost
{
    public const int Connectors = 4;
    public const int Slots = 8;
    public const int Interrupters = 4;

    /// <summary>Where the guest puts the BAR.</summary>
    public const ulong BarAddress = 0xe000_0000;

    /// <summary>
    /// Accesses to guest memory in one register or configuration access: 30 port events and the wrap event of two accesses
    /// each, and four event rings' tables; rings are not walked there.
    /// </summary>
    public const long RegisterWork = 256;

    /// <summary>
    /// Accesses to guest memory in one Advance of controller or pipeline: XhciLimits' 8192 TRBs, each with one event and its
    /// context, and 4 MiB of data in packets of 64 bytes; tiny packets are bounded by <see cref="StepBytes"/> alone.
    /// </summary>
    public const long StepWork = 400_000;

    /// <summary>Bytes of guest memory handed out in one Advance: XhciLimits.BytesPerAdvance for each way, twice for devices that copy.</summary>
    public const long StepBytes = 64L << 20;

    /// <summary>Managed bytes allocated in one entry. Pools grow in it, so it is not 0; XhciLimits bound them to some 20 MiB.</summary>
    public const long StepAllocation = 24L << 20;

    /// <summary>A case ends after so many accesses: it has had its share of the time.</summary>
    public const long CaseWork = 40_000;

    /// <summary>Rounds in which the model is due and touches nothing: more is a loop.</summary>
    private const int IdleRounds = 64;

    private static readonly XhciOptions Options = new(Connectors, Connectors, Slots, Interrupters);

    private readonly FuzzMemory _memory;
    private readonly FaultLogger _logger = new();
    private long _workBefore;
    private long _bytesBefore;
    private long _allocatedBefore;
    private int _idle;

    public FuzzMachine(FuzzMemory memory)
    {
        _memory = memory;
        Build();
    }

    public UsbPipeline Pipeline { get; private set; } = null!;

    public XhciController Controller { get; private set; } = null!;

    public PciFunction Pci { get; private set; } = null!;

    public VirtualTime Now { get; private set; }

    public ulong Hash { get; private set; } = 14695981039346656037;

    public bool Intx { get; private set; }

    public long Messages { get; private set; }

    /// <summary>The case has used up its share.</summary>
    public bool IsSpent => _memory.Accesses > CaseWork || _memory.BytesGranted > StepBytes;

    /// <summary>The model wants to act now.</summary>
    public bool IsDue => Controller.NextDeadline <= Now || Pipeline.NextDeadline <= Now;

    /// <summary>Most accesses in one Advance so far, for the statement of the bound.</summary>
    [field: ThreadStatic]
    public static long MostStepWork { get; private set; }

    [field: ThreadStatic]
    public static long MostRegisterWork { get; private set; }

    public void Absorb(ulong value) => Hash = unchecked((Hash ^ value) * 1099511628211);

    /// <summary>A register for the fuzzer's own eyes; not part of the outputs.</summary>
    public uint Peek(int offset) => (uint)Pci.ReadBar(0, (ulong)offset, 4);

    public ulong ReadBar(ulong offset, int size)
    {
        Enter();
        ulong value = Pci.ReadBar(0, offset, size);
        Leave(RegisterWork, "a register read");
        Absorb(value);
        return value;
    }

    public void WriteBar(ulong offset, int size, ulong value)
    {
        Enter();
        Pci.WriteBar(0, offset, size, value);
        Leave(RegisterWork, "a register write");
    }

    public ulong ReadConfig(int offset, int size)
    {
        Enter();
        ulong value = Pci.ReadConfig(offset, size);
        Leave(RegisterWork, "a configuration read");
        Absorb(value);
        return value;
    }

    public void WriteConfig(int offset, int size, ulong value)
    {
        Enter();
        Pci.WriteConfig(offset, size, value);
        _memory.Forbidden = !Pci.DmaAllowed;
        Controller.HostBusChanged();
        Leave(RegisterWork, "a configuration write");
    }

    /// <summary>One round, as a host makes it. False when nothing is due any more.</summary>
    public bool Round()
    {
        long before = _memory.Accesses;
        Enter();
        Controller.Advance(Now);
        Leave(StepWork, "a step of the controller");
        Enter();
        Pipeline.Advance(Now);
        Leave(StepWork, "a step of the pipeline");
        if (!IsDue)
        {
            _idle = 0;
            return false;
        }

        _idle = _memory.Accesses == before ? _idle + 1 : 0;
        if (_idle > IdleRounds) throw new OracleException("livelock", $"due for {IdleRounds} rounds without touching anything");
        return true;
    }

    /// <summary>Up to <paramref name="rounds"/> rounds at the present instant.</summary>
    public void Step(int rounds)
    {
        for (int i = 0; i < rounds && Round() && !IsSpent; i++)
        {
        }
    }

    /// <summary>Passes time, stopping at up to <paramref name="stops"/> deadlines on the way.</summary>
    public void Advance(ulong nanoseconds, int stops)
    {
        VirtualTime end = Now.Plus(Math.Min(nanoseconds, (ulong.MaxValue / 4) - Math.Min(Now.Nanoseconds, ulong.MaxValue / 4)));
        Step(4);
        for (int i = 0; i < stops && !IsSpent; i++)
        {
            VirtualTime next = VirtualTime.Min(Controller.NextDeadline, Pipeline.NextDeadline);
            if (next >= end) break;
            if (next > Now) Now = next;
            Step(4);
        }

        Now = end;
        Step(4);
    }

    public AttachResult Attach(int connector, IUsbDevice device)
    {
        Enter();
        AttachResult result = Pipeline.Attach(new PortNumber(connector), device);
        Leave(RegisterWork, "an attach");
        return result;
    }

    public IUsbDevice? Detach(int connector)
    {
        Enter();
        IUsbDevice? device = Pipeline.Detach(new PortNumber(connector));
        Leave(StepWork, "a detach");
        return device;
    }

    /// <summary>Something of the host's (a device's completion, a key) enters the model.</summary>
    public void FromOutside(Action action)
    {
        ArgumentNullException.ThrowIfNull(action);
        Enter();
        action();
        Leave(StepWork, "a call from outside");
    }

    /// <summary>Puts back what the function was.</summary>
    public bool TryRestorePci(PciStateV1 state, out string error)
    {
        bool ok = Pci.TryRestore(state, out error);
        _memory.Forbidden = !Pci.DmaAllowed;
        return ok;
    }

    /// <summary>A new pipeline, controller and function; the old ones are forgotten (restore into another process).</summary>
    public void Build()
    {
        _memory.Forbidden = true;
        var bus = new BusMasterMemory(_memory);
        Pipeline = new UsbPipeline(Connectors, bus);
        Controller = new XhciController(Options, Pipeline, bus, _logger);
        Pci = new PciFunction(this, this, PciIdentity.XhciDefault, Controller);
        bus.Function = Pci;
        Controller.ConnectBus(Pci);
        Pipeline.NoteTime(Now);
        Controller.NoteTime(Now);
    }

    public string Inspect()
    {
        var writer = new InspectWriter();
        writer.Child("pci", Pci);
        writer.Child("xhci", Controller);
        writer.Child("pipeline", Pipeline);
        return writer.Render();
    }

    void IInterruptSink.SetIntx(bool asserted)
    {
        Intx = asserted;
        Absorb(asserted ? 3u : 2u);
    }

    void IInterruptSink.SendMessage(in InterruptMessage message)
    {
        Messages++;
        Absorb(((ulong)message.Kind << 40) | ((ulong)message.Vector << 32) | message.Data);
        Absorb(message.Address);
    }

    void IPciHost.BarMoved(int bar, ulong address, bool enabled) => Absorb(address | (enabled ? 1u : 0));

    void IPciHost.PowerManagementEvent(bool asserted) => Absorb(asserted ? 5u : 4u);

    private void Enter()
    {
        Pipeline.NoteTime(Now);
        Controller.NoteTime(Now);
        _workBefore = _memory.Accesses;
        _bytesBefore = _memory.BytesGranted;
        _allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
    }

    private void Leave(long workLimit, string what)
    {
        long work = _memory.Accesses - _workBefore;
        long allocated = GC.GetAllocatedBytesForCurrentThread() - _allocatedBefore;
        bool isRegister = workLimit == RegisterWork;
        // Memory in runs of a few bytes takes as many accesses for one TRB as it has runs; bytes are bounded below all the same.
        if (_memory.RunLimit is > 0 and < XenUsbDm.Frontends.Xhci.Trb.Size) workLimit *= (XenUsbDm.Frontends.Xhci.Trb.Size + _memory.RunLimit - 1) / _memory.RunLimit;
        if (isRegister) MostRegisterWork = Math.Max(MostRegisterWork, work);
        else MostStepWork = Math.Max(MostStepWork, work);
        if (_memory.Violation is { } violation) throw new OracleException("mapped", $"{violation} in {what}");
        if (Controller.Faults != 0) throw new OracleException("exception", $"contained in {what}: {_logger.Exception}");
        if (work > workLimit) throw new OracleException("work", $"{work} accesses to guest memory in {what}, {workLimit} are allowed");
        if (_memory.BytesGranted - _bytesBefore > StepBytes) throw new OracleException("work", $"{_memory.BytesGranted - _bytesBefore} bytes of guest memory in {what}");
        if (allocated > StepAllocation) throw new OracleException("memory", $"{allocated} bytes allocated in {what}");
    }

    /// <summary>Keeps the exception that the controller's barrier contained.</summary>
    private sealed class FaultLogger : ILogger
    {
        public Exception? Exception { get; private set; }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Exception ??= exception;
    }
}
