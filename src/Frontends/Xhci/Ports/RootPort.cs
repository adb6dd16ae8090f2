using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>What a port is in the middle of.</summary>
internal enum PortActivity : byte
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>A reset that software asked for with PR.</summary>
    Reset,

    /// <summary>A reset that software asked for with WPR.</summary>
    WarmReset,

    /// <summary>A USB 3 link comes up after HCRST, power-on or RxDetect; the device is reset and then connects.</summary>
    Training,
}

/// <summary>The state of one root port; <see cref="RootPorts"/> moves it.</summary>
internal sealed class RootPort(int id, bool isUsb3, PortNumber connector) : IInspectable
{
    /// <summary>PORTSC after a chip reset: powered, RxDetect (§5.4.8).</summary>
    public static readonly PortStatus InitialStatus = new PortStatus(PortStatus.Power).WithLink(LinkState.RxDetect);

    /// <summary>One-based root port number.</summary>
    public int Id => id;

    /// <summary>USB 3 protocol port.</summary>
    public bool IsUsb3 => isUsb3;

    /// <summary>The pipeline's port.</summary>
    public PortNumber Connector => connector;

    /// <summary>PORTSC.</summary>
    public PortStatus Status { get; set; } = InitialStatus;

    /// <summary>PORTPMSC (§5.4.9): kept for software; no link power management stands behind it.</summary>
    public uint PowerManagement { get; set; }

    /// <summary>PORTLI (§5.4.10): Link Error Count as software last wrote it; no link has errors here.</summary>
    public uint LinkInfo { get; set; }

    /// <summary>Speed of the connected device.</summary>
    public UsbSpeed Speed { get; set; }

    /// <summary>A Port Status Change Event waits for room or for the controller to run.</summary>
    public bool EventPending { get; set; }

    /// <summary>The pipeline was told that the port is suspended.</summary>
    public bool Suspended { get; set; }

    /// <summary>What is going on.</summary>
    public PortActivity Activity { get; set; }

    /// <summary>Earliest end of <see cref="Activity"/>.</summary>
    public VirtualTime ActivityEnds { get; set; }

    /// <summary>The pipeline was asked to reset the device and has not answered.</summary>
    public bool PipelineResetting { get; set; }

    /// <summary><see cref="Activity"/> still needs the pipeline's answer.</summary>
    public bool NeedsPipeline { get; set; }

    /// <summary>When the activity can end by itself, or be taken up again after a restore.</summary>
    public VirtualTime Deadline =>
        Activity == PortActivity.None || (NeedsPipeline && PipelineResetting) ? VirtualTime.Never : ActivityEnds;

    /// <summary>Values after HCRST. An answer that the pipeline owes stays owed.</summary>
    public void Reset()
    {
        Status = InitialStatus;
        PowerManagement = 0;
        LinkInfo = 0;
        EventPending = false;
        Suspended = false;
        StopActivity();
    }

    /// <summary>Drops the activity.</summary>
    public void StopActivity()
    {
        Activity = PortActivity.None;
        NeedsPipeline = false;
        ActivityEnds = VirtualTime.Zero;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Hex("portsc", Status.Raw);
        writer.Hex("portpmsc", PowerManagement);
        writer.Hex("portli", LinkInfo);
        writer.Text("bus", isUsb3 ? "usb3" : "usb2");
        writer.Number("connector", connector.Value);
        writer.Text("link", Status.Link.ToString());
        writer.Text("device", Status.Has(PortStatus.Connected) ? Speed.ToString() : null);
        writer.Flag("event_pending", EventPending);
        writer.Text("activity", Activity.ToString());
    }

    /// <summary>Saves the port.</summary>
    public RootPortStateV1 Capture() => new(
        Status.Raw, PowerManagement, LinkInfo, (int)Speed, EventPending, Suspended, (int)Activity, ActivityEnds.Nanoseconds, NeedsPipeline);

    /// <summary>Takes a saved port back. A reset that was under way is asked for again by the next Advance.</summary>
    public bool TryRestore(RootPortStateV1 state)
    {
        var status = new PortStatus(state.Status);
        bool connected = status.Has(PortStatus.Connected);
        bool ok = (state.Status & ~PortStatus.Stored) == 0
            && Enum.IsDefined((UsbSpeed)state.Speed)
            && (!connected || (state.Speed == (int)UsbSpeed.Super) == isUsb3)
            && Enum.IsDefined(status.Link)
            && (connected || !status.Has(PortStatus.Enabled))
            && state.Activity is >= 0 and <= (int)PortActivity.Training
            && (state.Activity is (int)PortActivity.Reset or (int)PortActivity.WarmReset) == status.Has(PortStatus.Reset);
        if (!ok) return false;
        Status = status;
        PowerManagement = state.PowerManagement;
        LinkInfo = state.LinkInfo;
        Speed = (UsbSpeed)state.Speed;
        EventPending = state.EventPending;
        Suspended = state.Suspended;
        Activity = (PortActivity)state.Activity;
        ActivityEnds = new VirtualTime(state.ActivityEnds);
        NeedsPipeline = state.NeedsPipeline;
        PipelineResetting = false;
        return true;
    }
}

/// <summary>Saved <see cref="RootPort"/>; <paramref name="ActivityEnds"/> in nanoseconds of virtual time.</summary>
public sealed record RootPortStateV1(
    uint Status,
    uint PowerManagement,
    uint LinkInfo,
    int Speed,
    bool EventPending,
    bool Suspended,
    int Activity,
    ulong ActivityEnds,
    bool NeedsPipeline);
