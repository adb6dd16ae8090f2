using System;
using System.Buffers.Binary;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>Commands (vfio-user, "Commands"). The enum is open: a client may send any number.</summary>
public enum VfioUserCommand : ushort
{
    /// <summary>Version and capabilities; the first message.</summary>
    Version = 1,

    /// <summary>A range of guest memory appears.</summary>
    DmaMap = 2,

    /// <summary>A range of guest memory is taken away.</summary>
    DmaUnmap = 3,

    /// <summary>Counts of regions and interrupts.</summary>
    DeviceGetInfo = 4,

    /// <summary>Size and rights of a region.</summary>
    DeviceGetRegionInfo = 5,

    /// <summary>Descriptors that stand for accesses.</summary>
    DeviceGetRegionIoFds = 6,

    /// <summary>Count and kind of an interrupt index.</summary>
    DeviceGetIrqInfo = 7,

    /// <summary>Eventfds, masks and triggers.</summary>
    DeviceSetIrqs = 8,

    /// <summary>Reads a region.</summary>
    RegionRead = 9,

    /// <summary>Writes a region.</summary>
    RegionWrite = 10,

    /// <summary>Resets the device.</summary>
    DeviceReset = 13,

    /// <summary>Several small writes.</summary>
    RegionWriteMulti = 15,

    /// <summary>Gets, sets or probes a feature; all of them are migration's.</summary>
    DeviceFeature = 16,
}

/// <summary>errno values of replies; those of Linux.</summary>
public static class VfioUserError
{
    /// <summary>No such range, EINVAL for whatever is malformed.</summary>
    public const int NoEntry = 2;

    /// <summary>Not a descriptor of the kind needed (EBADF).</summary>
    public const int BadDescriptor = 9;

    /// <summary>Too many maps (ENOMEM).</summary>
    public const int NoMemory = 12;

    /// <summary>A range is mapped already (EEXIST).</summary>
    public const int Exists = 17;

    /// <summary>Malformed, out of range, out of order (EINVAL).</summary>
    public const int Invalid = 22;

    /// <summary>No such feature or action: what the kernel's VFIO answers (ENOTTY).</summary>
    public const int NoSuchFeature = 25;

    /// <summary>No such command (EOPNOTSUPP).</summary>
    public const int NotSupported = 95;

    /// <summary>What it means here, for the log.</summary>
    public static string Describe(int error) => error switch
    {
        NoEntry => "no such range",
        BadDescriptor => "a descriptor of the wrong kind",
        NoMemory => "too many ranges, or no memory",
        Exists => "the range is mapped already",
        Invalid => "malformed, out of range or not mappable",
        NoSuchFeature => "no such feature",
        NotSupported => "not supported",
        _ => "the system refused it",
    };
}

/// <summary>A message header (vfio-user, "Header").</summary>
/// <param name="Id">The client's; echoed.</param>
/// <param name="Command">What to do.</param>
/// <param name="Size">Bytes of the message, header included.</param>
/// <param name="Flags">Type, No_reply, Error.</param>
/// <param name="Error">errno of an error reply.</param>
public readonly record struct MessageHeader(ushort Id, VfioUserCommand Command, uint Size, uint Flags, uint Error)
{
    private const uint TypeMask = 0xf;
    private const uint TypeReply = 1;
    private const uint NoReplyFlag = 1 << 4;
    private const uint ErrorFlag = 1 << 5;

    /// <summary>A command, not a reply.</summary>
    public bool IsCommand => (Flags & TypeMask) == 0;

    /// <summary>The client does not want a reply.</summary>
    public bool NoReply => (Flags & NoReplyFlag) != 0;

    /// <summary>A reply that reports an error.</summary>
    public bool IsError => (Flags & ErrorFlag) != 0;

    /// <summary>Reads a header; false when there are not enough bytes.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out MessageHeader header)
    {
        var reader = new PayloadReader(bytes);
        header = new MessageHeader(reader.U16(), (VfioUserCommand)reader.U16(), reader.U32(), reader.U32(), reader.U32());
        return reader.IsWhole;
    }

    /// <summary>The header of the reply to this command.</summary>
    public MessageHeader Reply(int payloadBytes) => new(Id, Command, (uint)(VfioUserLimits.HeaderBytes + payloadBytes), TypeReply, 0);

    /// <summary>The header that says that this command failed; it is the whole reply.</summary>
    public MessageHeader Failure(int error) => new(Id, Command, VfioUserLimits.HeaderBytes, TypeReply | ErrorFlag, (uint)error);

    /// <summary>Writes the header to the start of <paramref name="bytes"/>.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, Id);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[2..], (ushort)Command);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], Size);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], Error);
    }
}

/// <summary>Takes fields off the front of a payload. Past its end fields are 0 and <see cref="IsWhole"/> is false.</summary>
public ref struct PayloadReader(ReadOnlySpan<byte> bytes)
{
    private bool _short;

    /// <summary>What is left.</summary>
    public ReadOnlySpan<byte> Rest { get; private set; } = bytes;

    /// <summary>Every field so far was there.</summary>
    public readonly bool IsWhole => !_short;

    /// <summary>The next 16 bits.</summary>
    public ushort U16() => Take(2, out ReadOnlySpan<byte> field) ? BinaryPrimitives.ReadUInt16LittleEndian(field) : (ushort)0;

    /// <summary>The next 32 bits.</summary>
    public uint U32() => Take(4, out ReadOnlySpan<byte> field) ? BinaryPrimitives.ReadUInt32LittleEndian(field) : 0;

    /// <summary>The next 64 bits.</summary>
    public ulong U64() => Take(8, out ReadOnlySpan<byte> field) ? BinaryPrimitives.ReadUInt64LittleEndian(field) : 0;

    private bool Take(int count, out ReadOnlySpan<byte> field)
    {
        field = default;
        if (Rest.Length < count)
        {
            _short = true;
            Rest = default;
            return false;
        }

        field = Rest[..count];
        Rest = Rest[count..];
        return true;
    }
}

