using System.Diagnostics.CodeAnalysis;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Native.LibUsb;

namespace XenUsbDm.Run;

/// <summary>One port's rule for a physical device: looks for it, has it opened, and waits again when it is gone.</summary>
internal sealed class HostRule(HostDevices devices, DeviceSpec spec, string text) : IPortRule
{
    private PhysicalDevice? _opening;
    private OpenedHostDevice? _attached;
    private string? _refusal;
    private string _lastRefusal = "";
    private int _refusedNumber; // Device number of the plug that was refused: it is not tried again.
    private bool _dropped;

    /// <inheritdoc/>
    public string Text => text;

    /// <inheritdoc/>
    public string State => this switch
    {
        { _attached.IsClosed: false } => "attached",
        { _opening: not null } => "opens",
        _ when _lastRefusal.Length > 0 => $"refused: {_lastRefusal}",
        _ => "waits",
    };

    /// <summary>Why the device that is plugged in could not be had; empty otherwise.</summary>
    public string Refused => _lastRefusal;

    /// <summary>True when <paramref name="facts"/> are those of the device that <paramref name="spec"/> names.</summary>
    public static bool Matches(DeviceSpec spec, HostDeviceFacts facts) => spec switch
    {
        HostPathSpec path => facts.BusPath == $"{path.Bus}-{path.Ports}",
        HostIdSpec id => facts.VendorId == id.VendorId && facts.ProductId == id.ProductId && (id.Serial is null || facts.Serial == id.Serial),
        _ => false,
    };

    /// <summary>Looks whether the device is plugged in, and begins to open it.</summary>
    public void Look()
    {
        if (_dropped || _opening is not null || _attached is { IsClosed: false }) return;
        _attached = null;
        bool found = false;
        string refusal = "";
        int refusedNumber = 0;
        foreach (PluggedDevice device in devices.Sysfs.Devices())
        {
            if (!Matches(spec, device.Facts)) continue;
            found = true;
            int identity = (device.Bus << 16) | device.Number;
            if (identity == _refusedNumber) return;

            // The kernel resets it, has not configured it yet, or it has no configuration: the next message says when.
            if (device.IsInReset || (device.Configuration == 0 && !device.Facts.IsHub)) return;
            _opening = devices.Open(device, out refusal);
            if (_opening is not null)
            {
                _lastRefusal = "";
                devices.Note(text, $"found {device.Facts.Description}");
                return;
            }

            refusedNumber = identity;
        }

        if (found) Refuse(refusal, refusedNumber);
        else Forget();
    }

    /// <inheritdoc/>
    public bool TryTake([NotNullWhen(true)] out IOpenedDevice? opened)
    {
        opened = null;
        if (_opening is not { } device)
        {
            // The device was given back, or was refused by its port: it may be there again already.
            if (_attached is { IsClosed: true } && !_attached.IsGone) _refusedNumber = (_attached.Plugged.Bus << 16) | _attached.Plugged.Number;
            if (_attached is { IsClosed: true }) Look();
            return false;
        }

        if (device.State == PhysicalState.Opening) return false;
        _opening = null;
        if (device.State == PhysicalState.Failed)
        {
            Refuse(device.Failure, (device.Plugged.Bus << 16) | device.Plugged.Number);
            return false;
        }

        _attached = new OpenedHostDevice(device);
        devices.Add(_attached);
        opened = _attached;
        return true;
    }

    /// <inheritdoc/>
    public bool TryTakeRefusal([NotNullWhen(true)] out string? reason)
    {
        reason = _refusal;
        _refusal = null;
        return reason is not null;
    }

    /// <inheritdoc/>
    public void Drop()
    {
        _dropped = true;
        devices.Remove(this);
        if (_opening is null) return;

        // Still being opened: it is given back as soon as it is open.
        var opened = new OpenedHostDevice(_opening);
        _opening = null;
        devices.Add(opened);
        opened.Close();
    }

    private void Refuse(string reason, int number)
    {
        _refusedNumber = number;
        _refusal = reason;
        _lastRefusal = reason;
        devices.Note(text, $"refused: {reason}");
    }

    private void Forget()
    {
        _refusedNumber = 0;
        _lastRefusal = "";
    }
}
