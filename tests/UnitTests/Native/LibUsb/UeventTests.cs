using System.Text;
using XenUsbDm.Native.LibUsb;
using Xunit;

namespace XenUsbDm.UnitTests.Native.LibUsb;

public sealed class UeventTests
{
    private const string Interface = "DEVPATH=/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0|SUBSYSTEM=usb|DEVTYPE=usb_interface";

    [Theory]
    [InlineData("add@/devices/usb1/1-2|ACTION=add|DEVPATH=/devices/usb1/1-2|SUBSYSTEM=usb|DEVTYPE=usb_device|SEQNUM=7|", true, "")]
    [InlineData("unbind@/x|ACTION=unbind|" + Interface + "|SEQNUM=8|", false, "1-2:1.0")]
    [InlineData("unbind@/x|ACTION=unbind|" + Interface, false, "1-2:1.0")]
    [InlineData("bind@/x|ACTION=bind|" + Interface + "|", false, "")]
    [InlineData("unbind@/devices/pci0|ACTION=unbind|DEVPATH=/devices/pci0|SUBSYSTEM=pci|", false, "")]
    [InlineData("unbind@/x|ACTION=unbind|DEVTYPE=usb_interface|DEVPATH=no-slash|", false, "no-slash")]
    [InlineData("unbind@/x|ACTION=unbind|DEVTYPE=usb_interface|", false, "")]
    [InlineData("|||", false, "")]
    [InlineData("", false, "")]
    public void Message_says_what_matters(string message, bool device, string freed) =>
        Assert.Equal(new Uevent(device, freed), Uevent.Parse(Encoding.UTF8.GetBytes(message.Replace('|', '\0'))));
}
