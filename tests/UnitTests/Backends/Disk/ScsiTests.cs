using System;
using System.Buffers.Binary;
using System.Text;
using XenUsbDm.Backends.Disk;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Commands that answer about the unit itself (SPC-4, SBC-3), as a host sees them over the whole transport.</summary>
public sealed class ScsiTests
{
    private static BotHost Removable() => new(new MemoryBlockStore(4096), new DiskOptions { Removable = true });

    private static BotHost ReadOnly() => new(new MemoryBlockStore(4096, isReadOnly: true));

    [Fact]
    public void Unit_attention_is_reported_once_after_power_on()
    {
        var host = new BotHost(new MemoryBlockStore(64), clearAttention: false);
        Assert.Equal(36, host.Ask("12 00 00 00 24 00", 36).Length);
        Assert.Equal(0, host.Command("a0 00 00 00 00 00 00 00 00 10 00 00", 16).Csw);
        host.Fails("6/29/00", "00 00 00 00 00 00");
        host.Do("00 00 00 00 00 00");
        host.Bench.Device.Reset();
        host.Bench.Configure(1);
        host.Do("00 00 00 00 00 00");
    }

    [Fact]
    public void Unit_attention_is_reported_by_request_sense_when_asked_first()
    {
        var host = new BotHost(new MemoryBlockStore(64), clearAttention: false);
        Assert.Equal("6/29/00", host.Sense());
        host.Do("00 00 00 00 00 00");
    }

