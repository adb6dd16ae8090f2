using System.Runtime.InteropServices;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Native.Linux;

/// <summary>A listening Unix socket at a path; the path is removed when it is disposed.</summary>
public sealed unsafe class UnixListener : IClientListener
{
    // A second client waits here until the first has gone.
    private const int Backlog = 4;

    // 0600.
    private const uint OwnerOnly = 0x180;

    private readonly Descriptor _socket;
    private readonly string _path;

    private UnixListener(Descriptor socket, string path)
    {
        _socket = socket;
        _path = path;
    }

    /// <inheritdoc/>
    public SafeHandle Handle => _socket;

    /// <summary>
    /// Listens at <paramref name="path"/>. A socket that a process left behind when it was killed is replaced; one on which
    /// somebody listens is not, nor a file of another kind. Null with a line for the user when it does not work. With
    /// <paramref name="ownerOnly"/> only the user of this process may connect.
    /// </summary>
    public static UnixListener? Open(string path, out string error, bool ownerOnly = false)
    {
        error = $"{path}: the path of a socket has 1 to 107 bytes";
        if (!UnixSocket.TryAddress(path, out byte[] address)) return null;
        var socket = new Descriptor(Libc.Socket(Libc.FamilyUnix, Libc.StreamType | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0));

        // A socket's path is made with the mode of its descriptor, so there is no moment at which others may connect (unix(7)).
        if (ownerOnly && !socket.IsInvalid) _ = Libc.ChangeMode(socket, OwnerOnly);
        if (!socket.IsInvalid && (TryListen(socket, address) || (IsLeftBehind(path, address) && Libc.Unlink(path) == 0 && TryListen(socket, address))))
        {
            error = "";
            return new UnixListener(socket, path);
        }

        int code = Marshal.GetLastPInvokeError();
        error = code == Libc.AddressInUse
            ? $"{path}: exists, and is in use or not a socket; stop the other process, or name another path"
            : $"{path}: {Marshal.GetPInvokeErrorMessage(code)}; name a socket in a folder that exists and is writable";
        socket.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public IClientSocket? Accept()
    {
        int number;
        do
        {
            number = Libc.Accept(_socket, null, null, Libc.SocketNonBlocking | Libc.SocketCloseOnExec);
        }
        while (number < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted);
        return number < 0 ? null : new UnixSocket(new Descriptor(number));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_socket.IsClosed) return;
        _ = Libc.Unlink(_path);
        _socket.Dispose();
    }

    private static bool TryListen(Descriptor socket, byte[] address)
    {
        fixed (byte* p = address) return Libc.Bind(socket, p, (uint)address.Length) == 0 && Libc.Listen(socket, Backlog) == 0;
    }

    // Connecting tells a socket without a listener (refused) from one with (accepted, or its backlog is full) and from a
    // file that is no socket (refused too on Linux: so the kind of file is asked for as well).
    private static bool IsLeftBehind(string path, byte[] address)
    {
        if (Marshal.GetLastPInvokeError() != Libc.AddressInUse) return false;
        bool free = false;
        if (IsSocket(path))
        {
            using var probe = new Descriptor(Libc.Socket(Libc.FamilyUnix, Libc.StreamType | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, 0));
            fixed (byte* p = address)
                free = !probe.IsInvalid && Libc.Connect(probe, p, (uint)address.Length) != 0 && Marshal.GetLastPInvokeError() == Libc.ConnectionRefused;
        }

        // The caller reports the error of its own call.
        if (!free) Marshal.SetLastPInvokeError(Libc.AddressInUse);
        return free;
    }

    // Opening a socket fails with ENXIO (open(2)); anything else with that error is no regular file either.
    private static bool IsSocket(string path)
    {
        const int NoSuchDevice = 6;
        int opened = Storage.LibcFile.Open(path, Storage.LibcFile.OpenReadOnly | Storage.LibcFile.OpenNonBlocking | Storage.LibcFile.OpenCloseOnExec, 0);
        if (opened < 0) return Marshal.GetLastPInvokeError() == NoSuchDevice;
        _ = Libc.Close(opened);
        return false;
    }
}
