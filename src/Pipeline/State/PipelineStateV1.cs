using System.Diagnostics.CodeAnalysis;

namespace XenUsbDm.Pipeline.State;

/// <summary>A pipeline's saved state, version 1. Requests in flight are not part of it: the frontend submits them again.</summary>
/// <param name="Now">Latest instant handed in, nanoseconds.</param>
/// <param name="Ports">One record per port, in order.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "Saved-state records hold plain arrays.")]
public sealed record PipelineStateV1(ulong Now, PortStateV1[] Ports);

/// <summary>One port's saved state.</summary>
/// <param name="Attached">A device was attached.</param>
/// <param name="Address">Its address, 0-127.</param>
/// <param name="Configured">A SET_CONFIGURATION succeeded since the last reset.</param>
/// <param name="Suspended">The port is suspended.</param>
/// <param name="Resetting">A reset was asked for and is not over.</param>
/// <param name="ResetDone">A reset is over and the frontend has not been told.</param>
/// <param name="Wake">The device signalled resume and the frontend has not been told.</param>
/// <param name="DeviceFaults">Times the device broke the contract.</param>
/// <param name="Alternates">Alternate settings other than 0 of the active configuration.</param>
/// <param name="Counters">Counters of the port.</param>
/// <param name="Endpoints">Endpoints that were used.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "Saved-state records hold plain arrays.")]
public sealed record PortStateV1(
    bool Attached,
    byte Address,
    bool Configured,
    bool Suspended,
    bool Resetting,
    bool ResetDone,
    bool Wake,
    long DeviceFaults,
    AlternateStateV1[] Alternates,
    TransferCountersStateV1 Counters,
    EndpointStateV1[] Endpoints);

/// <summary>The alternate setting of one interface.</summary>
/// <param name="Interface">bInterfaceNumber.</param>
/// <param name="Alternate">bAlternateSetting.</param>
public sealed record AlternateStateV1(byte Interface, byte Alternate);

/// <summary>One endpoint's saved state.</summary>
/// <param name="Index">EndpointAddress.Index, 0-31 without 1.</param>
/// <param name="NextService">Earliest instant of the next periodic hand-over, nanoseconds.</param>
/// <param name="HandedOver">Requests that were in flight: that many, submitted again, do not wait for another interval.</param>
/// <param name="Streams">Highest stream id, 0 without streams.</param>
/// <param name="Counters">Counters of the endpoint.</param>
public sealed record EndpointStateV1(int Index, ulong NextService, int HandedOver, int Streams, TransferCountersStateV1 Counters);

/// <summary>Saved counters. Requests that were outstanding are not in <paramref name="Submitted"/>: they are submitted again.</summary>
/// <param name="Submitted">Requests taken.</param>
/// <param name="Completed">Requests ended.</param>
/// <param name="Unlinked">Requests that ended as Cancelled.</param>
/// <param name="Stalls">Ended with Stall.</param>
/// <param name="TransactionErrors">Ended with TransactionError.</param>
/// <param name="Babbles">Ended with Babble.</param>
/// <param name="NoDevice">Ended with NoDevice.</param>
/// <param name="MemoryFaults">Ended with MemoryFault.</param>
/// <param name="QueueFull">Refused because too many were outstanding.</param>
/// <param name="BytesIn">Bytes device to guest.</param>
/// <param name="BytesOut">Bytes guest to device.</param>
/// <param name="HighWater">Most requests outstanding at once.</param>
public sealed record TransferCountersStateV1(
    long Submitted,
    long Completed,
    long Unlinked,
    long Stalls,
    long TransactionErrors,
    long Babbles,
    long NoDevice,
    long MemoryFaults,
    long QueueFull,
    long BytesIn,
    long BytesOut,
    int HighWater);
