using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using XenUsbDm.CommandLine;

using var stop = new CancellationTokenSource();

// The default of each signal is to end the process at once; this process ends in good order instead.
void Ask(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}

using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask);
using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask);
using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Ask);
try
{
    return CommandTree.Invoke(args, new Surroundings(Console.Out, Console.Error, !Console.IsOutputRedirected, Path.GetTempPath(), stop.Token));
}
catch (Exception defect)
{
    // Caught, so that temporary files and sockets are removed on the way out; the trace is what a report needs.
    Console.Error.WriteLine($"xen-usb-dm: this is a defect, please report it with the following lines\n{defect}");
    return ExitStatus.Failed;
}
