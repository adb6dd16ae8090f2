using System;
using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Transfers whose lengths, buffers or kinds contradict each other.</summary>
public sealed class TransferAttackTests
{
    private const uint Ioc = GuestTrb.InterruptOnCompletion;

    // CVE-2020-25084 (usb_packet_map's failure was ignored): the buffer is not there, in whole or from some page on.
    [Theory]
    [InlineData(true, 0x8000_0000UL, 512)]
    [InlineData(false, 0x8000_0000UL, 512)]
    [InlineData(true, 0x01ff_fe00UL, 1024)]
    [InlineData(false, 0x01ff_fe00UL, 1024)]
    [InlineData(true, 0xffff_ffff_ffff_ff00UL, 512)]
    [InlineData(false, 0xffff_ffff_ffff_ff00UL, 512)]
    public void Buffer_that_cannot_be_mapped_is_a_data_buffer_error_of_its_endpoint(bool isIn, ulong address, int length)
    {
        using var arena = new Arena { AllowsRefusals = true };
        UsbDeviceHandle zero = arena.Rig.PlugZero(connector: 2);
        GuestPipe pipe = zero.Pipe(TransferKind.Bulk, isIn);
        arena.Driver.Platform.Memory(0x01ff_fe00, 512).Clear();
        for (int i = 0; i < 512; i++) arena.Driver.Platform.Memory(0x01ff_fe00, 512)[i] = (byte)(i % 63);

        TransferCompletion done = pipe.Wait(pipe.Submit([new GuestBuffer(address, length)]));

        Assert.Equal(GuestCompletion.DataBufferError, done.Code);
        Assert.Equal(GuestEndpointState.Halted, zero.Context.Endpoint(pipe.Dci).EndpointState);
        Assert.Equal(0u, arena.Status & 0x1005);
    }

    // GitLab 158, LP 1810000 (abort in usb_packet_copy; real Windows drivers do it): the buffers end before wLength.
    [Theory]
    [InlineData(18, 8)]
    [InlineData(64, 0)]
    [InlineData(0xffff, 18)]
    [InlineData(8, 0x10000)]
    [InlineData(0, 64)]
    public void Setup_length_other_than_the_buffers_is_bounded_by_both(int wLength, int buffers)
    {
        using var arena = new Arena();
        UsbDeviceHandle zero = arena.Rig.PlugZero(connector: 2);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(0x11000);
        byte[] before = arena.Rig.Bytes(buffer);
        GuestRing ring = zero.Control.Ring;
        arena.Driver.Register(zero.Slot, 1, null);
        ring.Enqueue(GuestTrb.Setup(new SetupPacket(0x80, 6, 0x0100, 0, (ushort)wLength).Raw, 3));
        ring.Enqueue(GuestTrb.Data(buffer.Address, buffers, isIn: true, Ioc));
        ring.Enqueue(GuestTrb.StatusStage(isIn: false));

        arena.Driver.RingDoorbell(zero.Slot, 1);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        byte[] after = arena.Rig.Bytes(buffer);

        int most = Math.Min(Math.Min(wLength, buffers), 18);
        Assert.Equal(before[most..], after[most..]);
        Assert.Contains(told.Code, new[] { GuestCompletion.Success, GuestCompletion.ShortPacket, GuestCompletion.Stall, GuestCompletion.Babble, GuestCompletion.TrbError });
    }

    // CVE-2020-14364 (setup_len was kept before it was checked, so that later requests went out of bounds): a refused
    // setup leaves nothing behind for the next one.
    [Theory]
    [InlineData(0x10000)]
    [InlineData(0xffff)]
    public void Setup_length_out_of_bounds_leaves_nothing_for_the_next_request(int length)
    {
        using var arena = new Arena();
        UsbDeviceHandle zero = arena.Rig.PlugZero(connector: 2);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(0x20000);
        GuestRing ring = zero.Control.Ring;
        GuestPipe control = zero.Control;
        arena.Driver.Register(zero.Slot, 1, null);
        ring.Enqueue(GuestTrb.Setup(new SetupPacket(0x40, 0x5b, 0, 0, 0xffff).Raw, 2));
        ring.Enqueue(GuestTrb.Data(buffer.Address, length, isIn: false, GuestTrb.Chain));
        ring.Enqueue(GuestTrb.Normal(buffer.Address + 0x10000, 0x10000, Ioc));
        arena.Driver.RingDoorbell(zero.Slot, 1);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(GuestCompletion.TrbError, told.Code);
        ring.ReleaseAll();
        Assert.True(arena.Driver.SetTrDequeue(zero.Slot, 1, ring.EnqueuePointer | ring.EnqueueCycle).Ok);
        arena.Driver.Register(zero.Slot, 1, control);
        zero.ReadDeviceDescriptor();
        Assert.Equal(0x0525, zero.VendorId);
    }

