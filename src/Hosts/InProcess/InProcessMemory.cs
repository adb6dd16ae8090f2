using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Hosts.InProcess;

/// <summary>One access of the model to guest memory, as <see cref="InProcessMemory.AccessLog"/> keeps it.</summary>
/// <param name="Address">First byte asked for.</param>
/// <param name="Length">Bytes asked for.</param>
/// <param name="Granted">Bytes handed out; 0 when the address is not mapped.</param>
/// <param name="Access">Read or write.</param>
public readonly record struct MemoryAccess(GuestAddress Address, int Length, int Granted, GuestAccess Access);

/// <summary>
/// The memory of an in-process guest: pinned bytes from address 0, optionally a second range above 4 GiB (64-bit DMA),
/// and nothing between. <see cref="Map"/> is the model's side; the other members are the guest's own view (its CPU).
/// </summary>
public sealed class InProcessMemory : IGuestMemory
{
    /// <summary>Bytes of a page: the unit of <see cref="Protect"/> and of page splitting.</summary>
    public const int PageSize = 4096;

    /// <summary>Where the second range starts: 4 GiB.</summary>
    public const ulong HighBase = 1UL << 32;

    private readonly byte[] _low;
    private readonly byte[] _high;

    // One byte per page, made by the first Protect: 0 = as usual, else the pages the model may not use.
    private byte[]? _lowProtection;
    private byte[]? _highProtection;

    /// <summary>Memory of <paramref name="lowBytes"/> at 0 and <paramref name="highBytes"/> at <see cref="HighBase"/>; whole pages, zeroed.</summary>
    public InProcessMemory(int lowBytes, int highBytes = 0)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(lowBytes, PageSize);
        ArgumentOutOfRangeException.ThrowIfNegative(highBytes);
        ArgumentOutOfRangeException.ThrowIfNotEqual(lowBytes % PageSize, 0, nameof(lowBytes));
        ArgumentOutOfRangeException.ThrowIfNotEqual(highBytes % PageSize, 0, nameof(highBytes));
        _low = GC.AllocateArray<byte>(lowBytes, pinned: true);
        _high = GC.AllocateArray<byte>(highBytes, pinned: true);
    }

    /// <summary>Bytes at address 0.</summary>
    public int LowBytes => _low.Length;

    /// <summary>Bytes at <see cref="HighBase"/>.</summary>
    public int HighBytes => _high.Length;

    /// <summary>Most bytes that one <see cref="Map"/> hands out, to force the model through its multi-run paths; 0 is no limit.</summary>
    public int RunLimit { get; set; }

    /// <summary>Ends every run at a page border, as a host with scattered pages does.</summary>
    public bool SplitAtPages { get; set; }

    /// <summary>When set, every access of the model is appended (tests and the fuzzer; allocates).</summary>
    public List<MemoryAccess>? AccessLog { get; set; }

    /// <summary>Accesses of the model that found nothing mapped.</summary>
    public long RefusedAccesses { get; private set; }

    /// <summary>Accesses of the model in all.</summary>
    public long Accesses { get; private set; }

    /// <inheritdoc/>
    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        Accesses++;
        Span<byte> run = length > 0 ? Locate(address.Value, length) : default;
        if (!run.IsEmpty && (_lowProtection is not null || RunLimit > 0 || SplitAtPages)) run = Restrict(address.Value, run, access);
        if (run.IsEmpty) RefusedAccesses++;
        AccessLog?.Add(new MemoryAccess(address, length, run.Length, access));
        return run;
    }

    /// <summary>
    /// Takes the pages that overlap a range away from the model, wholly or for writing only, or gives them back.
    /// The guest's own view is not affected.
    /// </summary>
    public void Protect(GuestAddress address, int length, MemoryProtection protection)
    {
        _lowProtection ??= new byte[_low.Length / PageSize];
        _highProtection ??= new byte[_high.Length / PageSize];
        for (ulong at = address.Value & ~(ulong)(PageSize - 1); at < address.Value + (ulong)length; at += PageSize)
        {
            if (at < (ulong)_low.Length) _lowProtection[(int)(at / PageSize)] = (byte)protection;
            else if (at >= HighBase && at - HighBase < (ulong)_high.Length) _highProtection[(int)((at - HighBase) / PageSize)] = (byte)protection;
        }
    }

    /// <summary>True when the guest has memory at all <paramref name="length"/> bytes from <paramref name="address"/>.</summary>
    public bool Contains(GuestAddress address, int length) => length == 0 || Locate(address.Value, length).Length == length;

    /// <summary>The guest's own view of a range. Throws when it has no memory there: a mistake of the test, not of the model.</summary>
    public Span<byte> Guest(GuestAddress address, int length)
    {
        Span<byte> run = length > 0 ? Locate(address.Value, length) : default;
        return run.Length == length ? run : throw new ArgumentOutOfRangeException(nameof(address), $"the guest has no memory at {address} for {length} bytes");
    }

    /// <summary>The guest reads a little-endian 32-bit word.</summary>
    public uint GuestRead32(GuestAddress address) => BinaryPrimitives.ReadUInt32LittleEndian(Guest(address, 4));

    /// <summary>The guest reads a little-endian 64-bit word.</summary>
    public ulong GuestRead64(GuestAddress address) => BinaryPrimitives.ReadUInt64LittleEndian(Guest(address, 8));

    /// <summary>The guest writes a little-endian 32-bit word.</summary>
    public void GuestWrite32(GuestAddress address, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Guest(address, 4), value);

    /// <summary>The guest writes a little-endian 64-bit word.</summary>
    public void GuestWrite64(GuestAddress address, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Guest(address, 8), value);

    private Span<byte> Locate(ulong address, int length)
    {
        if (address < (ulong)_low.Length)
        {
            int offset = (int)address;
            return _low.AsSpan(offset, Math.Min(length, _low.Length - offset));
        }

        if (address >= HighBase && address - HighBase < (ulong)_high.Length)
        {
            int offset = (int)(address - HighBase);
            return _high.AsSpan(offset, Math.Min(length, _high.Length - offset));
        }

        return default;
    }

    private Span<byte> Restrict(ulong address, Span<byte> run, GuestAccess access)
    {
        if (RunLimit > 0 && run.Length > RunLimit) run = run[..RunLimit];
        int within = (int)(address % PageSize);
        if (SplitAtPages && run.Length > PageSize - within) run = run[..(PageSize - within)];
        byte[]? protection = address < HighBase ? _lowProtection : _highProtection;
        if (protection is null) return run;

        int granted = 0;
        int page = (int)((address < HighBase ? address : address - HighBase) / PageSize);
        while (granted < run.Length && !IsRefused((MemoryProtection)protection[page], access))
        {
            granted += PageSize - within;
            within = 0;
            page++;
        }

        return run[..Math.Min(granted, run.Length)];
    }

    private static bool IsRefused(MemoryProtection protection, GuestAccess access) =>
        protection == MemoryProtection.NoAccess || (protection == MemoryProtection.ReadOnly && access == GuestAccess.Write);
}

/// <summary>What the model may do with a page.</summary>
public enum MemoryProtection : byte
{
    /// <summary>Read and write.</summary>
    ReadWrite = 0,

    /// <summary>Read; a write finds nothing mapped (ROM).</summary>
    ReadOnly = 1,

    /// <summary>Nothing: not mapped.</summary>
    NoAccess = 2,
}
