using System.Linq;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using Xunit;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Isochronous transfers (xHCI 1.2 §4.10.3, §4.11.2.3, §4.11.2.5).</summary>
public sealed class IsochTests
{
    private const uint Ioc = InterruptOnCompletion;
    private const ulong Microframe = 125_000;
    private const ulong Frame = 8 * Microframe;

    private static TransferBench Make(UsbSpeed speed = UsbSpeed.High, byte interval = 1, int packet = 512, int bytesPerInterval = 0) =>
        new(speed, TransferKind.Isochronous, packet, interval, bytesPerInterval);

    private static uint Mfindex(TransferBench bench) => bench.Driver.Read32(bench.Driver.RuntimeOffset);

    private static GuestTrb Td(GuestBuffer b, int length, int? frame = null, uint flags = Ioc) => Isoch(b.Address, length, frame, 0, 0, flags);

    // Every request is served when it comes; the microframes in which they came.
    private static System.Collections.Generic.List<ulong> Serve(TransferBench bench, RequestStatus status = RequestStatus.Success, int? actual = null)
    {
        var times = new System.Collections.Generic.List<ulong>();
        bench.Device.OnSubmit = (fake, request) =>
        {
            times.Add(bench.Machine.Now.Microframe);
            request.Packets[0] = request.Packets[0] with { ActualLength = actual ?? request.Length, Status = status };
            fake.Complete(request);
        };
        return times;
    }

    [Theory]
    [InlineData(UsbSpeed.Full, 1, 8u)]
    [InlineData(UsbSpeed.High, 1, 1u)]
    [InlineData(UsbSpeed.High, 4, 8u)]
    [InlineData(UsbSpeed.Super, 2, 2u)]
    public void Sia_tds_go_one_interval_after_the_other_at_every_speed(UsbSpeed speed, byte interval, uint microframes)
    {
        using TransferBench bench = Make(speed, interval);
        GuestBuffer b = bench.Buffer(4096);
        System.Collections.Generic.List<ulong> times = Serve(bench);

        ulong[] at = bench.Go(InDci, Td(b, 100), Td(b, 200), Td(b, 300));
        ulong start = bench.Machine.Now.Microframe;
        bench.Machine.AdvanceBy(2 * microframes * Microframe);
        Assert.Empty(bench.Take(InDci).Skip(2));
        bench.Machine.AdvanceBy(2 * microframes * Microframe);

        Assert.Equal(3, times.Count);
        Assert.InRange(times[0], start + 1, start + microframes);
        Assert.Equal([microframes, microframes], [(uint)(times[1] - times[0]), (uint)(times[2] - times[1])]);
        Assert.Equal(3, at.Length);
    }

