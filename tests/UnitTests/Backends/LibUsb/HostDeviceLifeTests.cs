using System;
using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.HostDeviceRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Backends.LibUsb;

public sealed class HostDeviceLifeTests
{
    private readonly HostDeviceRig _rig = new HostDeviceRig().Configured();

    private FakeHostHandle Handle => _rig.Handle;

    [Fact]
    public void Device_pulled_in_the_middle_ends_everything_with_no_device()
    {
        for (int i = 0; i < 3; i++) _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Bulk(BulkOut, 512));
        Handle.SubmitResult = HostError.NoDevice;
        Handle.EndAll(HostTransferStatus.NoDevice);
        _rig.Run();

        Assert.True(_rig.Device.IsGone);
        Assert.All(_rig.Frontend.CompletedRequests, request => Assert.Equal(RequestStatus.NoDevice, request.Status));
        Assert.Equal(4, _rig.Frontend.CompletedRequests.Count);
        _rig.Submit(Bulk(BulkIn, 512));
        Assert.EndsWith("completed ep1in NoDevice 0", _rig.RunAndTake(), StringComparison.Ordinal);
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Device_that_vanishes_and_comes_back_is_a_new_device_on_the_same_port()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        Handle.EndAll(HostTransferStatus.NoDevice);
        _rig.Run();
        _rig.Pipeline.Detach(PipelineRig.Port1);
        _rig.Run();
        var handle = new FakeHostHandle();
        var device = new HostDevice(handle, new HostDescriptors(Block(Configuration())));

        Assert.Equal(AttachResult.Attached, _rig.Pipeline.Attach(PipelineRig.Port1, device));
        _rig.Pipeline.ResetPort(PipelineRig.Port1);
        handle.EndOperation();
        device.Deliver();
        _rig.Frontend.Events.Clear();
        Assert.Equal("port 1 reset done", _rig.RunAndTake());
    }

    [Fact]
    public void Detach_with_transfers_in_flight_calls_them_back_and_touches_the_guest_no_more()
    {
        Handle.CancelsAtOnce = false;
        UsbRequest request = _rig.Submit(Bulk(BulkIn, 512));
        _rig.Pipeline.Detach(PipelineRig.Port1);
        Assert.Single(Handle.Cancelled);
        Assert.Equal("port 1 changed; completed ep1in NoDevice 0", _rig.RunAndTake());

        Handle.InFlight[0].Buffer.Fill(0x5a);
        Handle.EndNext();
        _rig.Run();
        Assert.Equal(0, _rig.Memory.Map(new XenUsbDm.Core.Memory.GuestAddress(0x1000), 512, XenUsbDm.Core.Memory.GuestAccess.Read).Count((byte)0x5a));
        Assert.Equal(1, _rig.Frontend.CountOf(request));
        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Detach_while_the_slow_lane_works_forgets_what_comes_of_it()
    {
        _rig.Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0)));
        _rig.Pipeline.Detach(PipelineRig.Port1);
        Assert.Equal("port 1 changed; completed ep0 NoDevice 0", _rig.RunAndTake());
        Handle.EndOperation();
        _rig.Device.Deliver();

        Assert.Equal("", _rig.RunAndTake());
        Assert.False(Handle.OperationRuns);
    }

    [Fact]
    public void Detach_while_transfers_are_parked_gives_their_buffers_back()
    {
        _rig.Submit(Bulk(BulkIn, 512));
        _rig.Submit(Control(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, BulkIn.Value, 0)));
        _rig.Run();
        _rig.Pipeline.Detach(PipelineRig.Port1);
        _rig.Run();

        Assert.Equal(0, Handle.Rented);
    }

    [Fact]
    public void Suspend_leaves_the_host_alone()
    {
        _rig.Pipeline.SetSuspended(PipelineRig.Port1, true);
        _rig.Pipeline.SetSuspended(PipelineRig.Port1, false);

        Assert.Empty(Handle.Operations);
        Assert.Empty(Handle.InFlight);
    }

    [Fact]
    public void Device_shows_itself_with_its_place_and_counters()
    {
        _rig.Submit(Bulk(BulkIn, 65_536));
        string tree = InspectWriter.Dump(_rig.Device);

        Assert.Contains("/description host 1-2.3 0951:1666 Kingston DataTraveler\n", tree);
        Assert.Contains("/bus-path 1-2.3\n", tree);
        Assert.Contains("/transfers-of-64-kib 1\n", tree);
        Assert.Contains("/largest-transfer 65536\n", tree);
        Assert.Contains("/ep1in/in-flight 1\n", tree);
    }

    [Fact]
    public void Configurations_are_found_in_the_kernels_block()
    {
        byte[] first = Configuration();
        byte[] second = Configuration(7);
        var descriptors = new HostDescriptors(Block(first, second));

        Assert.Equal(2, descriptors.Count);
        Assert.Equal(first, descriptors.Configuration(1).ToArray());
        Assert.Equal(second, descriptors.Configuration(7).ToArray());
        Assert.True(descriptors.Configuration(2).IsEmpty);
    }

    [Fact]
    public void Configuration_whose_length_reaches_into_the_next_ends_where_that_begins()
    {
        byte[] first = Configuration();
        first[3] = 0xff; // wTotalLength far beyond the end
        byte[] second = Configuration(7);
        var descriptors = new HostDescriptors(Block(first, second));

        Assert.Equal(first.Length, descriptors.Configuration(1).Length);
        Assert.Equal(second, descriptors.Configuration(7).ToArray());
    }

    [Theory]
    [InlineData(new byte[0])]
    [InlineData(new byte[] { 18, 1 })]
    [InlineData(new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 9, 0, 0, 1, 0, 0, 0 })]
    [InlineData(new byte[] { 18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 9, 0, 0 })]
    [InlineData(new byte[] { 18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 4, 9, 0, 0, 1, 0, 0, 0 })]
    public void Block_without_a_configuration_has_none(byte[] block) => Assert.Equal(0, new HostDescriptors(block).Count);

    [Fact]
    public void Random_descriptors_are_walked_to_an_end()
    {
        var random = new Random(4);
        for (int round = 0; round < 2000; round++)
        {
            byte[] block = Block(Configuration(), Configuration(2));
            for (int i = 0; i < 6; i++) block[random.Next(18, block.Length)] = (byte)random.Next(256);
            var descriptors = new HostDescriptors(block);
            Assert.InRange(descriptors.Count, 0, HostDescriptors.Configurations);
            Assert.Equal(0u, HostDescriptors.EndpointsOf(descriptors.Configuration(1), 0) & 1u);
        }
    }

    [Fact]
    public void Endpoints_of_an_interface_are_those_of_all_its_settings() =>
        Assert.Equal(
            (1u << BulkIn.Index) | (1u << BulkOut.Index) | (1u << InterruptIn.Index) | (1u << IsoIn.Index) | (1u << IsoOut.Index),
            HostDescriptors.EndpointsOf(Configuration(), 0));

    [Theory]
    [InlineData("  Flash\u001b[2J Disk ", "Flash?[2J Disk")]
    [InlineData("a\nb", "a?b")]
    [InlineData(null, "")]
    public void Strings_of_the_device_are_made_harmless(string? text, string expected) => Assert.Equal(expected, HostDeviceFacts.Printable(text));

    [Fact]
    public void Strings_of_the_device_are_cut() => Assert.Equal(64, HostDeviceFacts.Printable(new string('x', 255)).Length);

    [Fact]
    public void List_line_is_that_of_xm() =>
        Assert.Equal("1-2.3: ID 0951:1666 Kingston DataTraveler", Handle.Facts.ListLine);
}
