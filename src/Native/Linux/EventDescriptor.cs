using System;
using System.Globalization;
using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Linux;

/// <summary>Eventfds that another process made: they may block, be full, or be none at all.</summary>
internal static unsafe class EventDescriptor
{
    private static ReadOnlySpan<byte> Kind => "anon_inode:[eventfd]"u8;

    /// <summary>The descriptor is an eventfd. Where /proc is not there to ask, it is taken for one: nothing below blocks or harms others.</summary>
    public static bool IsEvent(SafeHandle descriptor)
    {
        byte* text = stackalloc byte[32];
        string link = string.Create(CultureInfo.InvariantCulture, $"/proc/self/fd/{descriptor.DangerousGetHandle()}");
        nint length = Libc.ReadLink(link, text, 32);
        return length < 0 || Kind.SequenceEqual(new ReadOnlySpan<byte>(text, (int)length));
    }

    /// <summary>
    /// Adds one. A full counter is signalled already and counts as true. It is asked for room first, because writing to a full one
    /// would block, and making it non-blocking would change it for its owner too.
    /// </summary>
    public static bool Signal(SafeHandle descriptor) => !IsReady(descriptor, Libc.PollOut) || EventCounter.Signal(descriptor);

    /// <summary>Takes what has been counted; false when nothing was.</summary>
    public static bool Clear(SafeHandle descriptor) => IsReady(descriptor, Libc.PollIn) && EventCounter.Clear(descriptor);

    private static bool IsReady(SafeHandle descriptor, short wanted)
    {
        Libc.PollRecord record = new() { Descriptor = (int)descriptor.DangerousGetHandle(), Wanted = wanted };
        return Libc.Poll(&record, 1, 0) == 1 && (record.Ready & wanted) != 0;
    }
}
