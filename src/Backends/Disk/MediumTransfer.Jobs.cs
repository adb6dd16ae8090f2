using System;

namespace XenUsbDm.Backends.Disk;

// Work on the medium without a data stage: flush, zeroes, discard, fill. One operation at a time.
internal sealed partial class MediumTransfer
{
    /// <summary>Most sectors that one discard or zeroing operation covers, 64 MiB: what waits behind it on the store's thread waits that long.</summary>
    public const long JobSectors = (64 << 20) / IBlockStore.SectorSize;

    private Job _job;
    private ScsiTask? _ranges;
    private long _jobSector;
    private long _jobLeft;
    private int _jobRange;
    private int _jobRanges;
    private bool _jobStarted;

    private enum Job
    {
        Flush,
        WriteZeroes,
        Discard,
        Fill,
    }

    /// <summary>First sector that is still to be done.</summary>
    public long JobSector => _jobSector;

    /// <summary>Sectors of the range under way that are still to be done; for a flush, 1 while it is not done.</summary>
    public long JobLeft => _jobLeft;

    /// <summary>Index of the next range of a list.</summary>
    public int JobRange => _jobRange;

    /// <summary>
    /// Starts the work of <paramref name="plan"/> (flush, zeroes, discard, discard list or fill); <see cref="RunJob"/> does it. Data of a
    /// transfer must be settled.
    /// </summary>
    public void BeginJob(in ScsiPlan plan, ScsiTask task)
    {
        Abandon();
        _ranges = task;
        _jobSector = plan.Sector;
        _jobLeft = plan.SectorCount;
        _jobRange = 0;
        _jobStarted = false;
        switch (plan.Action)
        {
            case ScsiAction.WriteZeroes:
                _job = Job.WriteZeroes;
                break;
            case ScsiAction.Discard:
                _job = Job.Discard;
                break;
            case ScsiAction.DiscardList:
                _job = Job.Discard;
                _jobRanges = (int)plan.SectorCount;
                _jobLeft = 0;
                break;
            case ScsiAction.Fill:
                _job = Job.Fill;
                ReadOnlySpan<byte> sector = task.Buffer.AsSpan(0, IBlockStore.SectorSize);
                for (int offset = 0; offset < OperationBytes; offset += IBlockStore.SectorSize) sector.CopyTo(_operations[0].Buffer.AsSpan(offset));
                break;
            default:
                _job = Job.Flush;
                _jobLeft = 1;
                break;
        }
    }

    /// <summary>Takes up a saved job at its first sector that was not done.</summary>
    public void RestoreJob(long sector, long left, int range)
    {
        _jobSector = sector;
        _jobLeft = left;
        _jobRange = range;
    }

    /// <summary>Goes on with the job. True when it is done or has failed; false when an operation is with the store.</summary>
    public bool RunJob()
    {
        // Each round finishes an operation or a range; both are bounded by the limits of UNMAP and WRITE SAME.
        BlockOperation operation = _operations[0];
        while (!Failure.IsSet)
        {
            if (_running > 0) return false;
            if (_jobStarted)
            {
                _jobStarted = false;
                if (operation.Result != BlockResult.Success)
                {
                    Fail(operation, true);
                    return true;
                }

                long done = _job == Job.Flush ? 1 : operation.SectorCount;
                _jobSector += done;
                _jobLeft -= done;
            }

            if (_jobLeft == 0 && !NextRange()) return true;
            if (_jobLeft > 0) StartJob(operation);
        }

        return true;
    }

    private bool NextRange()
    {
        if (_jobRange >= _jobRanges) return false;
        _ranges!.UnmapRange(_jobRange++, out _jobSector, out _jobLeft);
        return true;
    }

    private void StartJob(BlockOperation operation)
    {
        operation.Sector = _jobSector;
        operation.SectorCount = Math.Min(_jobLeft, _job == Job.Fill ? OperationBytes / IBlockStore.SectorSize : JobSectors);
        operation.Kind = _job switch
        {
            Job.WriteZeroes => BlockOperationKind.WriteZeroes,
            Job.Discard => BlockOperationKind.Discard,
            Job.Fill => BlockOperationKind.Write,
            _ => BlockOperationKind.Flush,
        };
        _jobStarted = true;
        Start(operation);
    }
}
