using System;

namespace XenUsbDm.Core.Usb.Descriptors;

/// <summary>Maxima for descriptors of a device that is not trusted, each with its reason.</summary>
public static class DescriptorLimits
{
    /// <summary>Bytes of one configuration: wTotalLength is 16 bits wide (USB 2.0 §9.6.3).</summary>
    public const int ConfigurationBytes = 65535;

    /// <summary>Interfaces of one configuration. bNumInterfaces could say 255; Linux takes 32, and 30 endpoints could not serve more.</summary>
    public const int Interfaces = 32;

    /// <summary>Alternate settings of all interfaces together; video devices have about a dozen for each streaming interface.</summary>
    public const int AlternateSettings = 256;

    /// <summary>Endpoint descriptors of all alternate settings together.</summary>
    public const int Endpoints = 1024;
}

/// <summary>Why a walk over descriptors ended.</summary>
public enum DescriptorProblem
{
    /// <summary>Nothing wrong.</summary>
    None,

    /// <summary>The block does not start with a CONFIGURATION descriptor of 9 bytes.</summary>
    NoConfiguration,

    /// <summary>bLength is below 2 or reaches past the end.</summary>
    BadLength,

    /// <summary>An INTERFACE or ENDPOINT descriptor is shorter than its fields.</summary>
    TooShort,

    /// <summary>More than <see cref="DescriptorLimits"/> allows.</summary>
    TooMany,
}

/// <summary>
/// Walks a block of descriptors (USB 2.0 §9.5: bLength, bDescriptorType, fields) that may hold anything. Each step
/// consumes at least two bytes, so a block of n bytes ends after n/2 steps.
/// </summary>
public ref struct DescriptorReader
{
    private ReadOnlySpan<byte> _rest;

    /// <summary>A reader over <paramref name="block"/>; bytes beyond <see cref="DescriptorLimits.ConfigurationBytes"/> are not read.</summary>
    public DescriptorReader(ReadOnlySpan<byte> block) =>
        _rest = block.Length > DescriptorLimits.ConfigurationBytes ? block[..DescriptorLimits.ConfigurationBytes] : block;

    /// <summary>What ended the walk before the end of the block.</summary>
    public DescriptorProblem Problem { get; private set; }

    /// <summary>The next descriptor with its two header bytes. False at the end of the block or at a <see cref="Problem"/>.</summary>
    public bool TryRead(out DescriptorType type, out ReadOnlySpan<byte> descriptor)
    {
        type = default;
        descriptor = default;
        if (_rest.IsEmpty || Problem != DescriptorProblem.None) return false;
        if (_rest.Length < 2 || _rest[0] < 2 || _rest[0] > _rest.Length)
        {
            Problem = DescriptorProblem.BadLength;
            return false;
        }

        descriptor = _rest[.._rest[0]];
        type = (DescriptorType)descriptor[1];
        _rest = _rest[descriptor.Length..];
        return true;
    }
}
