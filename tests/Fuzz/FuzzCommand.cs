using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Fuzz.Hosts;
using XenUsbDm.Fuzz.Parsers;
using XenUsbDm.Fuzz.Xhci;

namespace XenUsbDm.Fuzz;

/// <summary>The command line: replay of the corpus, then fuzzing, one summary line. Exit status 0 held, 1 an oracle complained, 2 wrong usage.</summary>
public sealed class FuzzCommand
{
    public const string UsageText = """
        usage: Fuzz [--seconds N | --minutes N] [--executions N] [--seed N] [--jobs N] [--target xhci|descriptors|state|disk|libusb|vfio|qmp]
                    [--corpus FOLDER] [--keep FOLDER] [--replay PATH] [--show FILE] [--minimize FILE] [--write-seeds]
          without --target   half of the time for xhci, the rest in equal parts for the others
          --executions N     ends each job after N executions; with --jobs 1 and a --seed a run can be repeated exactly
          --keep FOLDER      writes the inputs that reached something new
          --replay PATH      runs a file, or every *.bin below a folder, with every check, and does not fuzz
          --show FILE        runs a file and prints the inspect tree that it leaves
          --minimize FILE    makes a failing input smaller and writes FILE.min
          --write-seeds      writes the named scenarios to the corpus
        Branch coverage: the unit test FuzzCorpusTests replays the corpus, so tools/coverage counts it; to measure new
        inputs too, --keep them in the corpus folder first.
        """;

    /// <summary>Bytes of live heap that a run may end with, for each job: FuzzMemory, the model's pools and the corpus.</summary>
    private const long HeapPerJob = 192L << 20;

    /// <summary>While fuzzing, one execution in so many is run twice and compared, looked into and checked for leaks.</summary>
    private const int ThoroughEvery = 61;

    private double _seconds;
    private long _executions = long.MaxValue;
    private ulong _seed = 1;
    private int _jobs = Environment.ProcessorCount;
    private string? _target;
    private string? _corpus;
    private string? _keep;
    private string? _replay;
    private string? _show;
    private string? _minimize;
    private bool _writeSeeds;

    public static bool TryParse(IReadOnlyList<string> args, [NotNullWhen(true)] out FuzzCommand? command, out string error)
    {
        ArgumentNullException.ThrowIfNull(args);
        var result = new FuzzCommand();
        command = null;
        error = "";
        for (int i = 0; i < args.Count; i++)
        {
            string name = args[i];
            if (name is "--help" or "-h") return false;
            if (name == "--write-seeds")
            {
                result._writeSeeds = true;
                continue;
            }

            if (++i == args.Count)
            {
                error = $"{name} needs a value, or is not known";
                return false;
            }

            if (!result.Take(name, args[i]))
            {
                error = $"unknown or wrong: {name} {args[i]}";
                return false;
            }
        }

        command = result;
        return true;
    }

