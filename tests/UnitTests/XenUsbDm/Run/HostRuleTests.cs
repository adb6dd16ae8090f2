using System;
using System.IO;
using System.Linq;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Run;
using XenUsbDm.UnitTests.Hosts.VfioUser;
using XenUsbDm.UnitTests.Native.LibUsb;
using Xunit;

namespace XenUsbDm.UnitTests.Run;

/// <summary>Rules over a made-up sysfs: a device whose node is not there can be found and taken, and then not be opened.</summary>
public sealed class HostRuleTests : IDisposable
{
    private const string InUse = "99-2 is in use by pid 1234, domain 5; detach it there first";
    private const string Waits = "; the rule waits and takes it when it is given back";
    private const string NotThere = "99-2: /dev/bus/usb/099/125: No such file or directory";

    private readonly SysfsTree _tree = new();
    private readonly TakenDevices _taken;
    private readonly ManualLoop _loop = new();
    private readonly HostDevices _devices;

    public HostRuleTests()
    {
        _taken = new TakenDevices(Path.Combine(_tree.Root, "taken"));
        _devices = new HostDevices(_loop, "domain 6", NullLogger.Instance, sysfs: new UsbSysfs(_tree.Root), taken: _taken);
    }

    public void Dispose()
    {
        _devices.Dispose();
        _tree.Dispose();
    }

    [FactWithLibUsb]
    public void Rule_takes_a_device_of_another_process_when_that_gives_it_back()
    {
        HostRule rule = Open("host:99-2");
        TakenPlace other = TakenByAnother();
        _tree.Device("99-2", 125);

        rule.Look();
        Assert.Equal($"refused: {InUse}{Waits}", rule.State);
        Assert.True(rule.TryTakeRefusal(out string? reason));
        Assert.Equal(InUse + Waits, reason);

        // What others do with other devices is no news.
        _tree.Device("99-3", 126);
        using (TakenPlace? another = _taken.TryTake("99-3", out _, out _)) Assert.NotNull(another);
        Turn(rule);
        Assert.False(rule.TryTakeRefusal(out _));

        other.Clear();
        other.Dispose();
        Turn(rule);
        Assert.Equal($"refused: {NotThere}", rule.State);
        Assert.Null(_taken.HolderOf("99-2"));
    }

    [FactWithLibUsb]
    public void Device_that_could_not_be_opened_is_tried_again_after_another_plug_only()
    {
        HostRule rule = Open("host:99-2");
        _tree.Device("99-2", 125);
        rule.Look();
        Turn(rule);
        Assert.True(rule.TryTakeRefusal(out string? reason));
        Assert.Equal(NotThere, reason);

        rule.Look();
        Turn(rule);
        Assert.False(rule.TryTakeRefusal(out _));

        _tree.Device("99-2", 127);
        rule.Look();
        Turn(rule);
        Assert.True(rule.TryTakeRefusal(out reason));
        Assert.Equal(NotThere.Replace("125", "127", StringComparison.Ordinal), reason);
    }

    [FactWithLibUsb]
    public void Rule_by_identity_takes_the_next_device_that_fits_when_another_process_has_the_first()
    {
        HostRule rule = Open("host:0951:1666");
        using TakenPlace other = TakenByAnother();
        _tree.Device("99-2", 125).Device("99-4", 126);

        rule.Look();
        Assert.Equal("opens", rule.State);
        Turn(rule);
        Assert.StartsWith("refused: 99-4: ", rule.State);
    }

    [FactWithLibUsb]
    public void Hub_and_device_of_another_process_are_refused_at_once_with_who_has_it()
    {
        using TakenPlace other = TakenByAnother();
        _tree.Device("99-2", 125).Device("99-3", 126, deviceClass: "09");

        Assert.Equal(InUse, Refusal("host:99-2"));
        Assert.Equal("99-3 is a hub; name a device that is plugged into it", Refusal("host:99-3"));
    }

    [FactWithLibUsb]
    public void Device_of_another_rule_of_this_process_is_refused_with_its_name()
    {
        _tree.Device("99-2", 125);
        TakenPlace own = _taken.TryTake("99-2", out _, out _)!;
        own.Write(new TakenRecord(Environment.ProcessId, "domain 6", 99, 125, 1));

        Assert.Equal($"99-2 is in use by pid {Environment.ProcessId}, domain 6; detach it there first", Refusal("host:0951:1666"));
        own.Dispose();
    }

    private TakenPlace TakenByAnother()
    {
        TakenPlace place = _taken.TryTake("99-2", out _, out _)!;
        place.Write(new TakenRecord(1234, "domain 5", 99, 125, 1));
        return place;
    }

    private string Refusal(string text)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out _));
        Assert.Null(_devices.OpenRule(spec!, text, out string error));
        return error;
    }

    private HostRule Open(string text)
    {
        Assert.True(DeviceSpec.TryParse(text, out DeviceSpec? spec, out _));
        HostRule? rule = _devices.OpenRule(spec!, text, out string error);
        Assert.Equal("", error);
        return rule!;
    }

    // One turn of the loop: the kernel's messages, what the slow lane has done, then the rule.
    private void Turn(HostRule rule)
    {
        foreach (ILoopSource source in _loop.Sources.ToArray()) source.Ready(LoopEvents.Readable);
        _devices.Settle();
        Assert.False(rule.TryTake(out _));
    }
}

/// <summary>A test that needs libusb.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class FactWithLibUsbAttribute : FactAttribute
{
    public FactWithLibUsbAttribute()
    {
        if (!LibUsbContext.IsPresent()) Skip = "rig: libusb is not here; as root: apt-get install libusb-1.0-0";
    }
}
