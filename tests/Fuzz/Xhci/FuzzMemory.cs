using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Memory;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>
/// Guest memory of the fuzzer's machine: 256 KiB at 0, 128 KiB across the 4 GiB border, nothing between and beyond.
/// Counts the model's accesses (the measure of work), can unmap pages, split runs, and change bytes between two accesses
/// of the model. A new case clears only what the last one dirtied.
/// </summary>
public sealed class FuzzMemory : IGuestMemory
{
    public const int LowBytes = 256 << 10;
    public const int HighBytes = 128 << 10;

    /// <summary>The second range starts 64 KiB below 4 GiB.</summary>
    public const ulong HighBase = (1UL << 32) - (64 << 10);

    public const int PageSize = 4096;

    private const int LowPages = LowBytes / PageSize;
    private const int Pages = (LowBytes + HighBytes) / PageSize;
    private const int MaxTears = 4;

    private readonly byte[] _bytes = new byte[LowBytes + HighBytes];
    private readonly bool[] _dirty = new bool[Pages];
    private readonly byte[] _protection = new byte[Pages];
    private readonly (long At, ulong Address, uint Value)[] _tears = new (long, ulong, uint)[MaxTears];
    private int _tearCount;
    private bool _protected;
    private bool _tearing;

    /// <summary>Accesses of the model in this case.</summary>
    public long Accesses { get; private set; }

    /// <summary>Bytes handed to the model in this case.</summary>
    public long BytesGranted { get; private set; }

    /// <summary>Longest run handed out, 0 for no limit.</summary>
    public int RunLimit { get; set; }

    /// <summary>True while the model may not reach memory at all (Bus Master Enable clear): an access is then a fault of the model.</summary>
    public bool Forbidden { get; set; }

    /// <summary>The first access that the model must not make.</summary>
    public string? Violation { get; private set; }

    public void Reset()
    {
        for (int page = 0; page < Pages; page++)
        {
            if (!_dirty[page]) continue;
            _dirty[page] = false;
            _bytes.AsSpan(page * PageSize, PageSize).Clear();
        }

        if (_protected) Array.Clear(_protection);
        _protected = false;
        _tearCount = 0;
        Accesses = 0;
        BytesGranted = 0;
        RunLimit = 0;
        Forbidden = false;
        Violation = null;
    }

    /// <inheritdoc/>
    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        Accesses++;
        if (_tearCount > 0) Tear();
        if (Forbidden) Violation ??= $"access to {address} while bus mastering is off";
        if (length <= 0) Violation ??= $"access to {address} of {length} bytes";
        if (length <= 0) return default;
        Span<byte> run = Locate(address.Value, length, out int offset);
        if (run.IsEmpty) return run;
        if (RunLimit > 0 && run.Length > RunLimit) run = run[..RunLimit];
        if (_protected) run = Restrict(offset, run, access);
        if (access == GuestAccess.Write) MarkDirty(offset, run.Length);
        BytesGranted += run.Length;
        return run;
    }

    /// <summary>The guest's own view; empty where it has no memory.</summary>
    public Span<byte> Guest(ulong address, int length)
    {
        Span<byte> run = Locate(address, length, out int offset);
        if (run.Length < length) return default;
        MarkDirty(offset, length);
        return run;
    }

    public uint Read32(ulong address)
    {
        Span<byte> run = Locate(address, 4, out _);
        return run.Length == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(run) : 0;
    }

    public ulong Read64(ulong address) => Read32(address) | ((ulong)Read32(unchecked(address + 4)) << 32);

    public void Write32(ulong address, uint value)
    {
        Span<byte> run = Guest(address, 4);
        if (!run.IsEmpty) BinaryPrimitives.WriteUInt32LittleEndian(run, value);
    }

    public void Write64(ulong address, ulong value)
    {
        Write32(address, (uint)(value & 0xffff_ffff));
        Write32(unchecked(address + 4), (uint)(value >> 32));
    }

    /// <summary>Changes four bytes once the model has made <paramref name="after"/> more accesses (the guest's other CPU).</summary>
    public void ArmTear(int after, ulong address, uint value)
    {
        if (_tearCount < MaxTears) _tears[_tearCount++] = (Accesses + after, address, value);
    }

    /// <summary>0 gives a page back, 1 makes it read-only to the model, 2 takes it away.</summary>
    public void Protect(int page, byte protection)
    {
        _protection[page % Pages] = protection;
        _protected = true;
    }

    /// <summary>Hash of everything that was written since the case began.</summary>
    public ulong Hash()
    {
        ulong hash = 14695981039346656037;
        for (int page = 0; page < Pages; page++)
        {
            if (!_dirty[page]) continue;
            ReadOnlySpan<byte> bytes = _bytes.AsSpan(page * PageSize, PageSize);
            hash = unchecked((hash ^ (ulong)page) * 1099511628211);
            for (int i = 0; i < PageSize; i += 8) hash = unchecked((hash ^ BinaryPrimitives.ReadUInt64LittleEndian(bytes[i..])) * 1099511628211);
        }

        return hash;
    }

    private Span<byte> Locate(ulong address, int length, out int offset)
    {
        if (address < LowBytes)
        {
            offset = (int)address;
            return _bytes.AsSpan(offset, Math.Min(length, LowBytes - offset));
        }

        if (address >= HighBase && address - HighBase < HighBytes)
        {
            int within = (int)(address - HighBase);
            offset = LowBytes + within;
            return _bytes.AsSpan(offset, Math.Min(length, HighBytes - within));
        }

        offset = 0;
        return default;
    }

    private Span<byte> Restrict(int offset, Span<byte> run, GuestAccess access)
    {
        int page = offset / PageSize;
        if (_protection[page] >= (access == GuestAccess.Write ? 1 : 2)) return default;
        int toBorder = PageSize - (offset % PageSize);
        return run.Length > toBorder ? run[..toBorder] : run;
    }

    private void MarkDirty(int offset, int length)
    {
        for (int page = offset / PageSize; page * PageSize < offset + length; page++) _dirty[page] = true;
    }

    private void Tear()
    {
        if (_tearing) return;
        _tearing = true;
        for (int i = 0; i < _tearCount;)
        {
            if (Accesses < _tears[i].At)
            {
                i++;
                continue;
            }

            Write32(_tears[i].Address, _tears[i].Value);
            _tears[i] = _tears[--_tearCount];
        }

        _tearing = false;
    }
}
