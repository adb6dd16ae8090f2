using System;
using System.Buffers.Binary;
using System.Linq;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>Every kind of request, as Xen sends it.</summary>
public sealed class IoreqTests : IDisposable
{
    private const byte Read = 0x20;
    private const byte Pointer = 0x10;
    private const byte Down = 0x40;
    private const ulong Bar = 0xf100_0000;

    // BAR 0: MSI-X table at 0x3000, whose entries hold what is written (PCI 3.0 §6.8.2): a register file to test with.
    private const ulong Table = Bar + 0x3000;

    private readonly XenGuest _guest = new XenGuest().Start();

    public IoreqTests()
    {
        new PciSetup(_guest).Enable(Bar);
        Assert.Equal((Bar, Bar + 0x3fff), Assert.Single(_guest.Xen.Ranges));
    }

    public void Dispose() => _guest.Dispose();

    [Theory]
    [InlineData(1, 0x88UL)]
    [InlineData(2, 0x7788UL)]
    [InlineData(4, 0x55667788UL)]
    [InlineData(8, 0x1122334455667788UL)]
    public void Access_of_every_size_moves_that_many_bytes(int size, ulong expected)
    {
        _guest.MmioWrite(Table, 8, 0);
        // Garbage above the item: Xen leaves what was in the register.
        _guest.Request(IoreqType.Memory, Table, size, 0x1122334455667788, 0);

        Assert.Equal(expected & ~3UL, _guest.MmioRead(Table, 8) & ~3UL);
        Assert.Equal(expected & ~3UL, _guest.Request(IoreqType.Memory, Table, size, ulong.MaxValue, Read)!.Value & ~3UL);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(7)]
    public void Access_that_is_not_aligned_straddles_registers(int shift)
    {
        _guest.MmioWrite(Table + 16, 8, 0x0807060504030200);
        _guest.MmioWrite(Table + 24, 4, 0x0c0b0a09);

        ulong value = _guest.MmioRead(Table + 16 + (ulong)shift, 4);

        Assert.Equal((uint)value, BinaryPrimitives.ReadUInt32LittleEndian(new byte[] { 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }.AsSpan(shift)));
    }

    [Fact]
    public void Access_at_the_edges_of_the_bar_is_ones_outside()
    {
        // Xen sends only what lies inside one range; a range that moved on the way leaves these.
        byte[] before = SendRaw(IoreqType.Memory, Bar - 2, 4, 0, Read);
        byte[] after = SendRaw(IoreqType.Memory, Bar + 0x3ffe, 4, 0, Read);

        ulong first = _guest.MmioRead(Bar, 2);
        Assert.Equal(0xffffUL | (first << 16), BinaryPrimitives.ReadUInt64LittleEndian(before));
        Assert.Equal(0xffff_0000UL, BinaryPrimitives.ReadUInt64LittleEndian(after));
        SendRaw(IoreqType.Memory, Bar - 2, 4, 0xffff_ffff, 0);
        SendRaw(IoreqType.Memory, Bar - 8, 8, 0xffff_ffff, 0);
        SendRaw(IoreqType.Memory, Bar + 0x4000, 8, 0xffff_ffff, 0);
        Assert.Equal(0xffff_ffffUL, BinaryPrimitives.ReadUInt64LittleEndian(SendRaw(IoreqType.Memory, 8, 4, 0, Read)));
    }

    [Fact]
    public void Repeated_store_writes_the_same_data_to_each_item()
    {
        _guest.Request(IoreqType.Memory, Table, 4, 0x40, 0, count: 2);

        Assert.Equal(0x0000_0040_0000_0040UL, _guest.MmioRead(Table, 8));
    }

