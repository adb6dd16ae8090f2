using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Linux;

/// <summary>Operations on eventfd and timerfd counters.</summary>
internal static unsafe class EventCounter
{
    /// <summary>Adds one. False when the descriptor is none that counts; a full counter is signalled already and counts as true.</summary>
    public static bool Signal(SafeHandle descriptor)
    {
        ulong one = 1;
        nint written;
        do
        {
            written = Libc.Write(descriptor, &one, sizeof(ulong));
        }
        while (written < 0 && Marshal.GetLastPInvokeError() == Libc.Interrupted);
        return written == sizeof(ulong) || Marshal.GetLastPInvokeError() == Libc.TryAgain;
    }

    /// <summary>Takes what has been counted; false when nothing was.</summary>
    public static bool Clear(SafeHandle descriptor)
    {
        ulong count;
        return Libc.Read(descriptor, &count, sizeof(ulong)) == sizeof(ulong);
    }
}
