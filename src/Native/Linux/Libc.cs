using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Linux;

/// <summary>libc's calls under their own names. Constants are those of 64-bit Linux (x86-64 and arm64); a wrong one fails the tests of this folder, which use every call.</summary>
internal static unsafe partial class Libc
{
    internal const int Interrupted = 4; // EINTR
    internal const int TryAgain = 11; // EAGAIN
    internal const int AddressInUse = 98; // EADDRINUSE
    internal const int ConnectionRefused = 111; // ECONNREFUSED
    internal const int InvalidArgument = 22; // EINVAL

    internal const int OpenReadOnly = 0; // O_RDONLY
    internal const int OpenReadWrite = 2; // O_RDWR
    internal const int OpenCreate = 0x40; // O_CREAT
    internal const int OpenCloseOnExec = 0x80000; // O_CLOEXEC
    internal const int OpenNonBlocking = 0x800; // O_NONBLOCK
    internal const int SetFileFlags = 4; // F_SETFL
    internal const int LockExclusive = 2; // LOCK_EX
    internal const int LockNonBlocking = 4; // LOCK_NB

    internal const int NotifyNonBlocking = 0x800; // IN_NONBLOCK
    internal const int NotifyCloseOnExec = 0x80000; // IN_CLOEXEC
    internal const uint NotifyClosedAfterWriting = 0x8; // IN_CLOSE_WRITE
    internal const uint NotifyOnce = 0x80000000; // IN_ONESHOT

    internal const int FamilyNetlink = 16; // AF_NETLINK
    internal const int RawType = 3; // SOCK_RAW
    internal const int NetlinkUevent = 15; // NETLINK_KOBJECT_UEVENT
    internal const int FamilyUnix = 1; // AF_UNIX
    internal const int StreamType = 1; // SOCK_STREAM
    internal const int SocketNonBlocking = 0x800; // SOCK_NONBLOCK
    internal const int SocketCloseOnExec = 0x80000; // SOCK_CLOEXEC
    internal const int LevelSocket = 1; // SOL_SOCKET
    internal const int Rights = 1; // SCM_RIGHTS
    internal const int NoSignal = 0x4000; // MSG_NOSIGNAL
    internal const int ControlTruncated = 0x8; // MSG_CTRUNC
    internal const int ControlCloseOnExec = 0x40000000; // MSG_CMSG_CLOEXEC

    internal const int ProtectRead = 1; // PROT_READ
    internal const int ProtectWrite = 2; // PROT_WRITE
    internal const int MapShared = 1; // MAP_SHARED
    internal const int SeekEnd = 2; // SEEK_END

    internal const int NoNewPrivileges = 38; // PR_SET_NO_NEW_PRIVS

    internal const int EventNonBlocking = 0x800; // EFD_NONBLOCK
    internal const int EventCloseOnExec = 0x80000; // EFD_CLOEXEC
    internal const int TimerNonBlocking = 0x800; // TFD_NONBLOCK
    internal const int TimerCloseOnExec = 0x80000; // TFD_CLOEXEC
    internal const int TimerAbsolute = 1; // TFD_TIMER_ABSTIME
    internal const int ClockMonotonic = 1; // CLOCK_MONOTONIC

