using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>
/// libusb in the loop. libusb adds and removes descriptors on whatever thread opens and closes devices; they go into an
/// epoll set of their own, which the loop watches as one descriptor. Transfers end on the loop's thread alone.
/// </summary>
public sealed unsafe class LibUsbContext : ILoopSource, IDisposable
{
    /// <summary>What to do when the library is not there.</summary>
    public const string Missing = "physical devices need libusb 1.0.24 or later (libusb-1.0.so.0); install it (Debian: apt-get install libusb-1.0-0)";

    private readonly Descriptor _set;
    private readonly ILoopWatch _watch;
    private GCHandle _self;
    private nint _context;

    private LibUsbContext(IEventLoop loop, nint context, Descriptor set)
    {
        _context = context;
        _set = set;
        _self = GCHandle.Alloc(this);
        LibUsb.SetPollNotifiers(context, &Added, &Removed, GCHandle.ToIntPtr(_self));
        LibUsb.PollDescriptor** list = LibUsb.GetPollDescriptors(context);
        if (list is not null)
        {
            for (LibUsb.PollDescriptor** one = list; *one is not null; one++) Add((*one)->Number, (*one)->Events);
            LibUsb.FreePollDescriptors(list);
        }

        _watch = loop.Watch(set, LoopEvents.Readable, this);
    }

    /// <summary>libusb_context.</summary>
    internal nint Context => _context;

    /// <summary>Loads and starts libusb; on null <paramref name="error"/> says what is missing.</summary>
    public static LibUsbContext? TryOpen(IEventLoop loop, out string error)
    {
        ArgumentNullException.ThrowIfNull(loop);
        error = Missing;
        if (!IsPresent()) return null;

        // Devices are opened by their nodes: no enumeration, no thread that listens to udev.
        _ = LibUsb.SetOption(0, LibUsb.OptionNoDeviceDiscovery);
        nint context;
        int result = LibUsb.Init(&context);
        if (result != 0)
        {
            error = $"libusb does not start (error {result})";
            return null;
        }

        var set = new Descriptor(Libc.EpollCreate(Libc.EpollCloseOnExec));
        if (set.IsInvalid)
        {
            LibUsb.Exit(context);
            error = $"epoll_create1: {Marshal.GetLastPInvokeErrorMessage()}";
            return null;
        }

        error = "";
        return new LibUsbContext(loop, context, set);
    }

    /// <summary>True when the library can be loaded and is recent enough.</summary>
    public static bool IsPresent() =>
        NativeLibrary.TryLoad(LibUsb.Library, out nint library) && NativeLibrary.TryGetExport(library, "libusb_wrap_sys_device", out _)
        && NativeLibrary.TryGetExport(library, "libusb_set_option", out _);

    /// <inheritdoc/>
    public void Ready(LoopEvents events) => HandleEvents();

    /// <summary>Ends libusb. Every device must be closed before.</summary>
    public void Dispose()
    {
        if (_context == 0) return;
        _watch.Dispose();
        LibUsb.SetPollNotifiers(_context, null, null, 0);
        LibUsb.Exit(_context);
        _context = 0;
        _set.Dispose();
        _self.Free();
    }

    /// <summary>Lets what has ended end, without waiting.</summary>
    internal void HandleEvents()
    {
        if (_context == 0) return;
        LibUsb.TimeValue none = default;
        _ = LibUsb.HandleEvents(_context, &none, null);
    }

    [UnmanagedCallersOnly]
    private static void Added(int descriptor, short events, nint user) => ((LibUsbContext)GCHandle.FromIntPtr(user).Target!).Add(descriptor, events);

    [UnmanagedCallersOnly]
    private static void Removed(int descriptor, nint user)
    {
        var context = (LibUsbContext)GCHandle.FromIntPtr(user).Target!;
        Libc.EpollControlNumber(context._set, Libc.EpollDelete, descriptor, null);
    }

    private void Add(int descriptor, short events)
    {
        // POLLIN and POLLOUT have epoll's values. struct epoll_event is packed on x86-64 alone; the data is not used.
        byte* record = stackalloc byte[16];
        Unsafe.InitBlock(record, 0, 16);
        *(uint*)record = (uint)events & (Libc.EpollIn | Libc.EpollOut);
        Libc.EpollControlNumber(_set, Libc.EpollAdd, descriptor, record);
    }
}
