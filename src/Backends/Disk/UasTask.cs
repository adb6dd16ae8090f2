using System;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Backends.Disk;

/// <summary>Where a task is.</summary>
internal enum UasPhase
{
    /// <summary>There is none.</summary>
    Free,

    /// <summary>The host takes data.</summary>
    DataIn,

    /// <summary>The host gives data.</summary>
    DataOut,

    /// <summary>The medium has to finish.</summary>
    Busy,

    /// <summary>The host takes the sense unit.</summary>
    Status,

    /// <summary>Ended, but operations of it are still with the store.</summary>
    Draining,
}

/// <summary>One command in flight of USB Attached SCSI. Made once with the disk and used for one command after the other.</summary>
internal sealed class UasTask : IInspectable
{
    /// <summary>A free task on <paramref name="store"/>; <paramref name="progress"/> is called when an operation of it has ended.</summary>
    public UasTask(IBlockStore store, Action<UasTask> progress) => Medium = new MediumTransfer(store, () => progress(this));

    /// <summary>Its sectors on the way.</summary>
    public MediumTransfer Medium { get; }

    /// <summary>Its buffer and sense data.</summary>
    public ScsiTask Scsi { get; } = new() { Queues = true };

    /// <summary>Where it is.</summary>
    public UasPhase Phase { get; set; }

    /// <summary>The host's tag, from 1; with streams also the stream of its data and status.</summary>
    public ushort Tag { get; private set; }

    /// <summary>Counts up from task to task: the smaller, the older.</summary>
    public long Order { get; private set; }

    /// <summary>ORDERED: begun when all older tasks had ended; younger ones wait for its end.</summary>
    public bool IsOrdered { get; private set; }

    /// <summary>A data pipe is for this task, but the host has not taken the ready unit that says so.</summary>
    public bool IsUnannounced { get; set; }

    /// <summary>What is to be done.</summary>
    public ScsiPlan Plan { get; set; }

    /// <summary>Bytes of data that were moved.</summary>
    public long Moved { get; set; }

    /// <summary>The tag is taken.</summary>
    public bool IsActive => Phase is not (UasPhase.Free or UasPhase.Draining);

    /// <summary>Takes up a command.</summary>
    public void Begin(ushort tag, long order, bool isOrdered)
    {
        Tag = tag;
        Order = order;
        IsOrdered = isOrdered;
        IsUnannounced = false;
        Moved = 0;
        Plan = ScsiPlan.Good;
        Phase = UasPhase.Busy;
        Scsi.SetSense(Sense.None, -1);
        Scsi.Receiving = default;
        Scsi.AfterReceive = ScsiPlan.Good;
    }

    /// <summary>Starts moving the plan's sectors, from byte <paramref name="from"/> of them.</summary>
    public void BeginMedium(long from)
    {
        long start = Plan.Sector * IBlockStore.SectorSize;
        Medium.Begin(Plan.Action, start + from, start + Plan.Length);
    }

    /// <summary>Forgets the command; what the store still has of it is waited for.</summary>
    public void End()
    {
        Medium.Abandon();
        Phase = Medium.IsQuiet ? UasPhase.Free : UasPhase.Draining;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Text("phase", Phase.ToString());
        writer.Number("tag", Tag);
        writer.Text("action", Plan.Action.ToString());
        writer.Number("length", Plan.Length);
        writer.Number("moved", Moved);
        writer.Flag("ordered", IsOrdered);
        writer.Child("medium", Medium);
    }
}
