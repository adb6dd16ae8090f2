using System.Collections.Generic;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Completion codes (xHCI 1.2 table 6-90): one cause for each that is sent, and a storm in which the others never are.</summary>
public sealed class CompletionCodeTests
{
    private const uint Ioc = InterruptOnCompletion;

    [Fact]
    public void No_slots_available_when_every_slot_is_given_out()
    {
        using var bench = new TransferBench(controller: new XhciOptions(Slots: 1));

        Assert.Equal(GuestCompletion.NoSlotsAvailable, bench.Driver.EnableSlot().Code);
    }

    [Fact]
    public void Slot_not_enabled_for_commands_and_endpoint_not_enabled_for_endpoints()
    {
        using var bench = new TransferBench();

        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.StopEndpoint(50, 1).Code);
        Assert.Equal(GuestCompletion.SlotNotEnabled, bench.Driver.DisableSlot(50).Code);
        Assert.Equal(GuestCompletion.EndpointNotEnabled, bench.Stop(9));
        Assert.Equal(GuestCompletion.EndpointNotEnabled, bench.Reset(9));
    }

    [Fact]
    public void Context_state_error_and_parameter_error()
    {
        using var bench = new TransferBench();
        GuestInputContext input = bench.Driver.NewInputContext();
        input.AddFlags = 3;

        Assert.Equal(GuestCompletion.ContextStateError, bench.Reset(InDci));
        Assert.Equal(GuestCompletion.ContextStateError, bench.SetDequeue(InDci, bench.Ring(InDci).Base));
        Assert.Equal(GuestCompletion.ParameterError, bench.Driver.ConfigureEndpoint(bench.Slot, input.Buffer.Address).Code);
    }

    [Fact]
    public void Bandwidth_error_for_what_the_bus_cannot_carry()
    {
        using var bench = new TransferBench(UsbSpeed.High, TransferKind.Isochronous);
        GuestInputContext input = bench.Driver.NewInputContext();
        GuestContext slot = input.Slot;
        for (int i = 0; i < 3; i++) slot[i] = bench.Handle.Context.Slot[i];
        input.AddFlags = 1;
        for (int dci = 9; dci < 13; dci += 2)
        {
            input.Add(dci);
            XhciDriver.FillEndpoint(input.Endpoint(dci), new GuestEndpoint(0, 0, (byte)(0x80 | (dci / 2)), 1, 1024 | (2 << 11), 1), UsbSpeed.High, bench.Ring(InDci).Base);
        }

        slot.Entries = 31;

        Assert.Equal(GuestCompletion.BandwidthError, bench.Driver.ConfigureEndpoint(bench.Slot, input.Buffer.Address).Code);
    }

    [Theory]
    [InlineData(false, GuestCompletion.CommandRingStopped)]
    [InlineData(true, GuestCompletion.CommandAborted)]
    public void Command_ring_stopped_and_command_aborted(bool busy, GuestCompletion expected)
    {
        using var bench = new TransferBench();
        bench.Device.CancelsAtOnce = false;
        bench.Go(InDci, Normal(bench.Buffer(8).Address, 8));
        bench.Driver.PostCommand(busy ? Command(GuestTrbType.StopEndpoint, bench.Slot, InDci) : Command(GuestTrbType.NoOpCommand));
        bench.Driver.RingDoorbell(0);
        if (busy) bench.Machine.Step();
        bench.Log.Clear();

        bench.Driver.Write64(bench.Driver.OperationalOffset + 0x18, 4);
        bench.Machine.Step();
        bench.Driver.ProcessEvents();

        Assert.Contains(bench.Log, e => e.Type == GuestTrbType.CommandCompletion && e.Code == expected);
        Assert.Equal(GuestCompletion.CommandRingStopped, bench.Log[^1].Code);
    }

    [Fact]
    public void Stopped_length_invalid_between_two_trbs_of_an_open_td()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(1024);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 512, Chain));
        bench.Complete();

        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));

        bench.Expect(InDci, new Seen(GuestCompletion.StoppedLengthInvalid, at[0] + 16, 0));
        bench.Go(InDci, Normal(b.Address, 512, Ioc));
        Assert.Equal([512], bench.Held);
    }

    [Fact]
    public void Stopped_short_packet_tells_the_bytes_of_the_td()
    {
        using var bench = new TransferBench();
        GuestBuffer b = bench.Buffer(1024);
        ulong[] at = bench.Go(InDci, Normal(b.Address, 1024, Chain));
        bench.Complete(RequestStatus.Success, 700);

        Assert.Equal(GuestCompletion.Success, bench.Stop(InDci));

        bench.Expect(InDci, new Seen(GuestCompletion.StoppedShortPacket, at[0] + 16, 700));
        bench.Go(InDci, EventData(9));
        bench.Expect(InDci, new Seen(GuestCompletion.ShortPacket, 9, 700, true));
    }

    [Fact]
    public void Codes_and_event_types_without_a_cause_are_never_sent()
    {
        var codes = new HashSet<GuestCompletion>();
        var types = new HashSet<GuestTrbType>();
        foreach (TransferKind kind in new[] { TransferKind.Bulk, TransferKind.Interrupt, TransferKind.Isochronous })
        {
            foreach (RequestStatus status in System.Enum.GetValues<RequestStatus>())
            {
                using var bench = new TransferBench(kind == TransferKind.Bulk ? UsbSpeed.Super : UsbSpeed.High, kind);
                GuestBuffer b = bench.Buffer(4096);
                GuestTrb trb = kind == TransferKind.Isochronous ? Isoch(b.Address, 100, null, 0, 0, Ioc) : Normal(b.Address, 100, Ioc);
                bench.Go(InDci, trb, trb);
                bench.Go(OutDci, trb);
                bench.Doorbell(InDci, 7);
                bench.Machine.AdvanceBy(2_000_000);
                while (bench.Device.Held.Count > 0) bench.Complete(status, 30);
                // Every type and reserved ones as a command, for the slot, for none and for one that is not there.
                for (int type = 0; type < 64; type++)
                {
                    foreach (int slot in new[] { 0, bench.Slot, 40 })
                    {
                        if (type is not ((int)GuestTrbType.Link or (int)GuestTrbType.AddressDevice or (int)GuestTrbType.ConfigureEndpoint or (int)GuestTrbType.EvaluateContext))
                            bench.Driver.Command(Command((GuestTrbType)type, slot, InDci, b.Address));
                    }
                }

                bench.Machine.Detach(1);
                bench.Machine.AdvanceBy(1_000_000_000);
                bench.Driver.ProcessEvents();
                codes.UnionWith(bench.Log.Select(e => e.Code));
                types.UnionWith(bench.Log.Select(e => e.Type));
            }
        }

        GuestCompletion[] never =
        [
            GuestCompletion.Invalid, GuestCompletion.ResourceError, GuestCompletion.VfEventRingFull, GuestCompletion.NoPingResponse,
            GuestCompletion.IncompatibleDevice, GuestCompletion.MaxExitLatencyTooLarge, GuestCompletion.EventLost, GuestCompletion.Undefined,
            GuestCompletion.InvalidStreamId, GuestCompletion.SecondaryBandwidth, GuestCompletion.SplitTransaction,
        ];
        Assert.Empty(codes.Intersect(never));
        Assert.True(codes.Count > 8, string.Join(' ', codes));
        Assert.Empty(types.Intersect([GuestTrbType.BandwidthRequest, GuestTrbType.Doorbell, GuestTrbType.DeviceNotification]));
        Assert.Superset(new HashSet<GuestTrbType> { GuestTrbType.TransferEvent, GuestTrbType.CommandCompletion, GuestTrbType.PortStatusChange }, types);
    }
}
