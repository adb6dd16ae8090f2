using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Commands;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// Periodic bandwidth (xHCI 1.2 §4.14, §4.16). Every root port is a bus instance of its own, so devices on different ports
/// never compete; a device competes with itself. Reservations are averages over the interval, which the
/// pipeline's pacing keeps to.
/// </summary>
internal sealed class Bandwidth
{
    // Bus time of one millisecond, in bytes at the wire rate: USB 2.0 §5.11.3 (12 Mb/s, 480 Mb/s), USB 3.2 §6 (5 Gb/s, 8b/10b).
    private const long FullSpeedFrame = 1500;
    private const long HighSpeedFrame = 60_000;
    private const long SuperSpeedFrame = 500_000;

    // Share that periodic transfers may have: 90 % at low and full speed (USB 2.0 §5.6.4), 80 % at high speed, 90 % at SuperSpeed (USB 3.2 §8.12).
    private const int FullSpeedPercent = 90;
    private const int HighSpeedPercent = 80;
    private const int SuperSpeedPercent = 90;

    // Protocol overhead of one packet in bytes (USB 2.0 tables 5-4 to 5-8, rounded up; SuperSpeed: header and framing).
    private const long Overhead = 40;

    // Low speed takes eight times the bus time of full speed.
    private const long LowSpeedFactor = 8;

    private readonly long[][] _reserved = new long[256][];
    private readonly long[] _usedIn = new long[PortNumber.Max + 1];
    private readonly long[] _usedOut = new long[PortNumber.Max + 1];

    /// <summary>True when the endpoints that <paramref name="input"/> adds fit, after those it drops are gone.</summary>
    public bool Fits(Slot slot, in InputContext input)
    {
        long usedIn = _usedIn[slot.Port.Value];
        long usedOut = _usedOut[slot.Port.Value];
        InputControlContext control = input.Control;
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++)
        {
            long change = control.Drops(dci) ? -Reserved(slot, dci) : 0;
            if (control.Adds(dci)) change += Cost(input.Endpoint(dci), slot.Speed);
            if ((dci & 1) != 0) usedIn += change;
            else usedOut += change;
        }

        long limit = Limit(slot.Speed);
        // SuperSpeed has a pair of wires for each direction.
        return slot.Speed == UsbSpeed.Super ? usedIn <= limit && usedOut <= limit : usedIn + usedOut <= limit;
    }

    /// <summary>Reserves what an endpoint that was found to fit needs.</summary>
    public void Reserve(Slot slot, int dci, in EndpointContext context)
    {
        long[] slots = _reserved[slot.Id] ??= new long[XhciLimits.Endpoints + 1];
        slots[dci] = Cost(context, slot.Speed);
        if ((dci & 1) != 0) _usedIn[slot.Port.Value] += slots[dci];
        else _usedOut[slot.Port.Value] += slots[dci];
    }

    /// <summary>Gives an endpoint's reservation back.</summary>
    public void Release(Slot slot, int dci)
    {
        long cost = Reserved(slot, dci);
        if (cost == 0) return;
        _reserved[slot.Id][dci] = 0;
        if ((dci & 1) != 0) _usedIn[slot.Port.Value] -= cost;
        else _usedOut[slot.Port.Value] -= cost;
    }

    /// <summary>Gives back everything of a slot.</summary>
    public void ReleaseAll(Slot slot)
    {
        for (int dci = 2; dci <= XhciLimits.Endpoints; dci++) Release(slot, dci);
    }

    /// <summary>Everything free again (controller reset).</summary>
    public void Clear()
    {
        System.Array.Clear(_reserved);
        System.Array.Clear(_usedIn);
        System.Array.Clear(_usedOut);
    }

    /// <summary>Percent of the bus time of <paramref name="port"/> that a device of <paramref name="speed"/> may still reserve.</summary>
    public int PercentAvailable(PortNumber port, UsbSpeed speed)
    {
        long used = speed == UsbSpeed.Super
            ? System.Math.Max(_usedIn[port.Value], _usedOut[port.Value])
            : _usedIn[port.Value] + _usedOut[port.Value];
        long frame = Frame(speed);
        return (int)System.Math.Clamp((Limit(speed) - used) * 100 / frame, 0, 100);
    }

    private long Reserved(Slot slot, int dci) => _reserved[slot.Id] is { } slots ? slots[dci] : 0;

    // Bytes of bus time per millisecond, or for intervals above a millisecond in the millisecond that they use.
    private static long Cost(in EndpointContext context, UsbSpeed speed)
    {
        if (EndpointContext.KindOf(context.Type) is TransferKind.Bulk or TransferKind.Control) return 0;
        long packets = speed == UsbSpeed.Super ? (context.MaxBurst + 1L) * (context.Mult + 1L) : speed == UsbSpeed.High ? context.MaxBurst + 1L : 1;
        long payload = packets * context.MaxPacketSize;
        // Drivers that leave Max ESIT Payload 0 (macOS) reserve the largest payload.
        if (context.MaxEsitPayload > 0) payload = System.Math.Min(payload, context.MaxEsitPayload);
        long perInterval = payload + (packets * Overhead);
        if (speed == UsbSpeed.Low) perInterval *= LowSpeedFactor;
        long perMillisecond = 8 >> System.Math.Min(3, context.Interval);
        return perInterval * perMillisecond;
    }

    private static long Frame(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Super => SuperSpeedFrame,
        UsbSpeed.High => HighSpeedFrame,
        _ => FullSpeedFrame,
    };

    private static long Limit(UsbSpeed speed) => Frame(speed) / 100 * (speed switch
    {
        UsbSpeed.Super => SuperSpeedPercent,
        UsbSpeed.High => HighSpeedPercent,
        _ => FullSpeedPercent,
    });
}
