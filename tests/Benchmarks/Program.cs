using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text.Json;
using XenUsbDm.Benchmarks;

// `road` prints what the paths of the road cost, beside memcpy in the same run; `--check FILE` compares bytes allocated per
// operation with the budgets in FILE. Times are never judged: this machine and the next one differ.
const string Usage = "usage: road | --check BUDGETS.json";

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
return args switch
{
    ["road"] => Road(),
    ["--check", string file] => Check(file),
    _ => Refuse(),
};

static int Refuse()
{
    Console.Error.WriteLine(Usage);
    return 2;
}

static int Road()
{
    var road = new RoadBenchmarks();
    road.Validate();
    Cost small = Run(road.Memcpy(512));
    Cost large = Run(road.Memcpy(65536));
    Console.WriteLine($"{"path",-16} {"operation",-28} {"median ns",10} {"best ns",10} {"GB/s",7} {"of memcpy",10} {"B alloc",8}");
    Print("memcpy-512", "memcpy of 512 bytes", 512, small, null);
    Print("memcpy-64k", "memcpy of 64 KiB", 65536, large, null);
    foreach (XenUsbDm.Benchmarks.Path path in road.Paths())
        Print(path.Name, path.Operation, path.Bytes, Run(path), path.Bytes switch { 512 => small, 65536 => large, _ => null });
    return 0;
}

static int Check(string file)
{
    Dictionary<string, double>? budgets;
    try
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        budgets = [];
        foreach (JsonProperty budget in json.RootElement.GetProperty("bytesAllocatedPerOperation").EnumerateObject())
            budgets[budget.Name] = budget.Value.GetDouble();
    }
    catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException)
    {
        Console.Error.WriteLine($"budgets: {file}: {e.Message}");
        return 2;
    }

    var road = new RoadBenchmarks();
    road.Validate();
    int failed = 0;
    foreach (XenUsbDm.Benchmarks.Path path in road.Paths())
    {
        double allocated = Run(path).Allocated;
        bool known = budgets.Remove(path.Name, out double budget);
        bool ok = known && allocated <= budget;
        if (!ok) failed++;
        Console.WriteLine($"{(ok ? "ok    " : "FAILED")} {path.Name,-16} {allocated,8:0.###} B per operation, budget {(known ? budget.ToString(CultureInfo.InvariantCulture) : "missing")}");
    }

    foreach (string name in budgets.Keys)
    {
        failed++;
        Console.WriteLine($"FAILED {name,-16} no such path");
    }

    Console.WriteLine(failed == 0 ? "budgets: all kept" : $"budgets: {failed} exceeded or unknown");
    return failed == 0 ? 0 : 1;
}

static Cost Run(XenUsbDm.Benchmarks.Path path) => Cost.Measure(path.Operations, rounds: 15, path.Round);

static void Print(string name, string operation, int bytes, Cost cost, Cost? memcpy)
{
    string ratio = memcpy is { } m ? $"{m.Median / cost.Median * 100:0} %" : "";
    Console.WriteLine($"{name,-16} {operation,-28} {cost.Median,10:0.0} {cost.Best,10:0.0} {bytes / cost.Median,7:0.00} {ratio,10} {cost.Allocated,8:0.###}");
}
