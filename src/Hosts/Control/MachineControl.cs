using System;
using System.Collections.Generic;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.Control;

/// <summary>
/// The control side of a machine made of controllers with their pipelines. Devices that the command line attaches come
/// this way too, so that each can be detached and closed. <see cref="Advance"/> is called in every turn of the loop, before
/// the model advances: it types keys and notices errors.
/// </summary>
public sealed class MachineControl : IMachineControl, ITimed
{
    private readonly IReadOnlyList<ControlledController> _controllers;
    private readonly IInspectable _tree;
    private readonly IDeviceSource _source;
    private readonly Action _quit;
    private readonly Dictionary<PortPlace, Attachment> _attached = [];
    private readonly Dictionary<PortPlace, IPortRule> _rules = [];
    private readonly List<IOpenedDevice> _closing = [];
    private readonly LogBudget _budget = new();
    private readonly ILogger _log;
    private readonly KeyTyping _typing = new();
    private readonly string?[] _errors;

    /// <summary>
    /// Control over <paramref name="controllers"/>; <paramref name="tree"/> is the machine's inspect tree, <paramref name="quit"/>
    /// ends the loop, <paramref name="log"/> gets what fails below the devices.
    /// </summary>
    public MachineControl(IReadOnlyList<ControlledController> controllers, IInspectable tree, IDeviceSource source, Action quit, ILogger? log = null)
    {
        ArgumentNullException.ThrowIfNull(controllers);
        ArgumentNullException.ThrowIfNull(tree);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(quit);
        _controllers = controllers;
        _tree = tree;
        _source = source;
        _quit = quit;
        _log = log ?? NullLogger.Instance;
        _errors = new string?[controllers.Count];
    }

    /// <summary>Turns Xen's log of written pages on or off; null when the guest is no Xen domain.</summary>
    public Action<bool>? DirtyLog { get; set; }

    /// <summary>Who is told of events; null for nobody.</summary>
    public IControlEvents? Events { get; set; }

