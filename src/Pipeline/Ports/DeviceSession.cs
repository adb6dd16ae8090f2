using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>One device's stay on one port, from attach to detach. Calls of a device that is gone reach nobody.</summary>
internal sealed class DeviceSession(UsbPipeline pipeline, PortRecord port, IUsbDevice device, UsbSpeed speed) : IUsbDeviceHost
{
    /// <summary>The device.</summary>
    public IUsbDevice Device { get; } = device;

    /// <summary>Its speed, asked once: a device does not change it while attached.</summary>
    public UsbSpeed Speed { get; } = speed;

    /// <summary>The device hands over its own periodic traffic in time.</summary>
    public bool PacesItself { get; } = device.PacesItself;

    /// <inheritdoc/>
    public VirtualTime Now => pipeline.Now;

    /// <inheritdoc/>
    public IGuestMemory Memory => pipeline.Memory;

    private bool IsCurrent => ReferenceEquals(port.Session, this);

    /// <inheritdoc/>
    public void Complete(UsbRequest request, RequestStatus status)
    {
        if (request is null || !IsCurrent) port.NoteDeviceFault("completed a request after detach");
        else port.Complete(request, status);
    }

    /// <inheritdoc/>
    public void ResetDone()
    {
        if (IsCurrent) port.DeviceResetDone();
        else port.NoteDeviceFault("ended a reset after detach");
    }

    /// <inheritdoc/>
    public void RemoteWake()
    {
        if (IsCurrent) port.DeviceWakes();
        else port.NoteDeviceFault("signalled resume after detach");
    }
}
