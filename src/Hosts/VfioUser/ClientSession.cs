using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.EventLoop;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>What a session needs of its host.</summary>
internal interface ISessionHost
{
    /// <summary>A command is about to be handled.</summary>
    void BeforeCommand(VfioUserCommand command);

    /// <summary>A command was handled with this errno (0 is success) and its reply is on the way.</summary>
    void AfterCommand(VfioUserCommand command, int error);

    /// <summary>The session has to end.</summary>
    void End(ClientSession session, string why);
}

/// <summary>
/// One client. It is read from only while all replies have gone out, so a client that does not read holds up itself and
/// nothing else; one turn handles what one read brought.
/// </summary>
internal sealed class ClientSession : ILoopSource, IDisposable
{
    private readonly IClientSocket _socket;
    private readonly VfioUserDevice _device;
    private readonly ISessionHost _host;
    private readonly bool _offerWriteMultiple;
    private readonly MessageAssembler _assembler = new();
    private readonly List<SafeHandle> _descriptors = new(VfioUserLimits.MaxDescriptors);
    private readonly byte[] _reply = new byte[VfioUserLimits.MaxMessageBytes];
    private readonly ILoopWatch _watch;
    private int _replyStart;
    private int _replyEnd;
    private bool _negotiated;
    private bool _ended;

    public ClientSession(IClientSocket socket, IEventLoop loop, VfioUserDevice device, ISessionHost host, bool offerWriteMultiple)
    {
        _socket = socket;
        _device = device;
        _host = host;
        _offerWriteMultiple = offerWriteMultiple;
        _watch = loop.Watch(socket.Handle, LoopEvents.Readable, this);
    }

    /// <summary>Commands handled.</summary>
    public long Commands { get; private set; }

    /// <summary>Commands of them that the client did not wait for (posted writes).</summary>
    public long Posted { get; private set; }

    /// <summary>Commands answered with an error.</summary>
    public long Errors { get; private set; }

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        if (!Flush()) return;
        if (!Drain()) return;

        // Also on a hang-up: what the client sent before it went is handled first, and the read tells of the end.
        SocketOutcome outcome = _socket.Receive(_assembler.Space, _assembler.Descriptors, out int count);
        if (outcome == SocketOutcome.Closed)
        {
            Finish("the client has disconnected");
            return;
        }

        if (outcome == SocketOutcome.WouldBlock) return;
        if (_assembler.Received(count)) Drain();
        else Finish("the client sent too many descriptors");
    }

    /// <summary>Closes the socket and every descriptor that no one has taken.</summary>
    public void Dispose()
    {
        _ended = true;
        _watch.Dispose();
        _socket.Dispose();
        _assembler.Clear();
        CloseDescriptors();
    }

    /// <summary>Handles whole messages until none is left (true), or a reply does not go out or the session ends (false).</summary>
    private bool Drain()
    {
        while (!_ended)
        {
            switch (_assembler.TryNext(_descriptors, out MessageHeader header, out ReadOnlySpan<byte> payload))
            {
                case AssemblyResult.Incomplete:
                    return true;
                case AssemblyResult.Malformed:
                    Put(header.Failure(VfioUserError.Invalid), 0);
                    Flush();
                    Finish("the client sent a message of impossible length");
                    return false;
                default:
                    Handle(header, payload);
                    break;
            }

            if (_replyEnd != 0) return false;
        }

        return false;
    }

    private void Handle(in MessageHeader header, ReadOnlySpan<byte> payload)
    {
        if (!header.IsCommand)
        {
            // We send no commands, so there is nothing to reply to.
            Finish("the client sent a reply to nothing");
            return;
        }

        Commands++;
        _host.BeforeCommand(header.Command);
        Span<byte> reply = _reply.AsSpan(VfioUserLimits.HeaderBytes);
        bool isVersion = header.Command == VfioUserCommand.Version;
        bool orderly = _negotiated != isVersion;
        int length = 0;
        int error = !orderly ? VfioUserError.Invalid
            : isVersion ? Negotiate(payload, reply, out length)
            : _device.Handle(header.Command, payload, _descriptors, reply, out length);
        CloseDescriptors();
        if (error != 0) Errors++;
        if (header.NoReply)
        {
            Posted++;
        }
        else
        {
            Put(error == 0 ? header.Reply(length) : header.Failure(error), error == 0 ? length : 0);
            if (!Flush() && _ended) return;
        }

        if (!_negotiated)
        {
            Finish(isVersion ? "the client speaks another version" : "the client did not begin with its version");
            return;
        }

        // After the reply: a processor of the guest may wait for it.
        _host.AfterCommand(header.Command, error);
    }

    private int Negotiate(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        length = 0;
        if (!VersionMessage.TryRead(payload, out VersionMessage version) || version.Major != VersionMessage.SupportedMajor) return VfioUserError.Invalid;
        length = version.WriteReply(reply, payload.Length, _offerWriteMultiple);
        _negotiated = true;
        return 0;
    }

    private void Put(in MessageHeader header, int payload)
    {
        header.Write(_reply);
        _replyStart = 0;
        _replyEnd = VfioUserLimits.HeaderBytes + payload;
    }

    /// <summary>Sends what is left of the reply; true when nothing is.</summary>
    private bool Flush()
    {
        while (_replyStart < _replyEnd)
        {
            SocketOutcome outcome = _socket.Send(_reply.AsSpan(_replyStart, _replyEnd - _replyStart), out int count);
            if (outcome == SocketOutcome.Closed)
            {
                Finish("the client has disconnected");
                return false;
            }

            if (outcome == SocketOutcome.WouldBlock)
            {
                _watch.Interest = LoopEvents.Writable;
                return false;
            }

            _replyStart += count;
        }

        _replyStart = _replyEnd = 0;
        if (!_ended) _watch.Interest = LoopEvents.Readable;
        return !_ended;
    }

    private void Finish(string why)
    {
        if (_ended) return;
        _ended = true;
        _host.End(this, why);
    }

    private void CloseDescriptors()
    {
        foreach (SafeHandle handle in _descriptors) handle.Dispose();
        _descriptors.Clear();
    }
}
