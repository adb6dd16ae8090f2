using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using Zero = XenUsbDm.Backends.GadgetZero.GadgetZero;

namespace XenUsbDm.UnitTests.Devices;

public sealed class GadgetZeroTests
{
    private const byte SourceSink = 3;
    private const byte Loopback = 2;

    private static (Zero Device, DeviceBench Bench) Make(UsbSpeed speed = UsbSpeed.High, byte configuration = SourceSink, byte alternate = 0, ZeroPattern pattern = ZeroPattern.Mod63, int packets = 1)
    {
        var device = new Zero(new GadgetZeroOptions { Speed = speed, Pattern = pattern, IsochronousPackets = packets });
        var bench = new DeviceBench(device);
        Assert.Equal(RequestStatus.Success, bench.Configure(configuration));
        if (alternate != 0) Assert.Equal(RequestStatus.Success, bench.SelectAlternate(0, alternate));
        return (device, bench);
    }

    // The rule of Linux's usbtest and f_sourcesink, byte by byte.
    private static byte[] Mod63(int length, int maxPacket) => [.. Enumerable.Range(0, length).Select(i => (byte)(i % maxPacket % 63))];

    private static int BulkPacket(UsbSpeed speed) => speed switch { UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };

    public static TheoryData<UsbSpeed, int> BulkLengths()
    {
        var rows = new TheoryData<UsbSpeed, int>();
        foreach (UsbSpeed speed in (UsbSpeed[])[UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super])
        {
            foreach (int length in (int[])[0, 1, 63, 64, 511, 512, 1000, 1024, 16 << 10, (16 << 10) + 1, 65536, UsbRequest.MaxLength]) rows.Add(speed, length);
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(BulkLengths))]
    public void Source_fills_what_is_asked_for_with_the_pattern(UsbSpeed speed, int length)
    {
        (_, DeviceBench bench) = Make(speed);
        bench.Memory.Bytes[..(length + 1)].Fill(0xa5);

        UsbRequest request = bench.Submit(0x81, TransferKind.Bulk, 0, length);

        Assert.Equal((RequestStatus.Success, length), (bench.StatusOf(request), request.ActualLength));
        Assert.True(bench.Memory.Bytes[..length].SequenceEqual(Mod63(length, BulkPacket(speed))));
        Assert.Equal(0xa5, bench.Memory.Bytes[length]);
    }

