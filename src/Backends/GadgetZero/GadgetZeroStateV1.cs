using XenUsbDm.Backends.Emulated;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>Saved state of a gadget zero, version 1.</summary>
/// <param name="Device">Chapter 9 state.</param>
/// <param name="VendorBuffer">What the vendor requests have written, up to the furthest byte.</param>
/// <param name="SinkModes">Per endpoint index (32): what the transfer in progress was found to hold; 0 undecided, 1 mod63, 2 zeros.</param>
/// <param name="LoopbackLengths">Lengths of the packets between OUT and IN, oldest first.</param>
/// <param name="LoopbackBytes">Their bytes.</param>
/// <param name="BytesSourced">Counter.</param>
/// <param name="BytesSunk">Counter.</param>
/// <param name="Mismatches">Counter.</param>
public sealed record GadgetZeroStateV1(
    EmulatedDeviceStateV1 Device,
    byte[] VendorBuffer,
    byte[] SinkModes,
    ushort[] LoopbackLengths,
    byte[] LoopbackBytes,
    long BytesSourced,
    long BytesSunk,
    long Mismatches);
