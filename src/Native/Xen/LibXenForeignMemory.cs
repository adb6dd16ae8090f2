using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>libxenforeignmemory 1.x (xenforeignmemory.h): NULL or -1 with errno.</summary>
internal static unsafe partial class LibXenForeignMemory
{
    internal const string Name = "libxenforeignmemory.so.1";

    internal const uint ResourceIoreqServer = 0; // XENMEM_resource_ioreq_server
    internal const uint FrameOfRequests = 1; // XENMEM_resource_ioreq_server_frame_ioreq(0)
    internal const int ProtectReadWrite = 3; // PROT_READ | PROT_WRITE

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_open", SetLastError = true)]
    internal static partial nint Open(nint logger, uint flags);

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_close", SetLastError = true)]
    internal static partial int Close(nint handle);

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_map2", SetLastError = true)]
    internal static partial nint Map(nint handle, uint domain, nint hint, int protection, int flags, nuint pages, ulong* frames, int* errors);

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_unmap", SetLastError = true)]
    internal static partial int Unmap(nint handle, nint address, nuint pages);

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_map_resource", SetLastError = true)]
    internal static partial nint MapResource(
        nint handle, ushort domain, uint type, uint id, nuint frame, nuint frames, nint* address, int protection, int flags);

    [LibraryImport(Name, EntryPoint = "xenforeignmemory_unmap_resource", SetLastError = true)]
    internal static partial int UnmapResource(nint handle, nint resource);
}
