using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>libxentoolcore 1.x (xentoolcore.h).</summary>
internal static partial class LibXenToolCore
{
    internal const string Name = "libxentoolcore.so.1";

    /// <summary>Ties every handle that is open to one domain; those of libraries that cannot are closed. Handles opened later are free.</summary>
    [LibraryImport(Name, EntryPoint = "xentoolcore_restrict_all", SetLastError = true)]
    internal static partial int RestrictAll(ushort domain);
}
