using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.Machine;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>
/// What each message means for the machine. A message and its descriptors go in, an errno or the payload of a reply comes
/// out; descriptors that are kept are taken out of the list, the caller closes the rest.
/// </summary>
public sealed class VfioUserDevice
{
    private const int ConfigRegion = 7;
    private const uint RegionCount = 9;
    private const uint IrqCount = 5;
    private const int ConfigBytes = 256;

    private readonly IVfioSystem _system;
    private readonly XhciMachine _machine;
    private readonly VfioMemory _memory;
    private readonly VfioInterrupts _interrupts;

    /// <summary>Serves <paramref name="machine"/>, whose memory and interrupts are the client's.</summary>
    public VfioUserDevice(IVfioSystem system, XhciMachine machine, VfioMemory memory, VfioInterrupts interrupts)
    {
        _system = system;
        _machine = machine;
        _memory = memory;
        _interrupts = interrupts;
        interrupts.VectorTaken = (vector, taken) => machine.Pci.SetVectorMask(vector, masked: !taken);
    }

    /// <summary>The command concerns the device, not only memory or its description: the client is in working order.</summary>
    public static bool TouchesDevice(VfioUserCommand command) => command is
        VfioUserCommand.RegionRead or VfioUserCommand.RegionWrite or VfioUserCommand.RegionWriteMulti or
        VfioUserCommand.DeviceReset or VfioUserCommand.DeviceSetIrqs;

    /// <summary>
    /// Handles a command other than VERSION. Returns 0 with <paramref name="length"/> bytes of <paramref name="reply"/>
    /// (<see cref="VfioUserLimits.RegionAccessBytes"/> + <see cref="VfioUserLimits.MaxTransferBytes"/> long) filled in, or
    /// the errno.
    /// </summary>
    public int Handle(VfioUserCommand command, ReadOnlySpan<byte> payload, List<SafeHandle> descriptors, Span<byte> reply, out int length)
    {
        length = 0;
        switch (command)
        {
            case VfioUserCommand.DmaMap: return MapMemory(payload, descriptors);
            case VfioUserCommand.DmaUnmap: return UnmapMemory(payload, reply, out length);
            case VfioUserCommand.DeviceGetInfo: return GetInfo(payload, reply, out length);
            case VfioUserCommand.DeviceGetRegionInfo: return GetRegionInfo(payload, reply, out length);
            case VfioUserCommand.DeviceGetRegionIoFds: return GetRegionIoDescriptors(payload, reply, out length);
            case VfioUserCommand.DeviceGetIrqInfo: return GetIrqInfo(payload, reply, out length);
            case VfioUserCommand.DeviceSetIrqs:
                return SetIrqsMessage.TryRead(payload, out SetIrqsMessage irqs, out ReadOnlySpan<byte> data)
                    ? _interrupts.Set(irqs, data, descriptors)
                    : VfioUserError.Invalid;
            case VfioUserCommand.RegionRead: return ReadRegion(payload, reply, out length);
            case VfioUserCommand.RegionWrite: return WriteRegion(payload, reply, out length);
            case VfioUserCommand.RegionWriteMulti: return WriteMulti(payload, reply, out length);
            case VfioUserCommand.DeviceReset: return Reset();
            case VfioUserCommand.DeviceFeature: return VfioUserError.NoSuchFeature;
            default: return VfioUserError.NotSupported;
        }
    }

    private static ulong RegionSize(uint region, int barSize) => region switch
    {
        0 => (ulong)barSize,
        ConfigRegion => ConfigBytes,
        _ => 0,
    };

    private int MapMemory(ReadOnlySpan<byte> payload, List<SafeHandle> descriptors)
    {
        if (!DmaMapMessage.TryRead(payload, out DmaMapMessage map) || descriptors.Count > 1) return VfioUserError.Invalid;
        if (map.Size == 0 || map.Address > ulong.MaxValue - (map.Size - 1)) return VfioUserError.Invalid;
        if (_memory.Overlaps(map.Address, map.Size)) return VfioUserError.Exists;
        IMappedMemory? memory = null;
        if (descriptors.Count == 1 && !_system.TryMap(descriptors[0], map.Offset, map.Size, map.Writable, out memory, out int error)) return error;
        if (_memory.TryAdd(map.Address, map.Size, map.Writable, memory, out error)) return 0;
        memory?.Dispose();
        return error;
    }

