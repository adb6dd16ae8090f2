using System;
using System.Diagnostics;

namespace XenUsbDm.Benchmarks;

/// <summary>What one path costs: nanoseconds per operation (median and best of the rounds) and bytes allocated per operation.</summary>
internal readonly record struct Cost(double Median, double Best, double Allocated)
{
    /// <summary>
    /// Runs <paramref name="round"/> (of <paramref name="operations"/> operations; it returns the ticks that count) until the
    /// code is compiled for good, then <paramref name="rounds"/> times for the figures.
    /// </summary>
    public static Cost Measure(int operations, int rounds, Func<int, long> round)
    {
        // Tiered compilation: methods are compiled again after 30 calls, loops on stack replacement; then PGO settles.
        long warm = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(warm).TotalMilliseconds < 400) round(operations);
        System.Threading.Thread.Sleep(150);
        for (int i = 0; i < 3; i++) round(operations);

        double[] times = new double[rounds];
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < rounds; i++) times[i] = round(operations) * (1e9 / Stopwatch.Frequency) / operations;
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Array.Sort(times);
        return new Cost(times[rounds / 2], times[0], (double)allocated / ((long)rounds * operations));
    }
}
