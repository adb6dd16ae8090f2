using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>Periodic bandwidth and Get Port Bandwidth (xHCI 1.2 §4.14.2, §4.16, §4.6.15).</summary>
public sealed class BandwidthTests
{
    // High speed: 60,000 bytes per millisecond, 80 % of them periodic. One microframe of three packets of 1024 bytes with
    // 40 bytes of overhead each is 3192 bytes, eight of them 25,536: one such endpoint fits, two do not.
    [Fact]
    public void Endpoints_beyond_the_bus_are_a_bandwidth_error_that_changes_nothing()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        Greedy(bench, IsochIn);
        bench.SendConfigure().Require("Configure Endpoint");
        byte[] before = bench.Snapshot();
        bench.NewConfigure();
        Greedy(bench, IsochOut);

        CommandResult result = bench.SendConfigure();

        Assert.Equal(GuestCompletion.BandwidthError, result.Code);
        Assert.Equal(before, bench.Snapshot());
    }

    [Fact]
    public void Bandwidth_of_a_dropped_endpoint_is_free_in_the_same_command()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        Greedy(bench, IsochIn);
        bench.SendConfigure().Require("Configure Endpoint");
        bench.NewConfigure();
        bench.Input.Drop(IsochIn);
        Greedy(bench, IsochOut);

        Assert.True(bench.SendConfigure().Ok);
    }

    [Theory]
    [InlineData("deconfigure")]
    [InlineData("reset")]
    [InlineData("disable")]
    public void Bandwidth_is_free_again_when_its_endpoints_are_gone(string way)
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        Greedy(bench, IsochIn);
        bench.SendConfigure().Require("Configure Endpoint");
        byte[] reserved = Percent(bench, 3);

        CommandResult freed = way switch
        {
            "deconfigure" => bench.SendConfigure(deconfigure: true),
            "reset" => bench.Driver.ResetDevice(bench.Slot),
            _ => bench.Driver.DisableSlot(bench.Slot),
        };

        Assert.True(freed.Ok);
        Assert.Equal(37, reserved[1]);
        Assert.Equal(80, Percent(bench, 3)[1]);
    }

    // Shares: 90 % at full and low speed (USB 2.0 §5.6.4), 80 % at high speed, 90 % for each direction at SuperSpeed.
    [Theory]
    [InlineData(UsbSpeed.Low, InterruptIn, 8, 0, 3)]
    [InlineData(UsbSpeed.Full, IsochIn, 1023, 0, 3)]
    [InlineData(UsbSpeed.High, IsochIn, 1024, 2, 0)]
    [InlineData(UsbSpeed.Super, IsochIn, 1024, 15, 0)]
    public void Largest_single_endpoint_of_each_speed_fits(UsbSpeed speed, int dci, int packet, int burst, int interval)
    {
        using var bench = new CommandBench(SlotAt.Addressed, speed);
        bench.NewConfigure();
        GuestContext context = bench.Add(dci);
        context.MaxPacketSize = (uint)packet;
        context.MaxBurst = (uint)burst;
        context.Interval = (uint)interval;
        context.MaxEsitPayload = 0;

        Assert.True(bench.SendConfigure().Ok);
    }

    [Fact]
    public void Superspeed_directions_do_not_compete()
    {
        using var bench = new CommandBench(SlotAt.Addressed, UsbSpeed.Super);
        bench.NewConfigure();
        foreach (int dci in new[] { IsochIn, IsochOut })
        {
            GuestContext context = bench.Add(dci);
            context.MaxPacketSize = 1024;
            context.MaxBurst = 15;
            context.Mult = 2;
            context.Interval = 0;
            context.MaxEsitPayload = 48 * 1024;
        }

        CommandResult both = bench.SendConfigure();
        bench.NewConfigure();
        GuestContext more = bench.Add(Unused);
        more.MaxPacketSize = 1024;
        more.MaxBurst = 15;
        more.Interval = 0;
        more.MaxEsitPayload = 16 * 1024;

        Assert.True(both.Ok);
        Assert.Equal(GuestCompletion.BandwidthError, bench.SendConfigure().Code);
    }

    [Fact]
    public void Devices_on_different_ports_do_not_compete()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        bench.NewConfigure();
        Greedy(bench, IsochIn);
        bench.SendConfigure().Require("Configure Endpoint");
        int port = bench.Plug(new FakeDevice(), 2);
        int second = bench.Driver.EnableSlot().Slot;
        GuestDeviceContext output = bench.Driver.NewDeviceContext();
        bench.Driver.SetDeviceContext(second, output.Buffer.Address);
        bench.Input.Clear();
        Fill(bench.Input, port, UsbSpeed.High, bench.Driver.Ring(16).EnqueuePointer | 1);
        bench.Driver.AddressDevice(second, bench.Input.Buffer.Address).Require("Address Device");

        bench.NewConfigure();
        Greedy(bench, IsochIn);

        Assert.True(bench.Driver.ConfigureEndpoint(second, bench.Input.Buffer.Address).Ok);
    }

    // Ports 1-4 are USB 2, 5-8 USB 3: a port of the other bus reads 0 (§4.6.15).
    [Theory]
    [InlineData(1, 90, 0)]
    [InlineData(2, 90, 0)]
    [InlineData(3, 80, 0)]
    [InlineData(4, 0, 90)]
    public void Free_ports_offer_the_whole_periodic_share_of_their_speed(int speed, byte usb2, byte usb3)
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        byte[] percent = Percent(bench, speed);

        Assert.Equal(0, percent[0]);
        Assert.Equal(Enumerable.Repeat(usb2, 4), percent[1..5]);
        Assert.Equal(Enumerable.Repeat(usb3, 4), percent[5..9]);
        Assert.Equal(new byte[7], percent[9..16]);
        Assert.Equal(0xee, percent[16]);
    }

    [Fact]
    public void Port_of_a_configured_device_offers_less()
    {
        using var bench = new CommandBench(SlotAt.Addressed, UsbSpeed.Super);
        byte before = Percent(bench, 4)[5];
        bench.NewConfigure();
        GuestContext context = bench.Add(IsochIn);
        context.MaxPacketSize = 1024;
        context.MaxBurst = 15;
        context.Interval = 0;
        context.MaxEsitPayload = 16 * 1024;
        bench.SendConfigure().Require("Configure Endpoint");

        byte[] after = Percent(bench, 4);

        Assert.Equal((90, 62, 90), (before, after[5], after[6]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(15)]
    public void Speed_that_does_not_exist_is_a_trb_error(int speed)
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(GuestCompletion.TrbError, bench.Driver.GetPortBandwidth(bench.Driver.AllocateStructure(64).Address, speed).Code);
    }

    // There are no hubs, so no slot is one.
    [Theory]
    [InlineData(1, GuestCompletion.ParameterError)]
    [InlineData(2, GuestCompletion.SlotNotEnabled)]
    public void Hub_slot_that_is_none_is_refused(int hub, GuestCompletion expected)
    {
        using var bench = new CommandBench(SlotAt.Addressed);

        CommandResult result = bench.Driver.GetPortBandwidth(bench.Driver.AllocateStructure(64).Address, 3, hub);

        Assert.Equal((expected, 0), (result.Code, result.Slot));
    }

    [Fact]
    public void Context_that_cannot_be_written_is_a_host_system_error()
    {
        using var bench = new CommandBench(SlotAt.Disabled) { ExpectedRefusals = 1 };

        bench.Begin(GuestTrb.Command(GuestTrbType.GetPortBandwidth, 0, 0, Unmapped, 3u << 16));

        Assert.True(bench.HostSystemError);
    }

    private static void Greedy(CommandBench bench, int dci)
    {
        GuestContext context = bench.Add(dci);
        context.MaxPacketSize = 1024;
        context.MaxBurst = 2;
        context.Interval = 0;
        context.MaxEsitPayload = 3072;
    }

    private static byte[] Percent(CommandBench bench, int speed)
    {
        GuestBuffer context = bench.Driver.AllocateStructure(64);
        bench.Driver.Platform.Memory(context.Address, 64).Fill(0xee);
        bench.Driver.GetPortBandwidth(context.Address, speed).Require("Get Port Bandwidth");
        return bench.Bytes(context.Address, 64);
    }
}
