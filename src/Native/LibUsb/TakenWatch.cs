using System;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>
/// Tells when a process gives up a place of <see cref="TakenDevices"/>, however it ends (inotify): by then the lock is gone,
/// so one look is enough.
/// </summary>
public sealed unsafe class TakenWatch : ILoopSource, IDisposable
{
    private readonly Descriptor _notify;
    private readonly Action _givenUp;
    private readonly byte[] _buffer = new byte[4096]; // Many records; what is left over is reported again.
    private readonly ILoopWatch _watch;

    private TakenWatch(IEventLoop loop, Descriptor notify, Action givenUp)
    {
        _notify = notify;
        _givenUp = givenUp;
        _watch = loop.Watch(notify, LoopEvents.Readable, this);
    }

    /// <summary>Watches; <paramref name="givenUp"/> is called on the loop's thread. Null when the system does not allow it.</summary>
    public static TakenWatch? TryOpen(IEventLoop loop, TakenDevices taken, Action givenUp)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(taken);
        ArgumentNullException.ThrowIfNull(givenUp);
        if (!taken.TryMakeFolder(out _)) return null;
        var notify = new Descriptor(Libc.NotifyCreate(Libc.NotifyNonBlocking | Libc.NotifyCloseOnExec));
        if (!notify.IsInvalid && Libc.NotifyAdd(notify, taken.Place, Libc.NotifyClosedAfterWriting) >= 0) return new TakenWatch(loop, notify, givenUp);
        notify.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        // Which place it was does not matter: whoever waits for one looks.
        nint length;
        fixed (byte* buffer = _buffer) length = Libc.Read(_notify, buffer, (nuint)_buffer.Length);
        if (length > 0) _givenUp();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _watch.Dispose();
        _notify.Dispose();
    }
}
