using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Transfers;

namespace XenUsbDm.Frontends.Xhci.Slots;

/// <summary>How far a control transfer has come (xHCI 1.2 §4.11.2.2: each stage is a TD of its own).</summary>
internal enum ControlStage
{
    /// <summary>The next TD must be a Setup Stage.</summary>
    Setup,

    /// <summary>Setup is done; a Data Stage follows.</summary>
    Data,

    /// <summary>The Status Stage follows, and the request has not been sent yet (no data stage).</summary>
    StatusWithRequest,

    /// <summary>The Status Stage follows; the device has answered with the data stage.</summary>
    Status,
}

/// <summary>What is done with transfers that come back.</summary>
internal enum DrainMode
{
    /// <summary>They are retired with their events.</summary>
    None,

    /// <summary>A Stop Endpoint Command waits: whole ones are retired, the first cancelled one is where the endpoint stopped.</summary>
    Stopping,

    /// <summary>The endpoint is about to go: they are dropped.</summary>
    Discarding,
}

/// <summary>One endpoint of a device slot: the Endpoint Context as configured, its state and its ring or streams (xHCI 1.2 §4.8).</summary>
internal sealed class Endpoint : IInspectable
{
    /// <summary>Makes endpoint <paramref name="dci"/> (1-31) of <paramref name="slot"/> from a validated context.</summary>
    public Endpoint(Slot slot, int dci, in EndpointContext context)
    {
        Slot = slot;
        Dci = dci;
        Context = context;
        Kind = EndpointContext.KindOf(context.Type);
        PacketSize = context.MaxPacketSize;
        Ring = new TransferRing(this);
        if (context.MaxPrimaryStreams > 0) Streams = new StreamSet(this, context);
        else Ring.SetDequeue(Rings.RingPosition.FromPointer(context.Dequeue));
    }

    /// <summary>The slot.</summary>
    public Slot Slot { get; }

    /// <summary>Device Context Index, 1-31.</summary>
    public int Dci { get; }

    /// <summary>The context as last configured; its state field is not kept up to date, <see cref="State"/> is.</summary>
    public EndpointContext Context { get; set; }

    /// <summary>EP State.</summary>
    public EndpointState State { get; set; } = EndpointState.Running;

    /// <summary>Transfer type.</summary>
    public TransferKind Kind { get; }

    /// <summary>Max Packet Size in bytes, at least 1.</summary>
    public int PacketSize { get; set; }

    /// <summary>USB endpoint address.</summary>
    public EndpointAddress Address => Dci == 1 ? EndpointAddress.Control : new EndpointAddress(Dci / 2, IsIn);

    /// <summary>Device to host (meaningless for control endpoints).</summary>
    public bool IsIn => (Dci & 1) != 0;

    /// <summary>The ring of an endpoint without streams.</summary>
    public TransferRing Ring { get; }

    /// <summary>The streams, or null.</summary>
    public StreamSet? Streams { get; }

    /// <summary>Requests that the pipeline has, all rings together.</summary>
    public int InFlight { get; set; }

    /// <summary>What is done with transfers that come back.</summary>
    public DrainMode Drain { get; set; }

    /// <summary>Requests were unlinked after an error; nothing is fetched until all are back.</summary>
    public bool IsUnlinking { get; set; }

    /// <summary>In the engine's list of endpoints with work.</summary>
    public bool IsReady { get; set; }

    /// <summary>Next in that list.</summary>
    public Endpoint? NextReady { get; set; }

    /// <summary>Waits for room in an event ring or in the transfer pool.</summary>
    public bool IsParked { get; set; }

    /// <summary>Next in the list of parked endpoints.</summary>
    public Endpoint? NextParked { get; set; }

    /// <summary>Control: stage of the transfer under way.</summary>
    public ControlStage Stage { get; set; }

    /// <summary>Control: its setup packet.</summary>
    public SetupPacket Setup { get; set; }

    /// <summary>Control: the Setup Stage announced an IN data stage (TRT).</summary>
    public bool DataStageIsIn { get; set; }

    /// <summary>Isochronous: <see cref="NextService"/> is fixed by the TD before.</summary>
    public bool IsScheduled { get; set; }

    /// <summary>Isochronous: microframe (of virtual time) in which the next TD is due.</summary>
    public ulong NextService { get; set; }

    /// <summary>Next in the engine's list of isochronous endpoints.</summary>
    public Endpoint? NextIsoch { get; set; }

    /// <summary>Service interval in microframes.</summary>
    public uint Interval => 1u << System.Math.Min(Context.Interval, XhciLimits.MaxInterval);

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Text("state", State.ToString());
        writer.Text("type", Context.Type.ToString());
        writer.Number("max-packet-size", PacketSize);
        writer.Number("max-burst", Context.MaxBurst);
        writer.Number("mult", Context.Mult);
        writer.Number("interval", Context.Interval);
        writer.Number("in-flight", InFlight);
        writer.Text("drain", Drain.ToString());
        writer.Flag("unlinking", IsUnlinking);
        writer.Flag("parked", IsParked);
        if (Kind == TransferKind.Control)
        {
            writer.Text("stage", Stage.ToString());
            writer.Text("setup", Setup.ToString());
        }

        if (Kind == TransferKind.Isochronous)
        {
            writer.Flag("scheduled", IsScheduled);
            writer.Number("next-service", (long)NextService);
        }

        if (Streams is null) InspectRing(writer, Ring);
        else Streams.Inspect(writer);
    }

    /// <summary>Shows one ring.</summary>
    internal static void InspectRing(InspectWriter writer, TransferRing ring)
    {
        writer.Hex("fetch", ring.Fetch.ToPointer());
        writer.Number("fetch-skip", ring.FetchSkip);
        writer.Hex("dequeue", ring.Dequeue.ToPointer());
        writer.Number("dequeue-skip", ring.DequeueSkip);
        writer.Flag("in-td", ring.IsInTd);
        writer.Flag("skips-td", ring.SkipsTd);
        writer.Number("edtla", ring.Edtla);
        writer.Number("transfers", ring.Count);
    }
}
