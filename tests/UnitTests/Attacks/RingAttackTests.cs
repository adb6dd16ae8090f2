using System;
using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Rings that a guest builds to hold the model, to make it forget, or to make it look twice.</summary>
public sealed class RingAttackTests
{
    private const uint Ioc = GuestTrb.InterruptOnCompletion;

    // CVE-2016-8576 (xhci_ring_fetch followed Link TRBs for ever); PEERS 5 "infinite TRB/link loops".
    [Theory]
    [InlineData("self", 0u)]
    [InlineData("pair", 0u)]
    [InlineData("past the start", 0u)]
    [InlineData("flipping cycle", 0u)]
    [InlineData("self", Ioc)]
    [InlineData("pair", GuestTrb.Chain)]
    public void Links_without_end_on_a_transfer_ring_are_a_trb_error_of_their_endpoint(string shape, uint flags)
    {
        using var arena = new Arena();
        PutLinks(arena, shape, flags);

        int dci = arena.Loose(Arena.BulkIn);
        GuestEvent told = NextFailure(arena);

        Assert.Equal(GuestCompletion.TrbError, told.Code);
        Assert.Equal(GuestEndpointState.Error, arena.State(dci));
        Assert.Equal(0u, arena.Status & 0x1005);
        Assert.True(arena.Driver.NoOpCommand().Ok);
    }

    // CVE-2016-8576 on the ring that no endpoint state can stop: the controller reports an error of its own (§4.24.1).
    [Theory]
    [InlineData("self")]
    [InlineData("pair")]
    [InlineData("past the start")]
    [InlineData("flipping cycle")]
    public void Links_without_end_on_the_command_ring_are_a_host_controller_error(string shape)
    {
        using var arena = new Arena();
        PutLinks(arena, shape, 0);
        arena.Driver.StopCommandRing(abort: false);

        arena.Driver.Write64(arena.Driver.OperationalOffset + XhciDriver.CommandRingControl, arena.Hostile | 1);
        arena.Driver.RingDoorbell(0);
        arena.Machine.Step();

        Assert.Equal(0x1001u, arena.Status & 0x1005);
    }

    // A link to itself that toggles stops by itself: the cycle bit does not fit any more.
    [Fact]
    public void Link_to_itself_that_toggles_is_an_empty_ring()
    {
        using var arena = new Arena();
        arena.Put(0, GuestTrb.Link(arena.At(0), GuestTrb.ToggleCycle));

        int dci = arena.Loose(Arena.BulkIn);

        Assert.Null(arena.Driver.EventWithin(1_000_000));
        Assert.Equal(GuestEndpointState.Running, arena.State(dci));
    }

    // CVE-2020-14394 (xhci_ring_chain_length walked a chain without end), GitLab 646: TRBs that add no bytes.
    [Theory]
    [InlineData(0, GuestTrbType.Normal)]
    [InlineData(0, GuestTrbType.NoOp)]
    [InlineData(0, GuestTrbType.EventData)]
    public void Chain_without_end_and_without_data_is_a_trb_error(int length, GuestTrbType type)
    {
        using var arena = new Arena();
        arena.Put(0, new GuestTrb(arena.Hostile + 0x8000, (uint)length, GuestTrb.TypeBits(type) | GuestTrb.Chain));
        arena.Put(1, GuestTrb.Link(arena.At(0), GuestTrb.Chain));

        int dci = arena.Loose(Arena.BulkIn);

        Assert.Equal(GuestCompletion.TrbError, NextFailure(arena).Code);
        Assert.Equal(GuestEndpointState.Error, arena.State(dci));
    }

    // CVE-2020-14394: a TD that never ends and does move data costs one request at a time, and the guest can stop it.
    [Theory]
    [InlineData(512)]
    [InlineData(65536)]
    [InlineData(1)]
    public void Chain_without_end_with_data_is_served_in_bounded_pieces_and_can_be_stopped(int length)
    {
        using var arena = new Arena();
        var lengths = new List<int>();
        arena.Device.OnSubmit = (_, request) => lengths.Add(request.Length);
        arena.Device.CompletesAtOnce = true;
        int dci = arena.Aim(Arena.BulkIn, arena.At(0) | 1);
        arena.Put(0, GuestTrb.Normal(arena.Hostile, length, GuestTrb.Chain));
        arena.Put(1, GuestTrb.Link(arena.At(0), GuestTrb.Chain));

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Turn(20);
        CommandResult stopped = arena.CommandInTurn(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, dci));