    public int Run()
    {
        _corpus ??= FindCorpus();
        if (_writeSeeds) return WriteSeeds();
        if (_show is not null)
        {
            Console.Write(XhciTarget.Show(File.ReadAllBytes(_show)));
            return 0;
        }

        if (_minimize is not null) return Minimize(_minimize);
        if (_replay is not null) return ReplayPath(_replay);
        bool bounded = _executions != long.MaxValue;
        if (_seconds == 0) _seconds = bounded ? 86_400 : 30;
        FuzzSession[] sessions = [.. Targets().Where(s => _target is null || s.Name == _target)];
        if (sessions.Length == 0) return 2;
        long started = Stopwatch.GetTimestamp();
        int replayed = 0;
        foreach (FuzzSession session in sessions)
        {
            int count = ReplayFolder(session, Path.Combine(_corpus, session.Name), out int failures);
            if (failures > 0) return 1;
            replayed += count;
        }

        double replay = Stopwatch.GetElapsedTime(started).TotalSeconds;
        foreach (FuzzSession session in sessions)
        {
            double share = sessions.Length == 1 ? 1 : session.Name == XhciTarget.Name ? 0.5 : 0.5 / (sessions.Length - 1);
            var time = TimeSpan.FromSeconds(Math.Max(1, _seconds * share));
            // By processor time: the figure is the same beside other work.
            TimeSpan began = Environment.CpuUsage.TotalTime;
            Fuzz(session, time);
            double spent = (Environment.CpuUsage.TotalTime - began).TotalSeconds;
            if (_keep is not null) Keep(session);
            if (session.Failure is { } failure) return Report(session, failure.Input, failure.Error);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"  {session.Name,-12} {session.Executions,10} executions  {session.Executions / spent,8:f0}/s per core  {session.FeatureCount,6} features  {session.InputCount,5} inputs"));
        }

        long heap = GC.GetTotalMemory(forceFullCollection: true);
        if (heap > HeapPerJob * _jobs)
        {
            Console.Error.WriteLine($"fuzz: memory: {heap >> 20} MiB live after the run, {HeapPerJob * _jobs >> 20} MiB are allowed");
            return 1;
        }

        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"fuzz: {replayed} corpus inputs replayed in {replay:f1} s, {sessions.Sum(s => s.Executions)} executions on {_jobs} cores, seed {_seed}, {heap >> 20} MiB live; every oracle held"));
        return 0;
    }

    /// <summary>The targets, each with an empty session.</summary>
    public static IReadOnlyList<FuzzSession> Targets() =>
    [
        Session<XhciTarget>(), Session<DescriptorTarget>(), Session<StateTarget>(), Session<DiskTarget>(), Session<HostDeviceTarget>(), Session<VfioTarget>(), Session<QmpTarget>(),
    ];

    /// <summary>The corpus folder of this checkout.</summary>
    public static string FindCorpus()
    {
        foreach (string start in (string[])[Environment.CurrentDirectory, AppContext.BaseDirectory])
        {
            for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
            {
                string corpus = Path.Combine(folder.FullName, "tests", "Fuzz", "corpus");
                if (Directory.Exists(corpus)) return corpus;
            }
        }

        return Path.Combine(Environment.CurrentDirectory, "corpus");
    }

    private static FuzzSession Session<T>()
        where T : IFuzzTarget => new(T.Name, T.Fuzz);

    private bool Take(string name, string value)
    {
        switch (name)
        {
            case "--seconds":
                return double.TryParse(value, CultureInfo.InvariantCulture, out _seconds);
            case "--minutes":
                bool ok = double.TryParse(value, CultureInfo.InvariantCulture, out double minutes);
                _seconds = minutes * 60;
                return ok;
            case "--executions":
                return long.TryParse(value, CultureInfo.InvariantCulture, out _executions);
            case "--seed":
                return ulong.TryParse(value, CultureInfo.InvariantCulture, out _seed);
            case "--jobs":
                return int.TryParse(value, CultureInfo.InvariantCulture, out _jobs) && _jobs is > 0 and < 1024;
            case "--target":
                _target = value;
                return Targets().Any(s => s.Name == value);
            case "--corpus":
                _corpus = value;
                return true;
            case "--keep":
                _keep = value;
                return true;
            case "--replay":
                _replay = value;
                return true;
            case "--show":
                _show = value;
                return true;
            case "--minimize":
                _minimize = value;
                return true;
            default:
                return false;
        }
    }

    private void Fuzz(FuzzSession session, TimeSpan time)
    {
        var threads = new Thread[_jobs];
        for (int i = 0; i < _jobs; i++)
        {
            ulong seed = unchecked((_seed * 1_000_003) + (ulong)i);
            threads[i] = new Thread(() => session.Run(seed, _executions, time, InputReader.Unit, ThoroughEvery), 8 << 20);
            threads[i].Start();
        }

        foreach (Thread thread in threads) thread.Join();
    }

    private int ReplayFolder(FuzzSession session, string folder, out int failures)
    {
        failures = 0;
        if (!Directory.Exists(folder)) return 0;
        string[] files = [.. Directory.EnumerateFiles(folder, "*.bin").Order(StringComparer.Ordinal)];
        var features = new FeatureMap();
        foreach (string file in files)
        {
            byte[] input = File.ReadAllBytes(file);
            if (session.Replay(input, features) is not { } error) continue;
            Console.Error.WriteLine($"fuzz: {Path.GetFileName(file)}");
            Report(session, input, error, write: false);
            failures++;
        }

        return files.Length;
    }

    private int ReplayPath(string path)
    {
        FuzzSession session = Targets().First(s => s.Name == (_target ?? "xhci"));
        if (Directory.Exists(path))
        {
            int count = ReplayFolder(session, path, out int failures);
            Console.WriteLine($"fuzz: {count} inputs replayed, {failures} failed, {session.FeatureCount} features");
            return failures == 0 ? 0 : 1;
        }

        byte[] input = File.ReadAllBytes(path);
        if (session.Replay(input) is { } error) return Report(session, input, error, write: false);
        Console.WriteLine($"fuzz: {path}: every oracle held");
        return 0;
    }

    private int Minimize(string path)
    {
        FuzzSession session = Targets().First(s => s.Name == (_target ?? "xhci"));
        byte[] input = File.ReadAllBytes(path);
        if (session.Replay(input) is not { } error)
        {
            Console.Error.WriteLine("fuzz: the input does not fail");
            return 1;
        }

        byte[] smaller = Minimizer.Minimize(session, input, Minimizer.OracleOf(error));
        File.WriteAllBytes(path + ".min", smaller);
        Report(session, smaller, session.Replay(smaller) ?? error, write: false);
        Console.WriteLine($"fuzz: {input.Length} bytes became {smaller.Length}: {path}.min");
        return 0;
    }

    private int WriteSeeds()
    {
        string folder = Path.Combine(_corpus!, XhciTarget.Name);
        Directory.CreateDirectory(folder);
        int count = 0;
        foreach ((string name, byte[] input) in Seeds.All())
        {
            File.WriteAllBytes(Path.Combine(folder, $"seed-{name}.bin"), input);
            count++;
        }

        foreach ((string target, string name, byte[] input) in ParserSeeds.All().Concat(HostSeeds.All()))
        {
            Directory.CreateDirectory(Path.Combine(_corpus!, target));
            File.WriteAllBytes(Path.Combine(_corpus!, target, $"seed-{name}.bin"), input);
            count++;
        }

        Console.WriteLine($"fuzz: {count} seeds written");
        return 0;
    }

    private void Keep(FuzzSession session)
    {
        string folder = Path.Combine(_keep!, session.Name);
        Directory.CreateDirectory(folder);
        foreach (byte[] input in session.Inputs())
        {
            string name = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(input))[..16];
            File.WriteAllBytes(Path.Combine(folder, $"{name}.bin"), input);
        }
    }

    private int Report(FuzzSession session, byte[] input, Exception error, bool write = true)
    {
        Console.Error.WriteLine($"fuzz: {session.Name} failed, seed {_seed}: {error}");
        Console.Error.WriteLine(Convert.ToHexStringLower(input));
        if (session.Name == XhciTarget.Name)
        {
            for (int i = 0; i < input.Length; i += InputReader.Unit)
                Console.Error.WriteLine($"  {(FuzzAction)(input[i] % (int)FuzzAction.Count)} {Convert.ToHexStringLower(input.AsSpan(i + 1, Math.Min(7, input.Length - i - 1)))}");
        }

        if (write)
        {
            string file = Path.GetFullPath($"fuzz-{session.Name}-{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(input))[..8]}.bin");
            File.WriteAllBytes(file, input);
            Console.Error.WriteLine($"fuzz: written to {file}");
        }

        return 1;
    }
}
