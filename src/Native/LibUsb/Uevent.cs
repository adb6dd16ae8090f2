using System;
using System.Text;

namespace XenUsbDm.Native.LibUsb;

/// <summary>What of a kernel's message (netlink, NETLINK_KOBJECT_UEVENT) matters here.</summary>
/// <param name="IsDevice">A USB device came, went or changed.</param>
/// <param name="FreedInterface">The interface whose driver let go of it, as sysfs calls it ("1-2:1.0"); empty when it is about something else.</param>
public readonly record struct Uevent(bool IsDevice, string FreedInterface)
{
    /// <summary>Reads a message: a headline and KEY=VALUE strings, each with a zero behind it.</summary>
    public static Uevent Parse(ReadOnlySpan<byte> message)
    {
        bool device = false;
        bool isInterface = false;
        bool unbound = false;
        ReadOnlySpan<byte> path = default;
        while (!message.IsEmpty)
        {
            int end = message.IndexOf((byte)0);
            ReadOnlySpan<byte> field = end < 0 ? message : message[..end];
            message = end < 0 ? default : message[(end + 1)..];
            if (field.SequenceEqual("DEVTYPE=usb_device"u8)) device = true;
            else if (field.SequenceEqual("DEVTYPE=usb_interface"u8)) isInterface = true;
            else if (field.SequenceEqual("ACTION=unbind"u8)) unbound = true;
            else if (field.StartsWith("DEVPATH="u8)) path = field["DEVPATH="u8.Length..];
        }

        path = path[(path.LastIndexOf((byte)'/') + 1)..];

        return new Uevent(device, isInterface && unbound ? Encoding.UTF8.GetString(path) : "");
    }
}
