using System;
using System.Collections.Generic;
using System.Text.Json;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Hosts.Control;

/// <summary>One execution of a command: what it gets and where its answer goes.</summary>
/// <param name="Machine">The machine.</param>
/// <param name="Version">This program.</param>
/// <param name="Now">The loop's instant.</param>
/// <param name="Arguments">Its arguments.</param>
/// <param name="Reply">Takes the value of "return"; when nothing is written it is an empty object.</param>
internal sealed record QmpCall(IMachineControl Machine, ControlVersion Version, VirtualTime Now, QmpArguments Arguments, Utf8JsonWriter Reply)
{
    /// <summary>The answer waits until this is closed.</summary>
    public IOpenedDevice? Awaited { get; set; }

    /// <summary>The machine quits when the answer is on its way.</summary>
    public bool Quits { get; set; }
}

/// <summary>The commands, each one method from arguments to answer. Names that QEMU has mean what they mean there.</summary>
internal static class QmpCommands
{
    private const ulong NanosecondsPerMillisecond = 1_000_000;

    private delegate QmpError? Command(QmpCall call);

    private static readonly SortedDictionary<string, Command> Commands = new(StringComparer.Ordinal)
    {
        ["device-attach"] = Attach,
        ["device-detach"] = Detach,
        ["inspect"] = Inspect,
        ["qmp_capabilities"] = static _ => new QmpError(QmpErrorClass.CommandNotFound, "Capabilities negotiation is already complete, command ignored"),
        ["query-commands"] = QueryCommands,
        ["query-status"] = QueryStatus,
        ["query-usb"] = QueryUsb,
        ["query-version"] = QueryVersion,
        ["quit"] = Quit,
        ["send-key"] = SendKey,
        ["xen-set-global-dirty-log"] = SetDirtyLog,
    };

    /// <summary>Executes a command after negotiation; null when it is done or its answer is awaited.</summary>
    public static QmpError? Execute(string name, QmpCall call) =>
        Commands.TryGetValue(name, out Command? command)
            ? command(call)
            : new QmpError(QmpErrorClass.CommandNotFound, $"The command {name} has not been found");

    private static QmpError? QueryCommands(QmpCall call)
    {
        if (Flawed(call) is { } flaw) return flaw;
        call.Reply.WriteStartArray();
        foreach (string name in Commands.Keys)
        {
            call.Reply.WriteStartObject();
            call.Reply.WriteString("name", name);
            call.Reply.WriteEndObject();
        }

        call.Reply.WriteEndArray();
        return null;
    }

    private static QmpError? QueryStatus(QmpCall call)
    {
        if (Flawed(call) is { } flaw) return flaw;
        MachineStatus status = call.Machine.Status;
        call.Reply.WriteStartObject();
        call.Reply.WriteString("status", status switch
        {
            MachineStatus.Running => "running",
            MachineStatus.Shutdown => "shutdown",
            _ => "prelaunch",
        });
        call.Reply.WriteBoolean("running", status == MachineStatus.Running);
        call.Reply.WriteEndObject();
        return null;
    }

    private static QmpError? QueryVersion(QmpCall call)
    {
        if (Flawed(call) is { } flaw) return flaw;
        call.Version.Write(call.Reply);
        return null;
    }

    private static QmpError? QueryUsb(QmpCall call)
    {
        if (Flawed(call) is { } flaw) return flaw;
        Utf8JsonWriter reply = call.Reply;
        reply.WriteStartObject();
        reply.WriteStartArray("controllers");
        foreach (ControllerStatus controller in call.Machine.Query())
        {
            reply.WriteStartObject();
            reply.WriteNumber("controller", controller.Number);
            reply.WriteString("type", controller.Kind);
            reply.WriteBoolean("running", controller.Running);
            if (controller.Error is not null) reply.WriteString("error", controller.Error);
            reply.WriteStartArray("ports");
            foreach (PortStatus port in controller.Ports) WritePort(reply, port);
            reply.WriteEndArray();
            reply.WriteEndObject();
        }

        reply.WriteEndArray();
        reply.WriteEndObject();
        return null;
    }

    private static void WritePort(Utf8JsonWriter reply, PortStatus port)
    {
        reply.WriteStartObject();
        reply.WriteString("port", port.Place.ToString());
        if (port.Rule is not null) reply.WriteString("rule", port.Rule);
        if (port.Device is not null)
        {
            reply.WriteStartObject("device");
            reply.WriteString("description", port.Device);
            reply.WriteString("speed", port.Speed);
            reply.WriteNumber("address", port.Address);
            reply.WriteBoolean("suspended", port.Suspended);
            reply.WriteEndObject();
        }

        reply.WriteStartObject("counters");
        WriteCounters(reply, port.Counters);
        reply.WriteEndObject();
        reply.WriteStartArray("endpoints");
        foreach (CounterSet endpoint in port.Endpoints)
        {
            reply.WriteStartObject();
            reply.WriteString("endpoint", endpoint.Endpoint);
            WriteCounters(reply, endpoint);
            reply.WriteEndObject();
        }

        reply.WriteEndArray();
        reply.WriteEndObject();
    }

