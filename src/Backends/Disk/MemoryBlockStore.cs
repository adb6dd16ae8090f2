using System;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Backends.Disk;

/// <summary>
/// A medium in memory, for demo, tests, fuzzing and benchmarks. Pure: every operation ends inside
/// <see cref="Start"/>. Memory is taken in extents on the first write, so a medium of many terabytes is cheap while
/// it is empty; once touched, nothing more is allocated.
/// </summary>
public sealed class MemoryBlockStore : IBlockStore
{
    /// <summary>Bytes that are taken together: one request of the largest size touches at most two extents.</summary>
    public const int ExtentBytes = 1 << 20;

    /// <summary>Most sectors: 16 TiB, whose table of extents is 128 MiB large.</summary>
    public const long MaxSectors = (16L << 40) / IBlockStore.SectorSize;

    private static readonly byte[] Zeroes = new byte[ExtentBytes];

    private readonly byte[]?[] _extents;
    private readonly bool _direct;

    /// <summary>An empty medium of <paramref name="sectorCount"/> sectors (1 to <see cref="MaxSectors"/>).</summary>
    /// <param name="sectorCount">Size in sectors.</param>
    /// <param name="isReadOnly">Refuse writes; <see cref="Load"/> still fills it.</param>
    /// <param name="direct">Offer its bytes in place, so that data is copied once. Off: every byte goes through an operation, as with a file.</param>
    public MemoryBlockStore(long sectorCount, bool isReadOnly = false, bool direct = true)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(sectorCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sectorCount, MaxSectors);
        SectorCount = sectorCount;
        IsReadOnly = isReadOnly;
        _direct = direct;
        long bytes = sectorCount * IBlockStore.SectorSize;
        _extents = new byte[]?[(int)((bytes + ExtentBytes - 1) / ExtentBytes)];
    }

    /// <inheritdoc/>
    public long SectorCount { get; }

    /// <inheritdoc/>
    public bool IsReadOnly { get; }

    /// <inheritdoc/>
    public bool CanDiscard => !IsReadOnly;

    /// <inheritdoc/>
    public string Description => "memory";

    private long Bytes => SectorCount * IBlockStore.SectorSize;

    /// <summary>Puts bytes on the medium from outside, whether it is read-only or not.</summary>
    public void Load(long offset, ReadOnlySpan<byte> data)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Bytes - data.Length);
        while (!data.IsEmpty)
        {
            Span<byte> run = Writable(offset, data.Length);
            data[..run.Length].CopyTo(run);
            data = data[run.Length..];
            offset += run.Length;
        }
    }

    /// <summary>Reads bytes of the medium from outside.</summary>
    public void Save(long offset, Span<byte> data)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Bytes - data.Length);
        while (!data.IsEmpty)
        {
            ReadOnlySpan<byte> run = Readable(offset, data.Length);
            run.CopyTo(data);
            data = data[run.Length..];
            offset += run.Length;
        }
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> MapRead(long offset, int length) =>
        _direct && offset >= 0 && offset < Bytes && length > 0 ? Readable(offset, (int)Math.Min(length, Bytes - offset)) : default;

    /// <inheritdoc/>
    public Span<byte> MapWrite(long offset, int length) =>
        _direct && !IsReadOnly && offset >= 0 && offset < Bytes && length > 0 ? Writable(offset, (int)Math.Min(length, Bytes - offset)) : default;

    /// <inheritdoc/>
    public void Start(BlockOperation operation)
    {
        ArgumentNullException.ThrowIfNull(operation);
        operation.Result = Run(operation);
        operation.Client.Completed(operation);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("kind", Description);
        writer.Number("sectors", SectorCount);
        writer.Flag("read-only", IsReadOnly);
        writer.Flag("direct", _direct);
    }

    private BlockResult Run(BlockOperation operation)
    {
        if (!operation.FitsWithin(SectorCount)) return BlockResult.MediumError;
        if (operation.Kind == BlockOperationKind.Flush) return BlockResult.Success;
        long offset = operation.Sector * IBlockStore.SectorSize;
        if (operation.Kind == BlockOperationKind.Read)
        {
            Save(offset, operation.Data);
            return BlockResult.Success;
        }

        if (IsReadOnly) return BlockResult.WriteProtected;
        if (operation.Kind == BlockOperationKind.Write) Load(offset, operation.Data);
        else Zero(offset, operation.SectorCount * IBlockStore.SectorSize);
        return BlockResult.Success;
    }

    private void Zero(long offset, long length)
    {
        while (length > 0)
        {
            int within = (int)(offset % ExtentBytes);
            int run = (int)Math.Min(length, ExtentBytes - within);
            byte[]? extent = _extents[offset / ExtentBytes];
            if (extent is not null) extent.AsSpan(within, run).Clear();
            offset += run;
            length -= run;
        }
    }

    private ReadOnlySpan<byte> Readable(long offset, int length)
    {
        int within = (int)(offset % ExtentBytes);
        byte[] extent = _extents[offset / ExtentBytes] ?? Zeroes;
        return extent.AsSpan(within, Math.Min(length, ExtentBytes - within));
    }

    private Span<byte> Writable(long offset, int length)
    {
        int within = (int)(offset % ExtentBytes);
        byte[] extent = _extents[offset / ExtentBytes] ??= new byte[ExtentBytes];
        return extent.AsSpan(within, Math.Min(length, ExtentBytes - within));
    }
}
