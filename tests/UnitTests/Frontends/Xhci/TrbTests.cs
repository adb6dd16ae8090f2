using System;
using System.Linq;
using Xunit;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

/// <summary>TRBs as wire values (xHCI 1.2 §6.4): fields partition the words, constructors put each value in its place.</summary>
public sealed class TrbTests
{
    private static readonly (string Name, int Low, int Width, Func<Trb, uint> Get)[] ControlFields =
    [
        ("cycle", 0, 1, t => t.Cycle ? 1u : 0),
        ("toggle cycle", 1, 1, t => t.ToggleCycle ? 1u : 0),
        ("evaluate next", 1, 1, t => t.EvaluateNext ? 1u : 0),
        ("short", 2, 1, t => t.InterruptOnShort ? 1u : 0),
        ("chain", 4, 1, t => t.Chain ? 1u : 0),
        ("completion", 5, 1, t => t.InterruptOnCompletion ? 1u : 0),
        ("immediate", 6, 1, t => t.ImmediateData ? 1u : 0),
        ("block event", 9, 1, t => t.BlockEventInterrupt ? 1u : 0),
        ("type", 10, 6, t => (uint)t.Type),
        ("endpoint", 16, 5, t => (uint)t.EndpointId),
        ("slot", 24, 8, t => (uint)t.SlotId),
    ];

    private static readonly (string Name, int Low, int Width, Func<Trb, uint> Get)[] StatusFields =
    [
        ("length", 0, 17, t => (uint)t.TransferLength),
        ("td size", 17, 5, t => (uint)t.TdSize),
        ("interrupter", 22, 10, t => (uint)t.InterrupterTarget),
    ];

    [Fact]
    public void Each_field_reads_its_own_bits_and_no_others()
    {
        for (int bit = 0; bit < 32; bit++)
        {
            foreach ((string name, int low, int width, Func<Trb, uint> get) in ControlFields)
                Assert.True(get(new Trb(ulong.MaxValue, uint.MaxValue, 1u << bit)) == (bit >= low && bit < low + width ? 1u << (bit - low) : 0), name);
            foreach ((string name, int low, int width, Func<Trb, uint> get) in StatusFields)
                Assert.True(get(new Trb(ulong.MaxValue, 1u << bit, uint.MaxValue)) == (bit >= low && bit < low + width ? 1u << (bit - low) : 0), name);
        }
    }

    [Fact]
    public void Status_fields_partition_the_word()
    {
        uint all = 0;
        foreach ((string _, int low, int width, Func<Trb, uint> _) in StatusFields)
        {
            uint mask = (uint)(((1ul << width) - 1) << low);
            Assert.Equal(0u, all & mask);
            all |= mask;
        }

        Assert.Equal(uint.MaxValue, all);
    }

