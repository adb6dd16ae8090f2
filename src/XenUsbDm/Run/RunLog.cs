using Microsoft.Extensions.Logging;

namespace XenUsbDm.Run;

/// <summary>The messages of the process itself.</summary>
internal static partial class RunLog
{
    [LoggerMessage(500, LogLevel.Information, "stopping, told by a signal: devices are detached, images are made durable and closed; the guest sees its controller go")]
    public static partial void Stopping(ILogger logger);

    [LoggerMessage(501, LogLevel.Information, "stopped: everything that the guest was told to be written is durable")]
    public static partial void Stopped(ILogger logger);

    [LoggerMessage(502, LogLevel.Error, "{Device}: as it was closed: {Fault}. What the guest wrote after its last flush may be lost")]
    public static partial void CloseFailed(ILogger logger, string device, string fault);
}
