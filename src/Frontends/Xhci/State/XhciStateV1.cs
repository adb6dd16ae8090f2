namespace XenUsbDm.Frontends.Xhci.State;

/// <summary>Saved state of the command ring.</summary>
public sealed record CommandRingStateV1(
    ulong Position, bool IsWaiting, ulong CommandParameter, uint CommandStatus, uint CommandControl, ulong CommandAddress,
    bool HasResult, int ResultCode, int ResultSlot, bool Stop, bool Abort, bool IsReady,
    bool IsSetAddressDone, int SetAddressStatus);

/// <summary>Saved state of an xHCI controller, requests in flight included.</summary>
public sealed record XhciStateV1(
    XhciRegistersStateV1 Registers, InterruptersStateV1 Interrupters, RootPortsStateV1 Ports, CommandRingStateV1 CommandRing,
    SlotStateV1[] Slots, SlotStateV1[]? SavedByGuest);

/// <summary>Saved state of an enabled slot; the words are its output Slot Context.</summary>
public sealed record SlotStateV1(
    int Id, int State, uint Word0, uint Word1, uint Word2, uint Word3, ulong ContextAddress, int Port, int Speed, int Address,
    EndpointStateV1[] Endpoints);

/// <summary>Saved state of an endpoint; the words are its context as configured.</summary>
public sealed record EndpointStateV1(
    int Dci, uint Word0, uint Word1, ulong Dequeue, uint Word4, int State, int PacketSize, int Drain, bool IsUnlinking, bool IsParked, int Stage,
    ulong Setup, bool DataStageIsIn, bool IsScheduled, ulong NextService, RingStateV1[] Rings, int[] PendingStreams);

/// <summary>Saved state of a transfer ring and of the transfers fetched from it, oldest first.</summary>
public sealed record RingStateV1(
    int StreamId, ulong Fetch, int FetchSkip, ulong Dequeue, int DequeueSkip, bool IsInTd, bool SkipsTd, uint Edtla,
    bool ShouldFetch, bool IsHaltPoint, bool IsStopReported, int LastInterrupter, TransferStateV1[] Transfers);

/// <summary>Saved state of a transfer and its request. A transfer that is not done is submitted again when restored.</summary>
public sealed record TransferStateV1(
    bool StartsTd, bool EndsTd, bool IsLocal, bool IsSkipped, bool IsDone, int IsochError, int Malformed, ulong End, int EndSkip,
    int EventIndex, int EventBytes, bool ShortSeen, ulong Setup, ulong StartMicroframe, int ActualLength, int Status,
    int PacketActualLength, int PacketStatus, bool IsImmediate, ulong Immediate, int ImmediateLength, SegmentStateV1[] Segments, TrbStateV1[] Trbs);

/// <summary>Saved guest-memory segment.</summary>
public sealed record SegmentStateV1(ulong Address, int Length);

/// <summary>Saved TRB record.</summary>
public sealed record TrbStateV1(ulong Address, ulong Parameter, uint Control, int Skip, int Length, int Left, int Interrupter);
