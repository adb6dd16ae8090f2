using System;
using System.Collections.Generic;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>A medium of 64 sectors whose operations end at once, or later and out of order when the input says so, or in an error.</summary>
public sealed class SmallStore : IBlockStore
{
    public const int Sectors = 64;

    private readonly byte[] _bytes = new byte[Sectors * IBlockStore.SectorSize];
    private readonly List<BlockOperation> _held = [];
    private bool _forgot;

    public long SectorCount => Sectors;

    public bool IsReadOnly { get; private set; }

    public bool CanDiscard => !IsReadOnly;

    public string Description => "fuzz";

    /// <summary>Operations wait for <see cref="EndOne"/>.</summary>
    public bool Holds { get; set; }

    /// <summary>Show the bytes for reading and writing in place.</summary>
    public bool Direct { get; set; }

    /// <summary>How the next operations end.</summary>
    public BlockResult Outcome { get; set; }

    public int Held => _held.Count;

    public void Reset(bool readOnly, bool direct, bool holds)
    {
        Array.Clear(_bytes);
        Forget();
        IsReadOnly = readOnly;
        Direct = direct;
        Holds = holds;
        Outcome = BlockResult.Success;
    }

    /// <summary>The process that started the held operations is gone: they never end.</summary>
    public void Forget()
    {
        _forgot |= _held.Count > 0;
        _held.Clear();
    }

    /// <summary>Forgets, and tells whether an operation was forgotten since the last call: the disks that wait for it are of no use.</summary>
    public bool TakeForgotten()
    {
        Forget();
        bool forgot = _forgot;
        _forgot = false;
        return forgot;
    }

    /// <summary>Ends one of the held operations.</summary>
    public void EndOne(int index)
    {
        if (_held.Count == 0) return;
        BlockOperation operation = _held[index % _held.Count];
        _held.Remove(operation);
        End(operation);
    }

    public void Start(BlockOperation operation)
    {
        ArgumentNullException.ThrowIfNull(operation);
        if (Holds && _held.Count < 64) _held.Add(operation);
        else End(operation);
    }

    public ReadOnlySpan<byte> MapRead(long offset, int length) =>
        Direct && offset >= 0 && offset < _bytes.Length ? _bytes.AsSpan((int)offset, (int)Math.Min(length, _bytes.Length - offset)) : default;

    public Span<byte> MapWrite(long offset, int length) =>
        Direct && !IsReadOnly && offset >= 0 && offset < _bytes.Length ? _bytes.AsSpan((int)offset, (int)Math.Min(length, _bytes.Length - offset)) : default;

    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("held", _held.Count);
    }

    private void End(BlockOperation operation)
    {
        operation.Result = Outcome != BlockResult.Success ? Outcome : Run(operation);
        operation.Client.Completed(operation);
    }

    private BlockResult Run(BlockOperation operation)
    {
        if (!operation.FitsWithin(Sectors)) return BlockResult.MediumError;
        if (operation.Kind == BlockOperationKind.Flush) return BlockResult.Success;
        int offset = (int)operation.Sector * IBlockStore.SectorSize;
        Span<byte> place = _bytes.AsSpan(offset, (int)operation.SectorCount * IBlockStore.SectorSize);
        switch (operation.Kind)
        {
            case BlockOperationKind.Read:
                place.CopyTo(operation.Data);
                return BlockResult.Success;
            case BlockOperationKind.Write when !IsReadOnly:
                operation.Data.CopyTo(place);
                return BlockResult.Success;
            default:
                if (IsReadOnly) return BlockResult.WriteProtected;
                place.Clear();
                return BlockResult.Success;
        }
    }
}
