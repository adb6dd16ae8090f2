using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.IO;
using System.Reflection;
using XenUsbDm.ControlClient;
using XenUsbDm.Core.Usb;
using XenUsbDm.Demo;

namespace XenUsbDm.CommandLine;

/// <summary>The commands of DESIGN's command line contract, and how one invocation of them runs.</summary>
internal static class CommandTree
{
    /// <summary>Smallest image that <c>demo --size</c> makes, in MiB.</summary>
    public const int MinDemoMebibytes = 1;

    /// <summary>Largest image that <c>demo --size</c> makes, in MiB: what a temporary folder may be expected to hold.</summary>
    public const int MaxDemoMebibytes = 4096;

    /// <summary>Size of the demo's image when nothing is said, in MiB: reads for a noticeable but short time.</summary>
    public const int DefaultDemoMebibytes = 64;

    private static ReadOnlySpan<UsbSpeed> DemoSpeeds => [UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    /// <summary>What <c>--version</c> prints: the product version and, after a plus sign, the commit it was built from.</summary>
    public static string Version { get; } =
        typeof(CommandTree).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    /// <summary>Parses and runs one command line; returns the exit status and never throws for what the user wrote.</summary>
    public static int Invoke(IReadOnlyList<string> arguments, Surroundings surroundings)
    {
        RootCommand root = Build(surroundings);
        // No response files: an argument that starts with @ is a path like any other.
        ParseResult result = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        bool asksForText = result.Action is HelpAction or VersionAction;
        if (result.Errors.Count > 0 && !asksForText)
        {
            string message = result.CommandResult.Command == root
                ? (result.UnmatchedTokens.Count > 0 ? $"unknown '{result.UnmatchedTokens[0]}'; " : "") + "name a command: demo, run, list, ctl or replay"
                : result.Errors[0].Message;
            return surroundings.Fail(ExitStatus.Usage, $"{OneLine(message)} (see xen-usb-dm --help)");
        }

        return result.Invoke(new InvocationConfiguration
        {
            Output = surroundings.Output,
            Error = surroundings.Error,
            // Signals arrive as Surroundings.Stop; an exception is a defect and shall leave its stack trace.
            ProcessTerminationTimeout = null,
            EnableDefaultExceptionHandler = false,
        });
    }

    private static RootCommand Build(Surroundings surroundings)
    {
        var root = new RootCommand("Device-model process that gives one virtual machine USB.");
        foreach (Option option in root.Options)
        {
            if (option is VersionOption version) version.Action = new VersionAction();
        }

        root.Add(DemoCommand(surroundings));
        root.Add(RunCommand(surroundings));
        root.Add(ListCommand(surroundings));
        root.Add(CtlCommand.Build(surroundings));
        root.Add(ReplayCommand(surroundings));
        return root;
    }

    private static Command DemoCommand(Surroundings surroundings)
    {
        var image = new Option<string?>("--image")
        {
            HelpName = "PATH",
            Description = "Raw image of the stick. It is only read; the demo writes to a private copy.",
        };
        var size = new Option<string?>("--size")
        {
            HelpName = "MiB",
            Description = $"Size of the image that the demo makes, {MinDemoMebibytes} to {MaxDemoMebibytes}, by default {DefaultDemoMebibytes}; not with --image.",
        };
        var speed = new Option<string?>("--speed") { HelpName = "full|high|super", Description = "Speed of the stick; super unless said." };
        var device = new Option<string?>("--device")
        {
            HelpName = "host:BUS-PORT|host:VID:PID[:SERIAL]",
            Description = "Read a physical mass storage device instead of an image; nothing is written to it.",
        };
        var command = new Command("demo", "An in-process guest enumerates a stick, reads and verifies it; prints the device tree and the figures.")
        {
            image, size, speed, device,
        };
        command.SetAction(result =>
        {
            string? path = result.GetValue(image);
            string? sizeText = result.GetValue(size);
            string? speedText = result.GetValue(speed);
            int mebibytes = DefaultDemoMebibytes;
            UsbSpeed stickSpeed = UsbSpeed.Super;
            if (result.GetValue(device) is { } named)
            {
                if (path is not null || sizeText is not null || speedText is not null)
                    return surroundings.Fail(ExitStatus.Usage, "--device reads a physical device; leave out --image, --size and --speed");
                if (!DeviceSpec.TryParse(named, out DeviceSpec? spec, out string flaw)) return surroundings.Fail(ExitStatus.Usage, $"--device: {flaw}");
                if (spec is not (HostPathSpec or HostIdSpec)) return surroundings.Fail(ExitStatus.Usage, "--device: name a physical device, as in host:1-2.3");
                return DeviceDemo.Invoke(spec, surroundings);
            }

            if (path?.Length == 0) return surroundings.Fail(ExitStatus.Usage, "--image: name a file");
            if (path is not null && sizeText is not null)
                return surroundings.Fail(ExitStatus.Usage, "--size sets the size of an image that the demo makes; leave it out with --image");
            if (sizeText is not null && !SpecText.TryNumber(sizeText, MinDemoMebibytes, MaxDemoMebibytes, out mebibytes))
                return surroundings.Fail(ExitStatus.Usage, $"--size {sizeText}: must be {MinDemoMebibytes} to {MaxDemoMebibytes} (MiB)");
            if (speedText is not null && !SpecText.TrySpeed(speedText, DemoSpeeds, out stickSpeed))
                return surroundings.Fail(ExitStatus.Usage, $"--speed {speedText}: must be {SpecText.Names(DemoSpeeds)}");
            return DemoRun.Invoke(new DemoOptions(path, mebibytes, stickSpeed), surroundings);
        });
        return command;
    }

    private static Command RunCommand(Surroundings surroundings)
    {
        var xen = new Option<string?>("--xen") { HelpName = "DOMID", Description = "Serve this Xen domain." };
        var vfioUser = new Option<string?>("--vfio-user") { HelpName = "SOCKET", Description = "Listen on this socket for QEMU's or Cloud Hypervisor's vfio-user client." };
        var controllers = new Option<string[]>("--controller")
        {
            HelpName = "SPEC",
            Description = "xhci|ehci[,usb2-ports=N][,usb3-ports=N][,max-speed=full|high][,slot=0x1e]; may be repeated; one xhci unless said.",
        };
        var attach = new Option<string[]>("--attach")
        {
            HelpName = "PORT=DEVICE",
            Description = $"Plug a device in; may be repeated. PORT is N or CONTROLLER.N, counted from 1. DEVICE is {DeviceSpec.Forms}.",
        };
        var control = new Option<string?>("--control") { HelpName = "SOCKET", Description = "Listen here for control commands (QMP)." };
        var record = new Option<string?>("--record") { HelpName = "FILE", Description = "Record everything that crosses the border, for replay." };
        var pcap = new Option<string?>("--pcap") { HelpName = "FILE", Description = "Write USB traffic as pcapng." };
        var gdb = new Option<string?>("--gdb") { HelpName = "ADDRESS", Description = "Listen here ([HOST:]PORT) for a debugger." };
        var user = new Option<string?>("--user") { HelpName = "NAME", Description = "With --xen: become this user once everything is open; root unless said." };
        var stateFolder = new Option<string?>("--state-dir")
        {
            HelpName = "FOLDER",
            Description = $"With --xen: what a new process needs to go on for a killed one; {RunOptions.DefaultStateFolder} unless said.",
        };
        var command = new Command("run", "Serves one guest until it is gone or SIGTERM comes; prints 'ready' when the guest may start.")
        {
            xen, vfioUser, controllers, attach, control, record, pcap, gdb, user, stateFolder,
        };
        command.SetAction(result =>
        {
            var words = new RunWords(
                result.GetValue(xen), result.GetValue(vfioUser), result.GetValue(controllers) ?? [], result.GetValue(attach) ?? [],
                result.GetValue(control), result.GetValue(record), result.GetValue(pcap), result.GetValue(gdb),
                result.GetValue(user), result.GetValue(stateFolder));
            if (!RunOptions.TryCreate(words, out RunOptions? options, out string error)) return surroundings.Fail(ExitStatus.Usage, error);
            return Run.RunCommand.Invoke(options!, surroundings);
        });
        return command;
    }

    private static Command ListCommand(Surroundings surroundings)
    {
        var command = new Command("list", "Lists the host's USB devices that --attach PORT=host:... can take.");
        command.SetAction(_ => List.ListCommand.Invoke(surroundings));
        return command;
    }

    private static Command ReplayCommand(Surroundings surroundings)
    {
        var file = new Argument<string>("FILE") { Description = "A recording made with run --record." };
        var command = new Command("replay", "Runs a recording again, without guest, hypervisor or device.") { file };
        command.SetAction(result =>
        {
            string path = result.GetValue(file) ?? "";
            if (path.Length == 0) return surroundings.Fail(ExitStatus.Usage, "replay: name a recording");
            return surroundings.Fail(
                ExitStatus.Environment,
                File.Exists(path)
                    ? "replay: recordings are not in this build; get a build that lists record and replay in its README"
                    : $"replay: no recording '{path}'; make one with 'xen-usb-dm run --record FILE' in a build that has it");
        });
        return command;
    }

    // A message of the parser's may quote what the user wrote, line breaks included.
    private static string OneLine(string text) => text.ReplaceLineEndings(" ").Trim().TrimEnd('.');

    private sealed class VersionAction : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            parseResult.InvocationConfiguration.Output.WriteLine(Version);
            return ExitStatus.Done;
        }
    }
}