        Assert.True(lengths.Count > 1);
        Assert.All(lengths, l => Assert.InRange(l, 1, UsbRequest.MaxLength));
        Assert.Equal(GuestCompletion.Success, stopped.Code);
        Assert.Equal(GuestEndpointState.Stopped, arena.State(dci));
    }

    // CVE-2017-5973 (xhci_kick_epctx looped over control TDs for ever): a ring of whole control transfers without an end.
    [Fact]
    public void Endless_control_transfers_leave_the_command_ring_its_turn()
    {
        using var arena = new Arena();
        ulong setup = new SetupPacket(0x80, 6, 0x0100, 0, 0).Raw;
        arena.Put(0, GuestTrb.Setup(setup, 0));
        arena.Put(1, GuestTrb.StatusStage(true, 0));
        arena.Put(2, GuestTrb.Link(arena.At(0), 0));
        int dci = arena.Aim(0, arena.At(0) | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Turn(50);
        CommandResult stopped = arena.CommandInTurn(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, dci));

        Assert.Equal(GuestCompletion.Success, stopped.Code);
        Assert.Equal(GuestEndpointState.Stopped, arena.State(dci));
    }

    // CVE-2017-5973: only Setup Stages, or only No Ops, which no device ever sees.
    [Theory]
    [InlineData(GuestTrbType.SetupStage)]
    [InlineData(GuestTrbType.NoOp)]
    public void Endless_tds_without_a_request_leave_the_command_ring_its_turn(GuestTrbType type)
    {
        using var arena = new Arena();
        for (int i = 0; i < 100; i++) arena.Put(i, type == GuestTrbType.NoOp ? GuestTrb.NoOp(0) : GuestTrb.Setup(0x0680, 0));
        arena.Put(100, GuestTrb.Link(arena.At(0), 0));
        int dci = arena.Aim(0, arena.At(0) | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Turn(50);
        CommandResult noOp = arena.CommandInTurn(GuestTrb.Command(GuestTrbType.NoOpCommand));
        CommandResult stopped = arena.CommandInTurn(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, dci));

        Assert.Equal(GuestCompletion.Success, noOp.Code);
        Assert.Equal(GuestCompletion.Success, stopped.Code);
    }

    // CVE-2017-9375 (a completion kicked the endpoint again, recursively): the device answers inside Submit and the guest
    // rings the doorbell there.
    [Fact]
    public void Doorbell_from_inside_a_completion_does_not_recurse()
    {
        using var arena = new Arena();
        int depth = 0;
        int deepest = 0;
        int dci = arena.Pipe(Arena.BulkIn).Dci;
        arena.Device.OnSubmit = (fake, request) =>
        {
            deepest = Math.Max(deepest, ++depth);
            arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
            fake.Complete(request);
            arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
            depth--;
        };
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        for (int i = 0; i < 100; i++) pipe.Submit(buffer.Address, 512, flags: TdFlags.NoDoorbell);

        pipe.Kick();
        for (int i = 0; i < 100; i++) Assert.Equal(GuestCompletion.Success, pipe.Reap().Code);

        Assert.Equal(1, deepest);
    }

    // LP 1883732, LP 1902612 (assertion ring->dequeue != 0), 22abfc96af; PEERS 5. Page 0 is memory like any other.
    [Theory]
    [InlineData(1u, GuestEndpointState.Running)]
    [InlineData(0u, GuestEndpointState.Error)]
    public void Dequeue_pointer_zero_is_an_address_like_any_other(uint cycle, GuestEndpointState expected)
    {
        using var arena = new Arena();
        int dci = arena.Aim(Arena.BulkIn, cycle);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Machine.Step();

        Assert.Equal(expected, arena.State(dci));
        Assert.Equal(0u, arena.Status & 0x1005);
    }

    // LP 1883732: as above for the first dequeue pointer of an endpoint and of endpoint 0.
    [Fact]
    public void Endpoint_configured_with_dequeue_pointer_zero_waits()
    {
        using var arena = new Arena();
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestInputContext input = arena.Handle.Input;
        input.Clear();
        for (int i = 0; i < 3; i++) Poke(input.Slot, i, arena.Handle.Context.Slot[i]);
        input.Drop(pipe.Dci);
        input.Add(pipe.Dci);
        input.Add(0);
        XhciDriver.FillEndpoint(input.Endpoint(pipe.Dci), pipe.Endpoint, UsbSpeed.High, 0);

        CommandResult configured = arena.Driver.ConfigureEndpoint(arena.Handle.Slot, input.Buffer.Address);
        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci);

        Assert.Equal(GuestCompletion.Success, configured.Code);
        Assert.Null(arena.Driver.EventWithin(1_000_000));
        Assert.Equal(GuestEndpointState.Running, arena.State(pipe.Dci));
    }

    // Rings outside memory and at the end of the address space: a host system error, no wrap into page 0 (§4.10.2.6).
    [Theory]
    [InlineData(0x8000_0000UL)]
    [InlineData(0xffff_ffff_ffff_fff0UL)]
    [InlineData(0x7fff_ffff_ffff_fff0UL)]
    public void Ring_outside_memory_is_a_host_system_error(ulong address)
    {
        using var arena = new Arena { AllowsRefusals = true };
        int dci = arena.Aim(Arena.BulkIn, address | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Machine.Step();

        Assert.Equal(0x5u, arena.Status & 0x1005);
    }

    // A ring that runs off the end of memory in mid TD.
    [Fact]
    public void Ring_that_leaves_memory_in_mid_td_is_a_host_system_error_without_a_request()
    {
        using var arena = new Arena { AllowsRefusals = true };
        ulong last = (ulong)arena.Machine.Memory.LowBytes - GuestTrb.Size;
        GuestTrb.Normal(arena.Hostile, 100, GuestTrb.Chain | GuestTrb.Cycle).Write(arena.Driver.Platform.Memory(last, GuestTrb.Size));
        int dci = arena.Aim(Arena.BulkIn, last | 1);

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Machine.Step();

        Assert.Equal(0x5u, arena.Status & 0x1005);
        Assert.Empty(arena.Device.Held);
    }

    // QEMU 2b, own addition: a ring rewritten between the scan for its length and the fetch. Each TRB is copied once.
    [Fact]
    public void Ring_rewritten_while_its_request_is_out_changes_nothing()
    {
        using var arena = new Arena();
        int length = 0;
        arena.Device.OnSubmit = (fake, request) =>
        {
            for (int i = 0; i < 3; i++) arena.Put(i, GuestTrb.Normal(0x8000_0000, 0x10000, GuestTrb.Chain));
            length = request.Length;
            fake.Fill(request, new byte[600]);
            fake.Complete(request, RequestStatus.Success, 600);
        };
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 512, GuestTrb.Chain));
        arena.Put(1, GuestTrb.Normal(arena.Hostile + 0x9000, 512, GuestTrb.Chain | GuestTrb.InterruptOnShort));
        arena.Put(2, GuestTrb.Normal(arena.Hostile + 0xa000, 512, Ioc));

        arena.Loose(Arena.BulkIn);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(1536, length);
        Assert.Equal((GuestCompletion.ShortPacket, arena.At(1), 512 - 88), (told.Code, told.Pointer, told.Residual));
    }

    // LP 1892761 class: the TD is rewritten while its endpoint is stopped in the middle of it, to less than was moved.
    [Fact]
    public void Td_made_shorter_than_what_was_moved_ends_without_harm()
    {
        using var arena = new Arena();
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 1024, GuestTrb.Chain));
        arena.Put(1, GuestTrb.Normal(arena.Hostile + 0x9000, 1024, Ioc));
        int dci = arena.Loose(Arena.BulkIn);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        arena.Device.Held[0].ActualLength = 512;
        arena.Driver.StopEndpoint(arena.Handle.Slot, dci);

        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 100, GuestTrb.Chain));
        arena.Put(1, GuestTrb.Normal(arena.Hostile + 0x9000, 0, Ioc));
        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal((GuestCompletion.Success, arena.At(1)), (told.Code, told.Pointer));
        Assert.Empty(arena.Device.Held);
    }

    // QEMU 2b, own addition: immediate data is part of the TRB's one copy.
    [Fact]
    public void Immediate_data_rewritten_after_the_fetch_is_not_read_again()
    {
        using var arena = new Arena();
        byte[] seen = [];
        arena.Device.OnSubmit = (fake, request) =>
        {
            arena.Put(0, GuestTrb.Normal(0xffff_ffff_ffff_ffff, 0x1ffff, GuestTrb.ImmediateData | Ioc));
            seen = request.Data.Immediate.ToArray();
            fake.Complete(request);
        };
        arena.Put(0, GuestTrb.Normal(0x0807_0605_0403_0201, 5, GuestTrb.ImmediateData | Ioc));

        arena.Loose(Arena.BulkOut);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal([1, 2, 3, 4, 5], seen);
        Assert.Equal((GuestCompletion.Success, 0), (told.Code, told.Residual));
    }

    private static void PutLinks(Arena arena, string shape, uint flags)
    {
        switch (shape)
        {
            case "self":
                arena.Put(0, GuestTrb.Link(arena.At(0), flags));
                break;
            case "pair":
                arena.Put(0, GuestTrb.Link(arena.At(4), flags));
                arena.Put(4, GuestTrb.Link(arena.At(0), flags));
                break;
            case "past the start":
                arena.Put(0, GuestTrb.Link(arena.At(4), flags));
                arena.Put(4, GuestTrb.Link(arena.At(8), flags));
                arena.Put(8, GuestTrb.Link(arena.At(4), flags));
                break;
            default:
                arena.Put(0, GuestTrb.Link(arena.At(4), flags | GuestTrb.ToggleCycle));
                arena.Put(4, GuestTrb.Link(arena.At(0), flags | GuestTrb.ToggleCycle), cycle: 0);
                break;
        }
    }

    private static GuestEvent NextFailure(Arena arena)
    {
        GuestEvent next;
        do next = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        while (next.Code == GuestCompletion.Success);
        return next;
    }

    private static void Poke(GuestContext context, int dword, uint value) => context[dword] = value;
}
