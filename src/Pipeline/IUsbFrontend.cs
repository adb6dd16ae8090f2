using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline;

/// <summary>
/// What the pipeline tells the frontend above it. Called only from <see cref="UsbPipeline.Advance"/> and from the
/// attach and detach calls of the host, never from inside a call that the frontend makes; so a frontend is not re-entered.
/// </summary>
public interface IUsbFrontend
{
    /// <summary>A submitted request ended. Requests of one endpoint (one stream) end in the order of submission, save for unlinked ones.</summary>
    void Completed(UsbRequest request);

    /// <summary>A device was attached to or detached from <paramref name="port"/>; ask the pipeline which.</summary>
    void PortChanged(PortNumber port);

    /// <summary>The reset that the frontend asked for with <see cref="UsbPipeline.ResetPort"/> is over: the device is at address 0, not configured.</summary>
    void PortResetDone(PortNumber port);

    /// <summary>The suspended device on <paramref name="port"/> signals resume (USB 2.0 §7.1.7.7).</summary>
    void RemoteWake(PortNumber port);
}
