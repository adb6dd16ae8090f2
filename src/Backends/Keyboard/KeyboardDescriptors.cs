using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Keyboard;

/// <summary>Descriptors of the boot keyboard (HID 1.11 appendix B.1 and E).</summary>
internal static class KeyboardDescriptors
{
    internal const byte ReportIn = 0x81;
    internal const byte ConfigurationValue = 1;
    internal const int ReportLength = 8;

    private const byte HidClass = 3;
    private const byte BusPoweredWithWake = 0x20;

    /// <summary>Report descriptor: eight modifier bits, a reserved byte, five LEDs, six keys; the boot report's layout.</summary>
    internal static ReadOnlySpan<byte> Report =>
    [
        0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                                     // Generic Desktop, Keyboard, Application
        0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,             // modifiers 0xe0-0xe7, one bit each
        0x75, 0x01, 0x95, 0x08, 0x81, 0x02,
        0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                                     // reserved byte
        0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x95, 0x05, 0x75, 0x01, 0x91, 0x02, // LEDs
        0x95, 0x01, 0x75, 0x03, 0x91, 0x01,
        0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x15, 0x00, 0x26, 0xff, 0x00, // six keys, any usage
        0x95, 0x06, 0x75, 0x08, 0x81, 0x00,
        0xc0,
    ];

    /// <summary>HID class descriptor (HID 1.11 §6.2.1): release 1.11, no country, one report descriptor.</summary>
    internal static ReadOnlySpan<byte> Hid =>
        [9, (byte)DescriptorType.Hid, 0x11, 0x01, 0, 1, (byte)DescriptorType.HidReport, 65, 0];

    internal static DescriptorSet Make(UsbSpeed speed)
    {
        bool super = speed == UsbSpeed.Super;
        bool high = speed == UsbSpeed.High;
        byte maxPacket0 = speed switch { UsbSpeed.Low => 8, UsbSpeed.Super => 9, _ => 64 };
        return new DescriptorSet
        {
            Device = DescriptorWriter.Device((ushort)(super ? 0x0300 : 0x0200), 0, maxPacket0, 0x0627, 0x0001, 0x0100, 1),
            Configurations = [Configuration(speed)],
            Qualifier = high ? DescriptorWriter.Qualifier(0, 64, 1) : null,
            OtherSpeedConfigurations = high ? [DescriptorWriter.OtherSpeed(Configuration(UsbSpeed.Full))] : [],
            Bos = super ? DescriptorWriter.SuperSpeedBos() : null,
            Strings = ["xen-usb-dm", "USB Keyboard", "1"],
        };
    }

    private static byte[] Configuration(UsbSpeed speed)
    {
        // 8 ms or the nearest the speed can say: milliseconds at low and full speed, 2^(n-1) microframes above.
        byte interval = speed switch { UsbSpeed.Low => 10, UsbSpeed.Full => 8, _ => 7 };
        DescriptorWriter writer = new DescriptorWriter()
            .Configuration(ConfigurationValue, BusPoweredWithWake, 50)
            .Interface(0, 0, HidClass, 1, 1)
            .Raw(Hid)
            .Endpoint(ReportIn, TransferKind.Interrupt, ReportLength, interval);
        if (speed == UsbSpeed.Super) writer.Companion(0, 0, ReportLength);
        return writer.ToArray();
    }
}
