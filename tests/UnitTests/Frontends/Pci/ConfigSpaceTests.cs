using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class ConfigSpaceTests
{
    // What the specifications say of each byte group: offset, bytes, reset value, writable bits. Written down here a
    // second time on purpose; everything that is not named reads as zero and cannot be written.
    private const string Expected = """
        00 2 1b36 0000  Vendor ID
        02 2 000d 0000  Device ID
        04 2 0000 0546  Command: memory, master, parity, SERR#, interrupt disable
        06 2 0010 0000  Status: capabilities list
        08 1 01 00      Revision ID
        09 1 30 00      Programming interface: xHCI
        0a 2 0c03 0000  Class: serial bus, USB
        0c 1 00 ff      Cache Line Size
        0d 1 00 ff      Latency Timer
        0e 1 00 00      Header Type
        0f 1 00 00      BIST
        10 4 00000004 ffffc000  BAR 0: 16 KiB, 64-bit, not prefetchable
        14 4 00000000 ffffffff  BAR 1: upper half
        18 4 00000000 00000000  BAR 2
        28 4 00000000 00000000  CardBus CIS
        2c 2 1af4 0000  Subsystem Vendor ID
        2e 2 1100 0000  Subsystem ID
        30 4 00000000 00000000  Expansion ROM
        34 1 50 00      Capabilities Pointer
        3c 1 00 ff      Interrupt Line
        3d 1 01 00      Interrupt Pin: INTA#
        3e 2 0000 0000  Min_Gnt, Max_Lat
        50 2 7001 0000  Power Management capability
        52 2 4003 0000  PMC: version 1.2, PME# from D3hot
        54 2 0008 0103  PMCSR: PowerState, PME_En; No_Soft_Reset
        56 2 0000 0000  PMCSR_BSE, Data
        60 1 30 00      SBRN
        61 1 20 3f      FLADJ
        62 1 00 00      DBESL
        70 2 9005 0000  MSI capability
        72 2 0188 0071  MSI Message Control: 16 messages, 64-bit, maskable
        74 4 00000000 fffffffc  MSI Address
        78 4 00000000 ffffffff  MSI Upper Address
        7c 2 0000 ffff  MSI Data
        7e 2 0000 0000  reserved
        80 4 00000000 0000ffff  MSI Mask
        84 4 00000000 00000000  MSI Pending
        90 2 0011 0000  MSI-X capability, last
        92 2 000f c000  MSI-X Message Control: 16 vectors
        94 4 00003000 00000000  MSI-X Table: BAR 0
        98 4 00003800 00000000  MSI-X PBA: BAR 0
        """;

    public static TheoryData<string, int, int, uint, uint> Rows()
    {
        var data = new TheoryData<string, int, int, uint, uint>();
        foreach (string line in Expected.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] words = line.Split(' ', 5, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            data.Add(words[4], Hex(words[0]), Hex(words[1]), (uint)Convert.ToInt64(words[2], 16), (uint)Convert.ToInt64(words[3], 16));
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_afterReset_readsItsResetValue(string name, int offset, int width, uint reset, uint writable)
    {
        _ = (name, writable);
        var bench = new PciBench();

        Assert.Equal(reset, bench.Pci.ReadConfig(offset, width));
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_writtenWithOnesThenZeros_keepsOnlyItsWritableBits(string name, int offset, int width, uint reset, uint writable)
    {
        _ = name;
        var bench = new PciBench();

        bench.Pci.WriteConfig(offset, width, ulong.MaxValue);
        ulong ones = bench.Pci.ReadConfig(offset, width);
        bench.Pci.WriteConfig(offset, width, 0);
        ulong zeros = bench.Pci.ReadConfig(offset, width);

        Assert.Equal(reset | writable, ones);
        Assert.Equal(reset & ~writable, zeros);
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Register_writtenThenReset_readsItsResetValue(string name, int offset, int width, uint reset, uint writable)
    {
        _ = (name, writable);
        var bench = new PciBench();
        bench.Pci.WriteConfig(offset, width, ulong.MaxValue);

        bench.Pci.Reset();

        Assert.Equal(reset, bench.Pci.ReadConfig(offset, width));
    }

    [Fact]
    public void Read_everyOffsetAndSize_equalsTheByteModel()
    {
        var bench = new PciBench();
        (byte[] value, _) = Model();

        for (int offset = -9; offset < 0x110; offset++)
        {
            for (int size = 1; size <= 8; size++)
                Assert.Equal(ReadModel(value, offset, size), bench.Pci.ReadConfig(offset, size));
        }
    }

    [Theory]
    [InlineData(0xffff_ffff_ffff_ffffUL)]
    [InlineData(0x0000_0000_0000_0000UL)]
    [InlineData(0xa5a5_5a5a_0ff0_c33cUL)]
    [InlineData(0x0303_0303_0303_0303UL)]
    public void Write_everyOffsetAndSize_equalsTheByteModel(ulong pattern)
    {
        for (int offset = -9; offset < 0x110; offset++)
        {
            for (int size = 1; size <= 8; size++)
            {
                var bench = new PciBench();
                (byte[] value, byte[] mask) = Model();

                bench.Pci.WriteConfig(offset, size, pattern);
                WriteModel(value, mask, offset, size, pattern);

                for (int at = 0; at < 256; at++) Assert.Equal(value[at], bench.Pci.ReadConfig(at, 1));
            }
        }
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 9)]
    [InlineData(0, -1)]
    [InlineData(int.MaxValue, 8)]
    [InlineData(int.MinValue, 8)]
    [InlineData(256, 4)]
    public void Access_withoutRegisterOrWithWrongSize_readsOnesAndIsDropped(int offset, int size)
    {
        var bench = new PciBench();
        (byte[] value, _) = Model();

        bench.Pci.WriteConfig(offset, size, 0x0101_0101_0101_0101);

        ulong ones = size is < 1 or > 8 ? ulong.MaxValue : ulong.MaxValue >> (64 - (8 * size));
        Assert.Equal(ones, bench.Pci.ReadConfig(offset, size));
        for (int at = 0; at < 256; at++) Assert.Equal(value[at], bench.Pci.ReadConfig(at, 1));
    }

    [Fact]
    public void Capabilities_walked_arePowerManagementMsiMsiX()
    {
        var bench = new PciBench();
        var ids = new List<ulong>();

        for (ulong at = bench.Pci.ReadConfig(0x34, 1); at != 0 && ids.Count < 16; at = bench.Pci.ReadConfig((int)at + 1, 1))
            ids.Add(bench.Pci.ReadConfig((int)at, 1));

        Assert.Equal([0x01UL, 0x05, 0x11], ids);
    }

    [Fact]
    public void ProgrammingInterface_LP1722857_is30ForEveryProfile()
    {
        foreach (PciIdentity identity in PciIdentity.All)
            Assert.Equal(0x0c0330UL, new PciBench(identity).Pci.ReadConfig(0x08, 4) >> 8);
    }

    [Theory]
    [InlineData("xhci-default", 0x1b36, 0x000d)]
    [InlineData("xhci-renesas", 0x1912, 0x0014)]
    [InlineData("xhci-intel", 0x8086, 0x1e31)]
    public void Profile_byName_hasItsIds(string name, int vendor, int device)
    {
        PciIdentity? identity = PciIdentity.Find(name);

        Assert.NotNull(identity);
        Assert.Equal((ulong)(uint)((device << 16) | vendor), new PciBench(identity).Pci.ReadConfig(0, 4));
    }

    [Fact]
    public void Profile_unknownName_isNull() => Assert.Null(PciIdentity.Find("nec"));

    [Fact]
    public void Renesas_driverAsksForFirmware_isToldThatItRuns()
    {
        var bench = new PciBench(PciIdentity.XhciRenesas);

        // A download attempt changes nothing: the status is read-only.
        bench.Pci.WriteConfig(0xf4, 1, 1);
        bench.Pci.WriteConfig(0xf8, 4, 0x53524f4d);
        bench.Pci.WriteConfig(0xf6, 2, 1);

        Assert.Equal(0x12UL, bench.Pci.ReadConfig(0xf4, 1)); // lock, success
        Assert.Equal(0UL, bench.Pci.ReadConfig(0xf5, 1)); // no Set DATA outstanding
        Assert.Equal(0x8010UL, bench.Pci.ReadConfig(0xf6, 2)); // ROM exists, success
        Assert.Equal(0x2026UL, bench.Pci.ReadConfig(0x6c, 4) >> 8);
        Assert.Equal(0UL, bench.Pci.ReadConfig(0xf8, 4));
    }

    [Theory]
    [InlineData(0xd0, 0xd4)]
    [InlineData(0xd8, 0xdc)]
    public void Intel_firmwareRoutesPorts_masksAreThereAndSwitchesKeepWhatIsWritten(int select, int mask)
    {
        var bench = new PciBench(PciIdentity.XhciIntel);
        ulong ports = bench.Pci.ReadConfig(mask, 4);

        bench.Pci.WriteConfig(select, 4, 0);
        ulong cleared = bench.Pci.ReadConfig(select, 4);
        bench.Pci.WriteConfig(select, 4, ports);

        Assert.Equal(0xfUL, ports);
        Assert.Equal(0UL, cleared);
        Assert.Equal(ports, bench.Pci.ReadConfig(select, 4));
    }

    [Fact]
    public void Table_ofEveryProfile_namesRegistersInOffsetOrderWithDisjointMasks()
    {
        foreach (PciIdentity identity in PciIdentity.All)
        {
            IReadOnlyList<ConfigRegister> table = ConfigLayout.Build(identity, PciFunction.XhciBarSize);
            int fixedRows = table.Count - identity.VendorRegisters.Count;

            Assert.Equal(table.Take(fixedRows).OrderBy(row => row.Offset), table.Take(fixedRows));
            Assert.Equal(identity.VendorRegisters.OrderBy(row => row.Offset), identity.VendorRegisters);
        }
    }

    [Theory]
    [InlineData(0x00, 3, 0u, 0u, 0u, 0u)] // width
    [InlineData(0x01, 2, 0u, 0u, 0u, 0u)] // alignment
    [InlineData(0x100, 1, 0u, 0u, 0u, 0u)] // beyond the end
    [InlineData(-4, 4, 0u, 0u, 0u, 0u)] // before the start
    [InlineData(0x00, 1, 0x100u, 0u, 0u, 0u)] // wider than the register
    [InlineData(0x00, 1, 0u, 1u, 1u, 0u)] // writable and RW1C
    [InlineData(0x00, 1, 0u, 1u, 0u, 1u)] // writable and set by hardware
    [InlineData(0x40, 1, 0u, 0u, 0u, 0u)] // overlap with the row below
    public void Table_withAWrongRow_isRefused(int offset, int width, uint reset, uint write, uint clear, uint hardware)
    {
        ConfigRegister[] table = [new("there", 0x40, 4, 0), new("wrong", offset, width, reset, write, clear, hardware)];

        ArgumentException fault = Assert.Throws<ArgumentException>(() => new ConfigSpace(table));

        Assert.Contains("wrong", fault.Message, StringComparison.Ordinal);
    }

    private static int Hex(string text) => int.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static (byte[] Value, byte[] Mask) Model()
    {
        var value = new byte[256];
        var mask = new byte[256];
        foreach (object[] row in Rows())
        {
            for (int i = 0; i < (int)row[2]; i++)
            {
                value[(int)row[1] + i] = (byte)(((uint)row[3] >> (8 * i)) & 0xff);
                mask[(int)row[1] + i] = (byte)(((uint)row[4] >> (8 * i)) & 0xff);
            }
        }

        return (value, mask);
    }

    private static ulong ReadModel(byte[] value, int offset, int size)
    {
        ulong result = 0;
        for (int i = 0; i < size; i++)
        {
            int at = offset + i;
            result |= (ulong)(at is >= 0 and < 256 ? value[at] : (byte)0xff) << (8 * i);
        }

        return result;
    }

    private static void WriteModel(byte[] value, byte[] mask, int offset, int size, ulong pattern)
    {
        for (int i = 0; i < size; i++)
        {
            int at = offset + i;
            if (at is < 0 or > 255) continue;
            int written = (int)((pattern >> (8 * i)) & mask[at]);
            // D1 and D2 do not exist: such a write leaves PowerState (D0 here) alone.
            if (at == 0x54 && (written & 3) is 1 or 2) written &= ~3;
            value[at] = (byte)((value[at] & ~mask[at]) | written);
        }
    }
}
