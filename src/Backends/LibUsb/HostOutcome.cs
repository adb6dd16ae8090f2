using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.LibUsb;

/// <summary>From libusb's results to the pipeline's. Every value has a row; what is not in libusb.h is a transaction error.</summary>
public static class HostOutcome
{
    /// <summary>The status of a request whose transfer ended so.</summary>
    public static RequestStatus OfTransfer(HostTransferStatus status) => status switch
    {
        HostTransferStatus.Completed => RequestStatus.Success,
        HostTransferStatus.Error => RequestStatus.TransactionError,
        HostTransferStatus.TimedOut => RequestStatus.TransactionError,
        HostTransferStatus.Cancelled => RequestStatus.Cancelled,
        HostTransferStatus.Stall => RequestStatus.Stall,
        HostTransferStatus.NoDevice => RequestStatus.NoDevice,
        HostTransferStatus.Overflow => RequestStatus.Babble,
        _ => RequestStatus.TransactionError,
    };

    /// <summary>The status of a request whose transfer was not taken.</summary>
    public static RequestStatus OfSubmit(HostError error) => error switch
    {
        HostError.None => RequestStatus.Success,
        HostError.NoDevice => RequestStatus.NoDevice,
        HostError.Pipe => RequestStatus.Stall,
        HostError.Overflow => RequestStatus.Babble,
        _ => RequestStatus.TransactionError,
    };

    /// <summary>
    /// The status of SET_CONFIGURATION, SET_INTERFACE or CLEAR_FEATURE. What the host's kernel refuses because the device's
    /// descriptors have no such thing, the device would have answered with STALL (USB 2.0 §9.4.1, §9.4.7, §9.4.10).
    /// </summary>
    public static RequestStatus OfOperation(HostError error) => error switch
    {
        HostError.None => RequestStatus.Success,
        HostError.NoDevice => RequestStatus.NoDevice,
        HostError.Pipe => RequestStatus.Stall,
        HostError.NotFound => RequestStatus.Stall,
        HostError.InvalidParameter => RequestStatus.Stall,
        HostError.Overflow => RequestStatus.Babble,
        _ => RequestStatus.TransactionError,
    };

    /// <summary>
    /// An operation that ended so was refused or lost by the host, and its operator should know. The others are the device's
    /// answer, a guest that asks for what the descriptors do not have, or a device that has gone, which is told elsewhere.
    /// </summary>
    public static bool IsOfHost(HostError error) =>
        error is not (HostError.None or HostError.NoDevice or HostError.NotFound or HostError.InvalidParameter or HostError.Pipe);

    /// <summary>Why an operation failed, and what an operator can do.</summary>
    public static string Explain(HostError error) => error switch
    {
        HostError.Access => "no permission; see the rights of the device's node",
        HostError.Busy => "another program or driver of the host has an interface of the device; end it",
        HostError.Timeout => "the device did not answer in time; if it goes on, plug it in anew",
        HostError.NoMemory => "no memory; raise /sys/module/usbcore/parameters/usbfs_memory_mb",
        HostError.NotSupported => "the host's controller or kernel cannot do it; use another port of the host",
        _ => $"{error} error of the device or the host's controller; if it goes on, plug it in anew",
    };

    /// <summary>libusb's number (0 or negative) as a value of the enumeration.</summary>
    public static HostError FromNumber(int number) => number switch
    {
        >= 0 => HostError.None,
        >= -12 => (HostError)(-number),
        _ => HostError.Other,
    };
}