    internal const int EpollCloseOnExec = 0x80000; // EPOLL_CLOEXEC
    internal const int EpollAdd = 1; // EPOLL_CTL_ADD
    internal const int EpollDelete = 2; // EPOLL_CTL_DEL
    internal const int EpollModify = 3; // EPOLL_CTL_MOD
    internal const uint EpollIn = 0x001;
    internal const uint EpollOut = 0x004;
    internal const uint EpollError = 0x008;
    internal const uint EpollHangUp = 0x010;
    internal const uint EpollReadHangUp = 0x2000; // EPOLLRDHUP

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    internal static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    internal static partial int Socket(int domain, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "socketpair", SetLastError = true)]
    internal static partial int SocketPair(int domain, int type, int protocol, int* pair);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    internal static partial int Bind(Descriptor socket, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    internal static partial int Connect(Descriptor socket, byte* address, uint length);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    internal static partial int Listen(Descriptor socket, int backlog);

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    internal static partial int Accept(Descriptor socket, void* address, uint* length, int flags);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    internal static partial nint ReceiveMessage(Descriptor socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    internal static partial nint SendMessage(Descriptor socket, MessageHeader* message, int flags);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    internal static partial int FileControl(SafeHandle descriptor, int command, int value);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    internal static partial int ChangeMode(SafeHandle descriptor, uint mode);

    [LibraryImport("libc", EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Unlink(string path);

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    internal static partial nint Map(nint address, nuint length, int protection, int flags, SafeHandle descriptor, long offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    internal static partial int Unmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    internal static partial long Seek(SafeHandle descriptor, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    internal static partial int Event(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    internal static partial nint Read(SafeHandle descriptor, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    internal static partial nint Write(SafeHandle descriptor, void* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "timerfd_create", SetLastError = true)]
    internal static partial int TimerCreate(int clock, int flags);

    [LibraryImport("libc", EntryPoint = "timerfd_settime", SetLastError = true)]
    internal static partial int TimerSet(Descriptor timer, int flags, TimerSetting* setting, TimerSetting* old);

    [LibraryImport("libc", EntryPoint = "epoll_create1", SetLastError = true)]
    internal static partial int EpollCreate(int flags);

    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    internal static partial int EpollControl(Descriptor epoll, int operation, SafeHandle descriptor, byte* epollEvent);

    // For descriptors that another library owns and names by number.
    [LibraryImport("libc", EntryPoint = "epoll_ctl", SetLastError = true)]
    internal static partial int EpollControlNumber(Descriptor epoll, int operation, int descriptor, byte* epollEvent);

    [LibraryImport("libc", EntryPoint = "malloc")]
    internal static partial byte* AllocateMemory(nuint length);

    [LibraryImport("libc", EntryPoint = "free")]
    internal static partial void FreeMemory(byte* memory);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    internal static partial int Lock(SafeHandle descriptor, int operation);

    [LibraryImport("libc", EntryPoint = "inotify_init1", SetLastError = true)]
    internal static partial int NotifyCreate(int flags);

    [LibraryImport("libc", EntryPoint = "inotify_add_watch", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int NotifyAdd(Descriptor notify, string path, uint mask);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    internal static partial int Truncate(SafeHandle descriptor, long length);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    internal static partial nint ReadAt(SafeHandle descriptor, void* buffer, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    internal static partial nint WriteAt(SafeHandle descriptor, void* buffer, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "epoll_wait", SetLastError = true)]
    internal static partial int EpollWait(Descriptor epoll, byte* events, int capacity, int milliseconds);

    [LibraryImport("libc", EntryPoint = "getpwnam", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial Account* FindAccount(string name);

    [LibraryImport("libc", EntryPoint = "setgroups", SetLastError = true)]
    internal static partial int SetGroups(nuint count, uint* groups);

    [LibraryImport("libc", EntryPoint = "setresgid", SetLastError = true)]
    internal static partial int SetGroup(uint real, uint effective, uint saved);

    [LibraryImport("libc", EntryPoint = "setresuid", SetLastError = true)]
    internal static partial int SetUser(uint real, uint effective, uint saved);

    [LibraryImport("libc", EntryPoint = "prctl", SetLastError = true)]
    internal static partial int ProcessControl(int option, nuint a, nuint b, nuint c, nuint d);

    /// <summary>struct passwd, as far as it is used.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Account
    {
        internal byte* Name;
        internal byte* Password;
        internal uint User;
        internal uint Group;
    }

    /// <summary>struct iovec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Vector
    {
        internal void* Base;
        internal nuint Length;
    }

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct MessageHeader
    {
        internal void* Name;
        internal uint NameLength;
        internal Vector* Vectors;
        internal nuint VectorCount;
        internal void* Control;
        internal nuint ControlLength;
        internal int Flags;
    }

    /// <summary>struct cmsghdr; descriptors follow as 32-bit integers.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ControlHeader
    {
        internal nuint Length;
        internal int Level;
        internal int Type;
    }

    /// <summary>struct itimerspec: interval, then the first expiry, as seconds and nanoseconds.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct TimerSetting
    {
        internal long IntervalSeconds;
        internal long IntervalNanoseconds;
        internal long Seconds;
        internal long Nanoseconds;
    }
}
