using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Disk;

/// <summary>Descriptors of the disk (Bulk-Only Transport 1.0 §4): one interface 08/06/50 with a bulk pipe each way.</summary>
internal static class DiskDescriptors
{
    /// <summary>Bulk-IN endpoint.</summary>
    public static EndpointAddress In => new(0x81);

    /// <summary>Bulk-OUT endpoint.</summary>
    public static EndpointAddress Out => new(0x02);

    /// <summary>The descriptors at <paramref name="options"/>' speed.</summary>
    public static DescriptorSet Make(DiskOptions options)
    {
        bool super = options.Speed == UsbSpeed.Super;
        UsbSpeed other = options.Speed == UsbSpeed.High ? UsbSpeed.Full : UsbSpeed.High;
        return new DescriptorSet
        {
            Device = DescriptorWriter.Device((ushort)(super ? 0x0300 : 0x0200), 0, (byte)(super ? 9 : 64), options.Vendor, options.Product, 0x0100, 1),
            Configurations = [Configuration(options.Speed)],
            Qualifier = super ? null : DescriptorWriter.Qualifier(0, 64, 1),
            OtherSpeedConfigurations = super ? [] : [DescriptorWriter.OtherSpeed(Configuration(other))],
            Bos = super ? DescriptorWriter.SuperSpeedBos() : null,
            Strings = ["Xen", "USB disk", options.Serial],
        };
    }

    private static byte[] Configuration(UsbSpeed speed)
    {
        // Self-powered: no hub's power budget refuses it.
        ushort packet = speed switch { UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };
        DescriptorWriter writer = new DescriptorWriter().Configuration(1, 0xc0, 0).Interface(0, 0, 0x08, 0x06, 0x50);
        writer.Endpoint(In.Value, TransferKind.Bulk, packet, 0);
        if (speed == UsbSpeed.Super) writer.Companion(15, 0, 0);
        writer.Endpoint(Out.Value, TransferKind.Bulk, packet, 0);
        if (speed == UsbSpeed.Super) writer.Companion(15, 0, 0);
        return writer.ToArray();
    }
}
