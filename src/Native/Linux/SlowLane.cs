using System;
using System.Collections.Concurrent;
using System.Threading;

namespace XenUsbDm.Native.Linux;

/// <summary>
/// The process's second thread (DESIGN, rule 1): what may block on a physical device runs here, one job after another in the
/// order in which they came. A job hands its result back by itself, and wakes the loop. Images do not come here, not even to
/// be closed: each has its own thread, or a disk would wait for a device that does not answer, and the device for a flush.
/// </summary>
public sealed class SlowLane : IDisposable
{
    private readonly BlockingCollection<Action> _jobs = new(new ConcurrentQueue<Action>());
    private readonly Thread _thread;

    /// <summary>A lane with nothing to do.</summary>
    public SlowLane()
    {
        _thread = new Thread(Work) { Name = "slow lane", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Adds a job; never waits. An exception of the job's is a defect and ends the process.</summary>
    public void Add(Action job) => _jobs.Add(job);

    /// <summary>Waits until every job that was added before has run.</summary>
    public void Drain()
    {
        using var done = new ManualResetEventSlim();
        _jobs.Add(done.Set);
        done.Wait();
    }

    /// <summary>Runs what is left, then ends the thread.</summary>
    public void Dispose()
    {
        _jobs.CompleteAdding();
        _thread.Join();
        _jobs.Dispose();
    }

    private void Work()
    {
        foreach (Action job in _jobs.GetConsumingEnumerable()) job();
    }
}
