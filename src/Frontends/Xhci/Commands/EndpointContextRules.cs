using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Which Endpoint Contexts a command accepts (xHCI 1.2 §6.2.3); what it refuses is a Parameter Error.</summary>
internal static class EndpointContextRules
{
    // wMaxPacketSize of endpoint 0 at SuperSpeed (USB 3.2 §8.12.2); slower devices have 64 at most.
    private const int LargestControlPacket = 512;
    private const int LargestBurst = 15;

    // Additional transactions of a high-speed periodic endpoint (USB 2.0 §9.6.6), and Mult (§6.2.3).
    private const int LargestHighSpeedBurst = 2;
    private const int LargestMult = 2;

    // Table 6-12: exponents of full- and low-speed periodic endpoints, and of the faster ones.
    private const int ShortestFrameInterval = 3;
    private const int LongestFrameInterruptInterval = 10;
    private const int LongestInterval = 15;

    /// <summary>True for the context of endpoint 0 in Address Device (§4.6.5).</summary>
    public static bool IsValidControl(in EndpointContext context) =>
        context.Type == EndpointType.Control && IsValidControlPacket(context) && context.MaxPrimaryStreams == 0;

    /// <summary>
    /// True for the context of endpoint 0 in Evaluate Context, which looks at Max Packet Size alone (§4.6.7, §6.2.3.3); UEFI
    /// firmware leaves the other fields 0.
    /// </summary>
    public static bool IsValidControlPacket(in EndpointContext context) => context.MaxPacketSize is > 0 and <= LargestControlPacket;

    /// <summary>True for the context of endpoint <paramref name="dci"/> (2-31) in Configure Endpoint (§4.6.6).</summary>
    public static bool IsValid(in EndpointContext context, int dci, UsbSpeed speed)
    {
        // A control endpoint uses the odd DCI of its number (§4.5.1); all others the one of their direction.
        bool wantsIn = context.Type is EndpointType.Control or EndpointType.IsochIn or EndpointType.BulkIn or EndpointType.InterruptIn;
        if (context.Type == EndpointType.NotValid || wantsIn != ((dci & 1) != 0)) return false;
        TransferKind kind = EndpointContext.KindOf(context.Type);
        bool periodic = kind is TransferKind.Interrupt or TransferKind.Isochronous;
        if (context.MaxPacketSize == 0 || context.MaxPacketSize > LargestPacket(kind, speed)) return false;
        if (context.MaxBurst > (periodic && speed == UsbSpeed.High ? LargestHighSpeedBurst : LargestBurst) || context.Mult > LargestMult) return false;
        if (periodic && !IsValidInterval(context.Interval, kind, speed)) return false;
        if (context.MaxPrimaryStreams == 0) return true;
        // §6.2.3: streams are for SuperSpeed bulk endpoints, within MaxPSASize.
        return speed == UsbSpeed.Super
            && context.Type is EndpointType.BulkIn or EndpointType.BulkOut
            && context.MaxPrimaryStreams <= XhciLimits.MaxPrimaryStreamArraySize;
    }

    // USB 2.0 §5.5.3-§5.8.3, USB 3.2 §9.6.6.
    private static int LargestPacket(TransferKind kind, UsbSpeed speed) => speed switch
    {
        UsbSpeed.Low => 8,
        UsbSpeed.Full => kind == TransferKind.Isochronous ? 1023 : 64,
        UsbSpeed.High when kind == TransferKind.Control => 64,
        UsbSpeed.High when kind == TransferKind.Bulk => 512,
        _ => kind == TransferKind.Control ? LargestControlPacket : 1024,
    };

    private static bool IsValidInterval(int interval, TransferKind kind, UsbSpeed speed) => speed switch
    {
        UsbSpeed.High or UsbSpeed.Super => interval <= LongestInterval,
        _ => interval >= ShortestFrameInterval && interval <= (kind == TransferKind.Interrupt ? LongestFrameInterruptInterval : XhciLimits.MaxInterval),
    };
}
