using XenUsbDm.CommandLine;
using XenUsbDm.Pipeline;
using Xunit;

namespace XenUsbDm.UnitTests.CommandLine;

public sealed class ControllerSpecTests
{
    [Theory]
    [InlineData("xhci", (int)ControllerKind.Xhci, 4, 4, -1)]
    [InlineData("ehci", (int)ControllerKind.Ehci, 4, 0, -1)]
    [InlineData("xhci,usb2-ports=1", (int)ControllerKind.Xhci, 1, 4, -1)]
    [InlineData("xhci,usb2-ports=15,usb3-ports=15", (int)ControllerKind.Xhci, 15, 15, -1)]
    [InlineData("xhci,usb3-ports=0", (int)ControllerKind.Xhci, 4, 0, -1)]
    [InlineData("xhci,slot=0x1e", (int)ControllerKind.Xhci, 4, 4, 0x1e)]
    [InlineData("xhci,slot=0x1F", (int)ControllerKind.Xhci, 4, 4, 31)]
    [InlineData("ehci,slot=30,usb2-ports=6", (int)ControllerKind.Ehci, 6, 0, 30)]
    [InlineData("xhci,slot=0", (int)ControllerKind.Xhci, 4, 4, 0)]
    public void Controller_that_the_contract_allows_is_parsed(string text, int kind, int usb2, int usb3, int slot)
    {
        bool ok = ControllerSpec.TryParse(text, out ControllerSpec spec, out string error);

        Assert.True(ok, error);
        Assert.Equal("", error);
        Assert.Equal(new ControllerSpec((ControllerKind)kind, usb2, usb3, slot < 0 ? null : slot), spec);
    }

    [Theory]
    [InlineData("", "must be xhci or ehci")]
    [InlineData("uhci", "must be xhci or ehci")]
    [InlineData("XHCI", "must be xhci or ehci")]
    [InlineData("xhci,usb2-ports=0", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports=16", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports=", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports=-1", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports= 4", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb2-ports=99999999999", "usb2-ports must be 1 to 15")]
    [InlineData("xhci,usb3-ports=16", "usb3-ports must be 0 to 15")]
    [InlineData("xhci,usb3-ports=x", "usb3-ports must be 0 to 15")]
    [InlineData("ehci,usb3-ports=1", "no USB 3 ports")]
    [InlineData("xhci,slot=32", "slot must be a PCI device number")]
    [InlineData("xhci,slot=0x20", "slot must be a PCI device number")]
    [InlineData("xhci,slot=0x", "slot must be a PCI device number")]
    [InlineData("xhci,slot=0xffffffff", "slot must be a PCI device number")]
    [InlineData("xhci,max-speed=low", "max-speed must be full, high or super")]
    [InlineData("xhci,max-speed", "max-speed must be full, high or super")]
    [InlineData("xhci,max-speed=full,usb3-ports=1", "usb3-ports=0")]
    [InlineData("xhci,usb3-ports=1,max-speed=high", "usb3-ports=0")]
    [InlineData("xhci,ports=4", "unknown 'ports=4'")]
    [InlineData("xhci,", "unknown ''")]
    public void Controller_outside_the_contract_is_refused_with_what_to_write(string text, string expected)
    {
        bool ok = ControllerSpec.TryParse(text, out _, out string error);

        Assert.False(ok);
        Assert.Contains(expected, error);
        Assert.DoesNotContain('\n', error);
    }

    [Theory]
    [InlineData("xhci,usb2-ports=2,usb3-ports=6", 6)]
    [InlineData("xhci,usb2-ports=6,usb3-ports=2", 6)]
    [InlineData("ehci,usb2-ports=3", 3)]
    public void Connectors_are_as_many_as_the_larger_bus_has(string text, int expected)
    {
        Assert.True(ControllerSpec.TryParse(text, out ControllerSpec spec, out _));
        Assert.Equal(expected, spec.Connectors);
    }

    [Theory]
    [InlineData("xhci", 4, (int)AllowedSpeeds.Any)]
    [InlineData("xhci,max-speed=super,usb3-ports=2", 2, (int)AllowedSpeeds.Any)]
    [InlineData("xhci,max-speed=high", 0, (int)(AllowedSpeeds.Low | AllowedSpeeds.Full | AllowedSpeeds.High))]
    [InlineData("xhci,max-speed=full", 0, (int)(AllowedSpeeds.Low | AllowedSpeeds.Full))]
    [InlineData("xhci,usb3-ports=0,max-speed=full", 0, (int)(AllowedSpeeds.Low | AllowedSpeeds.Full))]
    [InlineData("ehci,max-speed=full", 0, (int)(AllowedSpeeds.Low | AllowedSpeeds.Full))]
    public void Max_speed_decides_on_usb3_ports_and_on_what_a_port_takes(string text, int usb3, int speeds)
    {
        Assert.True(ControllerSpec.TryParse(text, out ControllerSpec spec, out string error), error);
        Assert.Equal(usb3, spec.Usb3Ports);
        Assert.Equal((AllowedSpeeds)speeds, spec.PortRule.Speeds);
    }
}