    [Fact]
    public void Request_sense_answers_in_both_formats_and_clears()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal(1, host.Command("c0 00 00 00 00 00", 0).Csw);
        byte[] descriptor = host.Ask("03 01 00 00 08 00", 8);
        Assert.Equal(BotHost.Hex("72 05 20 00 00 00 00 00"), descriptor);
        Assert.Equal(BotHost.Hex("70 00 00 00 00 00 00 0a 00 00 00 00 00 00 00 00 00 00"), host.Ask("03 00 00 00 12 00", 18));
        Assert.Equal(1, host.Command("c0 00 00 00 00 00", 0).Csw);
        host.Do("00 00 00 00 00 00");
        Assert.Equal("0/00/00", host.Sense());
        Assert.Equal(BotHost.Hex("70 00 00 00"), host.Ask("03 00 00 00 04 00", 4));
    }

    [Fact]
    public void Request_sense_carries_the_failed_sector()
    {
        var store = new HeldStore(4096) { Fault = o => o.Sector == 7 ? BlockResult.MediumError : null };
        var host = new BotHost(store);
        Assert.Equal(1, host.Command("28 00 00 00 00 07 00 00 01 00", 512).Csw);
        Assert.Equal(BotHost.Hex("f0 00 03 00 00 00 07 0a 00 00 00 00 11 00 00 00 00 00"), host.Ask("03 00 00 00 12 00", 18));
        Assert.Equal(1, host.Command("28 00 00 00 00 07 00 00 01 00", 512).Csw);
        Assert.Equal(BotHost.Hex("72 03 11 00 00 00 00 0c 00 0a 80 00 00 00 00 00 00 00 00 07"), host.Ask("03 01 00 00 14 00", 20));
    }

    [Fact]
    public void Inquiry_describes_a_disk()
    {
        byte[] data = BotHost.Ready().Ask("12 00 00 00 24 00", 36);
        Assert.Equal(BotHost.Hex("00 00 06 02 1f 00 00 00"), data[..8]);
        Assert.Equal("Xen     USB disk        1.00", Encoding.ASCII.GetString(data[8..]));
        Assert.Equal(0x80, Removable().Ask("12 00 00 00 24 00", 36)[1]);
    }

    [Fact]
    public void Inquiry_of_a_page_without_evpd_is_refused() => BotHost.Ready().Fails("5/24/00", "12 00 80 00 24 00", 36);

    [Fact]
    public void Inquiry_of_another_unit_says_there_is_none()
    {
        BotHost host = BotHost.Ready();
        BotResult result = host.Command("12 00 00 00 24 00", 36, lun: 1);
        Assert.Equal((0, 0x7f), (result.Csw, (int)result.Data[0]));
        Assert.Equal(1, host.Command("00 00 00 00 00 00", 0, lun: 3).Csw);
        Assert.Equal("5/25/00", host.Sense());
        Assert.Equal(0x05, host.Command("03 00 00 00 12 00", 18, lun: 2).Data[2]);
    }

    [Fact]
    public void Vital_pages_are_listed_and_all_answer()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal(BotHost.Hex("00 00 00 06 00 80 83 b0 b1 b2"), host.Ask("12 01 00 00 0a 00", 10));
        Assert.Equal("000000000001", Encoding.ASCII.GetString(host.Ask("12 01 80 00 10 00", 16)[4..]));
        byte[] identification = host.Ask("12 01 83 00 28 00", 40);
        Assert.Equal(36, identification[3]);
        Assert.Equal(BotHost.Hex("02 01 00 14"), identification[4..8]);
        Assert.Equal("Xen     000000000001", Encoding.ASCII.GetString(identification[8..28]));
        Assert.Equal(BotHost.Hex("01 03 00 08"), identification[28..32]);
        Assert.Equal(3, identification[32] >> 4);
        byte[] limits = host.Ask("12 01 b0 00 40 00", 64);
        Assert.Equal((0x3c, 1), (limits[3], limits[4]));
        Assert.Equal(4194304u, BinaryPrimitives.ReadUInt32BigEndian(limits.AsSpan(20)));
        Assert.Equal(255u, BinaryPrimitives.ReadUInt32BigEndian(limits.AsSpan(24)));
        Assert.Equal(4194304L, BinaryPrimitives.ReadInt64BigEndian(limits.AsSpan(36)));
        Assert.Equal(BotHost.Hex("00 b1 00 3c 00 01"), host.Ask("12 01 b1 00 40 00", 64)[..6]);
        Assert.Equal(BotHost.Hex("00 b2 00 04 00 e4 02 00"), host.Ask("12 01 b2 00 08 00", 8));
        host.Fails("5/24/00", "12 01 c0 00 40 00", 64);
    }

    [Fact]
    public void Vital_pages_of_a_read_only_disk_offer_no_unmap()
    {
        BotHost host = ReadOnly();
        Assert.Equal(new byte[12], host.Ask("12 01 b0 00 40 00", 64)[20..32]);
        Assert.Equal(BotHost.Hex("00 b2 00 04 00 00 00 00"), host.Ask("12 01 b2 00 08 00", 8));
        Assert.Equal(0, host.Ask("9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 32)[14]);
    }

    [Fact]
    public void Mode_sense_6_gives_header_block_and_pages()
    {
        BotHost host = BotHost.Ready();
        byte[] all = host.Ask("1a 00 3f 00 38 00", 56);
        Assert.Equal(BotHost.Hex("37 00 10 08 00 00 10 00 00 00 02 00"), all[..12]);
        Assert.Equal(BotHost.Hex("08 12 04"), all[12..15]);
        Assert.Equal(BotHost.Hex("0a 0a 00 10 00 40"), all[32..38]);
        Assert.Equal(BotHost.Hex("1c 0a"), all[44..46]);
        Assert.Equal(BotHost.Hex("17 00 10 00 08 12 04"), host.Ask("1a 08 08 00 18 00", 24)[..7]);
        Assert.Equal(BotHost.Hex("37 00 10 08"), host.Ask("1a 00 3f ff 04 00", 4));
    }

    [Fact]
    public void Mode_sense_shows_nothing_changeable_no_saved_values_and_refuses_unknown_pages()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal([.. BotHost.Hex("17 00 10 00 08 12"), .. new byte[18]], host.Ask("1a 08 48 00 18 00", 24));
        Assert.Equal(BotHost.Hex("1f 00 10 08 00 00 00 00 00 00 00 00"), host.Ask("1a 00 48 00 20 00", 32)[..12]);
        Assert.Equal(4, host.Ask("1a 08 88 00 18 00", 24)[6]);
        host.Fails("5/39/00", "1a 08 c8 00 18 00", 24);
        host.Fails("5/24/00", "1a 08 03 00 18 00", 24);
        host.Fails("5/24/00", "1a 08 08 01 18 00", 24);
    }

    [Fact]
    public void Mode_sense_shows_write_protection() => Assert.Equal(0x90, ReadOnly().Ask("1a 00 3f 00 04 00", 4)[2]);

    [Fact]
    public void Mode_sense_10_gives_short_and_long_block_descriptors()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal(BotHost.Hex("00 22 00 10 00 00 00 08 00 00 10 00 00 00 02 00 08 12"), host.Ask("5a 00 08 00 00 00 00 00 24 00", 36)[..18]);
        byte[] longer = host.Ask("5a 10 08 00 00 00 00 00 2c 00", 44);
        Assert.Equal(BotHost.Hex("00 2a 00 10 01 00 00 10 00 00 00 00 00 00 10 00 00 00 00 00 00 00 02 00"), longer[..24]);
    }

    [Fact]
    public void Mode_select_accepts_what_is_and_refuses_changes()
    {
        BotHost host = BotHost.Ready();
        byte[] page = host.Ask("1a 08 08 00 18 00", 24)[4..];
        host.Do("15 10 00 00 18 00", [0, 0, 0, 0, .. page]);
        host.Do("15 10 00 00 00 00");
        host.Do("55 10 00 00 00 00 00 00 1c 00", [0, 0, 0, 0, 0, 0, 0, 0, .. page]);
        host.Do("15 10 00 00 0c 00", BotHost.Hex("00 00 00 08 00 00 10 00 00 00 02 00"));
        byte[] changed = [0, 0, 0, 0, .. page];
        changed[6] = 0;
        host.Fails("5/26/00", "15 10 00 00 18 00", 0, changed);
        host.Fails("5/26/00", "15 10 00 00 0c 00", 0, BotHost.Hex("00 00 00 08 00 00 10 00 00 00 10 00"));
        host.Fails("5/26/00", "15 10 00 00 08 00", 0, BotHost.Hex("00 00 00 04 00 00 00 00"));
        host.Fails("5/26/00", "15 10 00 00 08 00", 0, BotHost.Hex("00 00 00 00 3f 02 00 00"));
        host.Fails("5/1a/00", "15 10 00 00 08 00", 0, BotHost.Hex("00 00 00 08 00 00 00 00"));
        host.Fails("5/1a/00", "15 10 00 00 08 00", 0, BotHost.Hex("00 00 00 00 08 12 04 00"));
        host.Fails("5/1a/00", "15 10 00 00 05 00", 0, BotHost.Hex("00 00 00 00 08"));
        host.Fails("5/1a/00", "15 10 00 00 02 00");
        host.Fails("5/24/00", "15 11 00 00 18 00", 0, new byte[24]);
        host.Fails("5/24/00", "55 10 00 00 00 00 00 ff ff 00");
    }

    [Fact]
    public void Read_capacity_10_gives_the_last_sector()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal(BotHost.Hex("00 00 0f ff 00 00 02 00"), host.Ask("25 00 00 00 00 00 00 00 00 00", 8));
        Assert.Equal(8, host.Ask("25 00 00 00 00 01 00 00 01 00", 8).Length);
        host.Fails("5/24/00", "25 00 00 00 00 01 00 00 00 00", 8);
    }

    [Theory]
    [InlineData(0xffffffffL, "ff ff ff fe")]
    [InlineData(0x100000000L, "ff ff ff ff")]
    [InlineData(0x180000000L, "ff ff ff ff")]
    public void Read_capacity_beyond_2_TiB_points_to_the_16_byte_command(long sectors, string last)
    {
        var host = new BotHost(new MemoryBlockStore(sectors));
        Assert.Equal(BotHost.Hex(last), host.Ask("25 00 00 00 00 00 00 00 00 00", 8)[..4]);
        byte[] data = host.Ask("9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 32);
        Assert.Equal(sectors - 1, BinaryPrimitives.ReadInt64BigEndian(data));
        Assert.Equal(BotHost.Hex("00 00 02 00 00 00 c0 00"), data[8..16]);
        host.Fails("5/24/00", "9e 11 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 32);
    }

    [Fact]
    public void Read_format_capacities_gives_one_formatted_medium()
    {
        Assert.Equal(BotHost.Hex("00 00 00 08 00 00 10 00 02 00 02 00"), BotHost.Ready().Ask("23 00 00 00 00 00 00 00 0c 00", 12));
        var large = new BotHost(new MemoryBlockStore(0x180000000));
        Assert.Equal(BotHost.Hex("ff ff ff ff 02"), large.Ask("23 00 00 00 00 00 00 00 0c 00", 12)[4..9]);
    }

    [Fact]
    public void Report_luns_names_unit_0()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal([0, 0, 0, 8, .. new byte[12]], host.Ask("a0 00 00 00 00 00 00 00 00 10 00 00", 16));
        Assert.Equal(new byte[8], host.Ask("a0 00 01 00 00 00 00 00 00 08 00 00", 8));
        host.Fails("5/24/00", "a0 00 03 00 00 00 00 00 00 10 00 00", 16);
    }

    [Fact]
    public void Report_supported_operation_codes_lists_all_commands_and_one()
    {
        BotHost host = BotHost.Ready();
        byte[] all = host.Ask("a3 0c 00 00 00 00 00 00 01 14 00 00", 276);
        Assert.Equal(34u * 8, BinaryPrimitives.ReadUInt32BigEndian(all));
        Assert.Equal(BotHost.Hex("00 03 00 0a 28 f8 ff ff ff ff 00 ff ff 00"), host.Ask("a3 0c 01 28 00 00 00 00 00 0e 00 00", 14));
        Assert.Equal(BotHost.Hex("00 03 00 10 9e 10"), host.Ask("a3 0c 02 9e 00 10 00 00 00 14 00 00", 20)[..6]);
        Assert.Equal(BotHost.Hex("00 03 00 0c a3 0c"), host.Ask("a3 0c 03 a3 00 0c 00 00 00 10 00 00", 16)[..6]);
        Assert.Equal(BotHost.Hex("00 01 00 00"), host.Ask("a3 0c 02 9e 00 11 00 00 00 04 00 00", 4));
        Assert.Equal(BotHost.Hex("00 01 00 00"), host.Ask("a3 0c 03 28 00 01 00 00 00 04 00 00", 4));
        Assert.Equal(BotHost.Hex("00 01 00 00"), host.Ask("a3 0c 01 5f 00 00 00 00 00 04 00 00", 4));
        Assert.Equal(BotHost.Hex("00 01 00 00"), ReadOnly().Ask("a3 0c 01 42 00 00 00 00 00 04 00 00", 4));
        Assert.Equal(33u * 8, BinaryPrimitives.ReadUInt32BigEndian(ReadOnly().Ask("a3 0c 00 00 00 00 00 00 00 04 00 00", 4)));
        host.Fails("5/24/00", "a3 0c 01 9e 00 10 00 00 00 14 00 00", 20);
        host.Fails("5/24/00", "a3 0c 02 28 00 00 00 00 00 14 00 00", 20);
        host.Fails("5/24/00", "a3 0c 04 28 00 00 00 00 00 14 00 00", 20);
        host.Fails("5/24/00", "a3 0d 00 00 00 00 00 00 00 04 00 00", 4);
    }

    [Fact]
    public void Send_diagnostic_passes_its_self_test_only()
    {
        BotHost host = BotHost.Ready();
        host.Do("1d 04 00 00 00 00");
        host.Fails("5/24/00", "1d 00 00 00 00 00");
        host.Fails("5/24/00", "1d 04 00 00 10 00");
    }

    [Fact]
    public void Start_stop_of_a_fixed_disk_makes_data_durable_and_never_ejects()
    {
        var store = new HeldStore(64);
        var host = new BotHost(store);
        host.Do("1b 00 00 00 00 00");
        Assert.Equal(BlockOperationKind.Flush, Assert.Single(store.Seen).Kind);
        host.Do("1b 00 00 00 01 00");
        host.Do("1b 00 00 00 30 00");
        host.Fails("5/24/00", "1b 00 00 00 02 00");
        host.Do("00 00 00 00 00 00");
    }

    [Fact]
    public void Eject_takes_the_medium_out_and_load_brings_it_back()
    {
        BotHost host = Removable();
        host.Do("1b 00 00 00 02 00");
        host.Fails("2/3a/00", "00 00 00 00 00 00");
        host.Fails("2/3a/00", "28 00 00 00 00 00 00 00 01 00", 512);
        Assert.Equal("2/3a/00", host.Sense());
        Assert.Equal(3, host.Ask("23 00 00 00 00 00 00 00 0c 00", 12)[8]);
        Assert.Equal(0, host.Ask("1a 00 08 00 04 00", 4)[3]);
        host.Do("1b 00 00 00 02 00");
        host.Do("1b 00 00 00 03 00");
        host.Fails("6/28/00", "00 00 00 00 00 00");
        host.Do("00 00 00 00 00 00");
        host.Do("1b 00 00 00 03 00");
        host.Do("00 00 00 00 00 00");
    }

    [Fact]
    public void Prevented_removal_refuses_eject_until_allowed()
    {
        BotHost host = Removable();
        host.Do("1e 00 00 00 01 00");
        host.Fails("5/53/02", "1b 00 00 00 02 00");
        host.Do("1e 00 00 00 00 00");
        host.Do("1b 00 00 00 02 00");
        host.Fails("2/3a/00", "00 00 00 00 00 00");
    }

    [Theory]
    [InlineData("5f 00 00 00 00 00 00 00 00 00")] // PERSISTENT RESERVE OUT
    [InlineData("5e 00 00 00 00 00 00 00 08 00")] // PERSISTENT RESERVE IN
    [InlineData("a1 08 2e 00 00 00 00 00 00 ec 00 00")] // ATA PASS-THROUGH (12)
    [InlineData("85 08 2e 00 00 00 00 00 00 00 00 00 00 00 ec 00")] // ATA PASS-THROUGH (16)
    [InlineData("04 00 00 00 00 00")] // FORMAT UNIT
    [InlineData("4d 00 40 00 00 00 00 00 ff 00")] // LOG SENSE
    [InlineData("43 02 00 00 00 00 00 00 0c 00")] // READ TOC
    public void Unsupported_commands_are_refused(string command) => BotHost.Ready().Fails("5/20/00", command);

    [Fact]
    public void A_command_shorter_than_its_cdb_is_filled_with_zeroes()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal(8, host.Ask("25", 8).Length);
        Assert.Equal(Array.Empty<byte>(), host.Ask("12", 0));
    }
}
