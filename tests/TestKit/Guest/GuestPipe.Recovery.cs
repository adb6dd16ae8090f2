namespace XenUsbDm.TestKit.Guest;

/// <summary>Halts, stops and cancels (xHCI 1.2 §4.6.8 to §4.6.10).</summary>
public sealed partial class GuestPipe
{
    /// <summary>
    /// After a halt: Reset Endpoint, and the dequeue pointer past the failed TD (or past everything). TDs given up end as
    /// Stopped. The device's own halt is the caller's to clear. Rings the doorbell when TDs are left.
    /// </summary>
    public void Recover(bool keepRest = false)
    {
        Driver.ProcessEvents();
        Driver.ResetEndpoint(Slot, Dci).Require("Reset Endpoint");
        Halted = false;
        MoveDequeue(keepRest);
    }

    /// <summary>Stop Endpoint; TDs stay where they are. The Stopped event, if any, is in <see cref="LastStop"/>.</summary>
    public CommandResult Stop()
    {
        LastStop = null;
        CommandResult result = Driver.StopEndpoint(Slot, Dci);
        Driver.ProcessEvents();
        return result;
    }

    /// <summary>Stops the endpoint and gives up all its TDs, with the bytes that the one in progress had moved.</summary>
    public void Cancel()
    {
        CommandResult stopped = Stop();

        // A TD that halted the endpoint just before: the command finds it in the wrong state (§4.6.9).
        if (stopped.Code == GuestCompletion.ContextStateError && Halted) Recover();
        else if (stopped.Ok) MoveDequeue(keepRest: false);
    }

    /// <summary>The pipe's rings start over, as after Configure Endpoint; TDs in flight end as Stopped.</summary>
    public void Restart()
    {
        foreach (Lane lane in _lanes)
        {
            Abandon(lane);
            lane.Ring.Reset();
        }

        Halted = false;
    }

    internal void FreeMemory()
    {
        foreach (Lane lane in _lanes) lane.Ring.FreeMemory(Driver.Memory);
    }

    private void MoveDequeue(bool keepRest)
    {
        foreach (Lane lane in _lanes)
        {
            if (lane.Count == 0 && lane.LastDone == 0) continue;
            ulong target;
            if (keepRest && lane.Count > 0)
            {
                ulong first = lane.At(0).First;
                target = first | (lane.Ring.Read(first).Control & GuestTrb.Cycle);
            }
            else
            {
                Abandon(lane);
                target = lane.Ring.EnqueuePointer | lane.Ring.EnqueueCycle;
            }

            Driver.SetTrDequeue(Slot, Dci, target, lane.Stream, lane.Stream == 0 ? 0 : StreamContextType).Require("Set TR Dequeue Pointer");
            if (lane.Count > 0) Kick(lane.Stream);
        }
    }

    /// <summary>SCT that Set TR Dequeue names for this pipe's streams: 1 in a linear array, 0 in a secondary one (§6.2.4).</summary>
    internal int StreamContextType { get; set; } = 1;

    private void Abandon(Lane lane)
    {
        for (int i = 0; i < lane.Count; i++)
        {
            ref Td td = ref lane.At(i);
            int actual = 0;
            if (LastStop is GuestEvent stop && !stop.IsEventData && lane.Ring.Contains(stop.Pointer) && lane.Ring.Distance(td.First, stop.Pointer) <= td.Trbs)
            {
                // Length Invalid: the TRB's own residual means nothing (§4.6.9); Short Packet: it is the EDTLA.
                GuestEvent read = stop;
                if (stop.Code == GuestCompletion.StoppedLengthInvalid)
                    read = stop with { Trb = stop.Trb with { Status = (stop.Trb.Status & 0xff00_0000) | 0xff_ffff } };
                actual = stop.Code == GuestCompletion.StoppedShortPacket ? stop.Residual : BytesThrough(lane.Ring, td, read);
            }

            Push(lane, td, GuestCompletion.Stopped, actual);
        }

        InFlight -= lane.Count;
        lane.Drop(lane.Count);
        lane.Ring.ReleaseAll();
    }
}
