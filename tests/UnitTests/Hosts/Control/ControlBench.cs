using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using System.Linq;
using System.Text;
using System.Text.Json;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Control;

/// <summary>A machine with its control side, and devices that are made without files.</summary>
internal sealed class ControlBench : IDeviceSource
{
    public ControlBench()
    {
        Control = new MachineControl([new ControlledController(Machine.Machine)], Machine, this, () => Quits++, Log) { Status = MachineStatus.Running };
        Hub = new ControlHub(Control, ControlVersion.Parse("1.2.3+abc"), new FixedClock());
        Control.Events = Hub;
    }

    public InProcessMachine Machine { get; } = new();

    public LogList Log { get; } = new();

    public MachineControl Control { get; }

    public ControlHub Hub { get; }

    public int Quits { get; private set; }

    public List<FakeOpened> Opened { get; } = [];

    /// <summary>Closing takes until the test says so.</summary>
    public bool ClosesSlowly { get; set; }

    public ControlSession Session()
    {
        ControlSession session = Hub.Open()!;
        Take(session);
        Assert.Contains("return", Execute(session, """{"execute":"qmp_capabilities"}"""));
        return session;
    }

    /// <summary>Feeds, runs and returns the lines that came back.</summary>
    public List<string> Exchange(ControlSession session, string text)
    {
        Feed(session, text);
        Hub.Run(Machine.Now);
        return Take(session);
    }

    public string Execute(ControlSession session, string text) => Assert.Single(Exchange(session, text), line => !line.Contains("\"event\"", StringComparison.Ordinal));

    public JsonElement Return(ControlSession session, string text)
    {
        JsonElement reply = JsonDocument.Parse(Execute(session, text)).RootElement;
        Assert.True(reply.TryGetProperty("return", out JsonElement value), reply.ToString());
        return value;
    }

    public (string Class, string Description) Error(ControlSession session, string text)
    {
        JsonElement reply = JsonDocument.Parse(Execute(session, text)).RootElement;
        Assert.True(reply.TryGetProperty("error", out JsonElement error), reply.ToString());
        return (error.GetProperty("class").GetString()!, error.GetProperty("desc").GetString()!);
    }

    public static void Feed(ControlSession session, string text) => Feed(session, Encoding.UTF8.GetBytes(text));

    public static void Feed(ControlSession session, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count = Math.Min(bytes.Length, session.InputSpace.Length);
            Assert.NotEqual(0, count);
            bytes[..count].CopyTo(session.InputSpace.Span);
            session.Received(count);
            bytes = bytes[count..];
        }
    }

    public static List<string> Take(ControlSession session)
    {
        string text = Encoding.UTF8.GetString(session.Output);
        session.Sent(session.Output.Length);
        Assert.True(text.Length == 0 || text.EndsWith("\r\n", StringComparison.Ordinal));
        return [.. text.Split("\r\n", StringSplitOptions.RemoveEmptyEntries)];
    }

    public void Advance(ulong nanoseconds = 0)
    {
        Machine.AdvanceBy(nanoseconds);
        Control.Advance(Machine.Now);
        Machine.Step();
    }

    public IOpenedDevice? Open(string device, out string error)
    {
        IUsbDevice? made = device switch
        {
            "disk" => new DiskDevice(new MemoryBlockStore(64), new DiskOptions()),
            "zero" => new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.Super }),
            "keyboard" => new BootKeyboard(UsbSpeed.Full),
            "slow" => new BootKeyboard(UsbSpeed.Low),
            _ => null,
        };
        error = made is null ? $"no device '{device}'" : "";
        if (made is null) return null;
        var opened = new FakeOpened(made) { ClosesSlowly = ClosesSlowly };
        Opened.Add(opened);
        return opened;
    }

    /// <summary>Rules that <see cref="OpenRule"/> hands out; "host:refused" is none.</summary>
    public List<FakeRule> Rules { get; } = [];

    public IPortRule? OpenRule(string device, out string error)
    {
        error = device == "host:refused" ? "1-2 is in use by pid 7, domain 5; detach it there first" : "";
        if (!device.StartsWith("host:", StringComparison.Ordinal) || error.Length > 0) return null;
        var rule = new FakeRule(device);
        Rules.Add(rule);
        return rule;
    }

    public static IEnumerable<string> Events(IEnumerable<string> lines) =>
        lines.Where(line => line.Contains("\"event\"", StringComparison.Ordinal));

    internal sealed class FakeRule(string text) : IPortRule
    {
        public IOpenedDevice? Ready { get; set; }

        public string? Refusal { get; set; }

        public int Drops { get; private set; }

        public VirtualTime NextLook { get; set; } = VirtualTime.Never;

        public string Text => text;

        public string State { get; set; } = "waits";

        public bool TryTake([NotNullWhen(true)] out IOpenedDevice? opened)
        {
            opened = Ready;
            Ready = null;
            return opened is not null;
        }

        public bool TryTakeRefusal([NotNullWhen(true)] out string? reason)
        {
            reason = Refusal;
            Refusal = null;
            return reason is not null;
        }

        public void Drop() => Drops++;
    }

    internal sealed class FakeOpened(IUsbDevice device) : IOpenedDevice
    {
        public IUsbDevice Device => device;

        public ICompletionSource? Completions => null;

        public long Errors { get; set; }

        public string Fault { get; set; } = "";

        public bool IsGone { get; set; }

        public bool IsClosed { get; set; }

        public int Closes { get; private set; }

        public bool ClosesSlowly { get; init; }

        public void Close()
        {
            Closes++;
            IsClosed = !ClosesSlowly;
        }
    }

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeSeconds(1_700_000_000).AddTicks(1_234_560);
    }
}
