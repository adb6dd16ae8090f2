using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace XenUsbDm;

/// <summary>The process's one log: single lines on standard error, so that standard output holds results alone.</summary>
internal static class Logs
{
    /// <summary>A log that keeps messages from <paramref name="least"/> on. Disposing it writes what is still queued.</summary>
    public static ILoggerFactory Open(LogLevel least) => LoggerFactory.Create(builder => builder
        .SetMinimumLevel(least)
        .AddConsole(options => options.LogToStandardErrorThreshold = LogLevel.Trace)
        .AddSimpleConsole(options =>
        {
            options.SingleLine = true;
            options.ColorBehavior = LoggerColorBehavior.Disabled;
            options.TimestampFormat = "HH:mm:ss.fff ";
        }));
}
