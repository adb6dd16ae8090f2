using System;
using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Devices;

public sealed class EmulatedDeviceQueueTests
{
    private readonly ProbeDevice _device = new();
    private readonly DeviceBench _bench;

    public EmulatedDeviceQueueTests()
    {
        _bench = new DeviceBench(_device);
        Assert.Equal(RequestStatus.Success, _bench.Configure(1));
    }

    private static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)(i & 0xff))];

    [Fact]
    public void Request_without_data_from_the_device_waits()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        Assert.Null(_bench.StatusOf(request));
        Assert.Equal(1, _device.At(0x81).Pending);
    }

    [Fact]
    public void Requests_of_one_endpoint_end_in_order_of_submission()
    {
        UsbRequest first = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        UsbRequest second = _bench.Submit(0x81, TransferKind.Bulk, 1024, 512);
        _device.Replies.Enqueue((Bytes(10), true));
        _device.Replies.Enqueue((Bytes(20), true));

        _device.WakeNow(0x81);

        Assert.Equal([first, second], _bench.Completed);
        Assert.Equal((10, 20), (first.ActualLength, second.ActualLength));
    }

    [Fact]
    public void Short_packet_ends_the_request()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 2048);
        _device.Replies.Enqueue((Bytes(512), false));
        _device.Replies.Enqueue((Bytes(100), true));

        _device.WakeNow(0x81);

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
        Assert.Equal(612, request.ActualLength);
        Assert.Equal(Bytes(512).Concat(Bytes(100)), _bench.Memory.Bytes[..612].ToArray());
    }

    [Fact]
    public void Empty_packet_ends_the_request_without_data()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 2048);
        _device.Replies.Enqueue(([], true));

        _device.WakeNow(0x81);

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
        Assert.Equal(0, request.ActualLength);
    }

    [Fact]
    public void Full_packets_with_room_left_leave_the_request_pending()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 2048);
        _device.Replies.Enqueue((Bytes(1024), true));

        _device.WakeNow(0x81);

        Assert.Null(_bench.StatusOf(request));
        Assert.Equal(1024, request.ActualLength);
    }

    [Fact]
    public void Stream_longer_than_the_room_stops_at_a_packet_border()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 1024);
        _device.Replies.Enqueue((Bytes(1500), true));

        _device.WakeNow(0x81);

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
        Assert.Equal((1024, 1024), (request.ActualLength, _device.Taken[0]));
    }

    [Fact]
    public void Packet_larger_than_the_room_is_babble_and_lost()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 600);
        _device.Replies.Enqueue((Bytes(1024), true));

        _device.WakeNow(0x81);

        Assert.Equal(RequestStatus.Babble, _bench.StatusOf(request));
        Assert.Equal((512, 1024), (request.ActualLength, _device.Taken[0]));
    }

    [Fact]
    public void Reply_into_missing_memory_is_a_memory_fault()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, _bench.Memory.Bytes.Length - 100, 512);
        _device.Replies.Enqueue((Bytes(512), true));

        _device.WakeNow(0x81);

        Assert.Equal(RequestStatus.MemoryFault, _bench.StatusOf(request));
        Assert.Equal(0, request.ActualLength);
    }

    [Fact]
    public void Request_submitted_again_after_restore_goes_on_where_it_was()
    {
        UsbRequest request = DeviceBench.Make(0x81, TransferKind.Bulk, 0, 1024);
        request.ActualLength = 512;
        _device.Replies.Enqueue((Bytes(512), true));

        _device.Submit(request);

        Assert.Equal(1024, request.ActualLength);
        Assert.Equal(Bytes(512), _bench.Memory.Bytes[512..1024].ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Cancel_gives_back_that_request_and_keeps_the_order_of_the_rest(int index)
    {
        UsbRequest[] requests = [.. Enumerable.Range(0, 3).Select(i => _bench.Submit(0x81, TransferKind.Bulk, i * 512, 512))];

        _device.Cancel(requests[index]);

        Assert.Equal([requests[index]], _bench.Completed);
        Assert.Equal(RequestStatus.Cancelled, _bench.StatusOf(requests[index]));
        _bench.Forget();
        _device.Replies.Enqueue((Bytes(1), true));
        _device.Replies.Enqueue((Bytes(1), true));
        _device.WakeNow(0x81);
        Assert.Equal(requests.Where((_, i) => i != index), _bench.Completed);
    }

    [Fact]
    public void Cancel_of_the_last_request_keeps_the_queue_usable()
    {
        UsbRequest first = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        UsbRequest last = _bench.Submit(0x81, TransferKind.Bulk, 512, 512);
        _device.Cancel(last);
        UsbRequest next = _bench.Submit(0x81, TransferKind.Bulk, 1024, 512);
        _device.Cancel(first);
        _device.Cancel(next);

        Assert.Equal([last, first, next], _bench.Completed);
        Assert.Equal(0, _device.At(0x81).Pending);
    }

    [Fact]
    public void Cancel_reports_what_was_moved_before()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 2048);
        _device.Replies.Enqueue((Bytes(512), false));
        _device.WakeNow(0x81);

        _device.Cancel(request);

        Assert.Equal(512, request.ActualLength);
    }

    [Fact]
    public void Cancel_of_a_completed_request_does_nothing()
    {
        _device.Replies.Enqueue((Bytes(1), true));
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        _device.Cancel(request);
        _device.Cancel(DeviceBench.Make(0x85, TransferKind.Bulk, 0, 1));

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
    }

    [Fact]
    public void Cancel_of_a_head_that_the_device_keeps_is_answered_by_the_device()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        _device.KeepsHeadOnCancel = true;

        _device.Cancel(request);
        Assert.Null(_bench.StatusOf(request));
        _device.Finish(0x81, request, RequestStatus.Cancelled);

        Assert.Equal(RequestStatus.Cancelled, _bench.StatusOf(request));
    }

    [Fact]
    public void Device_may_complete_a_request_that_is_not_the_head_but_only_once()
    {
        UsbRequest first = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        UsbRequest second = _bench.Submit(0x81, TransferKind.Bulk, 512, 512);

        _device.Finish(0x81, second, RequestStatus.Success);
        _device.Finish(0x81, second, RequestStatus.Success);

        Assert.Equal([second], _bench.Completed);
        Assert.Equal(first, _device.At(0x81).Head);
    }

    [Fact]
    public void Reset_cancels_everything_deconfigures_and_reports()
    {
        UsbRequest one = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        UsbRequest two = _bench.Submit(0x01, TransferKind.Bulk, 0, 512);
        _device.HaltOnPump = false;

        _device.Reset();

        Assert.Equal((RequestStatus.Cancelled, RequestStatus.Cancelled), (_bench.StatusOf(one), _bench.StatusOf(two)));
        Assert.Equal(1, _bench.Resets);
        Assert.Equal("reset", _device.Events[^1]);
        Assert.True(_device.ActiveConfigurationDescriptor.IsEmpty);
    }

    [Fact]
    public void Detach_forgets_requests_without_completing_them()
    {
        _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        _device.Detached();

        Assert.Empty(_bench.Completed);
        Assert.Equal("detached", _device.Events[^1]);
        Assert.False(_device.WakeBus());
    }

    [Theory]
    [InlineData(0x84, TransferKind.Bulk)]
    [InlineData(0x81, TransferKind.Isochronous)]
    [InlineData(0x82, TransferKind.Bulk)]
    [InlineData(0x81, TransferKind.Control)]
    [InlineData(0x00, TransferKind.Bulk)]
    public void Request_that_no_endpoint_can_answer_is_a_transaction_error(byte endpoint, TransferKind kind)
    {
        UsbRequest request = _bench.Submit(endpoint, kind, 0, 64);

        Assert.Equal(RequestStatus.TransactionError, _bench.StatusOf(request));
    }

    [Fact]
    public void Request_before_configuration_is_a_transaction_error()
    {
        Assert.Equal(RequestStatus.Success, _bench.Configure(0));

        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 64);

        Assert.Equal(RequestStatus.TransactionError, _bench.StatusOf(request));
    }

    [Fact]
    public void Endpoint_that_goes_away_answers_its_requests_with_a_transaction_error()
    {
        UsbRequest request = _bench.Submit(0x83, TransferKind.Interrupt, 0, 64);

        Assert.Equal(RequestStatus.Success, _bench.SelectAlternate(1, 1));

        Assert.Equal(RequestStatus.TransactionError, _bench.StatusOf(request));
    }

    [Fact]
    public void Endpoint_of_another_interface_keeps_its_requests_across_set_interface()
    {
        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 64);
        _device.HaltNow(0x01);

        _bench.SelectAlternate(1, 1);

        Assert.Null(_bench.StatusOf(request));
        Assert.True(_device.At(0x01).Halted);
    }

    [Fact]
    public void Halt_ends_what_waits_and_what_comes_until_it_is_cleared()
    {
        UsbRequest waiting = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);
        UsbRequest behind = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        _device.HaltNow(0x81);
        UsbRequest later = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        Assert.All(new[] { waiting, behind, later }, r => Assert.Equal(RequestStatus.Stall, _bench.StatusOf(r)));
        Assert.Equal(RequestStatus.Success, _bench.Control(0x02, 1, 0, 0x81).Status);
        Assert.Null(_bench.StatusOf(_bench.Submit(0x81, TransferKind.Bulk, 0, 512)));
    }

    [Fact]
    public void Halt_from_within_the_pump_takes_the_head_too()
    {
        _device.HaltOnPump = true;

        UsbRequest request = _bench.Submit(0x81, TransferKind.Bulk, 0, 512);

        Assert.Equal(RequestStatus.Stall, _bench.StatusOf(request));
    }

    [Fact]
    public void Halt_that_the_device_insists_on_survives_clear_feature()
    {
        _device.HoldsHalt = true;
        _device.HaltNow(0x81);

        Assert.Equal(RequestStatus.Success, _bench.Control(0x02, 1, 0, 0x81).Status);
        Assert.Equal(RequestStatus.Stall, _bench.StatusOf(_bench.Submit(0x81, TransferKind.Bulk, 0, 512)));
        _device.UnhaltNow(0x81);
        Assert.Null(_bench.StatusOf(_bench.Submit(0x81, TransferKind.Bulk, 0, 512)));
    }

    [Fact]
    public void Stream_ids_are_tolerated()
    {
        _device.SetStreams(new EndpointAddress(0x81), 16);
        UsbRequest request = DeviceBench.Make(0x81, TransferKind.Bulk, 0, 512);
        request.StreamId = 7;
        _device.Replies.Enqueue((Bytes(3), true));

        _device.Submit(request);

        Assert.Equal(RequestStatus.Success, _bench.StatusOf(request));
    }

    [Fact]
    public void Requests_in_pieces_are_filled_across_segments()
    {
        UsbRequest request = DeviceBench.Make(0x81, TransferKind.Bulk, 0, 100);
        request.Data.Add(new GuestAddress(5000), 412);
        _bench.Memory.LongestRun = 33;
        _device.Replies.Enqueue((Bytes(512), true));

        _device.Submit(request);

        Assert.Equal(Bytes(512)[..100], _bench.Memory.Bytes[..100].ToArray());
        Assert.Equal(Bytes(512)[100..], _bench.Memory.Bytes.Slice(5000, 412).ToArray());
    }

    [Fact]
    public void Host_is_needed_before_use()
    {
        var loose = new ProbeDevice();

        Assert.Throws<InvalidOperationException>(loose.Reset);
    }
}
