using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.Keyboard;

/// <summary>
/// A keyboard with the HID boot protocol, so that firmware without a HID parser can use it too. The control side presses
/// and releases keys; each event becomes one report, however fast they come.
/// </summary>
/// <remarks>
/// It runs at high speed unless told otherwise, as QEMU's usb-kbd does on a high-speed port; real keyboards are low- or
/// full-speed, and those are there for drivers that want to see one. Boot and report protocol use the same layout.
/// </remarks>
public sealed class BootKeyboard : EmulatedDevice
{
    /// <summary>Idle duration after reset in 4 ms: the 500 ms that HID 1.11 §7.2.4 recommends for keyboards.</summary>
    private const byte DefaultIdleRate = 125;

    private const ulong IdleUnitNanoseconds = 4_000_000;
    private const byte BootProtocol = 0;
    private const byte ReportProtocol = 1;
    private const byte LedMask = 0x1f;

    // HID 1.11 §7.2: class requests to the interface, and report types.
    private const byte ClassIn = 0xa1;
    private const byte ClassOut = 0x21;
    private const byte GetReport = 1;
    private const byte GetIdle = 2;
    private const byte GetProtocol = 3;
    private const byte SetReport = 9;
    private const byte SetIdle = 10;
    private const byte SetProtocol = 11;
    private const int InputReport = 1;
    private const int OutputReport = 2;

    private readonly KeyQueue _keys = new();
    private byte _protocol = ReportProtocol;
    private byte _idleRate = DefaultIdleRate;
    private byte _leds;
    private VirtualTime _lastReport;
    private long _dropped;

    /// <summary>Makes a keyboard at one of the four speeds.</summary>
    public BootKeyboard(UsbSpeed speed = UsbSpeed.High)
        : base(speed, KeyboardDescriptors.Make(speed))
    {
    }

    /// <inheritdoc/>
    public override string Description => "keyboard";

    /// <summary>LEDs that the host has lit: bit 0 Num Lock, 1 Caps Lock, 2 Scroll Lock, 3 Compose, 4 Kana.</summary>
    public byte Leds => _leds;

    /// <summary>The host selected the boot protocol.</summary>
    public bool IsBootProtocol => _protocol == BootProtocol;

    /// <inheritdoc/>
    public override VirtualTime NextDeadline =>
        _idleRate != 0 && IsAttached && !IsSuspended && Reports is { Halted: false, Pending: > 0 } ? IdleDeadline : VirtualTime.Never;

    private VirtualTime IdleDeadline => _lastReport.Plus(_idleRate * IdleUnitNanoseconds);

    private EmulatedEndpoint? Reports => EndpointAt(new EndpointAddress(KeyboardDescriptors.ReportIn));

    /// <summary>
    /// Presses the key with this usage (4-255). Wakes a suspended host that allowed it. False when the key is down already,
    /// or the guest does not read and the queue is full.
    /// </summary>
    public bool Press(byte usage)
    {
        bool taken = _keys.TryPress(usage);
        if (taken) KeysChanged();
        else if (!_keys.IsHeld(usage)) _dropped++;
        if (taken && IsSuspended) TryRemoteWake();
        return taken;
    }

    /// <summary>Releases the key with this usage. False when it is not down.</summary>
    public bool Release(byte usage)
    {
        if (!_keys.TryRelease(usage)) return false;
        KeysChanged();
        return true;
    }

    /// <summary>Presses a key by its name (<see cref="KeyNames"/>). False also when there is no such name.</summary>
    public bool Press(string name) => KeyNames.TryParse(name, out byte usage) && Press(usage);

    /// <summary>Releases a key by its name.</summary>
    public bool Release(string name) => KeyNames.TryParse(name, out byte usage) && Release(usage);

    /// <summary>Reports again when the idle duration has passed (HID 1.11 §7.2.4).</summary>
    public override void Advance(VirtualTime now)
    {
        if (now >= NextDeadline) KeysChanged();
    }

    /// <summary>The state to save; requests in flight are their frontend's.</summary>
    public KeyboardStateV1 Capture() =>
        new(CaptureStandard(), _protocol, _idleRate, _leds, _lastReport.Nanoseconds, _keys.Down.ToArray(), _keys.CaptureQueue(), _dropped);

