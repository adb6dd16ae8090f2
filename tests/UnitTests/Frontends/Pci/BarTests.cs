using System;
using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

public sealed class BarTests
{
    [Fact]
    public void Sizing_asOneEightByteWrite_tells16KiB()
    {
        var bench = new PciBench();

        bench.Pci.WriteConfig(0x10, 8, ulong.MaxValue);

        Assert.Equal(0xffff_ffff_ffff_c004, bench.Pci.ReadConfig(0x10, 8));
    }

    [Theory]
    [InlineData(0x10, 0x14)]
    [InlineData(0x14, 0x10)]
    public void Sizing_inHalvesInEitherOrder_tells16KiB(int first, int second)
    {
        var bench = new PciBench();

        bench.Pci.WriteConfig(first, 4, 0xffff_ffff);
        bench.Pci.WriteConfig(second, 4, 0xffff_ffff);

        Assert.Equal(0xffff_c004UL, bench.Pci.ReadConfig(0x10, 4));
        Assert.Equal(0xffff_ffffUL, bench.Pci.ReadConfig(0x14, 4));
    }

    [Fact]
    public void Placement_SeaBios32Bit_mapsBelow4GiB()
    {
        var bench = new PciBench();

        // SeaBIOS: size and place the low half, zero the high half, then turn decoding on.
        bench.Pci.WriteConfig(0x10, 4, 0xffff_ffff);
        _ = bench.Pci.ReadConfig(0x10, 4);
        bench.Pci.WriteConfig(0x10, 4, 0xfebf_0000);
        bench.Pci.WriteConfig(0x14, 4, 0);
        bench.Pci.WriteConfig(0x04, 2, 0x0002);

        Assert.Equal(new BarMapping(0xfebf_0000, true), bench.Pci.BarMapping);
        Assert.Equal(["bar 0 febf0000 on"], bench.HostCalls);
    }

    [Fact]
    public void Placement_above4GiBWithDecodingOn_movesHalfByHalf()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteConfig(0x14, 4, 0x80);
        bench.Pci.WriteConfig(0x10, 4, 0x0001_0000);

