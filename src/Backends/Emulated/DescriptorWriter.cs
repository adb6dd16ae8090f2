using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Emulated;

/// <summary>
/// Writes descriptors of emulated devices at construction: USB 2.0 §9.6, and USB 3.2 §9.6 for companions and BOS. One
/// writer makes one configuration block; the totals are filled in by <see cref="ToArray"/>.
/// </summary>
public sealed class DescriptorWriter
{
    private readonly List<byte> _bytes = [];
    private int _interface = -1;
    private readonly HashSet<byte> _interfaces = [];

    /// <summary>CONFIGURATION header. <paramref name="attributes"/>: bit 7 always set here, bit 6 self-powered, bit 5 remote wake-up. <paramref name="maxPower"/> in the unit of the speed (2 mA or 8 mA).</summary>
    public DescriptorWriter Configuration(byte value, byte attributes, byte maxPower, byte name = 0)
    {
        _bytes.AddRange([9, (byte)DescriptorType.Configuration, 0, 0, 0, value, name, (byte)(attributes | 0x80), maxPower]);
        return this;
    }

    /// <summary>INTERFACE; endpoints that follow are counted into it.</summary>
    public DescriptorWriter Interface(byte number, byte alternate, byte classCode, byte subclass, byte protocol, byte name = 0)
    {
        _interface = _bytes.Count;
        _interfaces.Add(number);
        _bytes.AddRange([9, (byte)DescriptorType.Interface, number, alternate, 0, classCode, subclass, protocol, name]);
        return this;
    }

    /// <summary>ENDPOINT. <paramref name="maxPacket"/> is wMaxPacketSize with its multiplier bits 12:11.</summary>
    public DescriptorWriter Endpoint(byte address, TransferKind kind, ushort maxPacket, byte interval)
    {
        _bytes[_interface + 4]++;
        _bytes.AddRange([7, (byte)DescriptorType.Endpoint, address, (byte)kind, (byte)(maxPacket & 0xff), (byte)(maxPacket >> 8), interval]);
        return this;
    }

    /// <summary>SUPERSPEED_USB_ENDPOINT_COMPANION of the endpoint before.</summary>
    public DescriptorWriter Companion(byte maxBurst, byte attributes, ushort bytesPerInterval)
    {
        _bytes.AddRange([6, (byte)DescriptorType.SuperSpeedEndpointCompanion, maxBurst, attributes, (byte)(bytesPerInterval & 0xff), (byte)(bytesPerInterval >> 8)]);
        return this;
    }

    /// <summary>A class-specific descriptor, as it is.</summary>
    public DescriptorWriter Raw(ReadOnlySpan<byte> descriptor)
    {
        foreach (byte value in descriptor) _bytes.Add(value);
        return this;
    }

    /// <summary>The block with wTotalLength and bNumInterfaces filled in.</summary>
    public byte[] ToArray()
    {
        byte[] block = [.. _bytes];
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(2), (ushort)block.Length);
        block[4] = (byte)_interfaces.Count;
        return block;
    }

    /// <summary>DEVICE descriptor; strings 1, 2 and 3 are manufacturer, product and serial number. <paramref name="maxPacket0"/> as the field holds it (9 for SuperSpeed).</summary>
    public static byte[] Device(ushort usbVersion, byte classCode, byte maxPacket0, ushort vendor, ushort product, ushort release, byte configurations, bool serial = true) =>
    [
        18, (byte)DescriptorType.Device, (byte)(usbVersion & 0xff), (byte)(usbVersion >> 8), classCode, 0, 0, maxPacket0,
        (byte)(vendor & 0xff), (byte)(vendor >> 8), (byte)(product & 0xff), (byte)(product >> 8), (byte)(release & 0xff), (byte)(release >> 8),
        1, 2, (byte)(serial ? 3 : 0), configurations,
    ];

    /// <summary>DEVICE_QUALIFIER for the other speed of a device (USB 2.0 §9.6.2).</summary>
    public static byte[] Qualifier(byte classCode, byte maxPacket0, byte configurations) =>
        [10, (byte)DescriptorType.DeviceQualifier, 0x00, 0x02, classCode, 0, 0, maxPacket0, configurations, 0];

    /// <summary>The configuration of the other speed under its own descriptor type (USB 2.0 §9.6.4).</summary>
    public static byte[] OtherSpeed(ReadOnlySpan<byte> configuration)
    {
        byte[] block = configuration.ToArray();
        block[1] = (byte)DescriptorType.OtherSpeedConfiguration;
        return block;
    }

    /// <summary>
    /// BOS with a USB 2.0 extension and a SuperSpeed capability (USB 3.2 §9.6.2): works from full speed up, no LPM, no
    /// latency tolerance messages, no exit latency worth telling.
    /// </summary>
    public static byte[] SuperSpeedBos() =>
    [
        5, (byte)DescriptorType.Bos, 22, 0, 2,
        7, (byte)DescriptorType.DeviceCapability, 2, 0x02, 0, 0, 0,
        10, (byte)DescriptorType.DeviceCapability, 3, 0, 0x0e, 0, 1, 1, 0, 0,
    ];

    /// <summary>STRING descriptor in UTF-16LE; at most 126 characters (USB 2.0 §9.6.7).</summary>
    public static byte[] Text(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(text.Length, 126);
        byte[] block = new byte[2 + (text.Length * 2)];
        block[0] = (byte)block.Length;
        block[1] = (byte)DescriptorType.String;
        Encoding.Unicode.GetBytes(text, block.AsSpan(2));
        return block;
    }
}
