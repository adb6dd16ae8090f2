using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

/// <summary>The cases of Linux's usbtest, as the in-process guest runs them over the whole road. Bulk and isochronous ones do not exist at low speed.</summary>
public sealed class UsbtestRoadTests
{
    private const int LoopbackIndex = 1;

    public static TheoryData<UsbSpeed> AllSpeeds() => [.. Enum.GetValues<UsbSpeed>()];

    public static TheoryData<UsbSpeed> BulkSpeeds() => [UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    private static int BulkPacket(UsbSpeed speed) => speed switch { UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };

    private static (GuestCompletion Code, int Actual) Result(TransferCompletion done) => (done.Code, done.Actual);

    private static IEnumerable<int> Varied(int count, int length, int vary)
    {
        for (int i = 0, current = length; i < count; i++)
        {
            yield return current;
            current = (current + vary) % length;
            if (current == 0) current = vary;
        }
    }

    private static void Write(Rig rig, GuestPipe pipe, int packet, int offset, IEnumerable<int> lengths)
    {
        GuestBuffer area = rig.PatternBuffer(20_000, packet);
        byte[] pattern = rig.Bytes(area);
        foreach (int length in lengths)
        {
            pattern.AsSpan(0, length).CopyTo(rig.Driver.Platform.Memory(area.Address + (ulong)offset, length));
            Assert.Equal((GuestCompletion.Success, length), Result(pipe.Transfer(area.Address + (ulong)offset, length)));
        }
    }

    private static void Read(Rig rig, GuestPipe pipe, int packet, int offset, IEnumerable<int> lengths)
    {
        GuestBuffer area = rig.Driver.AllocateBuffer(20_000);
        foreach (int length in lengths)
        {
            rig.Driver.Platform.Memory(area.Address, 20_000).Fill(0xa5);
            Assert.Equal((GuestCompletion.Success, length), Result(pipe.Transfer(area.Address + (ulong)offset, length)));
            byte[] seen = rig.Bytes(area);
            Assert.Equal(Enumerable.Range(0, length).Select(i => (byte)(i % packet % 63)), seen[offset..(offset + length)]);
            Assert.All(seen[..offset], guard => Assert.Equal(0xa5, guard));
            Assert.Equal(0xa5, seen[offset + length]);
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_1_to_4_bulk_writes_and_reads_fixed_and_varied(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        int packet = BulkPacket(speed);

        Write(rig, device.Pipe(TransferKind.Bulk, isIn: false), packet, 0, Enumerable.Repeat(512, 10).Concat(Varied(30, 4096, 421)));
        Read(rig, device.Pipe(TransferKind.Bulk, isIn: true), packet, 0, Enumerable.Repeat(512, 10).Concat(Varied(30, 4096, 421)));
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_5_to_8_scatter_lists_fixed_and_varied(UsbSpeed speed)
    {
        using var rig = new Rig(new XhciDriverOptions { RingSegments = 2, RingSegmentTrbs = 64 });
        UsbDeviceHandle device = rig.PlugZero(speed);
        int packet = BulkPacket(speed);
        foreach (int vary in (int[])[512, 100])
        {
            int[] lengths = vary == 512 ? [.. Enumerable.Repeat(512, 32)] : [.. Varied(32, 512, vary)];
            GuestBuffer data = rig.PatternBuffer(lengths.Sum(), packet);
            byte[] pattern = rig.Bytes(data);
            var parts = new GuestBuffer[lengths.Length];
            for (int i = 0, at = 0; i < lengths.Length; at += lengths[i++]) parts[i] = data.Slice(at, lengths[i]);

            TransferCompletion wrote = device.Pipe(TransferKind.Bulk, isIn: false).Transfer(parts);
            rig.Driver.Platform.Memory(data.Address, data.Length).Clear();
            TransferCompletion read = device.Pipe(TransferKind.Bulk, isIn: true).Transfer(parts);

            Assert.Equal((GuestCompletion.Success, data.Length), Result(wrote));
            Assert.Equal((GuestCompletion.Success, data.Length), Result(read));
            Assert.Equal(pattern, rig.Bytes(data));
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_11_and_12_unlinked_reads_and_writes_end_and_the_pipe_goes_on(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed, configuration: LoopbackIndex);
        GuestPipe source = device.Pipe(TransferKind.Bulk, isIn: true);
        GuestPipe sink = device.Pipe(TransferKind.Bulk, isIn: false);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(256 << 10);

        long read = source.Submit(buffer.Address, 4096);
        source.Cancel();
        TransferCompletion unread = source.Wait(read);
        long write = sink.Submit(buffer.Address, 100 << 10);
        sink.Cancel();
        TransferCompletion unwritten = sink.Wait(write);

        Assert.Equal((GuestCompletion.Stopped, 0), Result(unread));
        Assert.Equal(GuestCompletion.Stopped, unwritten.Code);
        Assert.Equal((GuestCompletion.Success, 64 << 10), Result(source.Transfer(buffer.Address, 64 << 10)));
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Case_13_halts_show_stall_and_clear(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        GuestBuffer buffer = rig.PatternBuffer(1024, BulkPacket(speed));
        byte[] status = new byte[2];
        foreach (bool isIn in (bool[])[true, false])
        {
            GuestPipe pipe = device.Pipe(TransferKind.Bulk, isIn);
            for (int round = 0; round < 3; round++)
            {
                Assert.Equal((GuestCompletion.Success, 1024), Result(pipe.Transfer(buffer.Address, 1024)));
                device.ControlOut(new SetupPacket(0x02, 3, 0, pipe.Endpoint.Address, 0));
                device.ControlIn(0x82, StandardRequest.GetStatus, 0, pipe.Endpoint.Address, status);
                Assert.Equal([1, 0], status);
                Assert.Equal(GuestCompletion.Stall, pipe.Transfer(buffer.Address, 1024).Code);
                device.RecoverFromStall(pipe);
                device.ControlIn(0x82, StandardRequest.GetStatus, 0, pipe.Endpoint.Address, status);
                Assert.Equal([0, 0], status);
            }
        }
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Cases_14_and_21_control_writes_read_back_aligned_and_not(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        GuestBuffer write = rig.Driver.AllocateBuffer(8192);
        GuestBuffer read = rig.Driver.AllocateBuffer(8192);
        foreach (int offset in (int[])[0, 1])
        {
            foreach (int length in (int[])[1, 7, 8, 9, 64, 256, 512, 1024, 4000])
            {
                Span<byte> data = rig.Driver.Platform.Memory(write.Address + (ulong)offset, length);
                for (int i = 0; i < length; i++) data[i] = (byte)((i + length) & 0xff);

                TransferCompletion sent = device.RunControl(new SetupPacket(0x40, 0x5b, 0, 0, (ushort)length), write.Address + (ulong)offset, length);
                TransferCompletion got = device.RunControl(new SetupPacket(0xc0, 0x5c, 0, 0, (ushort)length), read.Address + (ulong)offset, length);

                Assert.Equal(((GuestCompletion.Success, length), (GuestCompletion.Success, length)), (Result(sent), Result(got)));
                Assert.Equal(rig.Bytes(write)[offset..(offset + length)], rig.Bytes(read)[offset..(offset + length)]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_15_16_22_and_23_isochronous_streams_aligned_and_not(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        device.SetInterface(0, 1);
        int length = speed == UsbSpeed.Full ? 512 : 1024;
        GuestBuffer buffer = rig.Driver.AllocateBuffer(32 << 10);
        foreach (bool isIn in (bool[])[false, true])
        {
            GuestPipe pipe = device.Pipe(TransferKind.Isochronous, isIn);
            foreach (ulong offset in (ulong[])[0, 1])
            {
                for (int i = 0; i < 16; i++) pipe.SubmitIsochronous(buffer.Address + offset + (ulong)(i * 1024), i == 15 ? 100 : length, flags: TdFlags.NoDoorbell);
                pipe.Kick();
                for (int i = 0; i < 16; i++) Assert.Equal((GuestCompletion.Success, i == 15 ? 100 : length), Result(pipe.Reap()));
            }
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_17_to_20_bulk_from_odd_addresses(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);

        Write(rig, device.Pipe(TransferKind.Bulk, isIn: false), BulkPacket(speed), 1, [512, 1024, 4095, 9000]);
        Read(rig, device.Pipe(TransferKind.Bulk, isIn: true), BulkPacket(speed), 1, [512, 1024, 4095, 9000]);
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Cases_25_and_26_interrupt_writes_and_reads(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        int packet = speed switch { UsbSpeed.Low => 8, UsbSpeed.Full => 64, _ => 1024 };
        if (speed != UsbSpeed.Low) device.SetInterface(0, 2);

        Write(rig, device.Pipe(TransferKind.Interrupt, isIn: false), packet, 0, Varied(6, packet, 3));
        Read(rig, device.Pipe(TransferKind.Interrupt, isIn: true), packet, 0, Varied(6, packet, 3));
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Cases_27_and_28_queued_bulk_of_zeros_runs_without_errors(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(16384);
        foreach (bool isIn in (bool[])[false, true])
        {
            rig.Driver.Platform.Memory(buffer.Address, 16384).Clear();
            GuestPipe pipe = device.Pipe(TransferKind.Bulk, isIn);
            for (int i = 0; i < 32; i++) Assert.True(pipe.Submit(buffer.Address, 16384, flags: TdFlags.NoDoorbell) >= 0);
            pipe.Kick();
            for (int i = 0; i < 32; i++) Assert.Equal((GuestCompletion.Success, 16384), Result(pipe.Reap()));
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Case_29_data_flows_after_clearing_a_halt_that_was_not_there(UsbSpeed speed)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        GuestPipe sink = device.Pipe(TransferKind.Bulk, isIn: false);
        GuestBuffer data = rig.PatternBuffer(2 * BulkPacket(speed), BulkPacket(speed));
        for (int round = 0; round < 3; round++)
        {
            device.ControlOut(new SetupPacket(0x02, 1, 0, sink.Endpoint.Address, 0));
            Assert.Equal((GuestCompletion.Success, data.Length), Result(sink.Transfer(data.Address, data.Length)));
            Assert.Equal((GuestCompletion.Success, 0), Result(sink.Transfer(data.Address, 0)));
        }
    }
}
