using System.Collections.Generic;
using System.Linq;
using System.Threading;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Native.Linux;

public sealed class SlowLaneTests
{
    [Fact]
    public void Jobs_run_on_one_other_thread_in_the_order_in_which_they_came()
    {
        var order = new List<int>();
        var threads = new HashSet<int>();
        using var lane = new SlowLane();
        for (int i = 0; i < 100; i++)
        {
            int number = i;
            lane.Add(() =>
            {
                order.Add(number);
                threads.Add(System.Environment.CurrentManagedThreadId);
            });
        }

        lane.Drain();
        Assert.Equal(Enumerable.Range(0, 100), order);
        Assert.DoesNotContain(System.Environment.CurrentManagedThreadId, threads);
        Assert.Single(threads);
    }

    [Fact]
    public void End_of_the_lane_runs_what_was_added()
    {
        int ran = 0;
        using (var lane = new SlowLane())
        {
            for (int i = 0; i < 10; i++) lane.Add(() => Interlocked.Increment(ref ran));
        }

        Assert.Equal(10, ran);
    }
}
