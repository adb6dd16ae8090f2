using System;

namespace XenUsbDm.Fuzz.Engine;

/// <summary>
/// Makes a new input of an old one. Inputs are sequences of actions of a fixed size (<see cref="Unit"/>), so most
/// mutations move, copy and cut whole actions; the others change bytes within one.
/// </summary>
public sealed class Mutator
{
    /// <summary>Longest input.</summary>
    public const int MaxLength = 1024;

    private static readonly byte[] Interesting = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 129, 192, 240, 254, 255];

    private readonly XorShift _random;
    private readonly byte[] _buffer = new byte[MaxLength * 2];
    private int _length;

    public Mutator(XorShift random, int unit)
    {
        _random = random;
        Unit = unit;
    }

    /// <summary>Bytes of one action.</summary>
    public int Unit { get; }

    /// <summary>A mutation of <paramref name="input"/>, some of it perhaps from <paramref name="other"/>; valid until the next call.</summary>
    public ReadOnlySpan<byte> Mutate(ReadOnlySpan<byte> input, ReadOnlySpan<byte> other)
    {
        input[..Math.Min(input.Length, MaxLength)].CopyTo(_buffer);
        _length = Math.Min(input.Length, MaxLength);
        int rounds = 1 + _random.Below(_random.OneIn(4) ? 8 : 3);
        for (int i = 0; i < rounds; i++) Once(other);
        if (_length == 0) InsertRandom();
        return _buffer.AsSpan(0, Math.Min(_length, MaxLength));
    }

    private void Once(ReadOnlySpan<byte> other)
    {
        switch (_random.Below(14))
        {
            case 0 when _length > Unit:
                Delete();
                break;
            case 1:
                Duplicate();
                break;
            case 2 or 3:
                InsertRandom();
                break;
            case 4 when _length > Unit:
                Swap();
                break;
            case 5 or 6:
                Splice(other);
                break;
            case 7 when _length > 2 * Unit:
                _length = AlignedPoint() + Unit;
                break;
            case 8:
                RandomAction();
                break;
            default:
                ChangeByte();
                break;
        }
    }

    private int AlignedPoint() => _length < Unit ? 0 : _random.Below(_length / Unit) * Unit;

    private int Run(int from) => Math.Min((1 + _random.Below(_random.OneIn(4) ? 16 : 3)) * Unit, _length - from);

    private void Delete()
    {
        int at = AlignedPoint();
        int count = Run(at);
        _buffer.AsSpan(at + count, _length - at - count).CopyTo(_buffer.AsSpan(at));
        _length -= count;
    }

    private void Duplicate()
    {
        int from = AlignedPoint();
        Span<byte> copy = stackalloc byte[Run(from)];
        _buffer.AsSpan(from, copy.Length).CopyTo(copy);
        int times = _random.OneIn(8) ? 1 + _random.Below(16) : 1;
        int at = AlignedPoint();
        for (int i = 0; i < times; i++) Insert(at, copy);
    }

    private void InsertRandom()
    {
        Span<byte> action = stackalloc byte[Unit];
        foreach (ref byte b in action) b = RandomByte();
        Insert(AlignedPoint(), action);
    }

    private void RandomAction()
    {
        int at = AlignedPoint();
        for (int i = at; i < Math.Min(at + Unit, _length); i++) _buffer[i] = RandomByte();
    }

    private void Swap()
    {
        int a = AlignedPoint();
        int b = AlignedPoint();
        for (int i = 0; i < Unit && a + i < _length && b + i < _length; i++) (_buffer[a + i], _buffer[b + i]) = (_buffer[b + i], _buffer[a + i]);
    }

    private void Splice(ReadOnlySpan<byte> other)
    {
        if (other.Length < Unit) return;
        int from = _random.Below(other.Length / Unit) * Unit;
        int count = Math.Min((1 + _random.Below(8)) * Unit, other.Length - from);
        if (_random.OneIn(2))
        {
            Insert(AlignedPoint(), other.Slice(from, count));
            return;
        }

        Insert(_length, other.Slice(from, count));
    }

    private void ChangeByte()
    {
        if (_length == 0) return;
        int at = _random.Below(_length);
        byte old = _buffer[at];
        _buffer[at] = _random.Below(5) switch
        {
            0 => (byte)(old ^ (1 << _random.Below(8))),
            1 => unchecked((byte)(old + 1 + _random.Below(4))),
            2 => unchecked((byte)(old - 1 - _random.Below(4))),
            _ => RandomByte(),
        };
    }

    private byte RandomByte() => _random.OneIn(2) ? Interesting[_random.Below(Interesting.Length)] : (byte)(_random.Next() >> 56);

    private void Insert(int at, ReadOnlySpan<byte> bytes)
    {
        if (_length + bytes.Length > MaxLength) return;
        at = Math.Min(at, _length);
        _buffer.AsSpan(at, _length - at).CopyTo(_buffer.AsSpan(at + bytes.Length));
        bytes.CopyTo(_buffer.AsSpan(at));
        _length += bytes.Length;
    }
}
