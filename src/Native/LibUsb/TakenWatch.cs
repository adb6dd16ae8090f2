using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>
/// Tells when another process gives something up, however it ends (inotify): a place of <see cref="TakenDevices"/>, whose lock
/// is gone by then, so that one look is enough; or a device's node, which a program has that knows no such places. (The
/// kernel's own messages do not tell: usbfs sends none when an interface is released.)
/// </summary>
public sealed unsafe class TakenWatch : ILoopSource, IDisposable
{
    private const int HeaderBytes = 16; // struct inotify_event: watch, mask, cookie, length of the name behind it.
    private const int LengthOffset = 12;

    private readonly Descriptor _notify;
    private readonly int _folder;
    private readonly Action _givenUp;
    private readonly Action<string> _closed;
    private readonly Dictionary<int, string> _nodes = [];
    private readonly byte[] _buffer = new byte[4096]; // Many records; what is left over is reported again.
    private readonly ILoopWatch _watch;

    private TakenWatch(IEventLoop loop, Descriptor notify, int folder, Action givenUp, Action<string> closed)
    {
        _notify = notify;
        _folder = folder;
        _givenUp = givenUp;
        _closed = closed;
        _watch = loop.Watch(notify, LoopEvents.Readable, this);
    }

    /// <summary>
    /// Watches; <paramref name="givenUp"/> and <paramref name="closed"/>, with the path of a node, are called on the loop's thread.
    /// Null when the system does not allow it.
    /// </summary>
    public static TakenWatch? TryOpen(IEventLoop loop, TakenDevices taken, Action givenUp, Action<string> closed)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(taken);
        ArgumentNullException.ThrowIfNull(givenUp);
        ArgumentNullException.ThrowIfNull(closed);
        if (!taken.TryMakeFolder(out _)) return null;
        var notify = new Descriptor(Libc.NotifyCreate(Libc.NotifyNonBlocking | Libc.NotifyCloseOnExec));
        int folder = notify.IsInvalid ? -1 : Libc.NotifyAdd(notify, taken.Place, Libc.NotifyClosedAfterWriting);
        if (folder >= 0) return new TakenWatch(loop, notify, folder, givenUp, closed);
        notify.Dispose();
        return null;
    }

    /// <summary>Tells once when a process that has written to <paramref name="node"/> or could have closes it, or it is removed.</summary>
    public void Await(string node)
    {
        ArgumentNullException.ThrowIfNull(node);
        int watch = Libc.NotifyAdd(_notify, node, Libc.NotifyClosedAfterWriting | Libc.NotifyOnce);
        if (watch >= 0) _nodes[watch] = node;
    }

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        nint length;
        fixed (byte* buffer = _buffer) length = Libc.Read(_notify, buffer, (nuint)_buffer.Length);
        bool givenUp = false;
        for (ReadOnlySpan<byte> rest = _buffer.AsSpan(0, (int)Math.Max(0, length)); rest.Length >= HeaderBytes;)
        {
            int watch = BinaryPrimitives.ReadInt32LittleEndian(rest);

            // Which place it was does not matter: whoever waits for one looks. So too when messages were lost (watch -1).
            if (_nodes.Remove(watch, out string? node)) _closed(node);
            else givenUp |= watch == _folder || watch < 0;
            rest = rest[Math.Min(rest.Length, HeaderBytes + BinaryPrimitives.ReadInt32LittleEndian(rest[LengthOffset..]))..];
        }

        if (givenUp) _givenUp();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _watch.Dispose();
        _notify.Dispose();
    }
}
