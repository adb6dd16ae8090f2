using System;
using XenUsbDm.Demo;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

public sealed class StepFiguresTests
{
    [Fact]
    public void Line_has_size_time_rate_and_time_per_transfer()
    {
        var figures = new StepFigures("read", 64 << 20, 3072, TimeSpan.FromMilliseconds(250), "fine");

        Assert.Equal("read        64.0 MiB in   0.250 s     268.4 MB/s     3072 transfers of   81.4 us  fine", figures.ToString());
    }

    [Fact]
    public void Step_without_time_or_transfers_divides_by_nothing()
    {
        var figures = new StepFigures("verify", 512, 0, TimeSpan.Zero, "fine");

        Assert.Equal("verify       0.0 MiB in   0.000 s       0.0 MB/s        0 transfers of    0.0 us  fine", figures.ToString());
    }
}
