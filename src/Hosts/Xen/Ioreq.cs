using System;
using System.Buffers.Binary;
using System.Threading;

namespace XenUsbDm.Hosts.Xen;

/// <summary>One vCPU's request, copied out of the shared page.</summary>
/// <param name="Address">Guest-physical address; for configuration space see <see cref="ConfigFunction"/> and <see cref="ConfigRegister"/>.</param>
/// <param name="Data">Data to write, or the guest-physical address of the data.</param>
/// <param name="Count">Items.</param>
/// <param name="Size">Bytes of an item: 1, 2, 4 or 8.</param>
/// <param name="Flags">The byte with state and flags.</param>
/// <param name="Type">Kind, which may be one that is not known here.</param>
public readonly record struct Ioreq(ulong Address, ulong Data, uint Count, uint Size, byte Flags, IoreqType Type)
{
    /// <summary>State in the shared page when it was copied.</summary>
    public IoreqState State => (IoreqState)(Flags & IoreqLayout.StateMask);

    /// <summary>The guest reads.</summary>
    public bool IsRead => (Flags & IoreqLayout.Read) != 0;

    /// <summary><see cref="Data"/> is the address of the data in guest memory.</summary>
    public bool DataIsPointer => (Flags & IoreqLayout.DataIsPointer) != 0;

    /// <summary>Addresses of repeated accesses go downwards.</summary>
    public bool IsDown => (Flags & IoreqLayout.Down) != 0;

    /// <summary>Segment, bus, device and function of a configuration access: segment in bits 31:16, bus 15:8, device 7:3, function 2:0.</summary>
    public uint ConfigFunction => (uint)(Address >> 32);

    /// <summary>Register of a configuration access, in bytes.</summary>
    public uint ConfigRegister => (uint)(Address & 0xffff_ffff);

    /// <summary>The bits that an item has.</summary>
    public ulong Mask => Size is >= 1 and < 8 ? (1UL << ((int)Size * 8)) - 1 : ulong.MaxValue;

    /// <summary>Copies the request out of its 32 bytes; <see cref="State"/> is read first, so what Xen wrote before it is seen.</summary>
    public static Ioreq Copy(ReadOnlySpan<byte> slot)
    {
        byte flags = Volatile.Read(in slot[IoreqLayout.Flags]);
        return new Ioreq(
            BinaryPrimitives.ReadUInt64LittleEndian(slot[IoreqLayout.Address..]),
            BinaryPrimitives.ReadUInt64LittleEndian(slot[IoreqLayout.Data..]),
            BinaryPrimitives.ReadUInt32LittleEndian(slot[IoreqLayout.Count..]),
            BinaryPrimitives.ReadUInt32LittleEndian(slot[IoreqLayout.Size..]),
            flags,
            (IoreqType)slot[IoreqLayout.Type]);
    }

    /// <summary>Sets the state and leaves the flags beside it; everything written before is seen before it.</summary>
    public static void SetState(Span<byte> slot, IoreqState state)
    {
        ref byte flags = ref slot[IoreqLayout.Flags];
        Volatile.Write(ref flags, (byte)((flags & ~IoreqLayout.StateMask) | (int)state));
    }
}