    // CVE-2021-3527 (alloca of a length that the guest chose): 16 MiB in one TD need no memory of their own.
    [Fact]
    public void Transfer_of_16_mib_is_cut_into_bounded_requests_and_allocates_nothing_when_repeated()
    {
        using var arena = new Arena();
        var lengths = new List<int>(64);
        arena.Device.OnSubmit = (_, request) => lengths.Add(request.Length);
        arena.Device.CompletesAtOnce = true;
        for (int i = 0; i < 256; i++) arena.Put(i, GuestTrb.Normal(0x10_0000, 0x10000, i == 255 ? Ioc : GuestTrb.Chain));
        int dci = arena.Loose(Arena.BulkIn);
        Assert.Equal(GuestCompletion.Success, arena.Driver.NextEvent(GuestTrbType.TransferEvent).Code);
        arena.Driver.StopEndpoint(arena.Handle.Slot, dci);
        arena.Driver.SetTrDequeue(arena.Handle.Slot, dci, arena.At(0) | 1);
        int first = lengths.Count;

        long before = GC.GetAllocatedBytesForCurrentThread();
        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Machine.Step();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(2 * first, lengths.Count);
        Assert.All(lengths, l => Assert.InRange(l, 1, UsbRequest.MaxLength));
        Assert.InRange(allocated, 0, 4096);
        Assert.Equal(GuestCompletion.Success, arena.Driver.NextEvent(GuestTrbType.TransferEvent).Code);
    }

    // 8f36ec7088 (assertion on a transfer without a packet): TDs that hold no data TRB, and zero lengths.
    [Theory]
    [InlineData(Arena.BulkIn)]
    [InlineData(Arena.BulkOut)]
    [InlineData(Arena.InterruptIn)]
    public void Transfer_without_a_packet_ends_with_its_event(byte endpoint)
    {
        using var arena = new Arena();
        arena.Device.CompletesAtOnce = true;
        arena.Put(0, GuestTrb.NoOp());
        arena.Put(1, GuestTrb.EventData(0x1234));
        arena.Put(2, GuestTrb.NoOp(GuestTrb.Chain));
        arena.Put(3, GuestTrb.EventData(0x5678));
        arena.Put(4, GuestTrb.Normal(0, 0, Ioc));

        arena.Loose(endpoint);
        var told = new List<(GuestCompletion, ulong)>();
        for (int i = 0; i < 4; i++)
        {
            GuestEvent next = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
            told.Add((next.Code, next.Pointer));
        }

        Assert.Equal(
            [(GuestCompletion.Success, arena.At(0)), (GuestCompletion.Success, 0x1234UL), (GuestCompletion.Success, 0x5678UL), (GuestCompletion.Success, arena.At(4))],
            told);
    }

    // 8f36ec7088 for isochronous endpoints: an Isoch TRB of no bytes, and one without a first TRB.
    [Theory]
    [InlineData(Arena.IsochIn)]
    [InlineData(Arena.IsochOut)]
    public void Isochronous_transfer_without_data_or_without_its_trb_does_no_harm(byte endpoint)
    {
        using var arena = new Arena();
        arena.Device.CompletesAtOnce = true;
        arena.Put(0, GuestTrb.Isoch(0, 0, null, 0, 0, Ioc));
        arena.Put(1, GuestTrb.Normal(arena.Hostile, 100, Ioc));

        int dci = arena.Loose(endpoint);
        GuestEvent empty = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        GuestEvent wrong = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(GuestCompletion.Success, empty.Code);
        Assert.Equal((GuestCompletion.TrbError, arena.At(1)), (wrong.Code, wrong.Pointer));
        Assert.Equal(GuestEndpointState.Error, arena.State(dci));
    }

    // GitLab 544, LP 1909261 (assertion on a NAK of an isochronous retry): a device that never answers its interval.
    [Fact]
    public void Isochronous_endpoint_whose_device_never_answers_can_be_stopped()
    {
        using var arena = new Arena();
        for (int i = 0; i < 4; i++) arena.Put(i, GuestTrb.Isoch(arena.Hostile + 0x8000, 512, null, 0, 0, Ioc));
        int dci = arena.Loose(Arena.IsochIn);

        for (int i = 0; i < 20; i++)
        {
            arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
            arena.Machine.AdvanceBy(1_000_000);
        }

        Assert.InRange(arena.Device.Held.Count, 1, 4);
        Assert.Equal(GuestCompletion.Success, arena.Driver.StopEndpoint(arena.Handle.Slot, dci).Code);
        Assert.Empty(arena.Device.Held);
    }

