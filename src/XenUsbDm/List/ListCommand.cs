using System.Collections.Generic;
using System.IO;
using XenUsbDm.CommandLine;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Native.Linux;
using XenUsbDm.Run;

namespace XenUsbDm.List;

// List/ is the `list` command: the host's devices as xm usb-list-assignable-devices showed them.

/// <summary>Prints a line for every device that can be assigned; hubs are left out, those in use say whose they are.</summary>
internal static class ListCommand
{
    /// <summary>Lists; returns the exit status. Devices of processes that are gone are given back first.</summary>
    public static int Invoke(Surroundings surroundings)
    {
        if (!Directory.Exists(UsbSysfs.Root))
            return surroundings.Fail(ExitStatus.Environment, $"list: this host shows no USB ({UsbSysfs.Root} is missing); load its USB controller's driver");
        var sysfs = new UsbSysfs();
        var taken = new TakenDevices();
        using (var loop = new EpollLoop())
        using (LibUsbContext? context = LibUsbContext.TryOpen(loop, out string missing))
        {
            if (context is null) surroundings.Error.WriteLine($"xen-usb-dm: list: {missing}");
            else HostDevices.GiveBackLeftovers(context, sysfs, taken, place => surroundings.Error.WriteLine($"xen-usb-dm: list: {place} given back to the host; the process that had it is gone"));
        }

        foreach (string line in Lines(sysfs, taken)) surroundings.Output.WriteLine(line);
        return ExitStatus.Done;
    }

    /// <summary>The lines, in the order of places.</summary>
    public static IEnumerable<string> Lines(UsbSysfs sysfs, TakenDevices taken)
    {
        foreach (PluggedDevice device in sysfs.Devices())
        {
            if (device.Facts.IsHub) continue;
            string? holder = taken.HolderOf(device.Facts.BusPath);
            yield return device.Facts.ListLine + (holder is null ? "" : $" (in use by {holder})");
        }
    }
}