        Assert.Equal(["bar 0 80febf0000 on", "bar 0 8000010000 on"], bench.HostCalls);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(ulong.MaxValue)]
    public void Placement_unsetOrSizingWithDecodingOn_isNotMapped(ulong written)
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteConfig(0x10, 8, written);

        Assert.False(bench.Pci.BarMapping.Enabled);
        Assert.EndsWith("off", Assert.Single(bench.HostCalls), StringComparison.Ordinal);
    }

    [Fact]
    public void Decoding_turnedOffAndOn_tellsTheHostEachTimeOnce()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteConfig(0x04, 2, 0x0004);
        bench.Pci.WriteConfig(0x04, 2, 0x0004);
        bench.Pci.WriteConfig(0x04, 2, 0x0006);

        Assert.Equal(["bar 0 febf0000 off", "bar 0 febf0000 on"], bench.HostCalls);
    }

    [Fact]
    public void Access_decodingOff_readsOnesAndIsDropped()
    {
        PciBench bench = PciBench.Running();
        bench.Pci.WriteConfig(0x04, 2, 0x0004);

        bench.Pci.WriteBar(0, 0, 4, 1);
        bench.Pci.WriteBar(0, PciBench.Table, 4, 0xfee0_0000);

        Assert.Equal(0xffff_ffffUL, bench.Pci.ReadBar(0, 0, 4));
        Assert.Empty(bench.RegisterCalls);
        bench.Pci.WriteConfig(0x04, 2, 0x0006);
        Assert.Equal(0UL, bench.Pci.ReadBar(0, PciBench.Table, 4));
    }

    [Fact]
    public void Access_inD3hot_readsOnesAndIsDropped()
    {
        PciBench bench = PciBench.Running();
        bench.Sleep();

        bench.Pci.WriteBar(0, 0x40, 4, 1);

        Assert.True(bench.Pci.IsAsleep);
        Assert.Equal(ulong.MaxValue, bench.Pci.ReadBar(0, 0x40, 8));
        Assert.Empty(bench.RegisterCalls);
        Assert.Equal(0x1b36UL, bench.Pci.ReadConfig(0, 2));
    }

    [Theory]
    [InlineData(1, 0UL, 4)]
    [InlineData(-1, 0UL, 4)]
    [InlineData(0, 0x4000UL, 4)]
    [InlineData(0, ulong.MaxValue, 8)]
    [InlineData(0, 0UL, 0)]
    [InlineData(0, 0UL, 9)]
    public void Access_noSuchBarPlaceOrSize_readsOnesAndIsDropped(int bar, ulong offset, int size)
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteBar(bar, offset, size, 0);

        ulong ones = size is 0 or 9 ? ulong.MaxValue : ulong.MaxValue >> (64 - (8 * size));
        Assert.Equal(ones, bench.Pci.ReadBar(bar, offset, size));
        Assert.Empty(bench.RegisterCalls);
    }

    [Theory]
    [InlineData(0UL, 1)]
    [InlineData(1UL, 2)]
    [InlineData(2UL, 2)]
    [InlineData(0x21UL, 4)]
    [InlineData(0x22UL, 8)]
    [InlineData(0x2ff8UL, 8)]
    [InlineData(0x2fffUL, 1)]
    public void RegisterAccess_ofPowerOfTwo_reachesTheRegistersAsIssued(ulong offset, int size)
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteBar(0, offset, size, 0xffee_ddcc_bbaa_9988);
        ulong value = bench.Pci.ReadBar(0, offset, size);

        ulong cut = 0xffee_ddcc_bbaa_9988 & (ulong.MaxValue >> (64 - (8 * size)));
        Assert.Equal(cut, value);
        Assert.Equal([$"w {offset:x} {size} {cut:x}", $"r {offset:x} {size}"], bench.RegisterCalls);
    }

    [Fact]
    public void RegisterAccess_ofOddSize_isSplitAtNaturalAlignment()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteBar(0, 0x41, 7, 0x0077_6655_4433_2211);

        Assert.Equal(["w 41 1 11", "w 42 2 3322", "w 44 4 77665544"], bench.RegisterCalls);
    }

    [Fact]
    public void Access_acrossTheEndOfTheRegisters_isSplitThere()
    {
        PciBench bench = PciBench.Running();

        bench.Pci.WriteBar(0, 0x2ffe, 8, 0x5544_3322_1108_7766);

        Assert.Equal(["w 2ffe 2 7766"], bench.RegisterCalls);
        Assert.Equal(0x4433_2211_08UL & 0xffff_fffcUL, bench.Pci.ReadBar(0, 0x3000, 4));
        Assert.Equal(0x5544UL, bench.Pci.ReadBar(0, 0x3004, 2));
    }

    [Fact]
    public void EveryAlignmentAndSize_equalsTheByteModel()
    {
        ulong[] places = [0x0, 0x2ff0, 0x30f0, 0x37f0, 0x3ff0];
        foreach (ulong place in places)
        {
            for (ulong offset = place; offset < place + 0x20; offset++)
            {
                for (int size = 1; size <= 8; size++) CompareWithModel(offset, size, 0xfedc_ba98_7654_3210);
            }
        }
    }

    [Fact]
    public void Access_beforeRegistersAreConnected_readsOnes()
    {
        var bench = new PciBench(connect: false);
        bench.Start();
        bench.Pci.WriteBar(0, 0, 4, 0);
        bench.Pci.WriteBar(0, 0, 3, 0);

        Assert.Equal(0xffff_ffffUL, bench.Pci.ReadBar(0, 0, 4));
        Assert.Equal(0xff_ffffUL, bench.Pci.ReadBar(0, 0, 3));

        bench.Pci.Connect(bench);
        Assert.Equal(0UL, bench.Pci.ReadBar(0, 0, 4));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0x1000)]
    [InlineData(0x3000)]
    [InlineData(int.MinValue)]
    public void BarSize_notAPowerOfTwoOrTooSmall_isRefused(int size) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => new PciBench(barSize: size));

    [Fact]
    public void BarSize_otherThanXhcis_movesSizeMaskAndTable()
    {
        var bench = new PciBench(barSize: 0x10000);

        bench.Pci.WriteConfig(0x10, 4, 0xffff_ffff);

        Assert.Equal(0xffff_0004UL, bench.Pci.ReadConfig(0x10, 4));
        Assert.Equal(0xf000UL, bench.Pci.ReadConfig(0x94, 4));
        Assert.Equal(0xf800UL, bench.Pci.ReadConfig(0x98, 4));
    }

    [Fact]
    public void MsiXTable_NetBsdShrinksTheMapping_liesBehindAllRegisters()
    {
        var bench = new PciBench();

        ulong table = bench.Pci.ReadConfig(0x94, 4);
        ulong pending = bench.Pci.ReadConfig(0x98, 4);

        Assert.Equal(0UL, table & 7);
        Assert.Equal(0UL, pending & 7);
        // Every register offset that xHCI needs (doorbells end at 2400h) is in front of what NetBSD still maps.
        Assert.Equal((ulong)bench.Registers.Length, table);
        Assert.True(pending >= table + (16 * 16));
        Assert.True(pending + 8 <= (ulong)bench.Pci.BarSize);
    }

    private static void CompareWithModel(ulong offset, int size, ulong pattern)
    {
        PciBench bench = PciBench.Running();
        for (int i = 0; i < 0x3000; i++) bench.Registers[i] = (byte)(i & 0xff);
        var model = new byte[0x4000];
        for (int i = 0; i < 0x3000; i++) model[i] = (byte)(i & 0xff);
        for (int vector = 0; vector < 16; vector++) model[0x300c + (vector * 16)] = 1;
        for (int i = 0; i < size; i++)
        {
            ulong at = offset + (ulong)i;
            if (at < 0x4000) model[at] = (byte)((model[at] & ~Mask(at)) | ((int)((pattern >> (8 * i)) & 0xff) & Mask(at)));
        }

        bench.Pci.WriteBar(0, offset, size, pattern);

        Assert.True(model.AsSpan(0, 0x3000).SequenceEqual(bench.Registers));
        for (ulong at = 0x3000; at < 0x4000; at += 4)
            Assert.Equal(BitConverter.ToUInt32(model, (int)at), bench.Pci.ReadBar(0, at, 4));
        ulong expected = 0;
        for (int i = 0; i < size; i++)
        {
            ulong at = offset + (ulong)i;
            expected |= (ulong)(at < 0x4000 ? model[at] : (byte)0xff) << (8 * i);
        }

        Assert.Equal(expected, bench.Pci.ReadBar(0, offset, size));
    }

    private static int Mask(ulong at)
    {
        if (at < 0x3000) return 0xff;
        if (at >= 0x3100) return 0;
        return (at % 16) switch { 0 => 0xfc, < 12 => 0xff, 12 => 1, _ => 0 };
    }
}
