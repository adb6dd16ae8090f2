using System;
using System.Buffers.Binary;
using System.Linq;
using XenUsbDm.Backends.Disk;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Commands that address sectors (SBC-3 §5), on a store that shows its memory and on one that does not.</summary>
public sealed class ScsiMediumTests
{
    private static (BotHost Host, MemoryBlockStore Store) Make(bool direct = true, bool isReadOnly = false, long sectors = 4096)
    {
        var store = new MemoryBlockStore(sectors, isReadOnly, direct);
        return (new BotHost(store), store);
    }

    private static byte[] Sectors(MemoryBlockStore store, long sector, int count)
    {
        byte[] data = new byte[count * 512];
        store.Save(sector * 512, data);
        return data;
    }

    [Theory]
    [InlineData("08 00 00 05 02 00", 5, true)]
    [InlineData("28 00 00 00 00 05 00 00 02 00", 5, true)]
    [InlineData("28 08 00 00 00 05 00 00 02 00", 5, false)]
    [InlineData("a8 00 00 00 00 05 00 00 00 02 00 00", 5, false)]
    [InlineData("88 00 00 00 00 00 00 00 00 05 00 00 00 02 00 00", 5, false)]
    [InlineData("88 00 00 00 00 01 80 00 00 03 00 00 00 02 00 00", 0x180000003, true)]
    [InlineData("88 00 00 00 00 01 80 00 00 03 00 00 00 02 00 00", 0x180000003, false)]
    public void Read_gives_the_sectors(string command, long sector, bool direct)
    {
        (BotHost host, MemoryBlockStore store) = Make(direct, sectors: 0x180000010);
        store.Load(sector * 512, BotHost.Pattern(1024));
        Assert.Equal(BotHost.Pattern(1024), host.Ask(command, 1024));
    }

    [Theory]
    [InlineData("0a 00 00 05 02 00", 5, true)]
    [InlineData("2a 00 00 00 00 05 00 00 02 00", 5, false)]
    [InlineData("2a 08 00 00 00 05 00 00 02 00", 5, true)]
    [InlineData("aa 00 00 00 00 05 00 00 00 02 00 00", 5, false)]
    [InlineData("8a 00 00 00 00 01 80 00 00 03 00 00 00 02 00 00", 0x180000003, false)]
    [InlineData("2e 00 00 00 00 05 00 00 02 00", 5, true)]
    [InlineData("2e 02 00 00 00 05 00 00 02 00", 5, true)]
    [InlineData("ae 02 00 00 00 05 00 00 00 02 00 00", 5, false)]
    [InlineData("8e 02 00 00 00 00 00 00 00 05 00 00 00 02 00 00", 5, false)]
    public void Write_stores_the_sectors(string command, long sector, bool direct)
    {
        (BotHost host, MemoryBlockStore store) = Make(direct, sectors: 0x180000010);
        host.Do(command, BotHost.Pattern(1024));
        Assert.Equal(BotHost.Pattern(1024), Sectors(store, sector, 2));
    }

    [Fact]
    public void Read_6_of_zero_sectors_means_256()
    {
        (BotHost host, MemoryBlockStore store) = Make();
        store.Load(0, BotHost.Pattern(256 * 512));
        Assert.Equal(BotHost.Pattern(256 * 512), host.Ask("08 00 00 00 00 00", 256 * 512));
    }

    [Theory]
    [InlineData("28 00 00 00 00 05 00 00 00 00")]
    [InlineData("2a 00 00 00 10 00 00 00 00 00")]
    [InlineData("2f 00 00 00 00 05 00 00 10 00")]
    [InlineData("2f 02 00 00 00 05 00 00 00 00")]
    [InlineData("af 00 00 00 00 05 00 00 00 10 00 00")]
    [InlineData("8f 00 00 00 00 00 00 00 00 05 00 00 00 10 00 00")]
    public void Commands_without_data_pass(string command) => Make().Host.Do(command);

