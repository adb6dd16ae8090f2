using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Native.LibUsb;

namespace XenUsbDm.Run;

/// <summary>One port's rule for a physical device: looks for it, has it opened, and waits again when it is gone.</summary>
internal sealed class HostRule(HostDevices devices, DeviceSpec spec, string text) : IPortRule
{
    // A program that lets go of a device mostly resets it and gives the kernel's drivers back: what claims it meanwhile loses it.
    private const ulong SettleNanoseconds = 1_000_000_000;

    // What could not be opened is not tried again before something has changed: trying takes the kernel's drivers off.
    private readonly HashSet<int> _failed = []; // Plugs, by bus and device number.
    private PhysicalDevice? _opening;
    private OpenedHostDevice? _attached;
    private string? _refusal;
    private string _lastRefusal = "";
    private string _told = ""; // The same with what becomes of the rule.
    private PluggedDevice? _busy; // The device that another program has.
    private volatile bool _free; // It seems to have it no more.
    private volatile bool _guessed; // The last try was made since nobody seemed to have it: no more tries on that ground.
    private VirtualTime _lookAt = VirtualTime.Never;
    private bool _dropped;

    /// <inheritdoc/>
    public string Text => text;

    /// <inheritdoc/>
    public string State => this switch
    {
        { _attached.IsClosed: false } => "attached",
        { _opening: not null } => "opens",
        _ when _lastRefusal.Length > 0 => $"refused: {_told}",
        _ => "waits",
    };

    /// <summary>Why the device that is plugged in could not be had; empty otherwise.</summary>
    public string Refused => _lastRefusal;

    /// <inheritdoc/>
    public VirtualTime NextLook => _lookAt;

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
        string refusal = "";
        bool inUse = false;
        List<PluggedDevice> matching = devices.Sysfs.Devices().FindAll(device => Matches(spec, device.Facts));
        if (!matching.Exists(static device => device.IsInReset)) _failed.IntersectWith(matching.ConvertAll(static device => device.Plug));
        foreach (PluggedDevice device in matching)
        {
            if (_failed.Contains(device.Plug)) continue;

            // The kernel resets it, has not configured it yet, or it has no configuration: the next message says when; of a
            // reset's end there is none.
            if (device.IsInReset) _lookAt = devices.Loop.Now.Plus(SettleNanoseconds);
            if (device.IsInReset || (device.Configuration == 0 && !device.Facts.IsHub)) return;
            _opening = devices.Open(device, out refusal, out inUse);
            if (_opening is null) continue;
            _lastRefusal = "";
            devices.Note(text, $"found {device.Facts.Description}");
            return;
        }

        if (refusal.Length > 0) Refuse(refusal, inUse);
        else if (matching.Count == 0) _lastRefusal = "";
    }

    /// <summary>A program has closed a device. When it is the one that this rule waits for, it is tried again soon.</summary>
    public void Closed(string node)
    {
        if (_busy?.Node != node) return;
        _guessed = false;
        _free = true;
    }

    /// <inheritdoc/>
    public bool TryTake([NotNullWhen(true)] out IOpenedDevice? opened)
    {
        opened = null;
        if (_free)
        {
            _free = false;
            _lookAt = devices.Loop.Now.Plus(SettleNanoseconds);
        }

        if (_lookAt <= devices.Loop.Now)
        {
            _lookAt = VirtualTime.Never;
            if (_busy is { } busy) _failed.Remove(busy.Plug);
            _busy = null;
            Look();
        }

        if (_opening is not { } device)
        {
            // The device was given back, or was refused by its port: it may be there again already.
            if (_attached is { IsClosed: true } && !_attached.IsGone) _failed.Add(_attached.Plugged.Plug);
            if (_attached is { IsClosed: true }) Look();
            return false;
        }

        if (device.State == PhysicalState.Opening) return false;
        _opening = null;
        if (device.State == PhysicalState.Failed)
        {
            _failed.Add(device.Plugged.Plug);
            Refuse(device.Failure, device.IsClaimedElsewhere);
            if (device.IsClaimedElsewhere) AwaitGiveBack(device.Plugged);
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

    private void AwaitGiveBack(PluggedDevice device)
    {
        _busy = device;
        devices.Await(device.Node, () =>
        {
            if (_guessed) return;
            _guessed = true;
            _free = true;
        });
    }

    // The same reason again is no news.
    private void Refuse(string reason, bool inUse)
    {
        if (reason == _lastRefusal) return;
        _lastRefusal = reason;
        _told = inUse ? $"{reason}; the rule waits and takes it when it is given back" : reason;
        _refusal = _told;
        devices.Note(text, $"refused: {_told}");
    }
}
