using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// Runs a configuration space table: 256 bytes and their masks. Every access is a set of byte enables, so any size,
/// alignment and straddle is the same loop. Effects are returned to the function, which acts once per access.
/// </summary>
internal sealed class ConfigSpace
{
    private readonly byte[] _value = new byte[ConfigLayout.Size];
    private readonly byte[] _reset = new byte[ConfigLayout.Size];
    private readonly byte[] _write = new byte[ConfigLayout.Size];
    private readonly byte[] _clearOnes = new byte[ConfigLayout.Size];
    private readonly byte[] _hardware = new byte[ConfigLayout.Size];
    private readonly ConfigEffects[] _effects = new ConfigEffects[ConfigLayout.Size];

    /// <summary>Lays the table out. Rows must be in offset order, apart from vendor rows, and must not overlap.</summary>
    /// <exception cref="ArgumentException">The table is wrong: a fault of the program, not of the guest.</exception>
    public ConfigSpace(IReadOnlyList<ConfigRegister> table)
    {
        var used = new bool[ConfigLayout.Size];
        foreach (ConfigRegister row in table)
        {
            uint all = row.Width == 4 ? uint.MaxValue : (1u << (8 * row.Width)) - 1;
            bool fits = row.Width is 1 or 2 or 4 && row.Offset % row.Width == 0 && row.Offset >= 0 && row.Offset + row.Width <= ConfigLayout.Size;
            bool apart = (row.Write & row.ClearOnes) == 0 && ((row.Write | row.ClearOnes) & row.Hardware) == 0;
            bool narrow = ((row.Reset | row.Write | row.ClearOnes | row.Hardware) & ~all) == 0;
            if (!fits || !apart || !narrow) throw new ArgumentException(row.Name, nameof(table));
            for (int i = 0; i < row.Width; i++)
            {
                int at = row.Offset + i;
                if (used[at]) throw new ArgumentException(row.Name, nameof(table));
                used[at] = true;
                _reset[at] = ByteOf(row.Reset, i);
                _write[at] = ByteOf(row.Write, i);
                _clearOnes[at] = ByteOf(row.ClearOnes, i);
                _hardware[at] = ByteOf(row.Hardware, i);
                _effects[at] = row.Effects;
            }
        }

        Reset();
    }

    /// <summary>The bytes as they are.</summary>
    public ReadOnlySpan<byte> Bytes => _value;

    /// <summary>Every register to its reset value.</summary>
    public void Reset() => _reset.CopyTo(_value, 0);

    /// <summary>Reads <paramref name="size"/> bytes (1-8) at any offset; bytes outside the space read as ones, as from an absent register.</summary>
    public ulong Read(int offset, int size)
    {
        ulong value = 0;
        for (int i = 0; i < size; i++)
        {
            long at = (long)offset + i;
            byte b = at is >= 0 and < ConfigLayout.Size ? _value[at] : (byte)0xff;
            value |= (ulong)b << (8 * i);
        }

        return value;
    }

    /// <summary>Writes <paramref name="size"/> bytes (1-8) through the masks; bytes outside the space are dropped.</summary>
    /// <returns>The effects of all registers touched.</returns>
    public ConfigEffects Write(int offset, int size, ulong value)
    {
        var effects = ConfigEffects.None;
        for (int i = 0; i < size; i++)
        {
            long at = (long)offset + i;
            if (at is < 0 or >= ConfigLayout.Size) continue;
            int written = (int)((value >> (8 * i)) & 0xff);
            int kept = _value[at] & ~_write[at] & ~(_clearOnes[at] & written);
            _value[at] = (byte)(kept | (written & _write[at]));
            effects |= _effects[at];
        }

        return effects;
    }

    /// <summary>A 16-bit register.</summary>
    public uint Get16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_value.AsSpan(offset));

    /// <summary>A 32-bit register.</summary>
    public uint Get32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_value.AsSpan(offset));

    /// <summary>A 64-bit register pair.</summary>
    public ulong Get64(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(_value.AsSpan(offset));

    /// <summary>Sets the bits of <paramref name="mask"/> in a 16-bit register to <paramref name="bits"/>, as the function itself does.</summary>
    public void Set16(int offset, uint mask, uint bits) =>
        BinaryPrimitives.WriteUInt16LittleEndian(_value.AsSpan(offset), (ushort)((Get16(offset) & ~mask) | (bits & mask)));

    /// <summary>Stores a whole 32-bit register, as the function itself does.</summary>
    public void Set32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_value.AsSpan(offset), value);

    /// <summary>Takes over saved bytes when every read-only bit is what this table says.</summary>
    /// <returns>The offset of the first wrong byte, or -1 when all were taken over. Nothing changes on an error.</returns>
    public int TryLoad(ReadOnlySpan<byte> saved)
    {
        for (int at = 0; at < ConfigLayout.Size; at++)
        {
            int fixedBits = 0xff & ~(_write[at] | _clearOnes[at] | _hardware[at]);
            if (((saved[at] ^ _reset[at]) & fixedBits) != 0) return at;
        }

        saved.CopyTo(_value);
        return -1;
    }

    private static byte ByteOf(uint value, int index) => (byte)((value >> (8 * index)) & 0xff);
}