    [Theory]
    [InlineData("08 1f ff ff 01 00", 512)]
    [InlineData("28 00 00 00 0f ff 00 00 02 00", 1024)]
    [InlineData("28 00 00 00 10 01 00 00 00 00", 0)]
    [InlineData("a8 00 00 00 0f ff ff ff ff ff 00 00", 512)]
    [InlineData("88 00 80 00 00 00 00 00 00 00 00 00 00 01 00 00", 512)]
    [InlineData("88 00 7f ff ff ff ff ff ff ff 00 00 00 01 00 00", 512)]
    [InlineData("2f 00 00 00 0f ff 00 00 02 00", 0)]
    [InlineData("35 00 00 00 10 00 00 00 01 00", 0)]
    [InlineData("91 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00", 0)]
    [InlineData("93 01 00 00 00 00 00 00 0f ff 00 00 00 02 00 00", 0)]
    public void Sectors_beyond_the_end_are_out_of_range(string command, int length) => Make().Host.Fails("5/21/00", command, length);

    [Theory]
    [InlineData("28 20 00 00 00 00 00 00 01 00", 512)]
    [InlineData("2f 04 00 00 00 00 00 00 01 00", 0)]
    [InlineData("2e 06 00 00 00 00 00 00 01 00", 0)]
    [InlineData("41 02 00 00 00 00 00 00 01 00", 0)]
    [InlineData("41 10 00 00 00 00 00 00 01 00", 0)]
    [InlineData("41 00 00 00 00 00 00 00 00 00", 0)]
    [InlineData("93 01 00 00 00 00 00 00 00 00 00 40 00 01 00 00", 0)]
    [InlineData("42 01 00 00 00 00 00 00 18 00", 0)]
    public void Fields_that_are_not_supported_are_refused(string command, int length) => Make().Host.Fails("5/24/00", command, length);

    [Theory]
    [InlineData("0a 00 00 00 01 00")]
    [InlineData("2a 00 00 00 00 00 00 00 01 00")]
    [InlineData("2e 00 00 00 00 00 00 00 01 00")]
    [InlineData("41 00 00 00 00 00 00 00 01 00")]
    [InlineData("93 08 00 00 00 00 00 00 00 00 00 00 00 01 00 00")]
    public void Writes_to_a_read_only_disk_are_refused(string command) =>
        Make(isReadOnly: true).Host.Fails("7/27/00", command, 0, new byte[512]);

    [Fact]
    public void Unmap_of_a_read_only_disk_is_refused() => Make(isReadOnly: true).Host.Fails("7/27/00", "42 00 00 00 00 00 00 00 18 00", 0, new byte[24]);

    [Fact]
    public void Stores_without_discard_offer_no_unmap()
    {
        var host = new BotHost(new HeldStore(64) { Discards = false });
        host.Fails("5/20/00", "42 00 00 00 00 00 00 00 18 00", 0, new byte[24]);
        host.Fails("5/24/00", "93 09 00 00 00 00 00 00 00 00 00 00 00 01 00 00");
    }

    [Theory]
    [InlineData("2f 02 00 00 00 00 00 02 58 00", true)]
    [InlineData("2f 02 00 00 00 00 00 02 58 00", false)]
    [InlineData("af 02 00 00 00 00 00 00 02 58 00 00", true)]
    [InlineData("8f 02 00 00 00 00 00 00 00 00 00 00 02 58 00 00", false)]
    public void Verify_with_data_compares(string command, bool direct)
    {
        (BotHost host, MemoryBlockStore store) = Make(direct);
        byte[] data = BotHost.Pattern(600 * 512);
        store.Load(0, data);
        host.Do(command, data);
        data[(500 * 512) + 3] ^= 1;
        Assert.Equal(1, host.Command(command, 0, data).Csw);
        byte[] sense = host.Ask("03 00 00 00 12 00", 18);
        Assert.Equal((0xe, 0x1d, 500u), (sense[2], sense[12], BinaryPrimitives.ReadUInt32BigEndian(sense.AsSpan(3))));
    }

    [Theory]
    [InlineData("35 00 00 00 00 00 00 00 00 00")]
    [InlineData("91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")]
    public void Synchronize_cache_flushes(string command)
    {
        var store = new HeldStore(64);
        var host = new BotHost(store);
        host.Do(command);
        Assert.Equal(BlockOperationKind.Flush, Assert.Single(store.Seen).Kind);
    }

