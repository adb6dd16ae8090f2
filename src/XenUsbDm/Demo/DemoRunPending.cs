using XenUsbDm.CommandLine;

namespace XenUsbDm.Demo;

/// <summary>Stands in until the controller is there.</summary>
internal static class DemoRun
{
    /// <summary>Says so.</summary>
    public static int Invoke(DemoOptions options, Surroundings surroundings) =>
        surroundings.Fail(ExitStatus.Environment, $"demo: no controller in this build for {options}");
}
