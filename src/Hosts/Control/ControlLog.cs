using Microsoft.Extensions.Logging;

namespace XenUsbDm.Hosts.Control;

/// <summary>The control side's messages.</summary>
internal static partial class ControlLog
{
    [LoggerMessage(400, LogLevel.Warning, "port {Port}: {Device}: {Fault}. {Errors} operations failed since it was attached ({Suppressed} messages suppressed)")]
    public static partial void HostFailed(ILogger logger, PortPlace port, string device, string fault, long errors, long suppressed);
}
