using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.Control;

namespace XenUsbDm.ControlClient;

/// <summary>
/// The <c>ctl</c> command: what people type instead of QMP. This folder is the client's side of the control socket; the
/// server's is Hosts/Control.
/// </summary>
internal sealed class CtlCommand
{
    /// <summary>The commands, for help and messages.</summary>
    public const string Forms =
        "list, attach PORT=DEVICE, detach PORT, key NAME[-NAME...]..., inspect [PATH], counters, top [SECONDS [TIMES]], events, status, quit, qmp JSON";

    // Long enough for a guest to poll its keyboard between press and release, short enough to type with.
    private const int HoldMilliseconds = 40;

    private const int MaxTopSeconds = 3600;

    private readonly QmpClient _client;
    private readonly Surroundings _surroundings;

    private CtlCommand(QmpClient client, Surroundings surroundings)
    {
        _client = client;
        _surroundings = surroundings;
    }

    private TextWriter Output => _surroundings.Output;

    /// <summary>The command line of <c>ctl</c>.</summary>
    public static Command Build(Surroundings surroundings)
    {
        var socket = new Argument<string>("SOCKET") { Description = "The socket of run --control." };
        var words = new Argument<string[]>("COMMAND") { Description = $"One of: {Forms}.", Arity = ArgumentArity.OneOrMore };
        var command = new Command("ctl", "Shows and changes a running machine over its control socket.") { socket, words };
        command.SetAction(result => Invoke(result.GetValue(socket) ?? "", result.GetValue(words) ?? [], surroundings));
        return command;
    }

    /// <summary>Checks the words, connects and executes; returns the exit status.</summary>
    public static int Invoke(string socket, IReadOnlyList<string> words, Surroundings surroundings)
    {
        if (Encoding.UTF8.GetByteCount(socket) is 0 or > RunOptions.MaxSocketPathBytes)
            return surroundings.Fail(ExitStatus.Usage, $"ctl: the path of a socket has 1 to {RunOptions.MaxSocketPathBytes} bytes");
        if (!TryPlan(words, out Func<CtlCommand, int>? plan, out string error)) return surroundings.Fail(ExitStatus.Usage, $"ctl {error}");
        using QmpClient? client = QmpClient.Connect(socket, surroundings.Stop, out error);
        if (client is null) return surroundings.Fail(ExitStatus.Environment, $"ctl: {error}");
        try
        {
            return plan!(new CtlCommand(client, surroundings));
        }
        catch (QmpFailure failure)
        {
            return surroundings.Fail(ExitStatus.Failed, $"ctl: {failure.Message}");
        }
        catch (OperationCanceledException)
        {
            return surroundings.Fail(ExitStatus.Failed, "ctl: interrupted");
        }
    }

    // Everything that can be checked without the other side is checked before it is asked.
    private static bool TryPlan(IReadOnlyList<string> words, out Func<CtlCommand, int>? plan, out string error)
    {
        plan = null;
        string name = words[0];
        string[] rest = [.. words.Skip(1)];
        switch (name)
        {
            case "list" when rest.Length == 0: plan = static ctl => ctl.List(); break;
            case "counters" when rest.Length == 0: plan = static ctl => ctl.Counters(); break;
            case "status" when rest.Length == 0: plan = static ctl => ctl.Status(); break;
            case "events" when rest.Length == 0: plan = static ctl => ctl.Events(); break;
            case "quit" when rest.Length == 0: plan = static ctl => ctl.Quit(); break;
            case "inspect" when rest.Length <= 1: plan = ctl => ctl.Inspect(rest.Length == 0 ? "/" : rest[0]); break;
            case "qmp" when rest.Length == 1: plan = ctl => ctl.Raw(rest[0]); break;
            case "attach" when rest.Length == 1: return TryAttach(rest[0], out plan, out error);
            case "detach" when rest.Length == 1: return TryDetach(rest[0], out plan, out error);
            case "key" when rest.Length > 0: return TryKeys(rest, out plan, out error);
            case "top" when rest.Length <= 2: return TryTop(rest, out plan, out error);
            default:
                error = $"{name}: {(rest.Length > 0 ? "not with these words" : "needs a word after it, or is unknown")}; known are {Forms}";
                return false;
        }

        error = "";
        return true;
    }

    private static bool TryAttach(string word, out Func<CtlCommand, int>? plan, out string error)
    {
        plan = null;
        int equals = word.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0 || !PortPlace.TryParse(word[..equals], out PortPlace place))
        {
            error = $"attach {word}: must be PORT=DEVICE, as in 1=disk:stick.img; PORT is N or CONTROLLER.N";
            return false;
        }

        string device = word[(equals + 1)..];
        if (!DeviceSpec.TryParse(device, out DeviceSpec? spec, out error)) return false;

        // The other process has another current directory.
        if (spec is DiskSpec disk)
        {
            List<string> parts = SpecText.Split(device);
            parts[0] = "disk:" + Path.GetFullPath(disk.Path);
            device = string.Join(',', parts.Select(part => part.Replace(",", ",,", StringComparison.Ordinal)));
        }

