using System;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>Tells when a USB device comes, goes or has got its driver: the kernel's own messages (netlink), which need no udev.</summary>
public sealed unsafe class UeventSocket : ILoopSource, IDisposable
{
    private const int AddressLength = 12; // struct sockaddr_nl: family, padding, port, groups
    private const uint KernelGroup = 1;
    private const int Batch = 64;

    private readonly Descriptor _socket;
    private readonly Action _changed;
    private readonly byte[] _buffer = new byte[8192];
    private readonly ILoopWatch _watch;

    private UeventSocket(IEventLoop loop, Descriptor socket, Action changed)
    {
        _socket = socket;
        _changed = changed;
        _watch = loop.Watch(socket, LoopEvents.Readable, this);
    }

    /// <summary>Listens; <paramref name="changed"/> is called on the loop's thread. Null when the system does not allow it.</summary>
    public static UeventSocket? TryOpen(IEventLoop loop, Action changed)
    {
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(changed);
        var socket = new Descriptor(Libc.Socket(Libc.FamilyNetlink, Libc.RawType | Libc.SocketNonBlocking | Libc.SocketCloseOnExec, Libc.NetlinkUevent));
        byte* address = stackalloc byte[AddressLength];
        new Span<byte>(address, AddressLength).Clear();
        *(ushort*)address = Libc.FamilyNetlink;
        *(uint*)(address + 8) = KernelGroup;
        if (!socket.IsInvalid && Libc.Bind(socket, address, AddressLength) == 0) return new UeventSocket(loop, socket, changed);
        socket.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        // A message that did not fit the socket's buffer is lost and reported as an error: look then too.
        bool relevant = false;
        for (int i = 0; i < Batch; i++)
        {
            nint length;
            fixed (byte* buffer = _buffer) length = Libc.Read(_socket, buffer, (nuint)_buffer.Length);
            if (length <= 0)
            {
                relevant |= length < 0 && Marshal.GetLastPInvokeError() is not (Libc.TryAgain or Libc.Interrupted);
                break;
            }

            relevant |= _buffer.AsSpan(0, (int)length).IndexOf("DEVTYPE=usb_device"u8) >= 0;
        }

        if (relevant) _changed();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _watch.Dispose();
        _socket.Dispose();
    }
}
