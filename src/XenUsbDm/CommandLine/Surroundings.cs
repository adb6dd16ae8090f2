using System.IO;
using System.Threading;

namespace XenUsbDm.CommandLine;

/// <summary>What a command may touch of the process around it; tests hand in their own.</summary>
/// <param name="Output">Standard output: results.</param>
/// <param name="Error">Standard error: one-line errors, logs, progress.</param>
/// <param name="OutputIsTerminal">Somebody watches the output as it appears.</param>
/// <param name="TemporaryFolder">Where files that nobody keeps may be made.</param>
/// <param name="Stop">Cancelled by SIGINT, SIGTERM and SIGHUP: end in good order.</param>
internal sealed record Surroundings(TextWriter Output, TextWriter Error, bool OutputIsTerminal, string TemporaryFolder, CancellationToken Stop)
{
    /// <summary>Prints the one line that a failing command leaves behind and returns its status.</summary>
    public int Fail(int status, string message)
    {
        Error.WriteLine($"xen-usb-dm: {message}");
        return status;
    }
}
