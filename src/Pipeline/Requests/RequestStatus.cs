namespace XenUsbDm.Pipeline.Requests;

/// <summary>How a request ended. Each frontend maps these to its own codes (xHCI 1.2 table 6-90, usbif status).</summary>
public enum RequestStatus
{
    /// <summary>All done, or a short packet ended an IN transfer: <see cref="UsbRequest.ActualLength"/> tells.</summary>
    Success,

    /// <summary>The endpoint answered STALL.</summary>
    Stall,

    /// <summary>No valid answer: CRC, time-out, no such endpoint or address.</summary>
    TransactionError,

    /// <summary>The device sent more than the buffer or the packet size allows.</summary>
    Babble,

    /// <summary>The device is gone.</summary>
    NoDevice,

    /// <summary>Unlinked by the frontend; <see cref="UsbRequest.ActualLength"/> is what was moved before.</summary>
    Cancelled,

    /// <summary>A data segment names guest memory that is not mapped.</summary>
    MemoryFault,
}

/// <summary>Where a request is; only the pipeline changes it.</summary>
public enum RequestState
{
    /// <summary>Belongs to the frontend, which may fill it in and submit it.</summary>
    Idle,

    /// <summary>Held by the pipeline until its service interval.</summary>
    Waiting,

    /// <summary>Handed to the device.</summary>
    InFlight,

    /// <summary>Ended; its completion has not been delivered yet.</summary>
    Done,
}
