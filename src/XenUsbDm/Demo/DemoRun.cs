using System;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Security.Cryptography;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Native.Storage;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Demo;

/// <summary>
/// The <c>demo</c> command: a guest in this process finds a stick through the whole road, reads all of it, writes a pattern
/// and verifies it. This folder keeps what only the demo needs: the stick's image, the tree, figures and progress.
/// </summary>
internal sealed class DemoRun
{
    /// <summary>Bytes of one READ or WRITE: what Windows sends, and one request all the way.</summary>
    public const int ChunkBytes = 64 << 10;

    /// <summary>Most bytes that are written and verified: large images are read completely but only their start is written.</summary>
    public const long MaxPatternBytes = 64 << 20;

    // Differs from the seed of a made image, so that a write that did nothing shows.
    private const ulong PatternSeed = 2;

    private readonly DemoMachine _machine;
    private readonly MassStorageClient _stick;
    private readonly Surroundings _surroundings;
    private readonly ProgressLine _progress;
    private readonly GuestBuffer _buffer;
    private readonly byte[] _expected = new byte[ChunkBytes];

    private DemoRun(DemoMachine machine, Surroundings surroundings, ProgressLine progress)
    {
        _machine = machine;
        _surroundings = surroundings;
        _progress = progress;
        _stick = machine.Enumerate();
        _buffer = machine.Driver.AllocateBuffer(ChunkBytes);
    }

    /// <summary>Runs it; returns the exit status. Nothing is left on disk, however it ends.</summary>
    public static int Invoke(DemoOptions options, Surroundings surroundings)
    {
        ProgressLine progress = ProgressLine.OnWallClock(surroundings.Output, surroundings.OutputIsTerminal);
        try
        {
            using StickImage? image = StickImage.TryCreate(options, surroundings, out int status, out string error);
            return image is null ? surroundings.Fail(status, error) : Run(options, image, surroundings, progress);
        }
        catch (OperationCanceledException)
        {
            progress.End();
            return surroundings.Fail(ExitStatus.Failed, "demo: interrupted; temporary files are removed");
        }
        catch (DemoFailure failure)
        {
            progress.End();
            return surroundings.Fail(ExitStatus.Failed, $"demo: {failure.Message}");
        }
        catch (Exception failure) when (failure is GuestDriverException or GuestTimeoutException)
        {
            progress.End();
            string line = failure.Message.Split('\n')[0];
            return surroundings.Fail(ExitStatus.Failed, $"demo: the guest's driver gave up: {line}; this is a defect, please report it");
        }
    }

    private static int Run(DemoOptions options, StickImage image, Surroundings surroundings, ProgressLine progress)
    {
        using ILoggerFactory logs = Logs.Open(LogLevel.Warning);
        long patterned = Math.Min(image.Length, MaxPatternBytes);
        ImageOpenResult opened = ImageFile.Open(image.Path, readOnly: false);
        if (opened.File is null) return surroundings.Fail(ExitStatus.Environment, $"demo: {opened.Message}");
        using (ImageFile file = opened.File)
        {
            var machine = new DemoMachine(file, options.Speed, logs.CreateLogger("demo"), surroundings.Stop);
            try
            {
                var run = new DemoRun(machine, surroundings, progress);
                TextWriter output = surroundings.Output;
                output.WriteLine($"stick: {options.Image ?? "made for this run"}, {image.Length} bytes");
                output.WriteLine();
                output.Write(DeviceTree.Render(machine.Tree()));
                output.WriteLine();
                output.WriteLine(run.ReadAll(image));
                output.WriteLine(run.WritePattern(patterned));
                output.WriteLine(run.VerifyPattern(patterned));
                output.WriteLine();
                foreach (string line in machine.Counters()) output.WriteLine(line);
            }
            finally
            {
                machine.PowerOff();
            }
        }

        CheckFile(image, patterned, surroundings);
        surroundings.Output.WriteLine();
        surroundings.Output.WriteLine("demo passed: every byte that the guest read and wrote is the byte in the image");
        return ExitStatus.Done;
    }

