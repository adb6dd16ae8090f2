using System;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>What the driver knows of an endpoint from its descriptors (USB 2.0 §9.6.6, USB 3.2 §9.6.7).</summary>
public sealed record GuestEndpoint(byte InterfaceNumber, byte AlternateSetting, byte Address, byte Attributes, ushort RawMaxPacketSize, byte Interval)
{
    /// <summary>SuperSpeed companion bMaxBurst, 0-15.</summary>
    public byte MaxBurst { get; init; }

    /// <summary>SuperSpeed companion bmAttributes: MaxStreams (bulk) or Mult (isochronous).</summary>
    public byte CompanionAttributes { get; init; }

    /// <summary>SuperSpeed companion wBytesPerInterval.</summary>
    public ushort BytesPerInterval { get; init; }

    public TransferKind Kind => (TransferKind)(Attributes & 3);

    public bool IsIn => (Address & 0x80) != 0;

    /// <summary>Device Context Index (§4.5.1).</summary>
    public int Dci => ((Address & 0xf) * 2) + (IsIn ? 1 : 0);

    public int MaxPacketSize => RawMaxPacketSize & 0x7ff;

    /// <summary>High speed: additional transactions per microframe.</summary>
    public int AdditionalTransactions => (RawMaxPacketSize >> 11) & 3;

    /// <summary>Largest stream exponent of the companion descriptor, 0 for none.</summary>
    public int MaxStreamsLog => Kind == TransferKind.Bulk ? CompanionAttributes & 0x1f : 0;
}

/// <summary>One alternate setting of an interface.</summary>
public sealed record GuestInterface(byte Number, byte AlternateSetting, byte Class, byte SubClass, byte Protocol, IReadOnlyList<GuestEndpoint> Endpoints);

/// <summary>A parsed configuration descriptor.</summary>
public sealed record GuestConfiguration(byte Value, byte Attributes, byte MaxPower, IReadOnlyList<GuestInterface> Interfaces)
{
    /// <summary>The first interface setting that fits; null arguments fit all.</summary>
    public GuestInterface? Find(byte? @class = null, byte? subClass = null, byte? protocol = null, byte? alternate = null)
    {
        foreach (GuestInterface candidate in Interfaces)
        {
            if ((@class ?? candidate.Class) == candidate.Class && (subClass ?? candidate.SubClass) == candidate.SubClass
                && (protocol ?? candidate.Protocol) == candidate.Protocol && (alternate ?? candidate.AlternateSetting) == candidate.AlternateSetting)
            {
                return candidate;
            }
        }

        return null;
    }

    /// <summary>Reads a whole configuration descriptor; stops at the first one with an impossible length.</summary>
    public static GuestConfiguration Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < 9 || bytes[1] != (byte)DescriptorType.Configuration) throw new GuestDriverException("not a configuration descriptor");
        byte value = bytes[5];
        byte attributes = bytes[7];
        byte power = bytes[8];
        var interfaces = new List<GuestInterface>();
        List<GuestEndpoint> endpoints = [];
        GuestInterface? current = null;
        while (bytes.Length >= 2 && bytes[0] >= 2 && bytes[0] <= bytes.Length)
        {
            ReadOnlySpan<byte> one = bytes[..bytes[0]];
            switch ((DescriptorType)one[1])
            {
                case DescriptorType.Interface when one.Length >= 9:
                    endpoints = [];
                    current = new GuestInterface(one[2], one[3], one[5], one[6], one[7], endpoints);
                    interfaces.Add(current);
                    break;
                case DescriptorType.Endpoint when one.Length >= 7 && current is not null:
                    endpoints.Add(new GuestEndpoint(current.Number, current.AlternateSetting, one[2], one[3], (ushort)(one[4] | (one[5] << 8)), one[6]));
                    break;
                case DescriptorType.SuperSpeedEndpointCompanion when one.Length >= 6 && endpoints.Count > 0:
                    endpoints[^1] = endpoints[^1] with { MaxBurst = one[2], CompanionAttributes = one[3], BytesPerInterval = (ushort)(one[4] | (one[5] << 8)) };
                    break;
                default:
                    break;
            }

            bytes = bytes[one.Length..];
        }

        return new GuestConfiguration(value, attributes, power, interfaces);
    }
}
