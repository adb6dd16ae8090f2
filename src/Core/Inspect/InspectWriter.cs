using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;

namespace XenUsbDm.Core.Inspect;

/// <summary>A stateful object that can show itself without side effects.</summary>
public interface IInspectable
{
    /// <summary>Writes this object's fields and children at the writer's current place in the tree.</summary>
    void Inspect(InspectWriter writer);
}

/// <summary>
/// Collects the inspect tree as (path, value) pairs in the order of writing. One implementation serves the control
/// socket, the debugger, failing tests and crash dumps.
/// </summary>
public sealed class InspectWriter
{
    private readonly List<KeyValuePair<string, string>> _fields = [];
    private readonly StringBuilder _path = new();

    /// <summary>Everything written so far: absolute path ("/xhci/port/2/portsc") and value.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Fields => _fields;

    /// <summary>Opens a child node; dispose the scope to return to its parent.</summary>
    public Scope Node(string name)
    {
        int length = _path.Length;
        _path.Append('/').Append(name);
        return new Scope(this, length);
    }

    /// <summary>Opens a numbered child node (<paramref name="name"/>/<paramref name="index"/>).</summary>
    public Scope Node(string name, int index) => Node($"{name}/{index.ToString(CultureInfo.InvariantCulture)}");

    /// <summary>Writes a child object under <paramref name="name"/>.</summary>
    public void Child(string name, IInspectable child)
    {
        ArgumentNullException.ThrowIfNull(child);
        using (Node(name)) child.Inspect(this);
    }

    /// <summary>A text field.</summary>
    public void Text(string name, string? value) => _fields.Add(new($"{_path}/{name}", value ?? "-"));

    /// <summary>A register or address, in hexadecimal.</summary>
    public void Hex(string name, ulong value) => Text(name, "0x" + value.ToString("x", CultureInfo.InvariantCulture));

    /// <summary>A count, in decimal.</summary>
    public void Number(string name, long value) => Text(name, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>A condition.</summary>
    public void Flag(string name, bool value) => Text(name, value ? "yes" : "no");

    /// <summary>The tree as text: one "path value" line per field, optionally only those at or below <paramref name="path"/>.</summary>
    public string Render(string path = "/")
    {
        string prefix = path.TrimEnd('/');
        var text = new StringBuilder();
        foreach ((string key, string value) in _fields)
        {
            if (key.Length == prefix.Length ? key == prefix : key.StartsWith(prefix, StringComparison.Ordinal) && key[prefix.Length] == '/')
                text.Append(key).Append(' ').Append(value).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>Renders one object as the root of a tree.</summary>
    public static string Dump(IInspectable root)
    {
        ArgumentNullException.ThrowIfNull(root);
        var writer = new InspectWriter();
        root.Inspect(writer);
        return writer.Render();
    }

    /// <summary>An open node; disposing it returns the writer to the parent.</summary>
    public readonly struct Scope : IDisposable, IEquatable<Scope>
    {
        private readonly InspectWriter _writer;
        private readonly int _parentLength;

        internal Scope(InspectWriter writer, int parentLength)
        {
            _writer = writer;
            _parentLength = parentLength;
        }

        /// <inheritdoc/>
        public void Dispose() => _writer._path.Length = _parentLength;

        /// <inheritdoc/>
        public bool Equals(Scope other) => ReferenceEquals(_writer, other._writer) && _parentLength == other._parentLength;

        /// <inheritdoc/>
        public override bool Equals(object? obj) => obj is Scope other && Equals(other);

        /// <inheritdoc/>
        public override int GetHashCode() => _parentLength;

        /// <summary>Same node.</summary>
        public static bool operator ==(Scope left, Scope right) => left.Equals(right);

        /// <summary>Another node.</summary>
        public static bool operator !=(Scope left, Scope right) => !left.Equals(right);
    }
}