/// <summary>DMA_MAP.</summary>
/// <param name="Flags">Bit 0 readable, bit 1 writeable.</param>
/// <param name="Offset">Where in the file.</param>
/// <param name="Address">Guest-physical address.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct DmaMapMessage(uint Flags, ulong Offset, ulong Address, ulong Size)
{
    /// <summary>The device may write there.</summary>
    public bool Writable => (Flags & 2) != 0;

    /// <summary>Reads it: 32 bytes.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out DmaMapMessage message)
    {
        var reader = new PayloadReader(payload);
        _ = reader.U32();
        message = new DmaMapMessage(reader.U32(), reader.U64(), reader.U64(), reader.U64());
        return reader.IsWhole;
    }
}

/// <summary>DMA_UNMAP; the reply repeats it.</summary>
/// <param name="Flags">Bit 0 wants a dirty bitmap, bit 1 unmaps everything.</param>
/// <param name="Address">Guest-physical address.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct DmaUnmapMessage(uint Flags, ulong Address, ulong Size)
{
    /// <summary>Bytes of it.</summary>
    public const int Bytes = 24;

    /// <summary>VFIO_DMA_UNMAP_FLAG_ALL.</summary>
    public bool All => (Flags & 2) != 0;

    /// <summary>Reads it: 24 bytes.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out DmaUnmapMessage message)
    {
        var reader = new PayloadReader(payload);
        _ = reader.U32();
        message = new DmaUnmapMessage(reader.U32(), reader.U64(), reader.U64());
        return reader.IsWhole;
    }
}

/// <summary>The fixed part of GET_REGION_IO_FDS, GET_IRQ_INFO and (its first 12 bytes) GET_REGION_INFO.</summary>
/// <param name="MaxBytes">argsz: most bytes of the reply's payload.</param>
/// <param name="Index">Region or interrupt index.</param>
public readonly record struct IndexMessage(uint MaxBytes, uint Index)
{
    /// <summary>Reads it: at least 12 bytes.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out IndexMessage message)
    {
        var reader = new PayloadReader(payload);
        uint maximum = reader.U32();
        _ = reader.U32();
        message = new IndexMessage(maximum, reader.U32());
        return reader.IsWhole;
    }
}

/// <summary>REGION_READ, and the fixed part of REGION_WRITE and of one write of REGION_WRITE_MULTI.</summary>
/// <param name="Offset">Where in the region.</param>
/// <param name="Region">Region index.</param>
/// <param name="Count">Bytes.</param>
public readonly record struct RegionAccess(ulong Offset, uint Region, uint Count)
{
    /// <summary>Reads it: 16 bytes; <paramref name="data"/> is what follows.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out RegionAccess message, out ReadOnlySpan<byte> data)
    {
        var reader = new PayloadReader(payload);
        message = new RegionAccess(reader.U64(), reader.U32(), reader.U32());
        data = reader.Rest;
        return reader.IsWhole;
    }
}

/// <summary>SET_IRQS without its data.</summary>
/// <param name="Flags">Data and action.</param>
/// <param name="Index">Interrupt index.</param>
/// <param name="Start">First sub-index.</param>
/// <param name="Count">Sub-indexes.</param>
public readonly record struct SetIrqsMessage(uint Flags, uint Index, uint Start, uint Count)
{
    private const uint DataMask = 7;
    private const uint ActionMask = 7 << 3;

    /// <summary>What follows.</summary>
    public IrqData Data => (IrqData)(Flags & DataMask);

    /// <summary>What to do.</summary>
    public IrqAction Action => (IrqAction)(Flags & ActionMask);

    /// <summary>Exactly one kind of data and one action, and nothing else.</summary>
    public bool IsWellFormed => (Flags & ~(DataMask | ActionMask)) == 0 && uint.IsPow2(Flags & DataMask) && uint.IsPow2(Flags & ActionMask);

    /// <summary>Reads it: 20 bytes; <paramref name="data"/> is what follows.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out SetIrqsMessage message, out ReadOnlySpan<byte> data)
    {
        var reader = new PayloadReader(payload);
        _ = reader.U32();
        message = new SetIrqsMessage(reader.U32(), reader.U32(), reader.U32(), reader.U32());
        data = reader.Rest;
        return reader.IsWhole;
    }
}

/// <summary>VFIO_IRQ_SET_DATA_*.</summary>
public enum IrqData : uint
{
    /// <summary>Every sub-index named.</summary>
    None = 1,

    /// <summary>One byte each: those that are not 0.</summary>
    Bool = 2,

    /// <summary>One eventfd each, or none at all to take them away.</summary>
    EventFd = 4,
}

/// <summary>VFIO_IRQ_SET_ACTION_*.</summary>
public enum IrqAction : uint
{
    /// <summary>Hold back.</summary>
    Mask = 8,

    /// <summary>Hold back no longer.</summary>
    Unmask = 16,

    /// <summary>Signal, or say where to signal.</summary>
    Trigger = 32,
}
