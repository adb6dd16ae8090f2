namespace XenUsbDm.Hosts.Control;

/// <summary>What the scanner found.</summary>
public enum ScanResult
{
    /// <summary>No whole message yet.</summary>
    NeedMore,

    /// <summary>A whole message.</summary>
    Message,

    /// <summary>What came is not the start of a JSON object.</summary>
    Garbage,

    /// <summary>Nested deeper than <see cref="ControlLimits.Nesting"/>.</summary>
    TooDeep,
}

/// <summary>
/// Finds where a message ends. Clients do not end theirs with a newline (Python's qemu.qmp sends none), so the end is
/// where the outermost brace closes. Each byte is looked at once, however the stream is cut.
/// </summary>
internal struct QmpScanner
{
    private int _at;
    private int _depth;
    private bool _inString;
    private bool _escaped;

    /// <summary>
    /// Goes on in <paramref name="input"/>, which holds what has not been taken yet; the scanner starts anew after each
    /// message. <paramref name="start"/> and <paramref name="end"/> bound the message, or the blanks to skip (start = end).
    /// </summary>
    public ScanResult Next(System.ReadOnlySpan<byte> input, out int start, out int end)
    {
        start = 0;
        while (_depth == 0 && start < input.Length && input[start] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n') start++;
        end = start;
        if (start == input.Length) return ScanResult.NeedMore;
        if (_depth == 0)
        {
            if (input[start] != '{') return ScanResult.Garbage;
            _at = start;
        }

        for (; _at < input.Length; _at++)
        {
            byte b = input[_at];
            if (_inString)
            {
                _inString = _escaped || b != '"';
                _escaped = !_escaped && b == '\\';
                continue;
            }

            switch (b)
            {
                case (byte)'"':
                    _inString = true;
                    break;
                case (byte)'{' or (byte)'[':
                    if (++_depth > ControlLimits.Nesting) return ScanResult.TooDeep;
                    break;
                case (byte)'}' or (byte)']':
                    if (--_depth > 0) break;
                    end = _at + 1;
                    this = default;
                    return ScanResult.Message;
                default:
                    break;
            }
        }

        // The caller drops the blanks in front.
        _at -= start;
        end = start;
        return ScanResult.NeedMore;
    }
}
