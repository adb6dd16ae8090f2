using System;
using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>
/// An xHCI driver written from the xHCI 1.2 specification against <see cref="IGuestPlatform"/>. Everything it does with
/// the hardware is also open one level lower: registers, rings, doorbells, single TRBs and events.
/// </summary>
public sealed partial class XhciDriver
{
    private const int MaxIdleInterrupts = 1000;

    private readonly GuestPipe?[,] _pipes = new GuestPipe?[256, 32];
    private readonly Queue<GuestEvent> _unclaimed = new();
    private GuestEventRing[] _eventRings = [];
    private GuestBuffer _dcbaa;
    private long _eventsAtRest;
    private int _idleInterrupts;

    public XhciDriver(IGuestPlatform platform, XhciDriverOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(platform);
        Platform = platform;
        Options = options ?? new XhciDriverOptions();
        Memory = new GuestAllocator(platform);
        Pci = new PciSetup(platform);
    }

    public IGuestPlatform Platform { get; }

    public XhciDriverOptions Options { get; }

    public GuestAllocator Memory { get; }

    public PciSetup Pci { get; }

    /// <summary>Offset of the operational registers (CAPLENGTH).</summary>
    public int OperationalOffset { get; private set; }

    public int RuntimeOffset { get; private set; }

    public int DoorbellOffset { get; private set; }

    public int MaxSlots { get; private set; }

    public int MaxPorts { get; private set; }

    public int MaxInterrupters { get; private set; }

    /// <summary>Bytes of a context, 32 or 64 (HCCPARAMS1.CSZ).</summary>
    public int ContextSize { get; private set; }

    /// <summary>HCCPARAMS1 MaxPSASize: largest primary stream array is 2^(n+1).</summary>
    public int MaxPrimaryStreamsLog { get; private set; }

    public uint HccParams1 { get; private set; }

    /// <summary>Supported Protocol capabilities, in list order (§7.2).</summary>
    public List<GuestProtocol> Protocols { get; } = [];

    /// <summary>Vectors that the function was given.</summary>
    public int Vectors { get; private set; }

    public GuestRing CommandRing { get; private set; } = null!;

    public IReadOnlyList<GuestEventRing> EventRings => _eventRings;

    /// <summary>Events seen by anybody, when a test asks for them.</summary>
    public List<GuestEvent>? EventLog { get; set; }

    /// <summary>Tells the controller its progress after each batch of events (ERDP). Tests that fill an event ring turn it off.</summary>
    public bool AutoAcknowledge { get; set; } = true;

    /// <summary>Reads a register by its offset in the BAR.</summary>
    public uint Read32(int offset) => (uint)Platform.MmioRead(Pci.BarAddress + (ulong)offset, 4);

    public void Write32(int offset, uint value) => Platform.MmioWrite(Pci.BarAddress + (ulong)offset, 4, value);

    public ulong Read64(int offset) => Options.WriteHalves
        ? Read32(offset) | ((ulong)Read32(offset + 4) << 32)
        : Platform.MmioRead(Pci.BarAddress + (ulong)offset, 8);

    public void Write64(int offset, ulong value)
    {
        if (Options.WriteHalves)
        {
            Write32(offset, (uint)(value & 0xffff_ffff));
            Write32(offset + 4, (uint)(value >> 32));
        }
        else
        {
            Platform.MmioWrite(Pci.BarAddress + (ulong)offset, 8, value);
        }
    }

    public uint ReadOperational(int offset) => Read32(OperationalOffset + offset);

    public void WriteOperational(int offset, uint value) => Write32(OperationalOffset + offset, value);

    /// <summary>Offset in the BAR of a register of an interrupter (§5.5.2).</summary>
    public int InterrupterOffset(int interrupter, int register) => RuntimeOffset + 0x20 + (interrupter * 32) + register;

    /// <summary>Rings a doorbell: slot 0 is the command ring; <paramref name="target"/> is a DCI (§5.6).</summary>
    public void RingDoorbell(int slot, int target = 0, int stream = 0) =>
        Write32(DoorbellOffset + (slot * 4), (uint)target | ((uint)stream << 16));

    /// <summary>A new ring in guest memory; nobody but the caller uses it.</summary>
    public GuestRing Ring(params ReadOnlySpan<int> segmentTrbs) => new(Platform, Memory, segmentTrbs, Options.HighStructures);