    [Fact]
    public void Trb_goes_through_its_16_bytes_little_endian()
    {
        var trb = new Trb(0x0807060504030201, 0x0c0b0a09, 0x100f0e0d);
        var bytes = new byte[16];

        trb.Write(bytes);

        Assert.Equal(Enumerable.Range(1, 16).Select(i => (byte)i), bytes);
        Assert.Equal(trb, Trb.Read(bytes));
        Assert.Equal(16, Trb.Size);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0xffffff, true)]
    [InlineData(0x1234, true)]
    public void Transfer_event_has_pointer_residual_code_flag_endpoint_and_slot(int length, bool isEventData)
    {
        Trb e = Trb.TransferEvent(0x1122_3344_5566_7788, CompletionCode.SplitTransactionError, length, isEventData, 255, 31);

        Assert.Equal(0x1122_3344_5566_7788ul, e.Parameter);
        Assert.Equal((uint)length | (36u << 24), e.Status);
        Assert.Equal((32u << 10) | (isEventData ? 4u : 0) | (31u << 16) | (255u << 24), e.Control);
    }

    [Fact]
    public void Command_completion_event_has_pointer_parameter_code_and_slot()
    {
        Assert.Equal(new Trb(0xfff0, 1u << 24, (33u << 10) | (7u << 24)), Trb.CommandCompletionEvent(0xfff0, CompletionCode.Success, 7));
        Assert.Equal(new Trb(0xfff0, (5u << 24) | 0xffffff, 33u << 10), Trb.CommandCompletionEvent(0xfff0, CompletionCode.TrbError, 0, uint.MaxValue));
    }

    [Fact]
    public void Port_status_change_event_has_its_port_in_bits_31_to_24()
    {
        Assert.Equal(new Trb(0x1e00_0000, 1u << 24, 34u << 10), Trb.PortStatusChangeEvent(30));
    }

    [Fact]
    public void Other_events_have_their_type_and_code()
    {
        Assert.Equal(new Trb(0, 1u << 24, (35u << 10) | (9u << 24)), Trb.BandwidthRequestEvent(9));
        Assert.Equal(new Trb(0, 21u << 24, 37u << 10), Trb.HostControllerEvent(CompletionCode.EventRingFullError));
        Assert.Equal(new Trb(0, 1u << 24, 39u << 10), Trb.MicroframeIndexWrapEvent());
    }

    [Fact]
    public void Types_and_codes_are_those_of_the_specification_as_the_guest_reads_it()
    {
        foreach (TrbType type in Enum.GetValues<TrbType>()) Assert.True(Enum.IsDefined((GuestTrbType)(int)type), type.ToString());
        foreach (CompletionCode code in Enum.GetValues<CompletionCode>()) Assert.True(Enum.IsDefined((GuestCompletion)(int)code), code.ToString());
        Assert.Equal(Enum.GetValues<GuestTrbType>().Length, Enum.GetValues<TrbType>().Length);
        Assert.Equal(Enum.GetValues<GuestCompletion>().Length, Enum.GetValues<CompletionCode>().Length);
        Assert.Equal(
            (1, 2, 3, 4, 5, 6, 7, 8),
            ((int)TrbType.Normal, (int)TrbType.SetupStage, (int)TrbType.DataStage, (int)TrbType.StatusStage, (int)TrbType.Isoch, (int)TrbType.Link, (int)TrbType.EventData, (int)TrbType.NoOp));
    }

    [Theory]
    [InlineData(TrbType.EnableSlotCommand, 9)]
    [InlineData(TrbType.DisableSlotCommand, 10)]
    [InlineData(TrbType.AddressDeviceCommand, 11)]
    [InlineData(TrbType.ConfigureEndpointCommand, 12)]
    [InlineData(TrbType.EvaluateContextCommand, 13)]
    [InlineData(TrbType.ResetEndpointCommand, 14)]
    [InlineData(TrbType.StopEndpointCommand, 15)]
    [InlineData(TrbType.SetTrDequeuePointerCommand, 16)]
    [InlineData(TrbType.ResetDeviceCommand, 17)]
    [InlineData(TrbType.ForceEventCommand, 18)]
    [InlineData(TrbType.NegotiateBandwidthCommand, 19)]
    [InlineData(TrbType.SetLatencyToleranceValueCommand, 20)]
    [InlineData(TrbType.GetPortBandwidthCommand, 21)]
    [InlineData(TrbType.ForceHeaderCommand, 22)]
    [InlineData(TrbType.NoOpCommand, 23)]
    [InlineData(TrbType.GetExtendedPropertyCommand, 24)]
    [InlineData(TrbType.SetExtendedPropertyCommand, 25)]
    public void Command_types_have_their_number_and_read_slot_and_endpoint(TrbType type, int number)
    {
        Trb command = new(0, 0, ((uint)number << 10) | (0x5au << 24) | (17u << 16));

        Assert.Equal((type, 0x5a, 17), (command.Type, command.SlotId, command.EndpointId));
    }
}
