using XenUsbDm.Backends.Emulated;

namespace XenUsbDm.Backends.Keyboard;

/// <summary>Saved state of a keyboard, version 1.</summary>
/// <param name="Device">Chapter 9 state.</param>
/// <param name="Protocol">0 boot, 1 report.</param>
/// <param name="IdleRate">Idle duration in 4 ms; 0 is indefinite.</param>
/// <param name="Leds">LED bits of the last output report.</param>
/// <param name="LastReport">Instant of the last report, in nanoseconds of virtual time.</param>
/// <param name="Down">Usages that the host has been told are down, in the order of pressing.</param>
/// <param name="Queue">Events not reported yet, oldest first: usage in bits 7:0, bit 8 set for a press.</param>
/// <param name="Dropped">Counter of presses refused because the queue was full.</param>
public sealed record KeyboardStateV1(
    EmulatedDeviceStateV1 Device,
    byte Protocol,
    byte IdleRate,
    byte Leds,
    ulong LastReport,
    byte[] Down,
    ushort[] Queue,
    long Dropped);
