using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using Xunit;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Set TR Dequeue Pointer (xHCI 1.2 §4.6.10).</summary>
public sealed class SetTrDequeueTests
{
    [Fact]
    public void Slot_that_is_disabled_is_refused()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.SetTrDequeue(bench.Slot, Control, 0x1001).Code);
    }

    [Fact]
    public void Endpoint_that_is_disabled_is_refused()
    {
        using var bench = new CommandBench();

        Assert.Equal(GuestCompletion.EndpointNotEnabled, bench.Driver.SetTrDequeue(bench.Slot, Unused, 0x1001).Code);
    }

    [Theory]
    [InlineData(EndpointAt.Running)]
    [InlineData(EndpointAt.Halted)]
    public void Running_or_halted_endpoint_is_a_context_state_error(EndpointAt state)
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, state);
        ulong place = bench.EndpointContext(BulkIn).DequeuePointer;

        CommandResult result = bench.Driver.SetTrDequeue(bench.Slot, BulkIn, 0x2001);

        Assert.Equal(GuestCompletion.ContextStateError, result.Code);
        Assert.Equal((place, (GuestEndpointState)state), (bench.EndpointContext(BulkIn).DequeuePointer, bench.State(BulkIn)));
    }

    // A Stream ID means nothing to an endpoint without streams (§6.4.3.9).
    [Theory]
    [InlineData(EndpointAt.Stopped, 0, 0)]
    [InlineData(EndpointAt.Error, 0, 0)]
    [InlineData(EndpointAt.Stopped, 5, 1)]
    public void Stopped_or_failed_endpoint_takes_pointer_and_cycle_and_is_stopped(EndpointAt state, int stream, int type)
    {
        using var bench = new CommandBench();
        bench.Bring(BulkIn, state);
        GuestBuffer other = bench.Driver.AllocateStructure(256);
        GuestTrb trb = bench.Normal(333);
        trb.Write(bench.Driver.Platform.Memory(other.Address + 32, 16));
        new GuestTrb(0, 0, 1).Write(bench.Driver.Platform.Memory(other.Address + 48, 16));

        CommandResult result = bench.Driver.SetTrDequeue(bench.Slot, BulkIn, other.Address + 32, stream, type);
        (ulong place, GuestEndpointState at) = (bench.EndpointContext(BulkIn).DequeuePointer, bench.State(BulkIn));
        bench.Kick(BulkIn);

        Assert.True(result.Ok);
        Assert.Equal((other.Address + 32, GuestEndpointState.Stopped), (place, at));
        Assert.Equal(333, Assert.Single(bench.Device.Held).Length);
    }

    [Fact]
    public void Partly_done_transfer_is_forgotten_and_its_buffer_left_alone()
    {
        using var bench = new CommandBench();
        bench.Device.CancelsAtOnce = false;
        GuestTrb old = bench.Normal(1024);
        bench.Queue(BulkIn, old);
        bench.Kick(BulkIn);
        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 512);
        bench.Driver.WaitCommand(stop);
        bench.Events();

        GuestTrb fresh = bench.Normal(512);
        bench.Driver.SetTrDequeue(bench.Slot, BulkIn, bench.Ring(BulkIn).EnqueuePointer | 1).Require("Set TR Dequeue Pointer");
        ulong[] at = bench.Queue(BulkIn, fresh);
        bench.Kick(BulkIn);
        UsbRequest request = Assert.Single(bench.Device.Held);
        bool filled = bench.Device.Fill(request, new byte[512].AsFilled(0xa5));
        bench.Device.Complete(request);

        Assert.True(filled);
        Assert.Equal(new byte[1024], bench.Bytes(old.Parameter, 1024));
        Assert.Equal(new byte[512].AsFilled(0xa5), bench.Bytes(fresh.Parameter, 512));
        Assert.Equal([(GuestCompletion.Success, at[0], 0)], bench.Events());
    }

    [Theory]
    [InlineData(StreamTable.Linear, 3, 1)]
    [InlineData(0, 0x13, 0)]
    public void Stream_context_takes_pointer_and_cycle_and_keeps_its_type(int secondary, int stream, int type)
    {
        using CommandBench bench = WithStreams(secondary: secondary);
        bench.StreamRing(stream).Enqueue(bench.Normal(4096));
        bench.Device.CancelsAtOnce = false;
        bench.Kick(BulkIn, stream);
        ulong stop = bench.BeginStop(BulkIn);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 1024);
        bench.Driver.WaitCommand(stop);
        ulong place = bench.StreamRing(stream).EnqueuePointer | 1;

        CommandResult result = bench.Driver.SetTrDequeue(bench.Slot, BulkIn, place, stream, type);
        bench.StreamRing(stream).Enqueue(bench.Normal(100));
        bench.Kick(BulkIn, stream);

        ulong array = secondary == StreamTable.Linear
            ? bench.Streams!.Primary.Address + 48
            : (bench.Read64(bench.Streams!.Primary.Address + 48) & ~0xfUL) + 16;
        Assert.True(result.Ok);
        Assert.Equal(place | ((ulong)type << 1), bench.Read64(array));
        Assert.Equal(100, Assert.Single(bench.Device.Held).Length);
    }

    [Theory]
    [InlineData(0, GuestCompletion.TrbError)]
    [InlineData(16, GuestCompletion.TrbError)]
    [InlineData(65535, GuestCompletion.TrbError)]
    public void Stream_that_the_arrays_do_not_have_is_a_trb_error(int stream, GuestCompletion expected)
    {
        using CommandBench bench = WithStreams();
        bench.Bring(BulkIn, EndpointAt.Stopped);

        Assert.Equal(expected, bench.Driver.SetTrDequeue(bench.Slot, BulkIn, 0x2001, stream, 1).Code);
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
    }

    [Theory]
    [InlineData(0x80)]
    [InlineData(0x10)]
    public void Stream_beyond_its_secondary_array_or_at_entry_0_of_the_primary_is_a_trb_error(int stream)
    {
        using CommandBench bench = WithStreams(secondary: 0);
        bench.Bring(BulkIn, EndpointAt.Stopped);

        Assert.Equal(GuestCompletion.TrbError, bench.Driver.SetTrDequeue(bench.Slot, BulkIn, 0x2001, stream, 0).Code);
    }

    [Fact]
    public void Stream_context_type_that_is_another_one_is_an_invalid_stream_type()
    {
        using CommandBench bench = WithStreams();
        bench.Bring(BulkIn, EndpointAt.Stopped);
        ulong before = bench.Read64(bench.Streams!.Primary.Address + 16);

        CommandResult result = bench.Driver.SetTrDequeue(bench.Slot, BulkIn, 0x2001, 1, 2);

        Assert.Equal(GuestCompletion.InvalidStreamType, result.Code);
        Assert.Equal(before, bench.Read64(bench.Streams!.Primary.Address + 16));
    }

    // FreeBSD sends the stream's ID and SCT 0 (sys/dev/usb/controller/xhci.c, xhci_configure_reset_endpoint).
    [Fact]
    public void Stream_context_type_that_is_left_out_stays_as_it_was_FreeBSD()
    {
        using CommandBench bench = WithStreams();
        bench.Bring(BulkIn, EndpointAt.Stopped);
        ulong place = bench.StreamRing(1).EnqueuePointer | 1;

        Assert.True(bench.Driver.SetTrDequeue(bench.Slot, BulkIn, place, 1, 0).Ok);

        Assert.Equal(place | 2, bench.Read64(bench.Streams!.Primary.Address + 16));
    }

    [Fact]
    public void Stream_context_that_names_no_ring_in_a_linear_array_is_an_invalid_stream_type()
    {
        using CommandBench bench = WithStreams();
        bench.Bring(BulkIn, EndpointAt.Stopped);
        bench.Driver.Platform.Memory(bench.Streams!.Primary.Address + 16, 16).Clear();

        Assert.Equal(GuestCompletion.InvalidStreamType, bench.Driver.SetTrDequeue(bench.Slot, BulkIn, 0x2001, 1, 0).Code);
    }

    [Fact]
    public void Stream_array_that_cannot_be_written_is_a_host_system_error()
    {
        using CommandBench bench = WithStreams();
        bench.Bring(BulkIn, EndpointAt.Stopped);
        bench.Protect(bench.Streams!.Primary.Address, MemoryProtection.ReadOnly);
        bench.ExpectedRefusals = 1;

        bench.Begin(GuestTrb.Command(GuestTrbType.SetTrDequeue, bench.Slot, BulkIn, 0x2003, status: 1 << 16));

        Assert.True(bench.HostSystemError);
    }

    [Fact]
    public void Command_on_a_failed_stream_endpoint_waits_until_the_other_streams_are_back()
    {
        using CommandBench bench = WithStreams();
        bench.Device.CancelsAtOnce = false;
        bench.StreamRing(1).Enqueue(bench.Normal(1024));
        bench.Kick(BulkIn, 1);
        bench.StreamRing(2).Enqueue(GuestTrb.Setup(0, 0));
        bench.Kick(BulkIn, 2);

        ulong place = bench.StreamRing(2).EnqueuePointer | 3;
        ulong command = bench.Begin(GuestTrb.Command(GuestTrbType.SetTrDequeue, bench.Slot, BulkIn, place, status: 2 << 16));
        bool early = bench.Driver.TryTakeCommand(command, out _);
        bench.Device.CompleteNext(RequestStatus.Cancelled, 0);
        CommandResult result = bench.Driver.WaitCommand(command);

        Assert.False(early);
        Assert.True(result.Ok);
        Assert.Equal(GuestEndpointState.Stopped, bench.State(BulkIn));
    }
}

/// <summary>Patterns for buffers.</summary>
internal static class Filled
{
    public static byte[] AsFilled(this byte[] bytes, byte value)
    {
        System.Array.Fill(bytes, value);
        return bytes;
    }
}
