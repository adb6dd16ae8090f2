using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Events: taken from the rings, given to whoever waits for them, the rest kept for tests (xHCI 1.2 §4.9.4).</summary>
public sealed partial class XhciDriver
{
    /// <summary>Most events nobody asked for that are kept.</summary>
    public const int MaxUnclaimed = 65536;

    private readonly Queue<int> _changedPorts = new();

    /// <summary>Events that found nobody interested (raw rings, host controller events, MFINDEX wraps).</summary>
    public int UnclaimedCount => _unclaimed.Count;

    /// <summary>Events in all.</summary>
    public long EventCount { get; private set; }

    /// <summary>Port Status Change Events in all.</summary>
    public long PortEventCount { get; private set; }

    /// <summary>Takes and dispatches what is on the event rings. Returns how many there were.</summary>
    public int ProcessEvents()
    {
        int total = 0;
        foreach (GuestEventRing ring in _eventRings)
        {
            int count = 0;
            while (ring.TryTake(out GuestEvent taken))
            {
                count++;
                Dispatch(taken);

                // Tell the controller now and then, so that a long batch does not fill the ring.
                if (AutoAcknowledge && ring.Unacknowledged >= 64) Acknowledge(ring.Interrupter, clearBusy: false);
            }

            if (count > 0 && AutoAcknowledge) Acknowledge(ring.Interrupter);
            total += count;
        }

        return total;
    }

    /// <summary>Writes ERDP, with Event Handler Busy (write 1 to clear).</summary>
    public void Acknowledge(int interrupter, bool clearBusy = true)
    {
        GuestEventRing ring = _eventRings[interrupter];
        ring.Unacknowledged = 0;
        Write64(InterrupterOffset(interrupter, 0x18), ring.DequeuePointer | (clearBusy ? 8u : 0) | (uint)(ring.DequeueSegment & 7));
    }

    /// <summary>The next event that nobody else claims: what raw rings and commands put on a ring by hand see.</summary>
    public bool TryNextEvent(out GuestEvent taken)
    {
        ProcessEvents();
        return _unclaimed.TryDequeue(out taken);
    }

    /// <summary>As <see cref="TryNextEvent"/>, but runs the machine until there is one.</summary>
    public GuestEvent NextEvent(ulong timeoutNanoseconds = 0)
    {
        Expect(() => _unclaimed.Count > 0, "an event", timeoutNanoseconds);
        return _unclaimed.Dequeue();
    }

    /// <summary>As the other overload, passing over events of other types.</summary>
    public GuestEvent NextEvent(GuestTrbType type, ulong timeoutNanoseconds = 0)
    {
        while (true)
        {
            GuestEvent next = NextEvent(timeoutNanoseconds);
            if (next.Type == type) return next;
        }
    }

    /// <summary>Asserts quiet: runs the machine for a time and returns the first unclaimed event, or null.</summary>
    public GuestEvent? EventWithin(ulong nanoseconds) =>
        WaitUntil(() => _unclaimed.Count > 0, nanoseconds) ? _unclaimed.Dequeue() : null;

    /// <summary>Registers the pipe that gets the transfer events of a slot and DCI; null makes them unclaimed.</summary>
    public void Register(int slot, int dci, GuestPipe? pipe) => _pipes[slot, dci] = pipe;

    /// <summary>The pipe of a slot and DCI.</summary>
    public GuestPipe? Pipe(int slot, int dci) => _pipes[slot, dci];

    private void Dispatch(in GuestEvent taken)
    {
        EventCount++;
        EventLog?.Add(taken);
        switch (taken.Type)
        {
            case GuestTrbType.TransferEvent:
                GuestPipe? pipe = _pipes[taken.Slot, taken.Dci];
                if (pipe is null || !pipe.OnEvent(taken)) Keep(taken);
                break;
            case GuestTrbType.CommandCompletion:
                OnCommandCompletion(taken);
                break;
            case GuestTrbType.PortStatusChange:
                PortEventCount++;
                if (_changedPorts.Count < MaxUnclaimed) _changedPorts.Enqueue(taken.Port);
                break;
            default:
                Keep(taken);
                break;
        }
    }

    private void Keep(in GuestEvent taken)
    {
        if (_unclaimed.Count < MaxUnclaimed) _unclaimed.Enqueue(taken);
    }
}
