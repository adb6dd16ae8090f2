using System.Buffers.Binary;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Streams (xHCI 1.2 §4.12, §6.2.4).</summary>
public sealed class StreamTests
{
    private const uint Ioc = InterruptOnCompletion;

    private static TransferBench Make(int primaryLog = 4, int secondary = StreamTable.Linear)
    {
        var bench = new TransferBench(UsbSpeed.Super);
        bench.Handle.ConfigureStreams(In, primaryLog, secondary);
        bench.Driver.Register(bench.Slot, InDci, null);
        return bench;
    }

    private static StreamTable Table(TransferBench bench) => bench.Handle.StreamsOf(In)!;

    private static GuestRing Ring(TransferBench bench, int stream) => Table(bench).Rings.Single(r => r.Stream == stream).Ring;

    private static ulong[] Go(TransferBench bench, int stream, params GuestTrb[] trbs)
    {
        ulong[] at = [.. trbs.Select(t => Ring(bench, stream).Enqueue(t))];
        bench.Doorbell(InDci, stream);
        return at;
    }

    private static ulong Entry(TransferBench bench, int stream) =>
        BinaryPrimitives.ReadUInt64LittleEndian(bench.Bytes(Table(bench).Primary.Address + ((ulong)stream * 16), 8));

    private static void SetEntry(TransferBench bench, int stream, ulong value) =>
        BinaryPrimitives.WriteUInt64LittleEndian(bench.Driver.Platform.Memory(Table(bench).Primary.Address + ((ulong)stream * 16), 8), value);

    private static UsbRequest Of(FakeDevice device, int stream) => device.Held.Single(r => r.StreamId == stream);

    [Theory]
    [InlineData(2, StreamTable.Linear, 1)]
    [InlineData(4, StreamTable.Linear, 15)]
    [InlineData(8, StreamTable.Linear, 255)]
    [InlineData(2, 0, 1 | (1 << 2))]
    [InlineData(2, 0, 3 | (7 << 2))]
    [InlineData(3, 1, 7 | (15 << 3))]
    [InlineData(2, 5, 3 | (255 << 2))]
    public void Stream_of_a_linear_or_secondary_array_works_and_its_context_is_written_when_idle(int primaryLog, int secondary, int stream)
    {
        using TransferBench bench = Make(primaryLog, secondary);
        GuestBuffer b = bench.Buffer(1024);

        ulong[] at = Go(bench, stream, Normal(b.Address, 100, Ioc));
        Assert.Equal(stream, Assert.Single(bench.Device.Held).StreamId);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
        bench.Machine.Step();
        Assert.Contains("active-streams 0", bench.Tree(), System.StringComparison.Ordinal);
        if (secondary == StreamTable.Linear) Assert.Equal((at[0] + 16) | 3, Entry(bench, stream));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(16)]
    [InlineData(1000)]
    [InlineData(65534)]
    [InlineData(65535)]
    public void Doorbell_of_a_stream_that_is_not_there_is_ignored(int stream)
    {
        using TransferBench bench = Make();

        bench.Doorbell(InDci, stream);

        bench.Expect(InDci);
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
        Go(bench, 1, Normal(bench.Buffer(8).Address, 8, Ioc));
        Assert.Single(bench.Device.Held);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(8 << 2)]
    public void Doorbell_beyond_a_secondary_array_or_without_primary_index_is_ignored(int stream)
    {
        using TransferBench bench = Make(2, 0);

        bench.Doorbell(InDci, stream | (stream == 4 ? 0 : 1));

        bench.Expect(InDci);
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
    }

    [Theory]
    [InlineData(StreamTable.Linear, 0u)]
    [InlineData(StreamTable.Linear, 2u)]
    [InlineData(StreamTable.Linear, 7u)]
    [InlineData(0, 0u)]
    public void Stream_context_of_a_wrong_type_is_an_error_and_the_endpoint_can_be_repaired(int secondary, uint type)
    {
        using TransferBench bench = Make(4, secondary);
        ulong good = Entry(bench, 3);
        SetEntry(bench, 3, (good & ~0xeUL) | (type << 1));
        GuestBuffer b = bench.Buffer(64);
        int other = secondary < 0 ? 2 : 2 | (1 << 4);
        Go(bench, other, Normal(b.Address, 8, Ioc));

        bench.Doorbell(InDci, 3);

        bench.Expect(InDci, new Seen(GuestCompletion.InvalidStreamType, 0, 0));
        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
        Assert.Empty(bench.Device.Held);
        SetEntry(bench, 3, good);
        GuestRing ring = Ring(bench, other);
        Assert.Equal(GuestCompletion.Success, bench.Driver.SetTrDequeue(bench.Slot, InDci, ring.Base | 1, other, secondary < 0 ? 1 : 0).Code);
        bench.Doorbell(InDci, other);
        Assert.Equal(other, Assert.Single(bench.Device.Held).StreamId);
    }

