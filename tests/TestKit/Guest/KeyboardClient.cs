using System;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>A boot protocol keyboard driver (HID 1.11 appendix B.1, F).</summary>
public sealed class KeyboardClient
{
    private readonly GuestBuffer _reports;
    private readonly byte _interface;
    private int _next;

    /// <summary>Selects the boot protocol, sets the idle rate to infinite, and queues <paramref name="depth"/> reads.</summary>
    public KeyboardClient(UsbDeviceHandle device, int depth = 2)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        GuestInterface found = device.Configuration?.Find(3, 1, 1) ?? throw new GuestDriverException("no boot keyboard interface");
        _interface = found.Number;
        In = device.Pipe(TransferKind.Interrupt, isIn: true);
        Depth = depth;
        _reports = device.Driver.AllocateBuffer(depth * 8);
        SetProtocol(boot: true);
        SetIdle(0);
        for (int i = 0; i < depth; i++) In.Submit(Place(i), 8);
    }

    public UsbDeviceHandle Device { get; }

    public GuestPipe In { get; }

    /// <summary>Reads kept in flight.</summary>
    public int Depth { get; }

    /// <summary>The next report, waiting for it; its buffer is queued again.</summary>
    public byte[] NextReport(ulong timeoutNanoseconds = 0)
    {
        TransferCompletion done = In.Reap(timeoutNanoseconds);
        if (!done.Ok) throw new GuestDriverException("keyboard report", done.Code);
        ulong place = Place(_next);
        byte[] report = Device.Driver.Platform.Memory(place, done.Actual).ToArray();
        In.Submit(place, 8);
        _next = (_next + 1) % Depth;
        return report;
    }

    /// <summary>SET_REPORT (output): bit 0 Num Lock, 1 Caps Lock, 2 Scroll Lock.</summary>
    public void SetLeds(byte leds) => Device.ControlOut(new SetupPacket(0x21, 0x09, 0x0200, _interface, 1), [leds]);

    /// <summary>SET_IDLE in 4 ms units, 0 for infinite.</summary>
    public void SetIdle(byte duration) => Device.ControlOut(new SetupPacket(0x21, 0x0a, (ushort)(duration << 8), _interface, 0));

    public void SetProtocol(bool boot) => Device.ControlOut(new SetupPacket(0x21, 0x0b, (ushort)(boot ? 0 : 1), _interface, 0));

    /// <summary>GET_REPORT (input).</summary>
    public byte[] GetReport()
    {
        byte[] report = new byte[8];
        int length = Device.ControlIn(new SetupPacket(0xa1, 0x01, 0x0100, _interface, 8), report);
        return report[..length];
    }

    private ulong Place(int index) => _reports.Address + (ulong)(index * 8);
}
