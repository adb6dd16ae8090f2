using System;
using System.Buffers.Binary;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// A Transfer Request Block (xHCI 1.2 §4.11.1, §6.4): parameter, status and control words as they lie in memory.
/// The properties are the fields that more than one TRB type shares; each names the section that defines it.
/// </summary>
public readonly record struct Trb(ulong Parameter, uint Status, uint Control)
{
    /// <summary>Bytes of a TRB in memory.</summary>
    public const int Size = 16;

    /// <summary>Control bit 0: Cycle (C).</summary>
    public bool Cycle => (Control & 1) != 0;

    /// <summary>Control bits 15:10: TRB Type (§6.4.6).</summary>
    public TrbType Type => (TrbType)((Control >> 10) & 0x3f);

    /// <summary>Control bit 1: Evaluate Next TRB (ENT, §4.12.3); in a Link TRB the same bit is Toggle Cycle (TC).</summary>
    public bool EvaluateNext => (Control & 2) != 0;

    /// <summary>Control bit 1 of a Link TRB: Toggle Cycle (TC, §6.4.4.1).</summary>
    public bool ToggleCycle => (Control & 2) != 0;

    /// <summary>Control bit 2: Interrupt-on Short Packet (ISP).</summary>
    public bool InterruptOnShort => (Control & 4) != 0;

    /// <summary>Control bit 4: Chain (CH).</summary>
    public bool Chain => (Control & 0x10) != 0;

    /// <summary>Control bit 5: Interrupt On Completion (IOC).</summary>
    public bool InterruptOnCompletion => (Control & 0x20) != 0;

    /// <summary>Control bit 6: Immediate Data (IDT).</summary>
    public bool ImmediateData => (Control & 0x40) != 0;

    /// <summary>Control bit 9: Block Event Interrupt (BEI).</summary>
    public bool BlockEventInterrupt => (Control & 0x200) != 0;

    /// <summary>Status bits 16:0: TRB Transfer Length in bytes, 0 to 64 KiB (§6.4.1).</summary>
    public int TransferLength => (int)(Status & 0x1ffff);

    /// <summary>Status bits 21:17: TD Size (§4.11.2.4).</summary>
    public int TdSize => (int)((Status >> 17) & 0x1f);

    /// <summary>Status bits 31:22: Interrupter Target.</summary>
    public int InterrupterTarget => (int)(Status >> 22);

    /// <summary>Control bits 31:24 of a command: Slot ID (§6.4.3).</summary>
    public int SlotId => (int)(Control >> 24);

    /// <summary>Control bits 20:16 of a command: Endpoint ID, a DCI.</summary>
    public int EndpointId => (int)((Control >> 16) & 0x1f);

    /// <summary>Reads a TRB from its 16 bytes.</summary>
    public static Trb Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt64LittleEndian(bytes),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]));

    /// <summary>Writes the TRB's 16 bytes.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, Parameter);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], Status);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], Control);
    }

    /// <summary>Transfer Event (§6.4.2.1).</summary>
    /// <param name="pointer">TRB pointer, or the 64-bit data of an Event Data TRB.</param>
    /// <param name="code">Completion code.</param>
    /// <param name="length">TRB Transfer Length (residual) or EDTLA; 24 bits.</param>
    /// <param name="isEventData">ED flag.</param>
    /// <param name="slot">Slot ID.</param>
    /// <param name="dci">Endpoint ID.</param>
    public static Trb TransferEvent(ulong pointer, CompletionCode code, int length, bool isEventData, int slot, int dci) => new(
        pointer,
        ((uint)length & 0xffffff) | ((uint)code << 24),
        TypeField(TrbType.TransferEvent) | (isEventData ? 4u : 0) | ((uint)dci << 16) | ((uint)slot << 24));

    /// <summary>Command Completion Event (§6.4.2.2); <paramref name="parameter"/> is the 24-bit completion parameter.</summary>
    public static Trb CommandCompletionEvent(ulong commandPointer, CompletionCode code, int slot, uint parameter = 0) => new(
        commandPointer,
        (parameter & 0xffffff) | ((uint)code << 24),
        TypeField(TrbType.CommandCompletionEvent) | ((uint)slot << 24));

    /// <summary>Port Status Change Event (§6.4.2.3); <paramref name="port"/> is one-based.</summary>
    public static Trb PortStatusChangeEvent(int port) => new(
        (ulong)port << 24, (uint)CompletionCode.Success << 24, TypeField(TrbType.PortStatusChangeEvent));

    /// <summary>Bandwidth Request Event (§6.4.2.4).</summary>
    public static Trb BandwidthRequestEvent(int slot) => new(
        0, (uint)CompletionCode.Success << 24, TypeField(TrbType.BandwidthRequestEvent) | ((uint)slot << 24));

    /// <summary>Host Controller Event (§6.4.2.6).</summary>
    public static Trb HostControllerEvent(CompletionCode code) => new(0, (uint)code << 24, TypeField(TrbType.HostControllerEvent));

    /// <summary>MFINDEX Wrap Event (§6.4.2.8).</summary>
    public static Trb MicroframeIndexWrapEvent() => new(0, (uint)CompletionCode.Success << 24, TypeField(TrbType.MicroframeIndexWrapEvent));

    private static uint TypeField(TrbType type) => (uint)type << 10;
}

