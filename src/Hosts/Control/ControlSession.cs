using System;
using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Hosts.Control;

/// <summary>
/// One client's QMP session: bytes in, bytes out. Commands are executed one after the other, a bounded number per
/// <see cref="Run"/>, and none while the client has not taken the answers to those before.
/// </summary>
public sealed class ControlSession : IInspectable
{
    /// <summary>How every line to a client is written.</summary>
    internal static readonly JsonWriterOptions WriterOptions = new()
    {
        // Answers go to a terminal, not into a web page: only what JSON itself demands is escaped.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = false,
    };

    private readonly IMachineControl _machine;
    private readonly ControlVersion _version;
    private readonly Action _quit;
    private byte[] _input = new byte[ControlLimits.FirstInputBytes];
    private readonly OutputQueue _output = new();
    private QmpScanner _scanner;
    private int _inputCount;
    private bool _inputEnded;
    private bool _closing;
    private IOpenedDevice? _awaited;
    private string? _awaitedId;
    private long _commands;
    private long _errors;

    /// <summary>A session that greets; <paramref name="quit"/> is called when its client asks the machine to quit.</summary>
    internal ControlSession(IMachineControl machine, ControlVersion version, Action quit)
    {
        _machine = machine;
        _version = version;
        _quit = quit;
        Answer(null, writer =>
        {
            writer.WriteStartObject("QMP");
            writer.WritePropertyName("version");
            version.Write(writer);
            writer.WriteStartArray("capabilities");
            writer.WriteEndArray();
            writer.WriteEndObject();
        });
    }

    /// <summary>The client has negotiated; it gets events from then on.</summary>
    public bool IsNegotiated { get; private set; }

    /// <summary>Room for bytes that are to come; empty while the client has to wait, or when nothing more is read.</summary>
    public Memory<byte> InputSpace => _closing || _inputEnded ? default : _input.AsMemory(_inputCount);

    /// <summary>Bytes for the client.</summary>
    public ReadOnlySpan<byte> Output => _output.Pending;

    /// <summary>The next <see cref="Run"/> will find something to do, without another byte in or out.</summary>
    public bool IsReady => !_closing && !IsBroken && (_awaited?.IsClosed ?? HasMore) && _output.Count < ControlLimits.BackPressureBytes;

    /// <summary>Close the connection when <see cref="Output"/> is empty: the client sent garbage, or all it had to say.</summary>
    public bool IsClosing => _closing;

    /// <summary>Close the connection now: the client lets its events lie.</summary>
    public bool IsBroken { get; private set; }

    // The last run stopped at its bound, so whether a message is whole has not been looked at.
    private bool HasMore { get; set; }

