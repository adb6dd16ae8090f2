using System.Text.Json;
using XenUsbDm.ControlClient;
using Xunit;

namespace XenUsbDm.UnitTests.ControlClient;

public sealed class UsbTablesTests
{
    [Fact]
    public void Top_shows_rates_between_two_answers()
    {
        UsbSnapshot before = Snapshot(10, completed: 1_000, bytesIn: 5_000_000);
        UsbSnapshot now = Snapshot(12, completed: 3_000, bytesIn: 8_000_000);

        Assert.Equal(
            """
            port  transfers/s  in MB/s  out MB/s  outstanding  transfers  stalls  errors  device
            1.1          1000      1.5       0.0            2       3000       1       7  disk a
            1.3             0      0.0       0.0            0          5       0       0  -

            """, UsbTables.Top(before, now));
    }

    [Theory]
    [InlineData(10, 12, 3_000, 1_000)]
    [InlineData(12, 12, 1_000, 3_000)]
    public void Rates_are_zero_when_counters_began_anew_or_no_time_has_passed(double first, double second, long before, long after)
    {
        string table = UsbTables.Top(Snapshot(first, before, 0), Snapshot(second, after, 0));

        Assert.StartsWith("1.1             0      0.0", table.Split('\n')[1]);
    }

    [Fact]
    public void Counters_show_ports_that_have_or_had_a_device()
    {
        string[] lines = UsbTables.Counters(Snapshot(0, 3_000, 8_000_000)).Split('\n');

        Assert.Equal("1.1        3000            2     0         0       1       7   8000000          0  disk a", lines[1]);
        Assert.StartsWith("1.3 ", lines[2]);
        Assert.Equal("", lines[3]);
    }

    [Theory]
    [InlineData("\"running\":true", "controller 1: xhci, running")]
    [InlineData("\"running\":false", "controller 1: xhci, halted")]
    [InlineData("\"running\":false,\"error\":\"HCE\"", "controller 1: xhci, stopped with HCE")]
    public void List_says_how_the_controller_is(string state, string expected)
    {
        using JsonDocument reply = JsonDocument.Parse(
            $$$"""{"return":{"controllers":[{"controller":1,"type":"xhci",{{{state}}},"ports":[]}]}}""");

        Assert.StartsWith(expected + "\n", UsbTables.List(UsbSnapshot.Read(reply.RootElement, 0)));
    }

    [Theory]
    [InlineData("""{"return":{}}""")]
    [InlineData("""{"return":{"controllers":1}}""")]
    [InlineData("""{"return":{"controllers":[{"controller":1.5,"type":"xhci","running":true,"ports":[]}]}}""")]
    public void Answer_of_another_shape_is_a_failure(string text)
    {
        using JsonDocument reply = JsonDocument.Parse(text);

        Assert.Throws<QmpFailure>(() => UsbSnapshot.Read(reply.RootElement, 0));
    }

    private static UsbSnapshot Snapshot(double timestamp, long completed, long bytesIn)
    {
        using JsonDocument reply = JsonDocument.Parse($$$"""
            {"return":{"controllers":[{"controller":1,"type":"xhci","running":true,"ports":[
            {"port":"1.1","device":{"description":"disk a","speed":"high","address":1},"counters":
            {"submitted":{{{completed + 2}}},"completed":{{{completed}}},"outstanding":2,"stalls":1,"babbles":3,"queue-full":4,"bytes-in":{{{bytesIn}}}}},
            {"port":"1.2","counters":{"submitted":0}},
            {"port":"1.3","counters":{"submitted":5,"completed":5}}]}]}}
            """);
        return UsbSnapshot.Read(reply.RootElement, timestamp);
    }
}
