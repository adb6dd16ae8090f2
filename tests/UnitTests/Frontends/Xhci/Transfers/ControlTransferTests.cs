using System;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Control transfers: three TDs, one request (xHCI 1.2 §4.11.2.2, USB 2.0 §8.5.3).</summary>
public sealed class ControlTransferTests
{
    private const uint Ioc = InterruptOnCompletion;
    private const uint Isp = InterruptOnShort;
    private const int NoData = 0;
    private const int OutData = 2;
    private const int InData = 3;

    // Vendor requests, so that the pipeline keeps none of them to itself.
    private static ulong Read(int length) => new SetupPacket(0xc0, 0x51, 0x1234, 0x5678, (ushort)length).Raw;

    private static ulong Write(int length) => new SetupPacket(0x40, 0x52, 0, 0, (ushort)length).Raw;

    [Theory]
    [InlineData(UsbSpeed.Low)]
    [InlineData(UsbSpeed.Full)]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void In_transfer_brings_its_data_at_every_speed(UsbSpeed speed)
    {
        using var bench = new TransferBench(speed, speed == UsbSpeed.Low ? TransferKind.Interrupt : TransferKind.Bulk);
        GuestBuffer b = bench.Buffer(64);

        ulong[] at = bench.Go(1, Setup(Read(18), InData, Ioc), Data(b.Address, 18, true, Ioc), StatusStage(false));
        UsbRequest request = Assert.Single(bench.Device.Held);
        Assert.Equal((Read(18), 18, TransferKind.Control, true), (request.Setup.Raw, request.Length, request.Kind, request.IsIn));
        bench.Device.Fill(request, [9, 8, 7]);
        bench.Complete();

        Assert.Equal(new byte[] { 9, 8, 7 }, bench.Bytes(b.Address, 3));
        bench.Expect(1, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.Success, at[2], 0));
    }

    [Fact]
    public void Out_transfer_takes_its_data_and_immediate_data_too()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);
        bench.Driver.Platform.Memory(b.Address, 20).Fill(3);

        bench.Go(1, Setup(Write(20), OutData), Data(b.Address, 20, false), StatusStage(true));
        var sent = new byte[20];
        Assert.True(bench.Device.Held[0].Data.TryCopyFromGuest(bench.Machine.Memory, 0, sent));
        bench.Complete();
        Assert.Equal(GuestCompletion.Success, Assert.Single(bench.Take(1)).Code);
        bench.Go(1, Setup(Write(5), OutData), Data(0x0504030201, 5, false, ImmediateData), StatusStage(true));
        var immediate = new byte[5];
        Assert.True(bench.Device.Held[0].Data.TryCopyFromGuest(bench.Machine.Memory, 0, immediate));
        bench.Complete();

        Assert.All(sent, x => Assert.Equal(3, x));
        Assert.Equal(new byte[] { 1, 2, 3, 4, 5 }, immediate);
        Assert.Equal(GuestCompletion.Success, Assert.Single(bench.Take(1)).Code);
    }

    [Fact]
    public void Transfer_without_data_goes_with_its_status_stage()
    {
        using var bench = new TransferBench();

        bench.Go(1, Setup(Write(0), NoData));
        Assert.Empty(bench.Device.Held);
        ulong[] at = bench.Go(1, StatusStage(true));
        Assert.Equal([0], bench.Held);
        Assert.Equal(Write(0), bench.Device.Held[0].Setup.Raw);
        bench.Complete();

        bench.Expect(1, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void Transfer_starts_before_its_status_stage_is_queued()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);

        ulong[] at = bench.Go(1, Setup(Read(8), InData), Data(b.Address, 8, true, Ioc));
        Assert.Equal([8], bench.Held);
        bench.Complete();
        bench.Expect(1, new Seen(GuestCompletion.Success, at[1], 0));
        ulong[] status = bench.Go(1, StatusStage(false));

        bench.Expect(1, new Seen(GuestCompletion.Success, status[0], 0));
        Assert.Empty(bench.Device.Held);
    }

    [Theory]
    [InlineData(0u, 0, 0)]
    [InlineData(Isp, 0, 1)]
    [InlineData(Isp, 10, 1)]
    [InlineData(Ioc, 10, 1)]
    [InlineData(Isp | Ioc, 63, 1)]
    public void Short_data_stage_tells_its_residual_and_the_status_stage_succeeds(uint flags, int actual, int events)
    {
        using var bench = new TransferBench();
        ulong[] at = bench.Go(1, Setup(Read(64), InData), Data(bench.Buffer(64).Address, 64, true, flags), StatusStage(false));

        bench.Complete(RequestStatus.Success, actual);

        Seen[] seen = bench.Take(1);
        Assert.Equal(events + 1, seen.Length);
        if (events > 0) Assert.Equal(new Seen(GuestCompletion.ShortPacket, at[1], 64 - actual), seen[0]);
        Assert.Equal(new Seen(GuestCompletion.Success, at[2], 0), seen[^1]);
    }

    [Fact]
    public void Data_stage_of_several_trbs_with_event_data_and_links_is_one_request()
    {
        using var bench = new TransferBench(ringTrbs: 8);
        GuestBuffer b = bench.Buffer(512);
        // The ring's Link TRB comes into the middle of the data stage.
        bench.Ring(1).ReleaseAll();
        while (bench.Ring(1).EnqueuePointer != bench.Ring(1).Base + (4 * 16))
        {
            bench.Go(1, NoOp(0));
            bench.Ring(1).ReleaseAll();
        }


        bench.Go(1, Setup(Read(300), InData), Data(b.Address, 100, true, Chain), Normal(b.Address + 100, 100, Chain | Isp), NoOp(Chain), Normal(b.Address + 200, 100, Chain));
        Assert.Empty(bench.Device.Held);
        bench.Go(1, EventData(0xe0));
        Assert.Equal([300], bench.Held);
        bench.Complete(RequestStatus.Success, 250);

        bench.Expect(1, new Seen(GuestCompletion.ShortPacket, 0xe0, 250, true));
        bench.Ring(1).ReleaseAll();
        ulong status = bench.Put(1, StatusStage(false, Chain));
        bench.Put(1, EventData(0xe1));
        bench.Doorbell(1);
        Assert.NotEqual(0ul, status);
        bench.Expect(1, new Seen(GuestCompletion.Success, 0xe1, 0, true));
    }

    [Fact]
    public void Link_with_ioc_tells_its_event_on_a_control_ring()
    {
        using var bench = new TransferBench();
        ulong next = bench.Ring(1).EnqueuePointer + 16;

        ulong[] at = bench.Go(1, Link(next, Ioc), NoOp(0));

        bench.Expect(1, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Theory]
    [InlineData(100, 64)]
    [InlineData(64, 100)]
    [InlineData(0xffff, 8)]
    [InlineData(1, 4096)]
    public void W_length_may_differ_from_the_data_trbs(int wLength, int trb)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(1, Setup(Read(wLength), InData), Data(b.Address, trb, true, Ioc), StatusStage(false));
        // The request carries both: no more is moved than the TRBs hold (GitLab 158).
        Assert.Equal((wLength, trb), (bench.Device.Held[0].Setup.Length, bench.Device.Held[0].Length));
        int moved = Math.Min(wLength, trb);
        bench.Complete(RequestStatus.Success, moved);

        bench.Expect(
            1, new Seen(moved < trb ? GuestCompletion.ShortPacket : GuestCompletion.Success, at[1], trb - moved),
            new Seen(GuestCompletion.Success, at[2], 0));
    }

    [Fact]
    public void Stall_in_the_data_stage_halts_at_the_data_trb_and_recovers()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);
        ulong[] at = bench.Go(1, Setup(Read(64), InData), Data(b.Address, 64, true), StatusStage(false));

        bench.Complete(RequestStatus.Stall, 0);

        bench.Expect(1, new Seen(GuestCompletion.Stall, at[1], 64));
        Assert.Equal((GuestEndpointState.Halted, at[1]), (bench.State(1), bench.Dequeue(1)));
        Assert.Equal(GuestCompletion.Success, bench.Reset(1));
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(1, bench.Ring(1).EnqueuePointer));
        ulong[] again = bench.Go(1, Setup(Read(4), InData), Data(b.Address, 4, true), StatusStage(false));
        Assert.Equal([4], bench.Held);
        bench.Complete();
        bench.Expect(1, new Seen(GuestCompletion.Success, again[2], 0));
    }

    [Fact]
    public void Stall_of_a_transfer_without_data_halts_at_the_status_trb()
    {
        using var bench = new TransferBench();
        ulong[] at = bench.Go(1, Setup(Write(0), NoData), StatusStage(true));

        bench.Complete(RequestStatus.Stall, 0);

        bench.Expect(1, new Seen(GuestCompletion.Stall, at[1], 0));
        Assert.Equal((GuestEndpointState.Halted, at[1]), (bench.State(1), bench.Dequeue(1)));
    }

    [Fact]
    public void Setup_replaces_a_transfer_that_the_driver_gave_up()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);

        bench.Go(1, Setup(Read(8), InData), Setup(Write(0), NoData), Setup(Read(6), InData), Data(b.Address, 6, true), Setup(Read(5), InData), Data(b.Address, 5, true), StatusStage(false));
        Assert.Equal([6], bench.Held);
        bench.Complete();
        Assert.Equal([5], bench.Held);
        bench.Complete();

        Assert.Equal(GuestCompletion.Success, Assert.Single(bench.Take(1)).Code);
    }

    [Fact]
    public void Transfers_of_endpoint_0_go_one_after_the_other()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);
        for (int i = 1; i <= 3; i++) bench.Put(1, Setup(Read(i), InData), Data(b.Address, i, true), StatusStage(false));

        bench.Doorbell(1);
        for (int i = 1; i <= 3; i++)
        {
            Assert.Equal([i], bench.Held);
            bench.Complete();
        }

        Assert.Equal(3, bench.Take(1).Length);
    }

    public static TheoryData<string> BadSequences() => [.. Sequences.Select(s => s.Name)];

    private static readonly (string Name, Func<ulong, GuestTrb[]> Trbs)[] Sequences =
    [
        ("data first", b => [Data(b, 8, true, Ioc)]),
        ("status first", b => [StatusStage(false)]),
        ("normal first", b => [Normal(b, 8, Ioc)]),
        ("isoch first", b => [Isoch(b, 8, null, 0, 0, Ioc)]),
        ("command first", b => [Command(GuestTrbType.NoOpCommand)]),
        ("event first", b => [Command(GuestTrbType.TransferEvent)]),
        ("reserved first", b => [new GuestTrb(b, 8, 0)]),
        ("status after setup with data", b => [Setup(Read(8), InData), StatusStage(false)]),
        ("normal after setup", b => [Setup(Read(8), InData), Normal(b, 8)]),
        ("data after setup without data", b => [Setup(Write(0), NoData), Data(b, 8, false)]),
        ("normal after no op in a TD of its own", b => [NoOp(0), Normal(b, 8)]),
        ("second status", b => [Setup(Write(0), NoData), StatusStage(true, 0), StatusStage(true, 0)]),
        ("second data", b => [Setup(Read(8), InData), Data(b, 8, true), Data(b, 8, true)]),
        ("data chained to data", b => [Setup(Read(8), InData), Data(b, 8, true, Chain), Data(b, 8, true)]),
        ("status chained to data", b => [Setup(Read(8), InData), Data(b, 8, true, Chain), StatusStage(false)]),
        ("setup chained to data", b => [Setup(Read(8), InData), Data(b, 8, true, Chain), Setup(Read(8), InData)]),
        ("normal chained to status", b => [Setup(Write(0), NoData), StatusStage(true, Chain), Normal(b, 8)]),
        ("setup without IDT", b => [Setup(Read(8), InData) with { Control = Setup(Read(8), InData).Control & ~ImmediateData }]),
        ("setup of 7 bytes", b => [Setup(Read(8), InData) with { Status = 7 }]),
        ("setup of 9 bytes", b => [Setup(Read(8), InData) with { Status = 9 }]),
        ("setup with reserved TRT", b => [Setup(Read(8), 1)]),
        ("data OUT after TRT IN", b => [Setup(Read(8), InData), Data(b, 8, false)]),
        ("data IN after TRT OUT", b => [Setup(Write(8), OutData), Data(b, 8, true)]),
        ("TRT IN for an OUT request", b => [Setup(Write(8), InData), Data(b, 8, true)]),
        ("TRT OUT for an IN request", b => [Setup(Read(8), OutData), Data(b, 8, false)]),
        ("data longer than 64 KiB", b => [Setup(Read(8), InData), Data(b, 65537, true)]),
        ("data longer in all than wLength can be", b => [Setup(Read(8), InData), Data(b, 40000, true, Chain), Normal(b, 40000)]),
        ("immediate IN", b => [Setup(Read(8), InData), Data(b, 8, true, ImmediateData)]),
        ("immediate of 9 bytes", b => [Setup(Write(9), OutData), Data(b, 9, false, ImmediateData)]),
        ("immediate behind data", b => [Setup(Write(9), OutData), Data(b, 1, false, Chain), Normal(b, 8, ImmediateData)]),
        ("data behind immediate", b => [Setup(Write(9), OutData), Data(b, 8, false, Chain | ImmediateData), Normal(b, 1)]),
    ];

    [Theory]
    [MemberData(nameof(BadSequences))]
    public void Malformed_stage_is_a_trb_error_at_its_trb(string name)
    {
        using var bench = new TransferBench();
        GuestTrb[] trbs = Sequences.Single(s => s.Name == name).Trbs(bench.Buffer(512).Address);

        ulong[] at = bench.Go(1, trbs);
        while (bench.Device.Held.Count > 0) bench.Complete();

        Seen seen = Assert.Single(bench.Take(1));
        Assert.Equal((GuestCompletion.TrbError, at[^1]), (seen.Code, seen.Pointer));
        Assert.Equal((GuestEndpointState.Error, at[^1]), (bench.State(1), bench.Dequeue(1)));
        Assert.Equal(0u, bench.Driver.ReadOperational(4) & 0x1004);
        Assert.Equal(GuestCompletion.Success, bench.SetDequeue(1, bench.Ring(1).EnqueuePointer));
        bench.Go(1, Setup(Write(0), NoData), StatusStage(true));
        Assert.Equal([0], bench.Held);
    }

    [Fact]
    public void Data_stage_that_never_ends_is_a_trb_error_after_the_limit()
    {
        using var bench = new TransferBench(ringTrbs: 4096, options: new XhciDriverOptions { RingSegments = 2 });
        bench.Put(1, Setup(Read(8), InData), Data(bench.Buffer(64).Address, 8, true, Chain));
        for (int i = 0; i < 4200; i++) bench.Put(1, NoOp(Chain));

        bench.Doorbell(1);

        Assert.Equal(GuestCompletion.TrbError, Assert.Single(bench.Take(1)).Code);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(40)]
    public void Stop_in_the_data_stage_sends_the_stage_again(int moved)
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(64);
        ulong[] at = bench.Go(1, Setup(Read(64), InData), Data(b.Address, 64, true, Ioc), StatusStage(false));
        bench.Device.Held[0].ActualLength = moved;

        Assert.Equal(GuestCompletion.Success, bench.Stop(1));
        bench.Expect(1, new Seen(GuestCompletion.Stopped, at[1], 64 - moved));
        Assert.Equal(at[1], bench.Dequeue(1));
        bench.Doorbell(1);
        Assert.Equal((64, 0), (bench.Device.Held[0].Length, bench.Device.Held[0].ActualLength));
        bench.Complete();

        bench.Expect(1, new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.Success, at[2], 0));
    }

    [Fact]
    public void Stop_between_setup_and_data_keeps_the_setup()
    {
        using var bench = new TransferBench();
        bench.Go(1, Setup(Read(8), InData));

        Assert.Equal(GuestCompletion.Success, bench.Stop(1));
        bench.Expect(1);
        bench.Go(1, Data(bench.Buffer(8).Address, 8, true), StatusStage(false));

        Assert.Equal(Read(8), bench.Device.Held[0].Setup.Raw);
    }

    [Fact]
    public void Stop_in_the_status_stage_of_a_transfer_without_data_sends_it_again()
    {
        using var bench = new TransferBench();
        ulong next = bench.Ring(1).EnqueuePointer + 32;
        ulong[] at = bench.Go(1, Setup(Write(0), NoData), Link(next, Ioc), StatusStage(true));
        Assert.Equal([0], bench.Held);

        Assert.Equal(GuestCompletion.Success, bench.Stop(1));
        bench.Expect(1, new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.Stopped, at[2], 0));
        bench.Doorbell(1);
        bench.Complete();

        bench.Expect(1, new Seen(GuestCompletion.Success, at[2], 0));
    }
}