    /// <inheritdoc/>
    public MachineStatus Status { get; set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline
    {
        get
        {
            VirtualTime next = _typing.NextDeadline;
            foreach (IPortRule rule in _rules.Values) next = VirtualTime.Min(next, rule.NextLook);
            return next;
        }
    }

    /// <summary>A speed as on the command line.</summary>
    public static string NameOf(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Low => "low",
        UsbSpeed.Full => "full",
        UsbSpeed.High => "high",
        _ => "super",
    };

    /// <inheritdoc/>
    public IReadOnlyList<ControllerStatus> Query()
    {
        var controllers = new ControllerStatus[_controllers.Count];
        for (int i = 0; i < controllers.Length; i++)
        {
            ControlledController controller = _controllers[i];
            controllers[i] = new ControllerStatus(i + 1, controller.Kind, controller.IsRunning, controller.Error, WithRules(PortReader.Read(i + 1, controller.Pipeline)));
        }

        return controllers;
    }

    /// <inheritdoc/>
    public ControlResult Attach(VirtualTime now, PortPlace place, string device)
    {
        if (Find(place, out ControlResult missing) is not { } controller) return missing;
        if (controller.Pipeline.AttachedDevice(new PortNumber(place.Port)) is { } present)
            return ControlResult.Refused($"port {place} has {present.Description}; detach it first");
        if (_rules.TryGetValue(place, out IPortRule? bound)) return ControlResult.Refused($"port {place} has the rule {bound.Text}; detach it first");
        if (_source.OpenRule(device, out string error) is { } rule) return Bind(now, place, rule);
        if (error.Length > 0) return ControlResult.Refused(error);
        return _source.Open(device, out error) is { } opened ? Attach(now, place, opened) : ControlResult.Refused(error);
    }

    /// <summary>Binds a port to a physical device: it is plugged in when it is there, now or later.</summary>
    public ControlResult Bind(VirtualTime now, PortPlace place, IPortRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        if (Find(place, out ControlResult missing) is null)
        {
            rule.Drop();
            return missing;
        }

        _rules[place] = rule;
        FollowRule(now, place, rule);
        return ControlResult.Done;
    }

    /// <summary>Plugs in a device that is open; it is closed when it is detached, and when the port does not take it.</summary>
    public ControlResult Attach(VirtualTime now, PortPlace place, IOpenedDevice opened)
    {
        ArgumentNullException.ThrowIfNull(opened);
        string description = opened.Device.Description;
        UsbSpeed speed = opened.Device.Speed;
        if (Find(place, out ControlResult missing) is not { } controller)
        {
            Close(opened);
            return missing;
        }

        controller.Enter(now);
        AttachResult result = controller.Attach(new PortNumber(place.Port), opened);
        if (result != AttachResult.Attached)
        {
            Close(opened);
            return ControlResult.Refused(result == AttachResult.SpeedNotAllowed
                ? $"port {place} takes no device of {NameOf(speed)} speed"
                : $"port {place} does not take {description}: {result}");
        }

        _attached[place] = new Attachment(opened);
        Events?.DeviceAttached(now, place, description, speed);
        return ControlResult.Done;
    }

    /// <inheritdoc/>
    public ControlResult Detach(VirtualTime now, PortPlace place, out IOpenedDevice? closing)
    {
        closing = null;
        if (Find(place, out ControlResult missing) is not { } controller) return missing;
        bool bound = _rules.Remove(place, out IPortRule? rule);
        rule?.Drop();
        if (Unplug(now, controller, place, out closing)) return ControlResult.Done;
        return bound ? ControlResult.Done : ControlResult.NotFound($"port {place} is empty");
    }

    private bool Unplug(VirtualTime now, ControlledController controller, PortPlace place, out IOpenedDevice? closing)
    {
        closing = null;
        controller.Enter(now);
        _attached.Remove(place, out Attachment? attachment);
        if (controller.Detach(new PortNumber(place.Port), attachment?.Opened) is not { } device) return false;
        string description = device.Description;
        if (device is BootKeyboard keyboard) _typing.Forget(keyboard);
        closing = attachment?.Opened;
        if (closing is not null) Close(closing);
        Events?.DeviceDetached(now, place, description);
        return true;
    }

    /// <inheritdoc/>
    public ControlResult SendKeys(VirtualTime now, PortPlace? place, IReadOnlyList<byte> usages, ulong hold)
    {
        ArgumentNullException.ThrowIfNull(usages);
        BootKeyboard? keyboard;
        if (place is { } named)
        {
            if (Find(named, out ControlResult missing) is not { } controller) return missing;
            keyboard = controller.Pipeline.AttachedDevice(new PortNumber(named.Port)) as BootKeyboard;
            if (keyboard is null) return ControlResult.NotFound($"no keyboard is on port {named}");
        }
        else
        {
            keyboard = FirstKeyboard();
            if (keyboard is null) return ControlResult.NotFound("no keyboard is attached; attach one with device 'keyboard'");
        }

        EnterAll(now);
        return _typing.TryAdd(now, keyboard, usages, hold)
            ? ControlResult.Done
            : ControlResult.Refused($"{ControlLimits.WaitingChords} send-key commands wait already; send the rest later");
    }

    /// <inheritdoc/>
    public ControlResult SetDirtyLog(bool enable)
    {
        if (DirtyLog is null) return ControlResult.Refused("the guest is no Xen domain: nobody asks which pages were written");
        DirtyLog(enable);
        return ControlResult.Done;
    }

    /// <inheritdoc/>
    public void Quit()
    {
        Status = MachineStatus.Shutdown;
        _quit();
    }

    /// <summary>Detaches everything and starts to close it, when the process ends; returns all that is being closed, since before too.</summary>
    public IReadOnlyList<IOpenedDevice> DetachAll(VirtualTime now)
    {
        foreach (IPortRule rule in _rules.Values) rule.Drop();
        _rules.Clear();
        foreach (PortPlace place in new List<PortPlace>(_attached.Keys)) Detach(now, place, out _);
        return _closing;
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        if (_typing.NextDeadline <= now)
        {
            EnterAll(now);
            _typing.Advance(now);
        }

        if (_closing.Count > 0) _closing.RemoveAll(static opened => opened.IsClosed);
        for (int i = 0; i < _errors.Length; i++)
        {
            string? error = _controllers[i].Error;
            if (error == _errors[i]) continue;
            _errors[i] = error;
            if (error is not null) Events?.ControllerError(now, i + 1, error);
        }

        FollowRules(now);
        foreach ((PortPlace place, Attachment attachment) in _attached)
        {
            long errors = attachment.Opened.Errors;
            if (errors == attachment.SeenErrors) continue;
            attachment.SeenErrors = errors;
            string device = attachment.Opened.Device.Description;
            if (_budget.TryTake(now, out long suppressed)) ControlLog.HostFailed(_log, place, device, attachment.Opened.Fault, errors, suppressed);
            if (attachment.Opened.Device is DiskDevice) Events?.BlockError(now, place, device, errors);
        }
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        _tree.Inspect(writer);
        writer.Child("typing", _typing);
        writer.Number("closing-devices", _closing.Count);
        if (Events is IInspectable events) writer.Child("control", events);
    }

    private BootKeyboard? FirstKeyboard()
    {
        foreach (ControlledController controller in _controllers)
        {
            for (int port = 1; port <= controller.Pipeline.PortCount; port++)
            {
                if (controller.Pipeline.AttachedDevice(new PortNumber(port)) is BootKeyboard keyboard) return keyboard;
            }
        }

        return null;
    }

    // A device that has left the host leaves its port; then each rule may bring its own.
    private void FollowRules(VirtualTime now)
    {
        if (_rules.Count == 0) return;
        foreach ((PortPlace place, IPortRule rule) in _rules)
        {
            if (_attached.TryGetValue(place, out Attachment? attachment) && attachment.Opened.IsGone)
                Unplug(now, _controllers[place.Controller - 1], place, out _);
            FollowRule(now, place, rule);
        }
    }

    private void FollowRule(VirtualTime now, PortPlace place, IPortRule rule)
    {
        if (rule.TryTakeRefusal(out string? reason)) Events?.DeviceRefused(now, place, rule.Text, reason);
        if (!rule.TryTake(out IOpenedDevice? opened)) return;
        ControlResult result = Attach(now, place, opened);
        if (result.Outcome != ControlOutcome.Done) Events?.DeviceRefused(now, place, rule.Text, result.Message);
    }

    private PortStatus[] WithRules(IReadOnlyList<PortStatus> ports)
    {
        var result = new PortStatus[ports.Count];
        for (int i = 0; i < result.Length; i++)
            result[i] = _rules.TryGetValue(ports[i].Place, out IPortRule? rule) ? ports[i] with { Rule = $"{rule.Text} {rule.State}" } : ports[i];
        return result;
    }

    // Kept until it is closed: the process must not end before.
    private void Close(IOpenedDevice opened)
    {
        opened.Close();
        if (!opened.IsClosed) _closing.Add(opened);
    }

    private void EnterAll(VirtualTime now)
    {
        foreach (ControlledController controller in _controllers) controller.Enter(now);
    }

    private ControlledController? Find(PortPlace place, out ControlResult missing)
    {
        missing = default;
        if (place.Controller < 1 || place.Controller > _controllers.Count)
        {
            missing = ControlResult.NotFound($"there is no controller {place.Controller}; there are {_controllers.Count}");
            return null;
        }

        ControlledController controller = _controllers[place.Controller - 1];
        if (place.Port >= 1 && place.Port <= controller.Pipeline.PortCount) return controller;
        missing = ControlResult.NotFound($"controller {place.Controller} has ports 1 to {controller.Pipeline.PortCount}, not {place.Port}");
        return null;
    }

    private sealed class Attachment(IOpenedDevice opened)
    {
        public IOpenedDevice Opened { get; } = opened;

        public long SeenErrors { get; set; }
    }
}
