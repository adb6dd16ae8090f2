using System;
using System.Collections.Generic;
using System.Diagnostics;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Benchmarks;

/// <summary>One path of the road: its name in budgets.json, what one operation is, and how to run some.</summary>
internal sealed record Path(string Name, string Operation, int Bytes, int Operations, Func<int, long> Round);

/// <summary>
/// The road from doorbell to event, measured in one process on one thread: the guest driver of the test kit, the controller,
/// the pipeline and gadget zero. Each path moves real data, which <see cref="Validate"/> has checked before.
/// </summary>
internal sealed class RoadBenchmarks
{
    private const int InFlight = 32;
    private const int Large = 65536;
    private const int Small = 512;
    private const int MfindexOffset = 0x1000;
    private const int DeviceNotificationOffset = 0x54;
    private const int HciVersionWord = 0;

    private readonly InProcessMachine _machine = new();
    private readonly XhciDriver _driver;
    private readonly UsbDeviceHandle _super;
    private readonly GuestPipe _in;
    private readonly GuestPipe _out;
    private readonly GuestPipe _isoch;
    private readonly GuestBuffer _buffer;
    private readonly byte[] _source = new byte[Large];
    private readonly byte[] _target = new byte[Large];
    private ulong _sink;

    public RoadBenchmarks()
    {
        _driver = new XhciDriver(new InProcessPlatform(_machine));
        _driver.Start();
        _super = Plug(UsbSpeed.Super, connector: 1, rootPort: 5);
        _in = _super.Pipe(TransferKind.Bulk, isIn: true);
        _out = _super.Pipe(TransferKind.Bulk, isIn: false);
        UsbDeviceHandle high = Plug(UsbSpeed.High, connector: 2, rootPort: 2);
        high.SetInterface(0, 1);
        _isoch = high.Pipe(TransferKind.Isochronous, isIn: true);
        _buffer = _driver.AllocateBuffer(Large);
        FillPattern();
    }

    /// <summary>Every path, in the order of the road.</summary>
    public IEnumerable<Path> Paths()
    {
        yield return new("register-read", "MFINDEX read", 4, 20_000, Reads);
        yield return new("register-write", "DNCTRL write", 4, 20_000, Writes);
        yield return new("control", "GET_DESCRIPTOR, 18 bytes", 18, 200, Controls);
        yield return new("bulk-in-512", "512 bytes IN, 32 in flight", Small, 6400, n => Bulk(_in, n, Small));
        yield return new("bulk-out-512", "512 bytes OUT, 32 in flight", Small, 6400, n => Bulk(_out, n, Small));
        yield return new("bulk-in-64k", "64 KiB IN, 8 in flight", Large, 800, n => Bulk(_in, n, Large, 8));
        yield return new("bulk-out-64k", "64 KiB OUT, 8 in flight", Large, 800, n => Bulk(_out, n, Large, 8));
        yield return new("isochronous-in", "one high-speed packet IN", 1024, 640, Isochronous);
    }

