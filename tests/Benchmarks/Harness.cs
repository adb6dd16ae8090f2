using System;
using System.Diagnostics;

namespace XenUsbDm.Benchmarks;

/// <summary>What came out for one row.</summary>
/// <param name="Best">Nanoseconds per operation in the best round.</param>
/// <param name="Median">Nanoseconds per operation in the round in the middle.</param>
/// <param name="Allocated">Managed bytes per operation.</param>
public readonly record struct Measurement(double Best, double Median, double Allocated);

/// <summary>
/// One measured path. <see cref="Prepare"/> is what the driver does before (and is not timed), <see cref="Measured"/> is
/// timed, <see cref="Finish"/> takes the results away and checks them.
/// </summary>
public sealed class Row
{
    public required string Name { get; init; }

    /// <summary>Operations in one batch.</summary>
    public required int Operations { get; init; }

    public Action Prepare { get; init; } = static () => { };

    public required Action Measured { get; init; }

    public Action Finish { get; init; } = static () => { };

    /// <summary>Bytes moved by one operation; 0 when a rate makes no sense.</summary>
    public int Bytes { get; init; }
}

/// <summary>Warm-up, rounds, median and best. No process of its own for each row, so that a memcpy in the same run is comparable.</summary>
public static class Harness
{
    private const int Rounds = 15;
    private const double RoundMilliseconds = 20;
    private const double WarmUpMilliseconds = 400;

    public static Measurement Measure(Row row)
    {
        ArgumentNullException.ThrowIfNull(row);
        long start = Stopwatch.GetTimestamp();
        long batches = 0;
        while (Stopwatch.GetElapsedTime(start).TotalMilliseconds < WarmUpMilliseconds)
        {
            Batch(row);
            batches++;
        }

        int perRound = (int)Math.Max(1, batches * RoundMilliseconds / WarmUpMilliseconds);
        var rounds = new double[Rounds];
        for (int i = 0; i < Rounds; i++)
        {
            long ticks = 0;
            for (int n = 0; n < perRound; n++) ticks += Batch(row);
            rounds[i] = ticks * 1e9 / Stopwatch.Frequency / perRound / row.Operations;
        }

        Array.Sort(rounds);
        return new Measurement(rounds[0], rounds[Rounds / 2], Allocation(row));
    }

    /// <summary>Managed bytes that one operation allocates, driver included, after a warm-up.</summary>
    public static double Allocation(Row row)
    {
        ArgumentNullException.ThrowIfNull(row);
        for (int i = 0; i < 64; i++) Batch(row);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 64; i++) Batch(row);
        return (GC.GetAllocatedBytesForCurrentThread() - before) / 64.0 / row.Operations;
    }

    private static long Batch(Row row)
    {
        row.Prepare();
        long start = Stopwatch.GetTimestamp();
        row.Measured();
        long ticks = Stopwatch.GetTimestamp() - start;
        row.Finish();
        return ticks;
    }
}
