using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>libxengnttab 1.x (xengnttab.h): NULL or -1 with errno. A restricted process cannot use it (xentoolcore.h).</summary>
internal static unsafe partial class LibXenGrantTable
{
    internal const string Name = "libxengnttab.so.1";

    internal const ushort CopySourceIsGrant = 1; // GNTCOPY_source_gref
    internal const ushort CopyDestinationIsGrant = 2; // GNTCOPY_dest_gref

    [LibraryImport(Name, EntryPoint = "xengnttab_open", SetLastError = true)]
    internal static partial nint Open(nint logger, uint flags);

    [LibraryImport(Name, EntryPoint = "xengnttab_close", SetLastError = true)]
    internal static partial int Close(nint handle);

    [LibraryImport(Name, EntryPoint = "xengnttab_map_domain_grant_refs", SetLastError = true)]
    internal static partial nint MapGrants(nint handle, uint count, uint domain, uint* references, int protection);

    [LibraryImport(Name, EntryPoint = "xengnttab_unmap", SetLastError = true)]
    internal static partial int Unmap(nint handle, nint address, uint count);

    [LibraryImport(Name, EntryPoint = "xengnttab_grant_copy", SetLastError = true)]
    internal static partial int Copy(nint handle, uint count, CopySegment* segments);

    /// <summary>One end of a copy: memory of ours, or a grant.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 8)]
    internal struct CopyEnd
    {
        [FieldOffset(0)]
        internal nint Address;

        [FieldOffset(0)]
        internal uint Reference;

        [FieldOffset(4)]
        internal ushort Offset;

        [FieldOffset(6)]
        internal ushort Domain;
    }

    /// <summary>struct xengnttab_grant_copy_segment.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct CopySegment
    {
        internal CopyEnd Source;
        internal CopyEnd Destination;
        internal ushort Length;
        internal ushort Flags;
        internal short Status;
    }
}
