using XenUsbDm.CommandLine;
using XenUsbDm.Core.Usb;
using Xunit;

namespace XenUsbDm.UnitTests.CommandLine;

public sealed class DeviceSpecTests
{
    [Theory]
    [InlineData("disk:stick.img", "stick.img", false, UsbSpeed.Super)]
    [InlineData("disk:/a b/c.img,ro", "/a b/c.img", true, UsbSpeed.Super)]
    [InlineData("disk:x,speed=full", "x", false, UsbSpeed.Full)]
    [InlineData("disk:x,speed=high,ro", "x", true, UsbSpeed.High)]
    [InlineData("disk:x,ro,speed=super", "x", true, UsbSpeed.Super)]
    [InlineData("disk:a,,b.img,ro", "a,b.img", true, UsbSpeed.Super)]
    [InlineData("disk:host:1", "host:1", false, UsbSpeed.Super)]
    [InlineData("disk:a=b", "a=b", false, UsbSpeed.Super)]
    public void Disk_is_parsed(string text, string path, bool readOnly, UsbSpeed speed)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new DiskSpec(path, readOnly, speed), spec);
    }

    [Theory]
    [InlineData("disk:x,uas", UsbSpeed.Super)]
    [InlineData("disk:x,uas,speed=high", UsbSpeed.High)]
    public void Disk_with_uas_is_parsed(string text, UsbSpeed speed)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new DiskSpec("x", false, speed, Uas: true), spec);
    }

    [Fact]
    public void Disk_with_uas_at_full_speed_is_refused()
    {
        Assert.False(DeviceSpec.TryParse("disk:x,speed=full,uas", out _, out string error));
        Assert.Equal("device 'disk:x,speed=full,uas': uas needs speed=high or speed=super", error);
    }

    [Theory]
    [InlineData("zero", UsbSpeed.High)]
    [InlineData("zero,speed=low", UsbSpeed.Low)]
    [InlineData("zero,speed=full", UsbSpeed.Full)]
    [InlineData("zero,speed=super", UsbSpeed.Super)]
    public void Gadget_zero_is_parsed(string text, UsbSpeed speed)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new ZeroSpec(speed), spec);
    }

    [Theory]
    [InlineData("keyboard", UsbSpeed.Full)]
    [InlineData("keyboard,speed=low", UsbSpeed.Low)]
    [InlineData("keyboard,speed=high", UsbSpeed.High)]
    public void Keyboard_is_parsed(string text, UsbSpeed speed)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new KeyboardSpec(speed), spec);
    }

    [Theory]
    [InlineData("host:1-2", 1, "2")]
    [InlineData("host:3-2.3", 3, "2.3")]
    [InlineData("host:255-1.2.3.4.5.6", 255, "1.2.3.4.5.6")]
    public void Host_device_by_place_is_parsed(string text, int bus, string ports)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new HostPathSpec(bus, ports), spec);
    }

    [Theory]
    [InlineData("host:0951:1666", 0x0951, 0x1666, null)]
    [InlineData("host:1d6b:2", 0x1d6b, 2, null)]
    [InlineData("host:0951:1666:00:11,22-A", 0x0951, 0x1666, "00:11,22-A")]
    public void Host_device_by_identity_is_parsed(string text, int vendor, int product, string? serial)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error), error);
        Assert.Equal(new HostIdSpec((ushort)vendor, (ushort)product, serial), spec);
    }

    [Theory]
    [InlineData("", "must be disk:PATH")]
    [InlineData("mouse", "must be disk:PATH")]
    [InlineData("disk", "must be disk:PATH")]
    [InlineData("disk:", "name the image file")]
    [InlineData("disk:,ro", "name the image file")]
    [InlineData("disk:x,rw", "unknown 'rw'")]
    [InlineData("disk:x,speed=low", "speed must be full, high or super")]
    [InlineData("disk:x,speed", "speed must be full, high or super")]
    [InlineData("zero,speed=warp", "speed must be low, full, high or super")]
    [InlineData("zero,ro", "unknown 'ro'")]
    [InlineData("keyboard,", "unknown ''")]
    [InlineData("host:", "must be host:BUS-PORT")]
    [InlineData("host:1", "must be host:BUS-PORT")]
    [InlineData("host:0-1", "must be host:BUS-PORT")]
    [InlineData("host:1-", "must be host:BUS-PORT")]
    [InlineData("host:1-0", "must be host:BUS-PORT")]
    [InlineData("host:1-2..3", "must be host:BUS-PORT")]
    [InlineData("host:1-1.2.3.4.5.6.7", "must be host:BUS-PORT")]
    [InlineData("host:951:", "must be host:BUS-PORT")]
    [InlineData("host::1666", "must be host:BUS-PORT")]
    [InlineData("host:12345:1666", "must be host:BUS-PORT")]
    [InlineData("host:0951:+1", "must be host:BUS-PORT")]
    [InlineData("host:0951:1666:", "must be host:BUS-PORT")]
    public void Device_outside_the_contract_is_refused_with_what_to_write(string text, string expected)
    {
        bool ok = DeviceSpec.TryParse(text, out DeviceSpec? spec, out string error);

        Assert.False(ok);
        Assert.Null(spec);
        Assert.Contains(expected, error);
        Assert.DoesNotContain('\n', error);
    }
}
