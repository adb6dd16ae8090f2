using System.Diagnostics;
using System.IO;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Native.Linux;

public sealed class OpenFilesTests
{
    [Fact]
    public void Process_that_has_a_file_open_is_named_and_this_one_is_not()
    {
        string path = Path.GetTempFileName();
        try
        {
            using FileStream own = File.Open(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            Assert.Null(OpenFiles.HolderOf(path));

            using Process other = Process.Start(new ProcessStartInfo("sh", ["-c", $"exec 9<{path}; echo; exec sleep 600"]) { RedirectStandardOutput = true })!;
            other.StandardOutput.ReadLine();
            string? holder = OpenFiles.HolderOf(path);
            other.Kill();
            other.WaitForExit();

            // Its name is sh until sleep has begun.
            Assert.Contains(holder, new[] { $"pid {other.Id} (sleep)", $"pid {other.Id} (sh)" });
            Assert.Null(OpenFiles.HolderOf(path));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
