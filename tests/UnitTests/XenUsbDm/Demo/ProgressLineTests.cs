using System;
using System.IO;
using XenUsbDm.Demo;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

public sealed class ProgressLineTests
{
    private TimeSpan _now;

    [Fact]
    public void Step_under_a_second_shows_nothing()
    {
        using var output = new StringWriter();
        ProgressLine line = Line(output, isTerminal: true);

        line.Start("read");
        _now = TimeSpan.FromMilliseconds(999);
        line.Report(50, 100);
        line.End();

        Assert.Equal("", output.ToString());
    }

    [Fact]
    public void Step_over_a_second_shows_a_bar_and_wipes_it()
    {
        using var output = new StringWriter();
        ProgressLine line = Line(output, isTerminal: true);

        line.Start("read");
        _now = TimeSpan.FromSeconds(2);
        line.Report(25, 100);
        line.Report(26, 100);
        line.End();

        Assert.Equal("\rread    [##########..............................]  25 %  2 s\r\u001b[K", output.ToString());
    }

    [Fact]
    public void Bar_moves_ten_times_a_second_at_most()
    {
        using var output = new StringWriter();
        ProgressLine line = Line(output, isTerminal: true);

        line.Start("write");
        for (int i = 0; i <= 2000; i++)
        {
            _now = TimeSpan.FromMilliseconds(i);
            line.Report(i, 2000);
        }

        Assert.Equal(11, output.ToString().Split('\r').Length - 1);
        Assert.EndsWith("] 100 %  2 s", output.ToString());
    }

    [Fact]
    public void Output_that_is_not_a_terminal_stays_clean()
    {
        using var output = new StringWriter();
        ProgressLine line = Line(output, isTerminal: false);

        line.Start("read");
        _now = TimeSpan.FromSeconds(5);
        line.Report(1, 2);
        line.End();

        Assert.Equal("", output.ToString());
    }

    [Fact]
    public void Nothing_to_do_is_no_division_by_zero()
    {
        using var output = new StringWriter();
        ProgressLine line = Line(output, isTerminal: true);

        line.Start("read");
        _now = TimeSpan.FromSeconds(5);
        line.Report(0, 0);

        Assert.Equal("", output.ToString());
    }

    private ProgressLine Line(TextWriter output, bool isTerminal) => new(output, isTerminal, () => _now);
}
