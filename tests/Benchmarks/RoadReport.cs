using System;
using System.Collections.Generic;
using System.Globalization;
using System.Runtime.InteropServices;

namespace XenUsbDm.Benchmarks;

/// <summary>Prints every row, and the aims of the requirement beside those that have one.</summary>
public static class RoadReport
{
    private const double RegisterAim = 20;
    private const double SmallAim = 500;
    private const double LargeAim = 0.7;

    public static int Print()
    {
        Console.WriteLine($"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.ProcessArchitecture}, {Environment.ProcessorCount} processors");
        Console.WriteLine($"{"path",-18} {"median ns",10} {"best ns",10} {"GB/s",7} {"B/op",6}  aim");
        var results = new Dictionary<string, (Row Row, Measurement Result)>();
        foreach (Row row in Rows.All()) results[row.Name] = (row, Harness.Measure(row));
        foreach ((string name, (Row row, Measurement result)) in results)
        {
            string rate = row.Bytes >= 512 ? (row.Bytes / result.Median).ToString("f2", CultureInfo.InvariantCulture) : "";
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{name,-18} {result.Median,10:f1} {result.Best,10:f1} {rate,7} {result.Allocated,6:f0}  {Aim(name, result, results)}"));
        }

        Console.WriteLine("Times are from doorbell to event (isochronous: per packet, with the walk from microframe to microframe), per transfer,");
        Console.WriteLine("without the driver's own work. 64 KiB rows are a disk's 4 MiB READ and WRITE, medium in memory, wrappers included.");
        return 0;
    }

    private static string Aim(string name, Measurement result, Dictionary<string, (Row Row, Measurement Result)> all) => name switch
    {
        "register-read" or "register-write" => Against(result.Median, RegisterAim),
        "bulk-in-512" or "bulk-out-512" => Against(result.Median, SmallAim),
        "bulk-in-64k" => Ratio(result, all["memcpy-to-guest"].Result),
        "bulk-out-64k" => Ratio(result, all["memcpy-from-guest"].Result),
        _ => "",
    };

    private static string Against(double value, double aim) =>
        string.Create(CultureInfo.InvariantCulture, $"< {aim:f0} ns: {(value < aim ? "met" : "missed")}");

    private static string Ratio(Measurement result, Measurement memcpy)
    {
        double ratio = memcpy.Median / result.Median;
        return string.Create(CultureInfo.InvariantCulture, $">= {LargeAim:p0} of memcpy: {ratio:p0} (best rounds {memcpy.Best / result.Best:p0}), {(ratio >= LargeAim ? "met" : "missed")}");
    }
}
