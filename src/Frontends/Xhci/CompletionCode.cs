namespace XenUsbDm.Frontends.Xhci;

/// <summary>TRB completion codes (xHCI 1.2 table 6-90).</summary>
public enum CompletionCode : byte
{
    /// <summary>Not written yet.</summary>
    Invalid = 0,

    /// <summary>Success.</summary>
    Success = 1,

    /// <summary>Data Buffer Error.</summary>
    DataBufferError = 2,

    /// <summary>Babble Detected Error.</summary>
    BabbleDetectedError = 3,

    /// <summary>USB Transaction Error.</summary>
    UsbTransactionError = 4,

    /// <summary>TRB Error.</summary>
    TrbError = 5,

    /// <summary>Stall Error.</summary>
    StallError = 6,

    /// <summary>Resource Error.</summary>
    ResourceError = 7,

    /// <summary>Bandwidth Error.</summary>
    BandwidthError = 8,

    /// <summary>No Slots Available Error.</summary>
    NoSlotsAvailableError = 9,

    /// <summary>Invalid Stream Type Error.</summary>
    InvalidStreamTypeError = 10,

    /// <summary>Slot Not Enabled Error.</summary>
    SlotNotEnabledError = 11,

    /// <summary>Endpoint Not Enabled Error.</summary>
    EndpointNotEnabledError = 12,

    /// <summary>Short Packet.</summary>
    ShortPacket = 13,

    /// <summary>Ring Underrun.</summary>
    RingUnderrun = 14,

    /// <summary>Ring Overrun.</summary>
    RingOverrun = 15,

    /// <summary>VF Event Ring Full Error.</summary>
    VfEventRingFullError = 16,

    /// <summary>Parameter Error.</summary>
    ParameterError = 17,

    /// <summary>Bandwidth Overrun Error.</summary>
    BandwidthOverrunError = 18,

    /// <summary>Context State Error.</summary>
    ContextStateError = 19,

    /// <summary>No Ping Response Error.</summary>
    NoPingResponseError = 20,

    /// <summary>Event Ring Full Error.</summary>
    EventRingFullError = 21,

    /// <summary>Incompatible Device Error.</summary>
    IncompatibleDeviceError = 22,

    /// <summary>Missed Service Error.</summary>
    MissedServiceError = 23,

    /// <summary>Command Ring Stopped.</summary>
    CommandRingStopped = 24,

    /// <summary>Command Aborted.</summary>
    CommandAborted = 25,

    /// <summary>Stopped.</summary>
    Stopped = 26,

    /// <summary>Stopped - Length Invalid.</summary>
    StoppedLengthInvalid = 27,

    /// <summary>Stopped - Short Packet.</summary>
    StoppedShortPacket = 28,

    /// <summary>Max Exit Latency Too Large Error.</summary>
    MaxExitLatencyTooLargeError = 29,

    /// <summary>Isoch Buffer Overrun.</summary>
    IsochBufferOverrun = 31,

    /// <summary>Event Lost Error.</summary>
    EventLostError = 32,

    /// <summary>Undefined Error.</summary>
    UndefinedError = 33,

    /// <summary>Invalid Stream ID Error.</summary>
    InvalidStreamIdError = 34,

    /// <summary>Secondary Bandwidth Error.</summary>
    SecondaryBandwidthError = 35,

    /// <summary>Split Transaction Error.</summary>
    SplitTransactionError = 36,
}
