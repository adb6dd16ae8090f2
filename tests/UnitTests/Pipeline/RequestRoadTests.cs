using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class RequestRoadTests
{
    [Fact]
    public void Submit_bulk_reaches_the_device_at_once_and_completes_from_Advance()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());
        Assert.Same(request, Assert.Single(rig.Device.Held));
        Assert.Equal(RequestState.InFlight, request.State);

        rig.Device.CompleteNext(actual: 13);

        Assert.Equal(RequestState.Done, request.State);
        Assert.Empty(rig.Frontend.Events);
        Assert.True(rig.Pipeline.NextDeadline <= rig.Now);
        rig.Run();
        Assert.Equal("completed ep1in Success 13", rig.Frontend.TakeEvents());
        Assert.Equal(RequestState.Idle, request.State);
        Assert.Equal(VirtualTime.Never, rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Submit_completed_inside_the_device_is_not_delivered_inside_Submit()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CompletesAtOnce = true;

        rig.Submit(Bulk());

        Assert.Empty(rig.Frontend.Events);
        rig.Run();
        Assert.Equal("completed ep1in Success 512", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Submit_many_all_are_in_flight_together_and_complete_in_the_devices_order()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest[] requests = Enumerable.Range(1, 100).Select(i => rig.Submit(Bulk(i))).ToArray();
        Assert.Equal(requests, rig.Device.Held);

        while (rig.Device.Held.Count > 0) rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal(requests, rig.Frontend.CompletedRequests);
    }

    [Fact]
    public void Advance_delivers_what_is_present_and_leaves_answers_to_the_next_call()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CompletesAtOnce = true;
        rig.Frontend.OnCompleted = r => rig.Pipeline.Submit(r);
        rig.Submit(Bulk());
        rig.Submit(Bulk());

        rig.Pipeline.Advance(rig.Now);
        int first = rig.Frontend.CompletedCount;
        rig.Pipeline.Advance(rig.Now);

        Assert.Equal(rig.Frontend.CompletedCount, first + 2);
        Assert.True(rig.Pipeline.NextDeadline <= rig.Now);
    }

    [Fact]
    public void Submit_of_a_request_that_is_not_idle_is_ignored()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());

        rig.Submit(request);
        rig.Device.CompleteNext();
        rig.Submit(request);
        rig.Run();

        Assert.Equal(1, rig.Frontend.CountOf(request));
        Assert.Equal("2", rig.Inspect("/stray-requests"));
    }

    public static TheoryData<string, UsbRequest> Misfits()
    {
        UsbRequest packetOutside = Iso(0);
        packetOutside.Packets[0].Offset = 1;
        UsbRequest negative = Iso(0);
        negative.Packets[0].Length = -1;
        UsbRequest tooManyPackets = Iso(0);
        tooManyPackets.PacketCount = 2;
        UsbRequest progress = Bulk();
        progress.ActualLength = 513;
        UsbRequest stream = Bulk();
        stream.StreamId = 1;
        return new TheoryData<string, UsbRequest>
        {
            { "address", Request(BulkIn, TransferKind.Bulk, 8, address: 4) },
            { "address far future", Request(IsoIn, TransferKind.Isochronous, 8, address: 4) },
            { "endpoint", Request(new EndpointAddress(9, true), TransferKind.Bulk, 8) },
            { "direction", Request(new EndpointAddress(1, false), TransferKind.Bulk, 8) },
            { "alternate", Request(new EndpointAddress(5, true), TransferKind.Bulk, 8) },
            { "kind", Request(BulkIn, TransferKind.Interrupt, 8) },
            { "kind of ep0", Request(EndpointAddress.Control, TransferKind.Bulk, 8) },
            { "control on bulk", Request(BulkIn, TransferKind.Control, 8) },
            { "length", Bulk(UsbRequest.MaxLength + 1) },
            { "progress", progress },
            { "stream", stream },
            { "packet", packetOutside },
            { "negative packet", negative },
            { "packet count", tooManyPackets },
            { "no packets", Request(IsoIn, TransferKind.Isochronous, 8) },
        };
    }

    [Theory]
    [MemberData(nameof(Misfits), DisableDiscoveryEnumeration = true)]
    public void Submit_that_no_endpoint_answers_ends_with_TransactionError(string what, UsbRequest request)
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(request);
        rig.Run();

        Assert.Equal(RequestStatus.TransactionError, request.Status);
        Assert.True(rig.Frontend.CountOf(request) == 1, what);
        Assert.Empty(rig.Device.Calls);
        Assert.Equal("1", rig.Inspect("/port/1/transaction-errors"));
    }

    [Fact]
    public void Submit_waiting_request_with_a_wrong_address_fails_before_its_time()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = Iso(1_000_000);
        request.Address = new DeviceAddress(6);

        rig.Submit(request);
        rig.Run();

        Assert.Equal("completed ep4in TransactionError 0", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Submit_of_the_largest_length_is_one_request()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Bulk(UsbRequest.MaxLength));
        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal("completed ep1in Success 1048576", rig.Frontend.TakeEvents());
        Assert.Equal("1048576", rig.Inspect("/port/1/ep1in/bytes-in"));
    }

    [Theory]
    [InlineData(PipelineLimits.IsoPackets, RequestState.InFlight)]
    [InlineData(PipelineLimits.IsoPackets + 1, RequestState.Done)]
    public void Submit_isochronous_with_the_most_packets_passes_and_one_more_does_not(int packets, RequestState state)
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = Iso(0);
        request.Packets = new IsoPacket[packets];
        request.PacketCount = packets;

        rig.Submit(request);

        Assert.Equal(state, request.State);
    }

    [Fact]
    public void Streams_of_one_endpoint_do_not_wait_for_each_other()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Pipeline.SetStreams(Port1, BulkIn, 2);
        UsbRequest[] requests = new UsbRequest[4];
        for (int i = 0; i < 4; i++)
        {
            requests[i] = Bulk();
            requests[i].StreamId = (ushort)((i % 2) + 1);
            rig.Submit(requests[i]);
        }

        foreach (int i in new[] { 1, 3, 0, 2 }) rig.Device.Complete(requests[i]);
        rig.Run();

        Assert.Equal([requests[1], requests[3], requests[0], requests[2]], rig.Frontend.CompletedRequests);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(-1)]
    public void Submit_to_an_empty_or_missing_port_ends_with_NoDevice(int port)
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = Bulk();
        request.Port = new PortNumber(port);

        rig.Submit(request);
        rig.Run();

        Assert.Equal("completed ep1in NoDevice 0", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Submit_beyond_the_outstanding_limit_is_refused_and_counted()
    {
        PipelineRig rig = new PipelineRig().Configured();
        for (int i = 0; i < PipelineLimits.OutstandingPerPort; i++) rig.Submit(Bulk());
        UsbRequest over = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal(RequestStatus.TransactionError, over.Status);
        Assert.Equal(PipelineLimits.OutstandingPerPort, rig.Device.Held.Count);
        Assert.Equal("1", rig.Inspect("/port/1/queue-full"));
        Assert.Equal("1", rig.Inspect("/port/1/ep1in/queue-full"));
        rig.Device.CompleteNext();
        rig.Submit(Bulk());
        Assert.Equal(PipelineLimits.OutstandingPerPort, rig.Device.Held.Count);
    }

    [Fact]
    public void Unlink_waiting_request_ends_as_Cancelled_without_the_device()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Iso(800));
        Assert.Equal(RequestState.Waiting, request.State);

        rig.Unlink(request);
        rig.Unlink(request);
        rig.Run();

        Assert.Equal("completed ep4in Cancelled 0", rig.Frontend.TakeEvents());
        Assert.Empty(rig.Device.Calls);
        Assert.Equal(VirtualTime.Never, rig.Pipeline.NextDeadline);
    }

    [Fact]
    public void Unlink_in_flight_asks_the_device_once_and_keeps_what_was_moved()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CancelsAtOnce = false;
        UsbRequest request = rig.Submit(Bulk());
        rig.Device.Fill(request, new byte[100]);

        rig.Unlink(request);
        rig.Unlink(request);
        Assert.Equal(["submit ep1in", "cancel ep1in"], rig.Device.Calls);
        rig.Device.Complete(request, RequestStatus.Cancelled, request.ActualLength);
        rig.Run();

        Assert.Equal("completed ep1in Cancelled 100", rig.Frontend.TakeEvents());
        Assert.Equal("1", rig.Inspect("/port/1/ep1in/unlinked"));
        Assert.Equal("100", rig.Inspect("/port/1/ep1in/bytes-in"));
    }

    [Fact]
    public void Unlink_that_comes_late_keeps_the_result()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.CancelsAtOnce = false;
        UsbRequest first = rig.Submit(Bulk());
        UsbRequest second = rig.Submit(Bulk());
        rig.Unlink(first);
        rig.Device.Complete(first, RequestStatus.Stall, 7);
        rig.Device.Complete(second);
        rig.Unlink(second);
        rig.Run();
        rig.Unlink(first);
        rig.Run();

        Assert.Equal("completed ep1in Stall 7; completed ep1in Success 512", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Unlink_of_a_request_of_another_pipeline_or_never_submitted_does_nothing()
    {
        PipelineRig rig = new PipelineRig().Configured();
        PipelineRig other = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());

        other.Unlink(request);
        rig.Unlink(Bulk());

        Assert.Equal(RequestState.InFlight, request.State);
        Assert.Equal(["submit ep1in"], rig.Device.Calls);
    }

    [Fact]
    public void Unlink_in_the_middle_keeps_the_order_of_the_rest()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest[] requests = Enumerable.Range(0, 5).Select(_ => rig.Submit(Bulk())).ToArray();

        rig.Unlink(requests[2]);
        rig.Unlink(requests[0]);
        rig.Unlink(requests[4]);
        while (rig.Device.Held.Count > 0) rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal([requests[2], requests[0], requests[4], requests[1], requests[3]], rig.Frontend.CompletedRequests);
    }

    [Fact]
    public void Device_completes_twice_the_second_is_ignored_and_counted()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk());
        rig.Device.Complete(request);
        rig.Device.Complete(request, RequestStatus.Stall);
        rig.Run();
        rig.Device.Complete(request, RequestStatus.Stall);
        rig.Device.Host!.Complete(null!, RequestStatus.Success);
        rig.Run();

        Assert.Equal("completed ep1in Success 512", rig.Frontend.TakeEvents());
        Assert.Equal("3", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void Device_completes_a_request_of_another_port_is_ignored_and_counted()
    {
        PipelineRig rig = new PipelineRig().Configured();
        var thief = new FakeDevice();
        rig.Pipeline.Attach(new PortNumber(2), thief);
        UsbRequest request = rig.Submit(Bulk());

        thief.Complete(request);

        Assert.Equal(RequestState.InFlight, request.State);
        Assert.Equal("1", rig.Inspect("/port/2/device-faults"));
    }

    [Fact]
    public void Device_completes_a_waiting_request_is_ignored_and_counted()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Iso(800));

        rig.Device.Complete(request);

        Assert.Equal(RequestState.Waiting, request.State);
        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
    }

    [Theory]
    [InlineData(513, 512)]
    [InlineData(int.MaxValue, 512)]
    [InlineData(-1, 0)]
    public void Device_claims_an_impossible_length_it_is_clamped_and_becomes_Babble(int claimed, int actual)
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());

        rig.Device.CompleteNext(actual: claimed);
        rig.Run();

        Assert.Equal($"completed ep1in Babble {actual}", rig.Frontend.TakeEvents());
        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
        Assert.Equal("1", rig.Inspect("/port/1/babbles"));
    }

    [Theory]
    [InlineData(1025, 1024)]
    [InlineData(-5, 0)]
    public void Device_claims_an_impossible_packet_length_it_is_clamped_and_becomes_Babble(int claimed, int actual)
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Iso(0));
        request.Packets[0].ActualLength = claimed;

        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal(RequestStatus.Babble, request.Status);
        Assert.Equal(actual, request.Packets[0].ActualLength);
    }

    [Theory]
    [InlineData(RequestStatus.Cancelled)]
    [InlineData((RequestStatus)99)]
    [InlineData((RequestStatus)(-1))]
    public void Device_ends_with_a_status_that_does_not_fit_becomes_TransactionError(RequestStatus status)
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Bulk());

        rig.Device.CompleteNext(status, 5);
        rig.Run();

        Assert.Equal("completed ep1in TransactionError 5", rig.Frontend.TakeEvents());
        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void Counters_show_every_kind_of_end()
    {
        PipelineRig rig = new PipelineRig().Configured();
        foreach (RequestStatus status in new[] { RequestStatus.Stall, RequestStatus.TransactionError, RequestStatus.Babble, RequestStatus.NoDevice, RequestStatus.MemoryFault })
        {
            UsbRequest request = Request(BulkOut, TransferKind.Bulk, 10);
            rig.Submit(request);
            rig.Device.CompleteNext(status, 3);
        }

        rig.Submit(Request(BulkOut, TransferKind.Bulk, 10));

        var expected = new Dictionary<string, string>
        {
            ["submitted"] = "6",
            ["completed"] = "5",
            ["outstanding"] = "1",
            ["in-flight"] = "1",
            ["waiting"] = "0",
            ["high-water"] = "1",
            ["stalls"] = "1",
            ["transaction-errors"] = "1",
            ["babbles"] = "1",
            ["no-device"] = "1",
            ["memory-faults"] = "1",
            ["unlinked"] = "0",
            ["bytes-out"] = "15",
            ["bytes-in"] = "0",
        };
        foreach ((string name, string value) in expected) Assert.Equal(value, rig.Inspect("/port/1/ep2out/" + name));
        Assert.Equal("8", rig.Inspect("/port/1/submitted")); // SET_ADDRESS and SET_CONFIGURATION too.
    }

    [Fact]
    public void Device_writes_through_the_requests_segments_into_guest_memory()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = rig.Submit(Bulk(4));

        Assert.True(rig.Device.Fill(request, [1, 2, 3, 4]));

        Assert.Equal([1, 2, 3, 4], rig.Memory.Guest(new GuestAddress(0x1000), 4).ToArray());
    }

    [Fact]
    public void Device_sees_the_time_that_was_noted()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Pipeline.NoteTime(new VirtualTime(500));
        rig.Pipeline.NoteTime(new VirtualTime(400));

        Assert.Equal(new VirtualTime(500), rig.Device.Host!.Now);
    }

    [Fact]
    public void Device_deadline_is_the_pipelines_and_Advance_reaches_it()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.NextDeadline = new VirtualTime(9000);
        rig.Device.OnAdvance = (device, _) => device.CompleteNext();
        rig.Submit(Bulk());

        Assert.Equal(new VirtualTime(9000), rig.Pipeline.NextDeadline);
        rig.Pipeline.Advance(new VirtualTime(8999));
        Assert.Empty(rig.Frontend.Events);
        rig.Pipeline.Advance(new VirtualTime(9000));

        Assert.Equal("completed ep1in Success 512", rig.Frontend.TakeEvents());
    }
}
