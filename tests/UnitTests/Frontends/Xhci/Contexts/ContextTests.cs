using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Frontends.Xhci.Commands;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Contexts;

/// <summary>The context structures as wire values (xHCI 1.2 §6.2).</summary>
public sealed class ContextTests
{
    // Each bit of a structure belongs to one of its fields or is reserved: setting one bit alone changes exactly one field.
    [Fact]
    public void Slot_context_fields_partition_its_words()
    {
        int[][] bits = Owners(16, bytes =>
        {
            SlotContext c = SlotContext.Read(bytes);
            return [c.RouteString, (uint)c.Speed, (uint)c.ContextEntries, (uint)c.MaxExitLatency, (uint)c.RootHubPort, (uint)c.InterrupterTarget, (uint)c.DeviceAddress, (uint)c.State];
        });

        Assert.Equal([20, 4, 5, 16, 8, 10, 8, 5], Array.ConvertAll(bits, field => field.Length));
        Assert.Equal([0, 20, 27, 32, 48, 64 + 22, 96, 96 + 27], Array.ConvertAll(bits, field => field[0]));
    }

    [Fact]
    public void Endpoint_context_fields_partition_its_words()
    {
        int[][] bits = Owners(20, bytes =>
        {
            EndpointContext c = EndpointContext.Read(bytes);
            return
            [
                (uint)c.State, (uint)c.Mult, (uint)c.MaxPrimaryStreams, c.LinearStreamArray ? 1u : 0, (uint)c.Interval, (uint)c.ErrorCount,
                (uint)c.Type, c.HostInitiateDisable ? 1u : 0, (uint)c.MaxBurst, (uint)c.MaxPacketSize, c.DequeueCycle ? 1u : 0, c.DequeuePointer, (uint)c.MaxEsitPayload,
            ];
        });

        Assert.Equal([3, 2, 5, 1, 8, 2, 3, 1, 8, 16, 1, 60, 16], Array.ConvertAll(bits, field => field.Length));
        Assert.Equal([0, 8, 10, 15, 16, 33, 35, 39, 40, 48, 64, 68, 128 + 16], Array.ConvertAll(bits, field => field[0]));
    }

    [Fact]
    public void Stream_context_fields_partition_its_words()
    {
        int[][] bits = Owners(16, bytes =>
        {
            StreamContext c = StreamContext.Read(bytes);
            return [c.DequeueCycle ? 1u : 0, (uint)c.Type, c.DequeuePointer, c.StoppedEdtla];
        });

        Assert.Equal([1, 3, 60, 24], Array.ConvertAll(bits, field => field.Length));
        Assert.Equal([0, 1, 4, 64], Array.ConvertAll(bits, field => field[0]));
    }

    [Fact]
    public void Input_control_context_has_a_drop_and_an_add_flag_for_each_context()
    {
        for (int dci = 0; dci < 32; dci++)
        {
            var bytes = new byte[32];
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, 1u << dci);
            InputControlContext drop = InputControlContext.Read(bytes);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, 1UL << (32 + dci));
            InputControlContext add = InputControlContext.Read(bytes);

