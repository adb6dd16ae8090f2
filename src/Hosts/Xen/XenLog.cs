using Microsoft.Extensions.Logging;

namespace XenUsbDm.Hosts.Xen;

/// <summary>The host's messages (events 320-339). Each names domain and slot; what a guest can trigger passes a LogBudget.</summary>
internal static partial class XenLog
{
    [LoggerMessage(320, LogLevel.Information, "{Guest}: ioreq server {Server} serves {Vcpus} vCPUs")]
    public static partial void Serving(ILogger logger, string guest, int server, int vcpus);

    [LoggerMessage(321, LogLevel.Warning, "{Guest}: took over ioreq server {Server} of a process that was killed; the controller reports an error until the guest's driver resets it")]
    public static partial void TookOver(ILogger logger, string guest, int server);

    [LoggerMessage(322, LogLevel.Warning, "{Guest}: the record of an earlier process is of no use: {Why}")]
    public static partial void NotTakenOver(ILogger logger, string guest, string why);

    [LoggerMessage(323, LogLevel.Information, "{Guest}: BAR 0 at 0x{Address:x}, decoding {Enabled} ({Suppressed} messages suppressed)")]
    public static partial void BarMoved(ILogger logger, string guest, ulong address, bool enabled, long suppressed);

    [LoggerMessage(324, LogLevel.Warning, "{Guest}: Xen does not take BAR 0 at 0x{Address:x}: error {Error} ({Suppressed} messages suppressed)")]
    public static partial void RangeRefused(ILogger logger, string guest, ulong address, int error, long suppressed);

    [LoggerMessage(325, LogLevel.Warning, "{Guest}: Xen does not take an interrupt: error {Error} ({Suppressed} messages suppressed)")]
    public static partial void InterruptRefused(ILogger logger, string guest, int error, long suppressed);

    [LoggerMessage(326, LogLevel.Warning, "{Guest}: the record for a take-over cannot be written ({Suppressed} messages suppressed)")]
    public static partial void RecordNotWritten(ILogger logger, string guest, long suppressed);

    [LoggerMessage(327, LogLevel.Information, "{Guest}: the domain is gone")]
    public static partial void DomainGone(ILogger logger, string guest);
}
