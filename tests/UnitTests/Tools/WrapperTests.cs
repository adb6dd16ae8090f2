using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading;
using XenUsbDm.UnitTests.Architecture;
using Xunit;

namespace XenUsbDm.UnitTests.Tools;

/// <summary>tools/xen-usb-dm-wrapper between xl and QEMU, with scripts in the place of QEMU, of our process and of xenstore-exists.</summary>
[Collection(nameof(RunsAlone))]
public sealed class WrapperTests : IDisposable
{
    private const string Alone = "-S -no-user-config -nodefaults -nographic -machine none,accel=xen -chardev socket,id=libxl-cmd,fd=9,server=on,wait=off -mon chardev=libxl-cmd,mode=control";
    private readonly string _folder = Directory.CreateTempSubdirectory("wrapper-tests-").FullName;

    /// <summary>Each stand-in writes its arguments, one a line; our process stays until SIGTERM, or does what a file tells it to.</summary>
    public WrapperTests()
    {
        Script("qemu", """for word in "$@"; do echo "$word"; done >qemu.args""");
        Script("dm", """
            for word in "$@"; do echo "$word"; done >>dm.args
            [ ! -e refuse ] || { echo "no such device" >&2; exit 3; }
            trap 'exit 0' TERM
            [ -e mute ] || echo ready
            while :; do sleep 0.05; done
            """);
        Script("xenstore-exists", "[ ! -e gone ]");
    }