    [Theory]
    [InlineData("2a 08 00 00 00 00 00 00 01 00", "Write Flush")]
    [InlineData("2a 00 00 00 00 00 00 00 01 00", "Write")]
    [InlineData("2e 00 00 00 00 00 00 00 01 00", "Write Flush")]
    [InlineData("2e 02 00 00 00 00 00 00 01 00", "Write Read Flush")]
    [InlineData("2f 02 00 00 00 00 00 00 01 00", "Read")]
    public void Forced_writes_are_flushed_before_their_status(string command, string operations)
    {
        var store = new HeldStore(64);
        new BotHost(store).Command(command, 0, new byte[512]);
        Assert.Equal(operations, string.Join(' ', store.Seen.Select(s => s.Kind)));
    }

    [Theory]
    [InlineData("41 00 00 00 00 02 00 02 58 00", 7, "Write 2+256 Write 258+256 Write 514+88")]
    [InlineData("93 00 00 00 00 00 00 00 00 02 00 00 02 58 00 00", 7, "Write 2+256 Write 258+256 Write 514+88")]
    [InlineData("41 00 00 00 00 02 00 02 58 00", 0, "WriteZeroes 2+600")]
    [InlineData("41 08 00 00 00 02 00 02 58 00", 0, "Discard 2+600")]
    [InlineData("41 08 00 00 00 02 00 00 03 00", 7, "Write 2+3")]
    public void Write_same_fills_zeroes_or_discards(string command, byte value, string operations)
    {
        var store = new HeldStore(4096);
        store.Inner.Load(0, BotHost.Pattern(700 * 512));
        byte[] sector = new byte[512];
        sector.AsSpan().Fill(value);
        new BotHost(store).Do(command, sector);
        Assert.Equal(operations, string.Join(' ', store.Seen.Select(s => $"{s.Kind} {s.Sector}+{s.Count}")));
        byte[] after = Sectors(store.Inner, 0, 700);
        Assert.Equal(BotHost.Pattern(700 * 512)[..1024], after[..1024]);
        Assert.All(after[1024..2560], b => Assert.Equal(value, b));
    }

    [Theory]
    [InlineData("93 01 00 00 00 00 00 00 00 02 00 20 00 00 00 00", "WriteZeroes")]
    [InlineData("93 09 00 00 00 00 00 00 00 02 00 20 00 00 00 00", "Discard")]
    public void Write_same_16_without_data_works_in_bounded_pieces(string command, string kind)
    {
        var store = new HeldStore(4 << 20);
        new BotHost(store).Do(command);
        Assert.Equal(16, store.Seen.Count);
        Assert.All(store.Seen, s => Assert.Equal((kind, 131072L), (s.Kind.ToString(), s.Count)));
    }

    private static byte[] UnmapList(params (long Sector, uint Count)[] ranges)
    {
        byte[] list = new byte[8 + (ranges.Length * 16)];
        BinaryPrimitives.WriteUInt16BigEndian(list, (ushort)(list.Length - 2));
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(2), (ushort)(list.Length - 8));
        for (int i = 0; i < ranges.Length; i++)
        {
            BinaryPrimitives.WriteInt64BigEndian(list.AsSpan(8 + (i * 16)), ranges[i].Sector);
            BinaryPrimitives.WriteUInt32BigEndian(list.AsSpan(16 + (i * 16)), ranges[i].Count);
        }

