using System;
using System.Collections.Generic;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

public sealed class TransferTests
{
    [Theory]
    [InlineData(UsbSpeed.Full, 64)]
    [InlineData(UsbSpeed.High, 512)]
    [InlineData(UsbSpeed.Super, 1024)]
    public void Bulk_in_and_out_of_many_lengths_move_every_byte(UsbSpeed speed, int packet)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed);
        GuestPipe source = device.Pipe(TransferKind.Bulk, isIn: true);
        GuestPipe sink = device.Pipe(TransferKind.Bulk, isIn: false);
        GuestBuffer buffer = rig.PatternBuffer(200_000, packet);
        byte[] pattern = rig.Bytes(buffer);
        foreach (int length in new[] { 1, packet - 1, packet, packet + 1, 4096, 65535, 65536, 65537, 200_000 })
        {
            Assert.Equal((GuestCompletion.Success, length), Result(sink.Transfer(buffer.Address, length)));
            GuestBuffer back = buffer.Slice(0, length);
            rig.Driver.Platform.Memory(back.Address, length).Clear();
            Assert.Equal((GuestCompletion.Success, length), Result(source.Transfer(back.Address, length)));
            Assert.Equal(pattern[..length], rig.Bytes(back));
        }
    }

    [Theory]
    [InlineData(TdFlags.None)]
    [InlineData(TdFlags.EventData)]
    [InlineData(TdFlags.InterruptEachTrb)]
    [InlineData(TdFlags.EventData | TdFlags.InterruptEachTrb)]
    [InlineData(TdFlags.NoInterruptOnShort)]
    public void Scattered_buffers_work_with_every_kind_of_event(TdFlags flags)
    {
        using var rig = new Rig(new XhciDriverOptions { RingSegments = 2, RingSegmentTrbs = 16 });
        UsbDeviceHandle device = rig.PlugZero();
        GuestBuffer data = rig.PatternBuffer(8192, 512);
        int[] lengths = [1, 0, 511, 512, 3, 509, 4096, 13];
        var parts = new GuestBuffer[lengths.Length];
        int offset = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            parts[i] = data.Slice(offset, lengths[i]);
            offset += lengths[i];
        }

        for (int round = 0; round < 12; round++)
        {
            TransferCompletion done = device.Pipe(TransferKind.Bulk, isIn: false).Transfer(parts, flags: flags);
            Assert.Equal((GuestCompletion.Success, offset), Result(done));
        }
    }

    [Fact]
    public void Immediate_data_is_sent_from_the_trb()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero();
        GuestPipe sink = device.Pipe(TransferKind.Bulk, isIn: false);

        TransferCompletion good = sink.Wait(sink.SubmitImmediate([0, 1, 2, 3, 4, 5, 6, 7]));
        TransferCompletion bad = sink.Wait(sink.SubmitImmediate([0, 1, 9, 3]));

        Assert.Equal((GuestCompletion.Success, 8), Result(good));
        Assert.Equal(GuestCompletion.Stall, bad.Code);
    }

    [Fact]
    public void Transfers_queued_together_end_in_order()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.Super);
        GuestPipe source = device.Pipe(TransferKind.Bulk, isIn: true);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(65536);
        var ids = new List<long>();
        for (int i = 0; i < 64; i++) ids.Add(source.Submit(buffer.Address, 1024, flags: TdFlags.NoDoorbell));
        source.Kick();

        var ended = new List<long>();
        for (int i = 0; i < 64; i++)
        {
            TransferCompletion done = source.Reap();
            Assert.True(done.Ok);
            ended.Add(done.Id);
        }

        Assert.Equal(ids, ended);
        Assert.Equal(0, source.InFlight);
    }

    [Fact]
    public void Control_data_of_64_kib_comes_back_through_split_data_stages()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.Super);
        GuestBuffer area = rig.Driver.AllocateBuffer(3 * 65536);
        GuestBuffer write = area.Slice(300, 65535);
        GuestBuffer read = area.Slice(66000, 65535);
        new Random(1).NextBytes(rig.Driver.Platform.Memory(write.Address, write.Length));

        TransferCompletion sent = device.RunControl(new SetupPacket(0x40, 0x5b, 0, 0, 65535), write.Address, 65535);
        TransferCompletion got = device.RunControl(new SetupPacket(0xc0, 0x5c, 0, 0, 65535), read.Address, 65535);

        Assert.Equal((GuestCompletion.Success, 65535), Result(sent));
        Assert.Equal((GuestCompletion.Success, 65535), Result(got));
        Assert.Equal(rig.Bytes(write), rig.Bytes(read));
    }

    [Fact]
    public void Short_control_read_tells_what_came()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero();
        GuestBuffer buffer = rig.Driver.AllocateBuffer(512);

        TransferCompletion done = device.RunControl(new SetupPacket(0x80, 6, 0x0100, 0, 512), buffer.Address, 512);

        Assert.Equal((GuestCompletion.ShortPacket, 18), Result(done));
    }

    [Fact]
    public void Stalled_control_request_leaves_the_pipe_usable()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero();

        GuestDriverException refused = Assert.Throws<GuestDriverException>(() => device.ControlOut(new SetupPacket(0x40, 0x77, 0, 0, 0)));
        device.ReadDeviceDescriptor();

        Assert.Equal(GuestCompletion.Stall, refused.Code);
        Assert.Equal(0x0525, device.VendorId);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Halted_bulk_pipe_recovers(bool keepRest)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero();
        GuestPipe source = device.Pipe(TransferKind.Bulk, isIn: true);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        device.ControlOut(new SetupPacket(0x02, 3, 0, source.Endpoint.Address, 0));

        long first = source.Submit(buffer.Address, 512);
        long second = source.Submit(buffer.Address, 512);
        TransferCompletion stalled = source.Wait(first);
        GuestEndpointState halted = device.Context.Endpoint(source.Dci).EndpointState;
        device.RecoverFromStall(source, keepRest);
        TransferCompletion rest = source.Wait(second);
        TransferCompletion after = source.Transfer(buffer.Address, 512);

        Assert.Equal(GuestCompletion.Stall, stalled.Code);
        Assert.Equal(GuestEndpointState.Halted, halted);
        Assert.Equal(keepRest ? GuestCompletion.Success : GuestCompletion.Stopped, rest.Code);
        Assert.Equal((GuestCompletion.Success, 512), Result(after));
    }

    [Fact]
    public void Stopped_pipe_keeps_its_transfer_and_goes_on_at_the_doorbell()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, BootKeyboard keyboard) = rig.PlugKeyboard();
        var client = new KeyboardClient(handle, depth: 1);

        rig.Driver.WaitUntil(() => false, 20_000_000);
        CommandResult stopped = client.In.Stop();
        GuestEndpointState state = handle.Context.Endpoint(client.In.Dci).EndpointState;
        keyboard.Press(5);
        bool early = rig.Driver.WaitUntil(() => client.In.DoneCount > 0, 50_000_000);
        client.In.Kick();
        byte[] report = client.NextReport();

        Assert.True(stopped.Ok);
        Assert.NotNull(client.In.LastStop);
        Assert.Equal(GuestEndpointState.Stopped, state);
        Assert.False(early);
        Assert.Equal(5, report[2]);
    }

    [Fact]
    public void Cancelled_transfers_end_without_data()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, BootKeyboard keyboard) = rig.PlugKeyboard();
        var client = new KeyboardClient(handle, depth: 3);

        client.In.Cancel();
        var codes = new List<(GuestCompletion, int)>();
        while (client.In.TryReap(out TransferCompletion done)) codes.Add(Result(done));
        keyboard.Press(6);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(8);
        TransferCompletion next = client.In.Transfer(buffer.Address, 8);

        Assert.Equal([(GuestCompletion.Stopped, 0), (GuestCompletion.Stopped, 0), (GuestCompletion.Stopped, 0)], codes);
        Assert.Equal((GuestCompletion.Success, 8), Result(next));
        Assert.Equal(6, rig.Bytes(buffer)[2]);
    }

    [Theory]
    [InlineData(UsbSpeed.Full, 512)]
    [InlineData(UsbSpeed.High, 1024)]
    [InlineData(UsbSpeed.Super, 1024)]
    public void Isochronous_stream_runs_in_both_directions(UsbSpeed speed, int length)
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(speed, options: new() { IsochronousInterval = speed == UsbSpeed.Full ? (byte)1 : (byte)4 });
        device.SetInterface(0, 1);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(65536);
        foreach (bool isIn in new[] { true, false })
        {
            GuestPipe pipe = device.Pipe(TransferKind.Isochronous, isIn);
            ulong before = rig.Machine.Now.Microframe;
            for (int i = 0; i < 16; i++) Assert.True(pipe.SubmitIsochronous(buffer.Address + (ulong)(i * 1024), length, flags: TdFlags.NoDoorbell) > 0);
            pipe.Kick();
            for (int i = 0; i < 16; i++) Assert.Equal((GuestCompletion.Success, length), Result(pipe.Reap()));

            // Sixteen intervals of one frame each.
            Assert.InRange(rig.Machine.Now.Microframe - before, 15 * 8UL, 40 * 8UL);
            rig.Driver.WaitUntil(() => pipe.UnderrunsAndOverruns > 0, 10_000_000);
            Assert.Equal(1, pipe.UnderrunsAndOverruns);
        }
    }

    [Fact]
    public void Isochronous_frame_ids_are_kept_and_missed_ones_told()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.High);
        device.SetInterface(0, 1);
        GuestPipe pipe = device.Pipe(TransferKind.Isochronous, isIn: true);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(8192);
        int frame = (int)(rig.Driver.Read32(rig.Driver.RuntimeOffset) >> 3);

        long past = pipe.SubmitIsochronous(buffer.Address, 1024, frame - 3, TdFlags.NoDoorbell);
        long future = pipe.SubmitIsochronous(buffer.Address + 1024, 1024, frame + 20, TdFlags.NoDoorbell);
        pipe.Kick();
        TransferCompletion missed = pipe.Wait(past);
        TransferCompletion kept = pipe.Wait(future);
        int endFrame = (int)(rig.Driver.Read32(rig.Driver.RuntimeOffset) >> 3);

        Assert.Equal(GuestCompletion.MissedService, missed.Code);
        Assert.Equal((GuestCompletion.Success, 1024), Result(kept));
        Assert.InRange(endFrame - frame, 20, 23);
    }

    [Fact]
    public void Fast_path_of_the_whole_road_allocates_nothing()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.Super);
        GuestPipe source = device.Pipe(TransferKind.Bulk, isIn: true);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(65536);
        Pass(rig, source, buffer, 400);

        long before = GC.GetAllocatedBytesForCurrentThread();
        Pass(rig, source, buffer, 400);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
    }

    private static void Pass(Rig rig, GuestPipe pipe, GuestBuffer buffer, int count)
    {
        int submitted = 0;
        int ended = 0;
        while (ended < count)
        {
            while (submitted < count && submitted - ended < 32)
            {
                if (pipe.Submit(buffer.Address, 512, flags: TdFlags.NoDoorbell) < 0) break;
                submitted++;
            }

            pipe.Kick();
            rig.Machine.Step();
            while (pipe.TryReap(out TransferCompletion done))
            {
                if (done.Code == GuestCompletion.Success) ended++;
            }
        }
    }

    private static (GuestCompletion Code, int Actual) Result(TransferCompletion done) => (done.Code, done.Actual);
}
