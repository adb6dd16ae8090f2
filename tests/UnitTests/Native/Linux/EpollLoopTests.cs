using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Native.Linux;

public sealed class EpollLoopTests : IDisposable
{
    private readonly EpollLoop _loop = new();
    private readonly VfioSystem _system = new();

    public void Dispose() => _loop.Dispose();

    [Fact]
    public void Time_does_not_run_backwards()
    {
        VirtualTime last = VirtualTime.Zero;
        for (int i = 0; i < 1000; i++)
        {
            VirtualTime now = _loop.Now;
            Assert.True(now >= last);
            last = now;
        }

        Assert.NotEqual(VirtualTime.Zero, last);
    }

    [Fact]
    public void Model_is_advanced_at_its_deadline_and_not_before()
    {
        var model = new Model(_loop) { NextDeadline = _loop.Now.Plus(5_000_000) };
        VirtualTime due = model.NextDeadline;
        model.Due = now =>
        {
            Assert.True(now >= due);
            model.NextDeadline = VirtualTime.Never;
            _loop.Stop();
        };

        _loop.Run(model);

        Assert.InRange(_loop.Wakeups, 1, 2);
    }

    [Fact]
    public void Deadline_in_the_past_is_served_without_sleeping()
    {
        int turns = 0;
        var model = new Model(_loop) { NextDeadline = VirtualTime.Zero };
        model.Due = _ =>
        {
            if (++turns == 10) _loop.Stop();
        };

        _loop.Run(model);

        Assert.Equal(10, turns);
        Assert.Equal(0, _loop.Wakeups);
    }

    [Fact]
    public void Wakes_from_another_thread_are_one_turn_each_at_most()
    {
        var model = new Model(_loop);
        _loop.Wake();
        _loop.Wake();
        _loop.Turn(model, mayWait: true);
        Assert.Equal(1, _loop.Wakeups);

        var other = new Thread(_loop.Stop);
        other.Start();
        _loop.Run(model);
        other.Join();

        Assert.InRange(_loop.Wakeups, 1, 2);
    }

    [Fact]
    public void Source_is_told_while_it_is_watched_for_what_it_asks()
    {
        using Descriptor one = Descriptor.NewEvent();
        var source = new Source();
        ILoopWatch watch = _loop.Watch(one, LoopEvents.Readable, source);
        var model = new Model(_loop);

        _loop.Turn(model, mayWait: false);
        Assert.Empty(source.Told);
        _system.Signal(one);
        _loop.Turn(model, mayWait: true);
        _loop.Turn(model, mayWait: true);
        Assert.Equal([LoopEvents.Readable, LoopEvents.Readable], source.Told);
        watch.Interest = LoopEvents.Writable;
        _loop.Turn(model, mayWait: true);
        Assert.Equal(LoopEvents.Writable, source.Told[^1]);
        watch.Dispose();
        watch.Dispose();
        _loop.Turn(model, mayWait: false);
        Assert.Equal(3, source.Told.Count);
    }

    [Fact]
    public void Source_that_another_disposed_in_the_same_turn_is_not_told()
    {
        using Descriptor first = Descriptor.NewEvent();
        using Descriptor second = Descriptor.NewEvent();
        _system.Signal(first);
        _system.Signal(second);
        var watches = new List<ILoopWatch>();
        var source = new Source { Action = () => watches.ForEach(watch => watch.Dispose()) };
        watches.Add(_loop.Watch(first, LoopEvents.Readable, source));
        watches.Add(_loop.Watch(second, LoopEvents.Readable, source));

        _loop.Turn(new Model(_loop), mayWait: true);

        Assert.Single(source.Told);
    }

    [Fact]
    public void End_of_the_other_side_is_told()
    {
        (UnixSocket mine, UnixSocket theirs) = UnixSocket.Pair()!.Value;
        var source = new Source();
        _loop.Watch(mine.Handle, LoopEvents.None, source);

        theirs.Dispose();
        _loop.Turn(new Model(_loop), mayWait: true);

        Assert.Equal(LoopEvents.HangUp, source.Told[0] & LoopEvents.HangUp);
        mine.Dispose();
    }

    [Fact]
    public void Plain_file_cannot_be_watched()
    {
        using FileStream file = new(Path.GetTempFileName(), FileMode.Open, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose);

        Assert.Throws<IOException>(() => _loop.Watch(file.SafeFileHandle, LoopEvents.Readable, new Source()));
    }

    private sealed class Source : ILoopSource
    {
        public List<LoopEvents> Told { get; } = [];

        public Action? Action { get; init; }

        public void Ready(LoopEvents events)
        {
            Told.Add(events);
            Action?.Invoke();
        }
    }

    private sealed class Model(EpollLoop loop) : ITimed
    {
        public VirtualTime NextDeadline { get; set; } = VirtualTime.Never;

        public Action<VirtualTime>? Due { get; set; }

        public void Advance(VirtualTime now)
        {
            Assert.True(now <= loop.Now);
            if (now >= NextDeadline) Due?.Invoke(now);
        }
    }
}

public sealed class UnixListenerTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory().FullName;

    private string SocketPath => Path.Combine(_folder, "s");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Client_connects_and_descriptors_arrive_open()
    {
        using UnixListener? listener = UnixListener.Open(SocketPath, out string error);
        Assert.Equal("", error);
        Assert.Null(listener!.Accept());
        using UnixSocket? client = UnixSocket.Connect(SocketPath);
        using IClientSocket? server = listener.Accept();
        using Descriptor one = Descriptor.NewEvent();
        var system = new VfioSystem();

        Assert.Equal(SocketOutcome.Moved, client!.Send([1, 2, 3], [one, one], out int sent));
        var received = new List<SafeHandle>();
        Assert.Equal(SocketOutcome.Moved, server!.Receive(new byte[8], received, out int count));

        Assert.Equal((3, 3, 2), (sent, count, received.Count));
        Assert.True(system.Signal(received[1]));
        Assert.True(system.Clear(one));
        received.ForEach(handle => handle.Dispose());
    }

    [Fact]
    public void Socket_in_use_and_other_files_are_not_replaced_but_one_left_behind_is()
    {
        using (UnixListener? first = UnixListener.Open(SocketPath, out _))
        {
            Assert.Null(UnixListener.Open(SocketPath, out string inUse));
            Assert.Contains("in use", inUse);
        }

        Assert.False(File.Exists(SocketPath));
        File.WriteAllText(SocketPath, "mine");
        Assert.Null(UnixListener.Open(SocketPath, out string notSocket));
        Assert.Contains("not a socket", notSocket);
        Assert.Equal("mine", File.ReadAllText(SocketPath));
        File.Delete(SocketPath);
        using (var killed = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, 0))
        {
            killed.Bind(new System.Net.Sockets.UnixDomainSocketEndPoint(SocketPath));
            using UnixListener? heir = UnixListener.Open(SocketPath, out string error);
            Assert.Equal("", error);
            Assert.NotNull(heir);
        }
    }

    [Fact]
    public void Path_that_cannot_be_is_refused_with_a_line_for_the_user()
    {
        Assert.Null(UnixListener.Open(new string('x', 108), out string tooLong));
        Assert.Null(UnixListener.Open(Path.Combine(_folder, "none", "s"), out string noFolder));

        Assert.Contains("107 bytes", tooLong);
        Assert.Contains("folder", noFolder);
        Assert.Null(UnixSocket.Connect(SocketPath));
    }
}
