using System;
using System.Runtime.InteropServices;
using System.Threading;
using XenUsbDm.Backends.Disk;

namespace XenUsbDm.Native.Storage;

// The thread of one image.
public sealed partial class ImageFile
{
    private void Run()
    {
        Serve();
        _error = 0;
        if (Flush() is var flushed && flushed != BlockResult.Success)
        {
            // Nobody was told that this data is durable, but the operator should know.
            lock (_gate)
            {
                _errors++;
                _fault = new ImageFault(BlockOperationKind.Flush, 0, 0, flushed, _error);
            }

            _closedWell = false;
        }

        _file.Dispose();
        _closed = true;
        _wake?.Invoke();
    }

    private void Serve()
    {
        while (true)
        {
            BlockOperation operation;
            lock (_gate)
            {
                while (_queuedCount == 0 && !_stopping) Monitor.Wait(_gate);
                if (_queuedCount == 0) return;
                operation = _queued[_queuedFirst];
                _queuedFirst = (_queuedFirst + 1) % QueueCapacity;
                _queuedCount--;
            }

            _error = 0;
            BlockResult result = Execute(operation);
            bool wake;
            lock (_gate)
            {
                operation.Result = result;
                wake = _doneCount == 0 && !_stopping;
                _done[(_doneFirst + _doneCount++) % QueueCapacity] = operation;
                _operations++;
                if (result != BlockResult.Success)
                {
                    _errors++;
                    _fault = new ImageFault(operation.Kind, operation.Sector * IBlockStore.SectorSize, operation.SectorCount * IBlockStore.SectorSize, result, _error);
                }
            }

            if (!wake) continue;
            _ready.Set();
            _wake?.Invoke();
        }
    }

    private BlockResult Execute(BlockOperation operation)
    {
        if (!operation.FitsWithin(SectorCount)) return BlockResult.MediumError;
        long offset = operation.Sector * IBlockStore.SectorSize;
        if (operation.Kind == BlockOperationKind.Read) return Read(offset, operation.Data);
        if (operation.Kind == BlockOperationKind.Flush) return Flush();
        if (IsReadOnly) return BlockResult.WriteProtected;
        if (IsCutShort()) return BlockResult.MediumError;
        _dirty = true;
        return operation.Kind == BlockOperationKind.Write
            ? Write(offset, operation.Data)
            : Zero(offset, operation.SectorCount * IBlockStore.SectorSize, operation.Kind == BlockOperationKind.Discard);
    }

    /// <summary>
    /// The file has become shorter than its medium. Writes are refused then, for good: they would make it longer again, and
    /// what was cut off would read as zeroes without an error.
    /// </summary>
    private bool IsCutShort()
    {
        if (!_isCutShort) _isCutShort = LibcFile.Seek(_file, 0, LibcFile.SeekEnd) is >= 0 and var length && length < SectorCount * IBlockStore.SectorSize;
        return _isCutShort;
    }

    private unsafe BlockResult Read(long offset, Span<byte> data)
    {
        while (!data.IsEmpty)
        {
            nint count;
            fixed (byte* p = data) count = LibcFile.Read(_file, p, (nuint)data.Length, offset);
            if (count < 0 && Marshal.GetLastPInvokeError() == LibcFile.Interrupted) continue;
            if (count <= 0)
            {
                // An error of the disk below, or (no error) the file was cut short under us.
                _error = count < 0 ? Marshal.GetLastPInvokeError() : 0;
                return BlockResult.MediumError;
            }

            data = data[(int)count..];
            offset += count;
        }

        return BlockResult.Success;
    }

    private unsafe BlockResult Write(long offset, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            nint count;
            fixed (byte* p = data) count = LibcFile.Write(_file, p, (nuint)data.Length, offset);
            if (count <= 0)
            {
                int error = count == 0 ? LibcFile.NoSpace : Marshal.GetLastPInvokeError();
                if (error == LibcFile.Interrupted) continue;
                return WriteFailure(error);
            }

            data = data[(int)count..];
            offset += count;
        }

        return BlockResult.Success;
    }

    private BlockResult Flush()
    {
        if (!_dirty) return BlockResult.Success;
        if (IsCutShort()) return BlockResult.MediumError;
        while (LibcFile.DataSync(_file) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != LibcFile.Interrupted) return WriteFailure(error);
        }

        _dirty = false;
        return BlockResult.Success;
    }

    /// <summary>Makes a range zero: as a hole or allocated, as asked, where the file system can; with written zeroes where not.</summary>
    private BlockResult Zero(long offset, long length, bool hole)
    {
        int mode = (hole ? LibcFile.PunchHole : LibcFile.ZeroRange) | LibcFile.KeepSize;
        while (LibcFile.Allocate(_file, mode, offset, length) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error == LibcFile.Interrupted) continue;
            if (error is not (LibcFile.NotSupported or LibcFile.NotImplemented or LibcFile.InvalidArgument)) return WriteFailure(error);
            return WriteZeroes(offset, length);
        }

        return BlockResult.Success;
    }

    private BlockResult WriteZeroes(long offset, long length)
    {
        while (length > 0)
        {
            int count = (int)Math.Min(length, ZeroBytes);
            BlockResult result = Write(offset, Zeroes.AsSpan(0, count));
            if (result != BlockResult.Success) return result;
            offset += count;
            length -= count;
        }

        return BlockResult.Success;
    }

    private BlockResult WriteFailure(int error)
    {
        _error = error;
        return error switch
        {
            LibcFile.NoSpace or LibcFile.QuotaExceeded or LibcFile.FileTooBig => BlockResult.NoSpace,
            LibcFile.PermissionDenied or LibcFile.ReadOnlyFileSystem => BlockResult.WriteProtected,
            _ => BlockResult.MediumError,
        };
    }
}
