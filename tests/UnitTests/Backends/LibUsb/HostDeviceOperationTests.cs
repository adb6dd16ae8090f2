using System;
using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.HostDeviceRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Backends.LibUsb;

public sealed class HostDeviceOperationTests
{
    private readonly HostDeviceRig _rig = new HostDeviceRig(Block(Configuration(), Configuration(2))).Configured();

    private FakeHostHandle Handle => _rig.Handle;

    private static UsbRequest SetConfiguration(ushort value) => Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, value, 0, 0));

    private static UsbRequest SetInterface(ushort number, ushort alternate) => Control(new SetupPacket(1, (byte)StandardRequest.SetInterface, alternate, number, 0));

    [Fact]
    public void Standard_requests_that_block_run_one_after_another_in_the_guests_order()
    {
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18)));
        _rig.Submit(SetConfiguration(2));
        _rig.Submit(SetInterface(0, 1));
        _rig.Submit(Control(new SetupPacket(0xc0, 1, 0, 0, 2)));
        Assert.Single(Handle.InFlight); // GET_DESCRIPTOR; what follows waits for it.
        Assert.Empty(Handle.Operations);

        Handle.EndNext();
        _rig.Run();
        Assert.Equal([new HostOperation(HostOperationKind.SetConfiguration, 2)], Handle.Operations);
        Handle.EndOperation();
        _rig.Run();
        Assert.Equal(new HostOperation(HostOperationKind.SetInterface, 0, 1), Handle.Operations[1]);
        Assert.Empty(Handle.InFlight);
        Handle.EndOperation();
        _rig.Run();
        Handle.EndNext();

        Assert.Equal("completed ep0 Success 18; completed ep0 Success 0; completed ep0 Success 0; completed ep0 Success 2", _rig.RunAndTake());
    }

    [Theory]
    [InlineData(HostError.None, "Success")]
    [InlineData(HostError.Pipe, "Stall")]
    [InlineData(HostError.NotFound, "Stall")]
    [InlineData(HostError.InvalidParameter, "Stall")]
    [InlineData(HostError.NoDevice, "NoDevice")]
    [InlineData(HostError.Busy, "TransactionError")]
    [InlineData(HostError.Timeout, "TransactionError")]
    [InlineData(HostError.Access, "TransactionError")]
    [InlineData(HostError.Io, "TransactionError")]
    [InlineData(HostError.Interrupted, "TransactionError")]
    [InlineData(HostError.NoMemory, "TransactionError")]
    [InlineData(HostError.NotSupported, "TransactionError")]
    [InlineData(HostError.Overflow, "Babble")]
    [InlineData(HostError.Other, "TransactionError")]
    public void Result_of_an_operation_becomes_the_requests_status(HostError result, string status)
    {
        _rig.Submit(SetInterface(0, 1));
        Handle.EndOperation(result);

        Assert.Equal($"completed ep0 {status} 0", _rig.RunAndTake());
        Assert.Equal(result == HostError.NoDevice, _rig.Device.IsGone);
        Assert.Equal(status is "TransactionError" or "Babble" ? 1 : 0, _rig.Device.FailedOperations);
    }

    [Fact]
    public void Configuration_that_the_device_does_not_have_stalls_without_an_operation()
    {
        _rig.Submit(SetConfiguration(9));

        Assert.Equal("completed ep0 Stall 0", _rig.RunAndTake());
        Assert.Empty(Handle.Operations);
    }

    [Fact]
    public void Configuration_zero_leaves_the_device_without_endpoints()
    {
        _rig.Submit(SetConfiguration(0));
        Handle.EndOperation();
        _rig.Run();
        _rig.Frontend.Events.Clear();
        _rig.Submit(Bulk(BulkIn, 512));

        Assert.Equal("completed ep1in TransactionError 0", _rig.RunAndTake());
        Assert.True(_rig.Device.ActiveConfigurationDescriptor.IsEmpty);
    }

    [Fact]
    public void Interface_change_calls_its_transfers_back_and_leaves_the_other_interfaces_alone()
    {
        Handle.CancelledLength = static _ => 0;
        UsbRequest mine = _rig.Submit(Bulk(BulkIn, 512));
        UsbRequest other = _rig.Submit(Bulk(OtherIn, 512));
        _rig.Submit(SetInterface(0, 1));
        Assert.Empty(Handle.Operations); // Not before the transfer is back.
        _rig.Run();

        Assert.Equal([new HostOperation(HostOperationKind.SetInterface, 0, 1)], Handle.Operations);
        Assert.Equal(OtherIn, Assert.Single(Handle.InFlight).Endpoint);
        Handle.EndOperation();
        _rig.Run();
        Assert.Equal([OtherIn, BulkIn], Handle.InFlight.Select(transfer => transfer.Endpoint));
        Handle.EndNext();
        Handle.EndNext();
        Assert.Equal("completed ep0 Success 0; completed ep6in Success 512; completed ep1in Success 512", _rig.RunAndTake());
        Assert.Equal(1, _rig.Frontend.CountOf(mine));
        Assert.Equal(1, _rig.Frontend.CountOf(other));
    }

    [Fact]
    public void Transfers_called_back_for_an_operation_go_out_again_in_order_from_where_they_were()
    {
        Handle.CancelledLength = static transfer => transfer.Length == 4096 ? 1024 : 0;
        _rig.Submit(Bulk(BulkOut, 4096));
        _rig.Submit(Bulk(BulkOut, 512));
        _rig.Submit(Bulk(BulkOut, 256));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkOut.Value, 0)));
        _rig.Submit(Bulk(BulkOut, 128)); // Comes while the endpoint is held.
        _rig.Run();
        Assert.Empty(Handle.InFlight);

        Handle.EndOperation();
        _rig.Run();
        Assert.Equal([3072, 512, 256, 128], Handle.InFlight.Select(transfer => transfer.Length));
        _rig.Frontend.Events.Clear();
        for (int i = 0; i < 4; i++) Handle.EndNext();
        Assert.Equal("completed ep2out Success 4096; completed ep2out Success 512; completed ep2out Success 256; completed ep2out Success 128", _rig.RunAndTake());
    }

    [Fact]
    public void Transfer_that_ends_while_it_is_called_back_is_done()
    {
        Handle.CancelsAtOnce = false;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        Handle.EndNext();
        _rig.Run();
        Handle.EndOperation();

        Assert.Equal("completed ep1in Success 512; completed ep0 Success 0", _rig.RunAndTake());
    }

    [Fact]
    public void Operation_that_is_unlinked_before_it_runs_sets_the_endpoint_going_again()
    {
        Handle.CancelsAtOnce = false;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Bulk(BulkIn, 256));
        UsbRequest clear = _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        _rig.Unlink(clear);
        _rig.Submit(Bulk(BulkIn, 128)); // Not before the two that are on their way back.
        Assert.Equal("completed ep0 Cancelled 0", _rig.RunAndTake());
        Assert.Equal(2, Handle.InFlight.Count);

        Handle.EndAll(HostTransferStatus.Cancelled);
        _rig.Run();
        Assert.Equal([512, 256, 128], Handle.InFlight.Select(transfer => transfer.Length));
        Assert.Empty(Handle.Operations);
    }

    [Fact]
    public void Operation_that_runs_cannot_be_unlinked_and_ends_with_its_own_result()
    {
        UsbRequest request = _rig.Submit(SetInterface(0, 1));
        _rig.Unlink(request);
        Assert.Equal("", _rig.RunAndTake());
        Handle.EndOperation();

        Assert.Equal("completed ep0 Success 0", _rig.RunAndTake());
    }

    [Fact]
    public void Endpoint_zero_halt_is_cleared_without_an_operation()
    {
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, 0x80, 0)));

        Assert.Equal("completed ep0 Success 0", _rig.RunAndTake());
        Assert.Empty(Handle.Operations);
    }

    [Fact]
    public void Transfers_that_end_because_their_endpoint_goes_away_are_not_a_device_that_goes_away()
    {
        Handle.CancelsAtOnce = false;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(SetInterface(0, 1));
        Handle.EndNext(HostTransferStatus.NoDevice, 0); // What libusb makes of the kernel's ESHUTDOWN.
        _rig.Run();
        Handle.EndOperation();
        _rig.Run();

        Assert.False(_rig.Device.IsGone);
        Assert.Single(Handle.InFlight);
    }

    [Fact]
    public void Reset_gives_everything_back_as_cancelled_and_then_resets_the_device()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18)));
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        Assert.Empty(Handle.Operations);
        string[] events = _rig.RunAndTake().Split("; ");
        Assert.Equal([new HostOperation(HostOperationKind.Reset)], Handle.Operations);
        Assert.Equal(["completed ep0 Cancelled 0", "completed ep1in Cancelled 0"], events[..^1].Order());
        Assert.Equal("port 1 reset done", events[^1]);
        Assert.True(_rig.Device.ActiveConfigurationDescriptor.IsEmpty);
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Reset_is_over_for_the_guest_before_the_host_is_done_and_what_it_sends_meanwhile_waits()
    {
        // SeaBIOS gives a port up whose reset takes longer than 100 ms (xhci_hub_reset).
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        Assert.Equal("port 1 reset done", _rig.RunAndTake());
        Assert.True(Handle.OperationRuns);
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18), 0));
        _rig.Run();
        Assert.Empty(Handle.InFlight);

        Handle.EndOperation();
        _rig.Run();
        Assert.Single(Handle.InFlight);
    }

    [Fact]
    public void Reset_while_the_host_resets_the_device_is_served_by_the_same_and_gives_back_what_waited()
    {
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        _rig.RunAndTake();
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18), 0));
        _rig.Pipeline.ResetPort(PipelineRig.Port1);

        Assert.Equal("completed ep0 Cancelled 0; port 1 reset done", _rig.RunAndTake());
        Handle.EndOperation();
        Assert.Equal("", _rig.RunAndTake());
        Assert.Single(Handle.Operations);
        Assert.False(Handle.OperationRuns);
    }

    [Fact]
    public void Reset_during_an_operation_follows_it()
    {
        _rig.Submit(SetConfiguration(2));
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        _rig.Run();
        Assert.Equal(HostOperationKind.SetConfiguration, Assert.Single(Handle.Operations).Kind);
        Handle.EndOperation();
        _rig.Run();
        Assert.Equal(HostOperationKind.Reset, Handle.Operations[1].Kind);
        Handle.EndOperation();

        Assert.Equal("completed ep0 Cancelled 0; port 1 reset done", _rig.RunAndTake());
        Assert.True(_rig.Device.ActiveConfigurationDescriptor.IsEmpty);
    }

    [Fact]
    public void Reset_takes_the_place_of_an_operation_that_has_not_begun()
    {
        Handle.CancelsAtOnce = false;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(SetConfiguration(2));
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        Handle.EndAll(HostTransferStatus.Cancelled);
        _rig.Run();

        Assert.Equal([new HostOperation(HostOperationKind.Reset)], Handle.Operations);
        Handle.EndOperation();
        Assert.Equal("completed ep0 Cancelled 0; completed ep1in Cancelled 0; port 1 reset done", _rig.RunAndTake());
    }

    [Theory]
    [InlineData(HostError.NotFound)] // It enumerated again with other descriptors (libusb_reset_device).
    [InlineData(HostError.NoDevice)]
    public void Reset_after_which_the_device_is_another_ends_and_says_that_it_is_gone(HostError result)
    {
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        Assert.Equal("port 1 reset done", _rig.RunAndTake());
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18), 0));
        Handle.EndOperation(result);

        Assert.Equal("completed ep0 NoDevice 0", _rig.RunAndTake());
        Assert.True(_rig.Device.IsGone);
        _rig.Submit(Control(new SetupPacket(0x80, 6, 0x100, 0, 18), 0));
        Assert.Equal("completed ep0 NoDevice 0", _rig.RunAndTake());
    }

    [Fact]
    public void Reset_that_fails_otherwise_ends_and_the_device_stays()
    {
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        Handle.EndOperation(HostError.Io);

        Assert.Equal("port 1 reset done", _rig.RunAndTake());
        Assert.False(_rig.Device.IsGone);
        Assert.StartsWith("the device's reset failed: Io error", _rig.Device.Fault, StringComparison.Ordinal);
    }

    [Fact]
    public void Streams_that_the_host_cannot_make_are_a_fault_with_endpoint_and_reason()
    {
        Assert.Equal("", _rig.Device.Fault);
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkIn, 16);
        Handle.EndOperation(HostError.NotSupported);
        _rig.Run();

        Assert.Equal(1, _rig.Device.FailedOperations);
        Assert.Equal($"making streams 1 to 16 of endpoint 0x{BulkIn.Value:x2} failed: the host's controller or kernel cannot do it; use another port of the host", _rig.Device.Fault);
        Assert.Contains("operations-failed 1\n", InspectWriter.Dump(_rig.Device), StringComparison.Ordinal);
    }

    [Fact]
    public void Streams_are_made_before_the_first_transfer_of_the_endpoint_goes()
    {
        UsbRequest before = _rig.Submit(Bulk(OtherIn, 512));
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkIn, 16);
        UsbRequest request = Bulk(BulkIn, 512);
        request.StreamId = 9;
        _rig.Submit(request);
        Assert.Equal([new HostOperation(HostOperationKind.SetStreams, BulkIn.Value, 16)], Handle.Operations);
        Assert.Equal(OtherIn, Assert.Single(Handle.InFlight).Endpoint);

        Handle.EndOperation();
        _rig.Run();
        Assert.Equal(9, Handle.InFlight[1].StreamId);
        Assert.Equal(0, _rig.Frontend.CountOf(before));

        _rig.Unlink(request);
        _rig.Run();
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkIn, 0);
        Assert.Equal(new HostOperation(HostOperationKind.SetStreams, BulkIn.Value, 0), Handle.Operations[1]);
    }

    [Fact]
    public void Streams_of_several_endpoints_are_made_one_after_another()
    {
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkIn, 16);
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkOut, 16);
        _rig.Pipeline.SetStreams(PipelineRig.Port1, BulkIn, 4); // Changed while the first runs.
        Assert.Single(Handle.Operations);
        for (int i = 0; i < 3; i++)
        {
            Handle.EndOperation();
            _rig.Run();
        }

        Assert.Equal([(BulkIn.Value, 16), (BulkIn.Value, 4), (BulkOut.Value, 16)], Handle.Operations.Select(one => (one.Target, one.Value)));
        Assert.False(Handle.OperationRuns);
    }
}
