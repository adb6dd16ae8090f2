using System;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>
/// The mod63 pattern for one packet size, laid out once, so that filling and checking are block copies and compares: byte
/// n of a transfer is (n modulo packet size) modulo 63.
/// </summary>
internal sealed class PatternBlock
{
    /// <summary>Bytes compared or copied at a time: small enough to stay in a first-level cache beside the guest's data.</summary>
    internal const int Chunk = 16 << 10;

    private readonly byte[] _bytes;

    internal PatternBlock(int maxPacket)
    {
        MaxPacket = Math.Max(1, maxPacket);
        _bytes = new byte[Chunk + MaxPacket];
        for (int i = 0; i < _bytes.Length; i++) _bytes[i] = (byte)(i % MaxPacket % 63);
    }

    internal int MaxPacket { get; }

    /// <summary>Writes the pattern as it stands at <paramref name="offset"/> of a transfer.</summary>
    internal void Fill(Span<byte> destination, int offset)
    {
        while (!destination.IsEmpty)
        {
            int count = Math.Min(destination.Length, Chunk);
            _bytes.AsSpan(offset % MaxPacket, count).CopyTo(destination);
            destination = destination[count..];
            offset += count;
        }
    }

    /// <summary>Bytes at the start of <paramref name="data"/> that are the pattern at <paramref name="offset"/> of a transfer.</summary>
    internal int Match(ReadOnlySpan<byte> data, int offset)
    {
        int matched = 0;
        while (matched < data.Length)
        {
            int count = Math.Min(data.Length - matched, Chunk);
            ReadOnlySpan<byte> part = data.Slice(matched, count);
            ReadOnlySpan<byte> expected = _bytes.AsSpan((offset + matched) % MaxPacket, count);
            if (!part.SequenceEqual(expected)) return matched + part.CommonPrefixLength(expected);
            matched += count;
        }

        return matched;
    }
}