    [Fact]
    public void Repeated_load_without_memory_returns_the_last_item()
    {
        _guest.MmioWrite(Table, 8, 0x2222_2220_1111_1110);

        Assert.Equal(0x2222_2220UL, _guest.Request(IoreqType.Memory, Table, 4, 0, Read, count: 2));
        Assert.Equal(0x1111_1110UL, _guest.Request(IoreqType.Memory, Table + 4, 4, 0, Read | Down, count: 2));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void String_moves_carry_data_between_registers_and_memory(bool down)
    {
        const ulong Memory = 0x5ffc; // Crosses into the next page.
        byte[] text = [.. Enumerable.Range(1, 8).Select(i => (byte)(i * 4))];
        text.CopyTo(_guest.Memory(Memory, 8));
        byte flags = (byte)(Pointer | (down ? Down : 0));
        ulong place = down ? 4UL : 0;

        _guest.Request(IoreqType.Memory, Table + 16 + place, 4, Memory + place, flags, count: 2);
        Assert.Equal(BinaryPrimitives.ReadUInt64LittleEndian(text), _guest.MmioRead(Table + 16, 8));

        _guest.Memory(0x6000 - 4, 8).Clear();
        _guest.Request(IoreqType.Memory, Table + 16 + place, 4, Memory + place, (byte)(flags | Read), count: 2);
        Assert.Equal(text, _guest.Memory(Memory, 8).ToArray());
    }

    [Fact]
    public void String_move_with_memory_that_is_not_there_reads_ones_and_drops_writes()
    {
        const ulong Nowhere = 1UL << 40;

        Assert.NotNull(_guest.Request(IoreqType.Memory, Table + 16, 4, Nowhere, Pointer, count: 2));
        Assert.Equal(0xffff_ffff_ffff_fffcUL, _guest.MmioRead(Table + 16, 8));
        Assert.NotNull(_guest.Request(IoreqType.Memory, Table + 16, 4, Nowhere, Pointer | Read, count: 2));
        Assert.NotNull(_guest.Request(IoreqType.Memory, Table + 16, 4, ulong.MaxValue - 3, Pointer | Read, count: 2));
    }

    [Fact]
    public void Count_beyond_a_page_is_cut()
    {
        byte[] answer = SendRaw(IoreqType.Memory, Bar, 1, 0, Read, uint.MaxValue);

        Assert.Equal(IoreqState.None, _guest.Xen.State(0));
        Assert.NotEmpty(answer);
    }

    [Fact]
    public void No_items_change_nothing()
    {
        Assert.Equal(7UL, BinaryPrimitives.ReadUInt64LittleEndian(SendRaw(IoreqType.Memory, Bar, 4, 7, Read, 0)));
    }

    [Theory]
    [InlineData(0x00, 4, 0x000d1b36u)]
    [InlineData(0x00, 2, 0x1b36u)]
    [InlineData(0x02, 2, 0x000du)]
    [InlineData(0x0b, 1, 0x0cu)]
    [InlineData(0xfe, 4, 0xffff0000u)]
    public void Configuration_space_is_read_at_its_slot(int offset, int size, uint expected) => Assert.Equal(expected, _guest.ConfigRead(offset, size));

    [Theory]
    [InlineData(0x1dUL << 35)]
    [InlineData((0x1eUL << 35) | (1UL << 32))]
    [InlineData((0x1eUL << 35) | (1UL << 40))]
    [InlineData((0x1eUL << 35) | (1UL << 48))]
    [InlineData((0x1eUL << 35) | 0x100)]
    public void Configuration_space_of_others_is_not_there(ulong address)
    {
        Assert.Equal(0xffff_ffffUL, BinaryPrimitives.ReadUInt64LittleEndian(SendRaw(IoreqType.PciConfig, address, 4, 0, Read)));
        SendRaw(IoreqType.PciConfig, address | 4, 2, 0, 0);
        Assert.Equal(6u, _guest.ConfigRead(4, 2));
    }

    [Fact]
    public void Repeated_configuration_access_stays_at_its_register()
    {
        // REP INSD from port 0xcfc.
        _guest.Request(IoreqType.PciConfig, XenGuest.ConfigBase, 4, 0x5000, Read | Pointer, count: 2);

        Assert.Equal(0x000d1b36_000d1b36UL, BinaryPrimitives.ReadUInt64LittleEndian(_guest.Memory(0x5000, 8)));
    }

    [Theory]
    [InlineData(IoreqType.Port)]
    [InlineData(IoreqType.TimeOffset)]
    [InlineData((IoreqType)3)]
    [InlineData((IoreqType)255)]
    public void Request_of_another_kind_reads_ones(IoreqType type)
    {
        Assert.Equal(0xffffUL, _guest.Request(type, Bar, 2, 0, Read));
        Assert.NotNull(_guest.Request(type, Bar, 2, 0, 0));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(16)]
    [InlineData(-1)]
    public void Request_of_an_odd_size_is_answered(int size)
    {
        Assert.NotEmpty(SendRaw(IoreqType.Memory, Bar, size, 0, Read));
        Assert.NotEmpty(SendRaw(IoreqType.Memory, Bar, size, 0x5000, Read | Pointer));
        Assert.NotEmpty(SendRaw(IoreqType.Memory, Bar, size, 0, 0));
    }

    [Fact]
    public void Invalidation_is_answered_when_nothing_is_mapped()
    {
        _guest.Request(IoreqType.Memory, Table + 16, 4, 0x5000, Pointer);
        Assert.Equal(1, _guest.Host.Memory.Count);

        _guest.Request(IoreqType.Invalidate, 0, 4, ulong.MaxValue, 0);

        Assert.Equal(0, _guest.Host.Memory.Count);
        Assert.Equal(1, _guest.Xen.MappedPages); // The server's own.
    }

    [Theory]
    [InlineData(0)]
    [InlineData((int)IoreqState.InProcess)]
    [InlineData((int)IoreqState.Answered)]
    public void Event_without_a_request_changes_nothing(int state)
    {
        _guest.Xen.Slot(0)[30] = (byte)state;
        byte[] page = [.. _guest.Xen.Page];
        long told = _guest.Xen.Notifications;

        _guest.Xen.Raise(0);
        _guest.Turn();

        Assert.Equal(page, _guest.Xen.Page);
        Assert.Equal(told, _guest.Xen.Notifications);
        Assert.Empty(_guest.Xen.Masked);
        _guest.Xen.Slot(0)[30] = 0;
    }

    [Fact]
    public void Event_of_a_port_that_is_not_ours_changes_nothing()
    {
        _guest.Xen.Events.Enqueue(77);

        _guest.Events.Ready(LoopEvents.Readable);

        Assert.Empty(_guest.Xen.Masked);
    }

    [Fact]
    public void Answer_leaves_flags_and_port_as_they_were()
    {
        Assert.True(_guest.Xen.Send(0, IoreqType.Memory, Bar, 4, 0, 0x80 | Read));
        _guest.Turn();

        Assert.Equal(0x80 | Read | (int)IoreqState.Answered, _guest.Xen.Slot(0)[30]);
        Assert.Equal(100u, BinaryPrimitives.ReadUInt32LittleEndian(_guest.Xen.Slot(0)[24..]));
        _guest.Xen.Take(0);
    }

    // Past Xen's own choice of ranges: what may arrive when they have just changed.
    private byte[] SendRaw(IoreqType type, ulong address, int size, ulong data, byte flags, uint count = 1)
    {
        Span<byte> slot = _guest.Xen.Slot(0);
        BinaryPrimitives.WriteUInt64LittleEndian(slot, address);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[8..], data);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[16..], count);
        BinaryPrimitives.WriteInt32LittleEndian(slot[20..], size);
        slot[31] = (byte)type;
        slot[30] = (byte)(flags | (int)IoreqState.Ready);
        _guest.Xen.Raise(0);
        _guest.Turn();
        ulong? answer = _guest.Xen.Take(0);
        Assert.NotNull(answer);
        return BitConverter.GetBytes(answer.Value);
    }
}
