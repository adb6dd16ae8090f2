using System;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Backends.Disk;

/// <summary>
/// Moves one command's sectors between the store and the data stage. Reads run ahead and writes run behind, several
/// operations at a time, so the bus and the store work together; a store that shows its memory is used in place.
/// </summary>
internal sealed partial class MediumTransfer : IBlockStoreClient, IInspectable
{
    /// <summary>
    /// Operations of one disk: two on each side of the copy, so that the store never waits for the bus and the bus not
    /// for the store.
    /// </summary>
    public const int OperationCount = 4;

    /// <summary>
    /// Bytes of one operation. Linux's usual command (120 KiB) and Windows' (64 KiB) are one operation; Linux's largest
    /// (1 MiB) streams through four of them. 512 KiB per disk in all.
    /// </summary>
    public const int OperationBytes = 128 << 10;

    private readonly IBlockStore _store;
    private readonly Action _progress;
    private readonly BlockOperation[] _operations = new BlockOperation[OperationCount];
    private ScsiAction _mode;
    private int _first;
    private int _used;
    private int _running;
    private int _starting;

    // Byte offsets on the medium: the next byte of the data stage, the next byte to be read ahead, the end.
    private long _position;
    private long _issued;
    private long _end;

    // Writing: the newest operation while it is being filled and is not started yet, and the bytes in it.
    private BlockOperation? _filling;
    private int _filled;
    private CompareStage _stage;

    /// <summary>A transfer over <paramref name="store"/>; <paramref name="progress"/> is called when an operation ended later than in its start.</summary>
    public MediumTransfer(IBlockStore store, Action progress)
    {
        _store = store;
        _progress = progress;
        for (int i = 0; i < OperationCount; i++) _operations[i] = new BlockOperation(this, OperationBytes);
    }

    private enum CompareStage
    {
        None,
        Writing,
        Reading,
    }

    /// <summary>Why the transfer failed; not set while it goes well.</summary>
    public Sense Failure { get; private set; }

    /// <summary>Sector of the failure, -1 when it has none.</summary>
    public long FailedSector { get; private set; } = -1;

    /// <summary>No operation is with the store: the next command may start.</summary>
    public bool IsQuiet => _running == 0;

    /// <summary>Bytes that are received and not yet known to be stored.</summary>
    public int PendingBytes => _mode == ScsiAction.Read || _used == 0 ? 0 : (int)(_position - (_operations[_first].Sector * IBlockStore.SectorSize));

    /// <summary>
    /// Starts moving data: byte <paramref name="from"/> (for writes a sector border) up to <paramref name="end"/> on the
    /// medium. The caller has checked the range.
    /// </summary>
    public void Begin(ScsiAction mode, long from, long end)
    {
        Abandon();
        _mode = mode;
        _position = from;
        _issued = from - (from % IBlockStore.SectorSize);
        _end = end;
        if (mode == ScsiAction.Read && _store.MapRead(from, 1).IsEmpty) ReadAhead();
    }

    /// <summary>Forgets the transfer. Operations that are with the store end unseen.</summary>
    public void Abandon()
    {
        _mode = ScsiAction.Done;
        _position = 0;
        _end = 0;
        _used = 0;
        _first = 0;
        _filling = null;
        _filled = 0;
        _stage = CompareStage.None;
        _jobLeft = 0;
        _jobRanges = 0;
        Failure = Sense.None;
        FailedSector = -1;
    }

    /// <summary>The next bytes for the host, at most <paramref name="most"/>. Empty: not there yet, or <see cref="Failure"/> is set.</summary>
    public ReadOnlySpan<byte> Peek(int most)
    {
        ReadOnlySpan<byte> direct = _store.MapRead(_position, most);
        if (!direct.IsEmpty) return direct;
        ReadAhead();
        if (_used == 0) return default;
        BlockOperation operation = _operations[_first];
        if (operation.IsRunning) return default;
        if (operation.Result != BlockResult.Success)
        {
            Fail(operation, false);
            return default;
        }

        ReadOnlySpan<byte> rest = operation.Data[(int)(_position - (operation.Sector * IBlockStore.SectorSize))..];
        return rest[..Math.Min(most, rest.Length)];
    }

    /// <summary>Takes bytes that <see cref="Peek"/> showed.</summary>
    public void Take(int count)
    {
        _position += count;
        if (_used == 0) return;
        BlockOperation operation = _operations[_first];
        if (_position < (operation.Sector + operation.SectorCount) * IBlockStore.SectorSize) return;
        Pop();
        ReadAhead();
    }

    /// <summary>Room for the host's next bytes, at most <paramref name="most"/>. Empty: none yet, or <see cref="Failure"/> is set.</summary>
    public Span<byte> Room(int most)
    {
        Settle();
        if (Failure.IsSet) return default;
        if (_filling is null)
        {
            Span<byte> direct = _mode == ScsiAction.Write ? _store.MapWrite(_position, most) : default;
            if (!direct.IsEmpty) return direct;

            // Comparing needs a second operation to read back into.
            int limit = _mode == ScsiAction.Write ? OperationCount : 1;
            if (_used >= limit) return default;
            _filling = _operations[(_first + _used++) % OperationCount];
            _filled = 0;
            _filling.Kind = BlockOperationKind.Write;
            _filling.Sector = _position / IBlockStore.SectorSize;
            _filling.SectorCount = Math.Min(OperationBytes, _end - _position) / IBlockStore.SectorSize;
        }

        return _filling.Buffer.AsSpan(_filled, Math.Min(most, _filling.ByteCount - _filled));
    }

