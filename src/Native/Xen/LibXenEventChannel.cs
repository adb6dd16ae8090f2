using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>
/// libxenevtchn 1.x (xenevtchn.h): a port or 0, or -1 with errno. Taking and unmasking events is a read and a write of
/// evtchn_port_t on its descriptor (Linux, drivers/xen/evtchn.c), many at a time, where the library has one at a time and
/// asks for a poll before each. It warns of O_NONBLOCK for kernels around 3.12; the loop reads only what is readable.
/// </summary>
internal static partial class LibXenEventChannel
{
    internal const string Name = "libxenevtchn.so.1";

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
}