    // OSS-Fuzz 28929 (assertion on a NAK without a retry): doorbells on an endpoint whose device says nothing.
    [Theory]
    [InlineData(Arena.BulkIn)]
    [InlineData(Arena.BulkOut)]
    [InlineData(Arena.InterruptIn)]
    public void Doorbells_while_the_device_says_nothing_send_each_transfer_once(byte endpoint)
    {
        using var arena = new Arena();
        int submitted = 0;
        arena.Device.OnSubmit = (_, _) => submitted++;
        arena.Put(0, GuestTrb.Normal(arena.Hostile + 0x8000, 64, Ioc));
        int dci = arena.Loose(endpoint);

        for (int i = 0; i < 50; i++)
        {
            arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
            arena.Machine.AdvanceBy(1_000_000);
        }

        Assert.Equal(1, submitted);
        arena.Device.CompleteNext();
        Assert.Equal(GuestCompletion.Success, arena.Driver.NextEvent(GuestTrbType.TransferEvent).Code);
    }

    // CVE-2024-8354, GitLab 2548 (usb_ep_get asserted on a SETUP to another endpoint than 0): no endpoint of the device is
    // reached, whatever the guest calls it.
    [Fact]
    public void Setup_to_an_endpoint_other_than_0_reaches_no_device()
    {
        using var arena = new Arena();
        int submitted = 0;
        arena.Device.OnSubmit = (_, _) => submitted++;
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestInputContext input = arena.Handle.Input;
        input.Clear();
        for (int i = 0; i < 3; i++) Copy(input.Slot, arena.Handle.Context.Slot, i);
        input.Drop(pipe.Dci);
        input.Add(pipe.Dci);
        input.Add(0);
        XhciDriver.FillEndpoint(input.Endpoint(pipe.Dci), pipe.Endpoint, UsbSpeed.High, arena.At(0) | 1);
        MakeControl(input.Endpoint(pipe.Dci));
        arena.Put(0, GuestTrb.Setup(new SetupPacket(0x80, 6, 0x0100, 0, 0).Raw, 0));
        arena.Put(1, GuestTrb.StatusStage(isIn: true));
        arena.Driver.Register(arena.Handle.Slot, pipe.Dci, null);

        Assert.True(arena.Driver.ConfigureEndpoint(arena.Handle.Slot, input.Buffer.Address).Ok);
        arena.Driver.RingDoorbell(arena.Handle.Slot, pipe.Dci);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal(GuestCompletion.TransactionError, told.Code);
        Assert.Equal(GuestEndpointState.Halted, arena.State(pipe.Dci));
        Assert.Equal(0, submitted);
    }

    // CVE-2024-8354: a Setup Stage TRB on a bulk ring, and each other TRB that belongs to another kind.
    [Theory]
    [InlineData(GuestTrbType.SetupStage)]
    [InlineData(GuestTrbType.DataStage)]
    [InlineData(GuestTrbType.StatusStage)]
    [InlineData(GuestTrbType.Isoch)]
    [InlineData(GuestTrbType.Reserved)]
    [InlineData(GuestTrbType.EnableSlot)]
    [InlineData(GuestTrbType.TransferEvent)]
    [InlineData((GuestTrbType)63)]
    public void Trb_of_another_kind_is_a_trb_error_and_reaches_no_device(GuestTrbType type)
    {
        using var arena = new Arena();
        int submitted = 0;
        arena.Device.OnSubmit = (_, _) => submitted++;
        arena.Put(0, new GuestTrb(0x8000_0000, 8, GuestTrb.TypeBits(type) | GuestTrb.ImmediateData));

        int dci = arena.Loose(Arena.BulkOut);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal((GuestCompletion.TrbError, arena.At(0)), (told.Code, told.Pointer));
        Assert.Equal(GuestEndpointState.Error, arena.State(dci));
        Assert.Equal(0, submitted);
    }

    private static void Copy(GuestContext to, GuestContext from, int dword) => to[dword] = from[dword];

    private static void MakeControl(GuestContext endpoint)
    {
        endpoint.EndpointType = 4;
        endpoint.MaxPacketSize = 64;
    }
}
