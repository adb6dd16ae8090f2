using System;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Backends.Disk;

// Disk/ is a USB stick: bulk-only transport (DiskDevice.Bulk.cs) or USB Attached SCSI (DiskDevice.Uas.cs) over SCSI
// (ScsiTarget) over a block store (this seam).
// MemoryBlockStore is the pure store; Native/Storage/ImageFile is the one on a file, with its worker thread.

/// <summary>What a block operation does.</summary>
public enum BlockOperationKind
{
    /// <summary>Store to buffer.</summary>
    Read,

    /// <summary>Buffer to store.</summary>
    Write,

    /// <summary>Everything completed before is made durable. No sectors, no buffer.</summary>
    Flush,

    /// <summary>The sectors are given back to the store and read as zeroes from then on (punch hole). No buffer.</summary>
    Discard,

    /// <summary>The sectors read as zeroes from then on and stay allocated where the store can do that. No buffer.</summary>
    WriteZeroes,
}

/// <summary>How a block operation ended.</summary>
public enum BlockResult
{
    /// <summary>All of it was done.</summary>
    Success,

    /// <summary>Some sector cannot be read or written, or the file has become shorter than its medium.</summary>
    MediumError,

    /// <summary>The file system below has no room for the data (ENOSPC, EDQUOT, EFBIG).</summary>
    NoSpace,

    /// <summary>The store is read-only.</summary>
    WriteProtected,

    /// <summary>The store itself failed.</summary>
    HardwareError,
}

/// <summary>
/// A medium of 512-byte sectors. Operations may be in flight together and may end in any order; one that is started
/// after another has ended sees its effect. All members are called from the loop.
/// </summary>
public interface IBlockStore : IInspectable
{
    /// <summary>Bytes in a sector.</summary>
    const int SectorSize = 512;

    /// <summary>Size in sectors, 1 to 2^54. Constant for the life of the store.</summary>
    long SectorCount { get; }

    /// <summary>Writes end with <see cref="BlockResult.WriteProtected"/>.</summary>
    bool IsReadOnly { get; }

    /// <summary><see cref="BlockOperationKind.Discard"/> works; if not, the disk does not offer UNMAP.</summary>
    bool CanDiscard { get; }

    /// <summary>One line for trees and logs: where the data lives.</summary>
    string Description { get; }

    /// <summary>
    /// Starts an operation, which then belongs to the store until it comes back through
    /// <see cref="IBlockStoreClient.Completed"/>: later from the loop, or from inside this call.
    /// Sectors beyond the end come back as <see cref="BlockResult.MediumError"/>. Never throws for a failing medium.
    /// </summary>
    void Start(BlockOperation operation);

    /// <summary>
    /// The stored bytes at byte <paramref name="offset"/> for reading in place, at most <paramref name="length"/> of them;
    /// empty when the store has no memory to show or the offset is beyond its end. Valid until the next call.
    /// </summary>
    ReadOnlySpan<byte> MapRead(long offset, int length);

    /// <summary>As <see cref="MapRead"/>, for writing in place; also empty when the store is read-only.</summary>
    Span<byte> MapWrite(long offset, int length);
}

/// <summary>Where the completions of a store's operations go.</summary>
public interface IBlockStoreClient
{
    /// <summary><paramref name="operation"/> has ended with <see cref="BlockOperation.Result"/> and belongs to the client again.</summary>
    void Completed(BlockOperation operation);
}

/// <summary>
/// One operation on a store, made once by its client and used again and again. The client fills it in while it is idle,
/// the store only reads it, except for the result and the buffer of a read.
/// </summary>
public sealed class BlockOperation
{
    private readonly int _bufferBytes;
    private byte[]? _buffer;

    /// <summary>An idle operation of <paramref name="client"/> with a buffer of <paramref name="bufferBytes"/> bytes (0 or more).</summary>
    public BlockOperation(IBlockStoreClient client, int bufferBytes)
    {
        ArgumentNullException.ThrowIfNull(client);
        Client = client;
        _bufferBytes = bufferBytes;
    }

    /// <summary>Where the completion goes.</summary>
    public IBlockStoreClient Client { get; }

    /// <summary>What to do.</summary>
    public BlockOperationKind Kind { get; set; }

    /// <summary>First sector.</summary>
    public long Sector { get; set; }

    /// <summary>Number of sectors; reads and writes fit the buffer, discards and zeroes may be larger.</summary>
    public long SectorCount { get; set; }

    /// <summary>Data of a read or write, from its first byte; made when it is first asked for, which is not on the way of the transfers after.</summary>
    public byte[] Buffer => _buffer ??= new byte[_bufferBytes];

    /// <summary>How it ended. Set by the store before it completes the operation.</summary>
    public BlockResult Result { get; set; }

    /// <summary>Started and not yet completed. Kept by the client.</summary>
    public bool IsRunning { get; set; }

    /// <summary>Bytes of data of a read or write.</summary>
    public int ByteCount => (int)(SectorCount * IBlockStore.SectorSize);

    /// <summary>The data of a read or write.</summary>
    public Span<byte> Data => Buffer.AsSpan(0, ByteCount);

    /// <summary>The sectors lie within a medium of <paramref name="capacity"/> sectors and, for reads and writes, the data within the buffer.</summary>
    public bool FitsWithin(long capacity)
    {
        if (Kind == BlockOperationKind.Flush) return true;
        if (Sector < 0 || SectorCount < 0 || Sector > capacity || SectorCount > capacity - Sector) return false;
        return Kind is BlockOperationKind.Discard or BlockOperationKind.WriteZeroes || SectorCount <= _bufferBytes / IBlockStore.SectorSize;
    }
}
