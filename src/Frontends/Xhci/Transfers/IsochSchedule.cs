using XenUsbDm.Frontends.Xhci.Slots;

namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>In which microframe an isochronous TD is due (xHCI 1.2 §4.11.2.5).</summary>
internal static class IsochSchedule
{
    // Isoch TRB control word (§6.4.1.3): Start Isoch ASAP, and the 11-bit Frame ID.
    private const uint StartAsap = 1u << 31;
    private const int FrameIdShift = 20;
    private const uint FrameIdMask = 0x7ff;

    // MFINDEX counts 14 bits of microframes; a frame is eight of them.
    private const ulong MfindexMask = 0x3fff;

    // Far beyond any time that passes, and no sum of a few of them overflows.
    private const ulong IndexMask = (1UL << 60) - 1;

    // §4.11.2.5: a Frame ID lies at most 895 frames ahead; what is further "ahead" has passed.
    private const ulong WindowMicroframes = 895 * 8;

    /// <summary>
    /// Fixes the service time of the endpoint's next TD. False when the frame that the TD names has passed: Missed Service.
    /// </summary>
    /// <param name="endpoint">The isochronous endpoint; its schedule moves on.</param>
    /// <param name="control">Control word of the TD's Isoch TRB.</param>
    /// <param name="now">Current microframe of virtual time.</param>
    /// <param name="origin">Microframe of virtual time at which MFINDEX was 0; intervals and frames are counted from there.</param>
    /// <param name="takesLate">
    /// The device's own bus decides when it is served, so a frame that has passed here is no reason to lose the TD: it goes as
    /// soon as possible, in order.
    /// </param>
    /// <param name="start">The microframe of virtual time in which the TD is due.</param>
    public static bool TryPlace(Endpoint endpoint, uint control, ulong now, ulong origin, bool takesLate, out ulong start)
    {
        ulong interval = endpoint.Interval;
        // The origin may have wrapped below 0. A service time from before the last halt lies before it: MFINDEX stood still since.
        ulong index = unchecked(now - origin) & IndexMask;
        ulong earliest = AlignUp(index + 1, interval);
        long ahead = unchecked((long)(endpoint.NextService - origin));
        ulong next = endpoint.IsScheduled && ahead > 0 ? (ulong)ahead & IndexMask : 0;
        ulong place;
        if ((control & StartAsap) != 0)
        {
            place = System.Math.Max(next, earliest);
            if (next == index) place = next;
        }
        else
        {
            // HCCPARAMS1.CFC = 1: every TD may name its frame, not only the first.
            ulong frame = (ulong)((control >> FrameIdShift) & FrameIdMask) * 8;
            ulong current = index & ~7UL;
            ulong distance = unchecked(frame - current) & MfindexMask;
            ulong frameStart = current + distance;
            ulong frameEnd = frameStart + System.Math.Max(8, interval);
            // With several intervals in a frame, TDs of one Frame ID follow each other (§4.11.2.5).
            place = AlignUp(frameStart, interval);
            if (next > place && next < frameEnd) place = next;
            if (place < earliest && earliest < frameEnd) place = earliest;
            bool isLate = distance > WindowMicroframes || place < earliest || place < next;
            if (isLate && !takesLate)
            {
                endpoint.IsScheduled = false;
                start = 0;
                return false;
            }

            if (isLate) place = System.Math.Max(next, earliest);
        }

        start = unchecked(place + origin);
        endpoint.IsScheduled = true;
        endpoint.NextService = unchecked(start + interval);
        return true;
    }

    private static ulong AlignUp(ulong value, ulong interval) => (value + interval - 1) & ~(interval - 1);
}
