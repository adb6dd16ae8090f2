using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Emulated;

/// <summary>All descriptors that one emulated device answers with at the speed it runs at.</summary>
public sealed record DescriptorSet
{
    /// <summary>DEVICE, 18 bytes.</summary>
    public required byte[] Device { get; init; }

    /// <summary>Whole configuration blocks in the order of their index.</summary>
    public required IReadOnlyList<byte[]> Configurations { get; init; }

    /// <summary>DEVICE_QUALIFIER, or null: the device has one speed (USB 2.0 §9.6.2: it then stalls).</summary>
    public byte[]? Qualifier { get; init; }

    /// <summary>OTHER_SPEED_CONFIGURATION blocks in the order of their index.</summary>
    public IReadOnlyList<byte[]> OtherSpeedConfigurations { get; init; } = [];

    /// <summary>BOS, or null.</summary>
    public byte[]? Bos { get; init; }

    /// <summary>Texts of strings 1, 2, ...; in US English.</summary>
    public IReadOnlyList<string> Strings { get; init; } = [];
}

/// <summary>One endpoint of one alternate setting, read from a configuration block.</summary>
internal readonly record struct EndpointPlan(byte Interface, byte Alternate, EndpointAddress Address, TransferKind Kind, int MaxPacket, int IntervalBytes, int MaxStreams);

/// <summary>A configuration block read once, at construction.</summary>
internal sealed class ConfigurationPlan
{
    private ConfigurationPlan(byte[] block, int interfaces)
    {
        Block = block;
        AlternateCounts = new byte[interfaces];
    }

    internal byte[] Block { get; }

    internal byte Value => Block[5];

    internal bool IsSelfPowered => (Block[7] & 0x40) != 0;

    internal bool CanWake => (Block[7] & 0x20) != 0;

    // Alternate settings per interface; both are numbered from 0 without gaps (USB 2.0 §9.2.3).
    internal byte[] AlternateCounts { get; }

    internal List<EndpointPlan> Endpoints { get; } = [];

    /// <summary>Reads and checks a block. Throws <see cref="ArgumentException"/>: descriptors of emulated devices are the program's own.</summary>
    internal static ConfigurationPlan Read(byte[] block, UsbSpeed speed)
    {
        Require(block.Length >= 9 && block[0] == 9 && block[1] == (byte)DescriptorType.Configuration, "no configuration header");
        Require(BinaryPrimitives.ReadUInt16LittleEndian(block.AsSpan(2)) == block.Length, "wTotalLength");
        Require(block[5] != 0, "configuration value 0 means not configured");
        Require((block[7] & 0x9f) == 0x80, "bmAttributes");
        var plan = new ConfigurationPlan(block, block[4]);
        int endpointsLeft = 0;
        byte current = 0, alternate = 0;
        for (int offset = 9; offset < block.Length; offset += block[offset])
        {
            ReadOnlySpan<byte> rest = block.AsSpan(offset);
            Require(rest.Length >= 2 && rest[0] >= 2 && rest[0] <= rest.Length, "descriptor length");
            switch ((DescriptorType)rest[1])
            {
                case DescriptorType.Interface:
                    Require(rest[0] == 9 && endpointsLeft == 0, "interface");
                    (current, alternate, endpointsLeft) = (rest[2], rest[3], rest[4]);
                    Require(current < plan.AlternateCounts.Length && alternate == plan.AlternateCounts[current], "interface numbers");
                    plan.AlternateCounts[current]++;
                    break;
                case DescriptorType.Endpoint:
                    Require(rest[0] == 7 && endpointsLeft-- > 0, "endpoint");
                    plan.Endpoints.Add(ReadEndpoint(rest, current, alternate, speed));
                    break;
            }
        }

        Require(endpointsLeft == 0, "endpoint count");
        foreach (byte count in plan.AlternateCounts) Require(count > 0, "interface count");
        return plan;
    }

    private static EndpointPlan ReadEndpoint(ReadOnlySpan<byte> rest, byte number, byte alternate, UsbSpeed speed)
    {
        var address = new EndpointAddress(rest[2]);
        var kind = (TransferKind)(rest[3] & 3);
        ushort field = BinaryPrimitives.ReadUInt16LittleEndian(rest[4..]);
        int maxPacket = field & 0x7ff;
        int perInterval = maxPacket;
        int streams = 0;
        bool periodic = kind is TransferKind.Interrupt or TransferKind.Isochronous;
        Require(address.Number != 0 && kind != TransferKind.Control && maxPacket <= 1024, "endpoint fields");
        Require(speed != UsbSpeed.Low || (kind == TransferKind.Interrupt && maxPacket <= 8), "low speed has 8-byte interrupt endpoints only");
        if (speed == UsbSpeed.High && periodic) perInterval = maxPacket * (1 + ((field >> 11) & 3));
        if (speed == UsbSpeed.Super)
        {
            ReadOnlySpan<byte> companion = rest[7..];
            Require(companion.Length >= 6 && companion[1] == (byte)DescriptorType.SuperSpeedEndpointCompanion, "companion");
            int mult = kind == TransferKind.Isochronous ? companion[3] & 3 : 0;
            if (periodic) perInterval = maxPacket * (companion[2] + 1) * (mult + 1);
            if (kind == TransferKind.Bulk && (companion[3] & 0x1f) != 0) streams = 1 << (companion[3] & 0x1f);
            Require(streams <= EmulatedEndpoint.MostStreams, "streams");
        }

        return new EndpointPlan(number, alternate, address, kind, maxPacket, perInterval, streams);
    }

    internal static void Require(bool condition, string what)
    {
        if (!condition) throw new ArgumentException($"Descriptor: {what}.");
    }
}
