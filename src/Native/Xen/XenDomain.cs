using System;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.Xen;

/// <summary>
/// An HVM domain through Xen's libraries. Opening it ties the process to this domain (<c>xentoolcore_restrict_all</c>): from
/// then on none of its handles reaches another one. Only the xenstore connection, opened afterwards, is free.
/// </summary>
public sealed unsafe class XenDomain : IXenDomain
{
    private readonly ushort _id;
    private readonly nint _model;
    private readonly nint _memory;
    private readonly nint _events;
    private readonly ulong[] _frames = new ulong[XenLimits.BucketPages];
    private XenStore? _store;
    private bool _disposed;

    private XenDomain(int id, nint model, nint memory, nint events, string name, Guid uuid)
    {
        _id = (ushort)id;
        _model = model;
        _memory = memory;
        _events = events;
        Name = name;
        Uuid = uuid;
        EventHandle = new SafeFileHandle(LibXenEventChannel.Descriptor(events), ownsHandle: false);
        _ = Libc.FileControl(EventHandle, Libc.SetFileFlags, Libc.OpenReadWrite | Libc.OpenNonBlocking);
    }

    /// <inheritdoc/>
    public int Id => _id;

    /// <inheritdoc/>
    public string Name { get; }

    /// <inheritdoc/>
    public Guid Uuid { get; }

    /// <inheritdoc/>
    public SafeHandle EventHandle { get; }

    /// <inheritdoc/>
    public SafeHandle? ReleaseHandle => _store?.WatchHandle;

    /// <summary>
    /// Opens a domain. Null with a line for the operator when the system lacks something, the domain does not exist, or
    /// access is not permitted.
    /// </summary>
    public static XenDomain? Open(int id, out string error)
    {
        if (XenLibraries.FindMissing() is { } missing)
        {
            error = missing;
            return null;
        }

        if (!TryDescribe(id, out string name, out Guid uuid, out error)) return null;
        nint model = LibXenDeviceModel.Open(0, 0);
        int code = Marshal.GetLastPInvokeError();
        nint memory = model == 0 ? 0 : LibXenForeignMemory.Open(0, 0);
        if (model != 0 && memory == 0) code = Marshal.GetLastPInvokeError();
        nint events = memory == 0 ? 0 : LibXenEventChannel.Open(0, 0);
        if (memory != 0 && events == 0) code = Marshal.GetLastPInvokeError();
        if (events == 0)
        {
            Close(model, memory, 0);
            error = $"/dev/xen: {Marshal.GetPInvokeErrorMessage(code)}; run as root in dom0";
            return null;
        }

        if (LibXenToolCore.RestrictAll((ushort)id) != 0)
        {
            error = $"restricting the process to domain {id}: {Marshal.GetLastPInvokeErrorMessage()}; dom0 needs Linux 4.13 or later";
            Close(model, memory, events);
            return null;
        }

        var domain = new XenDomain(id, model, memory, events, name, uuid) { _store = XenStore.Open() };
        if (domain._store?.WatchReleases() != true)
        {
            domain.Dispose();
            error = "xenstore does not answer; start xenstored";
            return null;
        }

        error = "";
        return domain;
    }

    /// <inheritdoc/>
    public int GetVcpuCount(out int count)
    {
        uint value = 0;
        int code = Code(LibXenDeviceModel.VcpuCount(_model, _id, &value));
        count = (int)Math.Min(value, int.MaxValue);
        return code;
    }

    /// <inheritdoc/>
    public int CreateServer(out ushort server)
    {
        ushort id = 0;
        int code = Code(LibXenDeviceModel.CreateServer(_model, _id, LibXenDeviceModel.BufferedRequestsOff, &id));
        server = id;
        return code;
    }

    /// <inheritdoc/>
    public int MapServerPage(ushort server, out IForeignPages? page)
    {
        page = null;
        nint address = 0;
        nint resource = LibXenForeignMemory.MapResource(
            _memory, _id, LibXenForeignMemory.ResourceIoreqServer, server, LibXenForeignMemory.FrameOfRequests, 1, &address, LibXenForeignMemory.ProtectReadWrite, 0);
        if (resource == 0) return Marshal.GetLastPInvokeError();
        page = new ForeignPages(_memory, address, 1, resource);
        return 0;
    }

    /// <inheritdoc/>
    public int SetServerState(ushort server, bool enabled) => Code(LibXenDeviceModel.SetServerState(_model, _id, server, enabled ? 1 : 0));

    /// <inheritdoc/>
    public int DestroyServer(ushort server) => Code(LibXenDeviceModel.DestroyServer(_model, _id, server));

    /// <inheritdoc/>
    public int MapRange(ushort server, ulong first, ulong last) => Code(LibXenDeviceModel.MapRange(_model, _id, server, 1, first, last));

    /// <inheritdoc/>
    public int UnmapRange(ushort server, ulong first, ulong last) => Code(LibXenDeviceModel.UnmapRange(_model, _id, server, 1, first, last));

