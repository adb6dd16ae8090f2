using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Devices;

/// <summary>Random guest actions from fixed seeds: nothing throws, every request comes back at most once and with a possible length.</summary>
public sealed class EmulatedDeviceStormTests
{
    private const int Steps = 4000;

    public static TheoryData<string, UsbSpeed, int> Storms()
    {
        var rows = new TheoryData<string, UsbSpeed, int>();
        foreach (string kind in (string[])["zero", "keyboard"])
        {
            foreach (UsbSpeed speed in Enum.GetValues<UsbSpeed>())
            {
                for (int seed = 1; seed <= 3; seed++) rows.Add(kind, speed, seed);
            }
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(Storms))]
    public void Random_actions_leave_the_device_consistent(string kind, UsbSpeed speed, int seed)
    {
        var random = new Random(seed);
        EmulatedDevice device = kind == "zero" ? new GadgetZero(new GadgetZeroOptions { Speed = speed }) : new BootKeyboard(speed);
        var host = new StormHost();
        device.Attached(host);
        ulong now = 0;
        for (int step = 0; step < Steps; step++)
        {
            now += (ulong)random.Next(3_000_000);
            host.Now = new VirtualTime(now);
            Act(random, device, host);
            device.Advance(host.Now);
        }

        int waiting = host.InFlight.Count;
        device.Reset();
        Assert.Empty(host.InFlight);
        Assert.True(waiting < Steps);
        Assert.True(host.Done > Steps / 2, $"{host.Done} requests came back");
        Assert.Contains("/configuration 0", InspectWriter.Dump(device), StringComparison.Ordinal);
    }

    private static void Act(Random random, EmulatedDevice device, StormHost host)
    {
        switch (random.Next(20))
        {
            case 0:
                device.Reset();
                break;
            case 1:
                device.SetSuspended(random.Next(2) == 0);
                break;
            case 2 or 3 when host.InFlight.Count > 0:
                device.Cancel(host.InFlight.ElementAt(random.Next(host.InFlight.Count)));
                break;
            case 4:
                Configure(random, device, host);
                break;
            case 5 when device is BootKeyboard keyboard:
                byte usage = (byte)random.Next(256);
                if (!keyboard.Release(usage)) keyboard.Press(usage);
                break;
            case 6 when host.InFlight.Count == 0:
                SaveAndRestore(device);
                break;
            case < 12:
                Configure(random, device, host, (byte)random.Next(4));
                Submit(random, device, host, Data(random));
                break;
            default:
                Submit(random, device, host, Control(random));
                break;
        }
    }

    private static void Configure(Random random, EmulatedDevice device, StormHost host, byte configuration = 3)
    {
        UsbRequest request = host.Take(new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(0, 9, configuration, 0, 0) });
        device.SetConfiguration(request, configuration);
        byte alternate = (byte)random.Next(5);
        request = host.Take(new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(1, 11, alternate, 0, 0) });
        device.SetInterface(request, 0, alternate);
    }

    private static void Submit(Random random, EmulatedDevice device, StormHost host, UsbRequest request)
    {
        for (int i = random.Next(4); i > 0; i--) request.Data.Add(new GuestAddress((ulong)random.Next(70 << 10)), random.Next(5000));
        device.Submit(host.Take(request));
    }

    private static UsbRequest Data(Random random)
    {
        var request = new UsbRequest
        {
            Endpoint = new EndpointAddress((byte)((random.Next(4) * 0x80 & 0x80) | random.Next(5))),
            Kind = (TransferKind)random.Next(4),
            Packets = new IsoPacket[4],
            PacketCount = random.Next(5),
            StreamId = (ushort)random.Next(3),
        };
        for (int i = 0; i < 4; i++) request.Packets[i] = new IsoPacket { Offset = random.Next(4000), Length = random.Next(4000) };
        return request;
    }

    private static UsbRequest Control(Random random)
    {
        byte[] types = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x21, 0xa1, 0x40, 0xc0];
        byte[] codes = [0, 1, 3, 6, 8, 9, 10, 11, 12, 48, 49, 0x5b, 0x5c, 2];
        ushort value = (ushort)(random.Next(3) == 0 ? random.Next(65536) : random.Next(16) << 8 | random.Next(3));
        ushort index = (ushort)(random.Next(3) == 0 ? random.Next(65536) : random.Next(2) * 0x80 | random.Next(4));
        byte type = random.Next(10) == 0 ? (byte)random.Next(256) : types[random.Next(types.Length)];
        byte code = random.Next(10) == 0 ? (byte)random.Next(256) : codes[random.Next(codes.Length)];
        ushort length = (ushort)(random.Next(2) == 0 ? 0 : random.Next(random.Next(65536)));
        return new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(type, code, value, index, length) };
    }

    private static void SaveAndRestore(EmulatedDevice device)
    {
        string before = InspectWriter.Dump(device);
        string error;
        bool restored = device switch
        {
            GadgetZero zero => zero.TryRestore(zero.Capture(), out error),
            BootKeyboard keyboard => keyboard.TryRestore(keyboard.Capture(), out error),
            _ => throw new InvalidOperationException(),
        };
        Assert.True(restored, error);
        Assert.Equal(before, InspectWriter.Dump(device));
    }

    private sealed class StormHost : IUsbDeviceHost
    {
        private readonly FlatMemory _memory = new(64 << 10) { LongestRun = 3000 };

        public HashSet<UsbRequest> InFlight { get; } = [];

        public int Done { get; private set; }

        public VirtualTime Now { get; set; }

        public IGuestMemory Memory => _memory;

        public UsbRequest Take(UsbRequest request)
        {
            InFlight.Add(request);
            return request;
        }

        public void Complete(UsbRequest request, RequestStatus status)
        {
            Assert.True(InFlight.Remove(request), "given back twice");
            Assert.Null(request.DeviceNext);
            int most = request.Kind == TransferKind.Isochronous ? request.PacketCount * request.Length : request.Length;
            if (request.Kind == TransferKind.Control) most = Math.Min(most, request.Setup.Length);
            Assert.InRange(request.ActualLength, 0, most);
            Done++;
        }

        public void ResetDone()
        {
        }

        public void RemoteWake()
        {
        }
    }

    [Fact]
    public void Device_without_any_answers_stalls_and_cancels()
    {
        var device = new MuteDevice();
        var bench = new DeviceBench(device);
        bench.Configure(1);
        UsbRequest request = bench.Submit(0x81, TransferKind.Bulk, 0, 64);
        device.SetSuspended(true);
        device.SetSuspended(false);
        bench.SelectAlternate(0, 0);
        device.Advance(VirtualTime.Zero);

        Assert.Equal(RequestStatus.Stall, bench.Control(0x40, 1).Status);
        Assert.Equal(RequestStatus.Stall, bench.Control(0xc0, 1, length: 1).Status);
        Assert.Equal(RequestStatus.Success, bench.Control(0x02, 1, 0, 0x81).Status);
        device.Cancel(request);
        Assert.Equal(RequestStatus.Cancelled, bench.StatusOf(request));
        Assert.Equal((VirtualTime.Never, false), (device.NextDeadline, device.PacesItself));
        device.Detached();
    }

    private sealed class MuteDevice() : EmulatedDevice(UsbSpeed.High, ProbeDevice.Describe(UsbSpeed.High, 0x80))
    {
        public override string Description => "mute";

        protected override bool Pump(EmulatedEndpoint endpoint, UsbRequest request) => false;
    }
}
