using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Rings;
using XenUsbDm.Frontends.Xhci.Transfers;

namespace XenUsbDm.Frontends.Xhci.Slots;

/// <summary>
/// The streams of a bulk endpoint (xHCI 1.2 §4.12). A stream that has nothing in progress lives in its Stream Context in
/// guest memory alone; one that has is active here, with a ring. So 65,533 possible streams cost one bit each.
/// </summary>
internal sealed class StreamSet : IInspectable
{
    private readonly Endpoint _endpoint;
    private readonly GuestAddress _array;
    private readonly int _primaryBits;
    private readonly ulong[] _pending;
    private int _pendingCount;
    private int _scanFrom;
    private TransferRing? _free;
    private TransferRing? _lastActive;

    /// <summary>Makes the set of an endpoint whose context has MaxPStreams &gt; 0.</summary>
    public StreamSet(Endpoint endpoint, in EndpointContext context)
    {
        _endpoint = endpoint;
        _array = new GuestAddress(context.DequeuePointer);
        _primaryBits = context.MaxPrimaryStreams + 1;
        IsLinear = context.LinearStreamArray;
        // With secondary arrays a Stream ID has up to eight more bits (§4.12.2.1: SSA sizes 8 to 256).
        int bits = System.Math.Min(16, IsLinear ? _primaryBits : _primaryBits + 8);
        HighestId = (1 << bits) - 1;
        _pending = new ulong[((HighestId + 1) + 63) / 64];
    }

    /// <summary>Linear Stream Array: no secondary arrays.</summary>
    public bool IsLinear { get; }

    /// <summary>Highest Stream ID that can be addressed; 65,534 and 65,535 are reserved (USB 3.2 §8.12.1.4).</summary>
    public int HighestId { get; }

    /// <summary>Streams with work in progress.</summary>
    public TransferRing? Active { get; private set; }

    /// <summary>Their number.</summary>
    public int ActiveCount { get; private set; }

    /// <summary>Some doorbell waits for its stream to become active.</summary>
    public bool HasPending => _pendingCount > 0;

    /// <summary>True for an ID that a doorbell or command may name.</summary>
    public bool IsValidId(int id) => id > 0 && id <= HighestId && id < 65_534;

    /// <summary>Remembers a doorbell.</summary>
    public void RingDoorbell(int id)
    {
        ulong bit = 1UL << (id & 63);
        if ((_pending[id >> 6] & bit) != 0) return;
        _pending[id >> 6] |= bit;
        _pendingCount++;
    }

    /// <summary>Forgets every doorbell that waits.</summary>
    public void ClearPending()
    {
        System.Array.Clear(_pending);
        _pendingCount = 0;
    }

    /// <summary>The stream whose doorbell waits and whose turn it is, or 0. Round robin over the words of the bitmap.</summary>
    public int TakePending()
    {
        if (_pendingCount == 0) return 0;
        for (int n = 0; n < _pending.Length; n++)
        {
            int word = (_scanFrom + n) % _pending.Length;
            if (_pending[word] == 0) continue;
            int bit = System.Numerics.BitOperations.TrailingZeroCount(_pending[word]);
            _pending[word] &= ~(1UL << bit);
            _pendingCount--;
            _scanFrom = (word + (bit == 63 ? 1 : 0)) % _pending.Length;
            return (word << 6) | bit;
        }

        _pendingCount = 0;
        return 0;
    }

    /// <summary>The active ring of a stream, or null.</summary>
    public TransferRing? FindActive(int id)
    {
        TransferRing? ring = Active;
        while (ring is not null && ring.StreamId != id) ring = ring.NextActive;
        return ring;
    }

