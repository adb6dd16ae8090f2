using System;
using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace XenUsbDm.Hosts.Control;

/// <summary>Error classes of QMP (QAPI's QapiErrorClass); clients compare their names.</summary>
public enum QmpErrorClass
{
    /// <summary>None of the others.</summary>
    GenericError,

    /// <summary>No such command, or not in this mode.</summary>
    CommandNotFound,

    /// <summary>The device named is not there.</summary>
    DeviceNotFound,
}

/// <summary>A QMP error: class and one line for people.</summary>
public readonly record struct QmpError(QmpErrorClass Class, string Description);

/// <summary>A command as it came, with its shape checked: an object with execute, and perhaps arguments and id.</summary>
internal sealed class QmpMessage : IDisposable
{
    private static readonly JsonDocumentOptions Options = new() { MaxDepth = ControlLimits.Nesting };

    private readonly JsonDocument _document;

    private QmpMessage(JsonDocument document) => _document = document;

    /// <summary>Name of the command.</summary>
    public string Command { get; private set; } = "";

    /// <summary>The arguments' object; undefined when there is none.</summary>
    public JsonElement Arguments { get; private set; }

    /// <summary>The id as JSON on one line; null when there is none.</summary>
    public string? Id { get; private set; }

    /// <summary>
    /// Parses one message. On null the text is not JSON and the stream not to be trusted further; else
    /// <paramref name="error"/> may still say what is wrong with the command.
    /// </summary>
    public static QmpMessage? Parse(ReadOnlyMemory<byte> text, out QmpError? error)
    {
        error = null;
        if (!IsText(text.Span))
        {
            error = new QmpError(QmpErrorClass.GenericError, "JSON parse error, not valid JSON in UTF-8");
            return null;
        }

        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(text, Options);
        }
        catch (JsonException)
        {
            error = new QmpError(QmpErrorClass.GenericError, "JSON parse error, not valid JSON");
            return null;
        }

        var message = new QmpMessage(document);
        error = message.Read();
        return message;
    }

    /// <inheritdoc/>
    public void Dispose() => _document.Dispose();

    private QmpError? Read()
    {
        QmpError? error = null;
        bool hasCommand = false;
        foreach (JsonProperty member in _document.RootElement.EnumerateObject())
        {
            switch (member.Name)
            {
                case "execute" when member.Value.ValueKind == JsonValueKind.String:
                    Command = member.Value.GetString()!;
                    hasCommand = true;
                    break;
                case "execute":
                    error = new QmpError(QmpErrorClass.GenericError, "QMP input member 'execute' must be a string");
                    hasCommand = true;
                    break;
                case "arguments" when member.Value.ValueKind == JsonValueKind.Object:
                    Arguments = member.Value;
                    break;
                case "arguments":
                    error = new QmpError(QmpErrorClass.GenericError, "QMP input member 'arguments' must be an object");
                    break;
                case "id":
                    Id = OneLine(member.Value);
                    break;
                default:
                    error = new QmpError(QmpErrorClass.GenericError, $"QMP input member '{member.Name}' is unexpected");
                    break;
            }
        }

        return error ?? (hasCommand ? null : new QmpError(QmpErrorClass.GenericError, "QMP input lacks member 'execute'"));
    }

    // As it was written, but for line breaks between its parts: an answer is one line.
    private static string OneLine(JsonElement value)
    {
        if (value.ValueKind is not (JsonValueKind.Object or JsonValueKind.Array)) return value.GetRawText();
        var text = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(text)) value.WriteTo(writer);
        return Encoding.UTF8.GetString(text.WrittenSpan);
    }

    // Strings are decoded here once, so that no member throws later: escapes can spell half a surrogate pair.
    private static bool IsText(ReadOnlySpan<byte> text)
    {
        if (!Utf8.IsValid(text)) return false;
        var reader = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = ControlLimits.Nesting });
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.PropertyName) _ = reader.GetString();
            }

            return true;
        }
        catch (Exception flaw) when (flaw is JsonException or InvalidOperationException)
        {
            return false;
        }
    }
}
