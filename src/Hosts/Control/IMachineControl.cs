using System;
using System.Collections.Generic;
using System.Globalization;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.Control;

// Control/ is the operator's side of a running machine.
//
//   socket bytes --> ControlSession (one per client) --> QmpCommands --> IMachineControl (MachineControl) --> pipelines, devices
//        ^                  ^                                                  |
//        '---- Output ------'--------- ControlHub <--- IControlEvents ---------'
//
// Everything here is synchronous: bytes and time go in, bytes come out. Sockets are the transport's, which moves bytes
// between a descriptor and a session; so the protocol is tested without one.

/// <summary>Where a device is plugged in: controller and connector, both counted from 1.</summary>
public readonly record struct PortPlace(int Controller, int Port)
{
    /// <summary>Parses <c>PORT</c> (of controller 1) or <c>CONTROLLER.PORT</c>, as on the command line.</summary>
    public static bool TryParse(string? text, out PortPlace place)
    {
        place = default;
        if (text is null) return false;
        int dot = text.IndexOf('.', StringComparison.Ordinal);
        int controller = 1;
        if (!TryNumber(text.AsSpan(dot + 1), out int port) || (dot >= 0 && !TryNumber(text.AsSpan(0, dot), out controller))) return false;
        place = new PortPlace(controller, port);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Controller}.{Port}");

    private static bool TryNumber(ReadOnlySpan<char> text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number >= 1;
}

/// <summary>What became of an operator's wish.</summary>
public enum ControlOutcome
{
    /// <summary>Done, or taken on.</summary>
    Done,

    /// <summary>What it named is not there.</summary>
    NotFound,

    /// <summary>It cannot be done.</summary>
    Refused,
}

/// <summary>Outcome and, unless it is done, one line for the operator that says why and what to do.</summary>
public readonly record struct ControlResult(ControlOutcome Outcome, string Message)
{
    /// <summary>It is done.</summary>
    public static ControlResult Done => new(ControlOutcome.Done, "");

    /// <summary>What was named is not there.</summary>
    public static ControlResult NotFound(string message) => new(ControlOutcome.NotFound, message);

    /// <summary>It cannot be done.</summary>
    public static ControlResult Refused(string message) => new(ControlOutcome.Refused, message);
}

/// <summary>State of the guest as QMP's RunState names it.</summary>
public enum MachineStatus
{
    /// <summary>No guest has come yet, or it has gone and may come back ("prelaunch").</summary>
    Prelaunch,

    /// <summary>The guest runs ("running").</summary>
    Running,

    /// <summary>The process ends ("shutdown").</summary>
    Shutdown,
}

/// <summary>Counters by name, in the order of the inspect tree.</summary>
/// <param name="Endpoint">Endpoint as in the inspect tree ("ep1in"); empty for a whole port.</param>
/// <param name="Values">Name and value.</param>
public sealed record CounterSet(string Endpoint, IReadOnlyList<KeyValuePair<string, long>> Values);

/// <summary>One connector as query-usb shows it.</summary>
/// <param name="Place">Where.</param>
/// <param name="Device">Description of the device; null when empty.</param>
/// <param name="Speed">Its speed in lower case; null when empty.</param>
/// <param name="Address">USB address, 0 before it has one.</param>
/// <param name="Suspended">The guest suspended the port.</param>
/// <param name="Counters">Of the whole port, since the device was attached.</param>
/// <param name="Endpoints">Of each endpoint that was used.</param>
public sealed record PortStatus(
    PortPlace Place, string? Device, string? Speed, int Address, bool Suspended, CounterSet Counters, IReadOnlyList<CounterSet> Endpoints)
{
    /// <summary>The port's rule and what it does ("host:1-2.3 waits"); null without one.</summary>
    public string? Rule { get; init; }
}

/// <summary>One controller as query-usb shows it.</summary>
/// <param name="Number">Counted from 1.</param>
/// <param name="Kind">"xhci".</param>
/// <param name="Running">The guest has started it.</param>
/// <param name="Error">"HCE" or "HSE" when it stopped for one, else null.</param>
/// <param name="Ports">Its connectors.</param>
public sealed record ControllerStatus(int Number, string Kind, bool Running, string? Error, IReadOnlyList<PortStatus> Ports);

/// <summary>The machine as the control side acts on it. Called from the loop; no member blocks or throws for what a client sent.</summary>
public interface IMachineControl : IInspectable
{
    /// <summary>State of the guest.</summary>
    MachineStatus Status { get; }

    /// <summary>Controllers, ports, devices and counters at this moment.</summary>
    IReadOnlyList<ControllerStatus> Query();

    /// <summary>Opens <paramref name="device"/>, written as on the command line, and plugs it in.</summary>
    ControlResult Attach(VirtualTime now, PortPlace place, string device);

    /// <summary>
    /// Unplugs a device; the guest sees it at once. Its files are closed soon after: <paramref name="closing"/> says when.
    /// </summary>
    ControlResult Detach(VirtualTime now, PortPlace place, out IOpenedDevice? closing);

    /// <summary>
    /// Presses keys (HID usages, 4-255) together and releases them after <paramref name="hold"/> nanoseconds, after what was
    /// sent before; on the keyboard at <paramref name="place"/>, or on the first one.
    /// </summary>
    ControlResult SendKeys(VirtualTime now, PortPlace? place, IReadOnlyList<byte> usages, ulong hold);

    /// <summary>Has Xen told of every page of the guest that is written from now on, or no longer; refused for other guests.</summary>
    ControlResult SetDirtyLog(bool enable);

    /// <summary>Ends the process in good order, after this turn of the loop.</summary>
    void Quit();
}

/// <summary>What the control side tells its clients without being asked.</summary>
public interface IControlEvents
{
    /// <summary>A device was plugged in.</summary>
    void DeviceAttached(VirtualTime now, PortPlace place, string device, UsbSpeed speed);

    /// <summary>A device was unplugged, by the operator or because it is gone.</summary>
    void DeviceDetached(VirtualTime now, PortPlace place, string device);

    /// <summary>A port's rule found its device and could not have it; it waits for another plug.</summary>
    void DeviceRefused(VirtualTime now, PortPlace place, string rule, string reason);

    /// <summary>A controller stopped for <paramref name="error"/> ("HCE", "HSE") until the guest resets it.</summary>
    void ControllerError(VirtualTime now, int controller, string error);

    /// <summary>The file or disk below a device failed; <paramref name="errors"/> counts since it was opened.</summary>
    void BlockError(VirtualTime now, PortPlace place, string device, long errors);
}

/// <summary>Makes devices from what an operator writes; the executable's, since it opens files.</summary>
public interface IDeviceSource
{
    /// <summary>Opens a device without blocking for long; on null <paramref name="error"/> is one line that says what to do.</summary>
    IOpenedDevice? Open(string device, out string error);

    /// <summary>
    /// A rule, when <paramref name="device"/> names a physical device. Null with an <paramref name="error"/> when it is refused,
    /// null without one when the text is not that of a physical device.
    /// </summary>
    IPortRule? OpenRule(string device, out string error)
    {
        error = "";
        return null;
    }
}

/// <summary>A device with what was opened for it.</summary>
public interface IOpenedDevice
{
    /// <summary>The device.</summary>
    IUsbDevice Device { get; }

    /// <summary>File operations that end on another thread; null when it has none.</summary>
    ICompletionSource? Completions { get; }

    /// <summary>
    /// Operations below the device that failed since it was opened, for reasons that the guest cannot know: of a disk's file, or
    /// of the host's USB stack (a transfer of a physical device that fails is not one, the guest learns why).
    /// </summary>
    long Errors { get; }

    /// <summary>One line on the one that failed last, and what to do; empty when none has.</summary>
    string Fault { get; }

    /// <summary>The physical device has left the host; it is to be detached.</summary>
    bool IsGone => false;

    /// <summary>Everything is closed and could be opened again.</summary>
    bool IsClosed { get; }

    /// <summary>Starts to close, off the loop where that may block. Called once, after the device was detached.</summary>
    void Close();
}
