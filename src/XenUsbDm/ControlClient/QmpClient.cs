using System;
using System.Buffers;
using System.Collections.Generic;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Threading;

namespace XenUsbDm.ControlClient;

/// <summary>What the other side refused, or why it cannot be talked to: one line.</summary>
internal sealed class QmpFailure(string message) : Exception(message);

/// <summary>A connection to a control socket, one command after the other. Every wait ends with a signal or after <see cref="Patience"/>.</summary>
internal sealed class QmpClient : IDisposable
{
    /// <summary>Longest wait for a reply: a detach waits for the image's last write.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    // A reply has up to 4 MiB; whoever sends more without a line break is no control socket of ours.
    private const int MaxLineBytes = 16 << 20;

    private static readonly TimeSpan StopCheck = TimeSpan.FromMilliseconds(100);

    private readonly Socket _socket;
    private readonly CancellationToken _stop;
    private readonly Queue<string> _events = new();
    private byte[] _input = new byte[64 << 10];
    private int _first;
    private int _count;

    private QmpClient(Socket socket, CancellationToken stop)
    {
        _socket = socket;
        _stop = stop;
    }

    /// <summary>Connects and negotiates; on null <paramref name="error"/> is one line that says what to do.</summary>
    public static QmpClient? Connect(string path, CancellationToken stop, out string error)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.SendTimeout = (int)Patience.TotalMilliseconds;
            socket.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException failure)
        {
            socket.Dispose();
            error = failure.SocketErrorCode == SocketError.AccessDenied
                ? $"no permission to use '{path}'; it belongs to the user who started 'xen-usb-dm run'"
                : $"nobody listens on '{path}' ({failure.Message}); start 'xen-usb-dm run --control {path} ...' first";
            return null;
        }

        var client = new QmpClient(socket, stop);
        try
        {
            client.Negotiate();
            error = "";
            return client;
        }
        catch (Exception failure) when (failure is QmpFailure or OperationCanceledException)
        {
            client.Dispose();
            error = $"'{path}' is no control socket: {failure.Message}";
            return null;
        }
    }

    /// <summary>Executes a command and returns its whole reply, which has "return". Throws <see cref="QmpFailure"/> when it is refused.</summary>
    public JsonDocument Execute(string command, Action<Utf8JsonWriter>? arguments = null)
    {
        var line = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(line))
        {
            writer.WriteStartObject();
            writer.WriteString("execute", command);
            if (arguments is not null)
            {
                writer.WriteStartObject("arguments");
                arguments(writer);
                writer.WriteEndObject();
            }

            writer.WriteEndObject();
        }

        Send(line.WrittenSpan);
        JsonDocument reply = Reply(out _);
        if (reply.RootElement.TryGetProperty("return", out _)) return reply;
        using (reply)
        {
            throw new QmpFailure(
                reply.RootElement.TryGetProperty("error", out JsonElement error) && error.TryGetProperty("desc", out JsonElement description)
                    ? description.GetString() ?? ""
                    : "the answer is neither return nor error");
        }
    }

    /// <summary>Sends a line as it is and returns the reply, of either kind.</summary>
    public JsonDocument ExecuteRaw(string line, out string answer)
    {
        Send(Encoding.UTF8.GetBytes(line));
        return Reply(out answer);
    }

    /// <summary>The next event as it came; null when the other side or the user has ended it.</summary>
    public string? NextEvent()
    {
        if (_events.TryDequeue(out string? kept)) return kept;
        while (!_stop.IsCancellationRequested)
        {
            string? line = TryReadLine(StopCheck, out bool ended);
            if (ended) return null;
            if (line is not null) return line;
        }

        return null;
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private void Negotiate()
    {
        using (JsonDocument greeting = Parse(ReadLine()))
        {
            if (greeting.RootElement.ValueKind != JsonValueKind.Object || !greeting.RootElement.TryGetProperty("QMP", out _))
                throw new QmpFailure("it does not greet as QMP does");
        }

        Execute("qmp_capabilities").Dispose();
    }

    private JsonDocument Reply(out string answer)
    {
        while (true)
        {
            answer = ReadLine();
            JsonDocument reply = Parse(answer);
            if (reply.RootElement.ValueKind != JsonValueKind.Object)
            {
                reply.Dispose();
                throw new QmpFailure("the answer is not a JSON object");
            }

            if (!reply.RootElement.TryGetProperty("event", out _)) return reply;
            reply.Dispose();
            _events.Enqueue(answer);
        }
    }

    private static JsonDocument Parse(string line)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException)
        {
            throw new QmpFailure("it does not speak JSON");
        }
    }

    // In one piece: the process acts on a command as soon as its last brace is there, and after `quit` nobody reads a line end.
    private void Send(ReadOnlySpan<byte> line)
    {
        byte[] message = [.. line, (byte)'\n'];
        try
        {
            for (int sent = 0; sent < message.Length;) sent += _socket.Send(message.AsSpan(sent), SocketFlags.None);
        }
        catch (SocketException failure)
        {
            throw new QmpFailure($"the connection is gone ({failure.Message})");
        }
    }

    private string ReadLine()
    {
        for (TimeSpan waited = TimeSpan.Zero; waited < Patience; waited += StopCheck)
        {
            _stop.ThrowIfCancellationRequested();
            string? line = TryReadLine(StopCheck, out bool ended);
            if (line is not null) return line;
            if (ended) throw new QmpFailure("the process has closed the connection");
        }

        throw new QmpFailure($"no answer within {Patience.TotalSeconds:0} s; is the process stopped?");
    }

    private string? TryReadLine(TimeSpan wait, out bool ended)
    {
        ended = false;
        while (true)
        {
            int length = _input.AsSpan(_first, _count).IndexOf((byte)'\n');
            if (length >= 0)
            {
                string line = Encoding.UTF8.GetString(_input, _first, length).TrimEnd('\r');
                _first += length + 1;
                _count -= length + 1;
                return line;
            }

            if (_count >= MaxLineBytes) throw new QmpFailure($"a line of more than {MaxLineBytes} bytes came");
            MakeRoom();
            if (!_socket.Poll(wait, SelectMode.SelectRead)) return null;
            int received = Receive(_input.AsSpan(_first + _count));
            ended = received == 0;
            if (ended) return null;
            _count += received;
        }
    }

    private int Receive(Span<byte> room)
    {
        try
        {
            return _socket.Receive(room, SocketFlags.None);
        }
        catch (SocketException)
        {
            return 0; // Reset: as good as closed.
        }
    }

    private void MakeRoom()
    {
        if (_first + _count < _input.Length) return;
        byte[] target = _first == 0 ? new byte[_input.Length * 2] : _input;
        _input.AsSpan(_first, _count).CopyTo(target);
        _input = target;
        _first = 0;
    }
}
