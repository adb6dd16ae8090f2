using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Frontends.Xhci.Contexts;

// The data structures of xHCI 1.2 §6.2 as they lie in guest memory (32-byte contexts, HCCPARAMS1.CSZ = 0). Each value is
// read once from its bytes; one property per field, named as in the specification.

/// <summary>Slot State (xHCI 1.2 table 6-7).</summary>
internal enum SlotState
{
    /// <summary>Disabled in the tables, Enabled once a slot was given out but not addressed: both read 0.</summary>
    Enabled = 0,

    /// <summary>Default.</summary>
    Default = 1,

    /// <summary>Addressed.</summary>
    Addressed = 2,

    /// <summary>Configured.</summary>
    Configured = 3,
}

/// <summary>EP State (xHCI 1.2 table 6-8).</summary>
internal enum EndpointState
{
    /// <summary>Disabled.</summary>
    Disabled = 0,

    /// <summary>Running.</summary>
    Running = 1,

    /// <summary>Halted.</summary>
    Halted = 2,

    /// <summary>Stopped.</summary>
    Stopped = 3,

    /// <summary>Error.</summary>
    Error = 4,
}

/// <summary>EP Type (xHCI 1.2 table 6-9).</summary>
internal enum EndpointType
{
    /// <summary>Not valid.</summary>
    NotValid = 0,

    /// <summary>Isoch Out.</summary>
    IsochOut = 1,

    /// <summary>Bulk Out.</summary>
    BulkOut = 2,

    /// <summary>Interrupt Out.</summary>
    InterruptOut = 3,

    /// <summary>Control (both directions).</summary>
    Control = 4,

    /// <summary>Isoch In.</summary>
    IsochIn = 5,

    /// <summary>Bulk In.</summary>
    BulkIn = 6,

    /// <summary>Interrupt In.</summary>
    InterruptIn = 7,
}

/// <summary>Slot Context (xHCI 1.2 §6.2.2), its four architected words.</summary>
internal readonly record struct SlotContext(uint Word0, uint Word1, uint Word2, uint Word3)
{
    /// <summary>Bytes of a context in memory.</summary>
    public const int Size = 32;

    /// <summary>Route String.</summary>
    public uint RouteString => Word0 & 0xfffff;

    /// <summary>Speed, a Protocol Speed ID.</summary>
    public int Speed => (int)((Word0 >> 20) & 0xf);

    /// <summary>Context Entries: index of the last valid endpoint context, 1-31.</summary>
    public int ContextEntries => (int)(Word0 >> 27);

    /// <summary>Max Exit Latency in microseconds.</summary>
    public int MaxExitLatency => (int)(Word1 & 0xffff);

    /// <summary>Root Hub Port Number, one-based.</summary>
    public int RootHubPort => (int)((Word1 >> 16) & 0xff);

    /// <summary>Interrupter Target.</summary>
    public int InterrupterTarget => (int)(Word2 >> 22);

    /// <summary>USB Device Address.</summary>
    public int DeviceAddress => (int)(Word3 & 0xff);

    /// <summary>Slot State.</summary>
    public SlotState State => (SlotState)(Word3 >> 27);

    /// <summary>The context with another address and state.</summary>
    public SlotContext WithAddressAndState(int address, SlotState state) => this with { Word3 = (uint)address | ((uint)state << 27) };

    /// <summary>The context with another number of entries.</summary>
    public SlotContext WithContextEntries(int entries) => this with { Word0 = (Word0 & 0x07ffffff) | ((uint)entries << 27) };

    /// <summary>Reads the context from its bytes.</summary>
    public static SlotContext Read(ReadOnlySpan<byte> b) => new(Le.U32(b, 0), Le.U32(b, 4), Le.U32(b, 8), Le.U32(b, 12));

    /// <summary>Writes the context's 32 bytes; the reserved rest is cleared.</summary>
    public void Write(Span<byte> b)
    {
        b[..Size].Clear();
        Le.Put(b, 0, Word0);
        Le.Put(b, 4, Word1);
        Le.Put(b, 8, Word2);
        Le.Put(b, 12, Word3);
    }
}

