using System;
using System.Buffers.Binary;

namespace XenUsbDm.TestKit.Guest;

/// <summary>
/// A TRB as the driver writes and reads it (xHCI 1.2 §6.4). Deliberately not the model's own type: two readings of the
/// specification check each other.
/// </summary>
public readonly record struct GuestTrb(ulong Parameter, uint Status, uint Control)
{
    public const int Size = 16;
    public const uint Cycle = 1;
    public const uint ToggleCycle = 1 << 1;
    public const uint EvaluateNext = 1 << 1;
    public const uint InterruptOnShort = 1 << 2;
    public const uint NoSnoop = 1 << 3;
    public const uint Chain = 1 << 4;
    public const uint InterruptOnCompletion = 1 << 5;
    public const uint ImmediateData = 1 << 6;
    public const uint BlockSetAddress = 1 << 9;
    public const uint Deconfigure = 1 << 9;
    public const uint TransferStatePreserve = 1 << 9;
    public const uint BlockEventInterrupt = 1 << 9;
    public const uint DirectionIn = 1 << 16;
    public const uint StartAsap = 1u << 31;

    public GuestTrbType Type => (GuestTrbType)((Control >> 10) & 0x3f);

    public bool IsCycle => (Control & Cycle) != 0;

    public bool IsChained => (Control & Chain) != 0;

    /// <summary>Transfer length of a transfer TRB, 17 bits.</summary>
    public int Length => (int)(Status & 0x1ffff);

    public static GuestTrb Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]));

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Parameter);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], Status);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], Control);
    }

    /// <summary>Writes the TRB with another control word (its cycle bit not yet valid).</summary>
    public void Write(Span<byte> bytes, uint control) => new GuestTrb(Parameter, Status, control).Write(bytes);

    public static uint TypeBits(GuestTrbType type) => (uint)type << 10;

    /// <summary>Status word of a transfer TRB: length, TD Size and interrupter target (§6.4.1.1).</summary>
    public static uint TransferStatus(int length, int tdSize = 0, int interrupter = 0) =>
        (uint)length | ((uint)Math.Min(tdSize, 31) << 17) | ((uint)interrupter << 22);

    public static GuestTrb Normal(ulong buffer, int length, uint flags = 0, int tdSize = 0, int interrupter = 0) =>
        new(buffer, TransferStatus(length, tdSize, interrupter), TypeBits(GuestTrbType.Normal) | flags);

    /// <summary>Setup Stage (§6.4.1.2.1); TRT 0 no data, 2 OUT, 3 IN.</summary>
    public static GuestTrb Setup(ulong setup, int transferType, uint flags = 0, int interrupter = 0) =>
        new(setup, TransferStatus(8, 0, interrupter), TypeBits(GuestTrbType.SetupStage) | ImmediateData | ((uint)transferType << 16) | flags);

    public static GuestTrb Data(ulong buffer, int length, bool isIn, uint flags = 0, int tdSize = 0, int interrupter = 0) =>
        new(buffer, TransferStatus(length, tdSize, interrupter), TypeBits(GuestTrbType.DataStage) | (isIn ? DirectionIn : 0) | flags);

    public static GuestTrb StatusStage(bool isIn, uint flags = InterruptOnCompletion, int interrupter = 0) =>
        new(0, (uint)interrupter << 22, TypeBits(GuestTrbType.StatusStage) | (isIn ? DirectionIn : 0) | flags);

    /// <summary>Isoch (§6.4.1.3). <paramref name="frameId"/> null sets SIA.</summary>
    public static GuestTrb Isoch(ulong buffer, int length, int? frameId, int burstCount, int lastBurstPackets, uint flags = 0, int tdSize = 0, int interrupter = 0) =>
        new(
            buffer,
            TransferStatus(length, tdSize, interrupter),
            TypeBits(GuestTrbType.Isoch) | (frameId is int frame ? (uint)(frame & 0x7ff) << 20 : StartAsap)
                | ((uint)burstCount << 7) | ((uint)lastBurstPackets << 16) | flags);

    public static GuestTrb EventData(ulong data, uint flags = InterruptOnCompletion, int interrupter = 0) =>
        new(data, (uint)interrupter << 22, TypeBits(GuestTrbType.EventData) | flags);

    public static GuestTrb NoOp(uint flags = InterruptOnCompletion, int interrupter = 0) =>
        new(0, (uint)interrupter << 22, TypeBits(GuestTrbType.NoOp) | flags);

    public static GuestTrb Link(ulong target, uint flags) => new(target, 0, TypeBits(GuestTrbType.Link) | flags);

    /// <summary>A command (§6.4.3).</summary>
    public static GuestTrb Command(GuestTrbType type, int slot = 0, int endpoint = 0, ulong parameter = 0, uint flags = 0, uint status = 0) =>
        new(parameter, status, TypeBits(type) | ((uint)slot << 24) | ((uint)endpoint << 16) | flags);
}

