using System.IO;
using System.Threading;
using XenUsbDm.Native.Linux;
using XenUsbDm.Native.Xen;
using XenUsbDm.UnitTests.CommandLine;
using Xunit;

namespace XenUsbDm.UnitTests.Native.Xen;

public sealed class XenLibrariesTests
{
    [Fact]
    public void Nothing_missing_is_no_message() => Assert.Null(XenLibraries.Describe(["/dev/null"], [("libc.so.6", "libc6")]));

    [Fact]
    public void Missing_library_names_its_package()
    {
        string? line = XenLibraries.Describe(["/dev/null"], [("libc.so.6", "libc6"), ("libnone.so.1", "libnone1"), ("libnil.so.2", "libnil2")]);

        Assert.Equal("libnone.so.1, libnil.so.2 missing; install Xen's libraries (Debian: apt install libnone1 libnil2)", line);
    }

    [Fact]
    public void Machine_without_xen_is_said_with_everything_else_that_is_missing()
    {
        string? line = XenLibraries.Describe(["/dev/none/privcmd"], [("libnone.so.1", "libnone1")]);

        Assert.StartsWith("this is not a Xen dom0: /dev/none/privcmd missing; boot the machine under Xen", line);
        Assert.Contains("Also libnone.so.1 missing", line);
    }

    [Fact]
    public void Run_on_a_machine_without_xen_says_what_is_missing_and_exits_3()
    {
        // On a dom0 it says that the domain is missing, with the same status.
        (int status, string output, string error) = CommandTreeTests.Invoke("run --xen 32751 --attach 1=zero", new CancellationToken(canceled: true));

        Assert.Equal((3, ""), (status, output));
        CommandTreeTests.AssertOneLine(Path.Exists("/dev/xen/privcmd") ? "32751" : "this is not a Xen dom0", error);
    }

    [Fact]
    public void Several_controllers_of_a_domain_are_refused_with_what_to_do()
    {
        (int status, _, string error) = CommandTreeTests.Invoke("run --xen 5 --controller xhci,slot=30 --controller xhci,slot=29");

        Assert.Equal(2, status);
        CommandTreeTests.AssertOneLine("one controller of a Xen domain", error);
    }

    [Fact]
    public void User_that_does_not_exist_is_refused_before_anything_is_given_away()
    {
        Assert.False(Privileges.TryBecome("no-such-user", out string error));
        Assert.Equal("there is no such user", error);
    }
}
