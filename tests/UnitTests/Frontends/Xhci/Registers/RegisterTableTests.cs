using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Frontends.Xhci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

/// <summary>Every register of the table: where it lies, what it reads after a reset, which bits a write reaches, at every access size.</summary>
public class RegisterTableTests
{
    // Offset, width, name, reset value, bits that keep what is written. Taken from xHCI 1.2 §5 and §7, not from the tables.
    private static readonly (int Offset, int Width, string Name, ulong Reset, ulong Writable)[] Expected =
    [
        (0x000, 1, "CAPLENGTH", 0x40, 0),
        (0x002, 2, "HCIVERSION", 0x0120, 0),
        (0x004, 4, "HCSPARAMS1", 0x0400_0408, 0),
        (0x008, 4, "HCSPARAMS2", 0x0000_0089, 0),
        (0x00c, 4, "HCSPARAMS3", 0, 0),
        (0x010, 4, "HCCPARAMS1", 0x0200_7f29, 0),
        (0x014, 4, "DBOFF", 0x2000, 0),
        (0x018, 4, "RTSOFF", 0x1000, 0),
        (0x01c, 4, "HCCPARAMS2", 0x21, 0),
        (0x040, 4, "USBCMD", 0, 0x0c0c),
        (0x044, 4, "USBSTS", 1, 0),
        (0x048, 4, "PAGESIZE", 1, 0),
        (0x054, 4, "DNCTRL", 0, 0xffff),
        (0x058, 8, "CRCR", 0, 0),
        (0x070, 8, "DCBAAP", 0, 0xffff_ffff_ffff_ffc0),
        (0x078, 4, "CONFIG", 0, 0x3ff),
        (0x440, 4, "PORTSC", 0x2a0, 0x0e00_c000),
        (0x444, 4, "PORTPMSC", 0, 0xf000_fff8),
        (0x448, 4, "PORTLI", 0, 0),
        (0x44c, 4, "PORTHLPMC", 0, 0),
        (0x470, 4, "PORTSC", 0x2a0, 0x0e00_c000),
        (0x474, 4, "PORTPMSC", 0, 0x1_ffff),
        (0x478, 4, "PORTLI", 0, 0xffff),
        (0x47c, 4, "PORTHLPMC", 0, 0),
        (0x800, 4, "USBLEGSUP", 0x0401, 0x0101_0000),
        (0x804, 4, "USBLEGCTLSTS", 0, 0xe011),
        (0x810, 4, "SUPPORTED_PROTOCOL_USB2", 0x0200_0802, 0),
        (0x814, 4, "SUPPORTED_PROTOCOL_USB2_NAME", 0x2042_5355, 0),
        (0x818, 4, "SUPPORTED_PROTOCOL_USB2_PORTS", 0x3000_0201, 0),
        (0x81c, 4, "SUPPORTED_PROTOCOL_USB2_SLOT_TYPE", 0, 0),
        (0x820, 4, "SUPPORTED_PROTOCOL_USB2_PSI1", 0x000c_0021, 0),
        (0x824, 4, "SUPPORTED_PROTOCOL_USB2_PSI2", 0x05dc_0012, 0),
        (0x828, 4, "SUPPORTED_PROTOCOL_USB2_PSI3", 0x01e0_0023, 0),
        (0x830, 4, "SUPPORTED_PROTOCOL_USB3", 0x0300_0002, 0),
        (0x834, 4, "SUPPORTED_PROTOCOL_USB3_NAME", 0x2042_5355, 0),
        (0x838, 4, "SUPPORTED_PROTOCOL_USB3_PORTS", 0x1000_0203, 0),
        (0x83c, 4, "SUPPORTED_PROTOCOL_USB3_SLOT_TYPE", 0, 0),
        (0x840, 4, "SUPPORTED_PROTOCOL_USB3_PSI1", 0x0005_0134, 0),
        (0x1000, 4, "MFINDEX", 0, 0),
        (0x1020, 4, "IMAN", 0, 0x2),
        (0x1024, 4, "IMOD", 4000, 0xffff_ffff),
        (0x1028, 4, "ERSTSZ", 0, 0xffff),
        (0x1030, 8, "ERSTBA", 0, 0xffff_ffff_ffff_fff0),
        (0x1038, 8, "ERDP", 0, 0xffff_ffff_ffff_fff7),
        (0x1080, 4, "IMAN", 0, 0x2),
        (0x1098, 8, "ERDP", 0, 0xffff_ffff_ffff_fff7),
        (0x2000, 4, "DB", 0, 0),
        (0x2020, 4, "DB", 0, 0),
    ];

