using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Linux;

// Calls of MappedMemory, BusErrorGuard and EventDescriptor.
internal static unsafe partial class Libc
{
    internal const int ProtectExecute = 4; // PROT_EXEC
    internal const int MapPrivate = 2; // MAP_PRIVATE
    internal const int MapAnonymous = 0x20; // MAP_ANONYMOUS
    internal const int MapNoReserve = 0x4000; // MAP_NORESERVE
    internal const int BusError = 7; // SIGBUS
    internal const int ActionSignalInfo = 4; // SA_SIGINFO
    internal const int ActionOnStack = 0x08000000; // SA_ONSTACK
    internal const int ActionRestart = 0x10000000; // SA_RESTART
    internal const long HugePageFileSystem = 0x958458f6; // HUGETLBFS_MAGIC
    internal const short PollIn = 1; // POLLIN
    internal const short PollOut = 4; // POLLOUT

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    internal static partial nint MapAnew(nint address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    internal static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "sigaction", SetLastError = true)]
    internal static partial int SignalAction(int signal, SignalHandler* action, SignalHandler* old);

    [LibraryImport("libc", EntryPoint = "fstatfs", SetLastError = true)]
    internal static partial int FileSystemOf(SafeHandle descriptor, FileSystem* result);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    internal static partial int Poll(PollRecord* records, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "readlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint ReadLink(string path, byte* buffer, nuint size);

    /// <summary>struct sigaction of glibc and musl.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct SignalHandler
    {
        internal nint Handler;
        internal fixed byte Mask[128];
        internal int Flags;
        internal nint Restorer;
    }

    /// <summary>struct statfs: 120 bytes, of which the first two fields are used.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 256)]
    internal struct FileSystem
    {
        internal long Type;
        internal long BlockSize;
    }

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct PollRecord
    {
        internal int Descriptor;
        internal short Wanted;
        internal short Ready;
    }
}
