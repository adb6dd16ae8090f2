namespace XenUsbDm.Core.Memory;

/// <summary>A guest-physical address in bytes. Guest values may name any address, mapped or not.</summary>
public readonly record struct GuestAddress(ulong Value)
{
    /// <summary>The address <paramref name="bytes"/> further on; wraps at 2^64 as a bus address counter does.</summary>
    public GuestAddress OffsetWrapping(ulong bytes) => new(unchecked(Value + bytes));

    /// <summary>True when the address is a multiple of <paramref name="alignment"/>, a power of two.</summary>
    public bool IsAligned(ulong alignment) => (Value & (alignment - 1)) == 0;

    /// <summary>The address with the low bits below <paramref name="alignment"/> (a power of two) cleared.</summary>
    public GuestAddress AlignDown(ulong alignment) => new(Value & ~(alignment - 1));

    /// <inheritdoc/>
    public override string ToString() => $"0x{Value:x}";
}

/// <summary>A run of guest memory: <paramref name="Length"/> bytes (0 or more) from <paramref name="Address"/>.</summary>
public readonly record struct GuestSegment(GuestAddress Address, int Length);
