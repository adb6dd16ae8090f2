using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.InteropServices;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Fuzz.Hosts;

/// <summary>What a descriptor stands for.</summary>
public enum FakeKind
{
    Memory,
    Event,
    File,
    Socket,
}

/// <summary>A descriptor that counts itself.</summary>
public sealed class FakeHandle : SafeHandle
{
    [ThreadStatic]
    private static int _open;

    public FakeHandle(FakeKind kind)
        : base(0, ownsHandle: true)
    {
        Kind = kind;
        SetHandle(1);
        _open++;
    }

    /// <summary>Descriptors of this thread that nobody has closed.</summary>
    public static int Open => _open;

    public FakeKind Kind { get; }

    public bool Counted { get; set; }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        _open--;
        return true;
    }
}

/// <summary>Memory files, eventfds and a loop without an operating system. One for each thread.</summary>
public sealed class FakeSystem : IVfioSystem, IEventLoop
{
    /// <summary>Bytes of every memory file.</summary>
    private const ulong FileBytes = 64 << 10;

    private readonly byte[] _file = new byte[FileBytes];
    private readonly List<Watched> _watches = [];

    public VirtualTime Now { get; private set; }

    /// <summary>Mappings that nobody has undone.</summary>
    public int Mappings { get; private set; }

    public int Watches => _watches.Count;

    public long LostMappings { get; private set; }

    /// <summary>The files of all mappings become shorter; the next access finds out.</summary>
    public bool Lost { get; private set; }

    public void Reset()
    {
        Array.Clear(_file);
        Lost = false;
    }

    public void Lose()
    {
        Lost = true;
        LostMappings++;
    }

    public void Pass(ulong nanoseconds) => Now = Now.Plus(nanoseconds);

    /// <summary>Tells each source that is ready, as the real loop does.</summary>
    public void Turn(FakeClient client)
    {
        ArgumentNullException.ThrowIfNull(client);
        foreach (Watched watch in _watches.ToArray())
        {
            if (!_watches.Contains(watch)) continue;
            LoopEvents ready = LoopEvents.None;
            if (ReferenceEquals(watch.Handle, client.Handle))
            {
                if (client.HasInput) ready |= LoopEvents.Readable;
                if (client.Room > 0) ready |= LoopEvents.Writable;
            }
            else if (watch.Handle is FakeHandle { Counted: true })
            {
                ready = LoopEvents.Readable;
            }

            if ((ready & watch.Interest) != 0) watch.Source.Ready(ready & watch.Interest);
        }
    }

    /// <summary>Counts on every eventfd that is watched.</summary>
    public void CountAll()
    {
        foreach (FakeHandle handle in _watches.Select(watch => watch.Handle).OfType<FakeHandle>()) handle.Counted = handle.Kind == FakeKind.Event;
    }

    public bool TryMap(SafeHandle descriptor, ulong offset, ulong size, bool writable, out IMappedMemory? memory, out int error)
    {
        memory = null;
        error = VfioUserError.Invalid;
        if (descriptor is not FakeHandle { Kind: FakeKind.Memory, IsClosed: false } || size == 0 || offset > FileBytes || size > FileBytes - offset) return false;
        memory = new Mapping(this, (int)offset, (int)size);
        Mappings++;
        error = 0;
        return true;
    }

    public bool IsEvent(SafeHandle descriptor) => descriptor is FakeHandle { Kind: FakeKind.Event };

    public bool Signal(SafeHandle eventDescriptor) => eventDescriptor is FakeHandle { IsClosed: false };

    public bool Clear(SafeHandle eventDescriptor)
    {
        if (eventDescriptor is not FakeHandle { Counted: true, IsClosed: false } handle) return false;
        handle.Counted = false;
        return true;
    }

    public ILoopWatch Watch(SafeHandle descriptor, LoopEvents interest, ILoopSource source)
    {
        if (descriptor is FakeHandle { Kind: FakeKind.File or FakeKind.Memory }) throw new IOException("epoll_ctl: Operation not permitted");
        var watch = new Watched(this, descriptor, source) { Interest = interest };
        _watches.Add(watch);
        return watch;
    }

    public void Wake()
    {
    }

    public void Stop()
    {
    }

    public void Run(ITimed model) => throw new NotSupportedException();

    private sealed class Watched(FakeSystem loop, SafeHandle handle, ILoopSource source) : ILoopWatch
    {
        public SafeHandle Handle => handle;

        public ILoopSource Source => source;

        public LoopEvents Interest { get; set; }

        public void Dispose() => loop._watches.Remove(this);
    }

    private sealed class Mapping(FakeSystem system, int start, int size) : IMappedMemory
    {
        private bool _gone;

        public ulong Size => (ulong)size;

        public bool IsLost => system.Lost;

        public Span<byte> Slice(ulong offset, int length)
        {
            if (_gone || offset >= Size || length <= 0) return default;
            return system._file.AsSpan(start + (int)offset, (int)Math.Min((ulong)length, Size - offset));
        }

        public void Dispose()
        {
            if (_gone) return;
            _gone = true;
            system.Mappings--;
        }
    }
}
