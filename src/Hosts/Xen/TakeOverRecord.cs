using System;
using System.Buffers.Binary;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Hosts.State;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// What a new process needs to go on for one that was killed: which server, and what the guest programmed into the PCI
/// function. Devices and the controller's state are not in it: the guest's driver resets a controller that reports an error.
/// </summary>
/// <param name="Uuid">The domain: ids are used again.</param>
/// <param name="DomainId">Its id.</param>
/// <param name="Server">Its ioreq server.</param>
/// <param name="Slot">The controller's PCI device number.</param>
/// <param name="RangeStart">Where the BAR is registered with Xen; 0 for nowhere.</param>
/// <param name="Pci">The function.</param>
public sealed record TakeOverRecord(Guid Uuid, int DomainId, ushort Server, int Slot, ulong RangeStart, PciStateV1 Pci)
{
    /// <summary>The server was just made: the guest has had no answer from it and knows no state that could be lost.</summary>
    public bool IsUnseen { get; init; }

    /// <summary>Bytes of a record, always.</summary>
    public const int Bytes = 1024;

    private const ulong Magic = 0x3152_4d44_4253_5558; // "XUSBDMR1"
    private const int SequenceAt = 8;
    private const int UuidAt = 16;
    private const int NumbersAt = 32;
    private const int ConfigAt = 64;
    private const int TableAt = ConfigAt + 256;
    private const int TableBytes = 256;
    private const int ChecksumAt = Bytes - 4;

    /// <summary>Lays the record out in <see cref="Bytes"/> bytes. Of two copies the one with the higher <paramref name="sequence"/> counts.</summary>
    public void Write(Span<byte> bytes, ulong sequence)
    {
        bytes = bytes[..Bytes];
        bytes.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Magic);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[SequenceAt..], sequence);
        Uuid.TryWriteBytes(bytes[UuidAt..]);
        Span<byte> numbers = bytes[NumbersAt..];
        BinaryPrimitives.WriteInt32LittleEndian(numbers, DomainId);
        BinaryPrimitives.WriteUInt16LittleEndian(numbers[4..], Server);
        numbers[6] = (byte)Slot;
        numbers[7] = Pci.InterruptLevel ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteUInt64LittleEndian(numbers[8..], RangeStart);
        BinaryPrimitives.WriteInt32LittleEndian(numbers[16..], Pci.BarSize);
        BinaryPrimitives.WriteUInt32LittleEndian(numbers[20..], Pci.MsiXPending);
        numbers[24] = IsUnseen ? (byte)1 : (byte)0;
        Pci.Config.CopyTo(bytes[ConfigAt..]);
        Pci.MsiXTable.CopyTo(bytes[TableAt..]);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[ChecksumAt..], Crc32.Of(bytes[..ChecksumAt]));
    }

    /// <summary>Reads a record; null when these bytes are none, or damaged. The PCI state is as untrusted as the file.</summary>
    public static TakeOverRecord? Read(ReadOnlySpan<byte> bytes, out ulong sequence)
    {
        sequence = 0;
        if (bytes.Length < Bytes) return null;
        bytes = bytes[..Bytes];
        if (BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic) return null;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumAt..]) != Crc32.Of(bytes[..ChecksumAt])) return null;
        sequence = BinaryPrimitives.ReadUInt64LittleEndian(bytes[SequenceAt..]);
        ReadOnlySpan<byte> numbers = bytes[NumbersAt..];
        var pci = new PciStateV1(
            BinaryPrimitives.ReadInt32LittleEndian(numbers[16..]),
            bytes.Slice(ConfigAt, 256).ToArray(),
            bytes.Slice(TableAt, TableBytes).ToArray(),
            BinaryPrimitives.ReadUInt32LittleEndian(numbers[20..]),
            numbers[7] != 0);
        return new TakeOverRecord(
            new Guid(bytes.Slice(UuidAt, 16)),
            BinaryPrimitives.ReadInt32LittleEndian(numbers),
            BinaryPrimitives.ReadUInt16LittleEndian(numbers[4..]),
            numbers[6],
            BinaryPrimitives.ReadUInt64LittleEndian(numbers[8..]),
            pci)
        {
            IsUnseen = numbers[24] != 0,
        };
    }
}

/// <summary>Where a record is kept, held by one process at a time.</summary>
public interface IRecordStore : IDisposable
{
    /// <summary>The newest whole record, or null.</summary>
    TakeOverRecord? Load();

    /// <summary>Keeps a record in place of the older ones. False when it could not be written.</summary>
    bool Save(TakeOverRecord record);

    /// <summary>Forgets everything: the end was in good order.</summary>
    void Clear();
}
