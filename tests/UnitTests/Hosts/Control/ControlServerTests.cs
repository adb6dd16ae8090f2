using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xunit;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.UnitTests.Hosts.Control;

public sealed class ControlServerTests : IDisposable
{
    private const string Negotiation = """{"execute":"qmp_capabilities"}""";

    private readonly ControlBench _bench = new();
    private readonly FakeLoop _loop = new();
    private readonly FakeListener _listener = new();
    private readonly ControlServer _server;

    public ControlServerTests() => _server = new ControlServer(_loop, _listener, _bench.Hub);

    public void Dispose() => _server.Dispose();

    [Fact]
    public void Client_is_greeted_and_its_commands_are_answered()
    {
        FakeSocket client = Connect();
        client.Sends(Negotiation + """{"execute":"query-status"}""");

        Turn();

        Assert.Equal(3, client.Lines.Count);
        Assert.Equal(LoopEvents.Readable, _loop.Of(client).Interest);
        Assert.Equal(VirtualTime.Never, _server.NextDeadline);
    }

    [Fact]
    public void Several_clients_have_sessions_of_their_own()
    {
        FakeSocket first = Connect();
        FakeSocket second = Connect();
        first.Sends(Negotiation);

        Turn();

        Assert.Equal(2, first.Lines.Count);
        Assert.Single(second.Lines);
        Assert.Equal(2, _server.Clients);
    }

    [Fact]
    public void What_a_socket_does_not_take_goes_when_it_is_writable()
    {
        FakeSocket client = Connect();
        client.Room = 10;
        client.Sends(Negotiation + """{"execute":"query-version"}""");

        Turn();
        LoopEvents waiting = _loop.Of(client).Interest;
        client.Room = int.MaxValue;
        Turn();

        Assert.Equal(LoopEvents.Readable | LoopEvents.Writable, waiting);
        Assert.Equal(3, client.Lines.Count);
        Assert.Equal(LoopEvents.Readable, _loop.Of(client).Interest);
    }

    [Fact]
    public void Client_that_does_not_read_is_not_read_either()
    {
        FakeSocket client = Connect();
        client.Room = 0;
        client.Sends(Negotiation + string.Concat(Enumerable.Repeat("""{"execute":"inspect"}""", 10_000)));

        for (int i = 0; i < 100; i++) Turn();

        Assert.Equal(LoopEvents.Writable, _loop.Of(client).Interest);
        Assert.InRange(client.Unread, 1, 10_000 * 21);
        Assert.Equal(VirtualTime.Never, _server.NextDeadline);
        client.Room = int.MaxValue;
        for (int i = 0; i < 5_000; i++) Turn();
        Assert.Equal(10_002, client.Lines.Count);
    }

    [Fact]
    public void Client_that_lets_events_lie_is_closed()
    {
        FakeSocket client = Connect();
        client.Sends(Negotiation);
        Turn();
        client.Room = 0;

        for (int i = 0; i < 6_000 && !client.IsDisposed; i++)
        {
            _bench.Hub.DeviceDetached(_bench.Machine.Now, new PortPlace(1, 1), new string('x', 1000));
            Turn();
        }

        Assert.True(client.IsDisposed);
        Assert.Equal(0, _server.Clients);
        Assert.Empty(_bench.Hub.Sessions);
        Assert.True(_loop.Of(client).IsDisposed);
    }

    [Fact]
    public void Garbage_is_answered_and_closed()
    {
        FakeSocket client = Connect();
        client.Sends("GET / HTTP/1.0\r\n\r\n");

        Turn();

        Assert.Contains("JSON parse error", client.Lines[^1]);
        Assert.True(client.IsDisposed);
    }

    [Fact]
    public void End_of_input_closes_after_the_answers()
    {
        FakeSocket client = Connect();
        client.Sends(Negotiation + """{"execute":"query-status"}""");
        client.Ends = true;

        Turn();
        Turn();

        Assert.Equal(3, client.Lines.Count);
        Assert.True(client.IsDisposed);
    }