        return list;
    }

    private static string UnmapCommand(byte[] list) => $"42 00 00 00 00 00 00 {list.Length >> 8:x2} {list.Length & 0xff:x2} 00";

    [Fact]
    public void Unmap_discards_each_range()
    {
        var store = new HeldStore(4096);
        store.Inner.Load(0, BotHost.Pattern(64 * 512));
        byte[] list = UnmapList((2, 3), (9, 0), (20, 1));
        new BotHost(store).Do(UnmapCommand(list), list);
        Assert.Equal("Discard 2+3 Discard 20+1", string.Join(' ', store.Seen.Select(s => $"{s.Kind} {s.Sector}+{s.Count}")));
        Assert.Equal(new byte[3 * 512], Sectors(store.Inner, 2, 3));
        Assert.Equal(BotHost.Pattern(64 * 512)[(5 * 512)..(6 * 512)], Sectors(store.Inner, 5, 1));
    }

    [Fact]
    public void Unmap_checks_everything_before_it_starts()
    {
        var store = new HeldStore(8 << 20);
        var host = new BotHost(store);
        byte[] beyond = UnmapList((2, 3), ((8 << 20) - 1, 2));
        byte[] negative = UnmapList((-1, 2));
        byte[] large = UnmapList((0, 3 << 20), (4 << 20, 3 << 20));
        host.Fails("5/21/00", UnmapCommand(beyond), 0, beyond);
        host.Fails("5/21/00", UnmapCommand(negative), 0, negative);
        host.Fails("5/26/00", UnmapCommand(large), 0, large);
        host.Fails("5/1a/00", "42 00 00 00 00 00 00 00 04 00");
        host.Fails("5/24/00", "42 00 00 00 00 00 00 10 01 00");
        host.Do("42 00 00 00 00 00 00 00 00 00");
        host.Do("42 00 00 00 00 00 00 00 08 00", UnmapList());
        byte[] empty = UnmapList((5, 0));
        host.Do(UnmapCommand(empty), empty);
        Assert.Empty(store.Seen);
    }

    [Theory]
    [InlineData(BlockResult.MediumError, "3/11/00")]
    [InlineData(BlockResult.HardwareError, "4/44/00")]
    public void Failing_reads_become_sense_data(BlockResult result, string sense)
    {
        var store = new HeldStore(4096) { Fault = o => o.Sector >= 256 ? result : null };
        var host = new BotHost(store);
        BotResult command = host.Command("28 00 00 00 00 00 00 02 00 00", 512 * 512);
        Assert.Equal((1, 256 * 512, 256u * 512), (command.Csw, command.DataLength, command.Residue));
        Assert.Equal(sense, host.Sense());
        host.Do("00 00 00 00 00 00");
    }

    [Theory]
    [InlineData(BlockResult.MediumError, "3/0c/00")]
    [InlineData(BlockResult.NoSpace, "7/27/07")]
    [InlineData(BlockResult.WriteProtected, "7/27/00")]
    [InlineData(BlockResult.HardwareError, "4/44/00")]
    public void Failing_writes_become_sense_data(BlockResult result, string sense)
    {
        var store = new HeldStore(4096) { Fault = o => o.Sector >= 256 ? result : null };
        var host = new BotHost(store);
        BotResult command = host.Command("2a 00 00 00 00 00 00 02 00 00", 0, BotHost.Pattern(512 * 512));
        Assert.Equal((1, 256u * 512), (command.Csw, command.Residue));
        Assert.Equal(sense, host.Sense());
        host.Do("00 00 00 00 00 00");
        Assert.Equal(BotHost.Pattern(256 * 512), Sectors(store.Inner, 0, 256));
    }

    [Theory]
    [InlineData("35 00 00 00 00 00 00 00 00 00", false)]
    [InlineData("2a 08 00 00 00 00 00 00 01 00", true)]
    public void Failing_flushes_become_sense_data(string command, bool data)
    {
        var store = new HeldStore(4096) { Fault = o => o.Kind == BlockOperationKind.Flush ? BlockResult.NoSpace : null };
        new BotHost(store).Fails("7/27/07", command, 0, data ? new byte[512] : null);
    }

    [Theory]
    [InlineData("2e 02 00 00 00 00 00 00 02 00", BlockOperationKind.Write, "3/0c/00")]
    [InlineData("2e 02 00 00 00 00 00 00 02 00", BlockOperationKind.Read, "3/11/00")]
    [InlineData("2f 02 00 00 00 00 00 00 02 00", BlockOperationKind.Read, "3/11/00")]
    [InlineData("41 00 00 00 00 00 00 00 02 00", BlockOperationKind.Write, "3/0c/00")]
    public void Failing_verifications_and_fills_become_sense_data(string command, BlockOperationKind kind, string sense)
    {
        var store = new HeldStore(4096) { Fault = o => o.Kind == kind ? BlockResult.MediumError : null };
        new BotHost(store).Fails(sense, command, 0, BotHost.Pattern(command.StartsWith("41", StringComparison.Ordinal) ? 512 : 1024));
    }
}
