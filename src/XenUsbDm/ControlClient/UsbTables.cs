using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace XenUsbDm.ControlClient;

/// <summary>The tables that <c>ctl list</c>, <c>counters</c> and <c>top</c> print.</summary>
internal static class UsbTables
{
    private const double Megabyte = 1e6;

    private static readonly string[] ErrorCounters = ["transaction-errors", "babbles", "no-device", "memory-faults", "queue-full"];

    private static readonly string[] ListHead = ["port", "speed", "address", "device"];

    private static readonly string[] CountersHead =
        ["port", "transfers", "outstanding", "most", "unlinked", "stalls", "errors", "bytes-in", "bytes-out", "device"];

    private static readonly string[] TopHead =
        ["port", "transfers/s", "in MB/s", "out MB/s", "outstanding", "transfers", "stalls", "errors", "device"];

    /// <summary>Controllers, ports and devices.</summary>
    public static string List(UsbSnapshot snapshot)
    {
        var text = new StringBuilder();
        foreach (ControllerSnapshot controller in snapshot.Controllers)
        {
            text.Append(controller.Title).Append('\n');
            var rows = new List<string[]> { ListHead };
            foreach (PortSnapshot port in controller.Ports)
                rows.Add([port.Port, port.Speed ?? "-", port.Device is null ? "-" : Number(port.Address), port.Device ?? (port.Rule is null ? "-" : $"({port.Rule})")]);
            Append(text, rows, left: [0, 1, 3]);
        }

        return text.ToString();
    }

    /// <summary>Counters of every port that has or had a device.</summary>
    public static string Counters(UsbSnapshot snapshot)
    {
        var rows = new List<string[]> { CountersHead };
        foreach (PortSnapshot port in Used(snapshot))
        {
            rows.Add(
            [
                port.Port, Number(port["completed"]), Number(port["outstanding"]), Number(port["high-water"]), Number(port["unlinked"]),
                Number(port["stalls"]), Number(Errors(port)), Number(port["bytes-in"]), Number(port["bytes-out"]), port.Device ?? "-",
            ]);
        }

        return Render(rows, left: [0, 9]);
    }

    /// <summary>What went on between two answers; rates are 0 without a first one, and after a device was changed.</summary>
    public static string Top(UsbSnapshot? before, UsbSnapshot now)
    {
        var earlier = new Dictionary<string, PortSnapshot>(StringComparer.Ordinal);
        if (before is not null)
        {
            foreach (PortSnapshot port in Used(before)) earlier[port.Port] = port;
        }

        double seconds = before is null ? 0 : now.Timestamp - before.Timestamp;
        var rows = new List<string[]> { TopHead };
        foreach (PortSnapshot port in Used(now))
        {
            earlier.TryGetValue(port.Port, out PortSnapshot? last);
            double Rate(string counter) =>
                last is null || seconds <= 0 || port[counter] < last[counter] ? 0 : (port[counter] - last[counter]) / seconds;
            rows.Add(
            [
                port.Port, Fixed(Rate("completed"), 0), Fixed(Rate("bytes-in") / Megabyte, 1), Fixed(Rate("bytes-out") / Megabyte, 1),
                Number(port["outstanding"]), Number(port["completed"]), Number(port["stalls"]), Number(Errors(port)), port.Device ?? "-",
            ]);
        }

        return Render(rows, left: [0, 8]);
    }

    private static IEnumerable<PortSnapshot> Used(UsbSnapshot snapshot) =>
        snapshot.Controllers.SelectMany(controller => controller.Ports).Where(port => port.Device is not null || port["submitted"] > 0);

    private static long Errors(PortSnapshot port) => ErrorCounters.Sum(name => port[name]);

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    private static string Fixed(double value, int digits) => value.ToString($"F{digits}", CultureInfo.InvariantCulture);

    private static string Render(List<string[]> rows, int[] left)
    {
        var text = new StringBuilder();
        Append(text, rows, left);
        return text.ToString();
    }

    // Text is aligned left, numbers right; no blanks at the end of a line.
    private static void Append(StringBuilder text, List<string[]> rows, int[] left)
    {
        int columns = rows[0].Length;
        int[] widths = new int[columns];
        foreach (string[] row in rows)
        {
            for (int i = 0; i < columns; i++) widths[i] = Math.Max(widths[i], row[i].Length);
        }

        foreach (string[] row in rows)
        {
            var line = new StringBuilder();
            for (int i = 0; i < columns; i++)
                line.Append(i == 0 ? "" : "  ").Append(left.Contains(i) ? row[i].PadRight(widths[i]) : row[i].PadLeft(widths[i]));
            text.Append(line.ToString().TrimEnd()).Append('\n');
        }
    }
}
