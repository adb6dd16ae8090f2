using System.Diagnostics.CodeAnalysis;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.LibUsb;

// LibUsb/ is the backend of physical devices. HostDevice is the IUsbDevice; everything that it wants of the host's USB
// stack goes through IHostHandle, which Native/LibUsb implements over libusb and tests fake.
//
//   pipeline --> HostDevice --> EndpointLine (waiting, in flight) --> IHostHandle.Submit     asynchronous transfers
//                    |                                                       ^
//                    '--> HostOperation --> IHostHandle.Start                | Deliver: what has ended
//                         (reset, configuration, interface, halt, streams: the slow lane, one after another)

/// <summary>What libusb's functions return, with its numbers negated (libusb.h, enum libusb_error).</summary>
public enum HostError
{
    /// <summary>LIBUSB_SUCCESS.</summary>
    None = 0,

    /// <summary>LIBUSB_ERROR_IO.</summary>
    Io = 1,

    /// <summary>LIBUSB_ERROR_INVALID_PARAM.</summary>
    InvalidParameter = 2,

    /// <summary>LIBUSB_ERROR_ACCESS.</summary>
    Access = 3,

    /// <summary>LIBUSB_ERROR_NO_DEVICE.</summary>
    NoDevice = 4,

    /// <summary>LIBUSB_ERROR_NOT_FOUND: no such configuration or endpoint; after a reset, the device came back as another.</summary>
    NotFound = 5,

    /// <summary>LIBUSB_ERROR_BUSY.</summary>
    Busy = 6,

    /// <summary>LIBUSB_ERROR_TIMEOUT.</summary>
    Timeout = 7,

    /// <summary>LIBUSB_ERROR_OVERFLOW.</summary>
    Overflow = 8,

    /// <summary>LIBUSB_ERROR_PIPE: the device answered STALL.</summary>
    Pipe = 9,

    /// <summary>LIBUSB_ERROR_INTERRUPTED.</summary>
    Interrupted = 10,

    /// <summary>LIBUSB_ERROR_NO_MEM: the kernel's limit for USB memory (usbfs_memory_mb) or memory itself is used up.</summary>
    NoMemory = 11,

    /// <summary>LIBUSB_ERROR_NOT_SUPPORTED.</summary>
    NotSupported = 12,

    /// <summary>LIBUSB_ERROR_OTHER, and every number that libusb.h does not have.</summary>
    Other = 99,
}

/// <summary>How a transfer ended (libusb.h, enum libusb_transfer_status).</summary>
public enum HostTransferStatus
{
    /// <summary>LIBUSB_TRANSFER_COMPLETED, also with less than was asked for.</summary>
    Completed = 0,

    /// <summary>LIBUSB_TRANSFER_ERROR.</summary>
    Error = 1,

    /// <summary>LIBUSB_TRANSFER_TIMED_OUT.</summary>
    TimedOut = 2,

    /// <summary>LIBUSB_TRANSFER_CANCELLED.</summary>
    Cancelled = 3,

    /// <summary>LIBUSB_TRANSFER_STALL.</summary>
    Stall = 4,

    /// <summary>LIBUSB_TRANSFER_NO_DEVICE.</summary>
    NoDevice = 5,

    /// <summary>LIBUSB_TRANSFER_OVERFLOW.</summary>
    Overflow = 6,
}

/// <summary>What runs on the slow lane because it may block.</summary>
public enum HostOperationKind
{
    /// <summary>Bus reset; configuration and claims are restored.</summary>
    Reset,

    /// <summary>SET_CONFIGURATION; all interfaces of the new one are claimed.</summary>
    SetConfiguration,

    /// <summary>SET_INTERFACE.</summary>
    SetInterface,

    /// <summary>CLEAR_FEATURE(ENDPOINT_HALT).</summary>
    ClearHalt,

    /// <summary>Bulk streams of one endpoint are made, or removed.</summary>
    SetStreams,
}

