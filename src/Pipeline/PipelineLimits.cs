namespace XenUsbDm.Pipeline;

/// <summary>Every cap of the pipeline with its reason. None of them is met by a driver that works as specified.</summary>
public static class PipelineLimits
{
    /// <summary>
    /// Requests of one port that wait or are in flight together. 30 endpoints with 128 requests each (usbtest and
    /// storage drivers stay below) and room for control fit; a guest that queues without end meets it before the process
    /// grows. One more request is refused with TransactionError and counted as queue-full.
    /// </summary>
    public const int OutstandingPerPort = 4096;

    /// <summary>
    /// Isochronous packets of one request: one second at one packet per millisecond, 128 ms at one per microframe;
    /// Linux asks for at most 128, usbif fits fewer, an xHCI TD is one.
    /// </summary>
    public const int IsoPackets = 1024;

    /// <summary>Highest stream id (USB 3.2 §8.12.1.4: 65533 usable, the three above are reserved).</summary>
    public const int Streams = 65533;

    /// <summary>
    /// Requests that one endpoint hands to its device in one step of a pipeline; the rest go in the next, which is due at
    /// once. Keeps one entry into the model short after a long wait.
    /// </summary>
    public const int HandedOverPerStep = 256;

    /// <summary>Rounds of delivery in <see cref="UsbPipeline.TrySettle"/>; a frontend that answers each completion with a refused request does not settle.</summary>
    public const int SettleRounds = 16;

    /// <summary>Service interval of a periodic endpoint for which neither descriptor nor frontend names one: 8 microframes, one frame.</summary>
    public const uint FallbackIntervalMicroframes = 8;

    /// <summary>Longest service interval that a frontend may name: that of full-speed isochronous endpoints, 2^15 frames (USB 2.0 table 9-13).</summary>
    public const uint LongestIntervalMicroframes = 262_144;
}
