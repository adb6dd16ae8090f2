using Microsoft.Extensions.Logging;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>The host's messages; all pass a LogBudget, because a client can connect again and again.</summary>
internal static partial class VfioUserLog
{
    [LoggerMessage(300, LogLevel.Information, "vfio-user: client connected ({Suppressed} messages suppressed)")]
    public static partial void Connected(ILogger logger, long suppressed);

    [LoggerMessage(301, LogLevel.Information, "vfio-user: {Why}; {Commands} commands, {Errors} of them refused ({Suppressed} messages suppressed)")]
    public static partial void Ended(ILogger logger, string why, long commands, long errors, long suppressed);

    [LoggerMessage(302, LogLevel.Warning, "vfio-user: {Command} refused with errno {Error} ({Suppressed} messages suppressed)")]
    public static partial void Refused(ILogger logger, VfioUserCommand command, int error, long suppressed);
}
