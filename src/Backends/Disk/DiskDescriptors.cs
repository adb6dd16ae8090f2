using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Disk;

/// <summary>Descriptors of the disk (Bulk-Only Transport 1.0 §4, UAS-3 §5.2.3): one interface, 08/06/50 with a bulk pipe each way, and as alternate setting 1 08/06/62 with four.</summary>
internal static class DiskDescriptors
{
    /// <summary>Bulk-IN endpoint.</summary>
    public static EndpointAddress In => new(0x81);

    /// <summary>Bulk-OUT endpoint.</summary>
    public static EndpointAddress Out => new(0x02);

    /// <summary>Command pipe of the setting with USB Attached SCSI. Its pipes share no address with those of the other setting, so that no request outlives a change.</summary>
    public static EndpointAddress UasCommand => new(0x03);

    /// <summary>Status pipe.</summary>
    public static EndpointAddress UasStatus => new(0x84);

    /// <summary>Data-in pipe.</summary>
    public static EndpointAddress UasIn => new(0x85);

    /// <summary>Data-out pipe.</summary>
    public static EndpointAddress UasOut => new(0x06);

    /// <summary>Two to this power are the streams of each of the last three pipes (MaxStreams, USB 3.2 table 9-27).</summary>
    public const int StreamsLog = 5;

    /// <summary>Highest stream id.</summary>
    public const int Streams = 1 << StreamsLog;

    /// <summary>The descriptors at <paramref name="options"/>' speed.</summary>
    public static DescriptorSet Make(DiskOptions options)
    {
        bool super = options.Speed == UsbSpeed.Super;
        UsbSpeed other = options.Speed == UsbSpeed.High ? UsbSpeed.Full : UsbSpeed.High;
        return new DescriptorSet
        {
            Device = DescriptorWriter.Device((ushort)(super ? 0x0300 : 0x0200), 0, (byte)(super ? 9 : 64), options.Vendor, options.Product, 0x0100, 1),
            Configurations = [Configuration(options.Speed, options.Uas)],
            Qualifier = super ? null : DescriptorWriter.Qualifier(0, 64, 1),
            OtherSpeedConfigurations = super ? [] : [DescriptorWriter.OtherSpeed(Configuration(other, options.Uas && other == UsbSpeed.High))],
            Bos = super ? DescriptorWriter.SuperSpeedBos() : null,
            Strings = ["Xen", "USB disk", options.Serial],
        };
    }

    private static byte[] Configuration(UsbSpeed speed, bool uas)
    {
        // Self-powered: no hub's power budget refuses it.
        ushort packet = speed switch { UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };
        DescriptorWriter writer = new DescriptorWriter().Configuration(1, 0xc0, 0).Interface(0, 0, 0x08, 0x06, 0x50);
        writer.Endpoint(In.Value, TransferKind.Bulk, packet, 0);
        if (speed == UsbSpeed.Super) writer.Companion(15, 0, 0);
        writer.Endpoint(Out.Value, TransferKind.Bulk, packet, 0);
        if (speed == UsbSpeed.Super) writer.Companion(15, 0, 0);
        if (uas)
        {
            writer.Interface(0, 1, 0x08, 0x06, 0x62);
            UasPipe(writer, UasCommand, speed, packet, 1);
            UasPipe(writer, UasStatus, speed, packet, 2);
            UasPipe(writer, UasIn, speed, packet, 3);
            UasPipe(writer, UasOut, speed, packet, 4);
        }

        return writer.ToArray();
    }

    // Pipe usage (UAS-3 §5.2.3.5): length, type, pipe id, reserved. The command pipe has no streams.
    private static void UasPipe(DescriptorWriter writer, EndpointAddress address, UsbSpeed speed, ushort packet, byte id)
    {
        writer.Endpoint(address.Value, TransferKind.Bulk, packet, 0);
        if (speed == UsbSpeed.Super) writer.Companion(15, (byte)(id == 1 ? 0 : StreamsLog), 0);
        writer.Raw([4, 0x24, id, 0]);
    }
}
