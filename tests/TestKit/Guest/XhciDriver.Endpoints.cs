using System;
using System.Numerics;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Endpoint contexts from descriptors (xHCI 1.2 §6.2.3).</summary>
public sealed partial class XhciDriver
{
    /// <summary>Max Burst Size of the endpoint context: the companion's, or the high-bandwidth bits of high speed.</summary>
    public static int ContextBurst(GuestEndpoint endpoint)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        bool periodic = endpoint.Kind is TransferKind.Isochronous or TransferKind.Interrupt;
        return endpoint.MaxBurst != 0 ? endpoint.MaxBurst : periodic ? endpoint.AdditionalTransactions : 0;
    }

    /// <summary>Interval field: 125 us times two to its power (table 6-12).</summary>
    public static int ContextInterval(UsbSpeed speed, TransferKind kind, byte interval)
    {
        if (kind is TransferKind.Bulk or TransferKind.Control) return 0;
        if (speed is UsbSpeed.High or UsbSpeed.Super) return Math.Clamp(interval - 1, 0, 15);
        return kind == TransferKind.Isochronous
            ? Math.Clamp(interval - 1, 0, 15) + 3
            : Math.Clamp(BitOperations.Log2(Math.Max(1u, interval) * 8), 3, 10);
    }

    /// <summary>Fills in an endpoint context for a ring or a stream array.</summary>
    public static void FillEndpoint(GuestContext context, GuestEndpoint endpoint, UsbSpeed speed, ulong dequeue, int streamsLog = 0, bool linear = true)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        bool isControl = endpoint.Kind == TransferKind.Control;
        int burst = speed is UsbSpeed.High or UsbSpeed.Super ? ContextBurst(endpoint) : 0;
        context.EndpointType = isControl ? 4 : (uint)endpoint.Kind + (endpoint.IsIn ? 4u : 0);
        context.MaxPacketSize = (uint)endpoint.MaxPacketSize;
        context.MaxBurst = (uint)burst;
        context.ErrorCount = endpoint.Kind == TransferKind.Isochronous ? 0u : 3;
        context.Interval = (uint)ContextInterval(speed, endpoint.Kind, endpoint.Interval);
        context.DequeuePointer = dequeue | (streamsLog == 0 ? 1u : 0);
        if (streamsLog > 0)
        {
            context.MaxPrimaryStreams = (uint)streamsLog - 1;
            context.LinearStreamArray = linear ? 1u : 0;
        }

        int payload = endpoint.MaxPacketSize * (burst + 1);
        if (speed == UsbSpeed.Super)
        {
            if (endpoint.Kind == TransferKind.Isochronous) context.Mult = (uint)(endpoint.CompanionAttributes & 3);
            payload = endpoint.BytesPerInterval;
        }

        bool periodic = endpoint.Kind is TransferKind.Isochronous or TransferKind.Interrupt;
        context.MaxEsitPayload = periodic ? (uint)payload : 0;
        context.AverageTrbLength = endpoint.Kind switch
        {
            TransferKind.Control => 8,
            TransferKind.Bulk => 3072,
            TransferKind.Interrupt => 1024,
            _ => (uint)Math.Min(payload, 0xffff),
        };
    }
}
