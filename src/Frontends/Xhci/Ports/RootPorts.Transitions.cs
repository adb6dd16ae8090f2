using XenUsbDm.Core.Usb;

namespace XenUsbDm.Frontends.Xhci;

/// <content>The port state machines (§4.19.1, §4.19.5) and what writes to PORTSC ask of them.</content>
internal sealed partial class RootPorts
{
    // One access can ask for several things; §5.4.8 gives no order, so: acknowledge, power, then the strongest request.
    private void WriteStatus(RootPort port, PortStatus value, uint cleared, uint requested)
    {
        const uint Plain = PortStatus.IndicatorMask | PortStatus.WakeMask;
        port.Status = port.Status.Without(Plain | (cleared & PortStatus.ChangeMask)).With(value.Raw & Plain);
        bool wasPowered = port.Status.Has(PortStatus.Power);
        if (value.Has(PortStatus.Power) != wasPowered)
        {
            if (wasPowered) PowerOff(port);
            else PowerOn(port);
            return;
        }

        if (!wasPowered) return;
        if ((requested & PortStatus.WarmReset) != 0) StartReset(port, PortActivity.WarmReset);
        else if ((requested & PortStatus.Reset) != 0) StartReset(port, PortActivity.Reset);
        else if ((cleared & PortStatus.Enabled) != 0) Disable(port);
        else if ((requested & PortStatus.LinkWriteStrobe) != 0) RequestLink(port, value.Link);
    }

    // PPC = 1 (§4.19.4). No CSC: software itself took the connection away (§5.4.8 CSC).
    private void PowerOff(RootPort port)
    {
        Lose(port);
        port.Status = port.Status.Without(PortStatus.Power).WithLink(LinkState.Disabled);
    }

    // QEMU issue 684: a device that is there when power comes must be reported like one that is plugged in.
    private void PowerOn(RootPort port)
    {
        port.Status = port.Status.With(PortStatus.Power).WithLink(LinkState.RxDetect);
        ConnectOrTrain(port);
    }

    private void ConnectIfAttached(RootPort port)
    {
        bool detecting = port.Status.Link == LinkState.RxDetect && port.Activity == PortActivity.None;
        if (detecting && IsAttached(port, out UsbSpeed speed)) Connect(port, speed);
    }

    // A device that may have been in use before must be at address 0 again when a USB 3 port enables itself.
    private void ConnectOrTrain(RootPort port)
    {
        if (!port.IsUsb3)
        {
            ConnectIfAttached(port);
        }
        else if (IsAttached(port, out _))
        {
            Begin(port, PortActivity.Training, 0);
            RequestReset(port);
        }
    }

    // §4.19.1.1.3: a USB 2 port waits in Polling for software's reset. §4.19.1.2.4: a USB 3 port goes to U0 and is enabled.
    private void Connect(RootPort port, UsbSpeed speed)
    {
        port.Speed = speed;
        port.PowerManagement = 0;
        PortStatus status = port.Status.With(PortStatus.Connected).WithSpeed(speed);
        port.Status = port.IsUsb3
            ? status.With(PortStatus.Enabled).WithLink(LinkState.U0)
            : status.WithLink(LinkState.Polling);
        RaiseChange(port, PortStatus.ConnectChange);
        Wake(port, PortStatus.WakeOnConnect);
    }

    // PRC: PR went from 1 to 0 if a reset was under way (§5.4.8 PRC).
    private void Disconnect(RootPort port)
    {
        uint changes = PortStatus.ConnectChange | (port.Status.Has(PortStatus.Reset) ? PortStatus.ResetChange : 0);
        Lose(port);
        RaiseChange(port, changes);
        Wake(port, PortStatus.WakeOnDisconnect);
    }

    // The port no longer has a device, for whatever reason.
    private void Lose(RootPort port)
    {
        Resume(port);
        port.StopActivity();
        port.PowerManagement = 0;
        port.Status = port.Status
            .Without(PortStatus.Connected | PortStatus.Enabled | PortStatus.Reset | PortStatus.SpeedMask)
            .WithLink(LinkState.RxDetect);
    }

    // PED written as 1 (§4.19.1.1.6, §4.19.1.2.2). PEC is for errors only, so it stays. A USB 3 port loses its
    // termination: the device is gone until software asks for RxDetect.
    private void Disable(RootPort port)
    {
        if (!IsEnabled(port)) return;
        if (port.IsUsb3)
        {
            Lose(port);
            port.Status = port.Status.WithLink(LinkState.Disabled);
            RaiseChange(port, PortStatus.ConnectChange);
            return;
        }

        Resume(port);
        port.Status = port.Status.Without(PortStatus.Enabled).WithLink(LinkState.Polling);
    }

