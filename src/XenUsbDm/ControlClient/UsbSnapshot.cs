using System;
using System.Collections.Generic;
using System.Text.Json;

namespace XenUsbDm.ControlClient;

/// <summary>A port in an answer of query-usb.</summary>
/// <param name="Port">CONTROLLER.PORT.</param>
/// <param name="Device">Description; null when empty.</param>
/// <param name="Speed">Speed; null when empty.</param>
/// <param name="Address">USB address.</param>
/// <param name="Counters">By name.</param>
internal sealed record PortSnapshot(string Port, string? Device, string? Speed, int Address, IReadOnlyDictionary<string, long> Counters)
{
    /// <summary>The port's rule and what it does; null without one.</summary>
    public string? Rule { get; init; }

    /// <summary>A counter; 0 when the other side does not have it.</summary>
    public long this[string counter] => Counters.GetValueOrDefault(counter);
}

/// <summary>A controller in an answer of query-usb.</summary>
/// <param name="Title">"controller 1: xhci, running".</param>
/// <param name="Ports">Its ports.</param>
internal sealed record ControllerSnapshot(string Title, IReadOnlyList<PortSnapshot> Ports);

/// <summary>An answer of query-usb, and when it came.</summary>
/// <param name="Controllers">The controllers.</param>
/// <param name="Timestamp">On the monotonic clock, in seconds.</param>
internal sealed record UsbSnapshot(IReadOnlyList<ControllerSnapshot> Controllers, double Timestamp)
{
    /// <summary>Asks for one. Throws <see cref="QmpFailure"/> when the answer cannot be read.</summary>
    public static UsbSnapshot Read(QmpClient client)
    {
        using JsonDocument reply = client.Execute("query-usb");
        double now = (double)TimeProvider.System.GetTimestamp() / TimeProvider.System.TimestampFrequency;
        return Read(reply.RootElement, now);
    }

    /// <summary>Reads an answer that came at <paramref name="timestamp"/>.</summary>
    public static UsbSnapshot Read(JsonElement reply, double timestamp)
    {
        try
        {
            var controllers = new List<ControllerSnapshot>();
            foreach (JsonElement controller in reply.GetProperty("return").GetProperty("controllers").EnumerateArray())
            {
                var ports = new List<PortSnapshot>();
                foreach (JsonElement port in controller.GetProperty("ports").EnumerateArray()) ports.Add(ReadPort(port));
                controllers.Add(new ControllerSnapshot(Title(controller), ports));
            }

            return new UsbSnapshot(controllers, timestamp);
        }
        catch (Exception flaw) when (flaw is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new QmpFailure("query-usb's answer cannot be read; are both sides of one version?");
        }
    }

    private static string Title(JsonElement controller)
    {
        string state = controller.TryGetProperty("error", out JsonElement error) ? $"stopped with {error.GetString()}"
            : controller.GetProperty("running").GetBoolean() ? "running"
            : "halted";
        return $"controller {controller.GetProperty("controller").GetInt32()}: {controller.GetProperty("type").GetString()}, {state}";
    }

    private static PortSnapshot ReadPort(JsonElement port)
    {
        var counters = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (JsonProperty counter in port.GetProperty("counters").EnumerateObject()) counters[counter.Name] = counter.Value.GetInt64();
        string place = port.GetProperty("port").GetString() ?? "";
        string? rule = port.TryGetProperty("rule", out JsonElement text) ? text.GetString() : null;
        return port.TryGetProperty("device", out JsonElement device)
            ? new PortSnapshot(
                place, device.GetProperty("description").GetString(), device.GetProperty("speed").GetString(), device.GetProperty("address").GetInt32(), counters)
            {
                Rule = rule,
            }
            : new PortSnapshot(place, null, null, 0, counters) { Rule = rule };
    }
}
