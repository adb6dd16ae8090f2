using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;

namespace XenUsbDm.Native.Linux;

/// <summary>
/// The loop on epoll, with one timerfd for the model's next deadline and one eventfd for wakes from other threads. The
/// deadline is armed only when it changed, and disarmed when there is none, so an idle process sleeps.
/// </summary>
/// <remarks>
/// The clock is read at most once after each wait, and not at all when every source that was ready says that it needs no
/// time: in a PV dom0 of Xen reading it is a system call. A deadline is never missed by that, since its timer ends the wait.
/// </remarks>
public sealed unsafe class EpollLoop : IEventLoop, IDisposable
{
    private const int Batch = 32;
    private const ulong TimerKey = 0;
    private const ulong WakeKey = 1;

    // struct epoll_event is packed on x86-64 alone.
    private static readonly int EventSize = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;
    private static readonly int DataOffset = EventSize - 8;

    private readonly Descriptor _epoll;
    private readonly Descriptor _timer;
    private readonly Descriptor _wake;
    private readonly TimeProvider _clock;
    private readonly Dictionary<ulong, Watched> _watches = [];
    private readonly long _start;
    private ulong _nextKey = WakeKey + 1;
    private VirtualTime _latest;
    private VirtualTime _armed = VirtualTime.Never;
    private int _woken;
    private bool _inTurn;
    private bool _isRead; // the clock, since the last wait
    private bool _needsTime = true; // the model's next turn
    private volatile bool _stopping;

    /// <summary>Makes a loop whose time starts now. Throws when the system has no descriptors left.</summary>
    /// <param name="clock">What counts the nanoseconds; the system's unless a test counts how often it is read.</param>
    public EpollLoop(TimeProvider? clock = null)
    {
        _clock = clock ?? TimeProvider.System;
        _start = _clock.GetTimestamp();
        // Absolute deadlines are counted on .NET's clock and armed on the kernel's: both must be CLOCK_MONOTONIC in nanoseconds.
        if (_clock.TimestampFrequency != 1_000_000_000) throw new PlatformNotSupportedException("the monotonic clock does not count nanoseconds");
        _epoll = Own(Libc.EpollCreate(Libc.EpollCloseOnExec), "epoll_create1");
        _timer = Own(Libc.TimerCreate(Libc.ClockMonotonic, Libc.TimerNonBlocking | Libc.TimerCloseOnExec), "timerfd_create");
        _wake = Descriptor.NewEvent();
        if (_wake.IsInvalid) throw new IOException($"eventfd: {Marshal.GetLastPInvokeErrorMessage()}");
        Control(Libc.EpollAdd, _timer, Libc.EpollIn, TimerKey);
        Control(Libc.EpollAdd, _wake, Libc.EpollIn, WakeKey);
    }

    /// <summary>Times that the loop's thread woke up. Constant while idle.</summary>
    public long Wakeups { get; private set; }

    /// <inheritdoc/>
    public VirtualTime Now
    {
        get
        {
            if (_isRead) return _latest;
            _isRead = _inTurn;
            long elapsed = _clock.GetTimestamp() - _start;
            if (elapsed > 0 && (ulong)elapsed > _latest.Nanoseconds) _latest = new VirtualTime((ulong)elapsed);
            return _latest;
        }
    }

