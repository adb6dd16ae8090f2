using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.UnitTests.Frontends.Xhci.Commands.CommandBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>No Op, Force Header, optional and unknown commands, and the Slot ID of completion events (xHCI 1.2 §4.6, §6.4.2.2).</summary>
public sealed class OtherCommandTests
{
    [Fact]
    public void No_op_succeeds()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        CommandResult result = bench.Driver.NoOpCommand();

        Assert.Equal((GuestCompletion.Success, 0, 0), (result.Code, result.Slot, result.Parameter));
    }

    // Port 1 has the device of the bench at high speed, port 5 at SuperSpeed; 4 and 6 have none.
    [Theory]
    [InlineData(UsbSpeed.Super, 5, GuestCompletion.Success)]
    [InlineData(UsbSpeed.Super, 6, GuestCompletion.TransactionError)]
    [InlineData(UsbSpeed.High, 1, GuestCompletion.TransactionError)]
    [InlineData(UsbSpeed.High, 0, GuestCompletion.TrbError)]
    [InlineData(UsbSpeed.High, 9, GuestCompletion.TrbError)]
    public void Force_header_is_answered_by_a_superspeed_port_with_a_device(UsbSpeed speed, int port, GuestCompletion expected)
    {
        using var bench = new CommandBench(SlotAt.Disabled, speed);

        CommandResult result = bench.Driver.ForceHeader(4, 0, port);

        Assert.Equal((expected, 0), (result.Code, result.Slot));
    }

    // HCCPARAMS1: BNC bit 1, LTC bit 6; HCCPARAMS2 (offset 1Ch): GSC bit 9... all 0, so these are TRB Errors (§4.6.1).
    [Fact]
    public void Optional_commands_are_trb_errors_as_their_capability_bits_say()
    {
        using var bench = new CommandBench(SlotAt.Addressed);
        XhciDriver driver = bench.Driver;

        Assert.Equal(0u, driver.HccParams1 & 0x42);
        Assert.Equal(0u, driver.Read32(0x1c) & 0x200);
        Assert.Equal(GuestCompletion.TrbError, driver.ForceEvent(0x1000, 0, 1).Code);
        Assert.Equal(GuestCompletion.TrbError, driver.NegotiateBandwidth(bench.Slot).Code);
        Assert.Equal(GuestCompletion.TrbError, driver.SetLatencyTolerance(100).Code);
        Assert.Equal(GuestCompletion.TrbError, driver.GetExtendedProperty(0x1000, 0).Code);
        Assert.Equal(GuestCompletion.TrbError, driver.SetExtendedProperty(0).Code);
    }

    [Fact]
    public void Types_that_are_no_commands_are_trb_errors_and_the_ring_goes_on()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        for (int type = 0; type < 64; type++)
        {
            bool isCommand = type == (int)GuestTrbType.Link || (type >= (int)GuestTrbType.EnableSlot && type <= (int)GuestTrbType.SetExtendedProperty);
            if (!isCommand) Assert.Equal(GuestCompletion.TrbError, bench.Driver.Command(GuestTrb.Command((GuestTrbType)type)).Code);
        }

        Assert.True(bench.Driver.NoOpCommand().Ok);
    }

    [Fact]
    public void Completion_names_the_slot_of_its_command_whatever_the_outcome()
    {
        using var bench = new CommandBench(SlotAt.Addressed);

        Assert.Equal((GuestCompletion.EndpointNotEnabled, 1), Outcome(bench.Stop(Unused)));
        Assert.Equal((GuestCompletion.SlotNotEnabled, 40), Outcome(bench.Driver.StopEndpoint(40, 1)));
        Assert.Equal((GuestCompletion.SlotNotEnabled, 200), Outcome(bench.Driver.ResetDevice(200)));
        Assert.Equal((GuestCompletion.Success, 2), Outcome(bench.Driver.EnableSlot()));
        Assert.Equal((GuestCompletion.Success, 2), Outcome(bench.Driver.DisableSlot(2)));
        Assert.Equal((GuestCompletion.Success, 0), Outcome(bench.Driver.Command(GuestTrb.Command(GuestTrbType.NoOpCommand, slot: 9))));
    }

    private static (GuestCompletion Code, int Slot) Outcome(CommandResult result) => (result.Code, result.Slot);
}
