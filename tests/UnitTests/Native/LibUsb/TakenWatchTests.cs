using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.UnitTests.Hosts.VfioUser;
using Xunit;

namespace XenUsbDm.UnitTests.Native.LibUsb;

public sealed class TakenWatchTests : IDisposable
{
    private readonly TakenDevices _taken = new(Directory.CreateTempSubdirectory("taken-").FullName);
    private readonly ManualLoop _loop = new();
    private readonly List<string> _closed = [];
    private readonly TakenWatch _watch;
    private int _told;
    private bool _couldTake;

    public TakenWatchTests() => _watch = TakenWatch.TryOpen(_loop, _taken, Told, _closed.Add)!;

    public void Dispose()
    {
        _watch.Dispose();
        Directory.Delete(_taken.Place, recursive: true);
    }

    [Fact]
    public void Place_that_is_given_up_is_told_when_it_can_be_taken()
    {
        TakenPlace place = _taken.TryTake("1-2", out _, out _)!;
        place.Write(new TakenRecord(1234, "domain 5", 1, 7, 1));
        Turn();
        Assert.Equal(0, _told);

        place.Dispose();
        Turn();
        Assert.Equal((1, true), (_told, _couldTake));
    }

    // Otherwise two processes that wait would wake each other for ever.
    [Fact]
    public void Looking_at_places_is_not_told()
    {
        using TakenPlace place = _taken.TryTake("1-2", out _, out _)!;
        place.Write(new TakenRecord(1234, "domain 5", 1, 7, 1));

        Assert.Null(_taken.TryTake("1-2", out _, out bool inUse));
        Assert.NotNull(_taken.HolderOf("1-2"));
        Assert.Empty(_taken.Leftovers());
        Turn();

        Assert.Equal((true, 0), (inUse, _told));
    }

    [Fact]
    public void Killed_process_gives_up_its_place_too()
    {
        string file = Path.Combine(_taken.Place, "1-2");
        File.WriteAllText(file, "1234 1 7 1 domain 5\n");
        Turn();
        _told = 0;
        using Process holder = Process.Start(new ProcessStartInfo("sh", ["-c", $"exec 8<{file} 9<>{file}; flock 8; echo; exec sleep 600"]) { RedirectStandardOutput = true })!;
        holder.StandardOutput.ReadLine();
        Assert.Null(_taken.TryTake("1-2", out string error, out _));
        Assert.StartsWith("1-2 is in use by pid 1234, domain 5", error);

        holder.Kill();
        holder.WaitForExit();
        Turn();
        Assert.Equal((1, true), (_told, _couldTake));
    }

    [Fact]
    public void Node_that_a_program_has_is_told_once_when_it_is_closed()
    {
        string node = Path.Combine(Directory.CreateTempSubdirectory("node-").FullName, "001");
        File.WriteAllText(node, "");
        try
        {
            using (new FileStream(node, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
            {
                _watch.Await(node);
                File.ReadAllText(node); // Who only reads has claimed nothing.
                Turn();
                Assert.Empty(_closed);
            }

            File.AppendAllText(node, "again");
            Turn();
            Assert.Equal([node], _closed);
            Assert.Equal(0, _told);
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(node)!, recursive: true);
        }
    }

    [Fact]
    public void Node_that_is_removed_is_told_and_one_that_is_not_there_is_not_waited_for()
    {
        string folder = Directory.CreateTempSubdirectory("node-").FullName;
        File.WriteAllText(Path.Combine(folder, "001"), "");

        _watch.Await(Path.Combine(folder, "001"));
        _watch.Await(Path.Combine(folder, "002"));
        Directory.Delete(folder, recursive: true);
        Turn();

        Assert.Equal([Path.Combine(folder, "001")], _closed);
    }

    [Fact]
    public void Folder_that_cannot_be_made_is_not_watched()
    {
        File.WriteAllText(Path.Combine(_taken.Place, "file"), "");

        Assert.Null(TakenWatch.TryOpen(_loop, new TakenDevices(Path.Combine(_taken.Place, "file", "below")), Told, _closed.Add));
    }

    private void Turn()
    {
        foreach (ILoopSource source in _loop.Sources.ToArray()) source.Ready(LoopEvents.Readable);
    }

    private void Told()
    {
        _told++;
        using TakenPlace? place = _taken.TryTake("1-2", out _, out _);
        _couldTake = place is not null;
    }
}
