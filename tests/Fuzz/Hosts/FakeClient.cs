using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Fuzz.Hosts;

/// <summary>
/// The server's end of a connection as the kernel gives it: pieces with descriptors, reads that end behind a piece which carried
/// some (unix(7)), a limit on how much a read brings and how much a write takes.
/// </summary>
public sealed class FakeClient : IClientSocket
{
    /// <summary>Descriptors of one message that the kernel passes on; more are closed and the read says so.</summary>
    private const int MostDescriptors = 16;

    private readonly Queue<Piece> _pieces = new();
    private readonly List<byte> _replies = [];

    public SafeHandle Handle { get; } = new FakeHandle(FakeKind.Socket);

    /// <summary>Bytes that one read brings at most.</summary>
    public int ReadLimit { get; set; } = int.MaxValue;

    /// <summary>Bytes that writes still take before they would block.</summary>
    public int Room { get; set; } = int.MaxValue;

    /// <summary>The client has closed its end.</summary>
    public bool IsGone { get; set; }

    /// <summary>The server has closed its end.</summary>
    public bool IsClosed { get; private set; }

    public bool HasInput => _pieces.Count > 0 || IsGone;

    /// <summary>What the server sent.</summary>
    public ReadOnlySpan<byte> Replies => CollectionsMarshal.AsSpan(_replies);

    public void Put(byte[] bytes, List<FakeHandle> descriptors) => _pieces.Enqueue(new Piece(bytes, descriptors));

    public SocketOutcome Receive(Span<byte> buffer, ICollection<SafeHandle> descriptors, out int count)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        count = 0;
        int most = Math.Min(buffer.Length, ReadLimit);
        bool truncated = false;
        while (count < most && _pieces.TryPeek(out Piece? piece))
        {
            bool carries = piece.Descriptors.Count > 0;
            for (int i = 0; i < piece.Descriptors.Count; i++)
            {
                if (i < MostDescriptors) descriptors.Add(piece.Descriptors[i]);
                else piece.Descriptors[i].Dispose();
                truncated |= i >= MostDescriptors;
            }

            piece.Descriptors.Clear();
            int taken = Math.Min(most - count, piece.Bytes.Length - piece.Taken);
            piece.Bytes.AsSpan(piece.Taken, taken).CopyTo(buffer[count..]);
            count += taken;
            piece.Taken += taken;
            if (piece.Taken == piece.Bytes.Length) _pieces.Dequeue();
            if (carries) break;
        }

        if (truncated) return SocketOutcome.Closed;
        if (count > 0) return SocketOutcome.Moved;
        return IsGone ? SocketOutcome.Closed : SocketOutcome.WouldBlock;
    }

    public SocketOutcome Send(ReadOnlySpan<byte> bytes, out int count)
    {
        count = Math.Min(bytes.Length, Room);
        if (IsGone) return SocketOutcome.Closed;
        if (count == 0) return SocketOutcome.WouldBlock;
        Room -= count;
        _replies.AddRange(bytes[..count]);
        return SocketOutcome.Moved;
    }

    /// <summary>As close(2): what was not read goes, descriptors too.</summary>
    public void Dispose()
    {
        IsClosed = true;
        Handle.Dispose();
        foreach (Piece piece in _pieces)
        {
            foreach (FakeHandle handle in piece.Descriptors) handle.Dispose();
        }

        _pieces.Clear();
    }

    private sealed class Piece(byte[] bytes, List<FakeHandle> descriptors)
    {
        public byte[] Bytes => bytes;

        public List<FakeHandle> Descriptors => descriptors;

        public int Taken { get; set; }
    }
}
