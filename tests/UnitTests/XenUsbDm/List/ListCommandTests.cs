using System;
using System.IO;
using XenUsbDm.CommandLine;
using XenUsbDm.List;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Run;
using XenUsbDm.UnitTests.Native.LibUsb;
using Xunit;

namespace XenUsbDm.UnitTests.List;

public sealed class ListCommandTests : IDisposable
{
    private readonly SysfsTree _tree = new();

    public void Dispose() => _tree.Dispose();

    [Fact]
    public void List_is_that_of_xm_without_hubs_and_says_who_has_what()
    {
        _tree.Device("1-2", 4).Device("1-3", 5, deviceClass: "09").Device("1-3.1", 6, product: "1667", name: null);
        var taken = new TakenDevices(Path.Combine(_tree.Root, "taken"));
        using TakenPlace place = taken.TryTake("1-3.1", out _, out _)!;
        place.Write(new TakenRecord(1234, "domain 5", 1, 6, 1));

        Assert.Equal(
            ["1-2: ID 0951:1666 Kingston DataTraveler", "1-3.1: ID 0951:1667 Kingston (in use by pid 1234, domain 5)"],
            ListCommand.Lines(new UsbSysfs(_tree.Root), taken));
    }

    [Theory]
    [InlineData("host:1-2", true)]
    [InlineData("host:1-2.1", false)]
    [InlineData("host:2-2", false)]
    [InlineData("host:0951:1666", true)]
    [InlineData("host:951:1666", true)]
    [InlineData("host:0951:1667", false)]
    [InlineData("host:0951:1666:0001", true)]
    [InlineData("host:0951:1666:0002", false)]
    [InlineData("zero", false)]
    public void Rule_finds_its_device_by_place_or_identity(string text, bool matches)
    {
        _tree.Device("1-2", 4);
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out _));

        Assert.Equal(matches, HostRule.Matches(spec!, new UsbSysfs(_tree.Root).Find("1-2")!.Facts));
    }
}
