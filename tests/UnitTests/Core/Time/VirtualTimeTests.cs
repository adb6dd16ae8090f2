using XenUsbDm.Core.Time;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Time;

public sealed class VirtualTimeTests
{
    [Fact]
    public void Plus_saturates_at_Never()
    {
        Assert.Equal(new VirtualTime(7), new VirtualTime(3).Plus(4));
        Assert.Equal(VirtualTime.Never, new VirtualTime(3).Plus(ulong.MaxValue));
        Assert.Equal(VirtualTime.Never, VirtualTime.Never.Plus(1));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 125_000)]
    [InlineData(147_573_952_589_676, 18_446_744_073_709_500_000)]
    [InlineData(147_573_952_589_677, ulong.MaxValue)]
    [InlineData(ulong.MaxValue, ulong.MaxValue)]
    public void AtMicroframe_any_index_is_an_instant_or_Never(ulong index, ulong nanoseconds) =>
        Assert.Equal(new VirtualTime(nanoseconds), VirtualTime.AtMicroframe(index));

    [Theory]
    [InlineData(0, 0)]
    [InlineData(124_999, 0)]
    [InlineData(125_000, 1)]
    public void Microframe_is_the_one_that_has_begun(ulong nanoseconds, ulong microframe) =>
        Assert.Equal(microframe, new VirtualTime(nanoseconds).Microframe);

    [Fact]
    public void Comparisons_agree_with_the_nanoseconds()
    {
        var early = new VirtualTime(1);
        var late = new VirtualTime(2);
        var alsoLate = new VirtualTime(2);

        Assert.True(early < late && late > early && late <= alsoLate && late >= alsoLate && early <= late && late >= early);
        Assert.False(late < alsoLate || late > alsoLate || late <= early || early >= late);
        Assert.True(early.CompareTo(late) < 0);
        Assert.Equal(early, VirtualTime.Min(early, late));
        Assert.Equal(early, VirtualTime.Min(late, early));
    }

    [Fact]
    public void Text_names_Never()
    {
        Assert.Equal("never", VirtualTime.Never.ToString());
        Assert.Equal("5 ns", new VirtualTime(5).ToString());
    }
}
