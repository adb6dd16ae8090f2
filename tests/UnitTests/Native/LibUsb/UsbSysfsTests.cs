using System.IO;
using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Native.LibUsb;
using Xunit;

namespace XenUsbDm.UnitTests.Native.LibUsb;

public sealed class UsbSysfsTests : System.IDisposable
{
    private readonly SysfsTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Fact]
    public void Devices_come_in_the_order_of_their_places_without_root_hubs_and_interfaces()
    {
        _tree.Device("1-10", 5).Device("1-2", 4).Device("1-2.3", 6).Device("10-1", 2);
        Directory.CreateDirectory(Path.Combine(_tree.Root, "usb1"));
        Directory.CreateDirectory(Path.Combine(_tree.Root, "1-2:1.0"));

        Assert.Equal(["1-2", "1-2.3", "1-10", "10-1"], new UsbSysfs(_tree.Root).Devices().Select(device => device.Facts.BusPath));
    }

    [Theory]
    [InlineData("1.5", UsbSpeed.Low)]
    [InlineData("12", UsbSpeed.Full)]
    [InlineData("480", UsbSpeed.High)]
    [InlineData("5000", UsbSpeed.Super)]
    [InlineData("10000", UsbSpeed.Super)]
    [InlineData("20000", UsbSpeed.Super)]
    public void Speed_is_the_kernels(string text, UsbSpeed speed)
    {
        _tree.Device("1-2", 4, text);

        Assert.Equal(speed, new UsbSysfs(_tree.Root).Find("1-2")!.Facts.Speed);
    }

    [Fact]
    public void Device_has_its_identity_node_and_descriptors()
    {
        _tree.Device("3-2.3", 7);
        File.WriteAllBytes(Path.Combine(_tree.Root, "3-2.3", "descriptors"), [18, 1, 0]);
        PluggedDevice device = new UsbSysfs(_tree.Root).Find("3-2.3")!;

        Assert.Equal(("/dev/bus/usb/003/007", (byte)1, "0951:1666", "0001"), (device.Node, device.Configuration, device.Facts.Id, device.Facts.Serial));
        Assert.Equal([18, 1, 0], UsbSysfs.Descriptors(device));
    }

    [Theory]
    [InlineData("1-9")]
    [InlineData("")]
    [InlineData("usb1")]
    [InlineData("../1-2")]
    [InlineData("1-2:1.0")]
    public void Place_without_a_device_is_none(string place)
    {
        _tree.Device("1-2", 4);

        Assert.Null(new UsbSysfs(_tree.Root).Find(place));
    }

    // Linux shows device number 0 while it resets a port (hub.c, hub_port_reset), and other devices' messages come meanwhile.
    [Fact]
    public void Device_that_is_being_reset_is_not_pulled()
    {
        _tree.Device("1-2", 4);
        var sysfs = new UsbSysfs(_tree.Root);
        PluggedDevice device = sysfs.Find("1-2")!;

        File.WriteAllText(Path.Combine(_tree.Root, "1-2", "devnum"), "0\n");
        Assert.True(sysfs.Find("1-2")!.IsInReset);
        Assert.False(device.IsPulled(sysfs.Find("1-2")));

        File.WriteAllText(Path.Combine(_tree.Root, "1-2", "devnum"), "5\n");
        Assert.True(device.IsPulled(sysfs.Find("1-2")));
        Assert.True(device.IsPulled(null));
    }

    [Fact]
    public void Host_without_usb_has_no_devices() => Assert.Empty(new UsbSysfs(Path.Combine(_tree.Root, "nothing")).Devices());

    [Fact]
    public void Device_that_is_gone_has_no_descriptors()
    {
        _tree.Device("1-2", 4);

        Assert.Empty(UsbSysfs.Descriptors(new UsbSysfs(_tree.Root).Find("1-2")!));
    }

    [Fact]
    public void Device_with_a_mounted_disk_or_a_link_that_is_up_is_in_use()
    {
        _tree.Device("1-2", 4).Device("1-3", 5);
        Directory.CreateDirectory(Path.Combine(_tree.Root, "1-2", "1-2:1.0", "host0", "target0", "0:0:0:0", "block", "sdb"));
        string link = Directory.CreateDirectory(Path.Combine(_tree.Root, "1-3", "1-3:1.0", "net", "usb0")).FullName;
        File.WriteAllText(Path.Combine(link, "operstate"), "up\n");
        string mounts = Path.Combine(_tree.Root, "mounts");
        File.WriteAllText(mounts, "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /mnt vfat rw 0 0\n");
        var sysfs = new UsbSysfs(_tree.Root);

        Assert.Equal("/dev/sdb is mounted", UsbSysfs.UseOf(sysfs.Find("1-2")!, mounts));
        Assert.Equal("network link usb0 is up", UsbSysfs.UseOf(sysfs.Find("1-3")!, mounts));
        File.WriteAllText(mounts, "/dev/sda1 / ext4 rw 0 0\n");
        File.WriteAllText(Path.Combine(link, "operstate"), "down\n");
        Assert.Null(UsbSysfs.UseOf(sysfs.Find("1-2")!, mounts));
        Assert.Null(UsbSysfs.UseOf(sysfs.Find("1-3")!, mounts));
    }

    [Fact]
    public void Hub_is_known_by_its_class()
    {
        _tree.Device("1-2", 4, deviceClass: "09");

        Assert.True(new UsbSysfs(_tree.Root).Find("1-2")!.Facts.IsHub);
    }

    [Fact]
    public void Strings_of_a_hostile_device_reach_nobody_as_they_are()
    {
        _tree.Device("1-2", 4, name: "x\u001b]0;y\u0007" + new string('z', 1000));
        HostDeviceFacts facts = new UsbSysfs(_tree.Root).Find("1-2")!.Facts;

        Assert.StartsWith("x?]0;y?z", facts.Product);
        Assert.Equal(64, facts.Product.Length);
    }
}