    [Theory]
    [MemberData(nameof(BulkLengths))]
    public void Sink_takes_the_pattern_and_zeros(UsbSpeed speed, int length)
    {
        (_, DeviceBench bench) = Make(speed);

        UsbRequest pattern = bench.Send(0x01, TransferKind.Bulk, Mod63(length, BulkPacket(speed)));
        UsbRequest zeros = bench.Send(0x01, TransferKind.Bulk, new byte[length]);

        Assert.Equal((RequestStatus.Success, length), (bench.StatusOf(pattern), pattern.ActualLength));
        Assert.Equal((RequestStatus.Success, length), (bench.StatusOf(zeros), zeros.ActualLength));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(511, 0)]
    [InlineData(512, 512)]
    [InlineData(70000, 69632)]
    [InlineData(99999, 99840)]
    public void Wrong_byte_stalls_at_its_packet_and_halts_the_sink(int wrongAt, int accepted)
    {
        (_, DeviceBench bench) = Make();
        byte[] data = Mod63(100000, 512);
        data[wrongAt] ^= 0x80;

        UsbRequest request = bench.Send(0x01, TransferKind.Bulk, data);

        Assert.Equal((RequestStatus.Stall, accepted), (bench.StatusOf(request), request.ActualLength));
        Assert.Equal(RequestStatus.Stall, bench.StatusOf(bench.Submit(0x01, TransferKind.Bulk, 0, 0)));
        bench.Control(0x02, 1, 0, 0x01);
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Send(0x01, TransferKind.Bulk, Mod63(600, 512))));
        Assert.Contains("/mismatches 1", InspectWriter.Dump(bench.Device), StringComparison.Ordinal);
    }

    [Fact]
    public void Page_of_zeros_within_a_pattern_is_found_whatever_the_mapping()
    {
        foreach (int run in (int[])[1, 33, 4096, int.MaxValue])
        {
            (_, DeviceBench bench) = Make();
            bench.Memory.LongestRun = run;
            byte[] data = Mod63(16384, 512);
            data.AsSpan(4096, 4096).Clear();

            UsbRequest request = bench.Send(0x01, TransferKind.Bulk, data);

            Assert.Equal((RequestStatus.Stall, 4096), (bench.StatusOf(request), request.ActualLength));
        }
    }

    [Fact]
    public void Pattern_after_a_page_of_zeros_is_wrong_too()
    {
        (_, DeviceBench bench) = Make();
        bench.Memory.LongestRun = 1024;
        byte[] data = Mod63(16384, 512);
        data.AsSpan(0, 4096).Clear();

        UsbRequest request = bench.Send(0x01, TransferKind.Bulk, data);

        Assert.Equal((RequestStatus.Stall, 4096), (bench.StatusOf(request), request.ActualLength));
    }

    [Theory]
    [InlineData(ZeroPattern.Zeros, false)]
    [InlineData(ZeroPattern.Unchecked, true)]
    public void Other_patterns_send_zeros_and_check_as_told(ZeroPattern pattern, bool takesAnything)
    {
        (_, DeviceBench bench) = Make(pattern: pattern);
        bench.Memory.Bytes.Fill(1);

        bench.Submit(0x81, TransferKind.Bulk, 0, 5000);
        UsbRequest request = bench.Send(0x01, TransferKind.Bulk, Mod63(600, 512), 8192);

        Assert.Equal(-1, bench.Memory.Bytes[..5000].IndexOfAnyExcept((byte)0));
        Assert.Equal(takesAnything ? RequestStatus.Success : RequestStatus.Stall, bench.StatusOf(request));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Send(takesAnything ? (byte)0x01 : (byte)0x81, TransferKind.Bulk, new byte[64])));
    }

    [Theory]
    [InlineData(0x81)]
    [InlineData(0x01)]
    public void Missing_memory_is_a_memory_fault_with_the_progress_made(byte endpoint)
    {
        (_, DeviceBench bench) = Make();
        int start = bench.Memory.Bytes.Length - 1024;

        UsbRequest request = bench.Submit(endpoint, TransferKind.Bulk, start, 2048);

        Assert.Equal((RequestStatus.MemoryFault, 1024), (bench.StatusOf(request), request.ActualLength));
    }

    [Theory]
    [InlineData(UsbSpeed.Full, 2, 0x83, 64)]
    [InlineData(UsbSpeed.High, 2, 0x83, 1024)]
    [InlineData(UsbSpeed.Super, 3, 0x83, 1024)]
    [InlineData(UsbSpeed.Low, 0, 0x81, 8)]
    [InlineData(UsbSpeed.Low, 1, 0x82, 8)]
    public void Interrupt_endpoints_source_and_sink(UsbSpeed speed, byte alternate, byte inAddress, int packet)
    {
        (_, DeviceBench bench) = Make(speed, alternate: alternate);

        UsbRequest source = bench.Submit(inAddress, TransferKind.Interrupt, 0, 512);
        byte[] seen = bench.Memory.Bytes[..512].ToArray();
        UsbRequest sink = bench.Send((byte)(inAddress & 0x7f), TransferKind.Interrupt, Mod63(512, packet), 4096);

        Assert.Equal((RequestStatus.Success, RequestStatus.Success), (bench.StatusOf(source), bench.StatusOf(sink)));
        Assert.Equal(Mod63(512, packet), seen);
    }

    private static UsbRequest Isochronous(byte endpoint, int address, params int[] lengths)
    {
        UsbRequest request = DeviceBench.Make(endpoint, TransferKind.Isochronous, address, Math.Max(1, lengths.Sum()));
        request.Packets = new IsoPacket[lengths.Length];
        request.PacketCount = lengths.Length;
        for (int i = 0, offset = 0; i < lengths.Length; offset += lengths[i++]) request.Packets[i] = new IsoPacket { Offset = offset, Length = lengths[i] };
        return request;
    }

    [Theory]
    [InlineData(UsbSpeed.Full, 1, 512)]
    [InlineData(UsbSpeed.High, 1, 1024)]
    [InlineData(UsbSpeed.High, 3, 3072)]
    [InlineData(UsbSpeed.Super, 1, 1024)]
    [InlineData(UsbSpeed.Super, 48, 49152)]
    public void Isochronous_source_fills_each_packet_up_to_the_interval(UsbSpeed speed, int packets, int interval)
    {
        (Zero device, DeviceBench bench) = Make(speed, alternate: 1, packets: packets);
        UsbRequest request = Isochronous(0x82, 0, interval, 100, 0, interval + 50);

        device.Submit(request);

        Assert.Equal(RequestStatus.Success, bench.StatusOf(request));
        Assert.Equal([interval, 100, 0, interval], request.Packets.Select(p => p.ActualLength));
        Assert.All(request.Packets, p => Assert.Equal(RequestStatus.Success, p.Status));
        int packet = speed == UsbSpeed.Full ? 512 : 1024;
        Assert.Equal(Mod63(interval, packet), bench.Memory.Bytes[..interval].ToArray());
        Assert.Equal(Mod63(100, packet), bench.Memory.Bytes.Slice(interval, 100).ToArray());
        Assert.Equal((2 * interval) + 100, request.ActualLength);
    }

    [Fact]
    public void Isochronous_sink_takes_anything()
    {
        (Zero device, DeviceBench bench) = Make(alternate: 3);
        bench.Memory.Bytes[..2048].Fill(0x77);
        UsbRequest request = Isochronous(0x02, 0, 1024, 0, 1024);

        device.Submit(request);

        Assert.Equal((RequestStatus.Success, 2048), (bench.StatusOf(request), request.ActualLength));
    }

    [Fact]
    public void Isochronous_packet_without_memory_is_marked_and_the_rest_goes_on()
    {
        (Zero device, DeviceBench bench) = Make(alternate: 1);
        UsbRequest request = Isochronous(0x82, bench.Memory.Bytes.Length - 512, 512, 512, 0);
        request.Data.Add(new GuestAddress(0), 512);
        request.Packets[1] = new IsoPacket { Offset = 256, Length = 512 };
        request.Packets[2] = new IsoPacket { Offset = 1024, Length = 512 };

        device.Submit(request);

        Assert.Equal(RequestStatus.MemoryFault, bench.StatusOf(request));
        Assert.Equal([RequestStatus.Success, RequestStatus.MemoryFault, RequestStatus.Success], request.Packets.Select(p => p.Status));
        Assert.Equal([512, 0, 512], request.Packets.Select(p => p.ActualLength));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4096)]
    [InlineData(65535)]
    public void Vendor_write_is_read_back(int length)
    {
        (_, DeviceBench bench) = Make();
        byte[] data = [.. Enumerable.Range(0, length).Select(i => (byte)((i * 7) & 0xff))];

        Assert.Equal((RequestStatus.Success, length), Outcome(bench.Control(0x40, 0x5b, data: data)));
        ControlResult read = bench.Control(0xc0, 0x5c, length: length);

        Assert.True(data.AsSpan().SequenceEqual(read.Data));
    }

    private static (RequestStatus, int) Outcome(ControlResult result) => (result.Status, result.ActualLength);

    [Fact]
    public void Vendor_buffer_survives_other_requests_and_shorter_writes()
    {
        (_, DeviceBench bench) = Make();
        bench.Control(0x40, 0x5b, data: [1, 2, 3, 4]);
        bench.Control(0x80, 0, length: 2);
        bench.Control(0x40, 0x5b, data: [9]);

        Assert.Equal([9, 2, 3, 4, 0], bench.Control(0xc0, 0x5c, length: 5).Data);
    }

    [Theory]
    [InlineData(0x40, 0x5b, 1, 0)]
    [InlineData(0x40, 0x5b, 0, 1)]
    [InlineData(0x40, 0x5a, 0, 0)]
    [InlineData(0x41, 0x5b, 0, 0)]
    [InlineData(0xc0, 0x5c, 1, 0)]
    [InlineData(0xc0, 0x5c, 0, 1)]
    [InlineData(0xc0, 0x5b, 0, 0)]
    [InlineData(0xc1, 0x5c, 0, 0)]
    public void Other_vendor_requests_stall(byte type, byte code, ushort value, ushort index)
    {
        (_, DeviceBench bench) = Make();

        Assert.Equal(RequestStatus.Stall, bench.Control(type, code, value, index, new byte[2], 2).Status);
    }

    [Fact]
    public void Vendor_requests_stall_before_configuration()
    {
        (_, DeviceBench bench) = Make(configuration: 0);

        Assert.Equal(RequestStatus.Stall, bench.Control(0x40, 0x5b, data: [1]).Status);
        Assert.Equal(RequestStatus.Stall, bench.Control(0xc0, 0x5c, length: 1).Status);
    }

    [Theory]
    [InlineData(UsbSpeed.Low, TransferKind.Interrupt, 8)]
    [InlineData(UsbSpeed.Full, TransferKind.Bulk, 64)]
    [InlineData(UsbSpeed.High, TransferKind.Bulk, 512)]
    [InlineData(UsbSpeed.Super, TransferKind.Bulk, 1024)]
    public void Loopback_gives_transfers_back_with_their_ends(UsbSpeed speed, TransferKind kind, int packet)
    {
        (_, DeviceBench bench) = Make(speed, Loopback);
        byte[] data = [.. Enumerable.Range(0, (3 * packet) + 5).Select(i => (byte)((i * 11) & 0xff))];

        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Send(0x01, kind, data)));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Send(0x01, kind, [])));
        UsbRequest back = bench.Submit(0x81, kind, 1 << 20, 16 * packet);
        UsbRequest empty = bench.Submit(0x81, kind, 1 << 20, packet);

        Assert.Equal((RequestStatus.Success, data.Length), (bench.StatusOf(back), back.ActualLength));
        Assert.Equal((RequestStatus.Success, 0), (bench.StatusOf(empty), empty.ActualLength));
        Assert.Equal(data, bench.Memory.Bytes.Slice(1 << 20, data.Length).ToArray());
    }

    [Fact]
    public void Loopback_in_that_came_first_waits_for_data()
    {
        (_, DeviceBench bench) = Make(configuration: Loopback);
        UsbRequest back = bench.Submit(0x81, TransferKind.Bulk, 4096, 1024);
        Assert.Null(bench.StatusOf(back));

        bench.Send(0x01, TransferKind.Bulk, new byte[512]);
        Assert.Null(bench.StatusOf(back));
        bench.Send(0x01, TransferKind.Bulk, new byte[12]);

        Assert.Equal((RequestStatus.Success, 524), (bench.StatusOf(back), back.ActualLength));
    }

    [Fact]
    public void Loopback_holds_64_kib_and_lets_the_rest_wait()
    {
        (_, DeviceBench bench) = Make(configuration: Loopback);
        byte[] data = [.. Enumerable.Range(0, 200 << 10).Select(i => (byte)((i / 3) & 0xff))];

        UsbRequest sent = bench.Send(0x01, TransferKind.Bulk, data);
        Assert.Null(bench.StatusOf(sent));
        Assert.Equal(64 << 10, sent.ActualLength);
        UsbRequest back = bench.Submit(0x81, TransferKind.Bulk, 1 << 20, data.Length);

        Assert.Equal(RequestStatus.Success, bench.StatusOf(sent));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(back));
        Assert.True(bench.Memory.Bytes.Slice(1 << 20, data.Length).SequenceEqual(data));
    }

    [Fact]
    public void Loopback_packet_larger_than_the_buffer_is_babble()
    {
        (_, DeviceBench bench) = Make(configuration: Loopback);
        bench.Send(0x01, TransferKind.Bulk, new byte[512]);

        UsbRequest nothing = bench.Submit(0x81, TransferKind.Bulk, 0, 0);
        UsbRequest small = bench.Submit(0x81, TransferKind.Bulk, 0, 100);

        Assert.Equal((RequestStatus.Success, 0), (bench.StatusOf(nothing), nothing.ActualLength));
        Assert.Equal((RequestStatus.Babble, 0), (bench.StatusOf(small), small.ActualLength));
    }

    [Theory]
    [InlineData(0x81)]
    [InlineData(0x01)]
    public void Loopback_without_memory_is_a_memory_fault(byte endpoint)
    {
        (_, DeviceBench bench) = Make(configuration: Loopback);
        bench.Send(0x01, TransferKind.Bulk, new byte[512]);

        UsbRequest request = bench.Submit(endpoint, TransferKind.Bulk, bench.Memory.Bytes.Length, 512);

        Assert.Equal(RequestStatus.MemoryFault, bench.StatusOf(request));
    }

    [Fact]
    public void Loopback_buffer_is_emptied_by_set_configuration()
    {
        (_, DeviceBench bench) = Make(configuration: Loopback);
        bench.Send(0x01, TransferKind.Bulk, new byte[5]);

        bench.Configure(Loopback);

        Assert.Null(bench.StatusOf(bench.Submit(0x81, TransferKind.Bulk, 0, 512)));
    }

    [Theory]
    [InlineData(UsbSpeed.High, 0, 4)]
    [InlineData(UsbSpeed.High, 4, 4)]
    [InlineData(UsbSpeed.Full, 2, 4)]
    [InlineData(UsbSpeed.Super, 17, 4)]
    [InlineData(UsbSpeed.Super, 49, 4)]
    [InlineData(UsbSpeed.High, 1, 0)]
    [InlineData(UsbSpeed.High, 1, 17)]
    public void Options_outside_their_ranges_are_refused(UsbSpeed speed, int packets, byte interval)
    {
        var options = new GadgetZeroOptions { Speed = speed, IsochronousPackets = packets, IsochronousInterval = interval };

        Assert.Throws<ArgumentOutOfRangeException>(() => new Zero(options));
    }

    [Theory]
    [InlineData(18)]
    [InlineData(32)]
    [InlineData(16)]
    [InlineData(33)]
    public void SuperSpeed_packets_are_split_into_burst_and_mult(int packets)
    {
        (_, DeviceBench bench) = Make(UsbSpeed.Super, alternate: 1, packets: packets);
        var request = Isochronous(0x82, 0, 64 << 10);

        bench.Device.Submit(request);

        Assert.Equal(1024 * packets, request.ActualLength);
    }

    [Fact]
    public void Wakes_a_suspended_bus_when_allowed()
    {
        (Zero device, DeviceBench bench) = Make();
        bench.Control(0x00, 3, 1);
        device.SetSuspended(true);

        Assert.True(device.TryWake());
        Assert.Equal(1, bench.RemoteWakes);
    }

    [Fact]
    public void State_in_the_middle_of_transfers_goes_on_in_a_new_device()
    {
        (Zero device, DeviceBench bench) = Make(configuration: Loopback);
        byte[] data = [.. Enumerable.Range(0, 70000).Select(i => (byte)((i * 5) & 0xff))];
        bench.Control(0x40, 0x5b, data: [1, 2, 3]);
        UsbRequest sent = bench.Send(0x01, TransferKind.Bulk, data);
        int progress = sent.ActualLength;
        GadgetZeroStateV1 state = device.Capture();

        (Zero copy, DeviceBench other) = Make(configuration: 0);
        Assert.True(copy.TryRestore(state, out string error), error);
        Assert.Equal(InspectWriter.Dump(device).Replace("pending 1", "pending 0", StringComparison.Ordinal), InspectWriter.Dump(copy));
        data.CopyTo(other.Memory.Bytes);
        UsbRequest again = DeviceBench.Make(0x01, TransferKind.Bulk, 0, data.Length);
        again.ActualLength = progress;
        copy.Submit(again);
        UsbRequest back = other.Submit(0x81, TransferKind.Bulk, 1 << 20, 80000);

        Assert.Equal((RequestStatus.Success, data.Length), (other.StatusOf(again), again.ActualLength));
        Assert.Equal(data.Length, back.ActualLength);
        Assert.True(other.Memory.Bytes.Slice(1 << 20, data.Length).SequenceEqual(data));
        Assert.Equal([1, 2, 3], other.Control(0xc0, 0x5c, length: 3).Data);
    }

    [Fact]
    public void Sink_continues_a_restored_transfer_in_its_pattern()
    {
        (Zero device, DeviceBench bench) = Make();
        UsbRequest faulting = bench.Send(0x01, TransferKind.Bulk, Mod63(512, 512), bench.Memory.Bytes.Length - 512);
        Assert.Equal(RequestStatus.Success, bench.StatusOf(faulting));
        (Zero copy, DeviceBench other) = Make(configuration: 0);
        Assert.True(copy.TryRestore(device.Capture(), out _));

        UsbRequest again = DeviceBench.Make(0x01, TransferKind.Bulk, 0, 1024);
        again.ActualLength = 512;
        copy.Submit(again);

        // Zeros after a packet of pattern: the memory of the new bench is empty.
        Assert.Equal((RequestStatus.Stall, 512), (other.StatusOf(again), again.ActualLength));
    }

    [Fact]
    public void State_that_cannot_be_is_refused()
    {
        (Zero device, _) = Make(configuration: Loopback);
        GadgetZeroStateV1 good = device.Capture();
        List<GadgetZeroStateV1> bad =
        [
            null!,
            good with { Device = null! },
            good with { VendorBuffer = null! },
            good with { VendorBuffer = new byte[65536] },
            good with { SinkModes = new byte[31] },
            good with { SinkModes = null! },
            good with { SinkModes = [.. Enumerable.Repeat((byte)3, 32)] },
            good with { LoopbackLengths = null! },
            good with { LoopbackBytes = null! },
            good with { LoopbackLengths = new ushort[129] },
            good with { LoopbackLengths = [513], LoopbackBytes = new byte[513] },
            good with { LoopbackLengths = [1], LoopbackBytes = new byte[2] },
            good with { BytesSourced = -1 },
            good with { BytesSunk = -1 },
            good with { Mismatches = -1 },
        ];

        Assert.All(bad, state =>
        {
            Assert.False(device.TryRestore(state, out string error));
            Assert.NotEmpty(error);
        });
        Assert.True(device.TryRestore(good, out _));
    }

    [Fact]
    public void Transfers_allocate_nothing()
    {
        (Zero device, DeviceBench bench) = Make(alternate: 3);
        UsbRequest[] requests =
        [
            DeviceBench.Make(0x81, TransferKind.Bulk, 0, 65536),
            DeviceBench.Make(0x01, TransferKind.Bulk, 0, 65536),
            DeviceBench.Make(0x83, TransferKind.Interrupt, 1 << 20, 1024),
            DeviceBench.Make(0x03, TransferKind.Interrupt, 1 << 20, 1024),
            Isochronous(0x82, 1 << 21, 1024, 1024),
            Isochronous(0x02, 1 << 21, 1024, 1024),
            Control(0x80, 6, 0x0200, 255),
            Control(0x40, 0x5b, 0, 64),
            Control(0xc0, 0x5c, 0, 64),
        ];
        Zero loop = Make(configuration: Loopback).Device;
        UsbRequest[] loops = [DeviceBench.Make(0x01, TransferKind.Bulk, 0, 5000), DeviceBench.Make(0x81, TransferKind.Bulk, 8192, 5120)];
        var loopBench = new DeviceBench(loop);
        loopBench.Configure(Loopback);

        long allocated = long.MaxValue;
        for (int round = 0; round < 4; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 50; i++)
            {
                Run(device, bench, requests);
                Run(loop, loopBench, loops);
            }

            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, allocated);
    }

    private static UsbRequest Control(byte type, byte code, ushort value, int length)
    {
        UsbRequest request = DeviceBench.Make(0, TransferKind.Control, 3 << 20, length);
        request.Setup = new SetupPacket(type, code, value, 0, (ushort)length);
        return request;
    }

    private static void Run(Zero device, DeviceBench bench, UsbRequest[] requests)
    {
        foreach (UsbRequest request in requests)
        {
            request.ActualLength = 0;
            device.Submit(request);
            if (bench.StatusOf(request) != RequestStatus.Success) throw new InvalidOperationException(request.ToString());
        }

        bench.Forget();
    }
}
