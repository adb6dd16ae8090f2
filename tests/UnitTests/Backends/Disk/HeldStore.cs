using System;
using System.Collections.Generic;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>A store that ends operations when the test says so, in the order it says, and fails as it says.</summary>
public sealed class HeldStore(long sectors, bool isReadOnly = false) : IBlockStore
{
    public MemoryBlockStore Inner { get; } = new(sectors, isReadOnly, direct: false);

    public List<BlockOperation> Held { get; } = [];

    public List<(BlockOperationKind Kind, long Sector, long Count)> Seen { get; } = [];

    /// <summary>Off: operations end at once.</summary>
    public bool Hold { get; set; }

    /// <summary>Result of the next operation of that kind at or beyond a sector, in place of the real one.</summary>
    public Func<BlockOperation, BlockResult?>? Fault { get; set; }

    public bool Discards { get; set; } = true;

    public long SectorCount => Inner.SectorCount;

    public bool IsReadOnly => Inner.IsReadOnly;

    public bool CanDiscard => Discards && Inner.CanDiscard;

    public string Description => "held";

    public void Start(BlockOperation operation)
    {
        Seen.Add((operation.Kind, operation.Sector, operation.SectorCount));
        if (Hold) Held.Add(operation);
        else Run(operation);
    }

    public void Release(int index = 0)
    {
        BlockOperation operation = Held[index];
        Held.RemoveAt(index);
        Run(operation);
    }

    public void ReleaseAll()
    {
        while (Held.Count > 0) Release();
    }

    public ReadOnlySpan<byte> MapRead(long offset, int length) => default;

    public Span<byte> MapWrite(long offset, int length) => default;

    public void Inspect(InspectWriter writer) => Inner.Inspect(writer);

    private void Run(BlockOperation operation)
    {
        if (Fault?.Invoke(operation) is { } result)
        {
            operation.Result = result;
            operation.Client.Completed(operation);
            return;
        }

        Inner.Start(operation);
    }
}
