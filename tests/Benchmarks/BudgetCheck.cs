using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text.Json;

namespace XenUsbDm.Benchmarks;

/// <summary>Bytes allocated per operation against budgets.json. Times are not checked: they are the machine's.</summary>
public static class BudgetCheck
{
    /// <summary>Bytes per operation that the counter itself may be off by.</summary>
    private const double Noise = 0.5;

    public static int Run(string path)
    {
        if (!File.Exists(path))
        {
            Console.Error.WriteLine($"budgets: no file {path}; run this from the checkout");
            return 2;
        }

        using JsonDocument budgets = JsonDocument.Parse(File.ReadAllText(path));
        var rows = new Dictionary<string, Row>();
        foreach (Row row in Rows.All()) rows[row.Name] = row;
        int passed = 0;
        int failed = 0;
        foreach (JsonProperty budget in budgets.RootElement.GetProperty("bytesAllocatedPerOperation").EnumerateObject())
        {
            double allowed = budget.Value.GetDouble();
            bool known = rows.TryGetValue(budget.Name, out Row? row);
            double used = known ? Harness.Allocation(row!) : double.NaN;
            bool ok = known && used <= allowed + Noise;
            if (ok) passed++;
            else failed++;
            string measured = known ? used.ToString("f1", CultureInfo.InvariantCulture) + " B" : "no such row";
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{budget.Name,-18} {measured,12} of {allowed:f0} B  {(ok ? "pass" : "FAIL")}"));
        }

        Console.WriteLine($"budgets: {passed} passed, {failed} failed");
        return failed == 0 ? 0 : 1;
    }

    /// <summary>budgets.json of this checkout.</summary>
    public static string Find()
    {
        for (DirectoryInfo? folder = new(Environment.CurrentDirectory); folder is not null; folder = folder.Parent)
        {
            string path = System.IO.Path.Combine(folder.FullName, "tests", "Benchmarks", "budgets.json");
            if (File.Exists(path)) return path;
        }

        return System.IO.Path.Combine("tests", "Benchmarks", "budgets.json");
    }
}