    private static void WriteCounters(Utf8JsonWriter reply, CounterSet counters)
    {
        foreach ((string name, long value) in counters.Values) reply.WriteNumber(name, value);
    }

    private static QmpError? Attach(QmpCall call)
    {
        PortPlace place = call.Arguments.Port();
        string device = call.Arguments.Text("device");
        return Flawed(call) ?? Failure(call.Machine.Attach(call.Now, place, device));
    }

    private static QmpError? Detach(QmpCall call)
    {
        PortPlace place = call.Arguments.Port();
        if (Flawed(call) is { } flaw) return flaw;
        ControlResult result = call.Machine.Detach(call.Now, place, out IOpenedDevice? closing);

        // The answer says that the image may be used again, so it waits for that.
        call.Awaited = closing;
        return Failure(result);
    }

    private static QmpError? SendKey(QmpCall call)
    {
        List<byte> usages = Keys(call.Arguments);
        int hold = call.Arguments.Number("hold-time", 0, ControlLimits.MaxHoldMilliseconds, ControlLimits.DefaultHoldMilliseconds);
        PortPlace? place = call.Arguments.OptionalPort();
        return Flawed(call) ?? Failure(call.Machine.SendKeys(call.Now, place, usages, (ulong)hold * NanosecondsPerMillisecond));
    }

    // Each key is {"type": "qcode", "data": NAME}; a bare NAME is taken too.
    private static List<byte> Keys(QmpArguments arguments)
    {
        var usages = new List<byte>();
        if (!arguments.TryTake("keys", out JsonElement keys)) return arguments.Fail("Parameter 'keys' is missing", usages);
        if (keys.ValueKind != JsonValueKind.Array || keys.GetArrayLength() is 0 or > ControlLimits.KeysAtOnce)
            return arguments.Fail($"Parameter 'keys' expects an array of 1 to {ControlLimits.KeysAtOnce} keys", usages);
        foreach (JsonElement key in keys.EnumerateArray())
        {
            string? name = key.ValueKind == JsonValueKind.String ? key.GetString() : CodeOf(key);
            if (name is null) return arguments.Fail("Parameter 'keys' expects elements of the form {\"type\": \"qcode\", \"data\": \"a\"}", usages);
            if (!KeyNames.TryParse(name, out byte usage) || usage < FirstUsage)
                return arguments.Fail($"Parameter 'keys' does not accept value '{name}'; keys are named as QEMU's send-key names them", usages);
            if (!usages.Contains(usage)) usages.Add(usage);
        }

        return usages;
    }

    // HID Usage Tables 1.12 §10: usages 0 to 3 are no keys.
    private const byte FirstUsage = 4;

    private static string? CodeOf(JsonElement key) =>
        key.ValueKind == JsonValueKind.Object
        && key.TryGetProperty("type", out JsonElement type) && type.ValueKind == JsonValueKind.String && type.ValueEquals("qcode")
        && key.TryGetProperty("data", out JsonElement data) && data.ValueKind == JsonValueKind.String
            ? data.GetString()
            : null;

    private static QmpError? Inspect(QmpCall call)
    {
        string path = call.Arguments.Text("path", "/");
        if (Flawed(call) is { } flaw) return flaw;
        string prefix = "/" + path.Trim('/');
        if (prefix.Length == 1) prefix = "";
        var writer = new InspectWriter();
        call.Machine.Inspect(writer);
        bool found = false;
        foreach ((string field, string value) in writer.Fields)
        {
            if (!field.StartsWith(prefix, StringComparison.Ordinal) || (field.Length > prefix.Length && field[prefix.Length] != '/')) continue;
            if (!found) StartTree(call.Reply, prefix);
            found = true;
            call.Reply.WriteStartObject();
            call.Reply.WriteString("path", field);
            call.Reply.WriteString("value", value);
            call.Reply.WriteEndObject();
        }

        if (!found) return new QmpError(QmpErrorClass.GenericError, $"nothing is at '{path}'; inspect '/' shows the whole tree");
        call.Reply.WriteEndArray();
        call.Reply.WriteEndObject();
        return null;
    }

    private static void StartTree(Utf8JsonWriter reply, string prefix)
    {
        reply.WriteStartObject();
        reply.WriteString("path", prefix.Length == 0 ? "/" : prefix);
        reply.WriteStartArray("fields");
    }

    private static QmpError? SetDirtyLog(QmpCall call)
    {
        bool enable = call.Arguments.Flag("enable");
        return Flawed(call) ?? Failure(call.Machine.SetDirtyLog(enable));
    }

    private static QmpError? Quit(QmpCall call)
    {
        if (Flawed(call) is { } flaw) return flaw;
        call.Quits = true;
        return null;
    }

    private static QmpError? Flawed(QmpCall call) =>
        call.Arguments.IsDone(out string flaw) ? null : new QmpError(QmpErrorClass.GenericError, flaw);

    private static QmpError? Failure(ControlResult result) => result.Outcome switch
    {
        ControlOutcome.Done => null,
        ControlOutcome.NotFound => new QmpError(QmpErrorClass.DeviceNotFound, result.Message),
        _ => new QmpError(QmpErrorClass.GenericError, result.Message),
    };
}
