using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Run;

/// <summary>
/// The physical devices of one process: libusb, the slow lane, the kernel's messages, and the rules that wait for devices.
/// Nothing of it is opened before the first device is named. Lives on the loop's thread.
/// </summary>
/// <param name="loop">The loop of the process.</param>
/// <param name="guest">Who has the devices, for messages of other processes.</param>
/// <param name="logger">Messages about devices.</param>
/// <param name="domainIsThere">Whether a domain of Xen exists; null where there is no Xen.</param>
/// <param name="sysfs">What is plugged in; null: this machine's.</param>
/// <param name="taken">Which process has what; null: this machine's.</param>
internal sealed partial class HostDevices(
    IEventLoop loop, string guest, ILogger logger, Func<int, bool>? domainIsThere = null, UsbSysfs? sysfs = null, TakenDevices? taken = null) : IDisposable
{
    // A guest's transfers and the slow lane's last jobs end in milliseconds; a device that does not answer takes the kernel 5 s a request.
    private static readonly TimeSpan LongestClose = TimeSpan.FromSeconds(20);

    private readonly List<HostRule> _rules = [];
    private readonly List<OpenedHostDevice> _opened = [];
    private LibUsbContext? _context;
    private SlowLane? _lane;
    private UeventSocket? _uevents;
    private TakenWatch? _watch;
    private LeavingGuests? _leaving;
    private bool _started;

    /// <summary>What is plugged in.</summary>
    public UsbSysfs Sysfs { get; } = sysfs ?? new UsbSysfs();

    /// <summary>Which process has what.</summary>
    public TakenDevices Taken { get; } = taken ?? new TakenDevices();

    /// <summary>The loop of the process.</summary>
    public IEventLoop Loop => loop;

    /// <summary>A rule for a physical device; null when libusb is missing or the device that is plugged in now cannot be had.</summary>
    public HostRule? OpenRule(DeviceSpec spec, string text, out string error)
    {
        if (!TryStart(out error)) return null;
        if (!_started && domainIsThere is not null) AwaitLeaving(spec, text);
        var rule = new HostRule(this, spec, text);
        rule.Look();
        if (rule.Refused.Length > 0)
        {
            error = rule.Refused;
            return null;
        }

        _rules.Add(rule);
        return rule;
    }

    /// <summary>Waits until nothing is being opened: at start, the devices that are plugged in are on their ports before the guest runs.</summary>
    public void Settle()
    {
        _lane?.Drain();
        _started = true;
    }

    /// <summary>Why a device that is plugged in is not on its port; null when every one is.</summary>
    public string? Refusal => _rules.Find(static rule => rule.Refused.Length > 0)?.Refused;

    /// <summary>Begins to open a device; null when it cannot be had now, which changes nothing: it may be tried again at any time.</summary>
    public PhysicalDevice? Open(PluggedDevice device, out string refusal, out bool inUse)
    {
        inUse = false;
        if (device.Facts.IsHub)
        {
            refusal = $"{device.Facts.BusPath} is a hub; name a device that is plugged into it";
            return null;
        }

        if (Taken.TryTake(device.Facts.BusPath, out refusal, out inUse) is not { } place) return null;
        if (UsbSysfs.UseOf(device) is { } use) InUse(device.Facts.BusPath, use);
        return new PhysicalDevice(_context!, _lane!, loop, device, place, guest);
    }

    /// <summary>
    /// Tells the rules when the program that has <paramref name="node"/> closes it. When it has done so already, which the
    /// slow lane finds out (every process is looked at), <paramref name="free"/> is called there.
    /// </summary>
    public void Await(string node, Action free)
    {
        _watch?.Await(node);
        _lane!.Add(() =>
        {
            if (OpenFiles.HolderOf(node) is not null) return;
            free();
            loop.Wake();
        });
    }

    /// <summary>Keeps a device that is open until it is closed.</summary>
    public void Add(OpenedHostDevice opened) => _opened.Add(opened);

    /// <summary>The rule is no more.</summary>
    public void Remove(HostRule rule) => _rules.Remove(rule);

    /// <summary>Says what became of a rule's device.</summary>
    public void Note(string rule, string what) => RuleNote(rule, what);

    /// <summary>Gives every device back and waits for it; the loop does not run any more.</summary>
    public void Dispose()
    {
        foreach (HostRule rule in _rules.ToArray()) rule.Drop();
        var time = Stopwatch.StartNew();
        foreach (OpenedHostDevice opened in _opened) opened.Close();
        foreach (OpenedHostDevice opened in _opened)
        {
            while (!opened.IsClosed && time.Elapsed < LongestClose)
            {
                _context!.Ready(LoopEvents.Readable);
                Thread.Sleep(1);
            }
        }

        _uevents?.Dispose();
        _watch?.Dispose();
        bool quiet = _opened.TrueForAll(static opened => opened.IsClosed);
        if (!quiet) return; // The end of the process gives the rest back, as after a crash.
        _lane?.Dispose();
        _context?.Dispose();
    }

    // Blocks, which it may as long as the loop does not run.
    private void AwaitLeaving(DeviceSpec spec, string rule)
    {
        _leaving ??= new LeavingGuests(Taken, domainIsThere!, static () => Thread.Sleep(LeavingGuests.PauseMilliseconds));
        foreach (PluggedDevice device in Sysfs.Devices())
        {
            if (HostRule.Matches(spec, device.Facts)) _leaving.Await(device.Facts.BusPath, what => RuleNote(rule, what));
        }
    }

    private bool TryStart(out string error)
    {
        error = "";
        if (_context is not null) return true;
        _context = LibUsbContext.TryOpen(loop, out error);
        if (_context is null) return false;
        _lane = new SlowLane();
        _uevents = UeventSocket.TryOpen(loop, Look);
        if (_uevents is null) NoHotplug();
        _watch = TakenWatch.TryOpen(loop, Taken, Look, Closed);
        if (_watch is null) NoWatch(Taken.Place);
        GiveBackLeftovers(_context, Sysfs, Taken, place => GivenBack(place));
        return true;
    }

    /// <summary>Gives back what processes that are gone have left taken, and tells of each place.</summary>
    public static void GiveBackLeftovers(LibUsbContext context, UsbSysfs sysfs, TakenDevices taken, Action<string> note)
    {
        foreach (TakenPlace place in taken.Leftovers())
        {
            using (place)
            {
                if (PhysicalDevice.TryGiveBack(context, sysfs, place)) note(place.BusPath);
            }
        }
    }

    // A program has closed a device that it had.
    private void Closed(string node)
    {
        foreach (HostRule rule in _rules) rule.Closed(node);
        loop.Wake();
    }

    // Something was plugged in or pulled, or another process has given a device back.
    private void Look()
    {
        foreach (HostRule rule in _rules) rule.Look();
        foreach (OpenedHostDevice opened in _opened) opened.Look(Sysfs);
        _opened.RemoveAll(static opened => opened.IsClosed);
        loop.Wake();
    }

    [LoggerMessage(300, LogLevel.Warning, "{Place}: the host itself uses it: {Use}; the guest takes it away")]
    private partial void InUse(string place, string use);

    [LoggerMessage(301, LogLevel.Information, "rule {Rule}: {What}")]
    private partial void RuleNote(string rule, string what);

    [LoggerMessage(302, LogLevel.Warning, "the kernel's messages about devices cannot be read here: a device that is plugged in later is not noticed. Attach it again then (ctl SOCKET attach PORT=DEVICE)")]
    private partial void NoHotplug();

    [LoggerMessage(304, LogLevel.Warning, "{Folder} cannot be watched; devices that other processes give back are not noticed")]
    private partial void NoWatch(string folder);

    [LoggerMessage(303, LogLevel.Information, "{Place}: given back to the host; the process that had it is gone")]
    private partial void GivenBack(string place);
}
