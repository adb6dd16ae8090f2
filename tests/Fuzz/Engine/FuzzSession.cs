using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;

namespace XenUsbDm.Fuzz.Engine;

/// <summary>Runs one case of a target.</summary>
public delegate void FuzzEntry(ReadOnlySpan<byte> input);

/// <summary>What the jobs of one target share: the inputs worth keeping and the features reached.</summary>
public sealed class FuzzSession
{
    private readonly Lock _gate = new();
    private readonly List<byte[]> _inputs = [];
    private readonly byte[] _reached = new byte[FeatureMap.Size];
    private long _executions;

    public FuzzSession(string name, FuzzEntry entry)
    {
        Name = name;
        Entry = entry;
    }

    public string Name { get; }

    public FuzzEntry Entry { get; }

    public int FeatureCount { get; private set; }

    public int InputCount
    {
        get
        {
            lock (_gate) return _inputs.Count;
        }
    }

    /// <summary>First failure: the input and what was wrong with it.</summary>
    public (byte[] Input, Exception Error)? Failure { get; private set; }

    /// <summary>Cases run while fuzzing, by all jobs.</summary>
    public long Executions => Interlocked.Read(ref _executions);

    /// <summary>Inputs kept so far, in the order in which they were found.</summary>
    public byte[][] Inputs()
    {
        lock (_gate) return [.. _inputs];
    }

    public byte[] Pick(XorShift random)
    {
        lock (_gate)
        {
            if (_inputs.Count == 0) return [];
            // Half of the time one of the newest: they lead where nobody has been.
            int newest = Math.Min(_inputs.Count, 64);
            return random.OneIn(2) ? _inputs[_inputs.Count - 1 - random.Below(newest)] : _inputs[random.Below(_inputs.Count)];
        }
    }

    /// <summary>Keeps an input when it reached something new.</summary>
    public bool Offer(ReadOnlySpan<byte> input, FeatureMap features)
    {
        ArgumentNullException.ThrowIfNull(features);
        bool isNew = false;
        foreach (int index in features.Hits)
        {
            if (_reached[index] != 0) continue;
            isNew = true;
            break;
        }

        if (!isNew) return false;
        lock (_gate)
        {
            int found = 0;
            foreach (int index in features.Hits)
            {
                if (_reached[index] != 0) continue;
                _reached[index] = 1;
                found++;
            }

            if (found == 0) return false;
            FeatureCount += found;
            _inputs.Add(input.ToArray());
            return true;
        }
    }

    public void Fail(ReadOnlySpan<byte> input, Exception error)
    {
        lock (_gate) Failure ??= (input.ToArray(), error);
    }

    /// <summary>Runs one input with every check. Returns what was wrong, or null.</summary>
    public Exception? Replay(ReadOnlySpan<byte> input, FeatureMap? features = null)
    {
        FuzzCase.Thorough = true;
        FuzzCase.Features = features;
        features?.Clear();
        try
        {
            Entry(input);
            if (features is not null) Offer(input, features);
            return null;
        }
        catch (Exception e)
        {
            return e;
        }
        finally
        {
            FuzzCase.Thorough = false;
            FuzzCase.Features = null;
        }
    }

    /// <summary>Fuzzes on this thread until the time, the executions or a failure ends it. One execution in <paramref name="thoroughEvery"/> gets every check.</summary>
    public void Run(ulong seed, long executions, TimeSpan time, int unit, int thoroughEvery)
    {
        var random = new XorShift(seed);
        var mutator = new Mutator(random, unit);
        var features = new FeatureMap();
        long started = Stopwatch.GetTimestamp();
        FuzzCase.Features = features;
        for (long n = 0; n < executions && Failure is null; n++)
        {
            if ((n & 31) == 0 && Stopwatch.GetElapsedTime(started) >= time) break;
            ReadOnlySpan<byte> input = mutator.Mutate(Pick(random), Pick(random));
            FuzzCase.Thorough = n % thoroughEvery == thoroughEvery - 1;
            features.Clear();
            Interlocked.Increment(ref _executions);
            try
            {
                Entry(input);
                Offer(input, features);
            }
            catch (Exception e)
            {
                Fail(input, e);
                break;
            }
        }

        FuzzCase.Features = null;
        FuzzCase.Thorough = false;
    }
}
