using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>libxenstore 4.x (xenstore.h): NULL or false with errno. Strings are the library's; what it returns is freed with <see cref="Free"/>.</summary>
internal static unsafe partial class LibXenStore
{
    internal const string Name = "libxenstore.so.4";

    internal const uint NoTransaction = 0; // XBT_NULL

    [LibraryImport(Name, EntryPoint = "xs_open", SetLastError = true)]
    internal static partial nint Open(nuint flags);

    [LibraryImport(Name, EntryPoint = "xs_close", SetLastError = true)]
    internal static partial void Close(nint handle);

    [LibraryImport(Name, EntryPoint = "xs_fileno", SetLastError = true)]
    internal static partial int Descriptor(nint handle);

    [LibraryImport(Name, EntryPoint = "xs_read", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial byte* Read(nint handle, uint transaction, string path, uint* length);

    [LibraryImport(Name, EntryPoint = "xs_watch", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    [return: MarshalAs(UnmanagedType.U1)]
    internal static partial bool Watch(nint handle, string path, string token);

    [LibraryImport(Name, EntryPoint = "xs_check_watch", SetLastError = true)]
    internal static partial nint CheckWatch(nint handle);

    [LibraryImport(Name, EntryPoint = "xs_is_domain_introduced", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.U1)]
    internal static partial bool IsIntroduced(nint handle, uint domain);

    [LibraryImport("libc", EntryPoint = "free")]
    internal static partial void Free(void* memory);
}
