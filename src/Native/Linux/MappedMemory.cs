using System;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Native.Linux;

/// <summary>
/// A shared mapping of a memory file. The file may not become shorter while it is mapped: the owner of the guest's memory
/// seals it (QEMU does), because an access beyond the end would end this process.
/// </summary>
public sealed unsafe class MappedMemory : SafeHandle, IMappedMemory
{
    private MappedMemory(nint address, ulong size)
        : base(0, ownsHandle: true)
    {
        Size = size;
        SetHandle(address);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    public ulong Size { get; }

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
        nint address = Libc.Map(0, (nuint)size, protection, Libc.MapShared, descriptor, (long)offset);
        if (address == -1)
        {
            error = Marshal.GetLastPInvokeError();
            return false;
        }

        memory = new MappedMemory(address, size);
        error = 0;
        return true;
    }

    /// <inheritdoc/>
    public Span<byte> Slice(ulong offset, int length)
    {
        if (offset >= Size || length <= 0 || IsClosed) return default;
        return new Span<byte>((byte*)handle + offset, (int)Math.Min((ulong)length, Size - offset));
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Libc.Unmap(handle, (nuint)Size) == 0;
}