    public static IEnumerable<object[]> Rows => Expected.Select(row => new object[] { row.Offset, row.Width, row.Name });

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_after_reset_has_its_value(int offset, int width, string name)
    {
        var bench = new RegisterBench();
        ulong value = bench.Registers.Read(offset, width);
        Assert.Equal(Row(offset).Reset, value);
        Assert.Contains(bench.Registers.Map.Registers, r => r.Offset == offset && r.Width == width && r.Name == name);
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_read_in_parts_gives_the_same_bytes(int offset, int width, string name)
    {
        var bench = new RegisterBench();
        ulong whole = bench.Registers.Read(offset, width);
        for (int size = 1; size <= width; size *= 2)
        {
            ulong parts = 0;
            for (int at = 0; at < width; at += size) parts |= bench.Registers.Read(offset + at, size) << (at * 8);
            Assert.True(whole == parts, $"{name} in parts of {size}");
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_written_with_ones_and_zeros_changes_writable_bits_only(int offset, int width, string name)
    {
        for (int size = 1; size <= width; size *= 2)
        {
            var bench = new RegisterBench();
            (_, _, _, ulong reset, ulong writable) = Row(offset);

            // R/S, the resets and PLS with its strobe are side effects with tests of their own.
            ulong ones = name switch { "USBCMD" => ~0x383ul, "PORTSC" => ~0x8001_0010ul, "IMOD" => 0xffff_0000_0000 | 0xffff_fffful, _ => ulong.MaxValue };
            for (int at = 0; at < width; at += size) bench.Registers.Write(offset + at, size, ones >> (at * 8));
            Assert.True((reset | writable) == bench.Registers.Read(offset, width), $"{name} ones in parts of {size}: 0x{bench.Registers.Read(offset, width):x}");

            ulong zeros = name == "PORTSC" ? 0x200ul : 0;
            for (int at = width - size; at >= 0; at -= size) bench.Registers.Write(offset + at, size, zeros >> (at * 8));
            Assert.True((reset & ~writable) == bench.Registers.Read(offset, width), $"{name} zeros in parts of {size}: 0x{bench.Registers.Read(offset, width):x}");
        }
    }

    [Fact]
    public void Map_lays_registers_out_without_overlap()
    {
        var map = new RegisterMap(new XhciOptions(15, 15, 255, 16));
        int end = 0;
        foreach (RegisterSpec register in map.Registers.OrderBy(r => r.Offset))
        {
            Assert.True(register.Offset >= end, $"{register.Name} at 0x{register.Offset:x} overlaps what is before it");
            Assert.Equal(0, register.Offset % register.Width % 4);
            Assert.Equal(0ul, register.Writable & register.ClearOnOne & register.SetOnOne);
            end = register.Offset + register.Width;
        }

        Assert.True(end <= RegisterTables.Length);
    }

    [Fact]
    public void Reserved_space_reads_zero_and_swallows_writes_at_every_size()
    {
        var bench = new RegisterBench();
        HashSet<int> used = [.. bench.Registers.Map.Registers.SelectMany(r => Enumerable.Range(r.Offset, r.Width))];
        for (int offset = 0; offset < RegisterTables.Length; offset++)
        {
            if (used.Contains(offset)) continue;
            bench.Registers.Write(offset, 1, 0xff);
            Assert.True(bench.Registers.Read(offset, 1) == 0, $"0x{offset:x}");
        }

        Assert.Empty(bench.Calls);
    }

    [Theory]
    [InlineData(-1, 4)]
    [InlineData(0x2ffd, 4)]
    [InlineData(0x3000, 1)]
    [InlineData(0, 3)]
    [InlineData(0, 0)]
    [InlineData(int.MaxValue, 8)]
    public void Access_outside_the_block_reads_zero_and_is_ignored(int offset, int size)
    {
        var bench = new RegisterBench();
        bench.Registers.Write(offset, size, ulong.MaxValue);
        Assert.Equal(0ul, bench.Registers.Read(offset, size));
        Assert.Empty(bench.Calls);
    }

    [Fact]
    public void Unaligned_eight_byte_access_covers_three_words()
    {
        var bench = new RegisterBench();
        bench.Registers.Write(0x6f, 8, 0x8877_6655_4433_22ff);
        bench.Registers.Write(0x76, 4, 0x0003_aabb);
        Assert.Equal(0xaabb_7766_5544_3300ul, bench.Registers.Read(0x70, 8));
        Assert.Equal(3u, bench.Read(RegisterBench.Config));
        Assert.Equal(0x03aa_bb77_6655_4433ul, bench.Registers.Read(0x71, 8));
    }

    [Fact]
    public void Hciversion_read_with_16_bits_answers_GitLab_143()
    {
        var bench = new RegisterBench();
        Assert.Equal(0x0120ul, bench.Registers.Read(2, 2));
        Assert.Equal(0x40ul, bench.Registers.Read(0, 1));
        Assert.Equal(0x0120_0040ul, bench.Registers.Read(0, 4));
    }

    [Fact]
    public void Runtime_offset_below_0x20_reads_zero_LP_1902112_oss_fuzz_26693()
    {
        var bench = new RegisterBench();
        for (int offset = 0x1004; offset < 0x1020; offset++)
        {
            bench.Registers.Write(offset, 1, 0xff);
            Assert.Equal(0ul, bench.Registers.Read(offset, 1));
        }
    }

    [Fact]
    public void Reserved_word_behind_Erstsz_reads_zero_as_Linux_expects()
    {
        var bench = new RegisterBench();
        bench.Write(0x102c, 0xffff_ffff);
        Assert.Equal(0u, bench.Read(0x102c));
    }

    [Theory]
    [InlineData(2, 2)]
    [InlineData(15, 15)]
    [InlineData(1, 0)]
    public void Extended_capabilities_form_a_list_that_ends_inside_the_block(int usb2, int usb3)
    {
        var bench = new RegisterBench(usb2, usb3);
        var ids = new List<uint>();
        int offset = (int)(bench.Read(0x10) >> 16) * 4;
        for (int left = 10; left > 0; left--)
        {
            Assert.InRange(offset, 0x20, RegisterTables.RuntimeOffset - 4);
            uint header = bench.Read(offset);
            ids.Add(header & 0xff);
            int next = (int)((header >> 8) & 0xff) * 4;
            if (next == 0) break;
            offset += next;
        }

        Assert.Equal(usb3 > 0 ? [1u, 2u, 2u] : [1u, 2u], ids);
    }

    [Theory]
    [InlineData(0x70, 0xffff_ffff_ffff_ffc0)]
    [InlineData(0x1030, 0xffff_ffff_ffff_fff0)]
    [InlineData(0x1038, 0xffff_ffff_ffff_fff0)]
    [InlineData(0x1098, 0xffff_ffff_ffff_fff0)]
    public void Register_of_64_bits_takes_whole_writes_and_halves_in_either_order(int offset, ulong mask)
    {
        const ulong Value = 0x1234_5678_9abc_def0;
        var bench = new RegisterBench();
        bench.Registers.Write(offset, 8, Value);
        Assert.Equal(Value & mask, bench.Registers.Read(offset, 8));
        bench.Write(offset, 0x1111_1100);
        bench.Write(offset + 4, 0x2222_2222);
        Assert.Equal(0x2222_2222_1111_1100ul & mask, bench.Registers.Read(offset, 8));
        bench.Write(offset + 4, 0x3333_3333);
        bench.Write(offset, 0x4444_4400);
        Assert.Equal(0x3333_3333_4444_4400ul & mask, bench.Registers.Read(offset, 8));
        Assert.Equal(0x3333_3333u, bench.Read(offset + 4));
    }

    [Theory]
    [InlineData(1, 0, 1, 1, 0x0100_0101u)]
    [InlineData(15, 15, 255, 16, 0x1e00_10ffu)]
    [InlineData(4, 4, 64, 16, 0x0800_1040u)]
    public void Hcsparams1_tells_slots_interrupters_and_ports(int usb2, int usb3, int slots, int interrupters, uint value)
    {
        var bench = new RegisterBench(usb2, usb3, slots, interrupters);
        Assert.Equal(value, bench.Read(0x04));
        Assert.Equal(2u, bench.Read(RegisterBench.PortSc(usb2 + usb3)) >> 8 & 2);
        Assert.Equal(0u, bench.Read(RegisterBench.PortSc(usb2 + usb3 + 1)));
        Assert.Equal(4000u, bench.Read(RegisterBench.Iman(interrupters - 1) + 4));
        Assert.Equal(0u, bench.Read(RegisterBench.Iman(interrupters) + 4));
        bench.Write(0x2000 + (slots * 4), 1);
        bench.Write(0x2000 + (slots * 4) + 4, 1);
        Assert.Equal([$"doorbell {slots} 0x1"], bench.Calls);
    }

    [Fact]
    public void Protocol_speed_ids_are_the_default_ones_iPXE_reads()
    {
        var bench = new RegisterBench();
        Assert.Equal([0x000c_0021u, 0x05dc_0012u, 0x01e0_0023u], new[] { bench.Read(0x820), bench.Read(0x824), bench.Read(0x828) });
        Assert.Equal(3u, bench.Read(0x818) >> 28);
        Assert.Equal(0x0005_0134u, bench.Read(0x840));
        Assert.Equal(1u, bench.Read(0x838) >> 28);
    }

    [Fact]
    public void Protocol_port_ranges_pair_the_first_usb2_with_the_first_usb3_port_Windows_HLK()
    {
        var bench = new RegisterBench(usb2: 3, usb3: 2);
        Assert.Equal(0x0301u, bench.Read(0x818) & 0xffff);
        Assert.Equal(0x0204u, bench.Read(0x838) & 0xffff);
        bench.Attach(1, XenUsbDm.Core.Usb.UsbSpeed.Super);
        Assert.Equal(1u, bench.Port(4) & 1);
    }

    [Fact]
    public void Protocol_capabilities_without_usb3_ports_end_after_usb2()
    {
        var bench = new RegisterBench(usb2: 3, usb3: 0);
        Assert.Equal(0x0200_0002u, bench.Read(0x810));
        Assert.Equal(0x3000_0301u, bench.Read(0x818));
        Assert.Equal(0u, bench.Read(0x830));
    }

    private static (int Offset, int Width, string Name, ulong Reset, ulong Writable) Row(int offset) => Expected.Single(row => row.Offset == offset);
}
