using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Native.Linux;

/// <summary>A connected Unix stream socket that sends and receives descriptors. Nothing blocks.</summary>
public sealed unsafe class UnixSocket : IClientSocket
{
    /// <summary>Most descriptors of one message; a message with more is refused.</summary>
    public const int MaxDescriptors = 16;

    private const int ControlSpace = 16 + (MaxDescriptors * sizeof(int));

    private readonly Descriptor _socket;

    internal UnixSocket(Descriptor socket) => _socket = socket;

    /// <inheritdoc/>
    public SafeHandle Handle => _socket;

    /// <summary>Two sockets connected to each other, for tests and twin channels; null when the system has no descriptors left.</summary>
    public static (UnixSocket First, UnixSocket Second)? Pair()
    {
        int* pair = stackalloc int[2];
        if (Libc.SocketPair(Libc.FamilyUnix, Libc.StreamType | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0, pair) != 0) return null;
        return (new UnixSocket(new Descriptor(pair[0])), new UnixSocket(new Descriptor(pair[1])));
    }

    /// <summary>Connects to a listening socket; null when nobody listens there.</summary>
    public static UnixSocket? Connect(string path)
    {
        var socket = new Descriptor(Libc.Socket(Libc.FamilyUnix, Libc.StreamType | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0));
        if (!socket.IsInvalid && TryAddress(path, out byte[] address))
        {
            fixed (byte* p = address)
            {
                if (Libc.Connect(socket, p, (uint)address.Length) == 0) return new UnixSocket(socket);
            }
        }

        socket.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public SocketOutcome Receive(Span<byte> buffer, ICollection<SafeHandle> descriptors, out int count)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        count = 0;
        byte* control = stackalloc byte[ControlSpace];
        fixed (byte* bytes = buffer)
        {
            Libc.Vector vector = new() { Base = bytes, Length = (nuint)buffer.Length };
            Libc.MessageHeader message = new() { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = ControlSpace };
            nint received;
            do
            {
                received = Libc.ReceiveMessage(_socket, &message, Libc.ControlCloseOnExec);
            }
            while (received < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted);
            if (received < 0) return Marshal.GetLastPInvokeError() == Libc.TryAgain ? SocketOutcome.WouldBlock : SocketOutcome.Closed;
            TakeDescriptors(message, descriptors);
            count = (int)received;

            // Descriptors beyond the space were closed by the kernel: what is left cannot be told apart.
            return received == 0 || (message.Flags & Libc.ControlTruncated) != 0 ? SocketOutcome.Closed : SocketOutcome.Moved;
        }
    }

    /// <inheritdoc/>
    public SocketOutcome Send(ReadOnlySpan<byte> bytes, out int count) => Send(bytes, [], out count);

    /// <summary>Writes what fits, with up to <see cref="MaxDescriptors"/> descriptors on the first byte.</summary>
    public SocketOutcome Send(ReadOnlySpan<byte> bytes, ReadOnlySpan<SafeHandle> descriptors, out int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(descriptors.Length, MaxDescriptors);
        count = 0;
        byte* control = stackalloc byte[ControlSpace];
        fixed (byte* p = bytes)
        {
            Libc.Vector vector = new() { Base = p, Length = (nuint)bytes.Length };
            Libc.MessageHeader message = new() { Vectors = &vector, VectorCount = 1 };
            if (!descriptors.IsEmpty)
            {
                var header = (Libc.ControlHeader*)control;
                *header = new Libc.ControlHeader { Length = (nuint)(16 + (descriptors.Length * sizeof(int))), Level = Libc.LevelSocket, Type = Libc.Rights };
                for (int i = 0; i < descriptors.Length; i++) ((int*)(control + 16))[i] = (int)descriptors[i].DangerousGetHandle();
                message.Control = control;
                message.ControlLength = (header->Length + 7) & ~(nuint)7;
            }

            nint sent;
            do
            {
                sent = Libc.SendMessage(_socket, &message, Libc.NoSignal);
            }
            while (sent < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted);
            if (sent < 0) return Marshal.GetLastPInvokeError() == Libc.TryAgain ? SocketOutcome.WouldBlock : SocketOutcome.Closed;
            count = (int)sent;
            return SocketOutcome.Moved;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    /// <summary>struct sockaddr_un for a path of 1 to 107 bytes.</summary>
    internal static bool TryAddress(string path, out byte[] address)
    {
        address = new byte[110];
        int bytes = Encoding.UTF8.GetByteCount(path);
        if (bytes is < 1 or > 107 || path.Contains('\0', StringComparison.Ordinal)) return false;
        address[0] = Libc.FamilyUnix;
        Encoding.UTF8.GetBytes(path, address.AsSpan(2));
        return true;
    }

    private static void TakeDescriptors(in Libc.MessageHeader message, ICollection<SafeHandle> descriptors)
    {
        byte* at = (byte*)message.Control;
        byte* end = at + message.ControlLength;
        while (at + sizeof(Libc.ControlHeader) <= end)
        {
            var header = (Libc.ControlHeader*)at;
            if (header->Length < (nuint)sizeof(Libc.ControlHeader) || header->Length > (nuint)(end - at)) return;
            if (header->Level == Libc.LevelSocket && header->Type == Libc.Rights)
            {
                int present = (int)(header->Length - (nuint)sizeof(Libc.ControlHeader)) / sizeof(int);
                for (int i = 0; i < present; i++) descriptors.Add(new Descriptor(((int*)(at + sizeof(Libc.ControlHeader)))[i]));
            }

            at += (header->Length + 7) & ~(nuint)7;
        }
    }
}
