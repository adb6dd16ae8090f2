using System.Collections.Generic;
using System.Net;
using System.Text;

namespace XenUsbDm.CommandLine;

/// <summary>Where a debugger connects.</summary>
/// <param name="Host">Name or address to listen on; loopback unless said.</param>
/// <param name="Port">TCP port, 1-65535.</param>
internal sealed record DebuggerAddress(string Host, int Port);

/// <summary>The words of a <c>run</c> command as they came from the command line; null where an option was not given.</summary>
/// <param name="Xen">Value of --xen.</param>
/// <param name="VfioUser">Value of --vfio-user.</param>
/// <param name="Controllers">Values of --controller.</param>
/// <param name="Attach">Values of --attach.</param>
/// <param name="Control">Value of --control.</param>
/// <param name="Record">Value of --record.</param>
/// <param name="Pcap">Value of --pcap.</param>
/// <param name="Gdb">Value of --gdb.</param>
/// <param name="User">Value of --user.</param>
/// <param name="StateFolder">Value of --state-dir.</param>
internal sealed record RunWords(
    string? Xen, string? VfioUser, IReadOnlyList<string> Controllers, IReadOnlyList<string> Attach,
    string? Control, string? Record, string? Pcap, string? Gdb, string? User = null, string? StateFolder = null);

