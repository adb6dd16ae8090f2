using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using Microsoft.Win32.SafeHandles;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Native.Storage;

/// <summary>
/// A raw image file or a block device as a block store. Reads of what the system has in memory end inside
/// <see cref="Start"/>; for everything else its own thread does the input and output, one operation after
/// the other, and the loop takes the completions with <see cref="Drain"/> when <see cref="Ready"/> is set or the wake
/// callback has run. A disk that fails gives results, never exceptions.
/// </summary>
public sealed partial class ImageFile : IBlockStore, IDisposable
{
    /// <summary>Most operations between loop and thread: more than a disk has with four for each of its 32 tasks and for bulk-only transport.</summary>
    public const int QueueCapacity = 160;

    /// <summary>
    /// Longest read that is tried on the loop. Handing an operation to the thread and back costs more than copying this
    /// much; longer reads would keep the guest's register accesses waiting, and overlap better on the thread.
    /// </summary>
    public const int DirectReadBytes = 64 << 10;

    /// <summary>Bytes written at once where zeroes have to be written.</summary>
    private const int ZeroBytes = 64 << 10;

    private static readonly byte[] Zeroes = new byte[ZeroBytes];

    private readonly SafeFileHandle _file;
    private readonly string _path;
    private readonly Action? _wake;
    private readonly Thread _thread;
    private readonly AutoResetEvent _ready = new(false);

    // Both rings are guarded by _gate; together they hold at most QueueCapacity operations.
    private readonly object _gate = new();
    private readonly BlockOperation[] _queued = new BlockOperation[QueueCapacity];
    private readonly BlockOperation[] _done = new BlockOperation[QueueCapacity];
    private int _queuedFirst;
    private int _queuedCount;
    private int _doneFirst;
    private int _doneCount;
    private int _owned;
    private bool _stopping;
    private volatile bool _closed;
    private volatile bool _closedWell = true;
    private long _operations;
    private long _errors;
    private ImageFault _fault;
    private long _directReads;

    // The loop's own: reads that do not wait are worth a try.
    private bool _canReadDirectly = true;

    // The thread's own.
    private bool _dirty;
    private bool _isCutShort;
    private int _error;

    private ImageFile(SafeFileHandle file, string path, bool readOnly, long sectors, Action? wake)
    {
        _file = file;
        _path = path;
        _wake = wake;
        IsReadOnly = readOnly;
        SectorCount = sectors;
        _thread = new Thread(Run) { IsBackground = true, Name = "image " + Path.GetFileName(path) };
        _thread.Start();
    }

    /// <inheritdoc/>
    public long SectorCount { get; }

    /// <inheritdoc/>
    public bool IsReadOnly { get; }

    /// <inheritdoc/>
    /// <remarks>Where holes cannot be punched, zeroes are written, so it always works.</remarks>
    public bool CanDiscard => !IsReadOnly;

    /// <inheritdoc/>
    public string Description => Path.GetFileName(_path);

    /// <summary>Operations started and not yet handed over by <see cref="Drain"/>.</summary>
    public int InFlight
    {
        get
        {
            lock (_gate) return _owned;
        }
    }

    /// <summary>Everything is durable and the file is closed: it may be opened again.</summary>
    public bool IsClosed => _closed;

    /// <summary>The last flush, which closing does, succeeded. Known once <see cref="IsClosed"/> is set.</summary>
    public bool ClosedWell => _closedWell;

    /// <summary>Operations that failed since it was opened.</summary>
    public long Errors
    {
        get
        {
            lock (_gate) return _errors;
        }
    }

    /// <summary>One line on the operation that failed last, and what to do; empty when none has.</summary>
    public string Fault
    {
        get
        {
            lock (_gate) return _errors == 0 ? "" : _fault.Describe(_path);
        }
    }

    /// <summary>Set when completions wait for <see cref="Drain"/>; resets itself when one waiter has been released.</summary>
    public WaitHandle Ready => _ready;

    /// <summary>
    /// Opens <paramref name="path"/> and locks it: one writer, or any number of readers. Nothing on the disk is changed.
    /// <paramref name="wake"/>, if any, is called on the image's thread when completions have begun to wait.
    /// </summary>
    public static ImageOpenResult Open(string path, bool readOnly, Action? wake = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.Length == 0 || path.Contains('\0', StringComparison.Ordinal)) return Refuse(path, ImageOpenError.NotFound, "no such file; name an existing image");

