using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.Native.Linux;
using XenUsbDm.Native.Xen;

namespace XenUsbDm.Run;

/// <summary>A host with everything that was opened for it, whichever kind it is.</summary>
internal abstract class GuestHost : ITimed, IInspectable, IDisposable
{
    /// <summary>The machine; devices may be attached from the start.</summary>
    public abstract XhciMachine Machine { get; }

    /// <summary>The guest, as other processes' messages name it.</summary>
    public required string Label { get; init; }

    /// <summary>Messages about this guest; every line names it.</summary>
    public required ILogger Log { get; init; }

    /// <summary>A guest is there.</summary>
    public abstract bool HasGuest { get; }

    /// <summary>The guest has gone and does not come back.</summary>
    public virtual bool IsGone => false;

    /// <summary>Turns telling Xen of written pages on or off; null when there is no Xen.</summary>
    public virtual Action<bool>? DirtyLog => null;

    /// <summary>Whether another domain of this Xen exists; null when there is no Xen.</summary>
    public virtual Func<int, bool>? DomainIsThere => null;

    /// <inheritdoc/>
    public abstract VirtualTime NextDeadline { get; }

    /// <summary>Opens what the options name; null with a line for the operator.</summary>
    public static GuestHost? Open(RunOptions options, IEventLoop loop, ILoggerFactory logs, out string error) =>
        options.DomainId is { } domain ? OpenXen(options, domain, loop, logs, out error) : OpenVfioUser(options, loop, logs, out error);

    /// <summary>Makes the machine visible to the guest. False with a line for the operator.</summary>
    public virtual bool TryStart(out string error)
    {
        error = "";
        return true;
    }

    /// <inheritdoc/>
    public abstract void Advance(VirtualTime now);

    /// <inheritdoc/>
    public abstract void Inspect(InspectWriter writer);

    /// <inheritdoc/>
    public abstract void Dispose();

    private static VfioUser? OpenVfioUser(RunOptions options, IEventLoop loop, ILoggerFactory logs, out string error)
    {
        UnixListener? listener = UnixListener.Open(options.VfioUserSocket!, out error);
        if (listener is null) return null;
        ILogger log = logs.CreateLogger($"guest {options.VfioUserSocket}");
        return new VfioUser(new VfioUserHost(loop, new VfioSystem(), listener, new VfioUserOptions { Xhci = Controller(options), Logger = log }))
        {
            Label = $"vfio-user {options.VfioUserSocket}",
            Log = log,
        };
    }

    private static Xen? OpenXen(RunOptions options, int domainId, IEventLoop loop, ILoggerFactory logs, out string error)
    {
        XenDomain? domain = XenDomain.Open(domainId, out error);
        if (domain is null) return null;
        int slot = options.Controllers[0].Slot ?? XenLimits.DefaultSlot;
        RecordFile? records = RecordFile.Open(options.StateFolder, domainId, slot, out error);
        if (records is null)
        {
            domain.Dispose();
            return null;
        }

        string label = XenHost.LabelOf(domain);
        ILogger log = logs.CreateLogger($"guest {label} slot 0x{slot:x2}");
        var host = new XenHost(loop, domain, new XenHostOptions { Xhci = Controller(options), Slot = slot, Records = records, Logger = log })
        {
            Gone = loop.Stop,
        };
        return new Xen(host, domain, records) { Label = label, Log = log };
    }

    private static XhciOptions Controller(RunOptions options) => new(options.Controllers[0].Usb2Ports, options.Controllers[0].Usb3Ports);

    private sealed class VfioUser(VfioUserHost host) : GuestHost
    {
        public override XhciMachine Machine => host.Machine;

        public override bool HasGuest => host.HasClient;

        public override VirtualTime NextDeadline => host.NextDeadline;

        public override void Advance(VirtualTime now) => host.Advance(now);

        public override void Inspect(InspectWriter writer) => host.Inspect(writer);

        public override void Dispose() => host.Dispose();
    }

    private sealed class Xen(XenHost host, XenDomain domain, RecordFile records) : GuestHost
    {
        public override XhciMachine Machine => host.Machine;

        public override bool HasGuest => !host.IsGone;

        public override bool IsGone => host.IsGone;

        public override Func<int, bool>? DomainIsThere => domain.IsThere;

        public override Action<bool>? DirtyLog => enable => host.Memory.TracksDirtyPages = enable;

        public override VirtualTime NextDeadline => host.NextDeadline;

        public override bool TryStart(out string error)
        {
            if (host.TryStart(out error)) return true;
            error = $"domain {domain.Id}: {error}";
            return false;
        }

        public override void Advance(VirtualTime now) => host.Advance(now);

        public override void Inspect(InspectWriter writer) => host.Inspect(writer);

        public override void Dispose()
        {
            host.Dispose();
            records.Dispose();
            domain.Dispose();
        }
    }
}
