using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Stream ids, stream arrays and stream contexts that do not fit.</summary>
public sealed class StreamAttackTests
{
    private const uint Ioc = GuestTrb.InterruptOnCompletion;

    // GitLab 273 (assertion streamid != 0): stream 0 in a doorbell and in a command.
    [Theory]
    [InlineData(StreamTable.Linear)]
    [InlineData(0)]
    public void Stream_id_0_is_no_stream(int secondary)
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3, secondary);

        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, 0);
        arena.Machine.Step();
        arena.Driver.StopEndpoint(arena.Handle.Slot, pipe.Dci).Require("Stop Endpoint");
        CommandResult moved = arena.Driver.SetTrDequeue(arena.Handle.Slot, pipe.Dci, arena.Hostile | 1, 0, 1);

        Assert.Contains(moved.Code, new[] { GuestCompletion.InvalidStreamId, GuestCompletion.TrbError });
        Assert.Empty(arena.Device.Held);
    }

    // PEERS 5 "unvalidated stream ids" (CVE-2024-41721): every id that the arrays do not have.
    [Theory]
    [InlineData(StreamTable.Linear, 8)]
    [InlineData(StreamTable.Linear, 0xfffd)]
    [InlineData(StreamTable.Linear, 0xfffe)]
    [InlineData(StreamTable.Linear, 0xffff)]
    [InlineData(0, 8)]
    [InlineData(0, 1 | (8 << 3))]
    [InlineData(0, 1 | (255 << 3))]
    [InlineData(0, 0xffff)]
    public void Stream_ids_beyond_the_arrays_are_refused(int secondary, int stream)
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3, secondary);

        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, stream);
        arena.Machine.Step();
        GuestEndpointState running = arena.State(pipe.Dci);
        arena.Driver.StopEndpoint(arena.Handle.Slot, pipe.Dci).Require("Stop Endpoint");
        CommandResult moved = arena.Driver.SetTrDequeue(arena.Handle.Slot, pipe.Dci, arena.Hostile | 1, stream, 1);

        Assert.Equal(GuestEndpointState.Running, running);
        Assert.Contains(moved.Code, new[] { GuestCompletion.InvalidStreamId, GuestCompletion.TrbError });
        Assert.Empty(arena.Device.Held);
    }

    // Every doorbell that there is waits for nobody: what they cost is taken from the budget of a step.
    [Fact]
    public void Doorbells_of_all_streams_are_served_in_bounded_steps()
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 8, 0, ringTrbs: 2);
        for (int stream = 0x100; stream < 0xfffe; stream++) arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, stream);

        arena.Turn(200);

        Assert.Equal("0", arena.Inspected($"/xhci/slot/{arena.Handle.Slot}/endpoint/{pipe.Dci}/waiting-doorbells"));
        Assert.Equal(GuestEndpointState.Running, arena.State(pipe.Dci));
        Assert.Equal(0u, arena.Status & 0x1005);
    }

    // GitLab 1192 (abort on LSA = 0): every Stream Context Type in a primary array that is not linear.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    public void Primary_array_without_linear_streams_takes_every_context_type(int type)
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3, 0);
        arena.Driver.Register(arena.Handle.Slot, pipe.Dci, null);
        ulong primary = arena.Handle.StreamsOf(Arena.BulkIn)!.Primary.Address;
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 64, Ioc));
        WriteStream(arena, primary + 16, arena.Hostile | ((uint)type << 1) | 1);
        if (type >= 2) WriteStream(arena, arena.Hostile + 16, (arena.At(0x100) & ~0xfUL) | 1);
        if (type >= 2) arena.Put(0x100, GuestTrb.Normal(arena.Hostile + 0x8000, 64, Ioc));
        arena.Device.CompletesAtOnce = true;

        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, type >= 2 ? 1 | (1 << 3) : 1);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(type == 0 ? GuestCompletion.InvalidStreamType : GuestCompletion.Success, told.Code);
        Assert.Equal(type == 0 ? GuestEndpointState.Error : GuestEndpointState.Running, arena.State(pipe.Dci));
    }

    // HexHive xhci-00 (abort in xhci_find_stream): an entry of a secondary array that itself names an array.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    public void Secondary_stream_context_of_another_type_is_an_invalid_stream_type(int type)
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3, 0);
        arena.Driver.Register(arena.Handle.Slot, pipe.Dci, null);
        ulong primary = arena.Handle.StreamsOf(Arena.BulkIn)!.Primary.Address;
        ulong secondary = arena.Machine.Memory.GuestRead64(new(primary + 16)) & ~0xfUL;
        WriteStream(arena, secondary + 16, secondary | ((uint)type << 1) | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, 1 | (1 << 3));
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(GuestCompletion.InvalidStreamType, told.Code);
        Assert.Equal(GuestEndpointState.Error, arena.State(pipe.Dci));
    }

    // Stream arrays outside memory, and a secondary array of 256 entries that runs out of it.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Stream_array_outside_memory_is_a_host_system_error(bool secondary)
    {
        using var arena = new Arena(UsbSpeed.Super) { AllowsRefusals = true };
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3, 0);
        ulong primary = arena.Handle.StreamsOf(Arena.BulkIn)!.Primary.Address;
        if (secondary) WriteStream(arena, primary + 16, ((ulong)arena.Machine.Memory.LowBytes - 0x100) | (7u << 1) | 1);
        else arena.Machine.Memory.Protect(new(primary), 4096, XenUsbDm.Hosts.InProcess.MemoryProtection.NoAccess);

        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, 1 | (200 << 3));
        arena.Machine.Step();
        arena.Machine.Memory.Protect(new(primary), 4096, XenUsbDm.Hosts.InProcess.MemoryProtection.ReadWrite);

        Assert.Equal(0x5u, arena.Status & 0x1005);
    }

    // GitLab 274 (abort on a mismatched stream configuration): two endpoints of a device with different numbers of streams,
    // changed while transfers are out, and a device that knows of none.
    [Fact]
    public void Different_stream_configurations_of_one_device_live_side_by_side()
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe input = arena.Handle.ConfigureStreams(Arena.BulkIn, 2);
        GuestPipe output = arena.Handle.ConfigureStreams(Arena.BulkOut, 5);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(4096);
        input.Submit(buffer.Address, 512, stream: 3);
        output.Submit(buffer.Address, 512, stream: 31);
        arena.Driver.Expect(() => arena.Device.Held.Count == 2, "both requests");
        int[] streams = [.. arena.Device.Held.Select(r => (int)r.StreamId)];

        GuestPipe changed = arena.Handle.ConfigureStreams(Arena.BulkIn, 4);
        GuestPipe plain = arena.Handle.ConfigureStreams(Arena.BulkOut, 0);
        long onStream = changed.Submit(buffer.Address, 512, stream: 15);
        long onPlain = plain.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 2, "both new requests");
        arena.Device.CompleteNext();
        arena.Device.CompleteNext();

        Assert.Equal([3, 31], streams);
        Assert.Equal(GuestCompletion.Success, changed.Wait(onStream).Code);
        Assert.Equal(GuestCompletion.Success, plain.Wait(onPlain).Code);
    }

    // GitLab 274: the device reconfigures without streams under the controller's feet.
    [Fact]
    public void Streams_of_an_endpoint_that_the_device_has_no_more_end_in_a_transaction_error()
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3);
        arena.Handle.ControlOut(new SetupPacket(0, 9, 0, 0, 0));
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);

        TransferCompletion done = pipe.Wait(pipe.Submit(buffer.Address, 512, stream: 5));

        Assert.Equal(GuestCompletion.TransactionError, done.Code);
        Assert.Equal(GuestEndpointState.Halted, arena.State(pipe.Dci));
    }

    // CVE-2021-3713 (a UAS stream id out of bounds that the device side took at its word): the device writes another stream
    // into its request; the event goes to the stream that the transfer came from.
    [Theory]
    [InlineData(0)]
    [InlineData(6)]
    [InlineData(0xffff)]
    public void Stream_id_that_a_device_names_is_not_believed(int named)
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        long id = pipe.Submit(buffer.Address, 512, stream: 5);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        UsbRequest held = arena.Device.Held[0];
        held.StreamId = (ushort)named;

        arena.Device.Complete(held);
        TransferCompletion done = pipe.Wait(id);

        Assert.Equal((GuestCompletion.Success, 5), (done.Code, done.Stream));
    }

    // A halt on one stream takes the others back; a device that gives an older one back before a younger one must not
    // leave the endpoint waiting for ever, nor let it run while a buffer is still the device's.
    [Fact]
    public void Streams_given_back_late_and_in_order_after_a_halt_do_not_wedge_the_endpoint()
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 3);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(4096);
        long stalled = pipe.Submit(buffer.Address, 512, stream: 1);
        pipe.Submit(buffer.Address, 512, stream: 2);
        pipe.Submit(buffer.Address, 512, stream: 2);
        arena.Driver.Expect(() => arena.Device.Held.Count == 3, "three requests");
        arena.Device.CancelsAtOnce = false;
        UsbRequest older = arena.Device.Held.First(r => r.StreamId == 2);
        UsbRequest younger = arena.Device.Held.Last(r => r.StreamId == 2);

        arena.Device.Complete(arena.Device.Held.First(r => r.StreamId == 1), RequestStatus.Stall, 0);
        Assert.Equal(GuestCompletion.Stall, pipe.Wait(stalled).Code);
        arena.Device.Complete(older, RequestStatus.Cancelled, 0);
        ulong reset = arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.ResetEndpoint, arena.Handle.Slot, pipe.Dci));
        arena.Driver.RingDoorbell(0);
        arena.Machine.AdvanceBy(10_000_000);
        bool early = arena.Driver.TryTakeCommand(reset, out _);
        arena.Device.Complete(younger, RequestStatus.Cancelled, 0);
        CommandResult done = arena.Driver.WaitCommand(reset);
        arena.Device.CancelsAtOnce = true;
        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci, 2);
        arena.Machine.Step();

        Assert.False(early, "the endpoint was reset while its device still had a buffer");
        Assert.True(done.Ok);
        Assert.Equal(2, arena.Device.Held.Count);
    }

    private static void WriteStream(Arena arena, ulong address, ulong value) => arena.Machine.Memory.GuestWrite64(new(address), value);
}