    [Fact]
    public void Primary_ring_in_an_array_with_secondary_arrays_is_one_stream()
    {
        using TransferBench bench = Make(3, 0);
        GuestRing ring = bench.Driver.Ring(16);
        SetEntry(bench, 2, ring.Base | 3);
        ulong at = ring.Enqueue(Normal(bench.Buffer(8).Address, 8, Ioc));

        bench.Doorbell(InDci, 2 | (1 << 3));
        Assert.Empty(bench.Device.Held);
        bench.Doorbell(InDci, 2);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at, 0));
    }

    [Fact]
    public void Secondary_entry_that_names_another_array_is_an_invalid_stream_type()
    {
        using TransferBench bench = Make(3, 0);
        ulong array = Entry(bench, 2) & ~0xfUL;
        BinaryPrimitives.WriteUInt64LittleEndian(bench.Driver.Platform.Memory(array + 16, 8), array | (2 << 1));

        bench.Doorbell(InDci, 2 | (1 << 3));

        bench.Expect(InDci, new Seen(GuestCompletion.InvalidStreamType, 0, 0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Stream_array_without_memory_is_a_host_system_error(bool primary)
    {
        using TransferBench bench = Make(3, 0);
        if (primary) bench.Machine.Memory.Protect(new GuestAddress(Table(bench).Primary.Address), 16, XenUsbDm.Hosts.InProcess.MemoryProtection.NoAccess);
        else SetEntry(bench, 2, 0x9000_0000 | (2 << 1));

        bench.Doorbell(InDci, 2 | (1 << 3));
        bench.ExpectedRefusals = bench.Machine.Memory.RefusedAccesses;

        Assert.Equal(4u, bench.Driver.ReadOperational(4) & 4);
        Assert.True(bench.ExpectedRefusals > 0);
    }

    [Fact]
    public void Several_streams_are_in_flight_and_end_in_any_order()
    {
        using TransferBench bench = Make();
        GuestBuffer b = bench.Buffer(64);
        var at = new ulong[16];
        for (int s = 1; s <= 10; s++) at[s] = Go(bench, s, Normal(b.Address, s, Ioc))[0];
        Assert.Equal(10, bench.Device.Held.Count);

        foreach (int s in new[] { 7, 1, 10, 4 })
        {
            bench.Device.Complete(Of(bench.Device, s));
            bench.Expect(InDci, new Seen(GuestCompletion.Success, at[s], 0));
        }

        Assert.Equal(6, bench.Device.Held.Count);
    }

    [Fact]
    public void Doorbells_of_more_than_256_streams_wait_for_their_turn()
    {
        using TransferBench bench = Make(4, 5);
        GuestBuffer b = bench.Buffer(64);
        int[] streams = [.. Table(bench).Rings.Select(r => r.Stream).Take(400)];
        foreach (int s in streams)
        {
            Ring(bench, s).Enqueue(Normal(b.Address, 8, Ioc));
            bench.Driver.RingDoorbell(bench.Slot, InDci, s);
            bench.Driver.RingDoorbell(bench.Slot, InDci, s);
        }

        bench.Machine.Step();
        Assert.Equal(256, bench.Device.Held.Count);
        var served = new System.Collections.Generic.HashSet<int>();
        while (bench.Device.Held.Count > 0)
        {
            Assert.True(served.Add(bench.Device.Held[0].StreamId));
            bench.Complete();
            bench.Driver.ProcessEvents();
        }

        Assert.Equal(streams.Order(), served.Order());
        Assert.Equal(400, bench.Take(InDci).Length);
    }

    [Fact]
    public void Stop_saves_every_stream_with_its_edtla_and_its_doorbell_goes_on()
    {
        using TransferBench bench = Make();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] one = Go(bench, 1, Normal(b.Address, 1024, Chain), Normal(b.Address, 1024, Chain), EventData(0x11));
        ulong[] two = Go(bench, 2, Normal(b.Address, 10, Ioc));
        Of(bench.Device, 1).ActualLength = 1024;

        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));

        Seen[] seen = bench.Take(InDci);
        Assert.Equal(2, seen.Length);
        Assert.Contains(new Seen(GuestCompletion.Stopped, one[1], 1024), seen);
        Assert.Contains(new Seen(GuestCompletion.Stopped, two[0], 10), seen);
        Assert.Equal((one[1] | 3, two[0] | 3), (Entry(bench, 1), Entry(bench, 2)));
        Assert.Equal(1024u, BinaryPrimitives.ReadUInt32LittleEndian(bench.Bytes(Table(bench).Primary.Address + 16 + 8, 4)));
        bench.Doorbell(InDci, 1);
        Assert.Equal((1, 1024), (Assert.Single(bench.Device.Held).StreamId, bench.Held[0]));
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0x11, 2048, true));
        bench.Doorbell(InDci, 2);
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, two[0], 0));
    }

    [Fact]
    public void Stream_that_halts_leaves_the_others_exactly_where_they_were()
    {
        using TransferBench bench = Make();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] other = Go(bench, 1, Normal(b.Address, 1024, Chain | Ioc), Normal(b.Address, 1024, Chain), EventData(0x77));
        ulong[] failing = Go(bench, 2, Normal(b.Address, 8, Ioc), Normal(b.Address, 9, Ioc));
        Of(bench.Device, 1).ActualLength = 1024 + 512;

        bench.Device.Complete(bench.Device.Held.First(r => r.StreamId == 2), RequestStatus.Stall, 0);

        // What stream 1 had done is told; it is the halted stream's context that is written.
        Seen[] seen = bench.Take(InDci);
        Assert.Equal(2, seen.Length);
        Assert.Contains(new Seen(GuestCompletion.Stall, failing[0], 8), seen);
        Assert.Contains(new Seen(GuestCompletion.Success, other[0], 0), seen);
        Assert.Equal((GuestEndpointState.Halted, failing[0] | 3), (bench.State(InDci), Entry(bench, 2)));
        Assert.Equal(GuestCompletion.Success, bench.Reset(InDci));
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(InDci, failing[1], 2));
        Assert.Empty(bench.Device.Held);
        bench.Doorbell(InDci, 2);
        bench.Doorbell(InDci, 1);
        Assert.Equal([2, 1], bench.Device.Held.Select(r => (int)r.StreamId).OrderDescending());
        Assert.Equal((512, 9), (Of(bench.Device, 1).Length, Of(bench.Device, 2).Length));
        bench.Device.Complete(Of(bench.Device, 1));
        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0x77, 2048, true));
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, failing[1], 0));
    }

    [Fact]
    public void Malformed_td_of_one_stream_puts_the_endpoint_into_error()
    {
        using TransferBench bench = Make();
        ulong[] at = Go(bench, 3, StatusStage(true));

        bench.Expect(InDci, new Seen(GuestCompletion.TrbError, at[0], 0));
        Assert.Equal((GuestEndpointState.Error, at[0] | 3), (bench.State(InDci), Entry(bench, 3)));
    }

    [Fact]
    public void Stream_context_that_changed_its_type_is_not_written_over()
    {
        using TransferBench bench = Make();
        Go(bench, 3, Normal(bench.Buffer(8).Address, 8, Ioc));
        SetEntry(bench, 3, 0x5550);

        bench.Complete();

        Assert.Single(bench.Take(InDci));
        Assert.Equal(0x5550ul, Entry(bench, 3));
    }

    [Fact]
    public void Stream_context_that_cannot_be_written_is_a_host_system_error()
    {
        using TransferBench bench = Make();
        Go(bench, 3, Normal(bench.Buffer(8).Address, 8, Ioc));
        bench.Machine.Memory.Protect(new GuestAddress(Table(bench).Primary.Address), 16, XenUsbDm.Hosts.InProcess.MemoryProtection.ReadOnly);

        bench.Complete();
        bench.ExpectedRefusals = bench.Machine.Memory.RefusedAccesses;

        Assert.Equal(4u, bench.Driver.ReadOperational(4) & 4);
    }

    [Fact]
    public void Waiting_doorbells_are_taken_round_robin_once_each()
    {
        var slot = new Slot(1);
        var endpoint = new Endpoint(slot, 3, new EndpointContext(7u << 10, 6 << 3 | 1024 << 16, 0x1000, 0));
        StreamSet set = endpoint.Streams!;
        foreach (int id in new[] { 63, 64, 1, 65533, 63, 200 }) set.RingDoorbell(id);

        Assert.Equal([1, 63, 64, 200, 65533], set.PendingIds());
        int[] taken = [.. Enumerable.Range(0, 5).Select(_ => set.TakePending())];
        Assert.Equal([1, 63, 64, 200, 65533], taken);
        Assert.Equal((0, false), (set.TakePending(), set.HasPending));
        set.RingDoorbell(5);
        set.ClearPending();
        Assert.False(set.HasPending);
        Assert.Equal((65535, false, true, false, false), (set.HighestId, set.IsLinear, set.IsValidId(65533), set.IsValidId(65534), set.IsValidId(0)));
        Assert.Equal(CompletionCode.InvalidStreamIdError, set.Resolve(null!, 0, out _, out _));
        Assert.Null(set.FindActive(1));
    }
}
