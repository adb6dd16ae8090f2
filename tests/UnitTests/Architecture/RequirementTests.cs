using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using XenUsbDm.Frontends.Xhci;
using Xunit;

namespace XenUsbDm.UnitTests.Architecture;

/// <summary>
/// tests/requirements.tsv maps every requirement to the tests that pin it: id, area, requirement, section, tests.
/// Tests are Class.Method or Namespace.Class.Method, several separated by blanks.
/// </summary>
public sealed class RequirementTests
{
    // Rows of each area; a row may be added, none may get lost.
    private static readonly Dictionary<string, int> Areas = new()
    {
        ["house"] = 13,
        ["core"] = 15,
        ["pci"] = 24,
        ["xhci-registers"] = 61,
        ["xhci-commands"] = 123,
        ["xhci-contexts"] = 8,
        ["trb-types"] = 34,
        ["completion-codes"] = 36,
        ["xhci-transfers"] = 77,
        ["xhci-ports"] = 34,
        ["xhci-run"] = 22,
        ["pipeline"] = 27,
        ["disk"] = 58,
        ["uas"] = 23,
        ["gadget-zero"] = 40,
        ["keyboard"] = 8,
        ["guest"] = 5,
        ["demo"] = 10,
        ["guest-quirks"] = 24,
        ["attacks"] = 48,
        ["vfio-user"] = 18,
        ["control"] = 9,
        ["xen"] = 29,
        ["toolstack"] = 7,
        ["libusb"] = 18,
    };

    [Fact]
    public void Requirements_table_names_existing_tests()
    {
        HashSet<string> known = KnownTests();
        var wrong = new List<string>();
        foreach (Row row in ReadTable())
        {
            string[] tests = row.Tests.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (tests.Length == 0) wrong.Add($"{row.Id}: names no test");
            wrong.AddRange(tests.Where(test => !known.Contains(test)).Select(test => $"{row.Id}: no test '{test}'"));
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} faults in tests/requirements.tsv:\n{string.Join('\n', wrong)}");
    }

    [Fact]
    public void Requirements_table_is_complete()
    {
        List<Row> rows = ReadTable();

        Assert.Equal(rows.Count, rows.Select(row => row.Id).Distinct().Count());
        Assert.All(rows, row => Assert.True(row.Requirement.Length > 0 && row.Section.Length > 0, $"{row.Id}: requirement and section must be said"));
        Assert.Equal(Areas.Keys.Order(), rows.Select(row => row.Area).Distinct().Order());
        Assert.All(Areas, area => Assert.True(
            rows.Count(row => row.Area == area.Key) >= area.Value, $"{area.Key} has lost rows: {area.Value} are required"));
    }

    [Fact]
    public void Requirements_table_has_every_trb_type_and_completion_code()
    {
        HashSet<string> ids = [.. ReadTable().Select(row => row.Id)];

        Assert.All(Enum.GetNames<TrbType>(), name => Assert.Contains($"trb.{name}", ids));
        Assert.All(Enum.GetNames<CompletionCode>(), name => Assert.Contains($"code.{name}", ids));
    }

    private static List<Row> ReadTable()
    {
        string[] lines = Checkout.Read("tests/requirements.tsv").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("id\tarea\trequirement\tsection\ttests", lines[0]);
        var rows = new List<Row>(lines.Length);
        foreach (string line in lines.Skip(1))
        {
            string[] cells = line.Split('\t');
            Assert.True(cells.Length == 5, $"not five cells: {line}");
            rows.Add(new Row(cells[0], cells[1], cells[2], cells[3], cells[4]));
        }

        return rows;
    }

    private static HashSet<string> KnownTests()
    {
        var known = new HashSet<string>(StringComparer.Ordinal);
        foreach (Type type in typeof(RequirementTests).Assembly.GetTypes().Where(type => !type.IsAbstract))
        {
            foreach (MethodInfo method in type.GetMethods().Where(method => method.IsDefined(typeof(FactAttribute), inherit: true)))
            {
                known.Add($"{type.Name}.{method.Name}");
                known.Add($"{type.FullName}.{method.Name}");
            }
        }

        return known;
    }

    private sealed record Row(string Id, string Area, string Requirement, string Section, string Tests);
}
