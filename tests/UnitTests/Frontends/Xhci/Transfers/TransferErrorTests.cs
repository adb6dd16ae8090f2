using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using Xunit;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Errors: code, residual, state, dequeue pointer, what becomes of the transfers behind (xHCI 1.2 §4.8.3, §4.10.2).</summary>
public sealed class TransferErrorTests
{
    private const uint Ioc = InterruptOnCompletion;

    [Theory]
    [InlineData(RequestStatus.Stall, GuestCompletion.Stall)]
    [InlineData(RequestStatus.Babble, GuestCompletion.Babble)]
    [InlineData(RequestStatus.TransactionError, GuestCompletion.TransactionError)]
    [InlineData(RequestStatus.NoDevice, GuestCompletion.TransactionError)]
    [InlineData(RequestStatus.Cancelled, GuestCompletion.TransactionError)]
    [InlineData(RequestStatus.MemoryFault, GuestCompletion.DataBufferError)]
    public void Error_halts_the_endpoint_at_the_failing_trb(RequestStatus status, GuestCompletion code)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain | Ioc), Normal(b.Address, 512, Chain), Normal(b.Address, 512, Chain), EventData(1));

        bench.Complete(status, 600);

        // The TRB that was done tells its event, the failing one the error whatever its flags; nothing behind it speaks.
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(code, at[1], 424));
        Assert.Equal((GuestEndpointState.Halted, at[1]), (bench.State(InDci), bench.Dequeue(InDci)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Later_transfers_are_unlinked_youngest_first_and_fetched_again_exactly_once(bool slow)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(1, 5).Select(i => Normal(b.Address, i, Ioc))]);
        bench.Device.CancelsAtOnce = !slow;
        bench.Device.Calls.Clear();

        bench.Complete(RequestStatus.Stall, 0);
        Assert.Equal(4, bench.Device.Calls.Count(c => c.StartsWith("cancel", System.StringComparison.Ordinal)));
        bench.Doorbell(InDci);
        if (slow)
        {
            // One of them had its result before it could be cancelled: that data is lost to the guest, as on a real bus.
            Assert.Equal([2, 3, 4, 5], bench.Held);
            ulong reset = bench.Driver.PostCommand(GuestTrb.Command(GuestTrbType.ResetEndpoint, bench.Slot, InDci));
            bench.Driver.RingDoorbell(0);
            bench.Machine.Step();
            Assert.False(bench.Driver.TryTakeCommand(reset, out _));
            while (bench.Device.Held.Count > 0) bench.Complete(RequestStatus.Cancelled, 0);
            Assert.Equal(GuestCompletion.Success, bench.Driver.WaitCommand(reset).Code);
        }
        else
        {
            Assert.Empty(bench.Device.Held);
            Assert.Equal(GuestCompletion.Success, bench.Reset(InDci));
        }

        bench.Expect(InDci, new Seen(GuestCompletion.Stall, at[0], 1));
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(InDci, at[1]));
        Assert.Empty(bench.Device.Held);
        bench.Doorbell(InDci);
        Assert.Equal([2, 3, 4, 5], bench.Held);
        while (bench.Device.Held.Count > 0) bench.Complete();

        bench.Expect(InDci, [.. at.Skip(1).Select(a => new Seen(GuestCompletion.Success, a, 0))]);
    }

    [Fact]
    public void Transfer_behind_an_error_that_ended_well_before_its_cancel_is_not_reported()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1, Ioc), Normal(b.Address, 2, Ioc));
        bench.Device.Complete(bench.Device.Held[1]);
        bench.Expect(InDci);

        bench.Complete(RequestStatus.Stall, 0);

        bench.Expect(InDci, new Seen(GuestCompletion.Stall, at[0], 1));
        bench.Reset(InDci);
        bench.Doorbell(InDci);
        Assert.Equal([1, 2], bench.Held);
    }

    [Theory]
    [InlineData(false, 1024, 0)]
    [InlineData(true, 1024, 512)]
    public void Reset_endpoint_with_tsp_goes_on_at_the_byte_and_without_at_the_trb(bool preserve, int length, int progress)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1024, Ioc));
        bench.Complete(RequestStatus.TransactionError, 512);
        bench.Expect(InDci, new Seen(GuestCompletion.TransactionError, at[0], 512));

        Assert.Equal(GuestCompletion.Success, bench.Reset(InDci, preserve));
        bench.Doorbell(InDci);

        Assert.Equal([length - progress], bench.Held);
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Error_in_a_later_part_names_the_trb_and_keeps_the_part_done()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(65536);
        var at = new ulong[20];
        for (int i = 0; i < 20; i++) at[i] = bench.Put(InDci, Normal(b.Address, 60000, i < 19 ? Chain : Ioc));

        bench.Doorbell(InDci);
        bench.Complete();
        bench.Complete(RequestStatus.Stall, 1024);

        // 1 MiB + 1024 lies in TRB 17 (from 1,020,000 to 1,080,000).
        bench.Expect(InDci, new Seen(GuestCompletion.Stall, at[17], (18 * 60000) - (1 << 20) - 1024));
        Assert.Equal(at[17], bench.Dequeue(InDci));
    }

    [Fact]
    public void Device_that_claims_more_than_was_asked_for_is_babble_with_residual_0()
    {
        using var bench = new TransferBench();
        ulong[] at = bench.Go(InDci, Normal(bench.Buffer(512).Address, 512, Ioc));

        bench.Complete(RequestStatus.Success, 600);

        bench.Expect(InDci, new Seen(GuestCompletion.Babble, at[0], 0));
    }

    [Fact]
    public void Buffer_without_memory_is_a_data_buffer_error_of_its_endpoint_only()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain), Normal(0x9000_0000, 512, Ioc));
        UsbRequest request = bench.Device.Held[0];
        Assert.False(bench.Device.Fill(request, new byte[1024]));
        bench.ExpectedRefusals = bench.Machine.Memory.RefusedAccesses;

        bench.Complete(RequestStatus.MemoryFault, 512);

        bench.Expect(InDci, new Seen(GuestCompletion.DataBufferError, at[1], 512));
        Assert.Equal(GuestEndpointState.Halted, bench.State(InDci));
        Assert.Equal(GuestEndpointState.Running, bench.State(OutDci));
        Assert.Equal(0u, bench.Driver.ReadOperational(4) & 0x1004);
    }

    [Fact]
    public void Ring_without_memory_is_a_host_system_error()
    {
        using var bench = new TransferBench();
        bench.Put(InDci, Link(0x9000_0000, 0));

        bench.Doorbell(InDci);
        bench.ExpectedRefusals = 2;

        Assert.Equal(4u, bench.Driver.ReadOperational(4) & 4);
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Control_ring_without_memory_is_a_host_system_error()
    {
        using var bench = new TransferBench();
        bench.Put(1, Link(0x9000_0000, 0));

        bench.Doorbell(1);
        bench.ExpectedRefusals = 2;

        Assert.Equal(4u, bench.Driver.ReadOperational(4) & 4);
    }

    public static TheoryData<int> WrongTypes()
    {
        var data = new TheoryData<int>();
        for (int type = 0; type < 64; type++)
        {
            if (type is not ((int)GuestTrbType.Normal or (int)GuestTrbType.Link or (int)GuestTrbType.EventData or (int)GuestTrbType.NoOp)) data.Add(type);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(WrongTypes))]
    public void Trb_of_a_type_that_does_not_belong_on_a_bulk_ring_is_a_trb_error(int type)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);

        // The TRB before it in the same TD was not sent, so it does not speak.
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Ioc), Normal(b.Address, 512, Chain | Ioc), new GuestTrb(b.Address, 8, (uint)type << 10 | Ioc), Normal(b.Address, 512, Ioc));
        Assert.Equal([512], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.TrbError, at[2], 0));
        Assert.Equal((GuestEndpointState.Error, at[2]), (bench.State(InDci), bench.Dequeue(InDci)));
        Assert.Empty(bench.Device.Held);
        Assert.Equal(GuestCompletion.ContextStateError, bench.Reset(InDci));
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(InDci, at[3]));
        bench.Doorbell(InDci);
        bench.Complete();
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[3], 0));
    }

    [Theory]
    [InlineData(65537)]
    [InlineData(131071)]
    public void Trb_longer_than_64_kib_is_a_trb_error(int length)
    {
        using var bench = new TransferBench();

        ulong[] at = bench.Go(InDci, Normal(bench.Buffer(512).Address, length, Ioc));

        Assert.Equal((GuestCompletion.TrbError, at[0]), (bench.Take(InDci).Single() is var s ? s.Code : default, s.Pointer));
        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
    }

    [Fact]
    public void Malformed_td_behind_good_ones_lets_them_end_first()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1, Ioc), Normal(b.Address, 70000, Ioc), Normal(b.Address, 3, Ioc));

        bench.Expect(InDci);
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
        bench.Complete();

        Assert.Equal([GuestCompletion.Success, GuestCompletion.TrbError], bench.Take(InDci).Select(s => s.Code));
        Assert.Equal(at[1], bench.Dequeue(InDci));
    }

    [Fact]
    public void Unplug_in_the_middle_of_a_td_ends_every_transfer()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1024, Ioc), Normal(b.Address, 512, Ioc));
        ulong[] outAt = bench.Go(OutDci, Normal(b.Address, 100, Ioc));
        bench.Device.Held[0].ActualLength = 512;

        bench.Machine.Detach(1);
        bench.Machine.Step();
        bench.Driver.ProcessEvents();

        GuestEvent[] events = [.. bench.Log.Where(e => e.Type == GuestTrbType.TransferEvent)];
        Assert.Contains(events, e => e.Dci == InDci && e.Code == GuestCompletion.TransactionError && e.Pointer == at[0] && e.Residual == 512);
        Assert.Contains(events, e => e.Dci == OutDci && e.Code == GuestCompletion.TransactionError && e.Pointer == outAt[0] && e.Residual == 100);
        Assert.Equal(2, events.Length);
        Assert.Equal((GuestEndpointState.Halted, GuestEndpointState.Halted), (bench.State(InDci), bench.State(OutDci)));
        Assert.Contains("/xhci/transfers/in-use 0\n", bench.Tree(), System.StringComparison.Ordinal);
    }

    [Fact]
    public void Schedule_takes_an_origin_before_0()
    {
        using var bench = new TransferBench(UsbSpeed.High, TransferKind.Isochronous);
        Assert.NotNull(bench.Machine);
        var endpoint = new XenUsbDm.Frontends.Xhci.Slots.Endpoint(
            new XenUsbDm.Frontends.Xhci.Slots.Slot(1), 3, new XenUsbDm.Frontends.Xhci.Contexts.EndpointContext(0, 5 << 3 | 512 << 16, 1, 0));

        Assert.True(XenUsbDm.Frontends.Xhci.Transfers.IsochSchedule.TryPlace(endpoint, StartAsap, 10, unchecked(0UL - 100), false, out ulong start));
        endpoint.NextService = ulong.MaxValue;
        Assert.True(XenUsbDm.Frontends.Xhci.Transfers.IsochSchedule.TryPlace(endpoint, StartAsap, 10, 5, false, out _));

        Assert.Equal(11ul, start);
        Assert.Equal(default, new GuestAddress(0));
    }
}
