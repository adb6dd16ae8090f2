using System;
using System.Threading;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Run;

// Run/ is the `run` command: the loop, a host with its machine, and the devices on it.

/// <summary>Serves one guest until it is told to stop.</summary>
internal static class RunCommand
{
    /// <summary>Runs; returns the exit status. Everything that was opened is closed again, however it ends.</summary>
    public static int Invoke(RunOptions options, Surroundings surroundings)
    {
        if (Missing(options) is { } missing) return surroundings.Fail(ExitStatus.Environment, $"run: {missing}");
        if (options.Controllers.Count > 1)
        {
            return surroundings.Fail(ExitStatus.Usage, options.DomainId is null
                ? "run: a vfio-user socket carries one controller; start one process for each"
                : "run: a process serves one controller of a Xen domain; start one for each, with a slot= of its own");
        }

        using ILoggerFactory logs = Logs.Open(LogLevel.Information);
        using var loop = new EpollLoop();
        using GuestHost? host = GuestHost.Open(options, loop, logs, out string error);
        if (host is null) return surroundings.Fail(ExitStatus.Environment, $"run: {error}");
        ILogger log = host.Log;
        options.Controllers[0].Restrict(host.Machine.Pipeline);
        using var hostDevices = new HostDevices(loop, host.Label, log, host.DomainIsThere);
        var source = new DeviceSource(loop, log, hostDevices);
        var control = new MachineControl([new ControlledController(host.Machine)], host, source, loop.Stop, log);
        var hub = new ControlHub(control, ControlVersion.Parse(CommandTree.Version), TimeProvider.System);
        control.Events = hub;
        control.DirtyLog = host.DirtyLog;
        ControlServer? server = null;
        bool ran = false;
        try
        {
            if (!TryAttach(options, control, loop, source, out int status, out error)) return surroundings.Fail(status, $"run: {error}");
            hostDevices.Settle();
            control.Advance(loop.Now);
            if (hostDevices.Refusal is { } refusal) return surroundings.Fail(ExitStatus.Environment, $"run: {refusal}");
            if (options.ControlSocket is not null)
            {
                UnixListener? controlListener = UnixListener.Open(options.ControlSocket, out error, ownerOnly: true);
                if (controlListener is null) return surroundings.Fail(ExitStatus.Environment, $"run: --control {error}");
                server = new ControlServer(loop, controlListener, hub);
            }

            if (!host.TryStart(out error)) return surroundings.Fail(ExitStatus.Environment, $"run: {error}");
            if (options.User is not null && !Privileges.TryBecome(options.User, out error))
                return surroundings.Fail(ExitStatus.Environment, $"run: --user {options.User}: {error}");

            // Everything else that lives in the loop (debugger) is watched from here on.
            using CancellationTokenRegistration stopping = surroundings.Stop.Register(loop.Stop);
            surroundings.Output.WriteLine("ready");
            surroundings.Output.Flush();
            ran = true;
            loop.Run(new Model(host, control, server));
            if (control.Status == MachineStatus.Shutdown) return ExitStatus.Done;
            if (!host.IsGone) RunLog.Stopping(log);
            hub.Shutdown(host.IsGone ? "guest-shutdown" : "host-signal");
            return ExitStatus.Done;
        }
        finally
        {
            // The operators are told first. Then devices: no more work for the files, and every byte that the guest was told
            // to be written is made durable.
            server?.Dispose();
            host.Dispose();
            bool well = true;
            foreach (IOpenedDevice device in control.DetachAll(loop.Now))
            {
                if (device is not OpenedDevice opened) continue;
                opened.CloseAndWait();
                well &= opened.ClosedWell;
            }

            // A guest that was never let go has written nothing.
            if (well && ran) RunLog.Stopped(log);
        }
    }

    private static bool TryAttach(RunOptions options, MachineControl control, EpollLoop loop, DeviceSource source, out int status, out string error)
    {
        error = "";
        status = ExitStatus.Done;
        foreach (AttachSpec attach in options.Attach)
        {
            status = ExitStatus.Environment;
            var place = new PortPlace(attach.Controller, attach.Port);
            ControlResult result;
            if (source.OpenRule(attach.Device, out error) is { } rule) result = control.Bind(loop.Now, place, rule);
            else if (error.Length == 0 && source.Open(attach.Device, out error) is { } device) result = control.Attach(loop.Now, place, device);
            else return false;
            status = ExitStatus.Usage;
            error = result.Message;
            if (result.Outcome != ControlOutcome.Done) return false;
        }

        return true;
    }

    /// <summary>What the options ask for and this build has not; null when it has everything.</summary>
    private static string? Missing(RunOptions options)
    {
        if (options.Controllers[0].Kind != ControllerKind.Xhci) return "EHCI is not in this build; use --controller xhci";
        if (options.RecordFile is not null) return "--record is not in this build; leave it out";
        if (options.PcapFile is not null) return "--pcap is not in this build; leave it out";
        return options.Debugger is not null ? "--gdb is not in this build; leave it out" : null;
    }

    // The loop's one model: the guest's machine, then the operators, who see in the same turn what the machine did.
    private sealed class Model(GuestHost host, MachineControl control, ControlServer? server) : ITimed
    {
        public VirtualTime NextDeadline
        {
            get
            {
                VirtualTime next = VirtualTime.Min(host.NextDeadline, control.NextDeadline);
                return server is null ? next : VirtualTime.Min(next, server.NextDeadline);
            }
        }

        public void Advance(VirtualTime now)
        {
            host.Advance(now);
            if (control.Status != MachineStatus.Shutdown) control.Status = host.HasGuest ? MachineStatus.Running : MachineStatus.Prelaunch;
            control.Advance(now);
            server?.Advance(now);
        }
    }
}
