using System;
using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.HostDeviceRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Backends.LibUsb;

public sealed class HostDeviceTransferTests
{
    private readonly HostDeviceRig _rig = new HostDeviceRig().Configured();

    private FakeHostHandle Handle => _rig.Handle;

    [Fact]
    public void Many_requests_of_an_endpoint_are_in_flight_at_once_and_end_in_order()
    {
        UsbRequest[] requests = [.. Enumerable.Range(0, 100).Select(i => _rig.Submit(Bulk(BulkIn, 512, 0x1000 + ((ulong)i * 512))))];

        Assert.Equal(100, Handle.InFlight.Count);
        for (int i = 0; i < 100; i++)
        {
            Handle.InFlight[0].Buffer[..512].Fill((byte)i);
            Handle.EndNext();
        }

        _rig.Run();
        Assert.Equal(requests, _rig.Frontend.CompletedRequests);
        Assert.All(Enumerable.Range(0, 100), i => Assert.Equal(i, _rig.Memory.Map(new GuestAddress(0x1000 + ((ulong)i * 512)), 1, GuestAccess.Read)[0]));
        Assert.Equal(0, Handle.Rented);
    }

    [Theory]
    [InlineData(65_536)]
    [InlineData(1 << 20)]
    public void Large_request_is_one_transfer_both_ways(int length)
    {
        Span<byte> memory = _rig.Memory.Map(new GuestAddress(0x1003), length, GuestAccess.Write);
        new Random(1).NextBytes(memory);
        byte[] sent = memory.ToArray();
        _rig.Submit(Bulk(BulkOut, length, 0x1003));

        FakeTransfer transfer = Assert.Single(Handle.InFlight);
        Assert.Equal(length, transfer.Length);
        Assert.True(transfer.Buffer[..length].SequenceEqual(sent));
        Handle.EndNext();
        Assert.Equal($"completed ep2out Success {length}", _rig.RunAndTake());

        _rig.Submit(Bulk(BulkIn, length, 0x200000));
        Assert.Equal(length, Assert.Single(Handle.InFlight).Length);
        sent.CopyTo(Handle.InFlight[0].Buffer);
        Handle.EndNext();
        Assert.Equal($"completed ep1in Success {length}", _rig.RunAndTake());
        Assert.True(_rig.Memory.Map(new GuestAddress(0x200000), length, GuestAccess.Read).SequenceEqual(sent));
    }

    [Fact]
    public void Short_answer_is_a_success_with_its_length()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.EndNext(actual: 13);