        // Non-blocking: a pipe without a writer would be waited for.
        int flags = (readOnly ? LibcFile.OpenReadOnly : LibcFile.OpenReadWrite) | LibcFile.OpenNonBlocking | LibcFile.OpenCloseOnExec;
        int descriptor = LibcFile.Open(path, flags, 0);
        if (descriptor < 0) return RefuseOpen(path, Marshal.GetLastPInvokeError(), readOnly);
        var file = new SafeFileHandle(descriptor, ownsHandle: true);
        ImageOpenResult refused = Examine(file, path, readOnly, out long sectors);
        if (refused.Error == ImageOpenError.None) return new ImageOpenResult(new ImageFile(file, path, readOnly, sectors, wake), ImageOpenError.None, string.Empty);
        file.Dispose();
        return refused;
    }

    /// <inheritdoc/>
    public ReadOnlySpan<byte> MapRead(long offset, int length) => default;

    /// <inheritdoc/>
    public Span<byte> MapWrite(long offset, int length) => default;

    /// <inheritdoc/>
    public void Start(BlockOperation operation)
    {
        ArgumentNullException.ThrowIfNull(operation);
        if (TryReadDirectly(operation))
        {
            operation.Client.Completed(operation);
            return;
        }

        bool taken;
        lock (_gate)
        {
            taken = !_stopping && _owned < QueueCapacity;
            if (taken)
            {
                _queued[(_queuedFirst + _queuedCount++) % QueueCapacity] = operation;
                _owned++;
                Monitor.Pulse(_gate);
            }
        }

        if (taken) return;
        operation.Result = BlockResult.HardwareError;
        operation.Client.Completed(operation);
    }

    /// <summary>Hands over the operations that have ended, on the caller's thread, which is the loop's. Returns how many.</summary>
    public int Drain()
    {
        // What a completion starts anew may end at once; the bound keeps one call finite.
        int count = 0;
        for (; count < QueueCapacity; count++)
        {
            BlockOperation operation;
            lock (_gate)
            {
                if (_doneCount == 0) return count;
                operation = _done[_doneFirst];
                _doneFirst = (_doneFirst + 1) % QueueCapacity;
                _doneCount--;
                _owned--;
            }

            operation.Client.Completed(operation);
        }

        // The wake is given on the change from none to some only, so what is left here must ask for itself.
        _ready.Set();
        _wake?.Invoke();
        return count;
    }

    /// <summary>
    /// Takes no more operations; the image's thread finishes those that were started, makes them durable and closes the file,
    /// which may take seconds. Then <see cref="IsClosed"/> is set and the wake callback called. Completions not drained are dropped.
    /// </summary>
    public void Close()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>As <see cref="Close"/>, and waits for it.</summary>
    public void Dispose()
    {
        Close();
        _thread.Join();
        _ready.Dispose();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("kind", "image");
        writer.Text("path", _path);
        writer.Number("sectors", SectorCount);
        writer.Flag("read-only", IsReadOnly);
        lock (_gate)
        {
            writer.Number("in-flight", _owned);
            writer.Number("operations", _operations);
            writer.Number("direct-reads", _directReads);
            writer.Number("errors", _errors);
        }
    }

    /// <summary>
    /// Reads what can be read without waiting for the disk. Whatever else there is to say (not in memory, in part only, an
    /// error, the end of the file) the thread finds out, so that it is said in one place.
    /// </summary>
    private unsafe bool TryReadDirectly(BlockOperation operation)
    {
        if (operation.Kind != BlockOperationKind.Read || !_canReadDirectly || !operation.FitsWithin(SectorCount)) return false;
        if (operation.SectorCount is 0 or > DirectReadBytes / IBlockStore.SectorSize) return false;
        lock (_gate)
        {
            if (_stopping || _owned >= QueueCapacity) return false;
        }

        nint count;
        fixed (byte* p = operation.Data)
        {
            LibcFile.Vector vector = new() { Base = p, Length = (nuint)operation.ByteCount };
            count = LibcFile.ReadVectors(_file, &vector, 1, operation.Sector * IBlockStore.SectorSize, LibcFile.ReadNoWait);
        }

        if (count != operation.ByteCount)
        {
            // A file system that cannot tell what is in memory is not asked again.
            if (count < 0) _canReadDirectly = Marshal.GetLastPInvokeError() is LibcFile.TryAgain or LibcFile.Interrupted;
            return false;
        }

        operation.Result = BlockResult.Success;
        lock (_gate)
        {
            _operations++;
            _directReads++;
        }

        return true;
    }

    private static ImageOpenResult Examine(SafeFileHandle file, string path, bool readOnly, out long sectors)
    {
        sectors = 0;
        if (LibcFile.Statx(file, string.Empty, LibcFile.AtEmptyPath, LibcFile.StatxType, out LibcFile.StatxRecord stat) != 0)
            return RefuseOpen(path, Marshal.GetLastPInvokeError(), readOnly);
        int type = stat.Mode & LibcFile.TypeMask;
        if (type == LibcFile.TypeDirectory) return RefuseOpen(path, LibcFile.IsDirectory, readOnly);
        if (type is not (LibcFile.TypeRegular or LibcFile.TypeBlockDevice))
            return Refuse(path, ImageOpenError.NotAnImage, "neither a file nor a block device; name a raw disk image");
        if (Lock(file, readOnly) is { } error)
        {
            return error is LibcFile.TryAgain or LibcFile.AccessDenied
                ? Refuse(path, ImageOpenError.Locked, readOnly ? "another process writes it; stop that first" : "in use by another process; stop that first, or open it read-only everywhere")
                : Refuse(path, ImageOpenError.Failed, $"cannot be locked: {Marshal.GetPInvokeErrorMessage(error)}; move it to a file system with locks");
        }

        long length = LibcFile.Seek(file, 0, LibcFile.SeekEnd);
        if (length < 0) return RefuseOpen(path, Marshal.GetLastPInvokeError(), readOnly);
        if (length == 0) return Refuse(path, ImageOpenError.Empty, "empty; make it as large as the disk shall be, for example with truncate -s 64M");
        if (length % IBlockStore.SectorSize != 0)
            return Refuse(path, ImageOpenError.NotSectors, $"{length} bytes long, which is not a multiple of 512; it may be cut short or not a raw image");
        sectors = length / IBlockStore.SectorSize;
        return default;
    }

    /// <summary>
    /// Both kinds of lock, since they do not see each other: open file description locks (as other device models take)
    /// and flock (as .NET and shell scripts take). Null when both are held; otherwise the error of the one that failed.
    /// </summary>
    private static int? Lock(SafeFileHandle file, bool readOnly)
    {
        var record = new LibcFile.FlockRecord { Type = readOnly ? LibcFile.ReadLock : LibcFile.WriteLock };
        if (LibcFile.Fcntl(file, LibcFile.SetOpenFileLock, ref record) != 0) return Marshal.GetLastPInvokeError();
        int operation = (readOnly ? LibcFile.FlockShared : LibcFile.FlockExclusive) | LibcFile.FlockNonBlocking;
        return LibcFile.Flock(file, operation) != 0 ? Marshal.GetLastPInvokeError() : null;
    }

    private static ImageOpenResult RefuseOpen(string path, int error, bool readOnly) => error switch
    {
        LibcFile.NoSuchFile or LibcFile.NotDirectory => Refuse(path, ImageOpenError.NotFound, "no such file; name an existing image"),
        LibcFile.IsDirectory => Refuse(path, ImageOpenError.IsDirectory, "a directory; name a raw disk image in it"),
        LibcFile.NoSuchDevice => Refuse(path, ImageOpenError.NotAnImage, "not a file that can be opened; name a raw disk image"),
        LibcFile.AccessDenied or LibcFile.PermissionDenied or LibcFile.ReadOnlyFileSystem => Refuse(
            path,
            ImageOpenError.AccessDenied,
            readOnly ? "no permission to read it; change its mode or owner" : "no permission to write it; change its mode or owner, or open it read-only (,ro)"),
        _ => Refuse(path, ImageOpenError.Failed, Marshal.GetPInvokeErrorMessage(error)),
    };

    private static ImageOpenResult Refuse(string path, ImageOpenError error, string why) => new(null, error, $"{path}: {why}");
}
