using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>libxenevtchn 1.x (xenevtchn.h): a port or 0, or -1 with errno.</summary>
internal static unsafe partial class LibXenEventChannel
{
    internal const string Name = "libxenevtchn.so.1";

    internal const short PollIn = 1; // POLLIN

    [LibraryImport(Name, EntryPoint = "xenevtchn_open", SetLastError = true)]
    internal static partial nint Open(nint logger, uint flags);

    [LibraryImport(Name, EntryPoint = "xenevtchn_close", SetLastError = true)]
    internal static partial int Close(nint handle);

    [LibraryImport(Name, EntryPoint = "xenevtchn_fd", SetLastError = true)]
    internal static partial int Descriptor(nint handle);

    [LibraryImport(Name, EntryPoint = "xenevtchn_bind_interdomain", SetLastError = true)]
    internal static partial int BindInterdomain(nint handle, uint domain, uint remotePort);

    [LibraryImport(Name, EntryPoint = "xenevtchn_unbind", SetLastError = true)]
    internal static partial int Unbind(nint handle, uint port);

    [LibraryImport(Name, EntryPoint = "xenevtchn_notify", SetLastError = true)]
    internal static partial int Notify(nint handle, uint port);

    [LibraryImport(Name, EntryPoint = "xenevtchn_pending", SetLastError = true)]
    internal static partial int Pending(nint handle);

    [LibraryImport(Name, EntryPoint = "xenevtchn_unmask", SetLastError = true)]
    internal static partial int Unmask(nint handle, uint port);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    internal static partial int Poll(PollEntry* entries, nuint count, int milliseconds);

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct PollEntry
    {
        internal int Descriptor;
        internal short Events;
        internal short Result;
    }
}
