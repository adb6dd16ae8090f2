using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

/// <summary>Scenarios in which the test decides when and how the device answers.</summary>
public sealed class PuppetTests
{
    [Theory]
    [InlineData(2, StreamTable.Linear, 3)]
    [InlineData(4, StreamTable.Linear, 15)]
    [InlineData(2, 0, 3 | (7 << 2))]
    [InlineData(3, 1, 7 | (15 << 3))]
    public void Streams_work_out_of_order_in_linear_and_secondary_arrays(int primaryLog, int secondary, int highest)
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.Super);
        GuestPipe pipe = handle.ConfigureStreams(0x81, primaryLog, secondary);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);

        int lowest = handle.StreamsOf(0x81)!.Rings[0].Stream;
        long first = pipe.Submit(buffer.Address, 1024, stream: lowest);
        long last = pipe.Submit(buffer.Address + 1024, 1024, stream: highest);
        rig.Driver.Expect(() => device.Held.Count == 2, "both requests");
        UsbRequest later = FindStream(device, highest);
        device.Fill(later, [42]);
        device.Complete(later, RequestStatus.Success, 1);
        TransferCompletion doneLast = pipe.Wait(last);
        device.CompleteNext(RequestStatus.Success, 1024);
        TransferCompletion doneFirst = pipe.Wait(first);

        Assert.Equal((GuestCompletion.ShortPacket, 1, highest), (doneLast.Code, doneLast.Actual, doneLast.Stream));
        Assert.Equal((GuestCompletion.Success, 1024, lowest), (doneFirst.Code, doneFirst.Actual, doneFirst.Stream));
        Assert.Equal(42, rig.Bytes(buffer)[1024]);
    }

    [Fact]
    public void Halted_stream_endpoint_recovers_on_every_stream()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.Super);
        GuestPipe pipe = handle.ConfigureStreams(0x81, 3);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        long first = pipe.Submit(buffer.Address, 512, stream: 2);
        long second = pipe.Submit(buffer.Address, 512, stream: 5);
        rig.Driver.Expect(() => device.Held.Count == 2, "both requests");

        device.Complete(FindStream(device, 2), RequestStatus.Stall, 0);
        TransferCompletion stalled = pipe.Wait(first);
        handle.RecoverFromStall(pipe);
        TransferCompletion given = pipe.Wait(second);
        long third = pipe.Submit(buffer.Address, 512, stream: 5);
        rig.Driver.Expect(() => device.Held.Count == 1, "the new request");
        device.CompleteNext();

        Assert.Equal(GuestCompletion.Stall, stalled.Code);
        Assert.Equal(GuestCompletion.Stopped, given.Code);
        Assert.Equal((GuestCompletion.Success, 512), Result(pipe.Wait(third)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(512)]
    [InlineData(700)]
    [InlineData(1535)]
    public void Short_packet_inside_a_td_tells_the_exact_length(int actual)
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.High);
        GuestPipe pipe = handle.Pipe(0x81);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        GuestBuffer[] parts = [buffer.Slice(0, 100), buffer.Slice(1000, 412), buffer.Slice(2000, 1024)];
        foreach (TdFlags flags in new[] { TdFlags.None, TdFlags.EventData, TdFlags.InterruptEachTrb, TdFlags.NoInterruptOnShort })
        {
            long id = pipe.Submit(parts, flags: flags);
            rig.Driver.Expect(() => device.Held.Count == 1, "the request");
            device.CompleteNext(RequestStatus.Success, actual);
            TransferCompletion done = pipe.Wait(id);

            Assert.Equal(GuestCompletion.ShortPacket, done.Code);

            // Without ISP the last TRB's event is the only one, and its residual is that TRB's own (§4.10.1.1).
            if (flags != TdFlags.NoInterruptOnShort) Assert.Equal(actual, done.Actual);
        }
    }

    [Theory]
    [InlineData(RequestStatus.Babble, GuestCompletion.Babble)]
    [InlineData(RequestStatus.TransactionError, GuestCompletion.TransactionError)]
    [InlineData(RequestStatus.Stall, GuestCompletion.Stall)]
    public void Device_errors_halt_the_endpoint_with_their_own_code(RequestStatus status, GuestCompletion expected)
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.High);
        GuestPipe pipe = handle.Pipe(0x81);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        long id = pipe.Submit([buffer.Slice(0, 512), buffer.Slice(512, 1024)]);
        rig.Driver.Expect(() => device.Held.Count == 1, "the request");

        device.CompleteNext(status, 1024);
        TransferCompletion failed = pipe.Wait(id);
        GuestEndpointState state = handle.Context.Endpoint(pipe.Dci).EndpointState;
        pipe.Recover();
        long next = pipe.Submit(buffer.Address, 512);
        rig.Driver.Expect(() => device.Held.Count == 1, "the next request");
        device.CompleteNext();

        Assert.Equal((expected, 1024), Result(failed));
        Assert.Equal(GuestEndpointState.Halted, state);
        Assert.Equal((GuestCompletion.Success, 512), Result(pipe.Wait(next)));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(512)]
    [InlineData(600)]
    public void Cancel_tells_exactly_what_was_moved(int moved)
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.High);
        GuestPipe pipe = handle.Pipe(0x81);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        long id = pipe.Submit([buffer.Slice(0, 512), buffer.Slice(512, 1024)]);
        rig.Driver.Expect(() => device.Held.Count == 1, "the request");
        device.Held[0].ActualLength = moved;

        pipe.Cancel();
        TransferCompletion done = pipe.Wait(id);
        long next = pipe.Submit(buffer.Address, 512);
        rig.Driver.Expect(() => device.Held.Count == 1, "the next request");
        device.CompleteNext();

        Assert.Equal((GuestCompletion.Stopped, moved), Result(done));
        Assert.Equal((GuestCompletion.Success, 512), Result(pipe.Wait(next)));
    }

    [Fact]
    public void Stop_and_go_continues_where_the_device_was()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.High);
        GuestPipe pipe = handle.Pipe(0x81);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        long id = pipe.Submit([buffer.Slice(0, 512), buffer.Slice(512, 1024)]);
        rig.Driver.Expect(() => device.Held.Count == 1, "the request");
        device.Fill(device.Held[0], new byte[512]);

        pipe.Stop();
        int heldWhileStopped = device.Held.Count;
        pipe.Kick();
        rig.Driver.Expect(() => device.Held.Count == 1, "the rest");
        UsbRequest rest = device.Held[0];
        int left = rest.Length - rest.ActualLength;
        device.Complete(rest);

        Assert.Equal(0, heldWhileStopped);
        Assert.Equal(1024, left);
        Assert.Equal((GuestCompletion.Success, 1536), Result(pipe.Wait(id)));
    }

    [Fact]
    public void Several_transfers_are_at_the_device_together()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice device) = Plug(rig, UsbSpeed.Super);
        GuestPipe pipe = handle.Pipe(0x02);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(65536);

        for (int i = 0; i < 16; i++) pipe.Submit(buffer.Address, 65536, flags: TdFlags.NoDoorbell);
        pipe.Kick();
        rig.Driver.Expect(() => device.Held.Count == 16, "sixteen requests");

        Assert.All(device.Held, r => Assert.Equal(65536, r.Length));
        for (int i = 0; i < 16; i++) device.CompleteNext();
        for (int i = 0; i < 16; i++) Assert.True(pipe.Reap().Ok);
    }

    [Fact]
    public void Buffer_without_memory_is_a_data_buffer_error()
    {
        using var rig = new Rig();
        UsbDeviceHandle handle = rig.PlugZero();
        GuestPipe pipe = handle.Pipe(TransferKind.Bulk, isIn: true);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(512);

        TransferCompletion done = pipe.Transfer([buffer.Slice(0, 256), new GuestBuffer(0x8000_0000, 256)]);
        rig.ExpectedRefusals = rig.Machine.Memory.RefusedAccesses;
        handle.RecoverFromStall(pipe);

        Assert.Equal((GuestCompletion.DataBufferError, 256), Result(done));
        Assert.True(rig.ExpectedRefusals > 0);
        Assert.Equal((GuestCompletion.Success, 512), Result(pipe.Transfer(buffer.Address, 512)));
    }

    [Fact]
    public void Wait_on_a_silent_device_times_out_in_virtual_time_with_the_tree()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice _) = Plug(rig, UsbSpeed.High);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(512);
        ulong before = rig.Driver.Platform.Now;
        GuestPipe pipe = handle.Pipe(0x81);

        GuestTimeoutException thrown = Assert.Throws<GuestTimeoutException>(() => pipe.Wait(pipe.Submit(buffer.Address, 512), 1_000_000_000));

        Assert.Equal(before + 1_000_000_000, rig.Driver.Platform.Now);
        Assert.Contains("/xhci/", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("/pipeline/", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Command_ring_stops_on_demand_and_starts_at_the_doorbell()
    {
        using var rig = new Rig();

        Assert.True(rig.Driver.NoOpCommand().Ok);
        ulong posted = rig.Driver.PostCommand(GuestTrb.Command(GuestTrbType.NoOpCommand));
        rig.Driver.RingDoorbell(0);
        Assert.Equal(posted, rig.Driver.WaitCommand(posted).Pointer);
        GuestEvent stopped = StopRunningRing(rig);

        Assert.Equal(GuestCompletion.CommandRingStopped, stopped.Code);
        Assert.True(rig.Driver.NoOpCommand().Ok);
    }

    [Fact]
    public void Raw_ring_shows_every_event_to_the_test()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, FakeDevice _) = Plug(rig, UsbSpeed.High);
        GuestPipe pipe = handle.Pipe(0x81);
        rig.Driver.Register(handle.Slot, pipe.Dci, null);
        ulong first = pipe.Ring.Enqueue(GuestTrb.NoOp());
        ulong second = pipe.Ring.Enqueue(GuestTrb.EventData(0x1122_3344_5566_7788));

        rig.Driver.RingDoorbell(handle.Slot, pipe.Dci);
        GuestEvent one = rig.Driver.NextEvent(GuestTrbType.TransferEvent);
        GuestEvent two = rig.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal((first, GuestCompletion.Success, false), (one.Pointer, one.Code, one.IsEventData));
        Assert.Equal((0x1122_3344_5566_7788UL, true), (two.Pointer, two.IsEventData));
        Assert.NotEqual(first, second);
        Assert.Null(rig.Driver.EventWithin(10_000_000));
    }

    private static GuestEvent StopRunningRing(Rig rig)
    {
        rig.Driver.PostCommand(GuestTrb.Command(GuestTrbType.NoOpCommand));
        rig.Driver.RingDoorbell(0);
        return rig.Driver.StopCommandRing(abort: false);
    }

    private static (UsbDeviceHandle Handle, FakeDevice Device) Plug(Rig rig, UsbSpeed speed)
    {
        var builder = new DescriptorBuilder();
        builder.Interface(0);
        Endpoint(builder, 0x81, speed);
        Endpoint(builder, 0x02, speed);
        byte[] configuration = builder.Build();
        bool super = speed == UsbSpeed.Super;
        byte[] descriptor = [18, 1, 0, (byte)(super ? 3 : 2), 0xff, 0, 0, (byte)(super ? 9 : 64), 0x34, 0x12, 0x78, 0x56, 0, 1, 0, 0, 0, 1];
        var device = new FakeDevice(speed)
        {
            Configuration = configuration,
            OnSubmit = (fake, request) => AnswerControl(fake, request, descriptor, configuration),
        };
        return (rig.Plug(device), device);
    }

    private static void Endpoint(DescriptorBuilder builder, byte address, UsbSpeed speed)
    {
        builder.Endpoint(address, TransferKind.Bulk, speed == UsbSpeed.Super ? 1024 : 512);
        if (speed == UsbSpeed.Super) builder.Companion(0, 8);
    }

    private static void AnswerControl(FakeDevice fake, UsbRequest request, byte[] device, byte[] configuration)
    {
        if (request.Kind != TransferKind.Control) return;
        byte[] answer = request.Setup.Value == 0x0100 ? device : configuration;
        bool known = request.Setup.Request == (byte)StandardRequest.GetDescriptor && request.Setup.Value is 0x0100 or 0x0200;
        if (known) fake.Fill(request, answer.AsSpan(0, Math.Min(answer.Length, request.Length)));
        fake.Complete(request, known ? RequestStatus.Success : RequestStatus.Stall, request.ActualLength);
    }

    private static UsbRequest FindStream(FakeDevice device, int stream)
    {
        foreach (UsbRequest request in device.Held)
        {
            if (request.StreamId == stream) return request;
        }

        throw new InvalidOperationException($"no request of stream {stream}");
    }

    private static (GuestCompletion Code, int Actual) Result(TransferCompletion done) => (done.Code, done.Actual);
}