    /// <summary>Takes bytes that were written into <see cref="Room"/>; full operations go to the store.</summary>
    public void Commit(int count)
    {
        _position += count;
        if (_filling is not { } filling) return;
        _filled += count;
        if (_filled < filling.ByteCount) return;
        _filling = null;
        if (_mode == ScsiAction.Compare) StartReadBack(filling);
        else StartWrite(filling);
        Settle();
    }

    /// <summary>True when everything received is stored (and compared), or the transfer has failed and no operation is left.</summary>
    public bool IsSettled
    {
        get
        {
            Settle();
            return _running == 0 && (_used == 0 || Failure.IsSet);
        }
    }

    /// <inheritdoc/>
    public void Completed(BlockOperation operation)
    {
        operation.IsRunning = false;
        _running--;
        if (_starting == 0) _progress();
    }

    /// <summary>
    /// What of a write would be lost if the transfer were begun anew elsewhere, from a sector border up to the position: data
    /// on its way to the store, or the beginning of a sector that was written in place.
    /// </summary>
    public byte[] CapturePending()
    {
        if (_mode is not (ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare)) return [];
        if (_used == 0) return _store.MapRead(_position - (_position % IBlockStore.SectorSize), (int)(_position % IBlockStore.SectorSize)).ToArray();
        byte[] pending = new byte[PendingBytes];
        int length = 0;
        for (int i = 0; i < _used && length < pending.Length; i++)
        {
            BlockOperation operation = _operations[(_first + i) % OperationCount];
            int count = Math.Min(operation.ByteCount, pending.Length - length);
            operation.Buffer.AsSpan(0, count).CopyTo(pending.AsSpan(length));
            length += count;
        }

        return pending;
    }

    /// <summary>Gives back what <see cref="CapturePending"/> copied, to a transfer that was begun where it starts.</summary>
    public void RestorePending(ReadOnlySpan<byte> pending)
    {
        while (!pending.IsEmpty)
        {
            Span<byte> room = Room(pending.Length);
            if (room.IsEmpty) return;
            pending[..room.Length].CopyTo(room);
            pending = pending[room.Length..];
            Commit(room.Length);
        }
    }

    /// <summary>Takes up a failure that was saved.</summary>
    public void RestoreFailure(Sense sense, long sector)
    {
        Failure = sense;
        FailedSector = sector;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Text("action", _mode.ToString());
        writer.Hex("position", (ulong)_position);
        writer.Hex("end", (ulong)_end);
        writer.Number("running", _running);
        writer.Text("failure", Failure.ToString());
    }

    private void ReadAhead()
    {
        while (_mode == ScsiAction.Read && _used < OperationCount && _issued < _end && !Failure.IsSet)
        {
            BlockOperation operation = _operations[(_first + _used++) % OperationCount];
            operation.Kind = BlockOperationKind.Read;
            operation.Sector = _issued / IBlockStore.SectorSize;
            long left = _end - _issued + IBlockStore.SectorSize - 1;
            operation.SectorCount = Math.Min(OperationBytes, left) / IBlockStore.SectorSize;
            _issued += operation.ByteCount;
            Start(operation);
        }
    }

    private void StartWrite(BlockOperation operation)
    {
        operation.Kind = BlockOperationKind.Write;
        _stage = _mode == ScsiAction.Write ? CompareStage.None : CompareStage.Writing;
        Start(operation);
    }

    private void StartReadBack(BlockOperation written)
    {
        BlockOperation back = _operations[(_first + 1) % OperationCount];
        back.Kind = BlockOperationKind.Read;
        back.Sector = written.Sector;
        back.SectorCount = written.SectorCount;
        _stage = CompareStage.Reading;
        Start(back);
    }

    /// <summary>Retires what has ended, oldest first. Every round retires an operation or starts the one that belongs to it.</summary>
    private void Settle()
    {
        while (_mode != ScsiAction.Read && _used > (_filling is null ? 0 : 1) && !Failure.IsSet)
        {
            BlockOperation oldest = _operations[_first];
            BlockOperation back = _operations[(_first + 1) % OperationCount];
            if (oldest.IsRunning || (_stage == CompareStage.Reading && back.IsRunning)) return;
            BlockOperation judged = _stage == CompareStage.Reading ? back : oldest;
            if (judged.Result != BlockResult.Success)
            {
                Fail(judged, judged.Kind != BlockOperationKind.Read);
                return;
            }

            if (_stage == CompareStage.Writing)
            {
                StartReadBack(oldest);
                continue;
            }

            if (_stage == CompareStage.Reading)
            {
                int same = oldest.Data.CommonPrefixLength(back.Data);
                if (same < oldest.ByteCount)
                {
                    Failure = Sense.Miscompare;
                    FailedSector = oldest.Sector + (same / IBlockStore.SectorSize);
                    return;
                }
            }

            _stage = CompareStage.None;
            Pop();
        }
    }

    private void Fail(BlockOperation operation, bool writing)
    {
        Failure = Sense.FromResult(operation.Result, writing);
        FailedSector = operation.Kind == BlockOperationKind.Flush ? -1 : operation.Sector;
    }

    private void Pop()
    {
        _first = (_first + 1) % OperationCount;
        _used--;
    }

    private void Start(BlockOperation operation)
    {
        operation.IsRunning = true;
        _running++;
        _starting++;
        _store.Start(operation);
        _starting--;
    }
}
