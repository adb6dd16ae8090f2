using System;
using System.Buffers.Binary;
using System.Numerics;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;

namespace XenUsbDm.Frontends.Pci;

/// <summary>
/// MSI-X vectors (PCI 3.0 §6.8.2): the table and the Pending Bit Array that the guest sees in the BAR. Accesses are byte
/// enables; the specification promises results for aligned 4 and 8 bytes only, and hardware takes the others too.
/// </summary>
internal sealed class MsiXTable : IInspectable
{
    /// <summary>Vectors: one for each interrupter of the largest controller.</summary>
    public const int Vectors = 16;

    /// <summary>Bytes of a table entry: address, upper address, data, vector control.</summary>
    public const int EntrySize = 16;

    /// <summary>Where the Pending Bit Array starts, counted from the table.</summary>
    public const int PendingOffset = 0x800;

    /// <summary>Bytes of the window that holds table and PBA.</summary>
    public const int WindowSize = 0x1000;

    private const int TableSize = Vectors * EntrySize;
    private readonly byte[] _table = new byte[TableSize];
    private uint _masked;

    /// <summary>Makes a table in its reset state.</summary>
    public MsiXTable() => Reset();

    /// <summary>Pending bits, vector 0 in bit 0.</summary>
    public uint Pending { get; private set; }

    /// <summary>The table's bytes.</summary>
    public ReadOnlySpan<byte> Bytes => _table;

    /// <summary>Zero but for the mask bits, which are set after reset (§6.8.2.9).</summary>
    public void Reset()
    {
        Array.Clear(_table);
        for (int vector = 0; vector < Vectors; vector++) _table[(vector * EntrySize) + 12] = 1;
        _masked = (1u << Vectors) - 1;
        Pending = 0;
    }

    /// <summary>Reads a byte of the window; what is neither table nor PBA reads as zero.</summary>
    public byte ReadByte(int offset)
    {
        if (offset < TableSize) return _table[offset];
        return offset switch
        {
            PendingOffset => (byte)(Pending & 0xff),
            PendingOffset + 1 => (byte)(Pending >> 8),
            _ => 0,
        };
    }

    /// <summary>Writes a byte of the window. The PBA is read-only, address bits 1:0 and vector control bits 31:1 are zero.</summary>
    public void WriteByte(int offset, byte value)
    {
        if (offset >= TableSize) return;
        int mask = (offset % EntrySize) switch
        {
            0 => 0xfc,
            < 12 => 0xff,
            12 => 0x01,
            _ => 0,
        };
        _table[offset] = (byte)(value & mask);
        if (offset % EntrySize == 12) RefreshMask(offset / EntrySize);
    }

    /// <summary>Notes an interrupt; it stays pending until <see cref="Deliver"/> may send it.</summary>
    public void Post(int vector) => Pending |= 1u << vector;

    /// <summary>Forgets what is pending.</summary>
    public void ClearPending() => Pending = 0;

    /// <summary>Sends every pending vector that is not masked, lowest first: at most <see cref="Vectors"/> messages.</summary>
    public void Deliver(IInterruptSink sink)
    {
        for (uint ready = Pending & ~_masked; ready != 0; ready &= ready - 1)
        {
            int vector = BitOperations.TrailingZeroCount(ready);
            Pending &= ~(1u << vector);
            sink.SendMessage(new InterruptMessage(MessageKind.MsiX, vector, Address(vector), Data(vector)));
        }
    }

    /// <summary>Takes over a saved table; false when a bit is set that the guest cannot set. Nothing changes then.</summary>
    public bool TryLoad(ReadOnlySpan<byte> table, uint pending)
    {
        if (table.Length != TableSize || pending >> Vectors != 0) return false;
        for (int vector = 0; vector < Vectors; vector++)
        {
            ReadOnlySpan<byte> entry = table.Slice(vector * EntrySize, EntrySize);
            if ((entry[0] & 3) != 0 || BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]) > 1) return false;
        }

        table.CopyTo(_table);
        for (int vector = 0; vector < Vectors; vector++) RefreshMask(vector);
        Pending = pending;
        return true;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Hex("pending", Pending);
        writer.Hex("masked", _masked);
        for (int vector = 0; vector < Vectors; vector++)
        {
            using (writer.Node("vector", vector))
            {
                writer.Hex("address", Address(vector));
                writer.Hex("data", Data(vector));
            }
        }
    }

    private ulong Address(int vector) => BinaryPrimitives.ReadUInt64LittleEndian(_table.AsSpan(vector * EntrySize));

    private uint Data(int vector) => BinaryPrimitives.ReadUInt32LittleEndian(_table.AsSpan((vector * EntrySize) + 8));

    private void RefreshMask(int vector)
    {
        uint bit = 1u << vector;
        _masked = (_table[(vector * EntrySize) + 12] & 1) != 0 ? _masked | bit : _masked & ~bit;
    }
}
