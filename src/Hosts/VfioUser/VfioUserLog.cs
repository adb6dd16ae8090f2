using Microsoft.Extensions.Logging;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>The host's messages; all pass a LogBudget, because a client can connect again and again.</summary>
internal static partial class VfioUserLog
{
    [LoggerMessage(300, LogLevel.Information, "vfio-user: a client has connected ({Suppressed} messages suppressed)")]
    public static partial void Connected(ILogger logger, long suppressed);

    [LoggerMessage(301, LogLevel.Information, "vfio-user: {Why}, after {Commands} commands of which {Errors} were refused. Its memory is unmapped, its descriptors are closed; the controller keeps its state and stands still until a client connects again ({Suppressed} messages suppressed)")]
    public static partial void Ended(ILogger logger, string why, long commands, long errors, long suppressed);

    [LoggerMessage(302, LogLevel.Warning, "vfio-user: {Command} of the client refused with errno {Error} ({Reason}) ({Suppressed} messages suppressed)")]
    public static partial void Refused(ILogger logger, VfioUserCommand command, int error, string reason, long suppressed);

    [LoggerMessage(303, LogLevel.Warning, "vfio-user: a client waits, but the system has no descriptor or memory left to take it; raise the limit of open files (ulimit -n) or close something. It is tried again every second ({Suppressed} messages suppressed)")]
    public static partial void NotAccepted(ILogger logger, long suppressed);
}
