using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class ControlRequestTests
{
    private static readonly EndpointAddress Bulk5 = new(5, true);

    private static SetupPacket Setup(byte type, byte request, int value, int index = 0, int length = 0) =>
        new(type, request, (ushort)value, (ushort)index, (ushort)length);

    [Fact]
    public void SetAddress_is_answered_here_and_changes_the_address_that_counts()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(0, 5, 127)));
        rig.Submit(Bulk());
        rig.Submit(Request(BulkIn, TransferKind.Bulk, 9, address: 127));
        rig.Run();

        Assert.Equal("completed ep0 Success 0; completed ep1in TransactionError 0", rig.Frontend.TakeEvents());
        Assert.Equal(["submit ep1in"], rig.Device.Calls);
        Assert.Equal(new DeviceAddress(127), rig.Pipeline.AddressOf(Port1));
    }

    [Fact]
    public void SetAddress_above_127_stalls_and_changes_nothing()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(0, 5, 128)));
        rig.Run();

        Assert.Equal("completed ep0 Stall 0", rig.Frontend.TakeEvents());
        Assert.Empty(rig.Device.Calls);
        Assert.Equal(new DeviceAddress(5), rig.Pipeline.AddressOf(Port1));
    }

    [Theory]
    [InlineData(0x40)] // FTDI: vendor request 5.
    [InlineData(0x20)]
    [InlineData(0x80)]
    [InlineData(0x01)]
    public void Request_5_of_another_type_reaches_the_device(byte type)
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(type, 5, 9)));

        Assert.Equal(["submit ep0"], rig.Device.Calls);
        Assert.Equal(new DeviceAddress(5), rig.Pipeline.AddressOf(Port1));
    }

    [Fact]
    public void SetAddress_waits_for_earlier_requests_and_later_ones_wait_for_it()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(Setup(0x80, 6, 0x100, length: 18)));
        rig.Submit(Control(Setup(0, 5, 9)));
        rig.Submit(Control(Setup(0x80, 6, 0x200, length: 9), address: 9));
        rig.Run();
        Assert.Single(rig.Device.Held);

        rig.Device.CompleteNext();
        rig.Run();
        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal("completed ep0 Success 18; completed ep0 Success 0; completed ep0 Success 9", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void Request_queued_behind_SetAddress_with_the_old_address_fails()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(Setup(0x80, 6, 0x100, length: 18)));
        rig.Submit(Control(Setup(0, 5, 9)));
        rig.Submit(Control(Setup(0x80, 6, 0x200, length: 9)));

        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal("completed ep0 Success 18; completed ep0 Success 0; completed ep0 TransactionError 0", rig.Frontend.TakeEvents());
    }

    [Fact]
    public void SetConfiguration_becomes_the_devices_own_call_and_opens_its_endpoints()
    {
        var rig = new PipelineRig();
        rig.Pipeline.Attach(Port1, rig.Device);
        UsbRequest early = rig.Submit(Request(BulkIn, TransferKind.Bulk, 8, address: 0));
        rig.Submit(Control(Setup(0, 9, 0xff01), address: 0));
        UsbRequest late = rig.Submit(Request(BulkIn, TransferKind.Bulk, 8, address: 0));
        rig.Run();

        Assert.Equal(RequestStatus.TransactionError, early.Status);
        Assert.Equal(["attached", "set-configuration 1", "submit ep1in"], rig.Device.Calls);
        Assert.Equal(RequestState.InFlight, late.State);
        Assert.Equal("yes", rig.Inspect("/port/1/configuration/configured"));
    }

    [Fact]
    public void SetConfiguration_0_closes_the_endpoints()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(0, 9, 0)));
        UsbRequest request = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal(RequestStatus.TransactionError, request.Status);
    }

    [Fact]
    public void SetConfiguration_that_the_device_refuses_keeps_the_configuration()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.Answer = RequestStatus.Stall;

        UsbRequest refused = rig.Submit(Control(Setup(0, 9, 7)));
        UsbRequest request = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal(RequestStatus.Stall, refused.Status);
        Assert.Equal(RequestState.InFlight, request.State);
    }

    [Fact]
    public void SetConfiguration_opens_endpoints_when_it_is_done_and_not_before()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(Setup(0, 9, 0)));
        rig.Device.AnswersConfiguration = false;
        rig.Submit(Control(Setup(0, 9, 1)));

        UsbRequest early = rig.Submit(Bulk());
        rig.Device.CompleteNext(actual: 0);
        UsbRequest late = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal(RequestStatus.TransactionError, early.Status);
        Assert.Equal(RequestState.InFlight, late.State);
    }

    [Fact]
    public void SetConfiguration_with_a_faulty_descriptor_counts_a_fault_and_uses_the_sound_part()
    {
        var device = new FakeDevice
        {
            Configuration = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Raw(0, 0).Build(),
        };
        PipelineRig rig = new PipelineRig(device: device).Configured();

        UsbRequest request = rig.Submit(Bulk());

        Assert.Equal(RequestState.InFlight, request.State);
        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
    }

    [Fact]
    public void SetInterface_becomes_the_devices_own_call_and_swaps_endpoints()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(1, 11, 1)));
        UsbRequest old = rig.Submit(Bulk());
        UsbRequest current = rig.Submit(Request(Bulk5, TransferKind.Bulk, 8));
        rig.Run();

        Assert.Equal(["set-interface 0 1", "submit ep5in"], rig.Device.Calls);
        Assert.Equal(RequestStatus.TransactionError, old.Status);
        Assert.Equal(RequestState.InFlight, current.State);
    }

    [Fact]
    public void SetInterface_that_the_device_refuses_keeps_the_endpoints()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.Answer = RequestStatus.Stall;

        rig.Submit(Control(Setup(1, 11, 1)));
        UsbRequest request = rig.Submit(Bulk());

        Assert.Equal(RequestState.InFlight, request.State);
    }

    [Fact]
    public void SetInterface_to_a_setting_that_no_descriptor_has_is_a_device_fault()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(1, 11, 9)));
        UsbRequest request = rig.Submit(Bulk());
        rig.Run();

        Assert.Equal("1", rig.Inspect("/port/1/device-faults"));
        Assert.Equal(RequestState.InFlight, request.State);
    }

    [Theory]
    [InlineData(1, 11, 256, 0)]
    [InlineData(1, 11, 0, 256)]
    [InlineData(2, 1, 0, 0x100)]
    [InlineData(2, 1, 0, 0x91)]
    public void Standard_request_with_an_impossible_value_stalls_here(byte type, byte request, int value, int index)
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(type, request, value, index)));
        rig.Run();

        Assert.Equal("completed ep0 Stall 0", rig.Frontend.TakeEvents());
        Assert.Empty(rig.Device.Calls);
    }

    [Fact]
    public void ClearHalt_becomes_the_devices_own_call()
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(2, 1, 0, 0x81)));
        rig.Run();

        Assert.Equal(["clear-halt ep1in"], rig.Device.Calls);
        Assert.Equal("completed ep0 Success 0", rig.Frontend.TakeEvents());
    }

    [Theory]
    [InlineData(0x22, 1, 0)] // Class request to an endpoint.
    [InlineData(0x02, 1, 1)] // Another feature.
    [InlineData(0x00, 1, 1)] // CLEAR_FEATURE(DEVICE_REMOTE_WAKEUP).
    [InlineData(0x02, 3, 0)] // SET_FEATURE(ENDPOINT_HALT).
    [InlineData(0x21, 9, 0x200)] // HID SET_REPORT.
    [InlineData(0x21, 11, 1)] // HID SET_PROTOCOL.
    [InlineData(0x81, 10, 0)] // GET_INTERFACE.
    public void Other_requests_reach_the_device_as_they_are(byte type, byte request, int value)
    {
        PipelineRig rig = new PipelineRig().Configured();

        rig.Submit(Control(Setup(type, request, value)));

        Assert.Equal(["submit ep0"], rig.Device.Calls);
    }

    [Fact]
    public void Control_request_named_endpoint_0_in_uses_the_same_queue()
    {
        PipelineRig rig = new PipelineRig().Configured();
        UsbRequest request = Control(Setup(0x80, 6, 0x100, length: 18));
        request.Endpoint = new EndpointAddress(0, true);

        rig.Submit(request);
        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal("completed ep0 Success 18", rig.Frontend.TakeEvents());
        Assert.Equal("18", rig.Inspect("/port/1/ep0/bytes-in"));
    }

    [Fact]
    public void Unlink_of_a_waiting_SetAddress_leaves_the_address()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Submit(Control(Setup(0x80, 6, 0x100, length: 18)));
        UsbRequest set = rig.Submit(Control(Setup(0, 5, 9)));

        rig.Unlink(set);
        rig.Device.CompleteNext();
        rig.Run();

        Assert.Equal("completed ep0 Cancelled 0; completed ep0 Success 18", rig.Frontend.TakeEvents());
        Assert.Equal(new DeviceAddress(5), rig.Pipeline.AddressOf(Port1));
    }
}