/// <summary>An event TRB, taken from an event ring.</summary>
/// <param name="Trb">The TRB as it lay in memory.</param>
/// <param name="Interrupter">The interrupter whose ring it was on.</param>
/// <param name="Address">Where it lay.</param>
public readonly record struct GuestEvent(GuestTrb Trb, int Interrupter, ulong Address)
{
    public GuestTrbType Type => Trb.Type;

    /// <summary>TRB pointer, event data, or command pointer.</summary>
    public ulong Pointer => Trb.Parameter;

    public GuestCompletion Code => (GuestCompletion)(Trb.Status >> 24);

    /// <summary>Transfer Event: residual length, or EDTLA. Command completion: the completion parameter.</summary>
    public int Residual => (int)(Trb.Status & 0xffffff);

    public bool IsEventData => (Trb.Control & 4) != 0;

    public int Slot => (int)(Trb.Control >> 24);

    public int Dci => (int)((Trb.Control >> 16) & 0x1f);

    /// <summary>Port Status Change Event: one-based port.</summary>
    public int Port => (int)((Trb.Parameter >> 24) & 0xff);

    public override string ToString() => $"{Type} {Code} pointer 0x{Pointer:x} length {Residual} slot {Slot} dci {Dci}{(IsEventData ? " event data" : string.Empty)}";
}

/// <summary>TRB types (xHCI 1.2 table 6-91).</summary>
public enum GuestTrbType
{
    Reserved = 0,
    Normal = 1,
    SetupStage = 2,
    DataStage = 3,
    StatusStage = 4,
    Isoch = 5,
    Link = 6,
    EventData = 7,
    NoOp = 8,
    EnableSlot = 9,
    DisableSlot = 10,
    AddressDevice = 11,
    ConfigureEndpoint = 12,
    EvaluateContext = 13,
    ResetEndpoint = 14,
    StopEndpoint = 15,
    SetTrDequeue = 16,
    ResetDevice = 17,
    ForceEvent = 18,
    NegotiateBandwidth = 19,
    SetLatencyTolerance = 20,
    GetPortBandwidth = 21,
    ForceHeader = 22,
    NoOpCommand = 23,
    GetExtendedProperty = 24,
    SetExtendedProperty = 25,
    TransferEvent = 32,
    CommandCompletion = 33,
    PortStatusChange = 34,
    BandwidthRequest = 35,
    Doorbell = 36,
    HostController = 37,
    DeviceNotification = 38,
    MfindexWrap = 39,
}

/// <summary>Completion codes (xHCI 1.2 table 6-90).</summary>
public enum GuestCompletion
{
    Invalid = 0,
    Success = 1,
    DataBufferError = 2,
    Babble = 3,
    TransactionError = 4,
    TrbError = 5,
    Stall = 6,
    ResourceError = 7,
    BandwidthError = 8,
    NoSlotsAvailable = 9,
    InvalidStreamType = 10,
    SlotNotEnabled = 11,
    EndpointNotEnabled = 12,
    ShortPacket = 13,
    RingUnderrun = 14,
    RingOverrun = 15,
    VfEventRingFull = 16,
    ParameterError = 17,
    BandwidthOverrun = 18,
    ContextStateError = 19,
    NoPingResponse = 20,
    EventRingFull = 21,
    IncompatibleDevice = 22,
    MissedService = 23,
    CommandRingStopped = 24,
    CommandAborted = 25,
    Stopped = 26,
    StoppedLengthInvalid = 27,
    StoppedShortPacket = 28,
    MaxExitLatencyTooLarge = 29,
    IsochBufferOverrun = 31,
    EventLost = 32,
    Undefined = 33,
    InvalidStreamId = 34,
    SecondaryBandwidth = 35,
    SplitTransaction = 36,
}
