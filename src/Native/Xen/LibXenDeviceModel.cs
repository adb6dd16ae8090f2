using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

// Xen/ is Hosts/Xen's way to the hypervisor: Xen's stable C libraries, one declaration file each, and XenDomain, which gives
// them the shape of IXenDomain. The libraries are loaded at the first call, so a process without --xen does not need them;
// XenLibraries looks for them beforehand and names what is missing. Handles are plain pointers owned by XenDomain.

/// <summary>libxendevicemodel 1.x (xendevicemodel.h): 0, or -1 with errno.</summary>
internal static unsafe partial class LibXenDeviceModel
{
    internal const string Name = "libxendevicemodel.so.1";

    internal const int BufferedRequestsOff = 0; // HVM_IOREQSRV_BUFIOREQ_OFF

    [LibraryImport(Name, EntryPoint = "xendevicemodel_open", SetLastError = true)]
    internal static partial nint Open(nint logger, uint flags);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_close", SetLastError = true)]
    internal static partial int Close(nint handle);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_create_ioreq_server", SetLastError = true)]
    internal static partial int CreateServer(nint handle, ushort domain, int bufferedRequests, ushort* server);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_destroy_ioreq_server", SetLastError = true)]
    internal static partial int DestroyServer(nint handle, ushort domain, ushort server);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_set_ioreq_server_state", SetLastError = true)]
    internal static partial int SetServerState(nint handle, ushort domain, ushort server, int enabled);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_map_io_range_to_ioreq_server", SetLastError = true)]
    internal static partial int MapRange(nint handle, ushort domain, ushort server, int isMemory, ulong start, ulong end);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_unmap_io_range_from_ioreq_server", SetLastError = true)]
    internal static partial int UnmapRange(nint handle, ushort domain, ushort server, int isMemory, ulong start, ulong end);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_map_pcidev_to_ioreq_server", SetLastError = true)]
    internal static partial int MapPciDevice(nint handle, ushort domain, ushort server, ushort segment, byte bus, byte device, byte function);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_unmap_pcidev_from_ioreq_server", SetLastError = true)]
    internal static partial int UnmapPciDevice(nint handle, ushort domain, ushort server, ushort segment, byte bus, byte device, byte function);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_inject_msi", SetLastError = true)]
    internal static partial int InjectMsi(nint handle, ushort domain, ulong address, uint data);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_set_pci_intx_level", SetLastError = true)]
    internal static partial int SetIntx(nint handle, ushort domain, ushort segment, byte bus, byte device, byte pin, uint level);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_modified_memory_bulk", SetLastError = true)]
    internal static partial int ModifiedMemory(nint handle, ushort domain, Extent* extents, uint count);

    [LibraryImport(Name, EntryPoint = "xendevicemodel_nr_vcpus", SetLastError = true)]
    internal static partial int VcpuCount(nint handle, ushort domain, uint* count);

    /// <summary>struct xen_dm_op_modified_memory_extent.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Extent
    {
        internal uint Count;
        internal uint Padding;
        internal ulong FirstFrame;
    }
}
