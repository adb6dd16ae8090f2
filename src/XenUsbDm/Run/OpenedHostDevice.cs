using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Run;

/// <summary>A physical device that is open, on a port or on its way to or from one.</summary>
internal sealed class OpenedHostDevice : IOpenedDevice, ICompletionSource
{
    private readonly PhysicalDevice _physical;
    private readonly HostDevice _device;
    private bool _pulled;

    /// <summary>The device behind <paramref name="physical"/>.</summary>
    public OpenedHostDevice(PhysicalDevice physical)
    {
        _physical = physical;
        _device = new HostDevice(physical, physical.Descriptors);
    }

    /// <inheritdoc/>
    public IUsbDevice Device => _device;

    /// <inheritdoc/>
    public ICompletionSource? Completions => this;

    /// <inheritdoc/>
    public long Errors => _device.FailedOperations;

    /// <inheritdoc/>
    public string Fault => _device.Fault;

    /// <inheritdoc/>
    public bool IsGone => _pulled || _device.IsGone;

    /// <inheritdoc/>
    public bool IsClosed => _physical.State is PhysicalState.Closed or PhysicalState.Failed;

    /// <inheritdoc/>
    public bool IsReady => _physical.HasEnded;

    /// <summary>The host's side of it.</summary>
    public PhysicalDevice Physical => _physical;

    /// <summary>The plug that it was opened from.</summary>
    public PluggedDevice Plugged => _physical.Plugged;

    /// <inheritdoc/>
    public void Deliver() => _device.Deliver();

    /// <inheritdoc/>
    public void Close() => _physical.Close();

    /// <summary>Devices were plugged in or pulled: is it still there?</summary>
    public void Look(UsbSysfs sysfs) => _pulled |= Plugged.IsPulled(sysfs.Find(Plugged.Facts.BusPath));
}
