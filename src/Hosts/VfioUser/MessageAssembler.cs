using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>What <see cref="MessageAssembler.TryNext"/> found.</summary>
public enum AssemblyResult
{
    /// <summary>A whole message.</summary>
    Message,

    /// <summary>More bytes are needed.</summary>
    Incomplete,

    /// <summary>A header that cannot be: no message can be found after it.</summary>
    Malformed,
}

/// <summary>
/// Cuts the stream into messages and gives each its descriptors. A read of the socket ends behind the piece that carried
/// descriptors, so those of one read belong to the message of its last byte.
/// </summary>
public sealed class MessageAssembler
{
    private readonly byte[] _buffer = new byte[VfioUserLimits.MaxMessageBytes];

    // Descriptors of the first message in the buffer, and of the message of the last byte received (which may be the same).
    private readonly List<SafeHandle> _head = [];
    private readonly List<SafeHandle> _tail = [];
    private int _start;
    private int _end;

    /// <summary>Where to receive to: never empty after <see cref="AssemblyResult.Incomplete"/>.</summary>
    public Span<byte> Space => _buffer.AsSpan(_end);

    /// <summary>Where to receive descriptors to.</summary>
    public ICollection<SafeHandle> Descriptors => _tail;

    /// <summary>Takes over what was received. False when a message has more descriptors than any may have.</summary>
    public bool Received(int count)
    {
        _end += count;
        return _tail.Count + _head.Count <= VfioUserLimits.MaxDescriptors;
    }

    /// <summary>
    /// The next message. Its payload is valid until the next receive; its descriptors are moved to
    /// <paramref name="descriptors"/>, whose owner closes them.
    /// </summary>
    public AssemblyResult TryNext(List<SafeHandle> descriptors, out MessageHeader header, out ReadOnlySpan<byte> payload)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        payload = default;
        ReadOnlySpan<byte> bytes = _buffer.AsSpan(_start, _end - _start);
        if (!MessageHeader.TryRead(bytes, out header)) return Wait();
        if (header.Size is < VfioUserLimits.HeaderBytes or > VfioUserLimits.MaxMessageBytes) return AssemblyResult.Malformed;
        int size = (int)header.Size;
        if (size > bytes.Length) return Wait();
        payload = bytes[VfioUserLimits.HeaderBytes..size];
        _start += size;
        descriptors.AddRange(_head);
        _head.Clear();
        if (_start == _end)
        {
            descriptors.AddRange(_tail);
            _tail.Clear();
        }

        return AssemblyResult.Message;
    }

    /// <summary>Closes descriptors that no message has taken.</summary>
    public void Clear()
    {
        foreach (SafeHandle handle in _head) handle.Dispose();
        foreach (SafeHandle handle in _tail) handle.Dispose();
        _head.Clear();
        _tail.Clear();
        _start = _end = 0;
    }

    /// <summary>What is left is the start of one message: it moves to the front, and what came with it is its own.</summary>
    private AssemblyResult Wait()
    {
        _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
        _end -= _start;
        _start = 0;
        _head.AddRange(_tail);
        _tail.Clear();
        return AssemblyResult.Incomplete;
    }
}
