using System;
using System.Buffers;
using System.Collections.Generic;
using System.Text.Json;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Hosts.Control;

/// <summary>All sessions of one machine, and the events that go to each of them.</summary>
public sealed class ControlHub : IControlEvents, IInspectable
{
    private readonly List<ControlSession> _sessions = [];
    private readonly IMachineControl _machine;
    private readonly ControlVersion _version;
    private readonly TimeProvider _clock;

    // What a guest or a failing disk can cause at any rate is sent at a bounded one.
    private readonly LogBudget _controllerBudget = new();
    private readonly LogBudget _blockBudget = new();
    private long _dropped;

    /// <summary>A hub without sessions. <paramref name="clock"/> gives the timestamps that QMP's events carry.</summary>
    public ControlHub(IMachineControl machine, ControlVersion version, TimeProvider clock)
    {
        ArgumentNullException.ThrowIfNull(machine);
        ArgumentNullException.ThrowIfNull(version);
        ArgumentNullException.ThrowIfNull(clock);
        _machine = machine;
        _version = version;
        _clock = clock;
    }

    /// <summary>Sessions that are open.</summary>
    public IReadOnlyList<ControlSession> Sessions => _sessions;

    /// <summary>Some session has work left that needs no byte in or out.</summary>
    public bool IsReady
    {
        get
        {
            foreach (ControlSession session in _sessions)
            {
                if (session.IsReady) return true;
            }

            return false;
        }
    }

    /// <summary>A new client; null when <see cref="ControlLimits.Clients"/> are there.</summary>
    public ControlSession? Open()
    {
        if (_sessions.Count >= ControlLimits.Clients) return null;
        var session = new ControlSession(_machine, _version, Quit);
        _sessions.Add(session);
        return session;
    }

    /// <summary>The client is gone.</summary>
    public void Close(ControlSession session)
    {
        ArgumentNullException.ThrowIfNull(session);
        if (_sessions.Remove(session) && session.IsBroken) _dropped++;
    }

    /// <summary>Executes what has come from every client, a bounded number of commands each.</summary>
    public void Run(VirtualTime now)
    {
        foreach (ControlSession session in _sessions)
        {
            if (session.IsReady) session.Run(now);
        }
    }

    /// <inheritdoc/>
    public void DeviceAttached(VirtualTime now, PortPlace place, string device, UsbSpeed speed) => Emit("DEVICE_ATTACHED", data =>
    {
        data.WriteString("port", place.ToString());
        data.WriteString("device", device);
        data.WriteString("speed", MachineControl.NameOf(speed));
    });

    /// <inheritdoc/>
    public void DeviceDetached(VirtualTime now, PortPlace place, string device) => Emit("DEVICE_DETACHED", data =>
    {
        data.WriteString("port", place.ToString());
        data.WriteString("device", device);
    });

    /// <inheritdoc/>
    public void DeviceRefused(VirtualTime now, PortPlace place, string rule, string reason) => Emit("DEVICE_REFUSED", data =>
    {
        data.WriteString("port", place.ToString());
        data.WriteString("rule", rule);
        data.WriteString("reason", reason);
    });

    /// <inheritdoc/>
    public void ControllerError(VirtualTime now, int controller, string error)
    {
        if (!_controllerBudget.TryTake(now, out long suppressed)) return;
        Emit("CONTROLLER_ERROR", data =>
        {
            data.WriteNumber("controller", controller);
            data.WriteString("error", error);
            data.WriteNumber("suppressed", suppressed);
        });
    }

    /// <inheritdoc/>
    public void BlockError(VirtualTime now, PortPlace place, string device, long errors)
    {
        if (!_blockBudget.TryTake(now, out long suppressed)) return;
        Emit("BLOCK_IO_ERROR", data =>
        {
            data.WriteString("port", place.ToString());
            data.WriteString("device", device);
            data.WriteNumber("errors", errors);
            data.WriteNumber("suppressed", suppressed);
        });
    }

    /// <summary>Tells the clients that the process ends: asked to ("host-qmp-quit", "host-signal") or because the guest is gone ("guest-shutdown").</summary>
    public void Shutdown(string reason) => Emit("SHUTDOWN", data =>
    {
        data.WriteBoolean("guest", reason.StartsWith("guest", StringComparison.Ordinal));
        data.WriteString("reason", reason);
    });

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("clients", _sessions.Count);
        writer.Number("dropped", _dropped);
        for (int i = 0; i < _sessions.Count; i++)
        {
            using (writer.Node("client", i + 1)) _sessions[i].Inspect(writer);
        }
    }

    private void Quit()
    {
        Shutdown("host-qmp-quit");
        _machine.Quit();
    }

    private void Emit(string name, Action<Utf8JsonWriter> data)
    {
        if (_sessions.Count == 0) return;
        DateTimeOffset now = _clock.GetUtcNow();
        var line = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(line, ControlSession.WriterOptions))
        {
            writer.WriteStartObject();
            writer.WriteStartObject("timestamp");
            writer.WriteNumber("seconds", now.ToUnixTimeSeconds());
            writer.WriteNumber("microseconds", now.Ticks % TimeSpan.TicksPerSecond / TimeSpan.TicksPerMicrosecond);
            writer.WriteEndObject();
            writer.WriteString("event", name);
            writer.WriteStartObject("data");
            data(writer);
            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        line.Write("\r\n"u8);
        foreach (ControlSession session in _sessions) session.Notify(line.WrittenSpan);
    }
}