    private int UnmapMemory(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        length = 0;
        if (!DmaUnmapMessage.TryRead(payload, out DmaUnmapMessage unmap)) return VfioUserError.Invalid;
        // Bit 0 asks for a bitmap of dirty pages, which only DMA logging could answer.
        if ((unmap.Flags & ~2u) != 0) return VfioUserError.NotSupported;
        if (unmap.All)
        {
            if (unmap.Address != 0 || unmap.Size != 0) return VfioUserError.Invalid;
            _memory.Clear();
        }
        else if (!_memory.TryRemove(unmap.Address, unmap.Size))
        {
            return VfioUserError.NoEntry;
        }

        payload[..DmaUnmapMessage.Bytes].CopyTo(reply);
        length = DmaUnmapMessage.Bytes;
        return 0;
    }

    private static int GetInfo(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        const int Bytes = 16;
        const uint Reset = 1;
        const uint Pci = 2;
        length = 0;
        if (payload.Length < Bytes || BinaryPrimitives.ReadUInt32LittleEndian(payload) < Bytes) return VfioUserError.Invalid;
        Put(reply, Bytes, Reset | Pci, RegionCount, IrqCount);
        length = Bytes;
        return 0;
    }

    private int GetRegionInfo(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        const int Bytes = 32;
        const uint ReadWrite = 3;
        length = 0;
        if (payload.Length < Bytes || !IndexMessage.TryRead(payload, out IndexMessage query)) return VfioUserError.Invalid;
        if (query.Index >= RegionCount || query.MaxBytes < Bytes) return VfioUserError.Invalid;
        ulong size = RegionSize(query.Index, _machine.Pci.BarSize);
        Put(reply, Bytes, size == 0 ? 0 : ReadWrite, query.Index, 0);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[16..], size);
        BinaryPrimitives.WriteUInt64LittleEndian(reply[24..], 0);
        length = Bytes;
        return 0;
    }

    private static int GetRegionIoDescriptors(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        const int Bytes = 16;
        length = 0;
        if (payload.Length < Bytes || !IndexMessage.TryRead(payload, out IndexMessage query)) return VfioUserError.Invalid;
        if (query.Index >= RegionCount || query.MaxBytes < Bytes) return VfioUserError.Invalid;

        // No sub-region has a descriptor of its own: doorbells come as writes.
        Put(reply, Bytes, 0, query.Index, 0);
        length = Bytes;
        return 0;
    }

    private static int GetIrqInfo(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        const int Bytes = 16;
        const uint EventFd = 1;
        const uint MaskableAutomasked = 6;
        const uint NoResize = 8;
        length = 0;
        if (payload.Length < Bytes || !IndexMessage.TryRead(payload, out IndexMessage query)) return VfioUserError.Invalid;
        if (query.Index >= IrqCount || query.MaxBytes < Bytes) return VfioUserError.Invalid;
        uint flags = (IrqIndex)query.Index switch
        {
            IrqIndex.Intx => EventFd | MaskableAutomasked,
            // The guest allocates MSI vectors as one block; MSI-X vectors come and go one by one.
            IrqIndex.Msi => EventFd | NoResize,
            IrqIndex.MsiX => EventFd,
            _ => 0,
        };
        Put(reply, Bytes, flags, query.Index, VfioInterrupts.CountOf(query.Index));
        length = Bytes;
        return 0;
    }

    private int ReadRegion(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        length = 0;
        if (!RegionAccess.TryRead(payload, out RegionAccess access, out _) || !IsInside(access)) return VfioUserError.Invalid;
        payload[..VfioUserLimits.RegionAccessBytes].CopyTo(reply);
        Span<byte> data = reply.Slice(VfioUserLimits.RegionAccessBytes, (int)access.Count);
        Span<byte> word = stackalloc byte[8];
        for (int done = 0; done < data.Length;)
        {
            int piece = PieceOf(access.Offset + (ulong)done, data.Length - done, data.Length);
            ulong offset = access.Offset + (ulong)done;
            ulong value = access.Region == ConfigRegion ? _machine.ReadConfig((int)offset, piece) : _machine.ReadBar(offset, piece);
            BinaryPrimitives.WriteUInt64LittleEndian(word, value);
            word[..piece].CopyTo(data[done..]);
            done += piece;
        }

        length = VfioUserLimits.RegionAccessBytes + data.Length;
        return 0;
    }

    private int WriteRegion(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        length = 0;
        if (!RegionAccess.TryRead(payload, out RegionAccess access, out ReadOnlySpan<byte> data)) return VfioUserError.Invalid;
        if (!IsInside(access) || data.Length < (int)access.Count) return VfioUserError.Invalid;
        Write(access, data[..(int)access.Count]);
        payload[..VfioUserLimits.RegionAccessBytes].CopyTo(reply);
        length = VfioUserLimits.RegionAccessBytes;
        return 0;
    }

    /// <summary>All writes are checked before the first is done, so that an error means that none was.</summary>
    private int WriteMulti(ReadOnlySpan<byte> payload, Span<byte> reply, out int length)
    {
        length = 0;
        var reader = new PayloadReader(payload);
        ulong count = reader.U64();
        ReadOnlySpan<byte> writes = reader.Rest;
        if (!reader.IsWhole || count > (ulong)(writes.Length / VfioUserLimits.MultiWriteBytes)) return VfioUserError.Invalid;
        for (int pass = 0; pass < 2; pass++)
        {
            for (int i = 0; i < (int)count; i++)
            {
                ReadOnlySpan<byte> write = writes.Slice(i * VfioUserLimits.MultiWriteBytes, VfioUserLimits.MultiWriteBytes);
                RegionAccess.TryRead(write, out RegionAccess access, out ReadOnlySpan<byte> data);
                if (access.Count > (uint)data.Length || !IsInside(access)) return VfioUserError.Invalid;
                if (pass == 1) Write(access, data[..(int)access.Count]);
            }
        }

        BinaryPrimitives.WriteUInt64LittleEndian(reply, count);
        length = 8;
        return 0;
    }

    private int Reset()
    {
        _machine.Reset();

        // The reset masked every vector of the table; which ones are taken is the client's to say, and it has said so.
        for (int vector = 0; vector < VfioInterrupts.Vectors; vector++)
        {
            if (_interrupts.IsTaken(vector)) _machine.Pci.SetVectorMask(vector, masked: false);
        }

        return 0;
    }

    private void Write(in RegionAccess access, ReadOnlySpan<byte> data)
    {
        Span<byte> word = stackalloc byte[8];
        for (int done = 0; done < data.Length;)
        {
            ulong offset = access.Offset + (ulong)done;
            int piece = PieceOf(offset, data.Length - done, data.Length);
            word.Clear();
            data.Slice(done, piece).CopyTo(word);
            ulong value = BinaryPrimitives.ReadUInt64LittleEndian(word);
            if (access.Region == ConfigRegion) _machine.WriteConfig((int)offset, piece, value);
            else _machine.WriteBar(offset, piece, value);
            done += piece;
        }
    }

    private bool IsInside(in RegionAccess access)
    {
        ulong size = RegionSize(access.Region, _machine.Pci.BarSize);
        return access.Count is > 0 and <= VfioUserLimits.MaxTransferBytes && access.Offset < size && access.Count <= size - access.Offset;
    }

    /// <summary>What the guest's processor accesses at once (up to 8 bytes) stays one access; block transfers are cut into words.</summary>
    private static int PieceOf(ulong offset, int left, int whole)
    {
        if (whole <= 8) return whole;
        int toBoundary = 4 - (int)(offset & 3);
        return Math.Min(left, toBoundary);
    }

    private static void Put(Span<byte> reply, uint a, uint b, uint c, uint d)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(reply, a);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[4..], b);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[8..], c);
        BinaryPrimitives.WriteUInt32LittleEndian(reply[12..], d);
    }
}