        plan = ctl => ctl.Attach(place, device);
        return true;
    }

    private static bool TryDetach(string word, out Func<CtlCommand, int>? plan, out string error)
    {
        bool ok = PortPlace.TryParse(word, out PortPlace place);
        plan = ok ? ctl => ctl.Detach(place) : null;
        error = ok ? "" : $"detach {word}: must be a port, N or CONTROLLER.N, counted from 1";
        return ok;
    }

    private static bool TryKeys(string[] words, out Func<CtlCommand, int>? plan, out string error)
    {
        var chords = new List<string[]>();
        plan = null;
        foreach (string word in words)
        {
            string[] chord = word.Split('-');
            if (chord.Length > ControlLimits.KeysAtOnce)
            {
                error = $"key {word}: at most {ControlLimits.KeysAtOnce} keys together";
                return false;
            }

            foreach (string key in chord)
            {
                if (KeyNames.TryParse(key, out _)) continue;
                error = $"key {word}: no key is named '{key}'; names are QEMU's, as in a, ret, spc, f1 or ctrl-alt-delete";
                return false;
            }

            chords.Add(chord);
        }

        error = "";
        plan = ctl => ctl.Type(chords);
        return true;
    }

    private static bool TryTop(string[] words, out Func<CtlCommand, int>? plan, out string error)
    {
        plan = null;
        error = "";
        double seconds = 1;
        int times = int.MaxValue;
        if (words.Length > 0 && !TrySeconds(words[0], out seconds)) error = $"top {words[0]}: SECONDS must be 0.1 to {MaxTopSeconds}";
        else if (words.Length > 1 && !SpecText.TryNumber(words[1], 1, int.MaxValue, out times)) error = $"top: TIMES must be a number from 1, not {words[1]}";
        plan = ctl => ctl.Top(TimeSpan.FromSeconds(seconds), times);
        return error.Length == 0;
    }

    private static bool TrySeconds(string text, out double seconds) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out seconds) && seconds is >= 0.1 and <= MaxTopSeconds;

    private int List()
    {
        Output.Write(UsbTables.List(UsbSnapshot.Read(_client)));
        return ExitStatus.Done;
    }

    private int Counters()
    {
        Output.Write(UsbTables.Counters(UsbSnapshot.Read(_client)));
        return ExitStatus.Done;
    }

    private int Top(TimeSpan interval, int times)
    {
        UsbSnapshot? before = null;
        for (int round = 1; ; round++)
        {
            UsbSnapshot now = UsbSnapshot.Read(_client);
            string table = UsbTables.Top(before, now);

            // A terminal is painted over; a file gets one table after the other.
            if (_surroundings.OutputIsTerminal) Output.Write("\u001b[H\u001b[J");
            else if (round > 1) Output.WriteLine();
            Output.Write(table);
            Output.Flush();
            before = now;
            if (round == times || _surroundings.Stop.WaitHandle.WaitOne(interval)) return ExitStatus.Done;
        }
    }

    private int Events()
    {
        while (_client.NextEvent() is { } line)
        {
            Output.WriteLine(line);
            Output.Flush();
        }

        return ExitStatus.Done;
    }

    private int Status()
    {
        using JsonDocument reply = _client.Execute("query-status");
        Output.WriteLine(reply.RootElement.GetProperty("return").GetProperty("status").GetString());
        return ExitStatus.Done;
    }

    private int Attach(PortPlace place, string device)
    {
        _client.Execute("device-attach", arguments =>
        {
            arguments.WriteString("port", place.ToString());
            arguments.WriteString("device", device);
        }).Dispose();
        return ExitStatus.Done;
    }

    private int Detach(PortPlace place)
    {
        _client.Execute("device-detach", arguments => arguments.WriteString("port", place.ToString())).Dispose();
        return ExitStatus.Done;
    }

    private int Type(List<string[]> chords)
    {
        foreach (string[] chord in chords)
        {
            _client.Execute("send-key", arguments =>
            {
                arguments.WriteStartArray("keys");
                foreach (string key in chord)
                {
                    arguments.WriteStartObject();
                    arguments.WriteString("type", "qcode");
                    arguments.WriteString("data", key);
                    arguments.WriteEndObject();
                }

                arguments.WriteEndArray();
                arguments.WriteNumber("hold-time", HoldMilliseconds);
            }).Dispose();
        }

        return ExitStatus.Done;
    }

    private int Inspect(string path)
    {
        using JsonDocument reply = _client.Execute("inspect", arguments => arguments.WriteString("path", path));
        foreach (JsonElement field in reply.RootElement.GetProperty("return").GetProperty("fields").EnumerateArray())
            Output.WriteLine($"{field.GetProperty("path").GetString()} {field.GetProperty("value").GetString()}");
        return ExitStatus.Done;
    }

    private int Quit()
    {
        _client.Execute("quit").Dispose();
        return ExitStatus.Done;
    }

    // The reply as it came; a bare word is a command without arguments.
    private int Raw(string text)
    {
        string line = text.TrimStart().StartsWith('{') ? text : $$"""{"execute":"{{JsonEncodedText.Encode(text)}}"}""";
        using JsonDocument reply = _client.ExecuteRaw(line, out string answer);
        Output.WriteLine(answer);
        return reply.RootElement.TryGetProperty("return", out _) ? ExitStatus.Done : ExitStatus.Failed;
    }
}
