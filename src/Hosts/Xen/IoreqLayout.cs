namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// The layout of ioreq.h's shared page. The unit tests make C assertions of these constants and compile them against
/// Xen's own headers, so a constant here cannot disagree with Xen.
/// </summary>
public static class IoreqLayout
{
    /// <summary>Bytes of the shared page.</summary>
    public const int PageBytes = 4096;

    /// <summary>Bytes of one vCPU's request (ioreq_t).</summary>
    public const int Bytes = 32;

    /// <summary>Guest-physical address, or bus number, device, function and register.</summary>
    public const int Address = 0;

    /// <summary>The data, or the guest-physical address of the data.</summary>
    public const int Data = 8;

    /// <summary>Items of a repeated access.</summary>
    public const int Count = 16;

    /// <summary>Bytes of an item.</summary>
    public const int Size = 20;

    /// <summary>Event channel of the vCPU, Xen's side. Xen checks it: never written here.</summary>
    public const int EventPort = 24;

    /// <summary>The byte that holds state and flags.</summary>
    public const int Flags = 30;

    /// <summary>Kind of the request.</summary>
    public const int Type = 31;

    /// <summary>In <see cref="Flags"/>: the state.</summary>
    public const int StateMask = 0x0f;

    /// <summary>In <see cref="Flags"/>: <see cref="Data"/> is an address.</summary>
    public const int DataIsPointer = 0x10;

    /// <summary>In <see cref="Flags"/>: the guest reads.</summary>
    public const int Read = 0x20;

    /// <summary>In <see cref="Flags"/>: repeated accesses go downwards.</summary>
    public const int Down = 0x40;
}

/// <summary>States of a request (ioreq.h, STATE_*). Xen writes the first two steps, the server the last two.</summary>
public enum IoreqState
{
    /// <summary>STATE_IOREQ_NONE: no request.</summary>
    None = 0,

    /// <summary>STATE_IOREQ_READY: the vCPU waits for an answer.</summary>
    Ready = 1,

    /// <summary>STATE_IOREQ_INPROCESS: the server works on it.</summary>
    InProcess = 2,

    /// <summary>STATE_IORESP_READY: answered.</summary>
    Answered = 3,
}

/// <summary>Kinds of request (ioreq.h, IOREQ_TYPE_*).</summary>
public enum IoreqType
{
    /// <summary>IOREQ_TYPE_PIO: port.</summary>
    Port = 0,

    /// <summary>IOREQ_TYPE_COPY: memory-mapped register.</summary>
    Memory = 1,

    /// <summary>IOREQ_TYPE_PCI_CONFIG: configuration space.</summary>
    PciConfig = 2,

    /// <summary>IOREQ_TYPE_TIMEOFFSET: the guest set its clock.</summary>
    TimeOffset = 7,

    /// <summary>IOREQ_TYPE_INVALIDATE: mapped guest memory is to be let go.</summary>
    Invalidate = 8,
}