    [Fact]
    public void Client_that_sends_and_goes_is_still_obeyed()
    {
        FakeSocket client = Connect();
        client.Sends(Negotiation + """{"execute":"quit"}""");
        client.Ends = true;
        client.IsGone = true;

        for (int i = 0; i < 4; i++) Turn();

        Assert.Equal(1, _bench.Quits);
        Assert.True(client.IsDisposed);
    }

    [Fact]
    public void Client_that_goes_while_its_detach_is_under_way_does_not_keep_the_loop_awake()
    {
        _bench.ClosesSlowly = true;
        _bench.Control.Attach(_bench.Machine.Now, new PortPlace(1, 1), "disk");
        FakeSocket client = Connect();
        client.Sends(Negotiation + """{"execute":"device-detach","arguments":{"port":1}}""");
        client.Ends = true;
        client.IsGone = true;

        for (int i = 0; i < 4; i++) Turn();
        bool watched = !_loop.Of(client).IsDisposed;
        VirtualTime deadline = _server.NextDeadline;
        _bench.Opened[0].IsClosed = true;
        Turn();

        Assert.False(watched);
        Assert.Equal(VirtualTime.Never, deadline);
        Assert.True(client.IsDisposed);
    }

    [Fact]
    public void Send_that_fails_closes_the_client()
    {
        FakeSocket client = Connect();
        client.IsGone = true;
        client.Sends(Negotiation);

        _loop.Of(client).Source.Ready(LoopEvents.Readable);
        _server.Advance(_bench.Machine.Now);

        Assert.True(client.IsDisposed);
    }

    [Fact]
    public void Descriptors_that_a_client_passes_are_closed()
    {
        FakeSocket client = Connect();
        var passed = new SafeFileHandle(-1, ownsHandle: true);
        client.Passes = passed;
        client.Sends(Negotiation);

        Turn();

        Assert.True(passed.IsClosed);
    }

    [Fact]
    public void Client_beyond_the_limit_is_told_and_closed()
    {
        for (int i = 0; i < ControlLimits.Clients; i++) Connect();
        var late = new FakeSocket();
        _listener.Waiting.Enqueue(late);

        _server.Ready(LoopEvents.Readable);

        Assert.Contains("too many clients", Assert.Single(late.Lines));
        Assert.True(late.IsDisposed);
        Assert.Equal(ControlLimits.Clients, _server.Clients);
    }

    [Fact]
    public void Listener_that_cannot_take_a_client_pauses_instead_of_spinning()
    {
        _loop.Now = new VirtualTime(5);

        _server.Ready(LoopEvents.Readable);

        Assert.Equal(LoopEvents.None, _loop.Of(_listener).Interest);
        Assert.Equal(new VirtualTime(1_000_000_005), _server.NextDeadline);
        _server.Advance(new VirtualTime(1_000_000_004));
        Assert.Equal(LoopEvents.None, _loop.Of(_listener).Interest);
        _server.Advance(new VirtualTime(1_000_000_005));
        Assert.Equal(LoopEvents.Readable, _loop.Of(_listener).Interest);
        Assert.Equal(VirtualTime.Never, _server.NextDeadline);
    }

    [Fact]
    public void Dispose_sends_what_waits_and_closes_all()
    {
        FakeSocket client = Connect();
        client.Sends(Negotiation);
        Turn();
        _bench.Hub.Shutdown("host-signal");

        _server.Dispose();

        Assert.Contains("host-signal", client.Lines[^1]);
        Assert.True(client.IsDisposed);
        Assert.True(_listener.IsDisposed);
        Assert.True(_loop.Of(_listener).IsDisposed);
    }

    private FakeSocket Connect()
    {
        var client = new FakeSocket();
        _listener.Waiting.Enqueue(client);
        _server.Ready(LoopEvents.Readable);
        return client;
    }

    // What the loop does: every source that is ready for what it waits for, then the model.
    private void Turn()
    {
        foreach (FakeWatch watch in _loop.Watches.ToList())
        {
            if (watch.IsDisposed || watch.Handle is not FakeSocket.SocketHandle { Socket: var socket }) continue;
            LoopEvents ready = LoopEvents.None;
            if ((watch.Interest & LoopEvents.Readable) != 0 && (socket.Unread > 0 || socket.Ends)) ready |= LoopEvents.Readable;
            if ((watch.Interest & LoopEvents.Writable) != 0 && socket.Room > 0) ready |= LoopEvents.Writable;
            if (socket.IsGone) ready |= LoopEvents.HangUp;
            if (ready != LoopEvents.None) watch.Source.Ready(ready);
        }

        _server.Advance(_bench.Machine.Now);
    }

