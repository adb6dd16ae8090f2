using System.Collections.Generic;
using System.Threading;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using XenUsbDm.Pipeline;

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
            return surroundings.Fail(ExitStatus.Usage, "run: a vfio-user socket carries one controller; start one process for each");
        using ILoggerFactory logs = Logs.Open(LogLevel.Information);
        using var loop = new EpollLoop();
        UnixListener? listener = UnixListener.Open(options.VfioUserSocket!, out string error);
        if (listener is null) return surroundings.Fail(ExitStatus.Environment, $"run: {error}");
        ControllerSpec controller = options.Controllers[0];
        using var host = new VfioUserHost(loop, new VfioSystem(), listener, new VfioUserOptions
        {
            Xhci = new XhciOptions(controller.Usb2Ports, controller.Usb3Ports),
            Logger = logs.CreateLogger("run"),
        });
        var source = new DeviceSource(loop);
        var devices = new List<OpenedDevice>();
        try
        {
            foreach (AttachSpec attach in options.Attach)
            {
                OpenedDevice? device = source.Open(attach.Device, out error);
                if (device is null) return surroundings.Fail(ExitStatus.Environment, $"run: {error}");
                devices.Add(device);
                if (device.Completions is not null) host.Machine.AddCompletions(device.Completions);
                AttachResult result = host.Machine.Attach(new PortNumber(attach.Port), device.Device);
                if (result != AttachResult.Attached)
                    return surroundings.Fail(ExitStatus.Usage, $"run: port {attach.Port} does not take {device.Device.Description} ({result})");
            }

            // Everything else that lives in the loop (control socket, debugger) is watched from here on.
            using CancellationTokenRegistration stopping = surroundings.Stop.Register(loop.Stop);
            surroundings.Output.WriteLine("ready");
            surroundings.Output.Flush();
            loop.Run(host);
            return ExitStatus.Done;
        }
        finally
        {
            // Devices first: no more work for the files, then every byte that the guest was told to be written is made durable.
            host.Dispose();
            foreach (AttachSpec attach in options.Attach) host.Machine.Detach(new PortNumber(attach.Port));
            foreach (OpenedDevice device in devices) device.CloseAndWait();
        }
    }

    /// <summary>What the options ask for and this build has not; null when it has everything.</summary>
    private static string? Missing(RunOptions options)
    {
        if (options.DomainId is not null) return "attaching to Xen domains is not in this build; get one that lists the Xen host in its README, or use --vfio-user";
        if (options.Controllers[0].Kind != ControllerKind.Xhci) return "EHCI is not in this build; use --controller xhci";
        if (options.ControlSocket is not null) return "--control is not in this build; leave it out";
        if (options.RecordFile is not null) return "--record is not in this build; leave it out";
        if (options.PcapFile is not null) return "--pcap is not in this build; leave it out";
        return options.Debugger is not null ? "--gdb is not in this build; leave it out" : null;
    }
}
