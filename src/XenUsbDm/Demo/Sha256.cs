using System;
using System.Buffers.Binary;
using System.Numerics;

namespace XenUsbDm.Demo;

/// <summary>
/// SHA-256 (FIPS 180-4 §6.2) in managed code: .NET's own calls OpenSSL, which a control domain need not have, and ends the
/// process when it is missing.
/// </summary>
internal sealed class Sha256
{
    private const int BlockBytes = 64;

    private static readonly uint[] Rounds = RootFractions(64, cube: true);

    private readonly uint[] _state = RootFractions(8, cube: false);
    private readonly byte[] _block = new byte[BlockBytes];
    private readonly uint[] _words = new uint[64];
    private int _filled;
    private ulong _bytes;

    /// <summary>Adds data.</summary>
    public void Append(ReadOnlySpan<byte> data)
    {
        _bytes += (ulong)data.Length;
        while (!data.IsEmpty)
        {
            int taken = Math.Min(data.Length, BlockBytes - _filled);
            data[..taken].CopyTo(_block.AsSpan(_filled));
            data = data[taken..];
            _filled += taken;
            if (_filled == BlockBytes) Compress();
        }
    }

    /// <summary>Ends the message; the digest in lower-case hexadecimal. Nothing may be appended after it.</summary>
    public string Finish()
    {
        ulong bits = _bytes * 8;
        Append([0x80]);
        while (_filled != BlockBytes - 8) Append([0]);
        BinaryPrimitives.WriteUInt64BigEndian(_block.AsSpan(BlockBytes - 8), bits);
        Compress();
        byte[] digest = new byte[32];
        for (int i = 0; i < 8; i++) BinaryPrimitives.WriteUInt32BigEndian(digest.AsSpan(i * 4), _state[i]);
        return Convert.ToHexString(digest).ToLowerInvariant();
    }

    // The first 32 bits of the fractions of the square or cube roots of the first primes (§4.2.2, §5.3.3), by integer arithmetic.
    private static uint[] RootFractions(int count, bool cube)
    {
        uint[] fractions = new uint[count];
        for (int found = 0, number = 2; found < count; number++)
        {
            bool prime = true;
            for (int divisor = 2; divisor * divisor <= number; divisor++) prime &= number % divisor != 0;
            if (!prime) continue;
            BigInteger scaled = new BigInteger(number) << (cube ? 96 : 64);
            BigInteger low = 0;
            BigInteger high = BigInteger.One << 40;
            while (high - low > 1)
            {
                BigInteger middle = (low + high) >> 1;
                if (BigInteger.Pow(middle, cube ? 3 : 2) <= scaled) low = middle;
                else high = middle;
            }

            fractions[found++] = (uint)(low & uint.MaxValue);
        }

        return fractions;
    }

    private void Compress()
    {
        unchecked
        {
            uint[] w = _words;
            for (int i = 0; i < 16; i++) w[i] = BinaryPrimitives.ReadUInt32BigEndian(_block.AsSpan(i * 4));
            for (int i = 16; i < 64; i++)
            {
                uint small0 = BitOperations.RotateRight(w[i - 15], 7) ^ BitOperations.RotateRight(w[i - 15], 18) ^ (w[i - 15] >> 3);
                uint small1 = BitOperations.RotateRight(w[i - 2], 17) ^ BitOperations.RotateRight(w[i - 2], 19) ^ (w[i - 2] >> 10);
                w[i] = w[i - 16] + small0 + w[i - 7] + small1;
            }

            (uint a, uint b, uint c, uint d) = (_state[0], _state[1], _state[2], _state[3]);
            (uint e, uint f, uint g, uint h) = (_state[4], _state[5], _state[6], _state[7]);
            for (int i = 0; i < 64; i++)
            {
                uint big1 = BitOperations.RotateRight(e, 6) ^ BitOperations.RotateRight(e, 11) ^ BitOperations.RotateRight(e, 25);
                uint first = h + big1 + ((e & f) ^ (~e & g)) + Rounds[i] + w[i];
                uint big0 = BitOperations.RotateRight(a, 2) ^ BitOperations.RotateRight(a, 13) ^ BitOperations.RotateRight(a, 22);
                uint second = big0 + ((a & b) ^ (a & c) ^ (b & c));
                (h, g, f, e, d, c, b, a) = (g, f, e, d + first, c, b, a, first + second);
            }

            _state[0] += a;
            _state[1] += b;
            _state[2] += c;
            _state[3] += d;
            _state[4] += e;
            _state[5] += f;
            _state[6] += g;
            _state[7] += h;
        }

        _filled = 0;
    }
}
