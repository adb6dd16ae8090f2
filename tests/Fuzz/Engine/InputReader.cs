namespace XenUsbDm.Fuzz.Engine;

/// <summary>Reads an input action by action. An action has a fixed number of bytes; what it does not use is left over.</summary>
public sealed class InputReader
{
    /// <summary>Bytes of one action: an opcode and seven parameters.</summary>
    public const int Unit = 8;

    private byte[] _bytes = [];
    private int _length;
    private int _action;
    private int _next;

    /// <summary>Starts over with another input, of which the first <paramref name="length"/> bytes are read.</summary>
    public void Reset(byte[] bytes, int length)
    {
        _bytes = bytes;
        _length = length;
        _action = -Unit;
        _next = 0;
    }

    /// <summary>Goes on to the next action and reads its opcode. False at the end.</summary>
    public bool TryNext(out byte opcode)
    {
        _action += Unit;
        _next = _action;
        opcode = 0;
        if (_action >= _length) return false;
        opcode = Byte();
        return true;
    }

    /// <summary>The next parameter; 0 beyond the action or the input.</summary>
    public byte Byte()
    {
        int at = _next++;
        return at < _length && at < _action + Unit ? _bytes[at] : (byte)0;
    }

    public ushort Word() => (ushort)(Byte() | (Byte() << 8));

    public uint Dword() => Word() | ((uint)Word() << 16);
}