            for (int other = 0; other < 32; other++)
            {
                Assert.Equal((other == dci, false), (drop.Drops(other), drop.Adds(other)));
                Assert.Equal((false, other == dci), (add.Drops(other), add.Adds(other)));
            }
        }
    }

    [Fact]
    public void Slot_context_comes_back_from_its_bytes_and_the_rest_is_cleared()
    {
        var context = new SlotContext(0x11223344, 0x55667788, 0x99aabbcc, 0xddeeff00);
        byte[] bytes = Filled(0xee);

        context.Write(bytes);

        Assert.Equal(context, SlotContext.Read(bytes));
        Assert.Equal(new byte[16], bytes[16..]);
    }

    [Fact]
    public void Endpoint_context_comes_back_from_its_bytes_and_the_rest_is_cleared()
    {
        var context = new EndpointContext(0x11223344, 0x55667788, 0x99aabbccddeeff01, 0x12345678);
        byte[] bytes = Filled(0xee);

        context.Write(bytes);

        Assert.Equal(context, EndpointContext.Read(bytes));
        Assert.Equal(new byte[12], bytes[20..]);
    }

    [Fact]
    public void Changes_of_a_context_leave_the_other_fields_alone()
    {
        var slot = new SlotContext(uint.MaxValue, 1, 2, uint.MaxValue);
        var endpoint = new EndpointContext(uint.MaxValue, 1, 2, 3);
        var stream = new StreamContext(0x1004, 5);

        SlotContext addressed = slot.WithAddressAndState(127, SlotState.Configured).WithContextEntries(5);
        EndpointContext stopped = endpoint.WithState(EndpointState.Stopped);
        StreamContext moved = stream.WithPosition(0x2001);

        Assert.Equal((127, SlotState.Configured, 5), (addressed.DeviceAddress, addressed.State, addressed.ContextEntries));
        Assert.Equal((slot.RouteString, slot.Speed, 1u, 2u), (addressed.RouteString, addressed.Speed, addressed.Word1, addressed.Word2));
        Assert.Equal(endpoint with { Word0 = 0xffff_fffb }, stopped);
        Assert.Equal(new StreamContext(0x2005, 5), moved);
    }

    [Theory]
    [InlineData(EndpointType.NotValid, TransferKind.Control)]
    [InlineData(EndpointType.Control, TransferKind.Control)]
    [InlineData(EndpointType.BulkIn, TransferKind.Bulk)]
    [InlineData(EndpointType.BulkOut, TransferKind.Bulk)]
    [InlineData(EndpointType.InterruptIn, TransferKind.Interrupt)]
    [InlineData(EndpointType.InterruptOut, TransferKind.Interrupt)]
    [InlineData(EndpointType.IsochIn, TransferKind.Isochronous)]
    [InlineData(EndpointType.IsochOut, TransferKind.Isochronous)]
    internal void Endpoint_type_names_a_transfer_type(EndpointType type, TransferKind kind) => Assert.Equal(kind, EndpointContext.KindOf(type));

    [Fact]
    public void Contexts_are_32_bytes_as_csz_says()
    {
        using var bench = new CommandBench(SlotAt.Disabled);

        Assert.Equal(0u, bench.Driver.HccParams1 & 4);
        Assert.Equal((32, 32, 16), (SlotContext.Size, EndpointContext.Size, StreamContext.Size));
    }

    [Fact]
    public void Reserved_bits_of_input_contexts_do_no_harm()
    {
        using var bench = new CommandBench(SlotAt.Enabled);
        GuestContext control = bench.Input.Control;
        for (int word = 2; word < 8; word++) control[word] = uint.MaxValue;
        GuestContext slot = bench.Input.Slot;
        GuestContext endpoint = bench.Input.Endpoint(1);
        for (int word = 5; word < 8; word++) slot[word] = endpoint[word] = uint.MaxValue;
        slot[0] |= 1u << 24;
        slot[2] |= 0xfu << 18;
        slot[3] = uint.MaxValue;
        endpoint[0] |= (31u << 3) | 7;
        endpoint[1] |= 1 | (1u << 6);
        endpoint[2] |= 0xe;

        CommandResult result = bench.SendAddress();

        Assert.True(result.Ok);
        Assert.Equal((GuestSlotState.Addressed, 1u), (bench.Output.Slot.SlotState, bench.Output.Slot.DeviceAddress));
        Assert.Equal((GuestEndpointState.Running, bench.Ring(1).Base | 1), (bench.State(1), bench.EndpointContext(1).DequeuePointer));
    }

    // Bits of each field, by setting every bit of the structure alone. A bit in two fields fails.
    private static int[][] Owners(int length, Func<byte[], ulong[]> fields)
    {
        ulong[] zero = fields(new byte[32]);
        var owners = new List<int>[zero.Length];
        for (int i = 0; i < owners.Length; i++) owners[i] = [];
        for (int bit = 0; bit < length * 8; bit++)
        {
            var bytes = new byte[32];
            bytes[bit / 8] = (byte)(1 << (bit % 8));
            ulong[] values = fields(bytes);
            int changed = 0;
            for (int i = 0; i < values.Length; i++)
            {
                if (values[i] == zero[i]) continue;
                owners[i].Add(bit);
                changed++;
            }

            Assert.InRange(changed, 0, 1);
        }

        return Array.ConvertAll(owners, list => list.ToArray());
    }

    private static byte[] Filled(byte value)
    {
        var bytes = new byte[32];
        Array.Fill(bytes, value);
        return bytes;
    }
}
