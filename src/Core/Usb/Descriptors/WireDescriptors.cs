using System;
using System.Buffers.Binary;

namespace XenUsbDm.Core.Usb.Descriptors;

/// <summary>CONFIGURATION (USB 2.0 table 9-10).</summary>
/// <param name="TotalLength">wTotalLength, bytes of the whole block as the device claims.</param>
/// <param name="InterfaceCount">bNumInterfaces as the device claims.</param>
/// <param name="Value">bConfigurationValue.</param>
/// <param name="Attributes">bmAttributes: bit 6 self-powered, bit 5 remote wakeup.</param>
public readonly record struct ConfigurationDescriptor(ushort TotalLength, byte InterfaceCount, byte Value, byte Attributes)
{
    /// <summary>Bytes of the descriptor.</summary>
    public const int Size = 9;

    /// <summary>Reads the descriptor; false when it is too short or of another type.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out ConfigurationDescriptor descriptor)
    {
        bool ok = bytes.Length >= Size && bytes[0] >= Size && bytes[1] == (byte)DescriptorType.Configuration;
        descriptor = ok ? new(BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]), bytes[4], bytes[5], bytes[7]) : default;
        return ok;
    }
}

/// <summary>INTERFACE (USB 2.0 table 9-12).</summary>
/// <param name="Number">bInterfaceNumber.</param>
/// <param name="Alternate">bAlternateSetting.</param>
/// <param name="EndpointCount">bNumEndpoints as the device claims.</param>
/// <param name="Class">bInterfaceClass.</param>
/// <param name="Subclass">bInterfaceSubClass.</param>
/// <param name="Protocol">bInterfaceProtocol.</param>
public readonly record struct InterfaceDescriptor(byte Number, byte Alternate, byte EndpointCount, byte Class, byte Subclass, byte Protocol)
{
    /// <summary>Bytes of the descriptor.</summary>
    public const int Size = 9;

    /// <summary>Reads the descriptor; false when it is too short or of another type.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out InterfaceDescriptor descriptor)
    {
        bool ok = bytes.Length >= Size && bytes[1] == (byte)DescriptorType.Interface;
        descriptor = ok ? new(bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]) : default;
        return ok;
    }
}

/// <summary>ENDPOINT (USB 2.0 table 9-13) with what its SuperSpeed companion adds (USB 3.2 table 9-29).</summary>
/// <param name="Address">bEndpointAddress.</param>
/// <param name="Attributes">bmAttributes: kind in bits 1:0, isochronous synchronisation and usage above.</param>
/// <param name="RawMaxPacketSize">wMaxPacketSize.</param>
/// <param name="Interval">bInterval.</param>
/// <param name="Companion">The companion that followed; all zero without one.</param>
public readonly record struct EndpointDescriptor(
    EndpointAddress Address, byte Attributes, ushort RawMaxPacketSize, byte Interval, EndpointCompanion Companion)
{
    /// <summary>Bytes of the descriptor; audio endpoints have two more.</summary>
    public const int Size = 7;

    /// <summary>Transfer type, bmAttributes bits 1:0.</summary>
    public TransferKind Kind => (TransferKind)(Attributes & 3);

    /// <summary>Bytes of one packet, 0-2047: wMaxPacketSize bits 10:0 (USB 2.0 table 9-13).</summary>
    public int MaxPacketSize => RawMaxPacketSize & 0x7ff;

    /// <summary>Transactions in one microframe, 1-3: wMaxPacketSize bits 12:11 plus one; the reserved value 3 counts as none additional.</summary>
    public int TransactionsPerMicroframe => ((RawMaxPacketSize >> 11) & 3) is var additional && additional == 3 ? 1 : additional + 1;

    /// <summary>Reads the descriptor without companion; false when it is too short or of another type.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out EndpointDescriptor descriptor)
    {
        bool ok = bytes.Length >= Size && bytes[1] == (byte)DescriptorType.Endpoint;
        descriptor = ok
            ? new(new EndpointAddress(bytes[2]), bytes[3], BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]), bytes[6], default)
            : default;
        return ok;
    }

    /// <summary>
    /// Service interval in microframes, a power of two (1-262144); 0 when the kind is not periodic or bInterval is out of
    /// range. USB 2.0 table 9-13: interrupt at low and full speed in frames 1-255, of which a host uses the next lower
    /// power of two; otherwise 2^(bInterval-1), in frames for full-speed isochronous and in microframes from high speed on.
    /// </summary>
    public uint IntervalMicroframes(UsbSpeed speed)
    {
        if (Kind is not (TransferKind.Interrupt or TransferKind.Isochronous) || Interval == 0) return 0;
        bool inFrames = speed is UsbSpeed.Low or UsbSpeed.Full;
        if (inFrames && Kind == TransferKind.Interrupt)
            return 8u << System.Numerics.BitOperations.Log2(Interval);
        if (Interval > 16) return 0;
        return inFrames ? 8u << (Interval - 1) : 1u << (Interval - 1);
    }

    /// <summary>
    /// Most bytes of one service interval at <paramref name="speed"/>, 0 for an endpoint that can carry none. High speed:
    /// packets per microframe (USB 2.0 §5.9); SuperSpeed: burst times Mult, at most wBytesPerInterval (USB 3.2 §9.6.7).
    /// </summary>
    public int BytesPerInterval(UsbSpeed speed)
    {
        if (speed == UsbSpeed.Super)
        {
            int bytes = MaxPacketSize * (Companion.MaxBurst + 1) * (Kind == TransferKind.Isochronous ? Companion.Mult + 1 : 1);
            return Companion.BytesPerInterval == 0 ? bytes : Math.Min(bytes, Companion.BytesPerInterval);
        }

        return speed == UsbSpeed.High && Kind is TransferKind.Interrupt or TransferKind.Isochronous
            ? MaxPacketSize * TransactionsPerMicroframe
            : MaxPacketSize;
    }
}

/// <summary>SUPERSPEED_USB_ENDPOINT_COMPANION (USB 3.2 table 9-29).</summary>
/// <param name="RawMaxBurst">bMaxBurst.</param>
/// <param name="Attributes">bmAttributes: bulk streams in bits 4:0, isochronous Mult in bits 1:0.</param>
/// <param name="BytesPerInterval">wBytesPerInterval.</param>
public readonly record struct EndpointCompanion(byte RawMaxBurst, byte Attributes, ushort BytesPerInterval)
{
    /// <summary>Bytes of the descriptor.</summary>
    public const int Size = 6;

    /// <summary>Packets of one burst less one, 0-15; larger claims count as 15.</summary>
    public int MaxBurst => Math.Min((int)RawMaxBurst, 15);

    /// <summary>Bursts of one isochronous interval less one, 0-2; the reserved value 3 counts as 2.</summary>
    public int Mult => Math.Min(Attributes & 3, 2);

    /// <summary>Streams of a bulk endpoint: 0 for none, otherwise 2^n with n from 1 to 16; larger claims count as 16.</summary>
    public int MaxStreams => (Attributes & 0x1f) == 0 ? 0 : 1 << Math.Min(Attributes & 0x1f, 16);

    /// <summary>Reads the descriptor; false when it is too short or of another type.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, out EndpointCompanion descriptor)
    {
        bool ok = bytes.Length >= Size && bytes[1] == (byte)DescriptorType.SuperSpeedEndpointCompanion;
        descriptor = ok ? new(bytes[2], bytes[3], BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..])) : default;
        return ok;
    }
}
