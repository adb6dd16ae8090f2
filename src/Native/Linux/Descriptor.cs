using Microsoft.Win32.SafeHandles;

namespace XenUsbDm.Native.Linux;

// Linux/ is what the hosts need of the kernel and .NET does not show: epoll, eventfd, timerfd, sockets that carry
// descriptors, shared memory. Libc declares, the other files give it owners. Every descriptor is close-on-exec.

/// <summary>An owned file descriptor.</summary>
public sealed class Descriptor : SafeHandleMinusOneIsInvalid
{
    /// <summary>Takes over <paramref name="number"/>; -1 is none.</summary>
    public Descriptor(int number)
        : base(ownsHandle: true) => SetHandle(number);

    /// <summary>For the marshaller.</summary>
    public Descriptor()
        : base(ownsHandle: true)
    {
    }

    /// <summary>The number, for tables and messages. The handle stays its owner.</summary>
    public int Number => (int)DangerousGetHandle();

    /// <summary>A new eventfd; invalid when the system has no descriptors left. With <paramref name="blocking"/> reads and writes wait, as on other processes' may be.</summary>
    public static Descriptor NewEvent(bool blocking = false) => new(Libc.Event(0, (blocking ? 0 : Libc.EventNonBlocking) | Libc.EventCloseOnExec));

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => Libc.Close((int)handle) == 0;
}
