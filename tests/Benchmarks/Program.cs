using System;
using XenUsbDm.Benchmarks;

// Rows.cs says what is measured, Harness.cs how, RoadRig.cs is the machine it runs on. A row is validated before it is
// measured; times are of the model alone unless the row says otherwise.
switch (args)
{
    case ["road"]:
        return RoadReport.Print();
    case ["check"]:
        return BudgetCheck.Run(BudgetCheck.Find());
    case ["check" or "--check", string path]:
        return BudgetCheck.Run(path);
    default:
        Console.Error.WriteLine("usage: Benchmarks road | check [tests/Benchmarks/budgets.json]");
        return 2;
}
