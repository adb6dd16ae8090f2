using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Hosts.Control;

/// <summary>
/// The control socket in the loop: moves bytes between clients and their sessions. Descriptors that are ready only move
/// bytes; commands are executed in <see cref="Advance"/>, which the loop's model calls after it has advanced itself, so that
/// what the model did is noticed in the same turn. Nothing waits for a client.
/// </summary>
public sealed class ControlServer : ILoopSource, ITimed, IDisposable
{
    // How long new clients wait when one could not be taken: the process has no descriptor left for it.
    private const ulong AcceptPause = 1_000_000_000;

    // Sends to one client in one turn; what is left goes when its socket is writable again.
    private const int SendsPerTurn = 16;

    private readonly IEventLoop _loop;
    private readonly IClientListener _listener;
    private readonly ILoopWatch _watch;
    private readonly ControlHub _hub;
    private readonly List<Client> _clients = [];
    private VirtualTime _acceptAgain = VirtualTime.Never;

    /// <summary>Serves <paramref name="hub"/> to the clients of <paramref name="listener"/>, which the server owns from here on.</summary>
    public ControlServer(IEventLoop loop, IClientListener listener, ControlHub hub)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(listener);
        ArgumentNullException.ThrowIfNull(hub);
        _loop = loop;
        _listener = listener;
        _hub = hub;
        _watch = loop.Watch(listener.Handle, LoopEvents.Readable, this);
    }

    /// <inheritdoc/>
    public VirtualTime NextDeadline => _hub.IsReady ? VirtualTime.Zero : _acceptAgain;

    /// <summary>Clients that are connected, or gone with commands left.</summary>
    public int Clients => _clients.Count;

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        // Someone has come. One is taken; others are reported again.
        if (_listener.Accept() is not { } socket)
        {
            _watch.Interest = LoopEvents.None;
            _acceptAgain = _loop.Now.Plus(AcceptPause);
            return;
        }

        if (_hub.Open() is not { } session)
        {
            _ = socket.Send("{\"error\": {\"class\": \"GenericError\", \"desc\": \"too many clients; close one\"}}\r\n"u8, out _);
            socket.Dispose();
            return;
        }

        var client = new Client(socket, session);
        _clients.Add(client);
        client.Watch = _loop.Watch(socket.Handle, LoopEvents.Readable, client);
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        if (now >= _acceptAgain)
        {
            _acceptAgain = VirtualTime.Never;
            _watch.Interest = LoopEvents.Readable;
        }

        _hub.Run(now);
        for (int i = _clients.Count - 1; i >= 0; i--)
        {
            if (!_clients[i].TryFlush()) Close(i);
        }
    }

    /// <summary>Tells every client what is waiting for it, as far as its socket takes it, closes all and removes the socket's path.</summary>
    public void Dispose()
    {
        for (int i = _clients.Count - 1; i >= 0; i--)
        {
            _clients[i].TryFlush();
            Close(i);
        }

        _watch.Dispose();
        _listener.Dispose();
    }

    private void Close(int index)
    {
        Client client = _clients[index];
        _clients.RemoveAt(index);
        client.Dispose();
        _hub.Close(client.Session);
    }

    private sealed class Client(IClientSocket socket, ControlSession session) : ILoopSource, IDisposable
    {
        private readonly List<SafeHandle> _descriptors = [];
        private bool _gone;

        public ControlSession Session => session;

        public ILoopWatch? Watch { get; set; }

        public void Ready(LoopEvents events)
        {
            if ((events & (LoopEvents.Readable | LoopEvents.HangUp)) != 0 && !session.InputSpace.IsEmpty) Receive();
            if ((events & LoopEvents.HangUp) == 0 || !session.InputSpace.IsEmpty) return;

            // The client has closed both ways and all it sent is here: it is still executed, but nobody reads the answers.
            _gone = true;
            session.InputEnded();
            Watch?.Dispose();
        }

        // False when the client is to be closed.
        public bool TryFlush()
        {
            for (int i = 0; i < SendsPerTurn && !session.Output.IsEmpty && !session.IsBroken; i++)
            {
                int count = session.Output.Length;
                SocketOutcome outcome = _gone ? SocketOutcome.Moved : socket.Send(session.Output, out count);
                if (outcome == SocketOutcome.WouldBlock) break;
                if (outcome == SocketOutcome.Closed) return false;
                session.Sent(count);
            }

            if (session.IsBroken || (session.IsClosing && session.Output.IsEmpty)) return false;
            if (!_gone && Watch is not null)
            {
                Watch.Interest = (session.InputSpace.IsEmpty ? LoopEvents.None : LoopEvents.Readable)
                    | (session.Output.IsEmpty ? LoopEvents.None : LoopEvents.Writable);
            }

            return true;
        }

        public void Dispose()
        {
            Watch?.Dispose();
            socket.Dispose();
        }

        private void Receive()
        {
            SocketOutcome outcome = socket.Receive(session.InputSpace.Span, _descriptors, out int count);
            foreach (SafeHandle descriptor in _descriptors) descriptor.Dispose();
            _descriptors.Clear();
            if (count > 0) session.Received(count);
            if (outcome == SocketOutcome.Closed) session.InputEnded();
        }
    }
}
