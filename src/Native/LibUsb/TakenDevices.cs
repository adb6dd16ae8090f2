using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>What is kept of a device that a process has taken.</summary>
/// <param name="Process">Its process.</param>
/// <param name="Guest">Who has it, for people: "domain 5".</param>
/// <param name="Bus">Bus number at that time.</param>
/// <param name="Number">Device number at that time; another one now means that it was pulled since.</param>
/// <param name="Configuration">Configuration to be restored.</param>
public sealed record TakenRecord(int Process, string Guest, int Bus, int Number, byte Configuration)
{
    /// <summary>"pid 1234, domain 5".</summary>
    public string Holder => string.Create(CultureInfo.InvariantCulture, $"pid {Process}, {Guest}");

    /// <summary>The text of the file.</summary>
    public string Text => string.Create(CultureInfo.InvariantCulture, $"{Process} {Bus} {Number} {Configuration} {Guest}\n");

    /// <summary>
    /// The configuration to be restored of <paramref name="device"/>: the one that it has, or had before a process took it that is
    /// gone and has left <paramref name="left"/>.
    /// </summary>
    public static byte Original(TakenRecord? left, PluggedDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        return left is not null && left.Bus == device.Bus && left.Number == device.Number ? left.Configuration : device.Configuration;
    }

    /// <summary>Reads the text of a file; null for an empty one and for what no process of ours wrote.</summary>
    public static TakenRecord? Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string[] parts = text.TrimEnd('\n').Split(' ', 5);
        return parts.Length == 5
            && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int process)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int bus)
            && int.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            && byte.TryParse(parts[3], NumberStyles.None, CultureInfo.InvariantCulture, out byte configuration)
            ? new TakenRecord(process, parts[4], bus, number, configuration)
            : null;
    }
}

/// <summary>
/// Which process has which device: a file for each place, locked by the process for as long as it has the device. The
/// kernel drops the lock with the process, however it ends; a file that is not empty and not locked is therefore a device that
/// nobody gave back. Files are emptied, never removed: a lock on a removed file would exclude nobody. Locks are held on
/// descriptors for reading; who has the place also has one for writing, which is closed after the lock is gone. So the end of
/// writing is what others wait for (<see cref="TakenWatch"/>), and looking at a place tells nobody anything. The kernel closes a
/// dead process's descriptors in the order of their numbers, so in this order too.
/// </summary>
public sealed class TakenDevices(string folder = TakenDevices.Folder)
{
    /// <summary>Where the files are.</summary>
    public const string Folder = "/run/xen-usb-dm";

    /// <summary>The folder.</summary>
    public string Place => folder;

    /// <summary>Makes the folder; false with what is wrong.</summary>
    public bool TryMakeFolder(out string error)
    {
        error = "";
        try
        {
            Directory.CreateDirectory(folder);
            return true;
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            error = $"cannot make {folder}, where devices in use are noted ({failure.Message}); run as root";
            return false;
        }
    }

    /// <summary>
    /// Takes the place of a device for this process. On null <paramref name="error"/> says who has it, or what is wrong;
    /// <paramref name="inUse"/> is true when somebody has it, who may give it back.
    /// </summary>
    public TakenPlace? TryTake(string busPath, out string error, out bool inUse)
    {
        inUse = false;
        if (!TryMakeFolder(out error)) return null;
        Descriptor file = Open(busPath, Libc.OpenReadOnly | Libc.OpenCreate);
        if (!file.IsInvalid && Libc.Lock(file, Libc.LockExclusive | Libc.LockNonBlocking) != 0)
        {
            inUse = true;
            using (file) error = $"{busPath} is in use by {TakenPlace.Read(file)?.Holder ?? "another process"}; detach it there first";
            return null;
        }

        Descriptor record = file.IsInvalid ? file : Open(busPath, Libc.OpenReadWrite);
        if (!record.IsInvalid) return new TakenPlace(busPath, file, record);
        error = $"cannot note {busPath} in {folder}: {Marshal.GetLastPInvokeErrorMessage()}; run as root";
        record.Dispose();
        file.Dispose();
        return null;
    }

    /// <summary>Who has the device at <paramref name="busPath"/>; null when nobody has.</summary>
    public string? HolderOf(string busPath)
    {
        using Descriptor file = Open(busPath, Libc.OpenReadOnly);
        if (file.IsInvalid || Libc.Lock(file, Libc.LockExclusive | Libc.LockNonBlocking) == 0) return null;
        return TakenPlace.Read(file)?.Holder ?? "another process";
    }

    /// <summary>Devices of processes that are gone without giving them back, taken for this process.</summary>
    public List<TakenPlace> Leftovers()
    {
        var found = new List<TakenPlace>();
        if (!Directory.Exists(folder)) return found;
        foreach (string path in Directory.EnumerateFiles(folder))
        {
            string busPath = Path.GetFileName(path);
            Descriptor file = Open(busPath, Libc.OpenReadOnly);
            bool isLeft = !file.IsInvalid && Libc.Lock(file, Libc.LockExclusive | Libc.LockNonBlocking) == 0 && TakenPlace.Read(file) is not null;
            Descriptor record = isLeft ? Open(busPath, Libc.OpenReadWrite) : file;
            if (isLeft && !record.IsInvalid)
            {
                found.Add(new TakenPlace(busPath, file, record));
                continue;
            }

            record.Dispose();
            file.Dispose();
        }

        return found;
    }

    private Descriptor Open(string busPath, int flags) => new(Libc.Open(Path.Combine(folder, busPath), flags | Libc.OpenCloseOnExec, 0x180)); // 0600
}

/// <summary>A place that this process has; others find it taken until it is disposed.</summary>
public sealed unsafe class TakenPlace : IDisposable
{
    private const int LongestRecord = 512;

    private readonly Descriptor _lock;
    private readonly Descriptor _file;

    internal TakenPlace(string busPath, Descriptor locked, Descriptor file)
    {
        BusPath = busPath;
        _lock = locked;
        _file = file;
    }

    /// <summary>The place.</summary>
    public string BusPath { get; }

    /// <summary>What the file says; null when it is empty.</summary>
    public TakenRecord? Record => Read(_file);

    /// <summary>Notes what has to be given back if this process dies.</summary>
    public void Write(TakenRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        byte[] text = Encoding.UTF8.GetBytes(record.Text);
        Clear();
        fixed (byte* bytes = text) Libc.WriteAt(_file, bytes, (nuint)text.Length, 0);
    }

    /// <summary>Nothing has to be given back.</summary>
    public void Clear() => Libc.Truncate(_file, 0);

    /// <summary>Lets others take the place, and then those know who wait for it.</summary>
    public void Dispose()
    {
        _lock.Dispose();
        _file.Dispose();
    }

    internal static TakenRecord? Read(Descriptor file)
    {
        byte* text = stackalloc byte[LongestRecord];
        nint length = Libc.ReadAt(file, text, LongestRecord, 0);
        return length <= 0 ? null : TakenRecord.Parse(Encoding.UTF8.GetString(text, (int)length));
    }
}