    /// <inheritdoc/>
    public int MapPciDevice(ushort server, int slot) => Code(LibXenDeviceModel.MapPciDevice(_model, _id, server, 0, 0, (byte)slot, 0));

    /// <inheritdoc/>
    public int UnmapPciDevice(ushort server, int slot) => Code(LibXenDeviceModel.UnmapPciDevice(_model, _id, server, 0, 0, (byte)slot, 0));

    /// <inheritdoc/>
    public int InjectMsi(ulong address, uint data) => Code(LibXenDeviceModel.InjectMsi(_model, _id, address, data));

    /// <inheritdoc/>
    public int SetIntx(int slot, bool asserted) => Code(LibXenDeviceModel.SetIntx(_model, _id, 0, 0, (byte)slot, 0, asserted ? 1u : 0));

    /// <inheritdoc/>
    public int MarkModified(ReadOnlySpan<PageExtent> extents)
    {
        if (extents.Length > XenLimits.DirtyExtents) return XenError.Invalid;
        LibXenDeviceModel.Extent* list = stackalloc LibXenDeviceModel.Extent[XenLimits.DirtyExtents];
        for (int i = 0; i < extents.Length; i++)
            list[i] = new LibXenDeviceModel.Extent { Count = extents[i].Count, FirstFrame = extents[i].FirstFrame };
        return Code(LibXenDeviceModel.ModifiedMemory(_model, _id, list, (uint)extents.Length));
    }

    /// <inheritdoc/>
    public int MapGuest(ulong firstFrame, Span<int> errors, out IForeignPages? pages)
    {
        pages = null;
        int count = errors.Length;
        if (count == 0 || count > _frames.Length) return XenError.Invalid;
        for (int i = 0; i < count; i++) _frames[i] = firstFrame + (ulong)i;
        nint address;
        fixed (ulong* frames = _frames)
        fixed (int* results = errors)
            address = LibXenForeignMemory.Map(_memory, _id, 0, LibXenForeignMemory.ProtectReadWrite, 0, (nuint)count, frames, results);
        if (address == 0) return Marshal.GetLastPInvokeError();
        pages = new ForeignPages(_memory, address, count);
        return 0;
    }

    /// <inheritdoc/>
    public int BindEvent(uint remotePort, out uint localPort)
    {
        int port = LibXenEventChannel.BindInterdomain(_events, _id, remotePort);
        localPort = port < 0 ? 0 : (uint)port;
        return port < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    /// <inheritdoc/>
    public int UnbindEvent(uint localPort) => Code(LibXenEventChannel.Unbind(_events, localPort));

    /// <inheritdoc/>
    public int Notify(uint localPort) => Code(LibXenEventChannel.Notify(_events, localPort));

    /// <inheritdoc/>
    public int TakeEvents(Span<uint> localPorts)
    {
        nint bytes;
        fixed (uint* ports = localPorts) bytes = Libc.Read(EventHandle, ports, (nuint)localPorts.Length * sizeof(uint));
        return bytes < 0 ? 0 : (int)(bytes / sizeof(uint));
    }

    /// <inheritdoc/>
    public int Unmask(ReadOnlySpan<uint> localPorts)
    {
        fixed (uint* ports = localPorts)
            return Libc.Write(EventHandle, ports, (nuint)localPorts.Length * sizeof(uint)) < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    /// <inheritdoc/>
    public bool IsAlive()
    {
        if (_store is null) return true;
        _store.TakeEvents();
        return _store.IsIntroduced(_id);
    }

    /// <summary>Whether a domain, this or another, exists and is not on its way out, as far as xenstore tells.</summary>
    public bool IsThere(int id) => _store?.IsIntroduced(id) ?? true;

    /// <summary>Closes every handle. Pages must have been disposed before.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        EventHandle.Dispose();
        _store?.Dispose();
        Close(_model, _memory, _events);
    }

    private static int Code(int result) => result < 0 ? Marshal.GetLastPInvokeError() : 0;

    private static void Close(nint model, nint memory, nint events)
    {
        if (events != 0) _ = LibXenEventChannel.Close(events);
        if (memory != 0) _ = LibXenForeignMemory.Close(memory);
        if (model != 0) _ = LibXenDeviceModel.Close(model);
    }

    // Before the restriction, which would close this connection.
    private static bool TryDescribe(int id, out string name, out Guid uuid, out string error)
    {
        name = "";
        uuid = default;
        using XenStore? store = XenStore.Open();
        if (store is null)
        {
            error = $"xenstore does not answer ({Marshal.GetLastPInvokeErrorMessage()}); start xenstored, and run as root in dom0";
            return false;
        }

        if (!store.IsIntroduced(id))
        {
            error = $"there is no domain {id}; 'xl list' shows those that there are";
            return false;
        }

        name = store.Read($"/local/domain/{id}/name") ?? "";
        string vm = store.Read($"/local/domain/{id}/vm") ?? "";
        uuid = Guid.TryParse(vm.AsSpan(vm.LastIndexOf('/') + 1), out Guid parsed) ? parsed : default;
        error = "";
        return true;
    }
}
