using System;
using System.Text;
using System.Text.Json;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci.State;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Fuzz.Xhci;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>
/// Saved states from an attacker: the input drives a machine, and its second half changes numbers in the saved text
/// before it is restored. Refused or taken, the machine that results must hold every oracle of the xhci target.
/// </summary>
public sealed class StateTarget : IFuzzTarget
{
    [ThreadStatic]
    private static FuzzMemory? _memory;

    [ThreadStatic]
    private static FuzzRun? _run;

    [ThreadStatic]
    private static byte[]? _input;

    public static string Name => "state";

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        FuzzRun run = _run ??= new FuzzRun(_memory ??= new FuzzMemory());
        byte[] buffer = _input ??= new byte[Mutator.MaxLength];
        int length = Math.Min(input.Length, buffer.Length);
        input[..length].CopyTo(buffer);
        int edits = Math.Min(length / 2, 64) & ~7;
        run.Run(buffer, length - edits);
        FuzzMachine machine = run.Machine;
        if (!machine.Pipeline.TrySettle(machine.Now)) return;
        ReadOnlySpan<byte> tail = buffer.AsSpan(length - edits, edits);
        XhciStateV1? xhci = Edit(machine.Controller.Capture(), tail);
        PipelineStateV1? pipeline = Edit(machine.Pipeline.Capture(), tail);
        PciStateV1? pci = Edit(machine.Pci.Capture(), tail);
        run.RestoreFrom(xhci, pipeline, pci, out uint outcome);
        FuzzCase.Hit(40, outcome);
        if (FuzzCase.Thorough) run.CheckEnd();
    }

    // Every eight bytes change one number of the text: which one, and to what.
    private static T? Edit<T>(T state, ReadOnlySpan<byte> edits)
        where T : class
    {
        if (edits.IsEmpty) return state;
        string text = JsonSerializer.Serialize(state);
        var result = new StringBuilder(text);
        for (int i = 0; i + 8 <= edits.Length; i += 8)
        {
            int target = edits[i] | (edits[i + 1] << 8) | (edits[i + 2] << 16);
            string now = result.ToString();
            int at = NumberFrom(now, target % Math.Max(1, now.Length));
            if (at < 0) continue;
            int end = at;
            while (end < now.Length && (char.IsAsciiDigit(now[end]) || now[end] == '-')) end++;
            result.Remove(at, end - at).Insert(at, NewNumber(now[at..end], edits[i + 3], edits[i + 4]));
        }

        try
        {
            return JsonSerializer.Deserialize<T>(result.ToString());
        }
        catch (JsonException)
        {
            // A number that does not fit its field never becomes a state.
            return null;
        }
    }

    private static int NumberFrom(string text, int start)
    {
        for (int i = 0; i < text.Length; i++)
        {
            int at = (start + i) % text.Length;
            if (char.IsAsciiDigit(text[at]) && at > 0 && text[at - 1] is ':' or ',' or '[') return at;
        }

        return -1;
    }

    private static string NewNumber(string old, byte kind, byte value) => (kind & 15) switch
    {
        0 => "0",
        1 => "-1",
        2 => "2147483647",
        3 => "-2147483648",
        4 => "4294967295",
        5 => "18446744073709551615",
        6 => "9223372036854775807",
        7 => "255",
        8 => "256",
        9 => old + (value % 10),
        _ => value.ToString(System.Globalization.CultureInfo.InvariantCulture),
    };
}
