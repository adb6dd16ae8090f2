using XenUsbDm.CommandLine;

namespace XenUsbDm.Demo;

/// <summary>The <c>demo</c> command.</summary>
internal static class DemoRun
{
    /// <summary>Runs it; returns the exit status.</summary>
    public static int Invoke(DemoOptions options, Surroundings surroundings) =>
        surroundings.Fail(ExitStatus.Environment, $"demo: not yet {options}");
}
