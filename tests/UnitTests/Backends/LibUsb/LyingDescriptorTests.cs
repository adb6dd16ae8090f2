using System.Linq;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.HostDeviceRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Backends.LibUsb;

/// <summary>Devices that lie in their descriptors. The guest reads them as they are; these tests are about what the process makes of them.</summary>
public sealed class LyingDescriptorTests
{
    [Fact]
    public void Device_without_configurations_can_be_configured_to_none()
    {
        byte[] block = Block();
        Assert.Equal((18, 0), (block.Length, block[17]));
        HostDeviceRig rig = new HostDeviceRig(block).Configured();

        UsbRequest request = rig.Submit(Control(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0)));
        rig.Run();

        Assert.Equal(RequestStatus.Stall, request.Status);
        Assert.Empty(rig.Handle.Operations);
    }

    [Fact]
    public void More_configurations_than_are_read_count_as_those_that_are_there()
    {
        byte[] block = Block(Configuration());
        block[17] = 255;

        Assert.Equal(1, new HostDescriptors(block).Count);
    }

    [Fact]
    public void Configurations_beyond_the_eighth_are_left_out() =>
        Assert.Equal(8, new HostDescriptors(Block([.. Enumerable.Range(1, 12).Select(static value => Configuration((byte)value))])).Count);

    // The kernel keeps as many bytes of each configuration as its wTotalLength says.
    [Fact]
    public void Configuration_shorter_than_its_interfaces_has_none_and_the_next_one_is_found()
    {
        byte[] first = Configuration()[..9];
        first[2] = 9;
        first[3] = 0;
        byte[] second = Configuration(7);
        var descriptors = new HostDescriptors(Block(first, second));

        Assert.Equal(0u, HostDescriptors.InterfacesOf(descriptors.Configuration(1)));
        Assert.Equal(second, descriptors.Configuration(7).ToArray());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(8)]
    public void Configuration_with_a_total_length_below_its_own_is_its_own_part_alone(byte total)
    {
        byte[] first = Configuration();
        first[2] = total;
        first[3] = 0;

        Assert.Equal(9, new HostDescriptors(Block(first)).Configuration(1).Length);
    }

    [Fact]
    public void Two_configurations_of_one_value_are_the_first()
    {
        byte[] second = Configuration()[..9];
        second[2] = 9;
        var descriptors = new HostDescriptors(Block(Configuration(), second));

        Assert.Equal((2, Configuration().Length), (descriptors.Count, descriptors.Configuration(1).Length));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(255)]
    public void Descriptor_with_an_impossible_length_ends_the_walk(byte length)
    {
        byte[] configuration = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Raw(length, 0x24).Interface(1).Endpoint(0x82, TransferKind.Bulk, 512).Build();

        Assert.Equal(1u, HostDescriptors.InterfacesOf(configuration));
        Assert.Equal(0u, HostDescriptors.EndpointsOf(configuration, 1));
    }

    [Fact]
    public void Interface_numbers_with_gaps_and_twice_are_taken_once_each()
    {
        byte[] configuration = new DescriptorBuilder().Interface(5).Interface(2).Interface(31).Interface(5).Interface(2, 1).Build();

        Assert.Equal((1u << 5) | (1u << 2) | (1u << 31), HostDescriptors.InterfacesOf(configuration));
    }

    [Fact]
    public void Interfaces_that_libusb_cannot_claim_are_left_out()
    {
        var builder = new DescriptorBuilder();
        for (int number = 0; number < 255; number++) builder.Interface((byte)number);

        Assert.Equal(uint.MaxValue, HostDescriptors.InterfacesOf(builder.Build()));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0xe000)]
    [InlineData(0xffff)]
    public void Packet_sizes_that_cannot_be_are_left_to_the_hosts_stack(int packet)
    {
        byte[] configuration = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, (ushort)packet).Endpoint(0x83, TransferKind.Interrupt, (ushort)packet, 0).Build();
        HostDeviceRig rig = new HostDeviceRig(Block(configuration)).Configured();

        rig.Submit(Bulk(BulkIn, 65_536));
        rig.Submit(Request(InterruptIn, TransferKind.Interrupt, 64));
        rig.Run();

        Assert.Equal([65_536, 64], rig.Handle.InFlight.Select(static transfer => transfer.Length));
    }

    [Fact]
    public void Endpoint_in_two_interfaces_is_one_endpoint()
    {
        byte[] configuration = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Endpoint(0x81, TransferKind.Interrupt, 8).Interface(1).Endpoint(0x81, TransferKind.Bulk, 64).Build();
        HostDeviceRig rig = new HostDeviceRig(Block(configuration)).Configured();
        UsbRequest request = rig.Submit(Bulk(BulkIn, 512));
        rig.Submit(Control(new SetupPacket(1, (byte)StandardRequest.SetInterface, 0, 1, 0)));
        rig.Run();

        // Called back for the one interface, and out again after it.
        rig.Handle.EndOperation();
        rig.Run();
        rig.Handle.EndNext();
        rig.Run();

        Assert.Equal((RequestStatus.Success, 512), (request.Status, request.ActualLength));
    }

    [Fact]
    public void Endpoint_zero_among_the_endpoints_is_not_the_interfaces() =>
        Assert.Equal(0u, HostDescriptors.EndpointsOf(new DescriptorBuilder().Interface(0).Endpoint(0x80, TransferKind.Control, 8).Endpoint(0x00, TransferKind.Bulk, 8).Build(), 0));
}
