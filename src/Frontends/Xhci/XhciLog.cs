using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>The controller core's messages. What a guest can trigger goes through a budget (events 100-119).</summary>
internal sealed partial class XhciLog(ILogger logger)
{
    private readonly LogBudget _guest = new();

    /// <summary>Host system error.</summary>
    public void HostSystemError(VirtualTime now, string what, GuestAddress address)
    {
        if (_guest.TryTake(now, out long suppressed)) SystemError(logger, what, address, suppressed);
    }

    /// <summary>Host controller error.</summary>
    public void HostControllerError(VirtualTime now, string why)
    {
        if (_guest.TryTake(now, out long suppressed)) ControllerError(logger, why, suppressed);
    }

    /// <summary>A doorbell of nothing.</summary>
    public void DoorbellIgnored(VirtualTime now, int slot, int target)
    {
        if (logger.IsEnabled(LogLevel.Debug) && _guest.TryTake(now, out long suppressed)) Doorbell(logger, slot, target, suppressed);
    }

    /// <summary>A defect of ours.</summary>
    public void Fault(Exception exception) => Contained(logger, exception);

    [LoggerMessage(100, LogLevel.Warning, "xHCI: the guest's {What} at {Address} is not in mapped memory; the controller stops with Host System Error until the guest resets it ({Suppressed} messages suppressed)")]
    private static partial void SystemError(ILogger logger, string what, GuestAddress address, long suppressed);

    [LoggerMessage(101, LogLevel.Warning, "xHCI: {Why}; the controller stops with Host Controller Error until the guest resets it ({Suppressed} messages suppressed)")]
    private static partial void ControllerError(ILogger logger, string why, long suppressed);

    [LoggerMessage(102, LogLevel.Debug, "xHCI: doorbell of slot {Slot} target {Target} ignored: not enabled ({Suppressed} messages suppressed)")]
    private static partial void Doorbell(ILogger logger, int slot, int target, long suppressed);

    [LoggerMessage(103, LogLevel.Error, "xHCI: internal error contained; the controller stops with Host Controller Error until the guest resets it. Please report this with the inspect tree")]
    private static partial void Contained(ILogger logger, Exception exception);
}
