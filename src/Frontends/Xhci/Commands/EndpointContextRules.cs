using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Which Endpoint Contexts a command accepts (xHCI 1.2 §6.2.3); what it refuses is a Parameter Error.</summary>
internal static class EndpointContextRules
{
    private const int LargestPacket = 1024;
    private const int LargestBurst = 15;

    /// <summary>True for the context of endpoint 0 in Address Device or Evaluate Context (§4.6.5, §4.6.7).</summary>
    public static bool IsValidControl(in EndpointContext context) =>
        context.Type == EndpointType.Control && context.MaxPacketSize is > 0 and <= LargestPacket && context.MaxPrimaryStreams == 0;

    /// <summary>True for the context of endpoint <paramref name="dci"/> (2-31) in Configure Endpoint (§4.6.6).</summary>
    public static bool IsValid(in EndpointContext context, int dci, UsbSpeed speed)
    {
        // A control endpoint uses the odd DCI of its number (§4.5.1); all others the one of their direction.
        bool wantsIn = context.Type is EndpointType.Control or EndpointType.IsochIn or EndpointType.BulkIn or EndpointType.InterruptIn;
        if (context.Type == EndpointType.NotValid || wantsIn != ((dci & 1) != 0)) return false;
        if (context.MaxPacketSize is 0 or > LargestPacket || context.MaxBurst > LargestBurst) return false;
        if (context.Interval > XhciLimits.MaxInterval) return false;
        if (context.MaxPrimaryStreams == 0) return true;
        // §6.2.3: streams are for SuperSpeed bulk endpoints, within MaxPSASize.
        return speed == UsbSpeed.Super
            && context.Type is EndpointType.BulkIn or EndpointType.BulkOut
            && context.MaxPrimaryStreams <= XhciLimits.MaxPrimaryStreamArraySize;
    }
}
