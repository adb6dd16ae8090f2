using Microsoft.Extensions.Logging;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// The host's messages (events 320-339). The logger names domain and slot (<see cref="XenHost.LabelOf"/>); what a guest can
/// trigger passes a LogBudget.
/// </summary>
internal static partial class XenLog
{
    [LoggerMessage(320, LogLevel.Information, "ioreq server {Server} serves {Vcpus} vCPUs; the guest may start")]
    public static partial void Serving(ILogger logger, int server, int vcpus);

    [LoggerMessage(321, LogLevel.Warning, "took over ioreq server {Server} of a process that was killed; the controller reports an error until the guest's driver resets it. Where it does not by itself: bind the driver again, or reboot the guest")]
    public static partial void TookOver(ILogger logger, int server);

    [LoggerMessage(322, LogLevel.Warning, "the record of an earlier process is of no use: {Why}. A guest that has lost its controller, or stands still, has to be rebooted")]
    public static partial void NotTakenOver(ILogger logger, string why);

    [LoggerMessage(323, LogLevel.Information, "the guest has put BAR 0 at 0x{Address:x}")]
    public static partial void BarMoved(ILogger logger, ulong address);

    [LoggerMessage(324, LogLevel.Warning, "Xen does not take BAR 0 at 0x{Address:x}: error {Error}; the guest cannot reach the controller there. 'xl dmesg' may say why{More}")]
    public static partial void RangeRefused(ILogger logger, ulong address, int error, string more);

    [LoggerMessage(325, LogLevel.Warning, "Xen does not take an interrupt: error {Error}; the guest may wait for it in vain. 'xl dmesg' may say why{More}")]
    public static partial void InterruptRefused(ILogger logger, int error, string more);

    [LoggerMessage(326, LogLevel.Warning, "the record for a take-over cannot be written; until it can, the guest has to be rebooted when this process is killed. Make room in the folder of --state-dir{More}")]
    public static partial void RecordNotWritten(ILogger logger, string more);

    [LoggerMessage(327, LogLevel.Information, "the domain is gone; this process ends")]
    public static partial void DomainGone(ILogger logger);

    [LoggerMessage(328, LogLevel.Information, "took over ioreq server {Server} of a process that was killed as it started; the guest has not seen it")]
    public static partial void TookOverUnseen(ILogger logger, int server);

    [LoggerMessage(329, LogLevel.Warning, "QEMU has a device in PCI slot 0x{Slot:x2} too, and the guest sees that one in place of this controller. Shut the guest down and name another slot (--controller xhci,slot=N)")]
    public static partial void SlotHidden(ILogger logger, int slot);

    /// <summary>The end of a message of which some were left out.</summary>
    public static string More(long suppressed) => suppressed == 0 ? "" : $" ({suppressed} messages left out before this one)";
}
