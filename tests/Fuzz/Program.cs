using System;
using XenUsbDm.Fuzz;

// Guest actions, not bytes: Xhci/ holds the driver (FuzzGuest), the host with its oracles (FuzzMachine), the vocabulary
// (FuzzAction, FuzzRun) and the scenarios that the corpus starts from (Seeds); Parsers/ the small targets; Engine/ what
// makes inputs. Any engine can call IFuzzTarget.Fuzz.
return FuzzCommand.TryParse(args, out FuzzCommand? command, out string error)
    ? command.Run()
    : Usage(error);

static int Usage(string error)
{
    if (error.Length > 0) Console.Error.WriteLine($"fuzz: {error}");
    Console.Error.WriteLine(FuzzCommand.UsageText);
    return error.Length > 0 ? 2 : 0;
}
