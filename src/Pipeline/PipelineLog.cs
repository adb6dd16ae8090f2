using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline;

/// <summary>The pipeline's messages. Those that guest or device can trigger pass a LogBudget first and say how many it held back.</summary>
internal static partial class PipelineLog
{
    [LoggerMessage(100, LogLevel.Information, "port {Port}: attached {Device}, {Speed} speed")]
    public static partial void Attached(ILogger logger, PortNumber port, string device, UsbSpeed speed);

    [LoggerMessage(101, LogLevel.Information, "port {Port}: detached {Device}, {Outstanding} requests ended with it")]
    public static partial void Detached(ILogger logger, PortNumber port, string device, int outstanding);

    [LoggerMessage(102, LogLevel.Warning, "port {Port}: refused {Request}: {Reason} ({Suppressed} messages suppressed)")]
    public static partial void Refused(ILogger logger, PortNumber port, UsbRequest request, string reason, long suppressed);

    [LoggerMessage(103, LogLevel.Warning, "port {Port}: device {Fault} ({Suppressed} messages suppressed)")]
    public static partial void DeviceFault(ILogger logger, PortNumber port, string fault, long suppressed);

    [LoggerMessage(104, LogLevel.Information, "port {Port}: not attached {Device}: {Reason}")]
    public static partial void NotAttached(ILogger logger, PortNumber port, string device, AttachResult reason);
}
