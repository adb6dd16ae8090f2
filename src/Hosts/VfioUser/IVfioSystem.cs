using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>What the server needs of the operating system; Native/Linux has the real one.</summary>
public interface IVfioSystem
{
    /// <summary>
    /// Maps <paramref name="size"/> bytes of a shared memory file from <paramref name="offset"/>. The mapping outlives the
    /// descriptor. On false <paramref name="error"/> is the errno to answer: the file is shorter, not aligned, not mappable.
    /// </summary>
    bool TryMap(SafeHandle descriptor, ulong offset, ulong size, bool writable, out IMappedMemory? memory, out int error);

    /// <summary>Counts mappings whose file became shorter below them, of all clients: unless it has changed, no <see cref="IMappedMemory.IsLost"/> has.</summary>
    long LostMappings { get; }

    /// <summary>The descriptor is an eventfd.</summary>
    bool IsEvent(SafeHandle descriptor);

    /// <summary>Adds one to an eventfd; one that is full is signalled already. False when the descriptor is not one. Never blocks.</summary>
    bool Signal(SafeHandle eventDescriptor);

    /// <summary>Takes what an eventfd has counted; false when nothing was. Never blocks.</summary>
    bool Clear(SafeHandle eventDescriptor);
}

/// <summary>Shared memory that is mapped until it is disposed.</summary>
public interface IMappedMemory : IDisposable
{
    /// <summary>Bytes mapped.</summary>
    ulong Size { get; }

    /// <summary>The file became shorter, and an access found that out: all of it reads as zeroes or what was written since.</summary>
    bool IsLost { get; }

    /// <summary>The bytes from <paramref name="offset"/>, at most <paramref name="length"/>; empty beyond the end. Not to be used after disposal.</summary>
    Span<byte> Slice(ulong offset, int length);
}

/// <summary>How a transfer on a socket ended.</summary>
public enum SocketOutcome
{
    /// <summary>Bytes were moved: at least one.</summary>
    Moved,

    /// <summary>None can be moved now.</summary>
    WouldBlock,

    /// <summary>The other side is gone, or it broke the rules of descriptor passing.</summary>
    Closed,
}

/// <summary>A connected stream socket that carries descriptors. Nothing blocks.</summary>
public interface IClientSocket : IDisposable
{
    /// <summary>For the loop.</summary>
    SafeHandle Handle { get; }

    /// <summary>
    /// Reads into <paramref name="buffer"/> and appends the descriptors that came with its last byte's message. The caller
    /// owns them, also when the outcome is <see cref="SocketOutcome.Closed"/>.
    /// </summary>
    SocketOutcome Receive(Span<byte> buffer, ICollection<SafeHandle> descriptors, out int count);

    /// <summary>Writes what fits.</summary>
    SocketOutcome Send(ReadOnlySpan<byte> bytes, out int count);
}

/// <summary>A listening socket.</summary>
public interface IClientListener : IDisposable
{
    /// <summary>For the loop.</summary>
    SafeHandle Handle { get; }

    /// <summary>Takes one waiting client; null when none waits, or when there is no descriptor or memory left for it.</summary>
    IClientSocket? Accept();
}
