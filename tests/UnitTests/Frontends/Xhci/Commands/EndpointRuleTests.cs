using System;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Which Endpoint Contexts Configure Endpoint accepts (xHCI 1.2 §6.2.3, tables 6-9 to 6-12).</summary>
public sealed class EndpointRuleTests
{
    [Theory]
    [InlineData(BulkIn, 0, false)]
    [InlineData(BulkIn, 2, false)]
    [InlineData(BulkIn, 3, false)]
    [InlineData(BulkIn, 1, false)]
    [InlineData(BulkIn, 6, true)]
    [InlineData(BulkIn, 7, true)]
    [InlineData(BulkOut, 6, false)]
    [InlineData(BulkOut, 5, false)]
    [InlineData(BulkOut, 4, false)]
    [InlineData(BulkOut, 2, true)]
    public void Type_must_fit_the_direction_of_its_dci(int dci, int type, bool accepted) =>
        Check(UsbSpeed.High, dci, accepted, (ref GuestContext context) => context.EndpointType = (uint)type);

    [Fact]
    public void Control_endpoint_lies_at_an_odd_dci() =>
        Check(UsbSpeed.High, Unused, accepted: true, (ref GuestContext context) =>
        {
            context.EndpointType = 4;
            context.MaxPacketSize = 64;
        });

    [Theory]
    [InlineData(UsbSpeed.Low, InterruptIn, 8, true)]
    [InlineData(UsbSpeed.Low, InterruptIn, 9, false)]
    [InlineData(UsbSpeed.Full, BulkIn, 64, true)]
    [InlineData(UsbSpeed.Full, BulkIn, 65, false)]
    [InlineData(UsbSpeed.Full, IsochIn, 1023, true)]
    [InlineData(UsbSpeed.Full, IsochIn, 1024, false)]
    [InlineData(UsbSpeed.High, BulkIn, 512, true)]
    [InlineData(UsbSpeed.High, BulkIn, 513, false)]
    [InlineData(UsbSpeed.High, InterruptIn, 1024, true)]
    [InlineData(UsbSpeed.High, InterruptIn, 1025, false)]
    [InlineData(UsbSpeed.Super, BulkIn, 1024, true)]
    [InlineData(UsbSpeed.Super, BulkIn, 1025, false)]
    [InlineData(UsbSpeed.Super, BulkIn, 0, false)]
    public void Packet_size_keeps_to_the_limit_of_its_speed(UsbSpeed speed, int dci, int packet, bool accepted) =>
        Check(speed, dci, accepted, (ref GuestContext context) => context.MaxPacketSize = (uint)packet);

    [Theory]
    [InlineData(UsbSpeed.High, 64, true)]
    [InlineData(UsbSpeed.High, 65, false)]
    [InlineData(UsbSpeed.Super, 512, true)]
    [InlineData(UsbSpeed.Super, 513, false)]
    public void Packet_size_of_a_further_control_endpoint_keeps_to_its_limit(UsbSpeed speed, int packet, bool accepted) =>
        Check(speed, Unused, accepted, (ref GuestContext context) =>
        {
            context.EndpointType = 4;
            context.MaxPacketSize = (uint)packet;
        });

    [Theory]
    [InlineData(UsbSpeed.Full, InterruptIn, 2, false)]
    [InlineData(UsbSpeed.Full, InterruptIn, 3, true)]
    [InlineData(UsbSpeed.Full, InterruptIn, 10, true)]
    [InlineData(UsbSpeed.Full, InterruptIn, 11, false)]
    [InlineData(UsbSpeed.Full, IsochIn, 18, true)]
    [InlineData(UsbSpeed.Full, IsochIn, 19, false)]
    [InlineData(UsbSpeed.High, InterruptIn, 0, true)]
    [InlineData(UsbSpeed.High, IsochIn, 15, true)]
    [InlineData(UsbSpeed.High, IsochIn, 16, false)]
    [InlineData(UsbSpeed.Super, InterruptIn, 16, false)]
    [InlineData(UsbSpeed.High, BulkIn, 255, true)]
    public void Interval_of_a_periodic_endpoint_keeps_to_the_range_of_its_speed(UsbSpeed speed, int dci, int interval, bool accepted) =>
        Check(speed, dci, accepted, (ref GuestContext context) => context.Interval = (uint)interval);

    [Theory]
    [InlineData(UsbSpeed.Super, BulkIn, 15, 0, true)]
    [InlineData(UsbSpeed.Super, BulkIn, 16, 0, false)]
    [InlineData(UsbSpeed.High, IsochIn, 2, 0, true)]
    [InlineData(UsbSpeed.High, IsochIn, 3, 0, false)]
    [InlineData(UsbSpeed.High, InterruptIn, 3, 0, false)]
    [InlineData(UsbSpeed.Super, IsochIn, 3, 2, true)]
    [InlineData(UsbSpeed.Super, IsochIn, 0, 3, false)]
    public void Burst_and_mult_keep_to_their_ranges(UsbSpeed speed, int dci, int burst, int mult, bool accepted) =>
        Check(speed, dci, accepted, (ref GuestContext context) =>
        {
            context.MaxBurst = (uint)burst;
            context.Mult = (uint)mult;
        });

    [Theory]
    [InlineData(UsbSpeed.Super, BulkIn, 1, true)]
    [InlineData(UsbSpeed.Super, BulkOut, 7, true)]
    [InlineData(UsbSpeed.Super, BulkIn, 8, false)]
    [InlineData(UsbSpeed.Super, InterruptIn, 1, false)]
    [InlineData(UsbSpeed.High, BulkIn, 1, false)]
    public void Streams_are_for_superspeed_bulk_endpoints_within_the_largest_array(UsbSpeed speed, int dci, int streams, bool accepted) =>
        Check(speed, dci, accepted, (ref GuestContext context) => context.MaxPrimaryStreams = (uint)streams);

    private delegate void Change(ref GuestContext context);

    private static void Check(UsbSpeed speed, int dci, bool accepted, Change change)
    {
        ArgumentNullException.ThrowIfNull(change);
        using var bench = new CommandBench(SlotAt.Addressed, speed);
        bench.NewConfigure();
        GuestContext context = bench.Add(dci);
        change(ref context);

        CommandResult result = bench.SendConfigure();

        Assert.Equal(accepted ? GuestCompletion.Success : GuestCompletion.ParameterError, result.Code);
        Assert.Equal(accepted ? GuestEndpointState.Running : GuestEndpointState.Disabled, bench.State(dci));
    }
}