    /// <summary>
    /// Finds the Stream Context of <paramref name="id"/> (§4.12.2): Success and its address, Invalid Stream Type for a wrong
    /// SCT, Invalid Stream ID for an ID beyond a secondary array. Null for unmapped memory.
    /// </summary>
    public CompletionCode? Resolve(IGuestMemory memory, int id, out GuestAddress address, out StreamContext context)
    {
        address = default;
        context = default;
        if (!IsValidId(id)) return CompletionCode.InvalidStreamIdError;
        int primary = id & ((1 << _primaryBits) - 1);
        int secondary = id >> _primaryBits;
        if (primary == 0) return CompletionCode.InvalidStreamIdError;
        address = _array.OffsetWrapping((ulong)primary * StreamContext.Size);
        if (!TryRead(memory, address, out context)) return null;
        if (context.Type == 1) return secondary == 0 ? CompletionCode.Success : CompletionCode.InvalidStreamIdError;
        if (IsLinear || context.Type == 0) return CompletionCode.InvalidStreamTypeError;
        // Entry 0 of a secondary array is a stream too: the ID's secondary part counts from 0 (§4.12.2.1).
        int entries = 8 << (context.Type - 2);
        if (secondary >= entries) return CompletionCode.InvalidStreamIdError;
        address = new GuestAddress(context.DequeuePointer).OffsetWrapping((ulong)secondary * StreamContext.Size);
        if (!TryRead(memory, address, out context)) return null;
        return context.Type == 0 ? CompletionCode.Success : CompletionCode.InvalidStreamTypeError;
    }

    /// <summary>Makes a stream active at its context's dequeue pointer.</summary>
    public TransferRing Activate(int id, in StreamContext context)
    {
        TransferRing ring = _free ?? new TransferRing(_endpoint);
        _free = ring.NextActive;
        ring.StreamId = id;
        ring.SetDequeue(RingPosition.FromPointer(context.Dequeue));
        // At the end, so that streams are served in the order of their doorbells.
        ring.NextActive = null;
        if (_lastActive is null) Active = ring;
        else _lastActive.NextActive = ring;
        _lastActive = ring;
        ActiveCount++;
        return ring;
    }

    /// <summary>
    /// Ends a stream's activity: its place goes back to its Stream Context, the SCT field stays. False when that memory is
    /// not mapped any more.
    /// </summary>
    public bool Deactivate(IGuestMemory memory, TransferRing ring)
    {
        Remove(ring);
        if (Resolve(memory, ring.StreamId, out GuestAddress address, out StreamContext context) is not CompletionCode.Success) return true;
        ulong value = context.WithPosition(ring.Dequeue.ToPointer()).Dequeue;
        return value == context.Dequeue || memory.TryWrite64(address, value);
    }

    /// <summary>Drops a ring from the active list without writing its place back.</summary>
    public void Remove(TransferRing ring)
    {
        TransferRing? previous = null;
        for (TransferRing? r = Active; r is not null; previous = r, r = r.NextActive)
        {
            if (r != ring) continue;
            if (previous is null) Active = ring.NextActive;
            else previous.NextActive = ring.NextActive;
            if (_lastActive == ring) _lastActive = previous;
            ActiveCount--;
            ring.NextActive = _free;
            ring.ShouldFetch = false;
            _free = ring;
            return;
        }
    }

    /// <summary>Waiting doorbells, for saving.</summary>
    public int[] PendingIds()
    {
        var ids = new System.Collections.Generic.List<int>(_pendingCount);
        for (int id = 0; id <= HighestId; id++)
            if ((_pending[id >> 6] >> (id & 63) & 1) != 0) ids.Add(id);
        return [.. ids];
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Hex("stream-array", _array.Value);
        writer.Flag("linear", IsLinear);
        writer.Number("highest-stream", HighestId);
        writer.Number("active-streams", ActiveCount);
        writer.Number("waiting-doorbells", _pendingCount);
        for (TransferRing? ring = Active; ring is not null; ring = ring.NextActive)
        {
            using (writer.Node("stream", ring.StreamId)) Endpoint.InspectRing(writer, ring);
        }
    }

    private static bool TryRead(IGuestMemory memory, GuestAddress address, out StreamContext context)
    {
        System.Span<byte> bytes = stackalloc byte[StreamContext.Size];
        bool ok = memory.TryRead(address, bytes);
        context = ok ? StreamContext.Read(bytes) : default;
        return ok;
    }
}
