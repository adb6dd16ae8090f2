namespace XenUsbDm.Frontends.Xhci;

/// <summary>Every cap on what a guest can make the controller do or hold, with the reason for its number.</summary>
internal static class XhciLimits
{
    /// <summary>
    /// TRBs fetched in one <see cref="Core.Time.ITimed.Advance"/>: some 100 us of work, so that a vCPU waiting for a register
    /// is never far away. Work that is left makes the controller ask for another call at once.
    /// </summary>
    public const int TrbsPerAdvance = 8192;

    /// <summary>Bytes submitted in one Advance: four requests of the largest size; an emulated device copies them in about a millisecond.</summary>
    public const int BytesPerAdvance = 4 << 20;

    /// <summary>Commands executed in one Advance; more than any driver queues (a full 256-TRB ring takes four calls).</summary>
    public const int CommandsPerAdvance = 64;

    /// <summary>
    /// TRBs after which a transfer ends at the next packet border, so that a TD may have any number of TRBs.
    /// 1 MiB in 4 KiB pages needs 257.
    /// </summary>
    public const int TrbsPerTransferSoft = 1024;

    /// <summary>TRBs between two packet borders of one TD; beyond it the TD gets a TRB Error. Only TRBs shorter than a packet get here.</summary>
    public const int TrbsPerTransferHard = 4096;

    /// <summary>Transfers in flight per endpoint or stream. Windows and Linux keep fewer than 32 bulk TDs; isochronous rings run up to 128 intervals ahead.</summary>
    public const int TransfersPerRing = 128;

    /// <summary>Transfers of the whole controller, so that 64 slots of 30 endpoints cannot hold 250,000 of them (about 0.5 KiB each).</summary>
    public const int Transfers = 8192;

    /// <summary>TRB records held by all transfers in flight (32 bytes each: 16 MiB). The next transfer waits until some are free.</summary>
    public const int TrbRecords = 1 << 19;

    /// <summary>A transfer's arrays above this many records are given back to the collector when it ends.</summary>
    public const int TrbRecordsKept = 512;

    /// <summary>Streams with work in flight per endpoint; doorbells of others wait in a bitmap. UAS uses at most 256 commands.</summary>
    public const int ActiveStreams = 256;

    /// <summary>Largest valid Interval exponent: full-speed isochronous 2^18 microframes (xHCI 1.2 table 6-12).</summary>
    public const int MaxInterval = 18;

    /// <summary>Endpoint Contexts of a device: DCI 1 to 31.</summary>
    public const int Endpoints = 31;

    /// <summary>MaxPSASize of HCCPARAMS1: primary stream arrays of up to 2^(7+1) entries (Windows HLK wants 31 streams or more).</summary>
    public const int MaxPrimaryStreamArraySize = 7;
}
