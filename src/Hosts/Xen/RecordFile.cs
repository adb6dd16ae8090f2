using System;
using System.IO;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// A record in a file that is locked while its process lives; a lock goes with its process, so who gets it knows that the
/// earlier one is dead. Two copies are written in turn, so one is whole whenever the process is killed. The file is open from
/// the start: it is written after privileges were dropped too.
/// </summary>
public sealed class RecordFile : IRecordStore
{
    private const int LockHeld = 11; // EWOULDBLOCK of flock(2)

    private readonly FileStream _file;
    private readonly byte[] _buffer = new byte[2 * TakeOverRecord.Bytes];
    private ulong _sequence;

    private RecordFile(FileStream file) => _file = file;

    /// <summary>Opens or makes the record of a controller in <paramref name="folder"/>, which is made too. Null with a line for the operator.</summary>
    public static RecordFile? Open(string folder, int domainId, int slot, out string error)
    {
        string path = Path.Combine(folder, $"{domainId}.{slot:x2}");
        try
        {
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            // FileShare.None is an exclusive flock(2), and fails at once when another process has one.
            var file = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.ReadWrite,
                Share = FileShare.None,
                BufferSize = 0,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            error = "";
            return new RecordFile(file);
        }
        catch (IOException e)
        {
            error = e.HResult == LockHeld
                ? $"{path} is held: another process serves slot 0x{slot:x2} of domain {domainId}; stop it, or name another slot (--controller xhci,slot=N)"
                : $"{path}: {e.Message} Name a folder with --state-dir";
        }
        catch (UnauthorizedAccessException)
        {
            error = $"{path}: not permitted; run as root, or name a folder with --state-dir";
        }

        return null;
    }

    /// <inheritdoc/>
    public TakeOverRecord? Load()
    {
        TakeOverRecord? newest = null;
        try
        {
            int length = RandomAccess.Read(_file.SafeFileHandle, _buffer, 0);
            for (int at = 0; at + TakeOverRecord.Bytes <= length; at += TakeOverRecord.Bytes)
            {
                if (TakeOverRecord.Read(_buffer.AsSpan(at), out ulong sequence) is not { } record || sequence < _sequence) continue;
                newest = record;
                _sequence = sequence;
            }
        }
        catch (IOException)
        {
            // As if there were none: the domain gets a new server, and the old one stays without use.
            return null;
        }

        return newest;
    }

    /// <inheritdoc/>
    public bool Save(TakeOverRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        _sequence++;
        Span<byte> bytes = _buffer.AsSpan(0, TakeOverRecord.Bytes);
        record.Write(bytes, _sequence);
        try
        {
            RandomAccess.Write(_file.SafeFileHandle, bytes, (long)(_sequence % 2) * TakeOverRecord.Bytes);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public void Clear()
    {
        try
        {
            // Empty first: without privileges the name may have to stay.
            _file.SetLength(0);
            File.Delete(_file.Name);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // An empty file is no record.
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