    /// <summary>A transfer ring as the options ask for.</summary>
    public GuestRing TransferRing()
    {
        Span<int> segments = stackalloc int[Options.RingSegments];
        segments.Fill(Options.RingSegmentTrbs);
        return new GuestRing(Platform, Memory, segments, Options.HighStructures);
    }

    /// <summary>Memory for a structure that the controller reads (contexts, stream arrays).</summary>
    public GuestBuffer AllocateStructure(int length) => Memory.Allocate(length, Options.HighStructures);

    /// <summary>Memory for data.</summary>
    public GuestBuffer AllocateBuffer(int length) => Memory.Allocate(length, Options.HighBuffers);

    public GuestInputContext NewInputContext() => new(Platform, AllocateStructure(ContextSize * 33), ContextSize);

    public GuestDeviceContext NewDeviceContext() => new(Platform, AllocateStructure(ContextSize * 32), ContextSize);

    /// <summary>Writes a DCBAA entry (§6.1): entry 0 is the scratchpad array, the others are slots.</summary>
    public void SetDeviceContext(int slot, ulong address) =>
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(Platform.Memory(_dcbaa.Address + (ulong)(slot * 8), 8), address);

    /// <summary>Runs the machine until <paramref name="condition"/> holds; false after <paramref name="timeoutNanoseconds"/>.</summary>
    public bool WaitUntil(Func<bool> condition, ulong timeoutNanoseconds)
    {
        ArgumentNullException.ThrowIfNull(condition);
        ulong end = Platform.Now + timeoutNanoseconds;
        while (true)
        {
            ProcessEvents();
            if (condition()) return true;
            if (Platform.Now >= end) return false;
            Rest(end - Platform.Now);
        }
    }

    /// <summary>As <see cref="WaitUntil"/>, but a time-out is an exception that carries the machine's own view.</summary>
    public void Expect(Func<bool> condition, string what, ulong timeoutNanoseconds = 0)
    {
        if (!WaitUntil(condition, timeoutNanoseconds == 0 ? Options.TimeoutNanoseconds : timeoutNanoseconds)) throw Timeout(what);
    }

    internal GuestTimeoutException Timeout(string what) => new($"timed out waiting for {what} at {Platform.Now} ns\n{Platform.Diagnose()}");

    /// <summary>Nothing to do: sleep for an interrupt, or poll.</summary>
    internal void Rest(ulong timeLeft)
    {
        if (Options.Interrupts == GuestInterruptMode.Polling || !Running)
        {
            Platform.Relax(Math.Min(timeLeft, Options.PollNanoseconds));
            return;
        }

        ulong before = Platform.Now;
        if (!Platform.WaitForInterrupt(timeLeft)) return;
        Platform.TakeMessages();
        if (Platform.IntxAsserted) ClearIntx();

        // Interrupts without end and without events must not stop the clock.
        _idleInterrupts = Platform.Now == before && EventCount == _eventsAtRest ? _idleInterrupts + 1 : 0;
        _eventsAtRest = EventCount;
        if (_idleInterrupts > MaxIdleInterrupts) Platform.Relax(Math.Min(timeLeft, Options.PollNanoseconds));
    }

    // Before the events are looked at, so that none that comes later is missed (§4.17.3, §5.4.2 EINT, §5.5.2.1 IP).
    private void ClearIntx()
    {
        WriteOperational(UsbStatus, 8);
        foreach (GuestEventRing ring in _eventRings) Write32(InterrupterOffset(ring.Interrupter, 0), 3);
    }
}

/// <summary>A Supported Protocol capability (§7.2): ports of one protocol.</summary>
/// <param name="Major">2 or 3.</param>
/// <param name="Minor">Minor revision, BCD.</param>
/// <param name="FirstPort">One-based.</param>
/// <param name="Count">Number of ports.</param>
/// <param name="SlotType">For Enable Slot (§7.2.2.1.4).</param>
/// <param name="SpeedIds">Protocol speed id dwords; empty means the defaults (§7.2.2.1.1).</param>
public sealed record GuestProtocol(int Major, int Minor, int FirstPort, int Count, int SlotType, IReadOnlyList<uint> SpeedIds);