    private StepFigures ReadAll(StickImage image)
    {
        if ((long)_stick.Blocks * _stick.BlockSize != image.Length)
            throw new DemoFailure($"the stick says {_stick.Blocks} blocks of {_stick.BlockSize} bytes, the image has {image.Length} bytes; this is a defect, please report it");
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        (long transfers, TimeSpan time) = ForEachChunk("read", image.Length, isIn: true, (_, data) => hash.AppendData(data));
        if (!hash.GetHashAndReset().AsSpan().SequenceEqual(image.Hash))
            throw new DemoFailure("the guest read something else than the image holds; this is a defect, please report it");
        return new StepFigures("read", image.Length, transfers, time, "SHA-256 equals the image's");
    }

    private StepFigures WritePattern(long length)
    {
        (long transfers, TimeSpan time) = ForEachChunk("write", length, isIn: false, (offset, data) => StickImage.Pattern(data, offset, PatternSeed));
        return _stick.Flush().Ok
            ? new StepFigures("write", length, transfers, time, "flushed")
            : throw new DemoFailure("the stick could not make the pattern durable; check the free space of the temporary folder");
    }

    private StepFigures VerifyPattern(long length)
    {
        (long transfers, TimeSpan time) = ForEachChunk("verify", length, isIn: true, Compare);
        return new StepFigures("verify", length, transfers, time, "pattern read back");
    }

    private void Compare(long offset, Span<byte> data)
    {
        Span<byte> expected = _expected.AsSpan(0, data.Length);
        StickImage.Pattern(expected, offset, PatternSeed);
        int at = data.CommonPrefixLength(expected);
        if (at < data.Length) throw new DemoFailure($"byte {offset + at} reads back as another than was written; this is a defect, please report it");
    }

    // Writes call the step before the transfer, to fill the buffer; reads after it. Only the transfers are timed.
    private (long Transfers, TimeSpan Time) ForEachChunk(string name, long length, bool isIn, ChunkAction action)
    {
        long before = _machine.StickTransfers;
        var time = new Stopwatch();
        _progress.Start(name);
        for (long offset = 0; offset < length; offset += ChunkBytes)
        {
            _surroundings.Stop.ThrowIfCancellationRequested();
            int bytes = (int)Math.Min(ChunkBytes, length - offset);
            int blocks = bytes / StickImage.SectorBytes;
            ulong block = (ulong)(offset / StickImage.SectorBytes);
            if (!isIn) action(offset, _machine.Driver.Platform.Memory(_buffer.Address, bytes));
            time.Start();
            ScsiResult result = isIn ? _stick.Read(block, blocks, _buffer.Address) : _stick.Write(block, blocks, _buffer.Address);
            time.Stop();
            if (!result.Ok || result.Actual != bytes || result.Residue != 0)
                throw new DemoFailure($"the stick failed to {(isIn ? "read" : "write")} block {block} (status {result.Status}); check the free space of the temporary folder");
            if (isIn) action(offset, _machine.Driver.Platform.Memory(_buffer.Address, bytes));
            _progress.Report(offset + bytes, length);
        }

        _progress.End();
        return (_machine.StickTransfers - before, time.Elapsed);
    }

    // The other end of the road: what the guest wrote must be in the file, and nothing else may have changed.
    private static void CheckFile(StickImage image, long patterned, Surroundings surroundings)
    {
        using FileStream file = File.OpenRead(image.Path);
        byte[] data = new byte[ChunkBytes];
        byte[] expected = new byte[ChunkBytes];
        for (long offset = 0; offset < patterned; offset += ChunkBytes)
        {
            surroundings.Stop.ThrowIfCancellationRequested();
            int bytes = (int)Math.Min(ChunkBytes, patterned - offset);
            file.ReadExactly(data, 0, bytes);
            StickImage.Pattern(expected.AsSpan(0, bytes), offset, PatternSeed);
            if (!data.AsSpan(0, bytes).SequenceEqual(expected.AsSpan(0, bytes)))
                throw new DemoFailure(string.Create(CultureInfo.InvariantCulture, $"what the guest wrote at byte {offset} is not in the image; this is a defect, please report it"));
        }
    }

    private delegate void ChunkAction(long offset, Span<byte> data);

    private sealed class DemoFailure(string message) : Exception(message);
}
