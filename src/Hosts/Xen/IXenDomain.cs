using System;
using System.Runtime.InteropServices;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// One HVM domain as a device model reaches it: the calls that the host makes, under the names of dm_op.h and the Xen
/// libraries. Native/Xen has the real one. Calls return 0 or an errno and never throw; <see cref="XenError.NoDomain"/>
/// means that the domain is gone.
/// </summary>
public interface IXenDomain : IDisposable
{
    /// <summary>The domain's id.</summary>
    int Id { get; }

    /// <summary>Its name in xenstore; empty when it has none.</summary>
    string Name { get; }

    /// <summary>Its UUID: another domain may get the same id later.</summary>
    Guid Uuid { get; }

    /// <summary>Readable when an event is pending.</summary>
    SafeHandle EventHandle { get; }

    /// <summary>Readable when a domain has gone somewhere; null when that cannot be watched.</summary>
    SafeHandle? ReleaseHandle { get; }

    /// <summary>vCPUs that the domain may ever have.</summary>
    int GetVcpuCount(out int count);

    /// <summary>Makes a server without a ring of buffered requests.</summary>
    int CreateServer(out ushort server);

    /// <summary>Maps the server's page of requests: ioreq.h's shared_iopage.</summary>
    int MapServerPage(ushort server, out IForeignPages? page);

    /// <summary>Turns a server on or off. The vCPUs' ports are in the page after it was turned on.</summary>
    int SetServerState(ushort server, bool enabled);

    /// <summary>Removes a server. It does not wake a vCPU that waits for it: answer first.</summary>
    int DestroyServer(ushort server);

    /// <summary>Has memory accesses from <paramref name="first"/> to <paramref name="last"/> (inclusive) sent to the server.</summary>
    int MapRange(ushort server, ulong first, ulong last);

    /// <summary>Takes a range back; exactly one that was mapped.</summary>
    int UnmapRange(ushort server, ulong first, ulong last);

    /// <summary>Has configuration accesses to function 0 of a device of bus 0 sent to the server.</summary>
    int MapPciDevice(ushort server, int slot);

    /// <summary>Takes it back.</summary>
    int UnmapPciDevice(ushort server, int slot);

    /// <summary>Sends a message-signalled interrupt.</summary>
    int InjectMsi(ulong address, uint data);

    /// <summary>Drives INTA# of a device of bus 0.</summary>
    int SetIntx(int slot, bool asserted);

    /// <summary>Says that pages were written behind Xen's back, for a migration in progress.</summary>
    int MarkModified(ReadOnlySpan<PageExtent> extents);

    /// <summary>
    /// Maps <c>errors.Length</c> pages of the guest from frame <paramref name="firstFrame"/>; a page whose entry of
    /// <paramref name="errors"/> is not 0 is not there and may not be touched. On an error nothing is mapped.
    /// </summary>
    int MapGuest(ulong firstFrame, Span<int> errors, out IForeignPages? pages);

    /// <summary>Binds a vCPU's event channel; <paramref name="localPort"/> is ours.</summary>
    int BindEvent(uint remotePort, out uint localPort);

    /// <summary>Lets an event channel go.</summary>
    int UnbindEvent(uint localPort);

    /// <summary>Tells the other end.</summary>
    int Notify(uint localPort);

    /// <summary>
    /// Takes pending events, at most as many as <paramref name="localPorts"/> has room for, and returns how many. Each stays
    /// masked until <see cref="Unmask"/>. Never waits.
    /// </summary>
    int TakeEvents(Span<uint> localPorts);

    /// <summary>Lets events come again; one that came meanwhile comes at once.</summary>
    int Unmask(ReadOnlySpan<uint> localPorts);

    /// <summary>Empties <see cref="ReleaseHandle"/> and tells whether the domain is still there.</summary>
    bool IsAlive();
}

/// <summary>Pages of another domain (or shared with Xen), mapped until disposed.</summary>
public interface IForeignPages : IDisposable
{
    /// <summary>The bytes. Not to be used after disposal.</summary>
    Span<byte> Bytes { get; }
}

/// <summary>A run of guest pages (dm_op.h, xen_dm_op_modified_memory_extent).</summary>
/// <param name="FirstFrame">First page, by guest frame number.</param>
/// <param name="Count">Pages.</param>
public readonly record struct PageExtent(ulong FirstFrame, uint Count);

/// <summary>errno values that mean something to the host (Linux's numbers).</summary>
public static class XenError
{
    /// <summary>EPERM.</summary>
    public const int NotPermitted = 1;

    /// <summary>ENOENT.</summary>
    public const int NoEntry = 2;

    /// <summary>ESRCH: there is no such domain.</summary>
    public const int NoDomain = 3;

    /// <summary>ENOMEM.</summary>
    public const int NoMemory = 12;

    /// <summary>EEXIST.</summary>
    public const int Exists = 17;

    /// <summary>EINVAL.</summary>
    public const int Invalid = 22;

    /// <summary>ENOSPC.</summary>
    public const int NoSpace = 28;

    /// <summary>EOPNOTSUPP.</summary>
    public const int NotSupported = 95;
}