    /// <inheritdoc/>
    public ILoopWatch Watch(SafeHandle descriptor, LoopEvents interest, ILoopSource source)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        ArgumentNullException.ThrowIfNull(source);
        var watch = new Watched(this, _nextKey++, descriptor, interest, source);
        Control(Libc.EpollAdd, descriptor, Bits(interest), watch.Key);
        _watches.Add(watch.Key, watch);
        return watch;
    }

    /// <inheritdoc/>
    public void Wake()
    {
        // One write however many wakes; the loop clears the flag before it looks at what they are about.
        if (Interlocked.Exchange(ref _woken, 1) == 0) EventCounter.Signal(_wake);
    }

    /// <inheritdoc/>
    public void Stop()
    {
        _stopping = true;
        Wake();
    }

    /// <inheritdoc/>
    public void Run(ITimed model)
    {
        ArgumentNullException.ThrowIfNull(model);
        while (!_stopping) Turn(model, mayWait: true);
        // What follows (devices are closed) may take long.
        _isRead = false;
        _inTurn = false;
    }

    /// <summary>
    /// One turn of <see cref="Run"/>: advances the model and tells the sources what is ready. Sleeps until something is,
    /// unless work is due or <paramref name="mayWait"/> is false.
    /// </summary>
    public void Turn(ITimed model, bool mayWait)
    {
        ArgumentNullException.ThrowIfNull(model);
        byte* events = stackalloc byte[Batch * 16];
        _inTurn = true;
        model.Advance(_needsTime ? Now : _latest);
        VirtualTime deadline = model.NextDeadline;
        // A deadline that has passed since the clock was read ends the wait at once.
        bool wait = mayWait && deadline > _latest;
        if (wait) Arm(deadline);
        int count = Libc.EpollWait(_epoll, events, Batch, wait ? -1 : 0);
        if (wait) Wakeups++;
        _isRead = false;
        // Time goes on wherever no timer watches over the deadline.
        _needsTime = !wait || count <= 0;
        for (int i = 0; i < count && !_stopping; i++)
        {
            var record = new ReadOnlySpan<byte>(events + (i * EventSize), EventSize);
            Dispatch(BinaryPrimitives.ReadUInt64LittleEndian(record[DataOffset..]), BinaryPrimitives.ReadUInt32LittleEndian(record));
        }
    }

    /// <summary>Closes the loop's own descriptors. Watches are gone with it.</summary>
    public void Dispose()
    {
        _watches.Clear();
        _epoll.Dispose();
        _timer.Dispose();
        _wake.Dispose();
    }

    private static Descriptor Own(int number, string call) =>
        number >= 0 ? new Descriptor(number) : throw new IOException($"{call}: {Marshal.GetLastPInvokeErrorMessage()}");

    private static uint Bits(LoopEvents interest) =>
        ((interest & LoopEvents.Readable) != 0 ? Libc.EpollIn | Libc.EpollReadHangUp : 0) |
        ((interest & LoopEvents.Writable) != 0 ? Libc.EpollOut : 0);

    private static LoopEvents Events(uint bits) =>
        ((bits & (Libc.EpollIn | Libc.EpollReadHangUp)) != 0 ? LoopEvents.Readable : 0) |
        ((bits & Libc.EpollOut) != 0 ? LoopEvents.Writable : 0) |
        ((bits & (Libc.EpollError | Libc.EpollHangUp)) != 0 ? LoopEvents.HangUp : 0);

    private void Dispatch(ulong key, uint bits)
    {
        if (key == TimerKey)
        {
            _armed = VirtualTime.Never;
            _needsTime = true;
            EventCounter.Clear(_timer);
        }
        else if (key == WakeKey)
        {
            _needsTime = true;
            EventCounter.Clear(_wake);
            Volatile.Write(ref _woken, 0);
        }
        else if (_watches.TryGetValue(key, out Watched? watch))
        {
            // A source earlier in this batch may have disposed it: then it is not found.
            watch.Source.Ready(Events(bits));
            _needsTime |= watch.Source.NeedsTime;
        }
    }

    private void Arm(VirtualTime deadline)
    {
        if (deadline == _armed) return;
        Libc.TimerSetting setting = default;
        ulong limit = (ulong)(long.MaxValue - _start);
        if (deadline != VirtualTime.Never && deadline.Nanoseconds < limit)
        {
            long at = _start + (long)deadline.Nanoseconds;
            setting.Seconds = at / 1_000_000_000;
            setting.Nanoseconds = at % 1_000_000_000;
        }

        Libc.TimerSet(_timer, Libc.TimerAbsolute, &setting, null);
        _armed = deadline;
    }

    private void Control(int operation, SafeHandle descriptor, uint bits, ulong key)
    {
        Span<byte> record = stackalloc byte[16];
        record.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(record, bits);
        BinaryPrimitives.WriteUInt64LittleEndian(record[DataOffset..], key);
        fixed (byte* p = record)
        {
            if (Libc.EpollControl(_epoll, operation, descriptor, p) != 0)
                throw new IOException($"epoll_ctl: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    private sealed class Watched(EpollLoop loop, ulong key, SafeHandle descriptor, LoopEvents interest, ILoopSource source) : ILoopWatch
    {
        private LoopEvents _interest = interest;

        public ulong Key => key;

        public ILoopSource Source => source;

        public LoopEvents Interest
        {
            get => _interest;
            set
            {
                if (value == _interest || !loop._watches.ContainsKey(key)) return;
                _interest = value;
                loop.Control(Libc.EpollModify, descriptor, Bits(value), key);
            }
        }

        public void Dispose()
        {
            if (loop._watches.Remove(key) && !descriptor.IsClosed) loop.Control(Libc.EpollDelete, descriptor, 0, key);
        }
    }
}
