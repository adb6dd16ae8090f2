using System;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace XenUsbDm.Native.Xen;

/// <summary>A connection to xenstore; usable as long as it was opened after the process restricted itself, or it never does.</summary>
internal sealed unsafe class XenStore : IDisposable
{
    private nint _handle;

    private XenStore(nint handle) => _handle = handle;

    /// <summary>Readable when a watch fired; null before <see cref="WatchReleases"/>.</summary>
    public SafeHandle? WatchHandle { get; private set; }

    /// <summary>Connects; null when xenstored does not answer.</summary>
    public static XenStore? Open()
    {
        nint handle = LibXenStore.Open(0);
        return handle == 0 ? null : new XenStore(handle);
    }

    /// <summary>The text at a path, null when there is none.</summary>
    public string? Read(string path)
    {
        uint length;
        byte* text = LibXenStore.Read(_handle, LibXenStore.NoTransaction, path, &length);
        if (text is null) return null;
        string value = Encoding.UTF8.GetString(text, (int)length);
        LibXenStore.Free(text);
        return value;
    }

    /// <summary>The domain exists and is not on its way out.</summary>
    public bool IsIntroduced(int domain) => LibXenStore.IsIntroduced(_handle, (uint)domain);

    /// <summary>From now on <see cref="WatchHandle"/> tells when a domain goes. False when that does not work.</summary>
    public bool WatchReleases()
    {
        if (!LibXenStore.Watch(_handle, "@releaseDomain", "gone")) return false;
        WatchHandle = new SafeFileHandle(LibXenStore.Descriptor(_handle), ownsHandle: false);
        return true;
    }

    /// <summary>Takes every watch event that has come.</summary>
    public void TakeEvents()
    {
        // Each is one allocation of the library's. A bound, since another process could keep them coming.
        for (int i = 0; i < 64; i++)
        {
            nint fired = LibXenStore.CheckWatch(_handle);
            if (fired == 0) return;
            LibXenStore.Free((void*)fired);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_handle == 0) return;
        LibXenStore.Close(_handle);
        _handle = 0;
    }
}
