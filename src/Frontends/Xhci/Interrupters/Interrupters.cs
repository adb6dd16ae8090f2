using System;
using System.Numerics;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// The interrupters of a controller (xHCI 1.2 §4.17): events go into their rings here, and interrupts come out, by message
/// or by pin. An event sets IPE unless it is blocked (BEI, §4.17.5); IPE sets IP once IMODC is 0 and EHB is 0 (§4.17.2);
/// IP is signalled when IE and INTE allow it. A message clears IP by itself (§4.17.3), a pin leaves that to software.
/// </summary>
internal sealed class Interrupters : ITimed, IInspectable
{
    private readonly IGuestMemory _memory;
    private readonly Interrupter[] _interrupters;
    private bool _interruptsEnabled;
    private bool _level;
    private bool _running;
    private bool _sending;

    // Positions in the event rings at the guest's last CSS; survives HCRST, ends with the next run.
    private EventRingStateV1[]? _savedRings;

    // One bit per interrupter that waits for IMODC to reach 0.
    private uint _moderated;

    /// <summary>Makes <paramref name="count"/> interrupters, 1-16.</summary>
    public Interrupters(int count, IGuestMemory memory, IHostBus bus)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(bus);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, 16);
        _memory = memory;
        Bus = bus;
        _interrupters = new Interrupter[count];
        for (int i = 0; i < count; i++) _interrupters[i] = new Interrupter();
    }

    /// <summary>Interrupters (MaxIntrs).</summary>
    public int Count => _interrupters.Length;

    /// <summary>The PCI function.</summary>
    public IHostBus Bus { get; }

    /// <summary>The instant of the current entry; set by <see cref="XhciRegisters.Now"/>.</summary>
    public VirtualTime Now { get; set; }

    /// <summary>The controller runs: events may be written (§4.2: software must not expect events of a halted controller).</summary>
    public bool Running
    {
        get => _running;
        set
        {
            _running = value;
            if (value) _savedRings = null;
        }
    }

    /// <summary>USBSTS.EINT: IP of some interrupter went from 0 to 1 (§5.4.2).</summary>
    public bool EventInterrupt { get; set; }

    /// <summary>Called when an event ring cannot be written: true for memory that is not there, false for a malformed segment table.</summary>
    public Action<bool>? Fault { get; set; }

    /// <summary>USBCMD.INTE.</summary>
    public bool InterruptsEnabled
    {
        get => _interruptsEnabled;
        set
        {
            if (_interruptsEnabled == value) return;
            _interruptsEnabled = value;
            SignallingChanged();
        }
    }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            VirtualTime next = VirtualTime.Never;
            for (uint left = _moderated; left != 0; left &= left - 1)
                next = VirtualTime.Min(next, _interrupters[BitOperations.TrailingZeroCount(left)].CounterEnds);
            return next;
        }
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        Now = now;
        bool pending = false;
        for (uint left = _moderated; left != 0; left &= left - 1) pending |= Evaluate(BitOperations.TrailingZeroCount(left));
        if (pending) UpdateLevel();
    }

    /// <summary>
    /// The interrupter that events for <paramref name="interrupter"/> go to. Without messages there is one pin, and
    /// interrupter mapping is off (§4.17.1): everything goes to interrupter 0, which macOS relies on (QEMU.md 1d). A number
    /// that does not exist goes there too.
    /// </summary>
    public int Target(int interrupter) => interrupter > 0 && interrupter < Count && Bus.MessagesEnabled ? interrupter : 0;

    /// <summary>Room for one ordinary event; the last slot is kept for Event Ring Full Error (§4.9.4).</summary>
    public bool HasRoom(int interrupter)
    {
        if (!Running || !Bus.DmaAllowed) return false;
        EventRingResult result = _interrupters[Target(interrupter)].Ring.CheckRoom(_memory);
        if (result is EventRingResult.Unmapped or EventRingResult.Malformed) Fault?.Invoke(result == EventRingResult.Unmapped);
        return result == EventRingResult.Posted;
    }

    /// <summary>
    /// Posts an event and raises its interrupt. False: the ring is full or not set up, or the controller may not write now;
    /// the caller keeps the event and tries again after <see cref="IRegisterEffects.EventRingMayHaveRoom"/>.
    /// </summary>
    /// <param name="interrupter">Interrupter target; <see cref="Target"/> has the last word.</param>
    /// <param name="trb">The event; its cycle bit is set here.</param>
    /// <param name="blockEventInterrupt">BEI of the TRB that caused a transfer event.</param>
    public bool TryPost(int interrupter, in Trb trb, bool blockEventInterrupt = false)
    {
        if (!Running || !Bus.DmaAllowed) return false;
        int index = Target(interrupter);
        Interrupter target = _interrupters[index];
        EventRingResult result = target.Ring.Post(_memory, trb);
        switch (result)
        {
            case EventRingResult.Posted:
                if (!blockEventInterrupt) Raise(index);
                return true;
            case EventRingResult.FullReported:
                Raise(index);
                return false;
            case EventRingResult.Unmapped:
            case EventRingResult.Malformed:
                Fault?.Invoke(result == EventRingResult.Unmapped);
                return false;
            default:
                return false;
        }
    }

    /// <summary>INTE, the function's message enables or its permission to write memory changed: signal what waits.</summary>
    public void SignallingChanged()
    {
        for (int i = 0; i < Count; i++) Evaluate(i);
        UpdateLevel(always: true);
    }

    /// <summary>Values after HCRST: no interrupts, no rings. A reset of the whole chip also forgets what CSS kept.</summary>
    public void Reset(bool chip = false)
    {
        if (chip) _savedRings = null;
        _sending = false;
        foreach (Interrupter interrupter in _interrupters) interrupter.Reset();
        _moderated = 0;
        _interruptsEnabled = false;
        EventInterrupt = false;
        Running = false;
        UpdateLevel(always: true);
    }

    /// <summary>CSS (§4.23.2): keeps the positions in the event rings, which software cannot see.</summary>
    public void SaveRings() => _savedRings = Array.ConvertAll(_interrupters, i => i.Ring.Capture());

    /// <summary>CRS (§4.23.2): Linux writes ERSTBA anew before, which starts a ring over, and expects it to go on.</summary>
    public void ContinueRings()
    {
        if (_savedRings is null) return;
        for (int i = 0; i < Count; i++) _interrupters[i].Ring.Continue(_savedRings[i]);
    }

    /// <summary>Value of one 32-bit word of interrupter <paramref name="index"/>'s register set.</summary>
    public uint ReadRegister(int index, RegisterEffect register, int half)
    {
        Interrupter from = _interrupters[index];
        ulong value = register switch
        {
            RegisterEffect.InterrupterManagement => (from.Pending ? 1u : 0u) | (from.Enabled ? 2u : 0u),
            RegisterEffect.InterrupterModeration => from.Interval | (from.Counter(Now) << 16),
            RegisterEffect.SegmentTableSize => from.Ring.TableSize,
            RegisterEffect.SegmentTableBase => from.Ring.TableBase,
            RegisterEffect.DequeuePointer => from.Ring.DequeuePointer | from.DequeueSegment | (from.HandlerBusy ? 8u : 0u),
            _ => 0,
        };
        return (uint)(half == 0 ? value & 0xffff_ffff : value >> 32);
    }

    /// <summary>Takes a write to one 32-bit word of an interrupter's register set, masks already applied.</summary>
    /// <param name="index">Interrupter.</param>
    /// <param name="register">Which register.</param>
    /// <param name="half">0 for the low word of a 64-bit register, 1 for the high one.</param>
    /// <param name="value">Current value with the written RW bits put in.</param>
    /// <param name="cleared">RW1C bits written as 1.</param>
    public void WriteRegister(int index, RegisterEffect register, int half, uint value, uint cleared)
    {
        Interrupter to = _interrupters[index];
        switch (register)
        {
            case RegisterEffect.InterrupterManagement:
                to.Enabled = (value & 2) != 0;
                if ((cleared & 1) != 0) to.ClearPending(Now);
                break;
            case RegisterEffect.InterrupterModeration:
                to.Interval = (ushort)(value & 0xffff);
                to.LoadCounter(Now, value >> 16);
                break;
            case RegisterEffect.SegmentTableSize:
                to.Ring.SetTableSize(value);
                break;
            case RegisterEffect.SegmentTableBase:
                to.Ring.SetTableBase(Replace(to.Ring.TableBase, half, value));
                to.PendingEnable = false;
                break;
            case RegisterEffect.DequeuePointer:
                to.Ring.DequeuePointer = Replace(to.Ring.DequeuePointer, half, value) & ~0xful;
                if (half == 0) to.DequeueSegment = (byte)(value & 7);
                if ((cleared & 8) != 0) to.HandlerBusy = false;
                if (to.Ring.IsEmpty) to.PendingEnable = false;
                break;
            default:
                return;
        }

        Evaluate(index);
        UpdateLevel();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Flag("running", Running);
        writer.Flag("inte", _interruptsEnabled);
        writer.Flag("eint", EventInterrupt);
        for (int i = 0; i < Count; i++)
        {
            using (writer.Node("interrupter", i)) _interrupters[i].Inspect(writer);
        }
    }

    /// <summary>Saves all interrupters.</summary>
    public InterruptersStateV1 Capture() =>
        new(Running, _interruptsEnabled, EventInterrupt, Array.ConvertAll(_interrupters, i => i.Capture()), _savedRings);

    /// <summary>Takes saved interrupters back and drives the pin as they ask. After false the controller has to be reset.</summary>
    public bool TryRestore(InterruptersStateV1 state, out string error)
    {
        if (state?.Interrupters is null || state.Interrupters.Length != Count)
        {
            error = "the saved state has another number of interrupters";
            return false;
        }

        if (!AreRings(state.SavedRings))
        {
            error = "the event rings that the guest saved are none";
            return false;
        }

        for (int i = 0; i < Count; i++)
        {
            if (state.Interrupters[i] is { } saved && _interrupters[i].TryRestore(saved)) continue;
            error = $"interrupter {i}: not a state that an interrupter can be in";
            return false;
        }

        Running = state.Running;
        _savedRings = state.SavedRings;
        _interruptsEnabled = state.InterruptsEnabled;
        EventInterrupt = state.EventInterrupt;
        _moderated = 0;
        SignallingChanged();
        error = "";
        return true;
    }

    private bool AreRings(EventRingStateV1[]? rings)
    {
        if (rings is null) return true;
        var probe = new EventRing();
        return rings.Length == Count && Array.TrueForAll(rings, ring => ring is not null && probe.TryRestore(ring));
    }

    private static ulong Replace(ulong value, int half, uint word) =>
        half == 0 ? (value & 0xffff_ffff_0000_0000) | word : (value & 0xffff_ffff) | ((ulong)word << 32);

    private void Raise(int index)
    {
        _interrupters[index].PendingEnable = true;
        if (Evaluate(index)) UpdateLevel();
    }

    // §4.17.2: what IPE, IMODC and EHB allow becomes IP; what IE and INTE allow is signalled. True when IP is set now.
    private bool Evaluate(int index)
    {
        Interrupter interrupter = _interrupters[index];
        uint bit = 1u << index;
        if (_sending)
        {
            // A message that the platform delivers to our own registers (LP 1905444): the next Advance looks again.
            _moderated |= bit;
            return false;
        }

        _moderated &= ~bit;
        if (interrupter.PendingEnable && !interrupter.Pending && !interrupter.HandlerBusy)
        {
            if (interrupter.CounterEnds > Now)
            {
                _moderated |= bit;
            }
            else
            {
                interrupter.Pending = true;
                interrupter.HandlerBusy = true;
                EventInterrupt = true;
            }
        }

        // A message is a write to memory: without bus mastering it waits (PCI 3.0 §6.8.2).
        if (interrupter.Pending && interrupter.Enabled && _interruptsEnabled && Bus.MessagesEnabled && Bus.DmaAllowed)
        {
            interrupter.ClearPending(Now);
            _sending = true;
            Bus.SendMessage(index);
            _sending = false;
        }

        return interrupter.Pending;
    }

    // With one pin for all, the level is the OR of every interrupter that is pending and enabled (§4.17).
    private void UpdateLevel(bool always = false)
    {
        bool level = false;
        if (_interruptsEnabled && !Bus.MessagesEnabled)
        {
            foreach (Interrupter interrupter in _interrupters) level |= interrupter.Pending && interrupter.Enabled;
        }

        if (!always && level == _level) return;
        _level = level;
        Bus.SetLevel(level);
    }
}

/// <summary>Saved <see cref="Interrupters"/>.</summary>
public sealed record InterruptersStateV1(bool Running, bool InterruptsEnabled, bool EventInterrupt, InterrupterStateV1[] Interrupters, EventRingStateV1[]? SavedRings);