        Assert.Equal("completed ep1in Success 13", _rig.RunAndTake());
    }

    [Fact]
    public void Zero_length_transfer_goes_to_the_device()
    {
        _rig.Submit(Bulk(BulkOut, 0));
        Assert.Equal(0, Assert.Single(Handle.InFlight).Length);
        Handle.EndNext();

        Assert.Equal("completed ep2out Success 0", _rig.RunAndTake());
    }

    [Theory]
    [InlineData(HostTransferStatus.Error, 512, "TransactionError 512")]
    [InlineData(HostTransferStatus.TimedOut, 0, "TransactionError 0")]
    [InlineData(HostTransferStatus.Stall, 1024, "Stall 1024")]
    [InlineData(HostTransferStatus.Overflow, 512, "Babble 512")]
    [InlineData(HostTransferStatus.NoDevice, 0, "NoDevice 0")]
    [InlineData(HostTransferStatus.Cancelled, 512, "TransactionError 512")] // Nobody asked for it back.
    [InlineData((HostTransferStatus)77, 0, "TransactionError 0")]
    [InlineData(HostTransferStatus.Completed, 4097, "Babble 4096")] // More than was asked for.
    [InlineData(HostTransferStatus.Completed, -1, "Success 0")]
    [InlineData(HostTransferStatus.Completed, int.MaxValue, "Babble 4096")]
    public void Transfer_status_becomes_the_requests_status_with_what_was_moved(HostTransferStatus status, int actual, string expected)
    {
        _rig.Submit(Bulk(BulkIn, 4096));
        Handle.EndNext(status, actual);

        Assert.Equal($"completed ep1in {expected}", _rig.RunAndTake());
    }

    [Theory]
    [InlineData(HostError.Io, "TransactionError")]
    [InlineData(HostError.InvalidParameter, "TransactionError")]
    [InlineData(HostError.Access, "TransactionError")]
    [InlineData(HostError.NoDevice, "NoDevice")]
    [InlineData(HostError.NotFound, "TransactionError")]
    [InlineData(HostError.Busy, "TransactionError")]
    [InlineData(HostError.Timeout, "TransactionError")]
    [InlineData(HostError.Overflow, "Babble")]
    [InlineData(HostError.Pipe, "Stall")]
    [InlineData(HostError.Interrupted, "TransactionError")]
    [InlineData(HostError.NotSupported, "TransactionError")]
    [InlineData(HostError.Other, "TransactionError")]
    public void Transfer_that_is_not_taken_ends_at_once(HostError error, string expected)
    {
        Handle.SubmitResult = error;
        _rig.Submit(Bulk(BulkOut, 512));

        Assert.Equal($"completed ep2out {expected} 0", _rig.RunAndTake());
        Assert.Equal(error == HostError.NoDevice, _rig.Device.IsGone);
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Every_number_of_libusb_has_a_meaning()
    {
        HostError[] errors = [.. Enumerable.Range(0, 13).Select(number => HostOutcome.FromNumber(-number))];

        Assert.Equal(Enum.GetValues<HostError>().Where(error => error != HostError.Other), errors);
        Assert.Equal(HostError.Other, HostOutcome.FromNumber(-99));
        Assert.Equal(HostError.Other, HostOutcome.FromNumber(int.MinValue));
        Assert.Equal(HostError.None, HostOutcome.FromNumber(3));
    }

    [Fact]
    public void Cancelled_request_says_exactly_what_was_moved()
    {
        Handle.CancelledLength = static _ => 1536;
        UsbRequest first = _rig.Submit(Bulk(BulkOut, 65_536));
        UsbRequest second = _rig.Submit(Bulk(BulkOut, 512));
        _rig.Unlink(first);

        Assert.Equal("completed ep2out Cancelled 1536", _rig.RunAndTake());
        Handle.EndNext();
        Assert.Equal("completed ep2out Success 512", _rig.RunAndTake());
        Assert.Equal(1, _rig.Frontend.CountOf(second));
    }

    [Fact]
    public void Cancelled_request_that_was_done_first_keeps_its_result()
    {
        Handle.CancelsAtOnce = false;
        UsbRequest request = _rig.Submit(Bulk(BulkIn, 512));
        _rig.Unlink(request);
        Handle.EndNext();

        Assert.Equal("completed ep1in Success 512", _rig.RunAndTake());
    }

    [Fact]
    public void Data_that_came_before_a_cancel_reaches_the_guest()
    {
        Handle.CancelledLength = static transfer =>
        {
            transfer.Buffer[..1024].Fill(0x5a);
            return 1024;
        };
        _rig.Unlink(_rig.Submit(Bulk(BulkIn, 4096)));
        _rig.Run();

        Span<byte> memory = _rig.Memory.Map(new GuestAddress(0x1000), 1025, GuestAccess.Read);
        Assert.Equal(1024, memory.Count((byte)0x5a));
    }

    [Fact]
    public void Request_cut_off_from_memory_writes_nothing_when_it_comes_back()
    {
        Handle.CancelsAtOnce = false;
        UsbRequest request = _rig.Submit(Bulk(BulkIn, 512));
        _rig.Unlink(request);
        request.Data.Sever();
        Handle.InFlight[0].Buffer.Fill(0x5a);
        Handle.EndNext(HostTransferStatus.Cancelled, 512);

        Assert.Equal("completed ep1in Cancelled 0", _rig.RunAndTake());
        Assert.Equal(0, _rig.Memory.Map(new GuestAddress(0x1000), 512, GuestAccess.Read).Count((byte)0x5a));
    }

    [Fact]
    public void Buffer_outside_guest_memory_is_a_memory_fault_both_ways()
    {
        _rig.Submit(Bulk(BulkOut, 512, 64UL << 20));
        Assert.Equal("completed ep2out MemoryFault 0", _rig.RunAndTake());

        _rig.Submit(Bulk(BulkIn, 512, 64UL << 20));
        Handle.EndNext();
        Assert.Equal("completed ep1in MemoryFault 0", _rig.RunAndTake());
    }

    [Fact]
    public void Stall_ends_what_the_endpoint_has_and_clear_halt_sets_it_going_again()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.EndNext(HostTransferStatus.Stall, 0);
        Handle.EndNext(HostTransferStatus.Stall, 0);
        Assert.Equal("completed ep1in Stall 0; completed ep1in Stall 0", _rig.RunAndTake());

        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        Assert.Equal([new HostOperation(HostOperationKind.ClearHalt, BulkIn.Value)], Handle.Operations);
        Handle.EndOperation();
        Assert.Equal("completed ep0 Success 0", _rig.RunAndTake());
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.EndNext();
        Assert.Equal("completed ep1in Success 512", _rig.RunAndTake());
    }

    [Fact]
    public void Isochronous_packets_keep_their_own_results_and_places()
    {
        UsbRequest request = _rig.Submit(Iso(IsoIn, 1024, 512, 1024, 100));
        FakeTransfer transfer = Assert.Single(Handle.InFlight);
        Assert.Equal([1024, 512, 1024, 100], transfer.PacketLengths[..4]);
        transfer.Buffer[..1024].Fill(1);
        transfer.Buffer.Slice(1024 + 512, 1024).Fill(3);
        transfer.PacketResults[0] = new HostPacket(HostTransferStatus.Completed, 700);
        transfer.PacketResults[1] = new HostPacket(HostTransferStatus.Error, 0);
        transfer.PacketResults[2] = new HostPacket(HostTransferStatus.Completed, 1024);
        transfer.PacketResults[3] = new HostPacket(HostTransferStatus.Completed, 101); // Lies: more than its length.
        Handle.End(transfer, HostTransferStatus.Completed, 0);
        Assert.Equal("completed ep4in Success 1824", _rig.RunAndTake());

        Assert.Equal([700, 0, 1024, 100], request.Packets.Select(packet => packet.ActualLength));
        Assert.Equal([RequestStatus.Success, RequestStatus.TransactionError, RequestStatus.Success, RequestStatus.Babble], request.Packets.Select(packet => packet.Status));
        Span<byte> memory = _rig.Memory.Map(new GuestAddress(0x1000), 2660, GuestAccess.Read);
        Assert.Equal(700, memory[..1536].Count((byte)1));
        Assert.Equal(1024, memory[1536..].Count((byte)3));
        Assert.Contains("isochronous-packets 2\n", InspectWriter.Dump(_rig.Device));
        Assert.Contains("isochronous-packets-failed 2\n", InspectWriter.Dump(_rig.Device));
    }

    [Fact]
    public void Isochronous_packets_out_lie_one_after_the_other()
    {
        _rig.Memory.Map(new GuestAddress(0x1000), 300, GuestAccess.Write).Fill(7);
        UsbRequest request = Iso(IsoOut, 100, 200);
        _rig.Submit(request);
        FakeTransfer transfer = Assert.Single(Handle.InFlight);
        Assert.Equal(300, transfer.Length);
        Assert.Equal(300, transfer.Buffer[..300].Count((byte)7));
        transfer.PacketResults[0] = new HostPacket(HostTransferStatus.Completed, 100);
        transfer.PacketResults[1] = new HostPacket(HostTransferStatus.Completed, 200);
        Handle.End(transfer, HostTransferStatus.Completed, 0);

        Assert.Equal("completed ep5out Success 300", _rig.RunAndTake());
    }

    [Fact]
    public void Isochronous_packets_that_did_not_run_before_a_cancel_are_errors()
    {
        UsbRequest request = _rig.Submit(Iso(IsoIn, 64, 64));
        FakeTransfer transfer = Handle.InFlight[0];
        transfer.PacketResults[0] = new HostPacket(HostTransferStatus.Completed, 64);
        transfer.PacketResults[1] = new HostPacket(HostTransferStatus.Completed, 0);
        _rig.Unlink(request);

        Assert.Equal("completed ep4in Cancelled 64", _rig.RunAndTake());
        Assert.Equal([RequestStatus.Success, RequestStatus.TransactionError], request.Packets.Select(packet => packet.Status));
    }

    [Fact]
    public void Isochronous_packets_that_overlap_beyond_a_request_are_refused()
    {
        UsbRequest request = Iso(IsoIn, 1 << 20, 0);
        request.Packets[1] = new IsoPacket { Offset = 0, Length = 1 << 20 };
        _rig.Submit(request);

        Assert.Equal("completed ep4in TransactionError 0", _rig.RunAndTake());
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Control_transfer_carries_setup_and_data_both_ways()
    {
        var setup = new SetupPacket(0xc0, 7, 0x1234, 0x5678, 4);
        _rig.Submit(Control(setup));
        FakeTransfer transfer = Assert.Single(Handle.InFlight);
        Assert.Equal(12, transfer.Length);
        Assert.Equal(setup.Raw, BitConverter.ToUInt64(transfer.Buffer));
        new byte[] { 1, 2, 3 }.CopyTo(transfer.Buffer[8..]);
        Handle.EndNext(actual: 3);
        Assert.Equal("completed ep0 Success 3", _rig.RunAndTake());
        Assert.Equal([1, 2, 3, 0], _rig.Memory.Map(new GuestAddress(0x1000), 4, GuestAccess.Read).ToArray());

        _rig.Submit(Control(new SetupPacket(0x40, 7, 0, 0, 3)));
        Assert.Equal([1, 2, 3], Handle.InFlight[0].Buffer.Slice(8, 3).ToArray());
        Handle.EndNext();
        Assert.Equal("completed ep0 Success 3", _rig.RunAndTake());
    }

    [Fact]
    public void Control_data_beyond_the_kernels_page_is_cut_on_the_way_in_and_refused_on_the_way_out()
    {
        _rig.Submit(Control(new SetupPacket(0xc0, 7, 0, 0, 65_535)));
        Assert.Equal(4096 + 8, Assert.Single(Handle.InFlight).Length);
        Handle.EndNext();
        Assert.Equal("completed ep0 Success 4096", _rig.RunAndTake());

        _rig.Submit(Control(new SetupPacket(0x40, 7, 0, 0, 4097)));
        Assert.Equal("completed ep0 TransactionError 0", _rig.RunAndTake());
    }

    [Fact]
    public void Control_data_that_does_not_fit_the_guests_buffer_is_babble()
    {
        _rig.Submit(Control(new SetupPacket(0xc0, 7, 0, 0, 64), length: 8));
        Handle.EndNext(actual: 64);

        Assert.Equal("completed ep0 Babble 8", _rig.RunAndTake());
    }

    [Theory]
    [InlineData(0x00, 3, 48, 0, "Success")] // U1_ENABLE
    [InlineData(0x00, 1, 49, 0, "Success")] // U2_ENABLE
    [InlineData(0x00, 3, 50, 0, "Success")] // LTM_ENABLE
    [InlineData(0x01, 3, 0, 0x0300, "Success")] // FUNCTION_SUSPEND
    [InlineData(0x00, 3, 2, 0x0100, "Stall")] // TEST_MODE
    [InlineData(0x00, 49, 40, 0, "Success")] // SET_ISOCH_DELAY
    public void Requests_about_the_hosts_own_link_do_not_reach_the_device(byte type, byte code, ushort value, ushort index, string status)
    {
        _rig.Submit(Control(new SetupPacket(type, code, value, index, 0)));

        Assert.Empty(Handle.InFlight);
        Assert.Equal($"completed ep0 {status} 0", _rig.RunAndTake());
    }

    [Fact]
    public void Requests_wait_while_the_kernel_has_no_memory_and_go_when_a_transfer_ends_or_time_passes()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.SubmitResult = HostError.NoMemory;
        _rig.Submit(Bulk(BulkOut, 512));
        _rig.Run();
        Assert.Single(Handle.InFlight);

        Handle.SubmitResult = HostError.None;
        Handle.EndNext();
        _rig.Run();
        Assert.Single(Handle.InFlight);

        Handle.NoMemory = true;
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.NoMemory = false;
        _rig.Pass(HostDeviceLimits.RetryNanoseconds);
        Assert.Equal(2, Handle.InFlight.Count);
        Assert.Equal(2, Handle.Rented);
    }

    [Fact]
    public void Bytes_in_flight_are_bounded_and_the_rest_waits()
    {
        for (int i = 0; i < 12; i++) _rig.Submit(Bulk(BulkIn, 1 << 20));

        Assert.Equal(HostDeviceLimits.InFlightBytes >> 20, Handle.InFlight.Count);
        for (int i = 0; i < 12; i++)
        {
            Handle.EndNext();
            _rig.Run();
        }

        Assert.Equal(12, _rig.Frontend.CompletedCount - 2);
    }

    [Fact]
    public void Transfer_in_steady_state_allocates_nothing_on_any_path()
    {
        Handle.KeepLists = false;
        _rig.Frontend.KeepEvents = false;
        UsbRequest[] requests =
        [
            Bulk(BulkIn, 65_536), Bulk(BulkOut, 512), Request(InterruptIn, TransferKind.Interrupt, 64), Iso(IsoIn, 512),
            Control(new SetupPacket(0xc0, 7, 0, 0, 64)),
        ];
        UsbRequest unlinked = Bulk(BulkIn, 512);

        void Round()
        {
            foreach (UsbRequest request in requests)
            {
                request.ActualLength = 0;
                _rig.Submit(request);
            }

            while (Handle.InFlight.Count > 0) Handle.EndNext();
            unlinked.ActualLength = 0;
            _rig.Submit(unlinked);
            _rig.Unlink(unlinked);
            _rig.Run();
        }

        // The pool of the fake gives back the last transfer, so sizes have to meet; one size serves all.
        for (int i = 0; i < 16; i++) Handle.Return(new FakeTransfer(1 << 17, 8));
        for (int i = 0; i < 200; i++) Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) Round();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
