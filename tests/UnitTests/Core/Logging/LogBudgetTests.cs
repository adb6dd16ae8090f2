using XenUsbDm.Core.Logging;
using XenUsbDm.Core.Time;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Logging;

public sealed class LogBudgetTests
{
    private static LogBudget Spent()
    {
        var budget = new LogBudget();
        for (int i = 0; i < LogBudget.Burst; i++) Assert.True(budget.TryTake(VirtualTime.Zero, out _));
        return budget;
    }

    [Fact]
    public void TryTake_after_the_burst_is_refused_and_counted()
    {
        LogBudget budget = Spent();

        Assert.False(budget.TryTake(VirtualTime.Zero, out _));
        Assert.False(budget.TryTake(new VirtualTime(LogBudget.RefillNanoseconds - 1), out _));
        Assert.True(budget.TryTake(new VirtualTime(LogBudget.RefillNanoseconds), out long suppressed));

        Assert.Equal(2, suppressed);
    }

    [Fact]
    public void TryTake_refills_one_per_second_up_to_the_burst()
    {
        LogBudget budget = Spent();
        Assert.True(budget.TryTake(new VirtualTime(LogBudget.RefillNanoseconds), out _));
        Assert.False(budget.TryTake(new VirtualTime(LogBudget.RefillNanoseconds), out _));

        var later = new VirtualTime(LogBudget.RefillNanoseconds * 1000);
        int passed = 0;
        while (budget.TryTake(later, out _)) passed++;

        Assert.Equal(LogBudget.Burst, passed);
    }

    [Fact]
    public void TryTake_with_an_earlier_instant_refills_nothing()
    {
        var budget = new LogBudget();
        var late = new VirtualTime(LogBudget.RefillNanoseconds * 5);
        while (budget.TryTake(late, out _))
        {
        }

        Assert.False(budget.TryTake(VirtualTime.Zero, out _));
    }

    [Fact]
    public void TryTake_at_the_last_instant_does_not_overflow()
    {
        LogBudget budget = Spent();

        Assert.True(budget.TryTake(VirtualTime.Never, out _));
    }
}
