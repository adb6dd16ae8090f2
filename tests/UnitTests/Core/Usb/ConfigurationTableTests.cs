using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Usb;

public sealed class ConfigurationTableTests
{
    private static readonly EndpointAddress In1 = new(1, true);
    private static readonly EndpointAddress Out2 = new(2, false);

    private static ConfigurationTable Load(byte[] block)
    {
        var table = new ConfigurationTable();
        table.Load(block);
        return table;
    }

    private static EndpointDescriptor Find(ConfigurationTable table, EndpointAddress address)
    {
        Assert.True(table.TryFind(address, out EndpointDescriptor endpoint));
        return endpoint;
    }

    [Fact]
    public void Load_configuration_with_two_interfaces_finds_the_endpoints_of_both()
    {
        ConfigurationTable table = Load(new DescriptorBuilder(3)
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 512)
            .Interface(1).Endpoint(0x02, TransferKind.Interrupt, 64, 4).Build());

        Assert.True(table.IsConfigured);
        Assert.Equal(3, table.ConfigurationValue);
        Assert.Equal(DescriptorProblem.None, table.Problem);
        Assert.Equal(TransferKind.Bulk, Find(table, In1).Kind);
        Assert.Equal(512, Find(table, In1).MaxPacketSize);
        Assert.Equal(4, Find(table, Out2).Interval);
        Assert.True(table.BelongsTo(Out2, 1));
        Assert.False(table.BelongsTo(Out2, 0));
        Assert.False(table.BelongsTo(new EndpointAddress(3, true), 0));
    }

    [Fact]
    public void Load_empty_block_is_not_configured()
    {
        ConfigurationTable table = Load(new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Build());

        table.Load([]);

        Assert.False(table.IsConfigured);
        Assert.Equal(DescriptorProblem.None, table.Problem);
        Assert.False(table.TryFind(In1, out _));
    }

    [Theory]
    [InlineData(new byte[] { 9 })]
    [InlineData(new byte[] { 8, 2, 9, 0, 0, 1, 0, 0, 0 })]
    [InlineData(new byte[] { 9, 4, 9, 0, 0, 1, 0, 0, 0 })]
    [InlineData(new byte[] { 9, 2, 9, 0, 0, 1, 0, 0 })]
    public void Load_without_configuration_header_is_not_configured(byte[] block)
    {
        ConfigurationTable table = Load(block);

        Assert.False(table.IsConfigured);
        Assert.Equal(DescriptorProblem.NoConfiguration, table.Problem);
    }

    [Theory]
    [InlineData(new byte[] { 0, 5 }, DescriptorProblem.BadLength)]
    [InlineData(new byte[] { 1, 5 }, DescriptorProblem.BadLength)]
    [InlineData(new byte[] { 7 }, DescriptorProblem.BadLength)]
    [InlineData(new byte[] { 7, 5, 2, 2, 0 }, DescriptorProblem.BadLength)]
    [InlineData(new byte[] { 6, 5, 2, 2, 0, 2 }, DescriptorProblem.TooShort)]
    [InlineData(new byte[] { 8, 4, 1, 0, 0, 0, 0, 0 }, DescriptorProblem.TooShort)]
    public void Load_faulty_descriptor_keeps_what_stands_before_it(byte[] fault, DescriptorProblem problem)
    {
        ConfigurationTable table = Load(new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Raw(fault).Build());

        Assert.Equal(problem, table.Problem);
        Assert.True(table.TryFind(In1, out _));
        Assert.False(table.TryFind(Out2, out _));
    }

    [Fact]
    public void Load_total_length_smaller_than_the_block_ends_there()
    {
        byte[] block = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Endpoint(0x02, TransferKind.Bulk, 512).Build();
        block[2] -= 7;

        ConfigurationTable table = Load(block);

        Assert.True(table.TryFind(In1, out _));
        Assert.False(table.TryFind(Out2, out _));
    }

    [Fact]
    public void Load_total_length_larger_than_the_block_reads_the_block_alone()
    {
        byte[] block = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Build();
        block[3] = 0xff;

        ConfigurationTable table = Load(block);

        Assert.Equal(DescriptorProblem.None, table.Problem);
        Assert.True(table.TryFind(In1, out _));
    }

    [Fact]
    public void Load_endpoint_before_any_interface_or_with_number_0_is_ignored()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Endpoint(0x81, TransferKind.Bulk, 512).Companion(3)
            .Interface(0).Endpoint(0x80, TransferKind.Bulk, 512).Endpoint(0x02, TransferKind.Bulk, 64).Build());

        Assert.False(table.TryFind(In1, out _));
        Assert.False(table.TryFind(EndpointAddress.Control, out _));
        Assert.Equal(0, Find(table, Out2).Companion.MaxBurst);
    }

    [Fact]
    public void Load_repeated_endpoint_and_repeated_alternate_setting_the_first_counts()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Endpoint(0x81, TransferKind.Interrupt, 8, 1)
            .Interface(0).Endpoint(0x02, TransferKind.Bulk, 512).Build());

        Assert.Equal(TransferKind.Bulk, Find(table, In1).Kind);
        Assert.False(table.TryFind(Out2, out _));
        Assert.Equal(1, table.SettingCount);
    }

    [Fact]
    public void Load_endpoint_claimed_by_two_interfaces_stays_with_the_first()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 512)
            .Interface(1).Endpoint(0x81, TransferKind.Interrupt, 8, 1).Build());

        Assert.Equal(TransferKind.Bulk, Find(table, In1).Kind);
        Assert.True(table.BelongsTo(In1, 0));
    }

    [Fact]
    public void TrySelect_moves_to_the_endpoints_of_the_alternate_setting()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 512)
            .Interface(0, 2).Endpoint(0x02, TransferKind.Isochronous, 1023, 1).Build());

        Assert.True(table.TrySelect(0, 2));

        Assert.Equal(2, table.SelectedAlternate(0));
        Assert.False(table.TryFind(In1, out _));
        Assert.Equal(TransferKind.Isochronous, Find(table, Out2).Kind);
        Assert.False(table.TrySelect(0, 1));
        Assert.False(table.TrySelect(1, 0));
        Assert.Equal(2, table.SelectedAlternate(0));
    }

    [Fact]
    public void Load_companion_gives_burst_mult_streams_and_bytes_per_interval()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0)
            .Endpoint(0x81, TransferKind.Bulk, 1024).Companion(15, 4)
            .Endpoint(0x02, TransferKind.Isochronous, 1024, 1).Companion(2, 2, 5000)
            .Endpoint(0x83, TransferKind.Interrupt, 1024, 1).Raw(2, 0x24).Companion(1).Build());

        EndpointDescriptor bulk = Find(table, In1);
        Assert.Equal(15, bulk.Companion.MaxBurst);
        Assert.Equal(16, bulk.Companion.MaxStreams);
        EndpointDescriptor iso = Find(table, Out2);
        Assert.Equal(2, iso.Companion.Mult);
        Assert.Equal(5000, iso.BytesPerInterval(UsbSpeed.Super));
        Assert.Equal(2048, Find(table, new EndpointAddress(3, true)).BytesPerInterval(UsbSpeed.Super));
    }

    [Fact]
    public void Load_companion_with_hostile_values_is_clamped()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Isochronous, 1024, 1).Companion(255, 0xff, 0).Build());

        EndpointCompanion companion = Find(table, In1).Companion;
        Assert.Equal(15, companion.MaxBurst);
        Assert.Equal(2, companion.Mult);
        Assert.Equal(65536, companion.MaxStreams);
        Assert.Equal(1024 * 16 * 3, Find(table, In1).BytesPerInterval(UsbSpeed.Super));
    }

    [Fact]
    public void Load_second_or_short_companion_changes_nothing()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 1024).Companion(1).Companion(7)
            .Endpoint(0x02, TransferKind.Bulk, 1024).Raw(5, 48, 9, 0, 0).Build());

        Assert.Equal(1, Find(table, In1).Companion.MaxBurst);
        Assert.Equal(0, Find(table, Out2).Companion.MaxBurst);
        Assert.Equal(0, Find(table, Out2).Companion.MaxStreams);
    }

    [Fact]
    public void Load_more_interfaces_than_allowed_stops_at_the_limit()
    {
        var builder = new DescriptorBuilder();
        for (int i = 0; i <= DescriptorLimits.Interfaces; i++) builder.Interface((byte)i);

        ConfigurationTable table = Load(builder.Build());

        Assert.Equal(DescriptorProblem.TooMany, table.Problem);
        Assert.Equal(DescriptorLimits.Interfaces, table.SettingCount);
    }

    [Fact]
    public void Load_more_alternate_settings_than_allowed_stops_at_the_limit()
    {
        var builder = new DescriptorBuilder();
        for (int i = 0; i < 200; i++) builder.Interface(0, (byte)i).Interface(1, (byte)i);

        ConfigurationTable table = Load(builder.Build());

        Assert.Equal(DescriptorProblem.TooMany, table.Problem);
        Assert.Equal(DescriptorLimits.AlternateSettings, table.SettingCount);
    }

    [Fact]
    public void Load_more_endpoints_than_allowed_stops_at_the_limit()
    {
        var builder = new DescriptorBuilder();
        for (int setting = 0; setting < 40; setting++)
        {
            builder.Interface(0, (byte)setting);
            for (byte number = 1; number <= 15; number++)
                builder.Endpoint(number, TransferKind.Bulk, 512).Endpoint((byte)(0x80 | number), TransferKind.Bulk, 512);
        }

        ConfigurationTable table = Load(builder.Build());

        Assert.Equal(DescriptorProblem.TooMany, table.Problem);
        Assert.True(table.TrySelect(0, 30));
        Assert.False(table.TrySelect(0, 36));
    }

    [Fact]
    public void Load_any_bytes_ends_and_does_not_throw()
    {
        uint seed = 1;
        byte[] valid = new DescriptorBuilder().Interface(0).Endpoint(0x81, TransferKind.Bulk, 512).Companion(1)
            .Interface(0, 1).Endpoint(0x02, TransferKind.Isochronous, 1023, 1).Build();
        var table = new ConfigurationTable();
        for (int round = 0; round < 20_000; round++)
        {
            byte[] block = (byte[])valid.Clone();
            for (int i = 0; i < 3; i++)
            {
                seed = unchecked((seed * 1664525) + 1013904223);
                block[(int)((seed >> 8) % (uint)block.Length)] = (byte)(seed >> 24);
            }

            table.Load(block);
            foreach (byte address in new byte[] { 0x81, 0x02, 0x8f })
            {
                if (!table.TryFind(new EndpointAddress(address), out EndpointDescriptor endpoint)) continue;
                foreach (UsbSpeed speed in Enum.GetValues<UsbSpeed>())
                {
                    Assert.InRange(endpoint.IntervalMicroframes(speed), 0u, 262_144u);
                    Assert.InRange(endpoint.BytesPerInterval(speed), 0, 2047 * 48);
                }
            }
        }
    }

    [Fact]
    public void Reader_block_longer_than_a_configuration_ends_at_the_limit()
    {
        byte[] block = new byte[70_000];
        for (int i = 0; i < block.Length; i += 2) block[i] = 2;
        var reader = new DescriptorReader(block);

        int count = 0;
        while (reader.TryRead(out _, out _)) count++;

        Assert.Equal(DescriptorLimits.ConfigurationBytes / 2, count);
        Assert.Equal(DescriptorProblem.BadLength, reader.Problem);
        Assert.False(reader.TryRead(out _, out _));
    }

    [Theory]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Low, 10, 64)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Full, 1, 8)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Full, 255, 1024)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.High, 1, 1)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.High, 16, 32768)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.High, 17, 0)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Super, 4, 8)]
    [InlineData(TransferKind.Isochronous, UsbSpeed.Full, 1, 8)]
    [InlineData(TransferKind.Isochronous, UsbSpeed.Full, 16, 262144)]
    [InlineData(TransferKind.Isochronous, UsbSpeed.Full, 17, 0)]
    [InlineData(TransferKind.Isochronous, UsbSpeed.High, 0, 0)]
    [InlineData(TransferKind.Bulk, UsbSpeed.High, 4, 0)]
    [InlineData(TransferKind.Control, UsbSpeed.High, 4, 0)]
    public void IntervalMicroframes_follows_table_9_13(TransferKind kind, UsbSpeed speed, byte interval, uint microframes)
    {
        var endpoint = new EndpointDescriptor(In1, (byte)kind, 64, interval, default);

        Assert.Equal(microframes, endpoint.IntervalMicroframes(speed));
    }

    [Theory]
    [InlineData(TransferKind.Interrupt, UsbSpeed.High, 0x1400, 3 * 1024)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.High, 0x0c00, 2 * 1024)]
    [InlineData(TransferKind.Isochronous, UsbSpeed.High, 0x1c00, 1024)]
    [InlineData(TransferKind.Bulk, UsbSpeed.High, 0x0a00, 512)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Full, 0x1408, 1032)]
    [InlineData(TransferKind.Interrupt, UsbSpeed.Super, 0x0400, 1024)]
    public void BytesPerInterval_counts_packets_of_a_microframe_at_high_speed_alone(TransferKind kind, UsbSpeed speed, ushort raw, int bytes)
    {
        var endpoint = new EndpointDescriptor(In1, (byte)kind, raw, 1, default);

        Assert.Equal(bytes, endpoint.BytesPerInterval(speed));
    }

    [Fact]
    public void BytesPerInterval_super_speed_interrupt_uses_burst_and_not_mult()
    {
        var endpoint = new EndpointDescriptor(In1, (byte)TransferKind.Interrupt, 1024, 1, new EndpointCompanion(2, 2, 0));

        Assert.Equal(3072, endpoint.BytesPerInterval(UsbSpeed.Super));
    }

    [Fact]
    public void Inspect_shows_the_selected_settings()
    {
        ConfigurationTable table = Load(new DescriptorBuilder()
            .Interface(0, 0, 8).Endpoint(0x81, TransferKind.Bulk, 512)
            .Interface(0, 1).Build());

        string before = InspectWriter.Dump(table);
        table.TrySelect(0, 1);
        string after = InspectWriter.Dump(table);

        Assert.Contains("/interface/0/class 08/00/00\n", before, StringComparison.Ordinal);
        Assert.Contains("/interface/0/endpoints 1\n", before, StringComparison.Ordinal);
        Assert.Contains("/interface/0/alternate 1\n", after, StringComparison.Ordinal);
        Assert.Contains("/interface/0/endpoints 0\n", after, StringComparison.Ordinal);
    }

    [Fact]
    public void Wire_descriptors_of_another_type_are_refused()
    {
        byte[] bytes = [9, 99, 0, 0, 0, 0, 0, 0, 0];

        Assert.False(ConfigurationDescriptor.TryRead(bytes, out _));
        Assert.False(InterfaceDescriptor.TryRead(bytes, out _));
        Assert.False(EndpointDescriptor.TryRead(bytes, out _));
        Assert.False(EndpointCompanion.TryRead(bytes, out _));
    }
}
