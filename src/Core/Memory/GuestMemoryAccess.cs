using System;
using System.Buffers.Binary;
using System.Threading;

namespace XenUsbDm.Core.Memory;

/// <summary>Checked whole reads and writes over <see cref="IGuestMemory"/>. False means that some byte is not mapped.</summary>
public static class GuestMemoryAccess
{
    /// <summary>Copies guest memory into <paramref name="destination"/>. On false its content is not to be used.</summary>
    public static bool TryRead(this IGuestMemory memory, GuestAddress address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            Span<byte> run = memory.Map(address, destination.Length, GuestAccess.Read);
            if (run.IsEmpty) return false;
            run.CopyTo(destination);
            destination = destination[run.Length..];
            address = address.OffsetWrapping((ulong)run.Length);
        }

        return true;
    }

    /// <summary>Copies <paramref name="source"/> into guest memory. On false a leading part may have been written.</summary>
    public static bool TryWrite(this IGuestMemory memory, GuestAddress address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            Span<byte> run = memory.Map(address, source.Length, GuestAccess.Write);
            if (run.IsEmpty) return false;
            source[..run.Length].CopyTo(run);
            source = source[run.Length..];
            address = address.OffsetWrapping((ulong)run.Length);
        }

        return true;
    }

    /// <summary>Reads one little-endian 32-bit word.</summary>
    public static bool TryRead32(this IGuestMemory memory, GuestAddress address, out uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        bool ok = memory.TryRead(address, bytes);
        value = ok ? BinaryPrimitives.ReadUInt32LittleEndian(bytes) : 0;
        return ok;
    }

    /// <summary>Reads one little-endian 64-bit word.</summary>
    public static bool TryRead64(this IGuestMemory memory, GuestAddress address, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bool ok = memory.TryRead(address, bytes);
        value = ok ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : 0;
        return ok;
    }

    /// <summary>Writes one little-endian 32-bit word.</summary>
    public static bool TryWrite32(this IGuestMemory memory, GuestAddress address, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return memory.TryWrite(address, bytes);
    }

    /// <summary>Writes one little-endian 64-bit word.</summary>
    public static bool TryWrite64(this IGuestMemory memory, GuestAddress address, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return memory.TryWrite(address, bytes);
    }

    /// <summary>
    /// Publishes a structure of which <paramref name="source"/>'s last four bytes tell the reader that the rest is there
    /// (an event TRB's cycle bit): everything before is written first, then a barrier, then the last word in one store.
    /// </summary>
    public static bool TryPublish(this IGuestMemory memory, GuestAddress address, ReadOnlySpan<byte> source)
    {
        int body = source.Length - 4;
        Span<byte> run = memory.Map(address, source.Length, GuestAccess.Write);
        if (run.Length == source.Length)
        {
            source[..body].CopyTo(run);
            Thread.MemoryBarrier();
            source[body..].CopyTo(run[body..]);
            return true;
        }

        if (!memory.TryWrite(address, source[..body])) return false;
        Thread.MemoryBarrier();
        return memory.TryWrite(address.OffsetWrapping((ulong)body), source[body..]);
    }
}
