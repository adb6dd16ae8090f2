using System;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Native.Linux;

/// <summary>
/// A shared mapping of a memory file. Should its owner make the file shorter, accesses go on into memory of this process'
/// own (<see cref="BusErrorGuard"/>) and <see cref="IsLost"/> tells. Memory of huge pages is mapped in whole ones.
/// </summary>
public sealed unsafe class MappedMemory : SafeHandle, IMappedMemory
{
    // The mapping begins this much before the bytes asked for, and has this length.
    private readonly nuint _before;
    private readonly nuint _length;
    private readonly int _guard;

    private MappedMemory(nint address, nuint length, nuint before, ulong size)
        : base(0, ownsHandle: true)
    {
        Size = size;
        _before = before;
        _length = length;
        _guard = BusErrorGuard.Add(address, length);
        SetHandle(address);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    public ulong Size { get; }

    /// <inheritdoc/>
    public bool IsLost => BusErrorGuard.WasHit(_guard);

    /// <summary>Maps a part of a file; on false <paramref name="error"/> is the errno.</summary>
    public static bool TryMap(SafeHandle descriptor, ulong offset, ulong size, bool writable, out MappedMemory? memory, out int error)
    {
        memory = null;
        error = Libc.InvalidArgument;
        ulong pageMask = (ulong)Environment.SystemPageSize - 1;
        if (size == 0 || size > long.MaxValue || offset > long.MaxValue - size || (offset & pageMask) != 0) return false;
        long end = Libc.Seek(descriptor, 0, Libc.SeekEnd);
        if (end < 0)
        {
            error = Marshal.GetLastPInvokeError();
            return false;
        }

        // Whole pages are mapped, so a last page that the file has only in part is still accessible.
        if (offset + size > (ulong)end) return false;
        int protection = Libc.ProtectRead | (writable ? Libc.ProtectWrite : 0);
        ulong pageBytes = PageBytes(descriptor);
        ulong before = offset & (pageBytes - 1);
        ulong length = (before + size + pageBytes - 1) & ~(pageBytes - 1);
        nint address = Libc.Map(0, (nuint)length, protection, Libc.MapShared, descriptor, (long)(offset - before));
        if (address == -1)
        {
            error = Marshal.GetLastPInvokeError();
            return false;
        }

        memory = new MappedMemory(address, (nuint)length, (nuint)before, size);
        error = 0;
        return true;
    }

    /// <inheritdoc/>
    public Span<byte> Slice(ulong offset, int length)
    {
        if (offset >= Size || length <= 0 || IsClosed) return default;
        return new Span<byte>((byte*)handle + _before + offset, (int)Math.Min((ulong)length, Size - offset));
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        BusErrorGuard.Remove(_guard);
        return Libc.Unmap(handle, _length) == 0;
    }

    // Files of huge pages are mapped and unmapped by whole ones only, and say so (hugetlbfs, memfd with MFD_HUGETLB).
    private static ulong PageBytes(SafeHandle descriptor)
    {
        Libc.FileSystem fileSystem;
        ulong usual = (ulong)Environment.SystemPageSize;
        if (Libc.FileSystemOf(descriptor, &fileSystem) != 0 || fileSystem.Type != Libc.HugePageFileSystem) return usual;
        ulong huge = (ulong)fileSystem.BlockSize;
        return huge > usual && ulong.IsPow2(huge) ? huge : usual;
    }
}
