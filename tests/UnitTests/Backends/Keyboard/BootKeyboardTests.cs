using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Devices;

public sealed class BootKeyboardTests
{
    private const byte ClassIn = 0xa1;
    private const byte ClassOut = 0x21;
    private readonly BootKeyboard _keyboard = new();
    private readonly DeviceBench _bench;

    public BootKeyboardTests()
    {
        _bench = new DeviceBench(_keyboard);
        _bench.Configure(1);
        SetIdle(0);
    }

    private void SetIdle(byte rate) => Assert.Equal(RequestStatus.Success, _bench.Control(ClassOut, 10, (ushort)(rate << 8)).Status);

    private static VirtualTime Milliseconds(ulong value) => new(value * 1_000_000);

    private byte[]? Poll()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        if (_bench.StatusOf(request) is not null) return _bench.Memory.Bytes[..request.ActualLength].ToArray();
        _keyboard.Cancel(request);
        return null;
    }

    [Theory]
    [InlineData(UsbSpeed.Low, 8, 10)]
    [InlineData(UsbSpeed.Full, 64, 8)]
    [InlineData(UsbSpeed.High, 64, 7)]
    [InlineData(UsbSpeed.Super, 9, 7)]
    public void Descriptors_are_those_of_a_boot_keyboard_at_every_speed(UsbSpeed speed, byte packet0, byte interval)
    {
        var bench = new DeviceBench(new BootKeyboard(speed));

        byte[] device = bench.Control(0x80, 6, 0x0100, length: 18).Data;
        byte[] block = bench.Control(0x80, 6, 0x0200, length: 255).Data;

        Assert.Equal(packet0, device[7]);
        Assert.Equal([3, 1, 1], block[14..17]);
        Assert.Equal(bench.Control(0x81, 6, 0x2100, length: 255).Data, block[18..27]);
        Assert.Equal(new byte[] { 7, 5, 0x81, 3, 8, 0, interval }, block[27..34]);
        Assert.Equal(block[25] | (block[26] << 8), bench.Control(0x81, 6, 0x2200, length: 255).ActualLength);
        Assert.Equal(0xa0, block[7]);
    }

    [Fact]
    public void Default_speed_is_high() => Assert.Equal(UsbSpeed.High, _keyboard.Speed);

    [Fact]
    public void Report_descriptor_adds_up_to_eight_bytes_in_and_one_out()
    {
        byte[] items = _bench.Control(0x81, 6, 0x2200, length: 255).Data;
        int size = 0, count = 0, inBits = 0, outBits = 0;
        for (int at = 0; at < items.Length; at += 1 + ((items[at] & 3) == 3 ? 4 : items[at] & 3))
        {
            switch (items[at] & 0xfc)
            {
                case 0x74: size = items[at + 1]; break;
                case 0x94: count = items[at + 1]; break;
                case 0x80: inBits += size * count; break;
                case 0x90: outBits += size * count; break;
            }
        }

        Assert.Equal((64, 8), (inBits, outBits));
    }

    [Theory]
    [InlineData(0x81, 6, 0x2300, 0)]
    [InlineData(0x81, 6, 0x2201, 0)]
    [InlineData(0x81, 6, 0x2200, 1)]
    [InlineData(ClassIn, 1, 0x0300, 0)]
    [InlineData(ClassIn, 1, 0x0101, 0)]
    [InlineData(ClassIn, 2, 1, 0)]
    [InlineData(ClassIn, 3, 1, 0)]
    [InlineData(ClassIn, 4, 0, 0)]
    [InlineData(ClassIn, 3, 0, 1)]
    [InlineData(0xc1, 3, 0, 0)]
    [InlineData(ClassOut, 9, 0x0200, 0)]
    [InlineData(ClassOut, 9, 0x0100, 0)]
    [InlineData(ClassOut, 10, 1, 0)]
    [InlineData(ClassOut, 11, 2, 0)]
    [InlineData(ClassOut, 11, 0, 1)]
    [InlineData(ClassOut, 12, 0, 0)]
    [InlineData(0x41, 11, 0, 0)]
    public void Request_that_the_keyboard_does_not_have_stalls(byte type, byte code, ushort value, ushort index)
    {
        Assert.Equal(RequestStatus.Stall, _bench.Control(type, code, value, index).Status);
    }

    [Fact]
    public void Class_requests_stall_before_configuration()
    {
        _bench.Configure(0);

        Assert.Equal(RequestStatus.Stall, _bench.Control(ClassIn, 3, length: 1).Status);
        Assert.Equal(RequestStatus.Stall, _bench.Control(ClassOut, 11).Status);
    }

    [Fact]
    public void Protocol_reads_back_and_returns_to_report_on_reset()
    {
        Assert.Equal([1], _bench.Control(ClassIn, 3, length: 1).Data);
        _bench.Control(ClassOut, 11, 0);
        Assert.Equal([0], _bench.Control(ClassIn, 3, length: 1).Data);
        Assert.True(_keyboard.IsBootProtocol);

        _keyboard.Reset();

        Assert.False(_keyboard.IsBootProtocol);
    }

    [Fact]
    public void Idle_rate_reads_back_and_returns_to_500_ms_on_reset()
    {
        SetIdle(9);
        Assert.Equal([9], _bench.Control(ClassIn, 2, length: 1).Data);
        _keyboard.Reset();
        _bench.Configure(1);

        Assert.Equal([125], _bench.Control(ClassIn, 2, length: 1).Data);
    }

    [Fact]
    public void Leds_are_set_by_report_and_shown()
    {
        Assert.Equal(RequestStatus.Success, _bench.Control(ClassOut, 9, 0x0200, data: [0xff]).Status);

        Assert.Equal(0x1f, _keyboard.Leds);
        Assert.Equal([0x1f], _bench.Control(ClassIn, 1, 0x0200, length: 1).Data);
        Assert.Contains("/caps-lock yes", InspectWriter.Dump(_keyboard), StringComparison.Ordinal);
        _bench.Control(ClassOut, 9, 0x0200, data: [1]);
        Assert.Contains("/caps-lock no", InspectWriter.Dump(_keyboard), StringComparison.Ordinal);
    }

    [Fact]
    public void Each_event_is_one_report_in_order()
    {
        Assert.True(_keyboard.Press("shift"));
        Assert.True(_keyboard.Press("a"));
        Assert.True(_keyboard.Release("a"));
        Assert.True(_keyboard.Release("shift"));

        Assert.Equal(new byte[] { 2, 0, 0, 0, 0, 0, 0, 0 }, Poll());
        Assert.Equal(new byte[] { 2, 0, 4, 0, 0, 0, 0, 0 }, Poll());
        Assert.Equal([2, 0, 4, 0, 0, 0, 0, 0], _bench.Control(ClassIn, 1, 0x0100, length: 8).Data);
        Assert.Equal(new byte[] { 2, 0, 0, 0, 0, 0, 0, 0 }, Poll());
        Assert.Equal(new byte[8], Poll());
        Assert.Null(Poll());
    }

    [Fact]
    public void Waiting_request_is_answered_by_the_press()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        Assert.Null(_bench.StatusOf(request));

        _keyboard.Press(4);

        Assert.Equal((RequestStatus.Success, 8), (_bench.StatusOf(request), request.ActualLength));
    }

    [Fact]
    public void Larger_buffer_takes_several_reports()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 16);
        _keyboard.Press(4);
        Assert.Null(_bench.StatusOf(request));
        _keyboard.Release(4);

        Assert.Equal((RequestStatus.Success, 16), (_bench.StatusOf(request), request.ActualLength));
        Assert.Equal((4, 0), (_bench.Memory.Bytes[2], _bench.Memory.Bytes[10]));
    }

    [Fact]
    public void Smaller_buffer_is_babble()
    {
        _keyboard.Press(4);

        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 4);

        Assert.Equal(RequestStatus.Babble, _bench.StatusOf(request));
    }

    [Fact]
    public void Seventh_key_is_roll_over_with_true_modifiers_until_one_is_released()
    {
        _keyboard.Press("ctrl");
        for (byte usage = 4; usage < 11; usage++) _keyboard.Press(usage);
        for (int i = 0; i < 7; i++) Poll();

        Assert.Equal(new byte[] { 1, 0, 1, 1, 1, 1, 1, 1 }, Poll());
        _keyboard.Release(5);
        Assert.Equal(new byte[] { 1, 0, 4, 6, 7, 8, 9, 10 }, Poll());
    }

    [Fact]
    public void Nothing_is_repeated_with_indefinite_idle()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);

        Assert.Equal(VirtualTime.Never, _keyboard.NextDeadline);
        _bench.RunUntil(Milliseconds(100_000));

        Assert.Null(_bench.StatusOf(request));
    }

    [Fact]
    public void Report_is_repeated_when_the_idle_duration_has_passed()
    {
        SetIdle(5);
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        Assert.Equal(Milliseconds(20), _keyboard.NextDeadline);

        _bench.RunUntil(Milliseconds(19));
        Assert.Null(_bench.StatusOf(request));
        _bench.RunUntil(Milliseconds(20));
        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));

        Assert.Equal(VirtualTime.Never, _keyboard.NextDeadline);
        UsbRequest next = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        Assert.Equal(Milliseconds(40), _keyboard.NextDeadline);
        _bench.RunUntil(Milliseconds(45));
        Assert.Equal(RequestStatus.Success, _bench.StatusOf(next));
    }

    [Fact]
    public void Shorter_idle_duration_takes_effect_at_once()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        _bench.Now = Milliseconds(50);

        SetIdle(10);

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
    }

    [Fact]
    public void Halted_endpoint_has_no_deadline()
    {
        SetIdle(5);
        _bench.Control(0x02, 3, 0, 0x81);

        Assert.Equal(VirtualTime.Never, _keyboard.NextDeadline);
    }

    [Fact]
    public void Press_wakes_a_suspended_host_that_allowed_it_and_reports_after_resume()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Interrupt, 0, 8);
        _keyboard.SetSuspended(true);
        _keyboard.Press("a");
        Assert.Equal(0, _bench.RemoteWakes);
        _keyboard.Release("a");

        Assert.Equal(RequestStatus.Success, _bench.Control(0x00, 3, 1).Status);
        _keyboard.Press("b");

        Assert.Equal(1, _bench.RemoteWakes);
        Assert.Null(_bench.StatusOf(request));
        _keyboard.SetSuspended(false);
        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
        Assert.Equal(4, _bench.Memory.Bytes[2]);
    }

    [Fact]
    public void Queue_is_bounded_and_never_loses_a_release()
    {
        List<byte> pressed = [.. Enumerable.Range(4, 252).Select(i => (byte)i).Where(_keyboard.Press)];

        Assert.Equal(64, pressed.Count);
        Assert.All(pressed, usage => Assert.True(_keyboard.Release(usage)));
        Assert.False(_keyboard.Press(4));
        Assert.Contains("/dropped 189", InspectWriter.Dump(_keyboard), StringComparison.Ordinal);
        byte[]? last = null;
        while (Poll() is { } report) last = report;
        Assert.Equal(new byte[8], last);
        Assert.True(_keyboard.Press(4));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void Usages_that_are_no_keys_are_refused(byte usage) => Assert.False(_keyboard.Press(usage));

    [Fact]
    public void Repeated_press_and_stray_release_are_refused()
    {
        Assert.True(_keyboard.Press("a"));
        Assert.False(_keyboard.Press("a"));
        Assert.True(_keyboard.Release("a"));
        Assert.False(_keyboard.Release("a"));
        Assert.False(_keyboard.Press("no such key"));
        Assert.False(_keyboard.Release("no such key"));
    }

    [Fact]
    public void Keys_pressed_before_configuration_are_reported_after_it()
    {
        var keyboard = new BootKeyboard();
        var bench = new DeviceBench(keyboard);
        keyboard.Press("ret");

        bench.Configure(1);
        UsbRequest request = bench.Submit(0x81, TransferKind.Interrupt, 0, 8);

        Assert.Equal(0x28, bench.Memory.Bytes[2]);
        Assert.Equal(RequestStatus.Success, bench.StatusOf(request));
    }

    [Fact]
    public void Reset_forgets_keys()
    {
        _keyboard.Press("a");
        _keyboard.Reset();
        _bench.Configure(1);

        Assert.Null(Poll());
    }

    [Fact]
    public void State_restored_into_a_new_keyboard_goes_on()
    {
        _keyboard.Press("shift");
        Poll();
        _keyboard.Press("x");
        _keyboard.Release("x");
        _bench.Control(ClassOut, 9, 0x0200, data: [2]);
        _bench.Control(ClassOut, 11, 0);
        SetIdle(7);
        var copy = new BootKeyboard();
        var other = new DeviceBench(copy);

        Assert.True(copy.TryRestore(_keyboard.Capture(), out string error), error);

        Assert.Equal(InspectWriter.Dump(_keyboard), InspectWriter.Dump(copy));
        other.Submit(0x81, TransferKind.Interrupt, 0, 8);
        Assert.Equal((2, 0x1b), (other.Memory.Bytes[0], other.Memory.Bytes[2]));
        Assert.True(copy.Release("shift"));
    }

    [Fact]
    public void State_that_cannot_be_is_refused()
    {
        KeyboardStateV1 good = _keyboard.Capture();
        List<KeyboardStateV1> bad =
        [
            null!,
            good with { Device = null! },
            good with { Protocol = 2 },
            good with { Leds = 32 },
            good with { Down = null! },
            good with { Queue = null! },
            good with { Dropped = -1 },
            good with { Down = [4, 4] },
            good with { Down = [2] },
            good with { Queue = [4] },
            good with { Queue = [0x204] },
            good with { Queue = [0x104, 0x104] },
            good with { Queue = new ushort[129] },
        ];

        Assert.All(bad, state =>
        {
            Assert.False(_keyboard.TryRestore(state, out string error));
            Assert.NotEmpty(error);
        });
    }

    [Fact]
    public void Reports_allocate_nothing()
    {
        UsbRequest request = DeviceBench.Make(0x81, TransferKind.Interrupt, 0, 8);
        long allocated = long.MaxValue;
        for (int round = 0; round < 4; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 100; i++)
            {
                request.ActualLength = 0;
                _keyboard.Submit(request);
                if ((i & 1) == 0) _keyboard.Press(4);
                else _keyboard.Release(4);
                if (_bench.StatusOf(request) != RequestStatus.Success) throw new InvalidOperationException("no report");
                _bench.Forget();
            }

            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, allocated);
    }

    [Theory]
    [InlineData("a", 0x04)]
    [InlineData("z", 0x1d)]
    [InlineData("0", 0x27)]
    [InlineData("ret", 0x28)]
    [InlineData("backslash", 0x31)]
    [InlineData("caps_lock", 0x39)]
    [InlineData("f12", 0x45)]
    [InlineData("up", 0x52)]
    [InlineData("kp_decimal", 0x63)]
    [InlineData("less", 0x64)]
    [InlineData("f24", 0x73)]
    [InlineData("volumedown", 0x81)]
    [InlineData("muhenkan", 0x8b)]
    [InlineData("zenkakuhankaku", 0x94)]
    [InlineData("meta_r", 0xe7)]
    [InlineData("menu", 0x65)]
    [InlineData("0x32", 0x32)]
    public void Names_are_those_of_qmp(string name, byte usage)
    {
        Assert.True(KeyNames.TryParse(name, out byte found));
        Assert.Equal(usage, found);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("A")]
    [InlineData("0x")]
    [InlineData("0x100")]
    public void Other_names_are_not_known(string? name) => Assert.False(KeyNames.TryParse(name, out _));

    [Fact]
    public void Every_name_is_a_key_that_can_be_pressed()
    {
        Assert.All(KeyNames.All, name =>
        {
            var keyboard = new BootKeyboard();
            _ = new DeviceBench(keyboard);
            Assert.True(keyboard.Press(name));
        });
        Assert.True(KeyNames.All.Count > 140);
    }
}