    /// <summary>The first <paramref name="count"/> bytes of <see cref="InputSpace"/> have come.</summary>
    public void Received(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _input.Length - _inputCount);
        _inputCount += count;
        if (_inputCount == _input.Length && _inputCount < ControlLimits.MessageBytes) Array.Resize(ref _input, ControlLimits.MessageBytes);
        HasMore = true;
    }

    /// <summary>The client sends no more; what it sent is still executed and answered.</summary>
    public void InputEnded()
    {
        _inputEnded = true;
        HasMore = true;
    }

    /// <summary>The first <paramref name="count"/> bytes of <see cref="Output"/> are on their way.</summary>
    public void Sent(int count) => _output.Take(count);

    /// <summary>Executes what has come, within <see cref="ControlLimits.CommandsPerRun"/>.</summary>
    public void Run(VirtualTime now)
    {
        for (int i = 0; i < ControlLimits.CommandsPerRun; i++)
        {
            if (_closing || IsBroken || !EndAwaited() || _output.Count >= ControlLimits.BackPressureBytes) return;
            if (!RunNext(now)) return;
        }
    }

    /// <summary>Sends an event, made as a whole line, to a client that has negotiated.</summary>
    internal void Notify(ReadOnlySpan<byte> line)
    {
        if (!IsNegotiated || _closing || IsBroken) return;
        Send(line);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Flag("negotiated", IsNegotiated);
        writer.Number("commands", _commands);
        writer.Number("errors", _errors);
        writer.Number("input", _inputCount);
        writer.Number("output", _output.Count);
        writer.Flag("awaits-close", _awaited is not null);
        writer.Flag("closing", _closing);
    }

    // False while the answer to the last command waits.
    private bool EndAwaited()
    {
        if (_awaited is null) return true;
        if (!_awaited.IsClosed) return false;
        _awaited = null;
        Done(_awaitedId);
        return true;
    }

    private bool RunNext(VirtualTime now)
    {
        ScanResult result = _scanner.Next(_input.AsSpan(0, _inputCount), out int start, out int end);
        switch (result)
        {
            case ScanResult.Message:
                Execute(_input.AsMemory(start, end - start), now);
                Drop(end);
                return true;
            case ScanResult.Garbage:
                End("JSON parse error, a message must be a JSON object");
                return false;
            case ScanResult.TooDeep:
                End($"JSON parse error, nested deeper than {ControlLimits.Nesting}");
                return false;
            default:
                Drop(end);
                HasMore = false;
                if (_inputCount == _input.Length) End($"JSON parse error, a message must not be longer than {ControlLimits.MessageBytes} bytes");
                else if (_inputEnded) _closing = true;
                return false;
        }
    }

    private void Drop(int count)
    {
        if (count == 0) return;
        _input.AsSpan(count, _inputCount - count).CopyTo(_input);
        _inputCount -= count;
    }

    private void Execute(ReadOnlyMemory<byte> text, VirtualTime now)
    {
        using QmpMessage? message = QmpMessage.Parse(text, out QmpError? error);
        if (message is null)
        {
            End(error!.Value.Description);
            return;
        }

        _commands++;
        if (error is null && !IsNegotiated)
        {
            error = Negotiate(message);
            if (error is null)
            {
                Done(message.Id);
                return;
            }
        }

        if (error is { } flaw) Refuse(message.Id, flaw);
        else Execute(message, now);
    }

    private QmpError? Negotiate(QmpMessage message)
    {
        if (message.Command != "qmp_capabilities")
            return new QmpError(QmpErrorClass.CommandNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'");
        var arguments = new QmpArguments(message.Arguments);
        if (arguments.TryTake("enable", out JsonElement enable) && (enable.ValueKind != JsonValueKind.Array || enable.GetArrayLength() != 0))
            return new QmpError(QmpErrorClass.GenericError, "Parameter 'enable' expects an empty array; there are no capabilities to enable");
        if (!arguments.IsDone(out string flaw)) return new QmpError(QmpErrorClass.GenericError, flaw);
        IsNegotiated = true;
        return null;
    }

    private void Execute(QmpMessage message, VirtualTime now)
    {
        var value = new ArrayBufferWriter<byte>();
        QmpError? error;
        QmpCall call;
        using (var writer = new Utf8JsonWriter(value, WriterOptions))
        {
            call = new QmpCall(_machine, _version, now, new QmpArguments(message.Arguments), writer);
            error = QmpCommands.Execute(message.Command, call);
        }

        if (error is { } flaw)
        {
            Refuse(message.Id, flaw);
        }
        else if (value.WrittenCount > ControlLimits.ReplyBytes)
        {
            Refuse(message.Id, new QmpError(
                QmpErrorClass.GenericError,
                $"the answer has {value.WrittenCount} bytes, more than {ControlLimits.ReplyBytes}; name a path further down the tree"));
        }
        else if (call.Awaited is not null)
        {
            _awaited = call.Awaited;
            _awaitedId = message.Id;
            HasMore = true;
        }
        else if (value.WrittenCount == 0)
        {
            Done(message.Id);
        }
        else
        {
            Answer(message.Id, writer =>
            {
                writer.WritePropertyName("return");
                writer.WriteRawValue(value.WrittenSpan, skipInputValidation: true);
            });
        }

        if (call.Quits) _quit();
    }

    private void Done(string? id) => Answer(id, static writer =>
    {
        writer.WriteStartObject("return");
        writer.WriteEndObject();
    });

    private void Refuse(string? id, QmpError error)
    {
        _errors++;
        Answer(id, writer =>
        {
            writer.WriteStartObject("error");
            writer.WriteString("class", error.Class.ToString());
            writer.WriteString("desc", error.Description);
            writer.WriteEndObject();
        });
    }

    // The stream cannot be followed any further: say why, and close when that is on its way.
    private void End(string why)
    {
        Refuse(null, new QmpError(QmpErrorClass.GenericError, why));
        _closing = true;
    }

    private void Answer(string? id, Action<Utf8JsonWriter> write)
    {
        var line = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(line, WriterOptions))
        {
            writer.WriteStartObject();
            write(writer);
            if (id is not null)
            {
                writer.WritePropertyName("id");
                writer.WriteRawValue(id, skipInputValidation: true);
            }

            writer.WriteEndObject();
        }

        line.Write("\r\n"u8);
        Send(line.WrittenSpan);
    }

    private void Send(ReadOnlySpan<byte> line)
    {
        if (!_output.TryAppend(line)) IsBroken = true;
    }
}
