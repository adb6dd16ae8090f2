using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace XenUsbDm.Native.Storage;

/// <summary>libc's file calls that .NET does not show, or shows with exceptions. Constants are those of 64-bit Linux (x86-64 and arm64).</summary>
internal static unsafe partial class LibcFile
{
    internal const int OpenReadOnly = 0;
    internal const int OpenReadWrite = 2;
    internal const int OpenNonBlocking = 0x800;
    internal const int OpenCloseOnExec = 0x80000;

    internal const int PermissionDenied = 1; // EPERM
    internal const int NoSuchFile = 2; // ENOENT
    internal const int Interrupted = 4; // EINTR
    internal const int NoSuchDevice = 6; // ENXIO
    internal const int TryAgain = 11; // EAGAIN
    internal const int AccessDenied = 13; // EACCES
    internal const int NotDirectory = 20; // ENOTDIR
    internal const int IsDirectory = 21; // EISDIR
    internal const int InvalidArgument = 22; // EINVAL
    internal const int FileTooBig = 27; // EFBIG
    internal const int NoSpace = 28; // ENOSPC
    internal const int ReadOnlyFileSystem = 30; // EROFS
    internal const int NoLocks = 37; // ENOLCK
    internal const int NotImplemented = 38; // ENOSYS
    internal const int NotSupported = 95; // EOPNOTSUPP
    internal const int QuotaExceeded = 122; // EDQUOT

    internal const int TypeMask = 0xf000;
    internal const int TypeDirectory = 0x4000;
    internal const int TypeBlockDevice = 0x6000;
    internal const int TypeRegular = 0x8000;

    internal const int SeekEnd = 2;
    internal const int KeepSize = 0x01;
    internal const int PunchHole = 0x02;
    internal const int ZeroRange = 0x10;

    internal const int ReadNoWait = 0x08; // RWF_NOWAIT

    internal const int SetOpenFileLock = 37; // F_OFD_SETLK
    internal const short ReadLock = 0;
    internal const short WriteLock = 1;
    internal const int FlockShared = 1;
    internal const int FlockExclusive = 2;
    internal const int FlockNonBlocking = 4;

    internal const int AtEmptyPath = 0x1000;
    internal const uint StatxType = 0x01;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Statx(SafeFileHandle directory, string path, int flags, uint mask, out StatxRecord record);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    internal static partial long Seek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    internal static partial int Fcntl(SafeFileHandle file, int command, ref FlockRecord record);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    internal static partial int Flock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    internal static partial nint Read(SafeFileHandle file, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "preadv2", SetLastError = true)]
    internal static partial nint ReadVectors(SafeFileHandle file, Vector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    internal static partial nint Write(SafeFileHandle file, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    internal static partial int DataSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    internal static partial int Allocate(SafeFileHandle file, int mode, long offset, long length);

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Vector
    {
        internal void* Base;
        internal nuint Length;
    }

    /// <summary>struct statx: the field that is used, at its offset; the kernel writes 256 bytes.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    internal struct StatxRecord
    {
        [FieldOffset(28)]
        internal ushort Mode;
    }

    /// <summary>struct flock; l_pid must be 0 for open file description locks.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 32)]
    internal struct FlockRecord
    {
        [FieldOffset(0)]
        internal short Type;

        [FieldOffset(2)]
        internal short Whence;

        [FieldOffset(8)]
        internal long Start;

        [FieldOffset(16)]
        internal long Length;

        [FieldOffset(24)]
        internal int Process;
    }
}
