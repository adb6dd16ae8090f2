using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.InProcess;

// InProcess/ is the host whose guest lives in the same process: tests, the fuzzer, the benchmarks and `demo`. It shows
// in one place what every host does: compose, forward accesses, hand time in, walk from deadline to deadline.

/// <summary>What an in-process machine is made of.</summary>
public sealed record InProcessOptions
{
    /// <summary>The controller.</summary>
    public XhciOptions Xhci { get; init; } = new();

    /// <summary>What the PCI function says it is.</summary>
    public PciIdentity Identity { get; init; } = PciIdentity.XhciDefault;

    /// <summary>Bytes of memory from address 0, whole pages.</summary>
    public int LowMemory { get; init; } = 32 << 20;

    /// <summary>Bytes of memory from 4 GiB on, whole pages.</summary>
    public int HighMemory { get; init; }

    /// <summary>Messages of the model.</summary>
    public ILogger? Logger { get; init; }
}

/// <summary>One controller with memory, PCI function, pipeline and a virtual clock. Nothing happens but by its members, on the caller's thread.</summary>
public sealed partial class InProcessMachine : IInterruptSink, IPciHost, IInspectable
{
    /// <summary>Most rounds of one <see cref="Step"/>: a model that still has work due then is taken to be in a loop.</summary>
    public const int StepRounds = 100_000;

    // What passes when a step ran into its bound, so that the caller's timeout still comes.
    private const ulong BoundNanoseconds = 1_000;

    private readonly XhciMachine _machine;
    private readonly long[] _msix = new long[16];
    private readonly long[] _msi = new long[32];

    /// <summary>Makes a machine as after power-on, with nothing attached.</summary>
    public InProcessMachine(InProcessOptions? options = null)
    {
        Options = options ?? new InProcessOptions();
        Memory = new InProcessMemory(Options.LowMemory, Options.HighMemory);
        _machine = new XhciMachine(Options.Xhci, Options.Identity, Memory, this, this, Options.Logger);
    }

    /// <summary>What it was made of.</summary>
    public InProcessOptions Options { get; }

    /// <summary>The guest's memory.</summary>
    public InProcessMemory Memory { get; }

    /// <summary>What it is composed of, for the control side.</summary>
    public XhciMachine Machine => _machine;

    /// <summary>The road to the devices.</summary>
    public UsbPipeline Pipeline => _machine.Pipeline;

    /// <summary>The controller.</summary>
    public XhciController Controller => _machine.Controller;

    /// <summary>The PCI function in front of it.</summary>
    public PciFunction Pci => _machine.Pci;

    /// <summary>The machine's instant.</summary>
    public VirtualTime Now => _machine.Now;

    /// <summary>
    /// Delivers completions from outside the model (file I/O of the slow lane), waiting for one when some are outstanding;
    /// false when none are. Called when the model has nothing due, before time passes, so real I/O takes no virtual time.
    /// </summary>
    public Func<bool>? Pump { get; set; }

    /// <summary>Steps that ran into <see cref="StepRounds"/>.</summary>
    public long BoundHits { get; private set; }

    /// <summary>Rounds of all steps.</summary>
    public long Rounds => _machine.Rounds;

    /// <summary>The level of INTx.</summary>
    public bool IntxAsserted { get; private set; }

    /// <summary>Times INTx was asserted.</summary>
    public long IntxCount { get; private set; }

    /// <summary>Messages sent, in all.</summary>
    public long MessageCount { get; private set; }

    /// <summary>The last message sent.</summary>
    public InterruptMessage LastMessage { get; private set; }

    /// <summary>Messages since <see cref="TakeMessages"/>: bit N for message data N (modulo 64).</summary>
    public ulong PendingMessages { get; private set; }

    /// <summary>Level of PME#.</summary>
    public bool PowerManagementEventAsserted { get; private set; }

    /// <summary>When the model wants to act next.</summary>
    public VirtualTime NextDeadline => _machine.NextDeadline;

    /// <summary>Messages sent on an MSI-X vector, 0-15.</summary>
    public long MsiXCount(int vector) => _msix[vector];

    /// <summary>Messages sent on an MSI vector, 0-31.</summary>
    public long MsiCount(int vector) => _msi[vector];

    /// <summary>Takes the pending messages.</summary>
    public ulong TakeMessages()
    {
        ulong taken = PendingMessages;
        PendingMessages = 0;
        return taken;
    }

    /// <summary>The guest reads 1 to 8 bytes of configuration space.</summary>
    public ulong ReadConfig(int offset, int size) => _machine.ReadConfig(offset, size);

