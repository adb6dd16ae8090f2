using Xunit;

namespace XenUsbDm.UnitTests;

/// <summary>
/// Tests that run with nothing beside them: those that count the process's descriptors, and those that start processes. Between
/// fork and exec a child holds the locks of every file that is open here; a test that opens such a file then is refused.
/// </summary>
[CollectionDefinition(nameof(RunsAlone), DisableParallelization = true)]
public sealed class RunsAlone;
