using System.Linq;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Usb;
using Xunit;

namespace XenUsbDm.UnitTests.CommandLine;

public sealed class RunOptionsTests
{
    private static RunWords Words => new("7", null, [], [], null, null, null, null);

    [Fact]
    public void Domain_alone_gives_one_default_xhci()
    {
        Assert.True(RunOptions.TryCreate(Words, out RunOptions? options, out string error), error);

        Assert.Equal(7, options!.DomainId);
        Assert.Null(options.VfioUserSocket);
        Assert.Equal([ControllerSpec.Default], options.Controllers);
        Assert.Empty(options.Attach);
        Assert.Null(options.Debugger);
    }

    [Fact]
    public void Every_option_reaches_its_place()
    {
        var words = new RunWords(
            null, "usb.sock", ["xhci", "ehci,usb2-ports=2"], ["1=disk:a.img,ro", "2.2=keyboard", "1.4=zero"], "c.sock", "r.rec", "p.pcapng", "[::1]:1234");

        Assert.True(RunOptions.TryCreate(words, out RunOptions? options, out string error), error);

        Assert.Null(options!.DomainId);
        Assert.Equal("usb.sock", options.VfioUserSocket);
        Assert.Equal(2, options.Controllers.Count);
        Assert.Equal(
            [
                new AttachSpec(1, 1, new DiskSpec("a.img", true, UsbSpeed.Super)),
                new AttachSpec(2, 2, new KeyboardSpec(UsbSpeed.Full)),
                new AttachSpec(1, 4, new ZeroSpec(UsbSpeed.High)),
            ],
            options.Attach);
        Assert.Equal("c.sock", options.ControlSocket);
        Assert.Equal("r.rec", options.RecordFile);
        Assert.Equal("p.pcapng", options.PcapFile);
        Assert.Equal(new DebuggerAddress("::1", 1234), options.Debugger);
    }

    [Theory]
    [InlineData("1234", "localhost", 1234)]
    [InlineData(":1234", "localhost", 1234)]
    [InlineData("127.0.0.1:65535", "127.0.0.1", 65535)]
    public void Debugger_address_is_parsed(string text, string host, int port)
    {
        Assert.True(RunOptions.TryCreate(Words with { Gdb = text }, out RunOptions? options, out string error), error);
        Assert.Equal(new DebuggerAddress(host, port), options!.Debugger);
    }

    [Fact]
    public void Two_ways_to_a_guest_are_refused() => Refused(Words with { VfioUser = "s" }, "either --xen DOMID or --vfio-user SOCKET");

    [Fact]
    public void No_way_to_a_guest_is_refused() => Refused(Words with { Xen = null }, "either --xen DOMID or --vfio-user SOCKET");

    [Theory]
    [InlineData("0")]
    [InlineData("32752")]
    [InlineData("-1")]
    [InlineData("win10")]
    [InlineData("")]
    public void Domain_that_cannot_be_a_guest_is_refused(string domain) => Refused(Words with { Xen = domain }, "domain id, 1 to 32751");

    [Theory]
    [InlineData("1", "must be PORT=DEVICE")]
    [InlineData("=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("0=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("32=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("1.=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData(".1=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("0.1=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("1.1.1=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("33.1=zero", "PORT must be N or CONTROLLER.N")]
    [InlineData("1=mouse", "must be disk:PATH")]
    [InlineData("5=zero", "controller 1 has ports 1 to 4")]
    [InlineData("2.1=zero", "there are 1 controllers")]
    public void Attachment_that_has_no_place_is_refused(string attach, string expected) => Refused(Words with { Attach = [attach] }, expected);

    [Fact]
    public void Connector_used_twice_is_refused() => Refused(Words with { Attach = ["1=zero", "1.1=keyboard"] }, "port 1.1 is taken already");

    [Fact]
    public void Slot_used_twice_is_refused() =>
        Refused(Words with { Controllers = ["xhci,slot=3", "ehci,slot=0x3"] }, "another controller has slot 3 already");

    [Fact]
    public void Malformed_controller_is_refused() => Refused(Words with { Controllers = ["ohci"] }, "must be xhci or ehci");

    [Fact]
    public void More_controllers_than_a_bus_has_slots_are_refused() =>
        Refused(Words with { Controllers = [.. Enumerable.Repeat("xhci", 33)] }, "32 times at most");

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("65536")]
    [InlineData("host:")]
    [InlineData("localhost")]
    public void Debugger_address_without_a_port_is_refused(string gdb) => Refused(Words with { Gdb = gdb }, "must be [HOST:]PORT");

    [Fact]
    public void Socket_path_longer_than_the_system_takes_is_refused()
    {
        Refused(Words with { Control = new string('a', 108) }, "1 to 107 bytes, this one has 108");
        Refused(Words with { Xen = null, VfioUser = new string('ä', 54) }, "1 to 107 bytes, this one has 108");
        Assert.True(RunOptions.TryCreate(Words with { Control = new string('a', 107) }, out _, out _));
    }

    [Fact]
    public void User_and_state_folder_reach_their_place_and_go_with_xen_alone()
    {
        Assert.True(RunOptions.TryCreate(Words, out RunOptions? options, out _));
        Assert.Equal((null, "/run/xen-usb-dm"), (options!.User, options.StateFolder));
        Assert.True(RunOptions.TryCreate(Words with { User = "usb", StateFolder = "state" }, out options, out _));
        Assert.Equal(("usb", "state"), (options!.User, options.StateFolder));

        Refused(Words with { User = "" }, "--user: name a user");
        Refused(Words with { StateFolder = "" }, "--state-dir: name a file");
        Refused(Words with { Xen = null, VfioUser = "s", User = "usb" }, "go with --xen");
        Refused(Words with { Xen = null, VfioUser = "s", StateFolder = "f" }, "go with --xen");
    }

    [Fact]
    public void Empty_file_names_are_refused()
    {
        Refused(Words with { Record = "" }, "--record: name a file");
        Refused(Words with { Pcap = "" }, "--pcap: name a file");
        Refused(Words with { Control = "" }, "1 to 107 bytes, this one has 0");
    }

    private static void Refused(RunWords words, string expected)
    {
        bool ok = RunOptions.TryCreate(words, out RunOptions? options, out string error);

        Assert.False(ok);
        Assert.Null(options);
        Assert.Contains(expected, error);
        Assert.DoesNotContain('\n', error);
    }
}
