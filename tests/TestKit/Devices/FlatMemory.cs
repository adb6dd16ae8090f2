using System;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.TestKit.Devices;

/// <summary>Guest memory for device tests: one array from address 0, and optionally a longest run, so that buffers come in pieces.</summary>
public sealed class FlatMemory(int size) : IGuestMemory
{
    private readonly byte[] _bytes = new byte[size];

    /// <summary>Bytes in one mapped run at most; the default never splits.</summary>
    public int LongestRun { get; set; } = int.MaxValue;

    public Span<byte> Bytes => _bytes;

    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        if (address.Value >= (ulong)_bytes.Length || length <= 0) return default;
        int offset = (int)address.Value;
        return _bytes.AsSpan(offset, Math.Min(Math.Min(length, LongestRun), _bytes.Length - offset));
    }
}