    [Fact]
    public void In_td_brings_data_and_out_td_takes_it()
    {
        using TransferBench bench = Make();
        GuestBuffer b = bench.Buffer(1024);
        ulong[] at = bench.Go(InDci, Td(b, 400));
        bench.Machine.AdvanceBy(Microframe);
        UsbRequest request = Assert.Single(bench.Device.Held);
        Assert.Equal((400, 1, 400), (request.Length, request.PacketCount, request.Packets[0].Length));
        bench.Device.Fill(request, [5, 6]);
        bench.Complete();
        Assert.Equal(new byte[] { 5, 6 }, bench.Bytes(b.Address, 2));
        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));

        ulong[] outAt = bench.Go(OutDci, Td(b, 2));
        bench.Machine.AdvanceBy(Microframe);
        var sent = new byte[2];
        Assert.True(Assert.Single(bench.Device.Held).Data.TryCopyFromGuest(bench.Machine.Memory, 0, sent));
        bench.Complete();

        Assert.Equal(new byte[] { 5, 6 }, sent);
        bench.Driver.ProcessEvents();
        Assert.Contains(bench.Log, e => e.Dci == OutDci && e.Code == GuestCompletion.Success && e.Pointer == outAt[0]);
    }

    [Fact]
    public void Td_of_several_trbs_with_event_data_is_one_packet_group()
    {
        using TransferBench bench = Make(UsbSpeed.Super, packet: 1024, bytesPerInterval: 3072);
        GuestBuffer b = bench.Buffer(4096);

        bench.Go(InDci, Isoch(b.Address, 1000, null, 0, 2, Chain), Normal(b.Address + 1000, 2000, Chain), EventData(0x15));
        bench.Machine.AdvanceBy(Microframe);
        Assert.Equal([3000], bench.Held);
        bench.Complete();

        bench.Expect(InDci, new Seen(GuestCompletion.Success, 0x15, 3000, true));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    public void Short_packet_is_told_with_its_residual(int actual)
    {
        using TransferBench bench = Make();
        ulong[] at = bench.Go(InDci, Td(bench.Buffer(512), 300, flags: InterruptOnShort));
        bench.Machine.AdvanceBy(Microframe);

        bench.Complete(RequestStatus.Success, actual);

        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, at[0], 300 - actual));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(200)]
    [InlineData(895)]
    public void Frame_id_starts_the_td_in_that_frame(int ahead)
    {
        using TransferBench bench = Make(interval: 4);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        bench.Machine.AdvanceBy(3 * Microframe);
        ulong now = bench.Machine.Now.Microframe;
        uint index = Mfindex(bench);

        bench.Go(InDci, Td(bench.Buffer(512), 8, (int)(index >> 3) + ahead));
        bench.Machine.AdvanceBy((ulong)(ahead + 1) * Frame);

        Assert.Equal([now - (index & 7) + ((ulong)ahead * 8)], times);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(-100)]
    [InlineData(896)]
    [InlineData(1500)]
    public void Frame_id_that_has_passed_or_lies_too_far_ahead_is_a_missed_service(int ahead)
    {
        using TransferBench bench = Make(interval: 4);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        bench.Machine.AdvanceBy(3_000_000_000);
        int frame = (int)(Mfindex(bench) >> 3);

        ulong[] at = bench.Go(InDci, Td(bench.Buffer(512), 8, frame + ahead, flags: 0), Td(bench.Buffer(512), 8, frame + 2));

        bench.Expect(InDci, new Seen(GuestCompletion.MissedService, at[0], 8));
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
        bench.Machine.AdvanceBy(2 * Frame);
        Assert.Contains(new Seen(GuestCompletion.Success, at[1], 0), bench.Take(InDci));
        Assert.Single(times);
    }

    // A guest on a busy host is late now and then. The device's own bus decides when it is served; nothing that the device
    // could still take may be lost on the way to it (issue 4, hvm-media: Linux's snd-usb-audio names frames).
    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(-100)]
    [InlineData(896)]
    public void Frame_id_that_has_passed_goes_at_once_to_a_device_that_paces_itself(int ahead)
    {
        using var bench = new TransferBench(UsbSpeed.High, TransferKind.Isochronous, 512, 4, pacesItself: true);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        bench.Machine.AdvanceBy(3_000_000_000);
        int frame = (int)(Mfindex(bench) >> 3);
        GuestBuffer b = bench.Buffer(512);

        ulong[] at = bench.Go(OutDci, Td(b, 8, frame + ahead), Td(b, 16, frame + ahead + 1), Td(b, 24, frame + 4));
        bench.Machine.AdvanceBy(Microframe);

        bench.Expect(OutDci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.Success, at[2], 0));
        Assert.Equal(3, times.Count);
    }

    [Fact]
    public void Frame_id_behind_the_wrap_of_mfindex_is_ahead()
    {
        using TransferBench bench = Make(interval: 4);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        uint index = Mfindex(bench);
        bench.Machine.AdvanceBy((0x3fff - index - 20) * Microframe);
        ulong now = bench.Machine.Now.Microframe;
        index = Mfindex(bench);
        Assert.InRange(index, 0x3fe0u, 0x3fffu);

        bench.Go(InDci, Td(bench.Buffer(512), 8, ((int)(index >> 3) + 10) & 0x7ff));
        bench.Machine.AdvanceBy(11 * Frame);

        Assert.Equal([now - (index & 7) + 80], times);
        Assert.InRange(Mfindex(bench), 0u, 0x100u);
    }

    [Fact]
    public void Several_tds_of_one_frame_follow_each_other_and_the_ninth_is_missed()
    {
        using TransferBench bench = Make(interval: 1);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        GuestBuffer b = bench.Buffer(512);
        int frame = (int)(Mfindex(bench) >> 3) + 2;

        ulong[] at = bench.Go(InDci, [.. Enumerable.Range(0, 9).Select(_ => Td(b, 8, frame))]);
        bench.Machine.AdvanceBy(3 * Frame);

        Assert.Equal(8, times.Count);
        Assert.Equal(7ul, times[7] - times[0]);
        Seen[] seen = bench.Take(InDci);
        Assert.Contains(new Seen(GuestCompletion.MissedService, at[8], 8), seen);
        Assert.Equal(8, seen.Count(s => s.Code == GuestCompletion.Success));
    }

    [Fact]
    public void Frame_under_way_takes_a_td_in_what_is_left_of_it()
    {
        using TransferBench bench = Make(interval: 1);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        bench.Machine.AdvanceBy(2 * Microframe);
        uint index = Mfindex(bench);
        bench.Machine.AdvanceBy(((8 - (index & 7)) + 3) * Microframe);
        ulong now = bench.Machine.Now.Microframe;

        bench.Go(InDci, Td(bench.Buffer(512), 8, (int)(Mfindex(bench) >> 3)));
        bench.Machine.AdvanceBy(Microframe);

        Assert.Equal([now + 1], times);
    }

    [Fact]
    public void Interval_of_several_frames_rounds_the_frame_up()
    {
        using TransferBench bench = Make(interval: 6);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        int frame = (int)(Mfindex(bench) >> 3);

        bench.Go(InDci, Td(bench.Buffer(512), 8, ((frame / 4) * 4) + 9));
        bench.Machine.AdvanceBy(20 * Frame);

        Assert.Single(times);
        Assert.Equal(GuestCompletion.Success, bench.Take(InDci)[0].Code);
    }

    [Theory]
    [InlineData(InDci, GuestCompletion.RingOverrun)]
    [InlineData(OutDci, GuestCompletion.RingUnderrun)]
    public void Empty_ring_is_told_once_and_the_next_doorbell_starts_anew(int dci, GuestCompletion code)
    {
        using TransferBench bench = Make();
        Serve(bench);
        GuestBuffer b = bench.Buffer(512);

        ulong[] at = bench.Go(dci, Td(b, 8), Td(b, 8));
        bench.Machine.AdvanceBy(100 * Frame);

        bench.Expect(dci, new Seen(GuestCompletion.Success, at[0], 0), new Seen(GuestCompletion.Success, at[1], 0), new Seen(code, 0, 0));
        Assert.Equal(GuestEndpointState.Running, bench.State(dci));
        ulong[] again = bench.Go(dci, Td(b, 8));
        bench.Machine.AdvanceBy(100 * Frame);
        bench.Expect(dci, new Seen(GuestCompletion.Success, again[0], 0), new Seen(code, 0, 0));
    }

    [Fact]
    public void Ring_that_is_filled_in_time_does_not_run_dry()
    {
        using TransferBench bench = Make(interval: 4);
        Serve(bench);
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Td(b, 8));
        for (int i = 0; i < 20; i++)
        {
            bench.Go(InDci, Td(b, 8));
            bench.Machine.AdvanceBy(Frame);
        }

        Assert.DoesNotContain(bench.Take(InDci), s => s.Code != GuestCompletion.Success);
    }

    [Fact]
    public void Td_larger_than_the_esit_payload_is_a_bandwidth_overrun_and_the_endpoint_goes_on()
    {
        using TransferBench bench = Make();
        Serve(bench);
        GuestBuffer b = bench.Buffer(4096);

        ulong[] at = bench.Go(OutDci, Td(b, 513, flags: 0), Td(b, 512), Td(b, 600));
        bench.Machine.AdvanceBy(3 * Microframe);

        Seen[] seen = bench.Take(OutDci);
        Assert.Equal(
            [new Seen(GuestCompletion.BandwidthOverrun, at[0], 513), new Seen(GuestCompletion.Success, at[1], 0), new Seen(GuestCompletion.BandwidthOverrun, at[2], 600)],
            seen.Take(3));
        Assert.Equal(GuestEndpointState.Running, bench.State(OutDci));
    }

    [Theory]
    [InlineData(RequestStatus.Babble, GuestCompletion.IsochBufferOverrun)]
    [InlineData(RequestStatus.TransactionError, GuestCompletion.TransactionError)]
    [InlineData(RequestStatus.MemoryFault, GuestCompletion.DataBufferError)]
    public void Failing_packet_is_told_and_does_not_halt(RequestStatus status, GuestCompletion code)
    {
        using TransferBench bench = Make();
        GuestBuffer b = bench.Buffer(512);
        ulong[] at = bench.Go(InDci, Td(b, 100, flags: 0), Td(b, 100));
        bench.Machine.AdvanceBy(2 * Microframe);

        bench.Complete(status, 40);
        bench.Complete();

        bench.Expect(InDci, new Seen(code, at[0], 60), new Seen(GuestCompletion.Success, at[1], 0));
        Assert.Equal(GuestEndpointState.Running, bench.State(InDci));
    }

    public static TheoryData<string> Bad() => ["normal first", "second isoch", "control", "too long", "over 1 MiB"];

    [Theory]
    [MemberData(nameof(Bad))]
    public void Malformed_td_is_a_trb_error(string name)
    {
        using TransferBench bench = Make(UsbSpeed.Super, packet: 1024);
        GuestBuffer b = bench.Buffer(65536);
        GuestTrb[] trbs = name switch
        {
            "normal first" => [Normal(b.Address, 8, Ioc)],
            "second isoch" => [Td(b, 8, flags: Chain), Td(b, 8)],
            "control" => [StatusStage(true)],
            "too long" => [Td(b, 65537)],
            _ => [Td(b, 65536, flags: Chain), .. Enumerable.Repeat(Normal(b.Address, 65536, Chain), 15), Normal(b.Address, 1, Ioc)],
        };

        ulong[] at = bench.Go(InDci, trbs);

        Seen seen = Assert.Single(bench.Take(InDci));
        Assert.Equal((GuestCompletion.TrbError, at[^1]), (seen.Code, seen.Pointer));
        Assert.Equal(GuestEndpointState.Error, bench.State(InDci));
    }

    [Fact]
    public void Controller_stopped_in_between_schedules_anew_without_an_underrun()
    {
        using TransferBench bench = Make();
        Serve(bench);
        GuestBuffer b = bench.Buffer(512);
        bench.Go(InDci, Td(b, 8));
        bench.Machine.AdvanceBy(Microframe);
        Assert.Equal(GuestCompletion.Success, Assert.Single(bench.Take(InDci)).Code);
        bench.Driver.WriteOperational(0, 4);
        bench.Machine.AdvanceBy(1_000_000_000);
        bench.Driver.WriteOperational(0, 5);
        bench.Machine.AdvanceBy(10 * Frame);
        bench.Expect(InDci);

        ulong[] at = bench.Go(InDci, Td(b, 8));
        bench.Machine.AdvanceBy(Microframe);

        bench.Expect(InDci, new Seen(GuestCompletion.Success, at[0], 0));
    }

    [Fact]
    public void No_op_and_event_data_take_no_interval()
    {
        using TransferBench bench = Make();
        System.Collections.Generic.List<ulong> times = Serve(bench);
        GuestBuffer b = bench.Buffer(512);

        bench.Go(InDci, NoOp(), Td(b, 8), NoOp(), Td(b, 8));
        bench.Machine.AdvanceBy(2 * Microframe);

        Assert.Equal(1ul, times[1] - times[0]);
        Assert.True(bench.Take(InDci).Length >= 4);
    }

    [Fact]
    public void Td_behind_a_link_with_ioc_has_its_own_frame_id()
    {
        using TransferBench bench = Make(interval: 4);
        System.Collections.Generic.List<ulong> times = Serve(bench);
        int frame = (int)(Mfindex(bench) >> 3) + 5;
        ulong target = bench.Ring(InDci).EnqueuePointer + 16;

        bench.Go(InDci, Link(target, Ioc), Td(bench.Buffer(512), 8, frame));
        bench.Machine.AdvanceBy(4 * Frame);
        Assert.Empty(times);
        bench.Machine.AdvanceBy(2 * Frame);

        Assert.Single(times);
    }

    [Fact]
    public void Full_event_ring_keeps_the_overrun_event_for_later()
    {
        using TransferBench bench = Make();
        Serve(bench);
        bench.Driver.AutoAcknowledge = false;
        GuestBuffer b = bench.Buffer(512);
        bench.Go(OutDci, Td(b, 8, flags: 0));
        for (int i = 0; i < 252; i++) bench.Put(1, NoOp());
        bench.Doorbell(1);

        for (int i = 0; i < 20; i++) bench.Machine.AdvanceBy(Frame);
        for (int i = 0; i < 10; i++)
        {
            bench.Driver.ProcessEvents();
            bench.Driver.Acknowledge(0);
            bench.Machine.AdvanceBy(Frame);
        }

        Assert.Single(bench.Log, e => e.Type == GuestTrbType.TransferEvent && e.Code == GuestCompletion.RingUnderrun);
        Assert.Equal(252, bench.Log.Count(e => e.Type == GuestTrbType.TransferEvent && e.Dci == 1));
    }
}
