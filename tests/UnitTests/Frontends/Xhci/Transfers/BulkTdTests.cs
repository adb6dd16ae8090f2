using System;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>How TDs of bulk endpoints become requests (xHCI 1.2 §4.11.2.1, §4.11.5, §4.9.1).</summary>
public sealed class BulkTdTests
{
    private const uint Ioc = InterruptOnCompletion;

    [Fact]
    public void In_td_brings_data_and_an_event_with_residual_0()
    {
        using var bench = new TransferBench();
        GuestBuffer buffer = bench.Buffer(1024);

        ulong[] at = bench.Go(InDci, Normal(buffer.Address, 1024, Ioc));
        UsbRequest request = bench.Device.Held[0];
        (int, TransferKind, bool, uint) asked = (request.Length, request.Kind, request.Endpoint.IsIn, request.IntervalMicroframes);
        bench.Device.Fill(request, [1, 2, 3, 4]);
        bench.Complete();

        Assert.Equal((1024, TransferKind.Bulk, true, 0u), asked);
        Assert.Equal(new byte[] { 1, 2, 3, 4, 0 }, bench.Bytes(buffer.Address, 5));
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
    }

    [Fact]
    public void Out_td_hands_its_bytes_to_the_device()
    {
        using var bench = new TransferBench();
        GuestBuffer buffer = bench.Buffer(600);
        bench.Driver.Platform.Memory(buffer.Address, 600).Fill(7);

        ulong[] at = bench.Go(OutDci, Normal(buffer.Address, 600, Ioc));
        var sent = new byte[600];
        Assert.True(bench.Device.Held[0].Data.TryCopyFromGuest(bench.Machine.Memory, 0, sent));
        bench.Complete();

        Assert.All(sent, b => Assert.Equal(7, b));
        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Out_td_that_the_device_took_only_in_part_is_a_transaction_error()
    {
        using var bench = new TransferBench();
        ulong[] at = bench.Go(OutDci, Normal(bench.Buffer(1024).Address, 1024, Ioc));

        bench.Complete(RequestStatus.Success, 512);

        bench.Expect(OutDci, new Seen(GuestCompletion.TransactionError, at[0], 512));
        Assert.Equal(GuestEndpointState.Halted, bench.State(OutDci));
    }

    [Theory]
    [InlineData(InDci)]
    [InlineData(OutDci)]
    public void Zero_length_td_is_a_request_without_data(int dci)
    {
        using var bench = new TransferBench();

        ulong[] at = bench.Go(dci, Normal(0, 0, Ioc));
        Assert.Equal([0], bench.Held);
        bench.Complete();

        bench.Expect(dci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Td_of_many_trbs_is_one_request_in_trb_order()
    {
        using var bench = new TransferBench();
        GuestBuffer buffer = bench.Buffer(8192);
        var trbs = new GuestTrb[100];
        for (int i = 0; i < 100; i++) trbs[i] = Normal(buffer.Address + (ulong)(((i * 37) % 100) * 64), 7, i < 99 ? Chain : Ioc);

        ulong[] at = bench.Go(InDci, trbs);
        Assert.Equal([700], bench.Held);
        UsbRequest request = bench.Device.Held[0];
        for (int i = 0; i < 100; i++) bench.Device.Fill(request, Enumerable.Repeat((byte)(i + 1), 7).ToArray());
        bench.Complete();

        for (int i = 0; i < 100; i++) Assert.Equal(Enumerable.Repeat((byte)(i + 1), 7), bench.Bytes(trbs[i].Parameter, 7));
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[99], 0));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(64)]
    public void Td_of_64_kib_is_one_request(int trbs)
    {
        using var bench = new TransferBench();
        GuestBuffer buffer = bench.Buffer(65536);
        int each = 65536 / trbs;
        for (int i = 0; i < trbs; i++) bench.Put(InDci, Normal(buffer.Address + (ulong)(i * each), each, i < trbs - 1 ? Chain : Ioc));

        bench.Doorbell(InDci);

        Assert.Equal([65536], bench.Held);
    }

    [Theory]
    [InlineData(65536)]
    [InlineData(60000)]
    [InlineData(4096)]
    public void Td_of_16_mib_goes_in_parts_of_whole_packets_one_after_the_other(int each)
    {
        using var bench = new TransferBench(UsbSpeed.Super, ringTrbs: 4096, options: new XhciDriverOptions { RingSegments = 2 });
        const int Total = 16 << 20;
        GuestBuffer buffer = bench.Buffer(65536);
        ulong last = 0;
        for (int left = Total; left > 0; left -= each)
            last = bench.Put(OutDci, Normal(buffer.Address, Math.Min(each, left), left > each ? Chain : Ioc));
        ulong data = bench.Put(OutDci, Normal(buffer.Address, 5, Ioc));

        bench.Doorbell(OutDci);
        int moved = 0;
        while (moved < Total)
        {
            // The next TD is not kept waiting by the last part.
            UsbRequest part = bench.Device.Held[0];
            Assert.Equal(moved + part.Length == Total ? 2 : 1, bench.Device.Held.Count);
            Assert.True(part.Length is > 0 and <= UsbRequest.MaxLength && (part.Length % 1024 == 0 || moved + part.Length == Total));
            moved += part.Length;
            bench.Complete();
        }

        Assert.Equal(Total, moved);
        bench.Complete();
        bench.Expect(OutDci, new Seen(GuestCompletion.Success, last, 0), new Seen(GuestCompletion.Success, data, 0));
    }

    [Fact]
    public void Td_beyond_16_mib_works_too()
    {
        using var bench = new TransferBench(UsbSpeed.Super, ringTrbs: 512);
        GuestBuffer buffer = bench.Buffer(65536);
        for (int i = 0; i < 300; i++) bench.Put(InDci, Normal(buffer.Address, 65536, Chain));
        ulong last = bench.Put(InDci, EventData(0xabc));

        bench.Doorbell(InDci);
        int parts = 0;
        for (; bench.Device.Held.Count > 0 && parts < 100; parts++) bench.Complete();

        Assert.Equal(19, parts);
        // EDTLA has 24 bits (§4.11.5.2): it wraps.
        Assert.NotEqual(0ul, last);
        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0xabc, (300 * 65536) & 0xffffff, true));
    }

    [Fact]
    public void Td_of_thousands_of_small_trbs_ends_parts_at_packet_borders()
    {
        using var bench = new TransferBench(packet: 64, speed: UsbSpeed.Full, ringTrbs: 4096);
        GuestBuffer buffer = bench.Buffer(64);
        for (int i = 0; i < 3000; i++) bench.Put(OutDci, Normal(buffer.Address, 48, i < 2999 ? Chain : Ioc));

        bench.Doorbell(OutDci);
        int moved = 0;
        int parts = 0;
        for (; bench.Device.Held.Count > 0; parts++)
        {
            Assert.True(bench.Held[0] % 64 == 0 || moved + bench.Held[0] == 3000 * 48);
            moved += bench.Held[0];
            bench.Complete();
        }

        Assert.Equal((3000 * 48, 3), (moved, parts));
        Assert.Equal(GuestCompletion.Success, Assert.Single(bench.Take(OutDci)).Code);
    }

    [Fact]
    public void Td_with_more_trbs_than_the_limit_between_two_packets_gets_a_trb_error()
    {
        using var bench = new TransferBench(ringTrbs: 4096, options: new XhciDriverOptions { RingSegments = 2 });
        for (int i = 0; i < 4200; i++) bench.Put(InDci, NoOp(Chain));

        bench.Doorbell(InDci);

        Assert.Equal(GuestCompletion.TrbError, Assert.Single(bench.Take(InDci)).Code);
        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
        Assert.Empty(bench.Device.Held);
    }

    [Fact]
    public void Unaligned_buffers_and_odd_lengths_move_every_byte()
    {
        using var bench = new TransferBench();
        GuestBuffer buffer = bench.Buffer(70000);
        ulong odd = (buffer.Address & ~0xfffful) + 0x10000 - 3;
        byte[] data = [.. Enumerable.Range(1, 4099).Select(i => (byte)(i & 0xff))];

        ulong[] at = bench.Go(InDci, Normal(odd, 1, Chain), Normal(odd + 1, 4095, Chain), Normal(odd + 4096, 3, Ioc));
        bench.Device.Fill(bench.Device.Held[0], data);
        bench.Complete();

        Assert.Equal(data, bench.Bytes(odd, 4099));
        Assert.Equal(0, bench.Bytes(odd + 4099, 1)[0]);
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[2], 0));
    }

    [Fact]
    public void Buffer_across_pages_works_with_memory_that_ends_at_every_page()
    {
        using var bench = new TransferBench();
        bench.Machine.Memory.SplitAtPages = true;
        ulong start = (bench.Buffer(40000).Address & ~0xffful) + 4096 - 9;
        byte[] data = [.. Enumerable.Range(0, 20000).Select(i => (byte)(i * 7 & 0xff))];

        bench.Go(InDci, Normal(start, 20000, Ioc));
        Assert.True(bench.Device.Fill(bench.Device.Held[0], data));
        bench.Complete();

        Assert.Equal(data, bench.Bytes(start, 20000));
    }

    [Fact]
    public void Td_ends_at_the_first_trb_without_chain()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);

        bench.Go(OutDci, Normal(b.Address, 1, Chain), Normal(b.Address, 2, Chain), Normal(b.Address, 3), Normal(b.Address, 4), Normal(b.Address, 5, Chain), Normal(b.Address, 6));

        Assert.Equal([6, 4, 11], bench.Held);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    public void Td_size_does_not_matter(int tdSize)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(InDci, Normal(b.Address, 1000, Chain, tdSize), Normal(b.Address + 1000, 24, Ioc, tdSize));
        Assert.Equal([1024], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[1], 0));
    }

    [Fact]
    public void Td_in_pieces_sends_what_makes_whole_packets_and_waits_for_the_rest()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        bench.Go(InDci, Normal(b.Address, 300, Chain));
        Assert.Empty(bench.Device.Held);
        bench.Go(InDci, Normal(b.Address + 300, 724, Chain));
        Assert.Equal([1024], bench.Held);
        bench.Complete();
        Assert.Empty(bench.Device.Held);
        Assert.Empty(bench.Take(InDci));
        bench.Go(InDci, Normal(b.Address + 1024, 10, Chain), EventData(0x77));
        Assert.Equal([10], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0x77, 1034, true));
    }

    [Fact]
    public void Incomplete_td_waits_and_is_taken_whole_when_its_rest_comes()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        bench.Go(OutDci, Normal(b.Address, 100, Chain));
        bench.Doorbell(OutDci);
        Assert.Empty(bench.Device.Held);
        ulong[] at = bench.Go(OutDci, Normal(b.Address, 1, Ioc));
        Assert.Equal([101], bench.Held);
        bench.Complete();

        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Cycle_bit_ends_the_ring_also_after_many_rounds()
    {
        using var bench = new TransferBench(ringTrbs: 8);
        GuestBuffer b = bench.Buffer(512);
        for (int i = 0; i < 40; i++)
        {
            ulong[] at = bench.Go(InDci, Normal(b.Address, i + 1, Ioc));
            Assert.Equal([i + 1], bench.Held);
            bench.Complete();
            bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
            bench.Ring(InDci).ReleaseThrough(at[0]);
        }

        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
    }

    [Theory]
    [InlineData(OutDci, 0)]
    [InlineData(OutDci, 5)]
    [InlineData(OutDci, 8)]
    public void Immediate_data_comes_from_the_trb(int dci, int length)
    {
        using var bench = new TransferBench();

        ulong[] at = bench.Go(dci, Normal(0x0807060504030201, length, ImmediateData | Ioc));
        UsbRequest request = bench.Device.Held[0];
        var sent = new byte[length];
        Assert.True(request.Data.TryCopyFromGuest(bench.Machine.Memory, 0, sent));
        bench.Complete();

        Assert.Equal(new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 }[..length], sent);
        bench.Expect(dci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Immediate_data_that_was_stopped_half_way_goes_on()
    {
        using var bench = new TransferBench(UsbSpeed.Low, TransferKind.Interrupt, packet: 4);
        ulong[] at = bench.Go(OutDci, Normal(0x0807060504030201, 8, ImmediateData | Ioc));
        bench.Device.Held[0].ActualLength = 4;

        Assert.Equal(GuestCompletion.Success, bench.Stop(OutDci));
        bench.Expect(OutDci, new Seen(GuestCompletion.Stopped, at[0], 4));
        bench.Doorbell(OutDci);
        bench.Machine.AdvanceBy(1_000_000_000);
        var rest = new byte[4];
        UsbRequest request = Assert.Single(bench.Device.Held);
        Assert.True(request.Data.TryCopyFromGuest(bench.Machine.Memory, 0, rest));
        bench.Complete();

        Assert.Equal(new byte[] { 5, 6, 7, 8 }, rest);
        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Theory]
    [InlineData(InDci, 8, 0, 0)]
    [InlineData(OutDci, 9, 0, 0)]
    [InlineData(OutDci, 4, 1, 0)]
    [InlineData(OutDci, 4, 0, 1)]
    public void Immediate_data_that_is_in_or_too_long_or_not_alone_is_a_trb_error(int dci, int length, int before, int after)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(512);
        if (before > 0) bench.Put(dci, Normal(b.Address, 10, Chain));
        ulong bad = bench.Put(dci, Normal(1, length, ImmediateData | (after > 0 ? Chain : 0) | Ioc));
        if (after > 0) bad = bench.Put(dci, Normal(b.Address, 10, Ioc));

        bench.Doorbell(dci);

        Seen seen = Assert.Single(bench.Take(dci));
        Assert.Equal((GuestCompletion.TrbError, bad), (seen.Code, seen.Pointer));
        Assert.Equal((GuestEndpointState.Error, bad), (bench.State(dci), bench.Dequeue(dci)));
        Assert.Empty(bench.Device.Held);
    }
}
