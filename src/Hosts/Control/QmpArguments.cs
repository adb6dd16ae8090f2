using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;

namespace XenUsbDm.Hosts.Control;

/// <summary>Arguments of one command, taken by name; the first flaw is kept, and what nobody took is one.</summary>
internal sealed class QmpArguments
{
    private readonly Dictionary<string, JsonElement> _left = [];

    /// <summary>Reads an arguments object, or nothing. Of two members with one name the last counts.</summary>
    public QmpArguments(JsonElement arguments)
    {
        if (arguments.ValueKind != JsonValueKind.Object) return;
        foreach (JsonProperty member in arguments.EnumerateObject()) _left[member.Name] = member.Value;
    }

    /// <summary>The first flaw.</summary>
    public string? Flaw { get; private set; }

    /// <summary>Takes an argument; false when it is not there.</summary>
    public bool TryTake(string name, out JsonElement value) => _left.Remove(name, out value);

    /// <summary>Takes a string that must be there.</summary>
    public string Text(string name)
    {
        if (!TryTake(name, out JsonElement value)) return Fail($"Parameter '{name}' is missing", "");
        return value.ValueKind == JsonValueKind.String ? value.GetString()! : Fail($"Parameter '{name}' expects a string", "");
    }

    /// <summary>Takes a string that may be absent.</summary>
    public string Text(string name, string unless)
    {
        if (!TryTake(name, out JsonElement value)) return unless;
        return value.ValueKind == JsonValueKind.String ? value.GetString()! : Fail($"Parameter '{name}' expects a string", unless);
    }

    /// <summary>Takes true or false, which must be there.</summary>
    public bool Flag(string name)
    {
        if (!TryTake(name, out JsonElement value)) return Fail($"Parameter '{name}' is missing", false);
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : Fail($"Parameter '{name}' expects true or false", false);
    }

    /// <summary>Takes a whole number in a range that may be absent.</summary>
    public int Number(string name, int least, int most, int unless)
    {
        if (!TryTake(name, out JsonElement value)) return unless;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= least && number <= most
            ? number
            : Fail(string.Create(CultureInfo.InvariantCulture, $"Parameter '{name}' expects a number from {least} to {most}"), unless);
    }

    /// <summary>Takes a port: a number, or "CONTROLLER.PORT".</summary>
    public PortPlace Port()
    {
        PortPlace? place = OptionalPort();
        if (place is null && Flaw is null) Fail("Parameter 'port' is missing", 0);
        return place.GetValueOrDefault();
    }

    /// <summary>Takes a port that may be absent.</summary>
    public PortPlace? OptionalPort()
    {
        if (!TryTake("port", out JsonElement value)) return null;
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= 1) return new PortPlace(1, number);
        if (value.ValueKind == JsonValueKind.String && PortPlace.TryParse(value.GetString(), out PortPlace place)) return place;
        Fail("Parameter 'port' expects N or \"CONTROLLER.N\", counted from 1", 0);
        return null;
    }

    /// <summary>Notes a flaw, unless there is one already, and returns <paramref name="instead"/>.</summary>
    public T Fail<T>(string flaw, T instead)
    {
        Flaw ??= flaw;
        return instead;
    }

    /// <summary>False when there was a flaw or an argument is left.</summary>
    public bool IsDone(out string flaw)
    {
        foreach (string name in _left.Keys) Fail($"Parameter '{name}' is unexpected", 0);
        flaw = Flaw ?? "";
        return Flaw is null;
    }
}