/// <summary>One piece of work of the slow lane.</summary>
/// <param name="Kind">What.</param>
/// <param name="Target">bConfigurationValue, interface number or endpoint address.</param>
/// <param name="Value">Alternate setting, or highest stream id (0 removes streams).</param>
public readonly record struct HostOperation(HostOperationKind Kind, byte Target = 0, int Value = 0)
{
    /// <summary>For messages.</summary>
    public string Words => Kind switch
    {
        HostOperationKind.Reset => "the device's reset",
        HostOperationKind.SetConfiguration => $"SET_CONFIGURATION({Target})",
        HostOperationKind.SetInterface => $"SET_INTERFACE({Target}, {Value})",
        HostOperationKind.ClearHalt => $"CLEAR_FEATURE(ENDPOINT_HALT) of endpoint 0x{Target:x2}",
        _ => Value > 0 ? $"making streams 1 to {Value} of endpoint 0x{Target:x2}" : $"removing the streams of endpoint 0x{Target:x2}",
    };
}

/// <summary>
/// An open device of the host. All members are called on the loop's thread and none blocks. What ends, a transfer or an
/// operation, waits until it is taken; the owner is told by other means that something waits.
/// </summary>
public interface IHostHandle : IInspectable
{
    /// <summary>What is known of the device.</summary>
    HostDeviceFacts Facts { get; }

    /// <summary>
    /// A transfer of the pool with room for <paramref name="bytes"/> (up to 1 MiB and 8) and <paramref name="packets"/>
    /// isochronous packets. Null when there is no memory.
    /// </summary>
    HostTransfer? Rent(int bytes, int packets);

    /// <summary>Gives back a transfer that is not in flight.</summary>
    void Return(HostTransfer transfer);

    /// <summary>Hands a transfer to the host's USB stack. Unless it fails, the transfer is taken with <see cref="TryTakeTransfer"/> later.</summary>
    HostError Submit(HostTransfer transfer);

    /// <summary>Asks for a transfer in flight back. It ends as Cancelled with an exact length, or with its own result.</summary>
    void Cancel(HostTransfer transfer);

    /// <summary>Starts an operation. One at a time; it ends through <see cref="TryTakeOperation"/>.</summary>
    void Start(HostOperation operation);

    /// <summary>A transfer that has ended; those of one endpoint in the order in which they ended.</summary>
    bool TryTakeTransfer([NotNullWhen(true)] out HostTransfer? transfer);

    /// <summary>True once when the operation has ended.</summary>
    bool TryTakeOperation(out HostError result);
}

/// <summary>One isochronous packet as it ended.</summary>
/// <param name="Status">How.</param>
/// <param name="ActualLength">Bytes moved.</param>
public readonly record struct HostPacket(HostTransferStatus Status, int ActualLength);

/// <summary>A transfer with its buffer outside managed memory. Pooled: nothing is allocated for a transfer in steady state.</summary>
public abstract class HostTransfer
{
    /// <summary>Where to.</summary>
    public EndpointAddress Endpoint { get; set; }

    /// <summary>Transfer type.</summary>
    public TransferKind Kind { get; set; }

    /// <summary>Bulk stream, 0 without streams.</summary>
    public ushort StreamId { get; set; }

    /// <summary>Bytes of <see cref="Buffer"/> in use; for a control transfer with its eight bytes of setup.</summary>
    public int Length { get; set; }

    /// <summary>Isochronous packets in use; their data lie one after the other.</summary>
    public int PacketCount { get; set; }

    /// <summary>How it ended.</summary>
    public HostTransferStatus Status { get; set; }

    /// <summary>Bytes moved, setup not counted. Not checked: it comes from the host's stack.</summary>
    public int ActualLength { get; set; }

    /// <summary>All bytes of the buffer; the host's stack reads and writes here.</summary>
    public abstract System.Span<byte> Buffer { get; }

    /// <summary>Sets the length of a packet.</summary>
    public abstract void SetPacketLength(int packet, int length);

    /// <summary>How a packet ended.</summary>
    public abstract HostPacket Packet(int packet);

    /// <summary>The request that it carries; null when nobody waits for it any more.</summary>
    internal Pipeline.Requests.UsbRequest? Request { get; set; }

    /// <summary>The guest wants it back.</summary>
    internal bool Unlinked { get; set; }

    /// <summary>It came back without being done and waits to be handed over again.</summary>
    internal bool Parked { get; set; }

    internal HostTransfer? Next { get; set; }

    internal HostTransfer? Previous { get; set; }
}