/// <summary>A checked <c>run</c> command: one way to a guest, its controllers and what is plugged in.</summary>
/// <param name="DomainId">Xen domain, or null.</param>
/// <param name="VfioUserSocket">vfio-user socket to listen on, or null.</param>
/// <param name="Controllers">At least one.</param>
/// <param name="Attach">Each names a connector that exists, and no connector twice.</param>
/// <param name="ControlSocket">Control socket to listen on, or null.</param>
/// <param name="RecordFile">Recording to write, or null.</param>
/// <param name="PcapFile">Capture to write, or null.</param>
/// <param name="Debugger">Where a debugger connects, or null.</param>
/// <param name="User">User to become once everything is open, or null to stay.</param>
/// <param name="StateFolder">Where Xen hosts keep what a new process needs to take over.</param>
internal sealed record RunOptions(
    int? DomainId, string? VfioUserSocket, IReadOnlyList<ControllerSpec> Controllers, IReadOnlyList<AttachSpec> Attach,
    string? ControlSocket, string? RecordFile, string? PcapFile, DebuggerAddress? Debugger,
    string? User = null, string StateFolder = RunOptions.DefaultStateFolder)
{
    /// <summary>Gone after a reboot of dom0, as the domains are.</summary>
    public const string DefaultStateFolder = "/run/xen-usb-dm";

    /// <summary>Last domain id of a guest: 0x7ff0 and above are Xen's own (xen.h, DOMID_FIRST_RESERVED).</summary>
    public const int MaxDomainId = 0x7fef;

    /// <summary>Bytes that a socket's path may have (unix(7): sun_path holds 108, the last one is 0).</summary>
    public const int MaxSocketPathBytes = 107;

    /// <summary>Checks everything that can be checked without touching the system; on false <paramref name="error"/> says what to write instead.</summary>
    public static bool TryCreate(RunWords words, out RunOptions? options, out string error)
    {
        options = null;
        if ((words.Xen is null) == (words.VfioUser is null))
        {
            error = "run needs one way to its guest: either --xen DOMID or --vfio-user SOCKET";
            return false;
        }

        int? domain = null;
        if (words.Xen is not null)
        {
            if (!SpecText.TryNumber(words.Xen, 1, MaxDomainId, out int id))
            {
                error = $"--xen {words.Xen}: must be a guest's domain id, 1 to {MaxDomainId} ('xl domid NAME' prints it)";
                return false;
            }

            domain = id;
        }

        if (!TrySocket("--vfio-user", words.VfioUser, out error) || !TrySocket("--control", words.Control, out error)) return false;
        if (!TryFile("--record", words.Record, out error) || !TryFile("--pcap", words.Pcap, out error)) return false;
        if (!TryFile("--state-dir", words.StateFolder, out error) || !TryUser(words, out error)) return false;
        if (!TryControllers(words.Controllers, out List<ControllerSpec> controllers, out error)) return false;
        if (!TryAttach(words.Attach, controllers, out List<AttachSpec> attach, out error)) return false;
        DebuggerAddress? debugger = null;
        if (words.Gdb is not null && !TryDebugger(words.Gdb, out debugger, out error)) return false;
        options = new RunOptions(domain, words.VfioUser, controllers, attach, words.Control, words.Record, words.Pcap, debugger,
            words.User, words.StateFolder ?? DefaultStateFolder);
        return true;
    }

    private static bool TryControllers(IReadOnlyList<string> words, out List<ControllerSpec> controllers, out string error)
    {
        controllers = [];
        error = "";
        var slots = new HashSet<int>();
        if (words.Count > AttachSpec.MaxControllers)
        {
            error = $"--controller may be given {AttachSpec.MaxControllers} times at most (PCI device numbers of one bus)";
            return false;
        }

        foreach (string word in words)
        {
            if (!ControllerSpec.TryParse(word, out ControllerSpec spec, out error)) return false;
            if (spec.Slot is int slot && !slots.Add(slot))
            {
                error = $"--controller {word}: another controller has slot {slot} already";
                return false;
            }

            controllers.Add(spec);
        }

        if (controllers.Count == 0) controllers.Add(ControllerSpec.Default);
        return true;
    }

    private static bool TryAttach(IReadOnlyList<string> words, List<ControllerSpec> controllers, out List<AttachSpec> attach, out string error)
    {
        attach = [];
        error = "";
        var taken = new HashSet<(int Controller, int Port)>();
        foreach (string word in words)
        {
            if (!AttachSpec.TryParse(word, out AttachSpec? spec, out error)) return false;
            if (spec!.Controller > controllers.Count)
            {
                error = $"--attach {word}: there are {controllers.Count} controllers; add a --controller or name one of them";
                return false;
            }

            int connectors = controllers[spec.Controller - 1].Connectors;
            if (spec.Port > connectors)
            {
                error = $"--attach {word}: controller {spec.Controller} has ports 1 to {connectors}";
                return false;
            }

            if (!taken.Add((spec.Controller, spec.Port)))
            {
                error = $"--attach {word}: port {spec.Controller}.{spec.Port} is taken already";
                return false;
            }

            attach.Add(spec);
        }

        return true;
    }

    private static bool TrySocket(string option, string? path, out string error)
    {
        error = "";
        if (path is null) return true;
        int bytes = Encoding.UTF8.GetByteCount(path);
        if (bytes is >= 1 and <= MaxSocketPathBytes) return true;
        error = $"{option}: the path of a socket has 1 to {MaxSocketPathBytes} bytes, this one has {bytes}; use a shorter one";
        return false;
    }

    private static bool TryFile(string option, string? path, out string error)
    {
        error = path?.Length == 0 ? $"{option}: name a file" : "";
        return error.Length == 0;
    }

    private static bool TryUser(RunWords words, out string error)
    {
        error = "";
        if (words.User?.Length == 0) error = "--user: name a user of this system";
        else if (words.Xen is null && (words.User ?? words.StateFolder) is not null) error = "--user and --state-dir go with --xen";
        return error.Length == 0;
    }

    private static bool TryDebugger(string text, out DebuggerAddress? address, out string error)
    {
        address = null;
        int colon = text.LastIndexOf(':');
        string host = colon < 0 ? "" : text[..colon].Trim('[', ']');
        if (!SpecText.TryNumber(text[(colon + 1)..], 1, IPEndPoint.MaxPort, out int port))
        {
            error = $"--gdb {text}: must be [HOST:]PORT, as in localhost:1234";
            return false;
        }

        error = "";
        address = new DebuggerAddress(host.Length == 0 ? "localhost" : host, port);
        return true;
    }
}
