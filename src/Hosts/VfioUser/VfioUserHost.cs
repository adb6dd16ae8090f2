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

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>What a vfio-user host is made of.</summary>
public sealed record VfioUserOptions
{
    /// <summary>The controller.</summary>
    public XhciOptions Xhci { get; init; } = new();

    /// <summary>What the PCI function says it is.</summary>
    public PciIdentity Identity { get; init; } = PciIdentity.XhciDefault;

    /// <summary>Announce write_multiple. Off: QEMU before 10.2 queues every posted write once it is announced. Such messages are always taken.</summary>
    public bool OfferWriteMultiple { get; init; }

    /// <summary>Messages of host and model.</summary>
    public ILogger? Logger { get; init; }
}

/// <summary>
/// Serves one vfio-user client at a time; further ones wait in the listener's queue. The machine outlives its clients:
/// when one goes, memory is unmapped and descriptors are closed, the machine stands still, and goes on with the next
/// client's first access to the device.
/// </summary>
public sealed class VfioUserHost : ITimed, ILoopSource, IPciHost, IInspectable, ISessionHost, IDisposable
{
    private readonly IEventLoop _loop;
    private readonly IVfioSystem _system;
    private readonly IClientListener? _listener;
    private readonly ILoopWatch? _listenerWatch;
    private readonly VfioMemory _memory = new();
    private readonly VfioInterrupts _interrupts;
    private readonly VfioUserDevice _device;
    private readonly VfioUserOptions _options;
    private readonly ILogger _log;
    private readonly LogBudget _budget = new();
    private ClientSession? _session;
    private VirtualTime _pausedUntil = VirtualTime.Never; // While the machine is held: Never until a client touches the device.
    private VirtualTime _acceptAgain = VirtualTime.Never; // Never unless a client could not be taken.
    private long _lostMappings;
    private long _clients;

    /// <summary>
    /// Makes a host whose clients come from <paramref name="listener"/>, which becomes its own, or (null) from
    /// <see cref="Accept"/> alone.
    /// </summary>
    public VfioUserHost(IEventLoop loop, IVfioSystem system, IClientListener? listener = null, VfioUserOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(system);
        _loop = loop;
        _system = system;
        _lostMappings = system.LostMappings;
        _options = options ?? new VfioUserOptions();
        _log = _options.Logger ?? NullLogger.Instance;
        _interrupts = new VfioInterrupts(system, loop);
        Machine = new XhciMachine(_options.Xhci, _options.Identity, _memory, _interrupts, this, _options.Logger);
        Machine.IsHeld = true;
        _device = new VfioUserDevice(system, Machine, _memory, _interrupts);
        _listener = listener;
        _listenerWatch = listener is null ? null : loop.Watch(listener.Handle, LoopEvents.Readable, this);
    }

    /// <summary>The machine.</summary>
    public XhciMachine Machine { get; }

    /// <summary>A client is connected.</summary>
    public bool HasClient => _session is not null;

    /// <summary>The machine stands still: no client, one that has not touched the device yet, or memory is being moved about.</summary>
    public bool IsPaused => Machine.IsHeld;