    /// <summary>memcpy of <paramref name="bytes"/> bytes, the measure that the transfers stand beside.</summary>
    public Path Memcpy(int bytes) => new($"memcpy-{bytes}", $"memcpy of {bytes} bytes", bytes, Math.Max(64, (64 << 20) / bytes / 16), n =>
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < n; i++) _source.AsSpan(0, bytes).CopyTo(_target);
        return Stopwatch.GetTimestamp() - start;
    });

    /// <summary>Moves data once over each path and compares it. Throws when a path does not do what will be measured.</summary>
    public void Validate()
    {
        Span<byte> memory = _driver.Platform.Memory(_buffer.Address, Large);
        memory.Clear();
        TransferCompletion done = _in.Transfer(_buffer.Address, Large);
        Require(done is { Code: GuestCompletion.Success, Actual: Large }, $"64 KiB IN ended as {done}");
        Require(memory.SequenceEqual(_source), "64 KiB IN brought other data");
        done = _out.Transfer(_buffer.Address, Large);
        Require(done is { Code: GuestCompletion.Success, Actual: Large }, $"64 KiB OUT ended as {done}");
        Require(_machine.ReadBar32(HciVersionWord) >> 16 == 0x0120, "HCIVERSION is not 1.2");
        Require(Isochronous(8) > 0, "no isochronous packets");
    }

    private static void Require(bool condition, string what)
    {
        if (!condition) throw new InvalidOperationException(what);
    }

    private UsbDeviceHandle Plug(UsbSpeed speed, int connector, int rootPort)
    {
        Require(_machine.Attach(connector, new GadgetZero(new GadgetZeroOptions { Speed = speed })) == AttachResult.Attached, "attach");
        _driver.Expect(() => (_driver.ReadPort(rootPort) & XhciDriver.PortConnected) != 0, "the connection");
        return UsbDeviceHandle.Enumerate(_driver, rootPort, 0);
    }

    // usbtest's pattern 1, which gadget zero sends and checks: byte i of each 1024-byte packet is i modulo 63.
    private void FillPattern()
    {
        for (int i = 0; i < Large; i++) _source[i] = (byte)(i % 1024 % 63);
        _source.CopyTo(_driver.Platform.Memory(_buffer.Address, Large));
    }

    private long Reads(int n)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < n; i++) _sink += _machine.ReadBar(MfindexOffset, 4);
        return Stopwatch.GetTimestamp() - start;
    }

    private long Writes(int n)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < n; i++) _machine.WriteBar(DeviceNotificationOffset, 4, 2);
        return Stopwatch.GetTimestamp() - start;
    }

    private long Controls(int n)
    {
        var setup = new SetupPacket(0x80, (byte)StandardRequest.GetDescriptor, 0x100, 0, 18);
        GuestPipe pipe = _super.Control;
        long ticks = 0;
        for (int i = 0; i < n; i++)
        {
            pipe.SubmitControl(setup, _buffer.Address, 18, TdFlags.NoDoorbell);
            long start = Stopwatch.GetTimestamp();
            pipe.Kick();
            _machine.Step();
            ticks += Stopwatch.GetTimestamp() - start;
            Reap(pipe, 1);
        }

        if (n > 0) FillPattern();
        return ticks;
    }

    // Counts the doorbell and everything up to the event and the interrupt; queueing TRBs and reading events is the guest's work.
    private long Bulk(GuestPipe pipe, int n, int length, int inFlight = InFlight)
    {
        long ticks = 0;
        for (int done = 0; done < n; done += inFlight)
        {
            for (int i = 0; i < inFlight; i++) Require(pipe.Submit(_buffer.Address, length, flags: TdFlags.NoDoorbell) >= 0, "ring full");
            long start = Stopwatch.GetTimestamp();
            pipe.Kick();
            _machine.Step();
            ticks += Stopwatch.GetTimestamp() - start;
            Reap(pipe, inFlight);
        }

        return ticks;
    }

    private long Isochronous(int n)
    {
        long ticks = 0;
        for (int done = 0; done < n; done += 8)
        {
            for (int i = 0; i < 8; i++) Require(_isoch.SubmitIsochronous(_buffer.Address, 1024, flags: TdFlags.NoDoorbell) >= 0, "ring full");
            long start = Stopwatch.GetTimestamp();
            _isoch.Kick();
            _machine.AdvanceBy(8 * 125_000 * (ulong)Math.Max(1, 1 << (_isoch.Endpoint.Interval - 1)) + 1_000_000);
            ticks += Stopwatch.GetTimestamp() - start;
            Reap(_isoch, 8);
        }

        if (n > 0) FillPattern();
        return ticks;
    }

    private void Reap(GuestPipe pipe, int count)
    {
        for (int i = 0; i < count;)
        {
            if (!pipe.TryReap(out TransferCompletion completion))
            {
                _machine.Step();
                Require(pipe.InFlight > 0, "a transfer is lost");
                continue;
            }

            if (!completion.Ok) throw new InvalidOperationException($"a transfer ended as {completion.Code}");
            i++;
        }
    }
}
