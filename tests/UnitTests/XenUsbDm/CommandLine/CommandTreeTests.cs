using System.IO;
using System.Threading;
using XenUsbDm.CommandLine;
using Xunit;

namespace XenUsbDm.UnitTests.CommandLine;

public sealed class CommandTreeTests
{
    [Theory]
    [InlineData("", "name a command: demo, run, list, ctl or replay")]
    [InlineData("bogus", "unknown 'bogus'; name a command")]
    [InlineData("--bogus", "unknown '--bogus'; name a command")]
    [InlineData("run", "either --xen DOMID or --vfio-user SOCKET")]
    [InlineData("run --xen", "--xen")]
    [InlineData("run --xen 1 --xen 2", "--xen")]
    [InlineData("run --xen 1 --bogus", "'--bogus'")]
    [InlineData("run --xen dom", "domain id")]
    [InlineData("run --vfio-user usb.sock --controller xhci --controller xhci", "one controller")]
    [InlineData("run --xen 1 --attach 1=mouse", "must be disk:PATH")]
    [InlineData("run --xen 1 --controller uhci", "must be xhci or ehci")]
    [InlineData("replay", "replay")]
    [InlineData("replay a b", "'b'")]
    [InlineData("demo extra", "'extra'")]
    [InlineData("demo --size 0", "must be 1 to 4096")]
    [InlineData("demo --size 4097", "must be 1 to 4096")]
    [InlineData("demo --size big", "must be 1 to 4096")]
    [InlineData("demo --size 4 --image x", "leave it out with --image")]
    [InlineData("demo --speed low", "must be full, high or super")]
    public void Wrong_usage_is_one_line_on_standard_error_and_status_2(string line, string expected)
    {
        (int status, string output, string error) = Invoke(line);

        Assert.Equal(2, status);
        Assert.Equal("", output);
        AssertOneLine(expected, error);
    }

    [Theory]
    [InlineData("run --xen 5", "Xen")]
    [InlineData("run --vfio-user usb.sock --controller ehci --attach 1=disk:x --attach 2=keyboard", "EHCI")]
    [InlineData("run --vfio-user usb.sock --record r", "--record")]
    [InlineData("run --vfio-user usb.sock --pcap p", "--pcap")]
    [InlineData("run --vfio-user usb.sock --gdb 1234", "--gdb")]
    [InlineData("run --vfio-user no-such-folder/usb.sock", "no-such-folder/usb.sock")]
    [InlineData("run --xen 5 --control c --record r --pcap p --gdb 1234", "not in this build")]
    [InlineData("replay no-such-recording", "no recording 'no-such-recording'")]
    [InlineData("replay @no-such-recording", "no recording '@no-such-recording'")]
    public void What_this_build_lacks_is_one_line_and_status_3(string line, string expected)
    {
        (int status, string output, string error) = Invoke(line);

        Assert.Equal(3, status);
        Assert.Equal("", output);
        AssertOneLine(expected, error);
    }

    [Fact]
    public void Replay_of_a_file_that_exists_says_what_is_missing()
    {
        string file = Path.GetTempFileName();
        try
        {
            (int status, _, string error) = Invoke($"replay {file}");

            Assert.Equal(3, status);
            AssertOneLine("not in this build", error);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Version_prints_the_version_alone()
    {
        (int status, string output, string error) = Invoke("--version");

        Assert.Equal(0, status);
        Assert.Equal("", error);
        Assert.Matches(@"^\d+\.\d+\.\d+\S*\n$", output);
    }

    [Theory]
    [InlineData("--help", "demo")]
    [InlineData("run --help", "--vfio-user")]
    [InlineData("run --help", "host:VID:PID[:SERIAL]")]
    [InlineData("demo --help", "--image")]
    [InlineData("replay -h", "FILE")]
    public void Help_goes_to_standard_output(string line, string expected)
    {
        (int status, string output, string error) = Invoke(line);

        Assert.Equal(0, status);
        Assert.Equal("", error);
        Assert.Contains(expected, output);
    }

    internal static (int Status, string Output, string Error) Invoke(string line, CancellationToken stop = default)
    {
        using var output = new StringWriter { NewLine = "\n" };
        using var error = new StringWriter { NewLine = "\n" };
        string[] arguments = line.Split(' ', System.StringSplitOptions.RemoveEmptyEntries);
        int status = CommandTree.Invoke(arguments, new Surroundings(output, error, false, Path.GetTempPath(), stop));
        return (status, output.ToString(), error.ToString());
    }

    internal static void AssertOneLine(string expected, string error)
    {
        Assert.StartsWith("xen-usb-dm: ", error);
        Assert.Contains(expected, error);
        Assert.Equal(error.Length - 1, error.IndexOf('\n', System.StringComparison.Ordinal));
    }
}