/// <summary>TRB types (xHCI 1.2 table 6-91).</summary>
public enum TrbType : byte
{
    /// <summary>Reserved.</summary>
    Reserved = 0,

    /// <summary>Normal.</summary>
    Normal = 1,

    /// <summary>Setup Stage.</summary>
    SetupStage = 2,

    /// <summary>Data Stage.</summary>
    DataStage = 3,

    /// <summary>Status Stage.</summary>
    StatusStage = 4,

    /// <summary>Isoch.</summary>
    Isoch = 5,

    /// <summary>Link.</summary>
    Link = 6,

    /// <summary>Event Data.</summary>
    EventData = 7,

    /// <summary>No Op (transfer ring).</summary>
    NoOp = 8,

    /// <summary>Enable Slot Command.</summary>
    EnableSlotCommand = 9,

    /// <summary>Disable Slot Command.</summary>
    DisableSlotCommand = 10,

    /// <summary>Address Device Command.</summary>
    AddressDeviceCommand = 11,

    /// <summary>Configure Endpoint Command.</summary>
    ConfigureEndpointCommand = 12,

    /// <summary>Evaluate Context Command.</summary>
    EvaluateContextCommand = 13,

    /// <summary>Reset Endpoint Command.</summary>
    ResetEndpointCommand = 14,

    /// <summary>Stop Endpoint Command.</summary>
    StopEndpointCommand = 15,

    /// <summary>Set TR Dequeue Pointer Command.</summary>
    SetTrDequeuePointerCommand = 16,

    /// <summary>Reset Device Command.</summary>
    ResetDeviceCommand = 17,

    /// <summary>Force Event Command (virtualisation).</summary>
    ForceEventCommand = 18,

    /// <summary>Negotiate Bandwidth Command.</summary>
    NegotiateBandwidthCommand = 19,

    /// <summary>Set Latency Tolerance Value Command.</summary>
    SetLatencyToleranceValueCommand = 20,

    /// <summary>Get Port Bandwidth Command.</summary>
    GetPortBandwidthCommand = 21,

    /// <summary>Force Header Command.</summary>
    ForceHeaderCommand = 22,

    /// <summary>No Op Command.</summary>
    NoOpCommand = 23,

    /// <summary>Get Extended Property Command.</summary>
    GetExtendedPropertyCommand = 24,

    /// <summary>Set Extended Property Command.</summary>
    SetExtendedPropertyCommand = 25,

    /// <summary>Transfer Event.</summary>
    TransferEvent = 32,

    /// <summary>Command Completion Event.</summary>
    CommandCompletionEvent = 33,

    /// <summary>Port Status Change Event.</summary>
    PortStatusChangeEvent = 34,

    /// <summary>Bandwidth Request Event.</summary>
    BandwidthRequestEvent = 35,

    /// <summary>Doorbell Event (virtualisation).</summary>
    DoorbellEvent = 36,

    /// <summary>Host Controller Event.</summary>
    HostControllerEvent = 37,

    /// <summary>Device Notification Event.</summary>
    DeviceNotificationEvent = 38,

    /// <summary>MFINDEX Wrap Event.</summary>
    MicroframeIndexWrapEvent = 39,
}
