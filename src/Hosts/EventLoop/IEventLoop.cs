using System;
using System.Runtime.InteropServices;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Hosts.EventLoop;

// EventLoop/ is the seam of the process's one loop (DESIGN, rule 1). Whoever has a descriptor (the client of a host, the
// control socket, a debugger, libusb) registers an ILoopSource for it; the model is the loop's one ITimed. All calls come
// on the loop's thread, one after the other, and none may block. Native/Linux/EpollLoop is the one that runs.

/// <summary>What a descriptor is waited for, and what it is ready for.</summary>
[Flags]
public enum LoopEvents
{
    /// <summary>Nothing; an error or the other side's end is still reported.</summary>
    None = 0,

    /// <summary>Bytes, a connection or the end of the stream can be read.</summary>
    Readable = 1,

    /// <summary>Bytes can be written.</summary>
    Writable = 2,

    /// <summary>Error, or the other side is gone. Reported whether asked for or not.</summary>
    HangUp = 4,
}

/// <summary>Something that acts when its descriptor is ready.</summary>
public interface ILoopSource
{
    /// <summary>
    /// The descriptor is ready (level triggered: what is left over is reported again). Does bounded work and returns; may
    /// add and dispose watches, its own too. An exception is a defect and ends the process.
    /// </summary>
    void Ready(LoopEvents events);

    /// <summary>
    /// Whether what the last <see cref="Ready"/> did wants the model at the present instant. When no source of a round does,
    /// the model is advanced at the instant it had, which saves reading the clock.
    /// </summary>
    bool NeedsTime => true;
}

/// <summary>A descriptor in the loop. Dispose it before the descriptor is closed; nothing is reported from then on.</summary>
public interface ILoopWatch : IDisposable
{
    /// <summary>What is waited for.</summary>
    LoopEvents Interest { get; set; }
}

/// <summary>The one loop of the process.</summary>
public interface IEventLoop
{
    /// <summary>
    /// Nanoseconds since the loop was made, on the monotonic clock. Never runs backwards. While the loop runs it is one
    /// instant from one wait to the next.
    /// </summary>
    VirtualTime Now { get; }

    /// <summary>Registers a descriptor (any handle of an epoll-able file, a <c>Socket</c>'s too).</summary>
    ILoopWatch Watch(SafeHandle descriptor, LoopEvents interest, ILoopSource source);

    /// <summary>Makes the loop go round once more and advance its model. May be called on any thread.</summary>
    void Wake();

    /// <summary>Makes <see cref="Run"/> return soon, in good order. May be called on any thread, and before <see cref="Run"/>.</summary>
    void Stop();

    /// <summary>
    /// Runs until <see cref="Stop"/>: advances <paramref name="model"/> after every round of ready descriptors and at its
    /// deadlines. Without a deadline and without events the thread sleeps.
    /// </summary>
    void Run(ITimed model);
}
