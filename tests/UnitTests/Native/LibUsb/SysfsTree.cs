using System;
using System.IO;

namespace XenUsbDm.UnitTests.Native.LibUsb;

/// <summary>A folder that looks like /sys/bus/usb/devices.</summary>
internal sealed class SysfsTree : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("sysfs-").FullName;

    public SysfsTree Device(string place, int number, string speed = "480", string vendor = "0951", string product = "1666", string deviceClass = "00", string? name = "DataTraveler")
    {
        string folder = Directory.CreateDirectory(Path.Combine(Root, place)).FullName;
        void Write(string file, string text) => File.WriteAllText(Path.Combine(folder, file), text + "\n");
        Write("busnum", place.Split('-')[0]);
        Write("devnum", $"{number}");
        Write("speed", speed);
        Write("idVendor", vendor);
        Write("idProduct", product);
        Write("bDeviceClass", deviceClass);
        Write("bConfigurationValue", "1");
        if (name is not null) Write("product", name);
        Write("manufacturer", "Kingston");
        Write("serial", "0001");
        return this;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
