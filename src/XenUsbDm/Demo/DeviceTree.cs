using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Demo;

/// <summary>One interface of a device as the guest enumerated it.</summary>
/// <param name="Number">bInterfaceNumber.</param>
/// <param name="Class">bInterfaceClass.</param>
internal readonly record struct TreeInterface(int Number, byte Class);

/// <summary>One device of the tree.</summary>
/// <param name="Port">One-based port of its bus.</param>
/// <param name="Number">Device number on its bus.</param>
/// <param name="Speed">Speed it runs at.</param>
/// <param name="Interfaces">Its interfaces, alternate setting 0.</param>
/// <param name="Driver">What drives it in the guest.</param>
internal sealed record TreeDevice(int Port, int Number, UsbSpeed Speed, IReadOnlyList<TreeInterface> Interfaces, string Driver);

/// <summary>One bus with its root hub.</summary>
/// <param name="Ports">Ports of the root hub.</param>
/// <param name="Speed">Speed of the bus.</param>
/// <param name="Devices">Devices in port order.</param>
internal sealed record TreeBus(int Ports, UsbSpeed Speed, IReadOnlyList<TreeDevice> Devices);

/// <summary>The device tree in the form of <c>lsusb -t</c>.</summary>
internal static class DeviceTree
{
    /// <summary>Renders the buses, numbered from 1, one line per root hub and per interface.</summary>
    public static string Render(IReadOnlyList<TreeBus> buses)
    {
        var text = new StringBuilder();
        for (int i = 0; i < buses.Count; i++)
        {
            TreeBus bus = buses[i];
            text.Append(CultureInfo.InvariantCulture, $"/:  Bus {i + 1:d3}.Port 001: Dev 001, Class=root_hub, Driver=xhci/{bus.Ports}p, {Rate(bus.Speed)}\n");
            foreach (TreeDevice device in bus.Devices)
            {
                foreach (TreeInterface one in device.Interfaces)
                    text.Append(CultureInfo.InvariantCulture, $"    |__ Port {device.Port:d3}: Dev {device.Number:d3}, If {one.Number}, Class={ClassName(one.Class)}, Driver={device.Driver}, {Rate(device.Speed)}\n");
            }
        }

        return text.ToString();
    }

    /// <summary>The interfaces of a configuration's descriptors (USB 2.0 §9.6.3), alternate setting 0 only; stops at the first malformed one.</summary>
    public static List<TreeInterface> Interfaces(ReadOnlySpan<byte> configuration)
    {
        var interfaces = new List<TreeInterface>();
        while (configuration.Length >= 2 && configuration[0] >= 2 && configuration[0] <= configuration.Length)
        {
            if (configuration[1] == (byte)DescriptorType.Interface && configuration[0] >= 9 && configuration[3] == 0)
                interfaces.Add(new TreeInterface(configuration[2], configuration[5]));
            configuration = configuration[configuration[0]..];
        }

        return interfaces;
    }

    /// <summary>Line rate as lsusb prints it.</summary>
    public static string Rate(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Low => "1.5M",
        UsbSpeed.Full => "12M",
        UsbSpeed.High => "480M",
        _ => "5000M",
    };

    private static string ClassName(byte code) => code switch
    {
        0x01 => "Audio",
        0x02 => "Communications",
        0x03 => "Human Interface Device",
        0x08 => "Mass Storage",
        0x09 => "Hub",
        0x0e => "Video",
        0xff => "Vendor Specific Class",
        _ => "0x" + code.ToString("x2", CultureInfo.InvariantCulture),
    };
}
