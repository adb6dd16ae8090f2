using XenUsbDm.Core.Usb;
using XenUsbDm.Demo;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

public sealed class DeviceTreeTests
{
    [Fact]
    public void Tree_looks_like_lsusb()
    {
        string text = DeviceTree.Render(
            [
                new TreeBus(4, UsbSpeed.High, [new TreeDevice(2, 3, UsbSpeed.Full, [new TreeInterface(0, 3)], "keyboard"), new TreeDevice(3, 4, UsbSpeed.High, [new TreeInterface(0, 0xff), new TreeInterface(1, 0x77)], "[none]")]),
                new TreeBus(2, UsbSpeed.Super, [new TreeDevice(1, 2, UsbSpeed.Super, [new TreeInterface(0, 8)], "mass-storage")]),
            ]);

        Assert.Equal(
            """
            /:  Bus 001.Port 001: Dev 001, Class=root_hub, Driver=xhci/4p, 480M
                |__ Port 002: Dev 003, If 0, Class=Human Interface Device, Driver=keyboard, 12M
                |__ Port 003: Dev 004, If 0, Class=Vendor Specific Class, Driver=[none], 480M
                |__ Port 003: Dev 004, If 1, Class=0x77, Driver=[none], 480M
            /:  Bus 002.Port 001: Dev 001, Class=root_hub, Driver=xhci/2p, 5000M
                |__ Port 001: Dev 002, If 0, Class=Mass Storage, Driver=mass-storage, 5000M

            """,
            text);
    }

    [Fact]
    public void Interfaces_are_those_of_alternate_setting_0()
    {
        byte[] configuration =
        [
            9, 2, 34, 0, 2, 1, 0, 0x80, 50,
            9, 4, 0, 0, 1, 8, 6, 0x50, 0,
            7, 5, 0x81, 2, 0, 2, 0,
            9, 4, 0, 1, 1, 8, 6, 0x62, 0,
            9, 4, 1, 0, 0, 3, 0, 0, 0,
        ];

        Assert.Equal([new TreeInterface(0, 8), new TreeInterface(1, 3)], DeviceTree.Interfaces(configuration));
    }

    [Theory]
    [InlineData(new byte[] { })]
    [InlineData(new byte[] { 9 })]
    [InlineData(new byte[] { 0, 4, 0, 0, 0, 0, 0, 0, 0 })]
    [InlineData(new byte[] { 10, 4, 0, 0, 0, 0, 0, 0, 0 })]
    [InlineData(new byte[] { 8, 4, 0, 0, 0, 0, 0, 0 })]
    public void Malformed_descriptors_end_the_list(byte[] configuration) =>
        Assert.Empty(DeviceTree.Interfaces(configuration));

    [Theory]
    [InlineData(UsbSpeed.Low, "1.5M")]
    [InlineData(UsbSpeed.Full, "12M")]
    [InlineData(UsbSpeed.High, "480M")]
    [InlineData(UsbSpeed.Super, "5000M")]
    public void Rate_is_the_line_rate(UsbSpeed speed, string rate) => Assert.Equal(rate, DeviceTree.Rate(speed));
}