    // §4.19.5. A hot or USB 2 reset needs a device; a warm reset works without one (§4.19.5.1).
    private void StartReset(RootPort port, PortActivity kind)
    {
        bool connected = port.Status.Has(PortStatus.Connected);
        if (port.Status.Has(PortStatus.Reset) || (!connected && kind == PortActivity.Reset)) return;
        Resume(port);
        port.PowerManagement = 0;
        bool attached = IsAttached(port, out _);
        port.Status = port.Status
            .Without(PortStatus.Enabled)
            .With(PortStatus.Reset)
            .WithLink(port.IsUsb3 ? LinkState.HotReset : LinkState.Polling);
        ulong length = kind == PortActivity.WarmReset ? WarmResetNanoseconds : port.IsUsb3 ? HotResetNanoseconds : Usb2ResetNanoseconds;
        Begin(port, kind, length);
        if (attached) RequestReset(port);
    }

    private void Begin(RootPort port, PortActivity activity, ulong length)
    {
        port.Activity = activity;
        port.ActivityEnds = Now.Plus(length);
    }

    // The pipeline answers each request once; while it owes an answer, that one serves for the new activity too.
    private void RequestReset(RootPort port)
    {
        port.NeedsPipeline = true;
        if (port.PipelineResetting) return;
        port.PipelineResetting = true;
        _pipeline.ResetPort(port.Connector);
    }

    private void EndActivityIfDue(RootPort port)
    {
        if (port.Activity == PortActivity.None || port.NeedsPipeline || port.ActivityEnds > Now) return;
        PortActivity ended = port.Activity;
        bool attached = IsAttached(port, out UsbSpeed speed);
        bool connected = port.Status.Has(PortStatus.Connected);
        port.StopActivity();
        port.Status = port.Status.Without(PortStatus.Reset);
        if (connected)
            port.Status = port.Status.With(PortStatus.Enabled).WithLink(LinkState.U0);
        else
            port.Status = port.Status.WithLink(LinkState.RxDetect);
        if (ended != PortActivity.Training)
            RaiseChange(port, PortStatus.ResetChange | (ended == PortActivity.WarmReset ? PortStatus.WarmResetChange : 0));
        if (!connected && attached) Connect(port, speed);
    }

    // Writes to PLS with LWS (table 5-27). What is not listed there or not legal now is ignored: Windows writes Resume to
    // ports that are not suspended.
    private void RequestLink(RootPort port, LinkState link)
    {
        LinkState now = port.Status.Link;
        switch (link)
        {
            case LinkState.U0 when IsEnabled(port) && now is LinkState.U3 or LinkState.Resume:
                Resume(port);
                port.Status = port.Status.WithLink(LinkState.U0);
                RaiseChange(port, PortStatus.LinkChange);
                break;
            case LinkState.U3 when IsEnabled(port) && now == LinkState.U0:
                port.Suspended = true;
                _pipeline.SetSuspended(port.Connector, true);
                port.Status = port.Status.WithLink(LinkState.U3);
                if (ReportU3Entry) RaiseChange(port, PortStatus.LinkChange);
                break;
            case LinkState.Resume when IsEnabled(port) && now == LinkState.U3 && !port.IsUsb3:
                port.Status = port.Status.WithLink(LinkState.Resume);
                break;
            case LinkState.RxDetect when port.IsUsb3 && now == LinkState.Disabled:
                port.Status = port.Status.WithLink(LinkState.RxDetect);
                ConnectOrTrain(port);
                break;
            default:
                break;
        }
    }

    private void Resume(RootPort port)
    {
        if (!port.Suspended) return;
        port.Suspended = false;
        _pipeline.SetSuspended(port.Connector, false);
    }

    // §4.19.2: one event each time the OR of the change bits goes from 0 to 1.
    private void RaiseChange(RootPort port, uint changes)
    {
        if ((changes & ~port.Status.Raw) != 0) ChangeDetected = true;
        bool first = !port.Status.Has(PortStatus.ChangeMask);
        port.Status = port.Status.With(changes);
        if (!first) return;
        port.EventPending = true;
        PostPending();
    }

    // §4.15: with the function asleep the controller is halted; the event then goes to PME.
    private void Wake(RootPort port, uint enable)
    {
        if (!_interrupters.Running && port.Status.Has(enable)) _interrupters.Bus.SignalPowerManagementEvent();
    }
}
