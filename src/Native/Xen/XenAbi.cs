using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.Xen;

namespace XenUsbDm.Native.Xen;

/// <summary>Every constant and every structure of this folder's declarations; the unit tests have gcc compare them with libxen-dev's headers.</summary>
internal static unsafe class XenAbi
{
    /// <summary>The comparisons.</summary>
    public static IReadOnlyList<AbiValue> Values { get; } =
    [
        new("BufferedRequestsOff", LibXenDeviceModel.BufferedRequestsOff, "HVM_IOREQSRV_BUFIOREQ_OFF"),
        new("Extent", sizeof(LibXenDeviceModel.Extent), "sizeof(struct xen_dm_op_modified_memory_extent)"),
        new("Extent.Count", At<LibXenDeviceModel.Extent>("Count"), "offsetof(struct xen_dm_op_modified_memory_extent, nr)"),
        new("Extent.FirstFrame", At<LibXenDeviceModel.Extent>("FirstFrame"), "offsetof(struct xen_dm_op_modified_memory_extent, first_pfn)"),
        new("ResourceIoreqServer", LibXenForeignMemory.ResourceIoreqServer, "XENMEM_resource_ioreq_server"),
        new("FrameOfRequests", LibXenForeignMemory.FrameOfRequests, "XENMEM_resource_ioreq_server_frame_ioreq(0)"),
        new("ProtectReadWrite", LibXenForeignMemory.ProtectReadWrite, "PROT_READ | PROT_WRITE"),
        new("Frame", sizeof(ulong), "sizeof(xen_pfn_t)"),
        new("EventPort", sizeof(uint), "sizeof(evtchn_port_t)"),
        new("CopySourceIsGrant", LibXenGrantTable.CopySourceIsGrant, "GNTCOPY_source_gref"),
        new("CopyDestinationIsGrant", LibXenGrantTable.CopyDestinationIsGrant, "GNTCOPY_dest_gref"),
        new("CopySegment", sizeof(LibXenGrantTable.CopySegment), "sizeof(xengnttab_grant_copy_segment_t)"),
        new("CopySegment.Destination", At<LibXenGrantTable.CopySegment>("Destination"), "offsetof(xengnttab_grant_copy_segment_t, dest)"),
        new("CopySegment.Length", At<LibXenGrantTable.CopySegment>("Length"), "offsetof(xengnttab_grant_copy_segment_t, len)"),
        new("CopySegment.Flags", At<LibXenGrantTable.CopySegment>("Flags"), "offsetof(xengnttab_grant_copy_segment_t, flags)"),
        new("CopySegment.Status", At<LibXenGrantTable.CopySegment>("Status"), "offsetof(xengnttab_grant_copy_segment_t, status)"),
        new("CopyEnd.Offset", At<LibXenGrantTable.CopyEnd>("Offset"), "offsetof(xengnttab_grant_copy_segment_t, source.foreign.offset)"),
        new("CopyEnd.Domain", At<LibXenGrantTable.CopyEnd>("Domain"), "offsetof(xengnttab_grant_copy_segment_t, source.foreign.domid)"),
        new("NoTransaction", LibXenStore.NoTransaction, "XBT_NULL"),
        new("NotPermitted", XenError.NotPermitted, "EPERM"),
        new("NoEntry", XenError.NoEntry, "ENOENT"),
        new("NoDomain", XenError.NoDomain, "ESRCH"),
        new("NoMemory", XenError.NoMemory, "ENOMEM"),
        new("Exists", XenError.Exists, "EEXIST"),
        new("Invalid", XenError.Invalid, "EINVAL"),
        new("NoSpace", XenError.NoSpace, "ENOSPC"),
        new("NotSupported", XenError.NotSupported, "EOPNOTSUPP"),
    ];

    private static long At<T>(string field)
        where T : unmanaged => Marshal.OffsetOf<T>(field);
}