    /// <summary>The guest writes 1 to 8 bytes of configuration space.</summary>
    public void WriteConfig(int offset, int size, ulong value) => _machine.WriteConfig(offset, size, value);

    /// <summary>Bus reset: function and controller as after power-on; devices stay plugged in.</summary>
    public void Reset() => _machine.Reset();

    /// <summary>The guest reads 1 to 8 bytes of BAR 0, by offset.</summary>
    public ulong ReadBar(ulong offset, int size) => _machine.ReadBar(offset, size);

    /// <summary>The guest writes 1 to 8 bytes of BAR 0, by offset.</summary>
    public void WriteBar(ulong offset, int size, ulong value) => _machine.WriteBar(offset, size, value);

    /// <summary>Reads 32 bits of BAR 0.</summary>
    public uint ReadBar32(int offset) => (uint)ReadBar((ulong)offset, 4);

    /// <summary>Writes 32 bits of BAR 0.</summary>
    public void WriteBar32(int offset, uint value) => WriteBar((ulong)offset, 4, value);

    /// <summary>The guest reads a physical address: BAR 0 where it is mapped, else all ones.</summary>
    public ulong ReadMmio(ulong address, int size)
    {
        BarMapping bar = Pci.BarMapping;
        return bar.Enabled && address >= bar.Address && address - bar.Address < (ulong)Pci.BarSize
            ? ReadBar(address - bar.Address, size)
            : ulong.MaxValue >> (64 - (8 * size));
    }

    /// <summary>The guest writes a physical address.</summary>
    public void WriteMmio(ulong address, int size, ulong value)
    {
        BarMapping bar = Pci.BarMapping;
        if (bar.Enabled && address >= bar.Address && address - bar.Address < (ulong)Pci.BarSize)
            WriteBar(address - bar.Address, size, value);
    }

    /// <summary>Plugs a device into a connector.</summary>
    public AttachResult Attach(int connector, IUsbDevice device) => _machine.Attach(new PortNumber(connector), device);

    /// <summary>Unplugs a connector's device; null when there was none.</summary>
    public IUsbDevice? Detach(int connector) => _machine.Detach(new PortNumber(connector));

    /// <summary>Lets everything that is due now happen. False when <see cref="StepRounds"/> was not enough.</summary>
    public bool Step()
    {
        bool settled = _machine.Step(StepRounds);
        if (!settled) BoundHits++;
        return settled;
    }

    /// <summary>Passes time up to <paramref name="end"/>, stopping at every deadline on the way.</summary>
    public void AdvanceTo(VirtualTime end) => RunUntil(null, end);

    /// <summary>Passes time.</summary>
    public void AdvanceBy(ulong nanoseconds) => RunUntil(null, Now.Plus(nanoseconds));

    /// <summary>Runs until <paramref name="condition"/> holds; false when that took longer than <paramref name="timeoutNanoseconds"/> of virtual time.</summary>
    public bool RunUntil(Func<bool> condition, ulong timeoutNanoseconds)
    {
        ArgumentNullException.ThrowIfNull(condition);
        return RunUntil(condition, Now.Plus(timeoutNanoseconds));
    }

    /// <inheritdoc/>
    public void SetIntx(bool asserted)
    {
        if (asserted) IntxCount++;
        IntxAsserted = asserted;
    }

    /// <inheritdoc/>
    public void SendMessage(in InterruptMessage message)
    {
        MessageCount++;
        LastMessage = message;
        PendingMessages |= 1UL << (int)(message.Data & 63);
        long[] counts = message.Kind == MessageKind.MsiX ? _msix : _msi;
        if ((uint)message.Vector < (uint)counts.Length) counts[message.Vector]++;
    }

    /// <inheritdoc/>
    public void BarMoved(int bar, ulong address, bool enabled)
    {
        // The window is looked up on every access (ReadMmio).
    }

    /// <inheritdoc/>
    public void PowerManagementEvent(bool asserted) => PowerManagementEventAsserted = asserted;

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        _machine.Inspect(writer);
    }

    private bool RunUntil(Func<bool>? condition, VirtualTime end)
    {
        while (true)
        {
            bool settled = Step();
            if (condition is not null && condition()) return true;
            if (Pump is not null && Pump()) continue;
            if (Now >= end) return condition is null;
            VirtualTime next = VirtualTime.Min(NextDeadline, end);
            if (!settled || next <= Now) next = VirtualTime.Min(Now.Plus(BoundNanoseconds), end);
            _machine.PassTime(next);
        }
    }
}
