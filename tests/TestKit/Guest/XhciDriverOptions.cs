namespace XenUsbDm.TestKit.Guest;

/// <summary>How the driver gets to know of events.</summary>
public enum GuestInterruptMode
{
    MsiX,
    Msi,
    Intx,
    Polling,
}

/// <summary>Choices of a driver author; the defaults are those of an ordinary driver.</summary>
public sealed record XhciDriverOptions
{
    public GuestInterruptMode Interrupts { get; init; } = GuestInterruptMode.MsiX;

    /// <summary>Interrupters to set up, 1 or more.</summary>
    public int Interrupters { get; init; } = 1;

    /// <summary>Segments of each event ring.</summary>
    public int EventSegments { get; init; } = 1;

    /// <summary>TRBs of each event ring segment, 16-4096 (§6.5).</summary>
    public int EventSegmentTrbs { get; init; } = 256;

    public int CommandRingTrbs { get; init; } = 64;

    /// <summary>TRBs of each transfer ring segment, Link TRB included.</summary>
    public int RingSegmentTrbs { get; init; } = 256;

    public int RingSegments { get; init; } = 1;

    /// <summary>Rings, contexts and tables lie above 4 GiB.</summary>
    public bool HighStructures { get; init; }

    /// <summary>Data buffers that the driver allocates lie above 4 GiB.</summary>
    public bool HighBuffers { get; init; }

    /// <summary>Slots to enable; 0 is all that there are.</summary>
    public int MaxSlots { get; init; }

    /// <summary>IMODI in 250 ns units (§5.5.2.2).</summary>
    public uint Moderation { get; init; }

    /// <summary>64-bit registers are written by two 32-bit writes, low half first.</summary>
    public bool WriteHalves { get; init; } = true;

    /// <summary>Where the BAR is placed.</summary>
    public ulong BarAddress { get; init; } = 0xfe00_0000;

    /// <summary>Address Device with BSR = 1 first, as Windows does.</summary>
    public bool BlockSetAddressFirst { get; init; }

    /// <summary>Longest wait for a command or a synchronous transfer.</summary>
    public ulong TimeoutNanoseconds { get; init; } = 5_000_000_000;

    /// <summary>Step of the driver's own polling loops.</summary>
    public ulong PollNanoseconds { get; init; } = 50_000;
}
