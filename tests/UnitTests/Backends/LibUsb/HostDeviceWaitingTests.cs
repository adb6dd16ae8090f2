using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.HostDeviceRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Backends.LibUsb;

/// <summary>Requests that the host's stack does not have: they wait for memory or for an operation, and are taken away meanwhile.</summary>
public sealed class HostDeviceWaitingTests
{
    private const ulong Outside = 64UL << 20;

    private static readonly SetupPacket GetDescriptor = new(0x80, (byte)StandardRequest.GetDescriptor, 0x100, 0, 18);

    private readonly HostDeviceRig _rig = new HostDeviceRig().Configured();

    private FakeHostHandle Handle => _rig.Handle;

    [Fact]
    public void Waiting_requests_are_unlinked_wherever_they_are_and_the_rest_goes_in_order()
    {
        Handle.NoMemory = true;
        UsbRequest[] requests = [.. Enumerable.Range(1, 5).Select(size => _rig.Submit(Bulk(BulkIn, size * 512)))];
        foreach (int index in (int[])[1, 4, 0])
        {
            _rig.Unlink(requests[index]);
            Assert.Equal("completed ep1in Cancelled 0", _rig.RunAndTake());
        }

        Handle.NoMemory = false;
        _rig.Submit(Bulk(BulkIn, 64));
        _rig.Pass(HostDeviceLimits.RetryNanoseconds);

        Assert.Equal([3 * 512, 4 * 512, 64], Handle.InFlight.Select(static transfer => transfer.Length));
    }

    [Fact]
    public void Waiting_requests_come_back_as_cancelled_from_a_reset()
    {
        Handle.NoMemory = true;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Bulk(BulkOut, 512));
        _rig.Pipeline.ResetPort(Port1);
        Assert.Equal("completed ep1in Cancelled 0; completed ep2out Cancelled 0; port 1 reset done", _rig.RunAndTake());

        Handle.NoMemory = false;
        Handle.EndOperation();
        _rig.Run();
        Assert.Empty(Handle.InFlight);
    }

    [Fact]
    public void Waiting_requests_are_forgotten_with_a_detach()
    {
        Handle.NoMemory = true;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Pipeline.Detach(Port1);
        Assert.Equal("port 1 changed; completed ep1in NoDevice 0", _rig.RunAndTake());

        Handle.NoMemory = false;
        _rig.Pass(HostDeviceLimits.RetryNanoseconds);
        Assert.Empty(Handle.InFlight);
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Request_that_waits_for_an_operation_to_go_out_again_can_be_unlinked()
    {
        UsbRequest first = _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Bulk(BulkIn, 1024));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        _rig.Run();
        Assert.True(Handle.OperationRuns);
        Assert.Empty(Handle.InFlight);

        _rig.Unlink(first);
        Assert.Equal("completed ep1in Cancelled 0", _rig.RunAndTake());
        Handle.EndOperation();
        Assert.Equal("completed ep0 Success 0", _rig.RunAndTake());
        Assert.Equal(1024, Assert.Single(Handle.InFlight).Length);
    }

    [Fact]
    public void Request_that_waits_for_an_operation_to_go_out_again_comes_back_from_a_reset()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        _rig.Run();

        _rig.Pipeline.ResetPort(Port1);
        Assert.Equal("completed ep1in Cancelled 0", _rig.RunAndTake());
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Transfer_called_back_after_all_its_data_is_done()
    {
        Handle.CancelledLength = static transfer => transfer.Length;
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));

        Assert.Equal("completed ep1in Success 512", _rig.RunAndTake());
    }

    [Fact]
    public void Data_for_memory_that_is_not_there_is_a_fault_of_each_kind_of_transfer()
    {
        UsbRequest control = Request(EndpointAddress.Control, TransferKind.Control, 18, at: Outside);
        control.Setup = GetDescriptor;
        _rig.Submit(control);
        Handle.EndNext();
        Assert.Equal("completed ep0 MemoryFault 0", _rig.RunAndTake());

        UsbRequest iso = Request(IsoIn, TransferKind.Isochronous, 1024, at: Outside);
        iso.Packets = [new IsoPacket { Length = 1024 }];
        iso.PacketCount = 1;
        _rig.Submit(iso);
        FakeTransfer transfer = Assert.Single(Handle.InFlight);
        transfer.PacketResults[0] = new HostPacket(HostTransferStatus.Completed, 1024);
        Handle.End(transfer, HostTransferStatus.Completed, 0);
        _rig.Run();
        Assert.Equal((RequestStatus.MemoryFault, 0), (iso.Packets[0].Status, iso.Packets[0].ActualLength));
    }

    [Fact]
    public void Cancelled_request_stays_cancelled_when_its_memory_is_not_there()
    {
        Handle.CancelledLength = static _ => 8;
        UsbRequest bulk = _rig.Submit(Bulk(BulkIn, 512, Outside));
        UsbRequest control = Request(EndpointAddress.Control, TransferKind.Control, 18, at: Outside);
        control.Setup = GetDescriptor;
        _rig.Submit(control);

        _rig.Unlink(bulk);
        _rig.Unlink(control);

        Assert.Equal("completed ep1in Cancelled 0; completed ep0 Cancelled 0", _rig.RunAndTake());
    }
}
