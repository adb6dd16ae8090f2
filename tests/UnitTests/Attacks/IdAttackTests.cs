using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Slot, endpoint, port and interrupter numbers that do not exist (SA-19:16, CVE-2024-32668, CVE-2024-41721).</summary>
public sealed class IdAttackTests
{
    // 0a076730ad (assertion on epid 0 and above 31): every doorbell with every target.
    [Fact]
    public void Doorbells_of_every_slot_and_target_wake_nobody_else()
    {
        using var arena = new Arena();
        long events = arena.Driver.EventCount;

        for (int slot = 0; slot < 256; slot++)
        {
            for (int target = 0; target < 256; target++)
            {
                if (slot == 0 && target == 0) continue;
                arena.Driver.RingDoorbell(slot, target);
            }
        }

        arena.Machine.Step();
        arena.Driver.ProcessEvents();
        Assert.Equal(events, arena.Driver.EventCount);
        Assert.Equal(0u, arena.Status & 0x1005);
        Assert.True(arena.Driver.NoOpCommand().Ok);
    }

    // 0a076730ad: doorbells with a stream for endpoints that have none.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(0xffff)]
    public void Stream_of_a_doorbell_means_nothing_to_an_endpoint_without_streams(int stream)
    {
        using var arena = new Arena();
        arena.Device.CompletesAtOnce = true;
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 64, GuestTrb.InterruptOnCompletion));
        int dci = arena.Aim(Arena.BulkIn, arena.At(0) | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci, stream);

        Assert.Equal(GuestCompletion.Success, arena.Driver.NextEvent(GuestTrbType.TransferEvent).Code);
    }

    // SA-19:16, CVE-2024-32668 (slot numbers used as an index unchecked): every command for slots that are not there.
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(64)]
    [InlineData(65)]
    [InlineData(255)]
    public void Commands_for_slots_that_are_not_there_are_refused(int slot)
    {
        using var arena = new Arena();
        ulong input = arena.Handle.Input.Buffer.Address;
        foreach (GuestTrbType type in SlotCommands)
        {
            CommandResult result = arena.Driver.Command(GuestTrb.Command(type, slot, 3, input));

            Assert.Equal((GuestCompletion.SlotNotEnabled, slot), (result.Code, result.Slot));
        }
    }

    // CVE-2024-41721 (endpoint numbers used as an index unchecked): endpoint commands for endpoints that are not there.
    [Theory]
    [InlineData(GuestTrbType.StopEndpoint)]
    [InlineData(GuestTrbType.ResetEndpoint)]
    [InlineData(GuestTrbType.SetTrDequeue)]
    public void Commands_for_endpoints_that_are_not_there_are_refused(GuestTrbType type)
    {
        using var arena = new Arena();
        for (int dci = 0; dci < 32; dci++)
        {
            if (dci == 1 || (dci > 1 && arena.Driver.Pipe(arena.Handle.Slot, dci) is not null)) continue;

            CommandResult result = arena.Driver.Command(GuestTrb.Command(type, arena.Handle.Slot, dci, arena.Hostile));

            Assert.Equal(dci == 0 ? GuestCompletion.TrbError : GuestCompletion.EndpointNotEnabled, result.Code);
        }
    }

    // PEERS 5 "unvalidated port ids": Address Device for ports that are not there or have no device.
    [Theory]
    [InlineData(0u)]
    [InlineData(2u)]
    [InlineData(8u)]
    [InlineData(9u)]
    [InlineData(255u)]
    public void Address_device_on_a_port_without_device_is_a_transaction_error(uint port)
    {
        using var arena = new Arena();
        CommandResult slot = arena.Driver.EnableSlot();
        GuestDeviceContext context = arena.Driver.NewDeviceContext();
        arena.Driver.SetDeviceContext(slot.Slot, context.Buffer.Address);
        GuestInputContext input = AddressInput(arena, port);

        CommandResult result = arena.Driver.AddressDevice(slot.Slot, input.Buffer.Address);

        Assert.Equal(GuestCompletion.TransactionError, result.Code);
        Assert.Equal(GuestSlotState.DisabledOrEnabled, context.Slot.SlotState);
    }

    // PEERS 5 "unvalidated port ids": the two commands that name a port or a hub.
    [Fact]
    public void Port_commands_for_ports_that_are_not_there_are_refused()
    {
        using var arena = new Arena();
        foreach (int port in new[] { 0, 9, 255 })
            Assert.Equal(GuestCompletion.TrbError, arena.Driver.ForceHeader(0, 0, port).Code);
        foreach (int hub in new[] { 2, 65, 255 })
            Assert.Equal(GuestCompletion.SlotNotEnabled, arena.Driver.GetPortBandwidth(arena.Hostile, 3, hub).Code);
        foreach (int speed in new[] { 0, 5, 15 })
            Assert.Equal(GuestCompletion.TrbError, arena.Driver.GetPortBandwidth(arena.Hostile, speed).Code);
    }

    // PEERS 5 "unvalidated ids": interrupter targets beyond MaxIntrs in a TRB and in a Slot Context.
    [Fact]
    public void Interrupters_that_are_not_there_are_refused_or_replaced_by_the_first()
    {
        using var arena = new Arena();
        arena.Device.CompletesAtOnce = true;
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 64, GuestTrb.InterruptOnCompletion, interrupter: 1023));
        arena.Loose(Arena.BulkIn);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        GuestInputContext input = AddressInput(arena, 1);
        SetInterrupter(input.Slot, 1023);
        input.AddFlags = 1;

        CommandResult evaluated = arena.Driver.EvaluateContext(arena.Handle.Slot, input.Buffer.Address);

        Assert.Equal((GuestCompletion.Success, 0), (told.Code, told.Interrupter));
        Assert.Equal(GuestCompletion.ParameterError, evaluated.Code);
    }

    // SA-19:16: every value of Context Entries and every pair of flags in Configure Endpoint, contexts all zero or all ones.
    [Theory]
    [InlineData(0x00)]
    [InlineData(0xff)]
    public void Configure_endpoint_with_every_flag_changes_only_what_is_valid(byte fill)
    {
        using var arena = new Arena();
        GuestInputContext input = arena.Driver.NewInputContext();
        for (int bit = 0; bit < 32; bit++)
        {
            foreach ((uint drop, uint add) in new[] { (0u, 1u << bit), (1u << bit, 1u), (1u << bit, 1u | (1u << bit)), (uint.MaxValue, uint.MaxValue), (0u, uint.MaxValue << bit) })
            {
                arena.Driver.Platform.Memory(input.Buffer.Address, input.Buffer.Length).Fill(fill);
                input.DropFlags = drop;
                input.AddFlags = add;
                CommandResult result = arena.Driver.ConfigureEndpoint(arena.Handle.Slot, input.Buffer.Address);
                Assert.Contains(result.Code, new[] { GuestCompletion.Success, GuestCompletion.ParameterError });
            }
        }

        Assert.True(arena.Driver.NoOpCommand().Ok);
    }

    // GitLab 1192's log (1 << 255): intervals that are no exponent are refused, the largest works.
    [Theory]
    [InlineData(255u, false)]
    [InlineData(64u, false)]
    [InlineData(32u, false)]
    [InlineData(16u, false)]
    [InlineData(15u, true)]
    public void Interval_as_a_shift_count_is_bounded(uint interval, bool valid)
    {
        using var arena = new Arena();
        GuestPipe pipe = arena.Pipe(Arena.InterruptIn);
        GuestInputContext input = arena.Handle.Input;
        input.Clear();
        for (int i = 0; i < 3; i++) Copy(input.Slot, arena.Handle.Context.Slot, i);
        input.Drop(pipe.Dci);
        input.Add(pipe.Dci);
        input.Add(0);
        XhciDriver.FillEndpoint(input.Endpoint(pipe.Dci), pipe.Endpoint, UsbSpeed.High, arena.At(0) | 1);
        SetInterval(input.Endpoint(pipe.Dci), interval);
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 64));
        arena.Put(1, GuestTrb.Normal(arena.Hostile + 0x8000, 64));

        CommandResult result = arena.Driver.ConfigureEndpoint(arena.Handle.Slot, input.Buffer.Address);
        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci);
        arena.Machine.AdvanceBy(10_000_000);

        Assert.Equal(valid ? GuestCompletion.Success : GuestCompletion.ParameterError, result.Code);
        Assert.Equal(valid ? 2 : 0, arena.Device.Held.Count);
    }

    // 84218892f0 (xhci_wakeup_endpoint indexed a slot array with an ID that its device made up): a device wakes when it is
    // not suspended, not addressed, being reset, and gone.
    [Fact]
    public void Wake_of_a_device_without_a_slot_concerns_nobody()
    {
        using var arena = new Arena();
        arena.Device.Host!.RemoteWake();
        arena.Handle.Close();
        arena.Device.Host.RemoteWake();
        arena.Device.ResetsAtOnce = false;
        arena.Driver.WritePort(1, XhciDriver.PortReset);
        arena.Device.Host.RemoteWake();
        arena.Machine.AdvanceBy(50_000_000);
        arena.Device.FinishReset();
        arena.Machine.AdvanceBy(50_000_000);
        uint port = arena.Driver.ReadPort(1);
        arena.Machine.Detach(1);
        arena.Device.Host.RemoteWake();
        arena.Device.Host.ResetDone();
        arena.Machine.AdvanceBy(1_000_000);

        Assert.Equal(XhciDriver.PortEnabled, port & (XhciDriver.PortEnabled | XhciDriver.PortReset));
        Assert.Equal(0u, port & XhciDriver.PortLinkChange);
        Assert.Equal(0u, arena.Driver.ReadPort(1) & XhciDriver.PortConnected);
    }

    // PEERS 5: the last slot, and one more than there are.
    [Theory]
    [InlineData(1)]
    [InlineData(255)]
    public void Slots_run_out_and_come_back(int slots)
    {
        using var rig = new EndToEnd.Rig(controller: new XhciOptions(Slots: slots));
        var given = new HashSet<int>();
        for (int i = 0; i < slots; i++) given.Add(rig.Driver.EnableSlot().Require("Enable Slot").Slot);

        CommandResult none = rig.Driver.EnableSlot();
        CommandResult disabled = rig.Driver.DisableSlot(slots);
        CommandResult again = rig.Driver.EnableSlot();

        Assert.Equal(slots, given.Count);
        Assert.Equal(GuestCompletion.NoSlotsAvailable, none.Code);
        Assert.True(disabled.Ok);
        Assert.Equal(slots, again.Slot);
    }

    private static readonly GuestTrbType[] SlotCommands =
    [
        GuestTrbType.DisableSlot, GuestTrbType.AddressDevice, GuestTrbType.ConfigureEndpoint, GuestTrbType.EvaluateContext,
        GuestTrbType.ResetEndpoint, GuestTrbType.StopEndpoint, GuestTrbType.SetTrDequeue, GuestTrbType.ResetDevice,
    ];

    private static GuestInputContext AddressInput(Arena arena, uint port)
    {
        GuestInputContext input = arena.Driver.NewInputContext();
        input.AddFlags = 3;
        GuestContext slot = input.Slot;
        slot.Speed = 3;
        slot.Entries = 1;
        slot.RootPort = port;
        GuestContext endpoint = input.Endpoint(1);
        endpoint.EndpointType = 4;
        endpoint.MaxPacketSize = 64;
        endpoint.DequeuePointer = arena.Hostile | 1;
        return input;
    }

    private static void SetInterrupter(GuestContext slot, uint value) => slot.SlotInterrupter = value;

    private static void SetInterval(GuestContext endpoint, uint value) => endpoint.Interval = value;

    private static void Copy(GuestContext to, GuestContext from, int dword) => to[dword] = from[dword];
}