    private sealed class FakeLoop : IEventLoop
    {
        public List<FakeWatch> Watches { get; } = [];

        public VirtualTime Now { get; set; }

        public ILoopWatch Watch(SafeHandle descriptor, LoopEvents interest, ILoopSource source)
        {
            var watch = new FakeWatch(descriptor, source) { Interest = interest };
            Watches.Add(watch);
            return watch;
        }

        public FakeWatch Of(FakeSocket socket) => Watches.Single(watch => ReferenceEquals(watch.Handle, socket.Handle));

        public FakeWatch Of(FakeListener listener) => Watches.Single(watch => ReferenceEquals(watch.Handle, listener.Handle));

        public void Wake()
        {
        }

        public void Stop()
        {
        }

        public void Run(ITimed model) => model.Advance(Now);
    }

    private sealed class FakeWatch(SafeHandle handle, ILoopSource source) : ILoopWatch
    {
        public SafeHandle Handle => handle;

        public ILoopSource Source => source;

        public LoopEvents Interest { get; set; }

        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }

    private sealed class FakeListener : IClientListener
    {
        public Queue<FakeSocket> Waiting { get; } = new();

        public SafeHandle Handle { get; } = new SafeFileHandle(-1, ownsHandle: false);

        public bool IsDisposed { get; private set; }

        public IClientSocket? Accept() => Waiting.TryDequeue(out FakeSocket? socket) ? socket : null;

        public void Dispose() => IsDisposed = true;
    }

    private sealed class FakeSocket : IClientSocket
    {
        private readonly MemoryQueue _incoming = new();
        private readonly StringBuilder _sent = new();

        public FakeSocket() => Handle = new SocketHandle(this);

        public SafeHandle Handle { get; }

        public int Room { get; set; } = int.MaxValue;

        public bool Ends { get; set; }

        public bool IsGone { get; set; }

        public bool IsDisposed { get; private set; }

        public SafeHandle? Passes { get; set; }

        public int Unread => _incoming.Count;

        public List<string> Lines => [.. _sent.ToString().Split("\r\n", StringSplitOptions.RemoveEmptyEntries)];

        public void Sends(string text) => _incoming.Add(Encoding.UTF8.GetBytes(text));

        public SocketOutcome Receive(Span<byte> buffer, ICollection<SafeHandle> descriptors, out int count)
        {
            Assert.False(buffer.IsEmpty);
            if (Passes is not null) descriptors.Add(Passes);
            count = _incoming.Take(buffer);
            return count > 0 ? SocketOutcome.Moved : Ends ? SocketOutcome.Closed : SocketOutcome.WouldBlock;
        }

        public SocketOutcome Send(ReadOnlySpan<byte> bytes, out int count)
        {
            count = Math.Min(Room, bytes.Length);
            if (IsGone) return SocketOutcome.Closed;
            if (count == 0) return SocketOutcome.WouldBlock;
            if (Room != int.MaxValue) Room -= count;
            _sent.Append(Encoding.UTF8.GetString(bytes[..count]));
            return SocketOutcome.Moved;
        }

        public void Dispose() => IsDisposed = true;

        internal sealed class SocketHandle(FakeSocket socket) : SafeHandleMinusOneIsInvalid(ownsHandle: false)
        {
            public FakeSocket Socket => socket;

            protected override bool ReleaseHandle() => true;
        }
    }

    private sealed class MemoryQueue
    {
        private byte[] _bytes = [];

        public int Count => _bytes.Length;

        public void Add(byte[] bytes) => _bytes = [.. _bytes, .. bytes];

        public int Take(Span<byte> target)
        {
            int count = Math.Min(target.Length, _bytes.Length);
            _bytes.AsSpan(0, count).CopyTo(target);
            _bytes = _bytes[count..];
            return count;
        }
    }
}