    public void Dispose()
    {
        // Whatever a test leaves running belongs to a domain that is gone.
        foreach (string file in Directory.GetFiles(_folder, "supervisor", SearchOption.AllDirectories)) Signal("TERM", File.ReadAllText(file).Trim());
        Until(() => !Directory.Exists(Path.Combine(_folder, "run")) || Directory.GetDirectories(Path.Combine(_folder, "run")).Length == 0);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Probe_run_of_xl_goes_to_qemu_alone()
    {
        (int status, string error) = Run(Alone.Split(' '));

        Assert.Equal((0, ""), (status, error));
        Assert.Equal(Alone.Split(' '), Lines("qemu.args"));
        Assert.False(File.Exists(Path.Combine(_folder, "dm.args")));
    }

    [Fact]
    public void Domain_without_our_arguments_gets_qemu_alone()
    {
        (int status, string error) = Run("-xen-domid", "5", "-name", "a guest", "");

        Assert.Equal((0, ""), (status, error));
        Assert.Equal(["-xen-domid", "5", "-name", "a guest", ""], Lines("qemu.args"));
        Assert.False(File.Exists(Path.Combine(_folder, "dm.args")));
    }

    [Fact]
    public void Our_arguments_go_to_our_process_and_the_rest_to_qemu_unchanged()
    {
        (int status, string error) = Run(
            "-xen-domid", "5", "-xen-usb-dm", "controller=xhci,slot=0x1e", "-name", "a  guest", "-xen-usb-dm", "attach=1=disk:/srv/my stick*.img,ro", "", "-m", "512", "-xen-usb-dm", "user=nobody", "-xen-usb-dm", "state-dir=/run/a");

        Assert.Equal((0, ""), (status, error));
        Assert.Equal(["-xen-domid", "5", "-name", "a  guest", "", "-m", "512"], Lines("qemu.args"));
        Assert.Equal(
            ["run", "--xen", "5", "--controller", "xhci,slot=0x1e", "--attach", "1=disk:/srv/my stick*.img,ro", "--user", "nobody", "--state-dir", "/run/a", "--control", Path.Combine(_folder, "run", "5", "control")],
            Lines("dm.args"));
    }

    [Theory]
    [InlineData("usbver=2, numports=8, port_1=1-1", "--controller xhci,usb2-ports=8,usb3-ports=0 --attach 1.1=host:1-1")]
    [InlineData("usbver=1,numports=2", "--controller xhci,usb2-ports=2,usb3-ports=0,max-speed=full")]
    [InlineData("usbver=3,numports=15,port_15=2-1.4.2,port_2=0951:1666", "--controller xhci,usb2-ports=15,usb3-ports=15 --attach 1.15=host:2-1.4.2 --attach 1.2=host:0951:1666")]
    [InlineData("", "--controller xhci,usb2-ports=8,usb3-ports=0")]
    public void Form_of_2009_becomes_a_controller_and_its_devices(string vusb, string expected)
    {
        (int status, string error) = Run("-xen-domid", "5", "-vusb", vusb, "-xen-usb-dm", "control=/x");

        Assert.Equal((0, ""), (status, error));
        Assert.Equal($"run --xen 5 {expected} --control /x", string.Join(' ', Lines("dm.args")));
        Assert.Equal(["-xen-domid", "5"], Lines("qemu.args"));
    }

    [Fact]
    public void Controllers_are_numbered_in_the_order_of_both_forms()
    {
        Assert.Equal((0, ""), Run("-xen-domid", "5", "-xen-usb-dm", "controller=xhci", "-vusb", "port_1=1-1", "-vusb", "port_2=1-2", "-xen-usb-dm", "control=/x"));

        Assert.Equal(["2.1=host:1-1", "3.2=host:1-2"], Lines("dm.args").Where(word => word.Contains("=host:", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("-vusb", "usbver=4", "write 1, 2 or 3")]
    [InlineData("-vusb", "numports=16", "write 1 to 15")]
    [InlineData("-vusb", "numports=0", "write 1 to 15")]
    [InlineData("-vusb", "numports=99999999999999999999", "write 1 to 15")]
    [InlineData("-vusb", "numports=2,port_3=1-1", "the controller has 2 ports")]
    [InlineData("-vusb", "port_1=", "write the place of the device")]
    [InlineData("-vusb", "speed=1", "unknown 'speed=1'")]
    [InlineData("-xen-usb-dm", "attach", "write NAME=VALUE")]
    [InlineData("-xen-usb-dm", "xen=6", "write NAME=VALUE")]
    [InlineData("-xen-usb-dm", null, "-xen-usb-dm wants a value")]
    public void Argument_that_cannot_be_understood_starts_nothing_and_says_what_to_write(string word, string? value, string expected)
    {
        (int status, string error) = Run(["-xen-domid", "5", word, .. value is null ? Array.Empty<string>() : [value]]);

        Assert.Equal(2, status);
        Assert.Contains(expected, error);
        Assert.Equal(1, error.Count(letter => letter == '\n'));
        Assert.False(File.Exists(Path.Combine(_folder, "qemu.args")) || File.Exists(Path.Combine(_folder, "dm.args")));
    }

    [Theory]
    [InlineData("refuse", "no such device\nxen-usb-dm-wrapper: xen-usb-dm ended with status 3 before it was ready (its message is above); domain 5 is not started\n")]
    [InlineData("mute", "xen-usb-dm-wrapper: xen-usb-dm was not ready within 1 s; domain 5 is not started\n")]
    public void Process_that_is_not_ready_keeps_qemu_from_starting_and_nothing_stays(string fault, string expected)
    {
        File.WriteAllText(Path.Combine(_folder, fault), "");

        (int status, string error) = Run("-xen-domid", "5", "-vusb", "usbver=2");

        Assert.Equal((3, expected), (status, error));
        Assert.False(File.Exists(Path.Combine(_folder, "qemu.args")));
        Assert.False(Directory.Exists(Path.Combine(_folder, "run", "5")));
    }

    [Fact]
    public void Missing_qemu_and_missing_process_are_named()
    {
        File.Delete(Path.Combine(_folder, "dm"));
        (int status, string error) = Run("-xen-domid", "5", "-vusb", "usbver=2");
        Assert.Equal((3, true), (status, error.Contains("set XEN_USB_DM\n", StringComparison.Ordinal)));

        File.Delete(Path.Combine(_folder, "qemu"));
        (status, error) = Run(Alone.Split(' '));
        Assert.Equal((3, true), (status, error.Contains("set XEN_USB_DM_QEMU\n", StringComparison.Ordinal)));
    }

    [Fact]
    public void Process_that_dies_by_a_signal_is_started_again_with_the_same_arguments()
    {
        Assert.Equal((0, ""), Run("-xen-domid", "5", "-vusb", "usbver=2"));
        string[] first = Lines("dm.args");
        string id = Process5();

        Signal("KILL", id);

        Until(() => Lines("dm.args").Length == 2 * first.Length && Process5() != id);
        Assert.Equal([.. first, .. first], Lines("dm.args"));
        Assert.True(Running(Process5()));
    }

    [Fact]
    public void Process_that_ends_by_itself_is_not_started_again()
    {
        Assert.Equal((0, ""), Run("-xen-domid", "5", "-vusb", "usbver=2"));
        string[] first = Lines("dm.args");

        Signal("TERM", Process5());

        Until(() => !Directory.Exists(Path.Combine(_folder, "run", "5")));
        Assert.Equal(first, Lines("dm.args"));
    }

    [Fact]
    public void Process_that_dies_when_its_domain_is_gone_is_not_started_again()
    {
        Assert.Equal((0, ""), Run("-xen-domid", "5", "-vusb", "usbver=2"));
        string[] first = Lines("dm.args");
        File.WriteAllText(Path.Combine(_folder, "gone"), "");

        Signal("KILL", Process5());

        Until(() => !Directory.Exists(Path.Combine(_folder, "run", "5")));
        Assert.Equal(first, Lines("dm.args"));
    }

    [Fact]
    public void Process_that_outlives_its_domain_is_ended()
    {
        Assert.Equal((0, ""), Run("-xen-domid", "5", "-vusb", "usbver=2"));
        string id = Process5();

        File.WriteAllText(Path.Combine(_folder, "gone"), "");

        Until(() => !Directory.Exists(Path.Combine(_folder, "run", "5")));
        Assert.False(Running(id));
    }

    private string Process5() => File.ReadAllText(Path.Combine(_folder, "run", "5", "pid")).Trim();

    private static bool Running(string id) => Directory.Exists("/proc/" + id);

    /// <summary>Waits for something that comes, or the test fails.</summary>
    private static void Until(Func<bool> done)
    {
        for (int left = 600; !done(); left--)
        {
            Assert.True(left > 0, "it did not come within a minute");
            Thread.Sleep(100);
        }
    }

    private static void Signal(string name, string id)
    {
        using var kill = Process.Start("kill", ["-" + name, id]);
        kill.WaitForExit();
    }

    private string[] Lines(string file) => File.ReadAllLines(Path.Combine(_folder, file));

    private void Script(string name, string body)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n" + body.ReplaceLineEndings("\n") + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Standard error goes to a file: what the wrapper leaves behind keeps it open, as it keeps xl's log.</summary>
    private (int Status, string Error) Run(params IEnumerable<string> arguments)
    {
        string errors = Path.Combine(_folder, "errors");
        var start = new ProcessStartInfo("sh", ["-c", "exec \"$0\" \"$@\" >/dev/null 2>\"$ERRORS\"", Path.Combine(Checkout.Root, "tools/xen-usb-dm-wrapper"), .. arguments]);
        start.Environment["ERRORS"] = errors;
        start.Environment["PATH"] = _folder + ":" + Environment.GetEnvironmentVariable("PATH");
        start.Environment["XEN_USB_DM"] = Path.Combine(_folder, "dm");
        start.Environment["XEN_USB_DM_QEMU"] = Path.Combine(_folder, "qemu");
        start.Environment["XEN_USB_DM_RUN"] = Path.Combine(_folder, "run");
        start.Environment["XEN_USB_DM_WAIT"] = File.Exists(Path.Combine(_folder, "mute")) ? "1" : "30";
        using var wrapper = Process.Start(start)!;
        wrapper.WaitForExit();
        return (wrapper.ExitCode, File.ReadAllText(errors));
    }
}