    /// <inheritdoc/>
    public VirtualTime NextDeadline => VirtualTime.Min(_acceptAgain, IsPaused ? _pausedUntil : Machine.NextDeadline);

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        Machine.PassTime(now);
        if (Machine.IsHeld && _pausedUntil <= Machine.Now) Machine.IsHeld = false;
        if (!IsPaused && Machine.NextDeadline <= Machine.Now) Machine.Step(VfioUserLimits.StepRounds);
        if (_system.LostMappings != _lostMappings) CheckMemory();
        if (_acceptAgain <= now) AcceptAgain();
    }

    /// <summary>Takes a connected client. False, and the socket is closed, when there is one.</summary>
    public bool Accept(IClientSocket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        if (_session is not null)
        {
            socket.Dispose();
            return false;
        }

        _clients++;
        _session = new ClientSession(socket, _loop, _device, this, _options.OfferWriteMultiple);
        if (_listenerWatch is not null) _listenerWatch.Interest = LoopEvents.None;
        if (_budget.TryTake(_loop.Now, out long suppressed)) VfioUserLog.Connected(_log, suppressed);
        return true;
    }

    /// <inheritdoc/>
    void ILoopSource.Ready(LoopEvents events)
    {
        if (_session is not null || _listener is null || _listenerWatch is null) return;
        if (_listener.Accept() is { } socket)
        {
            Accept(socket);
            return;
        }

        // It still waits, so the loop would come here again and again.
        _listenerWatch.Interest = LoopEvents.None;
        _acceptAgain = _loop.Now.Plus(VfioUserLimits.AcceptPauseNanoseconds);
        if (_budget.TryTake(_loop.Now, out long suppressed)) VfioUserLog.NotAccepted(_log, suppressed);
    }

    /// <inheritdoc/>
    void ISessionHost.BeforeCommand(VfioUserCommand command)
    {
        Machine.PassTime(_loop.Now);
        if (_pausedUntil != VirtualTime.Never || !VfioUserDevice.TouchesDevice(command)) return;
        _pausedUntil = VirtualTime.Zero;
        Machine.IsHeld = false;
    }

    /// <inheritdoc/>
    /// <remarks>
    /// What the command set in motion is done by <see cref="Advance"/>, which the loop calls when the session has handled what
    /// it read: a guest's driver reads a register right after it rang a doorbell, and its processor waits for that reply, not
    /// for the transfer. A controller on a bus answers reads in the middle of its work too.
    /// </remarks>
    void ISessionHost.AfterCommand(VfioUserCommand command, int error)
    {
        if (error != 0 && _budget.TryTake(_loop.Now, out long suppressed)) VfioUserLog.Refused(_log, command, error, VfioUserError.Describe(error), suppressed);
        if (command == VfioUserCommand.DmaUnmap && _pausedUntil != VirtualTime.Never)
        {
            _pausedUntil = Machine.Now.Plus(VfioUserLimits.UnmapPauseNanoseconds);
            Machine.IsHeld = true;
        }
    }

    /// <inheritdoc/>
    void ISessionHost.End(ClientSession session, string why)
    {
        if (!ReferenceEquals(session, _session)) return;
        if (_budget.TryTake(_loop.Now, out long suppressed)) VfioUserLog.Ended(_log, why, session.Commands, session.Errors, suppressed);
        Disconnect();
    }

    /// <inheritdoc/>
    void IPciHost.BarMoved(int bar, ulong address, bool enabled)
    {
        // The client routes accesses by itself.
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        using (writer.Node("vfio-user"))
        {
            writer.Flag("client", HasClient);
            writer.Flag("paused", IsPaused);
            writer.Number("clients", _clients);
            writer.Number("commands", _session?.Commands ?? 0);
            writer.Number("posted", _session?.Posted ?? 0);
            writer.Number("refused", _session?.Errors ?? 0);
            writer.Child("memory", _memory);
            writer.Child("interrupts", _interrupts);
        }

        Machine.Inspect(writer);
    }

    /// <summary>Ends the client, if any, and stops listening.</summary>
    public void Dispose()
    {
        Disconnect();
        _listenerWatch?.Dispose();
        _listener?.Dispose();
    }

    private void AcceptAgain()
    {
        _acceptAgain = VirtualTime.Never;
        if (_session is null && _listenerWatch is not null) _listenerWatch.Interest = LoopEvents.Readable;
    }

    private void CheckMemory()
    {
        _lostMappings = _system.LostMappings;
        if (_session is { } session && _memory.IsLost) ((ISessionHost)this).End(session, "the client made the guest's memory shorter while it was shared, and is dropped for that");
    }

    private void Disconnect()
    {
        _pausedUntil = VirtualTime.Never;
        Machine.IsHeld = true;
        _session?.Dispose();
        _session = null;
        _memory.Clear();
        _interrupts.Clear();
        if (_listenerWatch is not null) _listenerWatch.Interest = LoopEvents.Readable;
    }
}
