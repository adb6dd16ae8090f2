namespace XenUsbDm.CommandLine;

/// <summary>Exit statuses of the process (DESIGN, command line: other tools read them).</summary>
internal static class ExitStatus
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>Failed while running.</summary>
    public const int Failed = 1;

    /// <summary>Wrong usage.</summary>
    public const int Usage = 2;

    /// <summary>The environment lacks something; the message names what and how to get it.</summary>
    public const int Environment = 3;
}
