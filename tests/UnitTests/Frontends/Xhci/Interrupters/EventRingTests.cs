using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

public class EventRingTests
{
    [Fact]
    public void Event_is_written_with_cycle_one_first()
    {
        var bench = new RegisterBench();
        bench.Start();
        Assert.True(bench.Post(tag: 7));
        Trb trb = bench.Event(0, 0, 0);
        Assert.Equal(TrbType.TransferEvent, trb.Type);
        Assert.Equal(7ul, trb.Parameter);
        Assert.True(trb.Cycle);
        Assert.False(bench.Event(0, 0, 1).Cycle);
    }

    [Fact]
    public void Ring_of_one_segment_toggles_cycle_at_its_end()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        for (int i = 0; i < 40; i++)
        {
            Assert.True(bench.Post(tag: (ulong)i));
            Trb trb = bench.Event(0, 0, i % 16);
            Assert.Equal((ulong)i, trb.Parameter);
            Assert.Equal(i / 16 % 2 == 0, trb.Cycle);
            bench.Consume(0, 0, (i + 1) % 16);
        }
    }

    [Fact]
    public void Ring_of_several_segments_is_walked_in_order_LP_1859359()
    {
        var bench = new RegisterBench();
        int[] sizes = [16, 20, 17];
        bench.Start(sizes);
        ulong tag = 0;
        for (int lap = 0; lap < 3; lap++)
        {
            for (int segment = 0; segment < sizes.Length; segment++)
            {
                for (int index = 0; index < sizes[segment]; index++)
                {
                    Assert.True(bench.Post(tag: tag));
                    Trb trb = bench.Event(0, segment, index);
                    Assert.Equal(tag++, trb.Parameter);
                    Assert.Equal(lap % 2 == 0, trb.Cycle);
                    bool last = index == sizes[segment] - 1;
                    bench.Consume(0, last ? (segment + 1) % sizes.Length : segment, last ? 0 : index + 1);
                }
            }
        }
    }

    [Theory]
    [InlineData(new[] { 16 }, 0)]
    [InlineData(new[] { 16, 16 }, 0)]
    [InlineData(new[] { 16, 16 }, 5)]
    [InlineData(new[] { 16, 16 }, 14)]
    [InlineData(new[] { 16, 16 }, 15)]
    public void Full_ring_reports_itself_once_in_the_last_slot(int[] sizes, int start)
    {
        var bench = new RegisterBench();
        bench.Start(sizes);
        int total = sizes.Sum();
        for (int i = 0; i < start; i++) Assert.True(bench.Post());
        bench.Consume(0, start / 16, start % 16);

        int posted = 0;
        while (bench.Interrupters.HasRoom(0))
        {
            Assert.True(bench.Post());
            posted++;
        }

        Assert.Equal(total - 2, posted);
        Assert.False(bench.Post());
        Assert.False(bench.Post());
        int at = (start + posted) % total;
        Trb last = bench.Event(0, at / 16, at % 16);
        Assert.Equal(TrbType.HostControllerEvent, last.Type);
        Assert.Equal((uint)CompletionCode.EventRingFullError, last.Status >> 24);
        int free = (at + 1) % total;
        Assert.NotEqual(TrbType.HostControllerEvent, bench.Event(0, free / 16, free % 16).Type);
    }

    [Fact]
    public void Full_ring_takes_events_again_when_software_has_consumed_some()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        while (bench.Post()) { }
        bench.Calls.Clear();
        bench.Consume(0, 0, 1);
        Assert.Equal(["room 0"], bench.Calls);
        Assert.False(bench.Post());
        Assert.Equal(TrbType.TransferEvent, bench.Event(0, 0, 0).Type);
        bench.Consume(0, 0, 2);
        Assert.True(bench.Post(tag: 99));
        Assert.False(bench.Post());
        Assert.Equal(99ul, bench.Event(0, 0, 15).Parameter);
        Assert.Equal(TrbType.HostControllerEvent, bench.Event(0, 0, 0).Type);
    }

    [Fact]
    public void Erstba_written_low_then_high_after_Erstsz_as_SeaBIOS_does()
    {
        var bench = new RegisterBench();
        bench.WriteEntry(RegisterBench.Erst, 0, RegisterBench.Ring, 16);
        bench.Write(0x1028, 1);
        bench.Write(0x1038, (uint)RegisterBench.Ring);
        bench.Write(0x103c, 0);
        bench.Write(0x1030, (uint)RegisterBench.Erst);
        bench.Write(0x1034, 0);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post());
        Assert.True(bench.Event(0, 0, 0).Cycle);
    }

    [Fact]
    public void Erstba_written_high_before_low_as_DWC3_drivers_do()
    {
        var bench = new RegisterBench();
        bench.WriteEntry(RegisterBench.Erst, 0, RegisterBench.Ring, 16);
        bench.Write(0x1028, 1);
        bench.Write(0x103c, 0);
        bench.Write(0x1038, (uint)RegisterBench.Ring);
        bench.Write(0x1034, 0);
        bench.Write(0x1030, (uint)RegisterBench.Erst);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post());
        Assert.True(bench.Event(0, 0, 0).Cycle);
    }

    [Fact]
    public void Erstba_without_high_half_is_enough()
    {
        var bench = new RegisterBench();
        bench.WriteEntry(RegisterBench.Erst, 0, RegisterBench.Ring, 16);
        bench.Write(0x1030, (uint)RegisterBench.Erst);
        bench.Write(0x1038, (uint)RegisterBench.Ring);
        bench.Write(0x1028, 1);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post());
    }

    [Fact]
    public void Erstba_written_again_starts_the_ring_over()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        for (int i = 0; i < 20; i++)
        {
            Assert.True(bench.Post());
            bench.Consume(0, 0, (i + 1) % 16);
        }

        bench.SetUpRing(0, 16);
        Assert.True(bench.Post(tag: 5));
        Assert.Equal(5ul, bench.Event(0, 0, 0).Parameter);
        Assert.True(bench.Event(0, 0, 0).Cycle);
    }

    [Fact]
    public void Erstsz_zero_in_passing_as_Windows_writes_it_keeps_the_event()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        Assert.True(bench.Post());
        bench.Write(0x1028, 0);
        Assert.False(bench.Post());
        Assert.False(bench.Interrupters.HasRoom(0));
        Assert.False(bench.Registers.IsDead);
        bench.Calls.Clear();
        bench.Write(0x1028, 1);
        Assert.Equal(["room 0"], bench.Calls);
        Assert.True(bench.Post(tag: 3));
        Assert.Equal(3ul, bench.Event(0, 0, 1).Parameter);
    }

    [Fact]
    public void Erst_aligned_to_16_bytes_works_for_the_NEC_driver()
    {
        var bench = new RegisterBench();
        ulong table = RegisterBench.Erst + 0x30;
        bench.WriteEntry(table, 0, RegisterBench.Ring, 16);
        bench.Write(0x1028, 1);
        bench.Write(0x1038, (uint)RegisterBench.Ring);
        bench.Registers.Write(0x1030, 8, table);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post());
        Assert.Equal(table, bench.Registers.Read(0x1030, 8));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(15)]
    [InlineData(4097)]
    [InlineData(0xffff)]
    public void Segment_size_out_of_range_ends_in_Hce_crosvm_segment_size_0(int size)
    {
        var bench = new RegisterBench();
        bench.Start(size);
        Assert.False(bench.Post());
        Assert.Equal(0x1001u, bench.Read(RegisterBench.UsbSts));
        Assert.False(bench.Registers.Running);
    }

    [Fact]
    public void Segment_of_4096_is_used_to_its_end_and_not_beyond_crosvm_index_overflow()
    {
        var bench = new RegisterBench();
        bench.Start(4096);
        for (int i = 0; i < 9000; i++)
        {
            Assert.True(bench.Post(tag: (ulong)i));
            bench.Consume(0, 0, (i + 1) % 4096);
        }

        Assert.Equal(8999ul, bench.Event(0, 0, 8999 % 4096).Parameter);
        Assert.Equal(0u, bench.Event(0, 0, 4096).Control);
    }

    [Fact]
    public void Bad_second_segment_is_found_before_it_is_used()
    {
        var bench = new RegisterBench();
        bench.Start(16, 3);
        int posted = 0;
        while (bench.Interrupters.HasRoom(0) && bench.Post()) posted++;
        Assert.Equal(14, posted);
        Assert.True(bench.Registers.IsDead);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Ring_outside_memory_is_a_host_system_error(bool table)
    {
        var bench = new RegisterBench();
        bench.Start();
        if (table) bench.Registers.Write(0x1030, 8, 0xffff_0000_0000);
        else bench.WriteEntry(RegisterBench.Erst, 0, 0xffff_0000_0000, 32);
        Assert.False(bench.Post());
        Assert.Equal(0x5u, bench.Read(RegisterBench.UsbSts));
    }

    [Fact]
    public void Full_error_outside_memory_is_a_host_system_error()
    {
        var bench = new RegisterBench();
        const ulong End = RegisterBench.MemoryStart + 0x10_0000;
        bench.Start();
        bench.WriteEntry(RegisterBench.Erst, 0, End - 0x80, 16);
        bench.Registers.Write(0x1038, 8, End - 0x80 + (10 * 16));
        for (int i = 0; i < 8; i++) Assert.True(bench.Post());
        Assert.False(bench.Post());
        Assert.Equal(0x4u, bench.Read(RegisterBench.UsbSts) & 0x4);
    }

    [Fact]
    public void Segment_entry_is_read_once()
    {
        var memory = new CountingMemory();
        var ring = new EventRing();
        ring.SetTableSize(1);
        ring.SetTableBase(0x40);
        ring.DequeuePointer = 0x1000;
        memory.Write64(0x40, 0x1000);
        memory.Write64(0x48, 32);
        for (int i = 0; i < 20; i++) Assert.Equal(EventRingResult.Posted, ring.Post(memory, default));
        Assert.Equal(1, memory.TableReads);
    }

    [Fact]
    public void Erdp_torn_write_neither_corrupts_the_ring_nor_loses_its_place()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        for (int i = 0; i < 4; i++) Assert.True(bench.Post());
        bench.Write(0x103c, 0xdead);
        Assert.True(bench.Post(tag: 4));
        bench.Write(0x1038, (uint)RegisterBench.Ring + 0x28);
        bench.Write(0x103c, 0);
        Assert.True(bench.Post(tag: 5));
        Assert.Equal(4ul, bench.Event(0, 0, 4).Parameter);
        Assert.Equal(5ul, bench.Event(0, 0, 5).Parameter);
        Assert.Equal(RegisterBench.Ring + 0x20, bench.Registers.Read(0x1038, 8) & ~0xful);
    }

    [Fact]
    public void Table_size_beyond_the_maximum_counts_as_the_maximum()
    {
        var bench = new RegisterBench();
        bench.Start();
        for (int i = 0; i < 257; i++) bench.WriteEntry(RegisterBench.Erst, i, RegisterBench.Ring + ((ulong)(i % 2) * 0x1000), 16);
        bench.Write(0x1028, 0xffff);
        bench.Registers.Write(0x1038, 8, RegisterBench.MemoryStart);
        for (int i = 0; i < 256 * 16; i++) Assert.True(bench.Post());
        Assert.True(bench.Event(0, 1, 15).Cycle);
        Assert.True(bench.Post());
        Assert.False(bench.Event(0, 0, 0).Cycle);
    }

    [Fact]
    public void State_restored_into_a_new_controller_goes_on_at_the_same_slot()
    {
        var bench = new RegisterBench();
        bench.Start(16, 16);
        for (int i = 0; i < 20; i++) Assert.True(bench.Post());
        var other = new RegisterBench();
        Assert.True(other.Interrupters.TryRestore(bench.Interrupters.Capture(), out string error), error);
        Assert.Equal(InspectWriter.Dump(bench.Interrupters), InspectWriter.Dump(other.Interrupters));
        other.WriteEntry(RegisterBench.Erst, 0, RegisterBench.SegmentBase(0, 0), 16);
        Assert.True(other.Post(tag: 20));
        Assert.Equal(20ul, other.Event(0, 1, 4).Parameter);
    }

    [Fact]
    public void State_that_no_ring_can_have_is_refused()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        bench.Post();
        InterruptersStateV1 good = bench.Interrupters.Capture();
        EventRingStateV1 ring = good.Interrupters[0].Ring;
        EventRingStateV1[] badRings =
        [
            ring with { Offset = -1 },
            ring with { Offset = 16 },
            ring with { SegmentSize = 15 },
            ring with { SegmentSize = 4097 },
            ring with { Segment = 256 },
            ring with { Segment = -1 },
            ring with { SegmentBase = 1 },
            ring with { TableSize = 0x1_0000 },
            ring with { TableBase = 8 },
            ring with { DequeuePointer = 8 },
            ring with { Loaded = false, Offset = 1 },
            ring with { Loaded = false, Offset = 0, Cycle = false },
        ];
        var bad = new List<InterrupterStateV1> { null!, good.Interrupters[0] with { Ring = null! }, good.Interrupters[0] with { DequeueSegment = 8 } };
        bad.AddRange(badRings.Select(r => good.Interrupters[0] with { Ring = r }));
        foreach (InterrupterStateV1 state in bad)
        {
            InterruptersStateV1 whole = good with { Interrupters = [state, .. good.Interrupters.Skip(1)] };
            Assert.False(bench.Interrupters.TryRestore(whole, out string error));
            Assert.NotEmpty(error);
        }

        Assert.False(bench.Interrupters.TryRestore(good with { SavedRings = [] }, out _));
        Assert.False(bench.Interrupters.TryRestore(good with { SavedRings = [null!, ring, ring, ring] }, out _));
        Assert.False(bench.Interrupters.TryRestore(good with { SavedRings = [ring with { Offset = 16 }, ring, ring, ring] }, out _));
        Assert.False(bench.Interrupters.TryRestore(null!, out _));
        Assert.False(bench.Interrupters.TryRestore(good with { Interrupters = null! }, out _));
        Assert.False(bench.Interrupters.TryRestore(good with { Interrupters = [] }, out _));
        Assert.True(bench.Interrupters.TryRestore(good, out _));
    }

    private sealed class CountingMemory : IGuestMemory
    {
        private readonly byte[] _bytes = new byte[0x2000];

        public int TableReads { get; private set; }

        public void Write64(int offset, ulong value) => System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(System.MemoryExtensions.AsSpan(_bytes, offset), value);

        public System.Span<byte> Map(GuestAddress address, int length, GuestAccess access)
        {
            if (address.Value == 0x40) TableReads++;
            return System.MemoryExtensions.AsSpan(_bytes, (int)address.Value, length);
        }
    }
}
