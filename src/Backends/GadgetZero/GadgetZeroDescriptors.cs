using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>
/// Descriptors of 0525:a4a0 as usbtest looks for them: it takes the first alternate setting that has a bulk pair, an
/// isochronous or an interrupt endpoint, or the one given to it (alt=N). Setting 0 holds bulk endpoints alone because a
/// default setting may not claim isochronous bandwidth (USB 2.0 §5.6.3); 1 adds isochronous, 2 interrupt, 3 both. Low speed
/// has an interrupt pair alone: endpoints 1 in setting 0, endpoints 2 in setting 1.
/// </summary>
internal static class GadgetZeroDescriptors
{
    internal const byte SourceSinkConfiguration = 3;
    internal const byte LoopbackConfiguration = 2;

    internal const byte BulkIn = 0x81;
    internal const byte BulkOut = 0x01;
    internal const byte IsochronousIn = 0x82;
    internal const byte IsochronousOut = 0x02;
    internal const byte InterruptIn = 0x83;
    internal const byte InterruptOut = 0x03;

    private const byte VendorClass = 0xff;
    private const byte SelfPoweredWithWake = 0x60;
    private const byte MaxPower = 1;

    // Full-speed isochronous packets of 512 bytes leave room for both directions in one frame (1350 of 1500 bytes, USB 2.0
    // §5.6.4); 1023 would not.
    private const ushort FullSpeedIsochronous = 512;

    internal static DescriptorSet Make(GadgetZeroOptions options)
    {
        UsbSpeed speed = options.Speed;
        bool super = speed == UsbSpeed.Super;
        byte maxPacket0 = speed switch { UsbSpeed.Low => 8, UsbSpeed.Super => 9, _ => 64 };
        GadgetZeroOptions fullSpeed = options with { Speed = UsbSpeed.Full, IsochronousPackets = 1 };
        bool dual = speed == UsbSpeed.High;
        return new DescriptorSet
        {
            Device = DescriptorWriter.Device((ushort)(super ? 0x0300 : 0x0200), VendorClass, maxPacket0, 0x0525, 0xa4a0, 0x0100, 2),
            Configurations = [SourceSink(options), Loopback(speed)],
            Qualifier = dual ? DescriptorWriter.Qualifier(VendorClass, 64, 2) : null,
            OtherSpeedConfigurations = dual
                ? [DescriptorWriter.OtherSpeed(SourceSink(fullSpeed)), DescriptorWriter.OtherSpeed(Loopback(UsbSpeed.Full))]
                : [],
            Bos = super ? DescriptorWriter.SuperSpeedBos() : null,
            Strings = ["xen-usb-dm", "Gadget Zero", "0123456789", "source and sink data", "loop input to output"],
        };
    }

    private static byte[] SourceSink(GadgetZeroOptions options)
    {
        UsbSpeed speed = options.Speed;
        DescriptorWriter writer = new DescriptorWriter().Configuration(SourceSinkConfiguration, SelfPoweredWithWake, MaxPower, 4);
        writer.Interface(0, 0, VendorClass, 0, 0);
        if (speed == UsbSpeed.Low)
        {
            // No bulk and no isochronous endpoints at low speed (USB 2.0 §5.6, §5.8). usbtest reads no endpoint descriptors at
            // low speed: its entry fff0:fff0, the one with both endpoints and vendor requests, says endpoints 2 of setting 1.
            LowSpeedPair(writer, BulkIn, BulkOut);
            writer.Interface(0, 1, VendorClass, 0, 0);
            LowSpeedPair(writer, IsochronousIn, IsochronousOut);
            return writer.ToArray();
        }

        Bulk(writer, speed);
        writer.Interface(0, 1, VendorClass, 0, 0);
        Bulk(writer, speed);
        Isochronous(writer, options);
        writer.Interface(0, 2, VendorClass, 0, 0);
        Bulk(writer, speed);
        Interrupt(writer, speed);
        writer.Interface(0, 3, VendorClass, 0, 0);
        Bulk(writer, speed);
        Isochronous(writer, options);
        Interrupt(writer, speed);
        return writer.ToArray();
    }

    private static byte[] Loopback(UsbSpeed speed)
    {
        DescriptorWriter writer = new DescriptorWriter().Configuration(LoopbackConfiguration, SelfPoweredWithWake, MaxPower, 5);
        writer.Interface(0, 0, VendorClass, 0, 0);
        if (speed == UsbSpeed.Low) LowSpeedPair(writer, BulkIn, BulkOut);
        else Bulk(writer, speed);
        return writer.ToArray();
    }

    private static void LowSpeedPair(DescriptorWriter writer, byte inAddress, byte outAddress)
    {
        writer.Endpoint(inAddress, TransferKind.Interrupt, 8, 10);
        writer.Endpoint(outAddress, TransferKind.Interrupt, 8, 10);
    }

    private static void Bulk(DescriptorWriter writer, UsbSpeed speed)
    {
        ushort packet = speed switch { UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };
        Pair(writer, speed, BulkIn, BulkOut, TransferKind.Bulk, packet, 0, maxBurst: 15, mult: 0, perInterval: 0);
    }

    private static void Interrupt(DescriptorWriter writer, UsbSpeed speed)
    {
        ushort packet = speed == UsbSpeed.Full ? (ushort)64 : (ushort)1024;
        byte interval = speed == UsbSpeed.Full ? (byte)1 : (byte)4;
        Pair(writer, speed, InterruptIn, InterruptOut, TransferKind.Interrupt, packet, interval, 0, 0, packet);
    }

    private static void Isochronous(DescriptorWriter writer, GadgetZeroOptions options)
    {
        int packets = options.IsochronousPackets;
        int mult = GadgetZeroOptions.MultOf(packets);
        int burst = GadgetZeroOptions.BurstOf(packets);
        ushort field = options.Speed switch
        {
            UsbSpeed.Full => FullSpeedIsochronous,
            UsbSpeed.High => (ushort)(1024 | ((packets - 1) << 11)),
            _ => 1024,
        };
        Pair(writer, options.Speed, IsochronousIn, IsochronousOut, TransferKind.Isochronous, field, options.IsochronousInterval, (byte)(burst - 1), (byte)(mult - 1), (ushort)(1024 * packets));
    }

    private static void Pair(DescriptorWriter writer, UsbSpeed speed, byte inAddress, byte outAddress, TransferKind kind, ushort packet, byte interval, byte maxBurst, byte mult, ushort perInterval)
    {
        writer.Endpoint(inAddress, kind, packet, interval);
        if (speed == UsbSpeed.Super) writer.Companion(maxBurst, mult, perInterval);
        writer.Endpoint(outAddress, kind, packet, interval);
        if (speed == UsbSpeed.Super) writer.Companion(maxBurst, mult, perInterval);
    }
}