/// <summary>Endpoint Context (xHCI 1.2 §6.2.3), its five architected words.</summary>
internal readonly record struct EndpointContext(uint Word0, uint Word1, ulong Dequeue, uint Word4)
{
    /// <summary>Bytes of a context in memory.</summary>
    public const int Size = 32;

    /// <summary>EP State.</summary>
    public EndpointState State => (EndpointState)(Word0 & 7);

    /// <summary>Mult: bursts per interval less one (isochronous, SuperSpeed).</summary>
    public int Mult => (int)((Word0 >> 8) & 3);

    /// <summary>MaxPStreams: 0 for no streams, else 2^(n+1) entries in the primary stream array.</summary>
    public int MaxPrimaryStreams => (int)((Word0 >> 10) & 0x1f);

    /// <summary>LSA: the primary array alone holds all streams.</summary>
    public bool LinearStreamArray => (Word0 & 0x8000) != 0;

    /// <summary>Interval: period is 2^n microframes.</summary>
    public int Interval => (int)((Word0 >> 16) & 0xff);

    /// <summary>CErr: retries of a bus error, 0 means without end.</summary>
    public int ErrorCount => (int)((Word1 >> 1) & 3);

    /// <summary>EP Type.</summary>
    public EndpointType Type => (EndpointType)((Word1 >> 3) & 7);

    /// <summary>Host Initiate Disable, for stream selection by the device.</summary>
    public bool HostInitiateDisable => (Word1 & 0x80) != 0;

    /// <summary>Max Burst Size: packets per burst less one (SuperSpeed), or additional transactions per microframe (high speed periodic).</summary>
    public int MaxBurst => (int)((Word1 >> 8) & 0xff);

    /// <summary>Max Packet Size in bytes.</summary>
    public int MaxPacketSize => (int)(Word1 >> 16);

    /// <summary>Max ESIT Payload in bytes, low 16 bits (LEC = 0).</summary>
    public int MaxEsitPayload => (int)(Word4 >> 16);

    /// <summary>TR Dequeue Pointer, or the stream context array.</summary>
    public ulong DequeuePointer => Dequeue & ~0xfUL;

    /// <summary>Dequeue Cycle State.</summary>
    public bool DequeueCycle => (Dequeue & 1) != 0;

    /// <summary>The context in another state.</summary>
    public EndpointContext WithState(EndpointState state) => this with { Word0 = (Word0 & ~7u) | (uint)state };

    /// <summary>Reads the context from its bytes.</summary>
    public static EndpointContext Read(ReadOnlySpan<byte> b) => new(Le.U32(b, 0), Le.U32(b, 4), Le.U64(b, 8), Le.U32(b, 16));

    /// <summary>Writes the context's 32 bytes; the reserved rest is cleared.</summary>
    public void Write(Span<byte> b)
    {
        b[..Size].Clear();
        Le.Put(b, 0, Word0);
        Le.Put(b, 4, Word1);
        Le.Put(b, 8, Dequeue);
        Le.Put(b, 16, Word4);
    }

    /// <summary>Transfer type of an endpoint type.</summary>
    public static TransferKind KindOf(EndpointType type) => type switch
    {
        EndpointType.IsochIn or EndpointType.IsochOut => TransferKind.Isochronous,
        EndpointType.BulkIn or EndpointType.BulkOut => TransferKind.Bulk,
        EndpointType.InterruptIn or EndpointType.InterruptOut => TransferKind.Interrupt,
        _ => TransferKind.Control,
    };
}

/// <summary>Input Control Context (xHCI 1.2 §6.2.5.1).</summary>
internal readonly record struct InputControlContext(uint Drop, uint Add)
{
    /// <summary>Context <paramref name="dci"/> is to be dropped.</summary>
    public bool Drops(int dci) => (Drop >> dci & 1) != 0;

    /// <summary>Context <paramref name="dci"/> (0 = slot) is to be added.</summary>
    public bool Adds(int dci) => (Add >> dci & 1) != 0;

    /// <summary>Reads the two flag words.</summary>
    public static InputControlContext Read(ReadOnlySpan<byte> b) => new(Le.U32(b, 0), Le.U32(b, 4));
}

/// <summary>Stream Context (xHCI 1.2 §6.2.4.1).</summary>
internal readonly record struct StreamContext(ulong Dequeue, uint StoppedEdtla)
{
    /// <summary>Bytes of a stream context in memory.</summary>
    public const int Size = 16;

    /// <summary>Stream Context Type: 0 secondary ring, 1 primary ring, 2-7 secondary array of 8 to 256 entries (table 6-13).</summary>
    public int Type => (int)((Dequeue >> 1) & 7);

    /// <summary>TR Dequeue Pointer, or the secondary stream array.</summary>
    public ulong DequeuePointer => Dequeue & ~0xfUL;

    /// <summary>Dequeue Cycle State.</summary>
    public bool DequeueCycle => (Dequeue & 1) != 0;

    /// <summary>The context at another place (a dequeue pointer with cycle state); the type stays.</summary>
    public StreamContext WithPosition(ulong pointer) => this with { Dequeue = (pointer & ~0xeUL) | (Dequeue & 0xe) };

    /// <summary>Reads the context from its bytes.</summary>
    public static StreamContext Read(ReadOnlySpan<byte> b) => new(Le.U64(b, 0), Le.U32(b, 8) & 0xffffff);
}

/// <summary>Little-endian words in a span.</summary>
internal static class Le
{
    /// <summary>32-bit word at <paramref name="offset"/>.</summary>
    public static uint U32(ReadOnlySpan<byte> b, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(b[offset..]);

    /// <summary>64-bit word at <paramref name="offset"/>.</summary>
    public static ulong U64(ReadOnlySpan<byte> b, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(b[offset..]);

    /// <summary>Writes a 32-bit word.</summary>
    public static void Put(Span<byte> b, int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(b[offset..], value);

    /// <summary>Writes a 64-bit word.</summary>
    public static void Put(Span<byte> b, int offset, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(b[offset..], value);
}
