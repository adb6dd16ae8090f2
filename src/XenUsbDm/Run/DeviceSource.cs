using System.IO;
using Microsoft.Extensions.Logging;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Storage;

namespace XenUsbDm.Run;

/// <summary>Makes devices from what the operator writes; opens their files.</summary>
internal sealed class DeviceSource(IEventLoop loop, ILogger log, HostDevices? hostDevices = null) : IDeviceSource
{
    /// <inheritdoc/>
    public IOpenedDevice? Open(string device, out string error) =>
        DeviceSpec.TryParse(device, out DeviceSpec? spec, out error) ? Open(spec!, out error) : null;

    /// <inheritdoc/>
    public IPortRule? OpenRule(string device, out string error)
    {
        error = "";
        return DeviceSpec.TryParse(device, out DeviceSpec? spec, out _) ? OpenRule(spec!, out error) : null;
    }

    /// <summary>A rule for a physical device that was parsed already; null without an error for other devices.</summary>
    public HostRule? OpenRule(DeviceSpec spec, out string error)
    {
        error = "";
        if (spec is not (HostPathSpec or HostIdSpec)) return null;
        error = "physical devices cannot be attached here";
        return hostDevices?.OpenRule(spec, TextOf(spec), out error);
    }

    private static string TextOf(DeviceSpec spec) => spec switch
    {
        HostPathSpec path => $"host:{path.Bus}-{path.Ports}",
        HostIdSpec id => $"host:{id.VendorId:x4}:{id.ProductId:x4}{(id.Serial is null ? "" : ":" + id.Serial)}",
        _ => "",
    };

    /// <summary>Opens a device that was parsed already.</summary>
    public OpenedDevice? Open(DeviceSpec spec, out string error)
    {
        error = "";
        switch (spec)
        {
            case DiskSpec disk:
                return OpenDisk(disk, out error);
            case ZeroSpec zero:
                return new OpenedDevice(new GadgetZero(new GadgetZeroOptions { Speed = zero.Speed }), null, null);
            case KeyboardSpec keyboard:
                return new OpenedDevice(new BootKeyboard(keyboard.Speed), null, null);
            default:
                error = "a physical device comes by a rule";
                return null;
        }
    }

    private OpenedDevice? OpenDisk(DiskSpec disk, out string error)
    {
        var completions = new OpenedDevice.ImageCompletions(loop, log);
        ImageOpenResult opened = ImageFile.Open(disk.Path, disk.ReadOnly, completions.Wake);
        error = opened.Message;
        if (opened.File is null) return null;
        completions.Image = opened.File;
        // The same image is the same stick to the guest, whatever port it is plugged into.
        string serial = DiskOptions.SerialFromName(Path.GetFullPath(disk.Path));
        return new OpenedDevice(new DiskDevice(opened.File, new DiskOptions { Speed = disk.Speed, Serial = serial, Uas = disk.Uas }), opened.File, completions);
    }
}