    /// <summary>Takes a saved state; false, with the reason, when it is not one of this device. Keys are then all up.</summary>
    public bool TryRestore(KeyboardStateV1 state, out string error)
    {
        if (state is not { Protocol: <= ReportProtocol, Leds: <= LedMask, Down: not null, Queue: not null, Dropped: >= 0 })
        {
            error = "a field is missing or out of range";
            return false;
        }

        if (!_keys.TryRestore(state.Down, state.Queue))
        {
            error = "keys that cannot have been pressed";
            return false;
        }

        if (!TryRestoreStandard(state.Device, out error))
        {
            _keys.Clear();
            return false;
        }

        _protocol = state.Protocol;
        _idleRate = state.IdleRate;
        _leds = state.Leds;
        _lastReport = new VirtualTime(state.LastReport);
        _dropped = state.Dropped;
        return true;
    }

    /// <inheritdoc/>
    protected override void OnReset()
    {
        _keys.Clear();
        _protocol = ReportProtocol;
        _idleRate = DefaultIdleRate;
        _leds = 0;
        _lastReport = Host.Now;
    }

    /// <inheritdoc/>
    protected override bool TryControlIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        reply = default;
        if (setup.Index != 0) return false;
        if (setup.RequestType != ClassIn)
        {
            if (!setup.Is(0x81, StandardRequest.GetDescriptor) || (setup.Value & 0xff) != 0) return false;
            var type = (DescriptorType)(setup.Value >> 8);
            if (type == DescriptorType.Hid) reply = KeyboardDescriptors.Hid;
            else if (type == DescriptorType.HidReport) reply = KeyboardDescriptors.Report;
            return !reply.IsEmpty;
        }

        if (ConfigurationValue == 0) return false;
        Span<byte> buffer = ControlBuffer;
        int length = 1;
        switch (setup.Request)
        {
            case GetReport when setup.Value == InputReport << 8:
                length = KeyboardDescriptors.ReportLength;
                _keys.WriteReport(buffer[..length]);
                break;
            case GetReport when setup.Value == OutputReport << 8:
                buffer[0] = _leds;
                break;
            case GetIdle when setup.Value == 0:
                buffer[0] = _idleRate;
                break;
            case GetProtocol when setup.Value == 0:
                buffer[0] = _protocol;
                break;
            default:
                return false;
        }

        reply = buffer[..length];
        return true;
    }

    /// <inheritdoc/>
    protected override bool TryControlOut(SetupPacket setup, ReadOnlySpan<byte> data)
    {
        if (setup.RequestType != ClassOut || setup.Index != 0 || ConfigurationValue == 0) return false;
        switch (setup.Request)
        {
            case SetReport when setup.Value == OutputReport << 8 && !data.IsEmpty:
                _leds = (byte)(data[0] & LedMask);
                return true;
            case SetIdle when (setup.Value & 0xff) == 0:
                // The new duration counts from the last report, so a shorter one may be due at once (HID 1.11 §7.2.4).
                _idleRate = (byte)(setup.Value >> 8);
                KeysChanged();
                return true;
            case SetProtocol when setup.Value <= ReportProtocol:
                _protocol = (byte)setup.Value;
                return true;
            default:
                return false;
        }
    }

    /// <inheritdoc/>
    protected override bool Pump(EmulatedEndpoint endpoint, UsbRequest request)
    {
        Span<byte> report = stackalloc byte[KeyboardDescriptors.ReportLength];
        bool completed = false;

        // A report is a full packet, so a larger buffer takes several (USB 2.0 §5.7.3); the queue bounds them.
        while (!completed && !IsSuspended && NextReport())
        {
            _keys.WriteReport(report);
            _lastReport = Host.Now;
            SendPackets(endpoint, request, report, last: true, out completed);
        }

        return completed;
    }

    /// <inheritdoc/>
    protected override void OnConfigured(byte configuration) => _lastReport = Host.Now;

    /// <inheritdoc/>
    protected override void OnSuspended(bool suspended)
    {
        if (!suspended) KeysChanged();
    }

    /// <inheritdoc/>
    protected override void InspectDevice(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("protocol", IsBootProtocol ? "boot" : "report");
        writer.Number("idle-ms", _idleRate * 4);
        writer.Hex("leds", _leds);
        writer.Flag("num-lock", (_leds & 1) != 0);
        writer.Flag("caps-lock", (_leds & 2) != 0);
        writer.Flag("scroll-lock", (_leds & 4) != 0);
        writer.Text("keys-down", Convert.ToHexStringLower(_keys.Down));
        writer.Number("queued", _keys.Count);
        writer.Number("dropped", _dropped);
        writer.Number("last-report-ns", (long)Math.Min(_lastReport.Nanoseconds, long.MaxValue));
    }

    private bool NextReport() => _keys.TryApply() || (_idleRate != 0 && Host.Now >= IdleDeadline);

    private void KeysChanged()
    {
        if (Reports is { } endpoint) Wake(endpoint);
    }
}
