using System.Runtime.InteropServices;

namespace XenUsbDm.Native.LibUsb;

// LibUsb/ gives HostDevice (Backends) its devices. Devices are found in sysfs and opened by their node in /dev, so libusb
// needs neither udev nor a thread of its own; libusb moves the transfers.
//
//   UsbSysfs, UeventSocket   what is plugged in, and what changes
//   TakenDevices, TakenWatch which process has which device, and when it gives it back; outlives a crash
//   PhysicalDevice           one device: taken, open, given back (its blocking parts run on the SlowLane)
//   LibUsbContext            libusb in the loop

/// <summary>
/// libusb-1.0's functions and layouts under their own names (libusb.h, 1.0.24 and later). The library is loaded by the first
/// call, which <see cref="LibUsbContext.TryOpen"/> makes after it has seen that it is there.
/// </summary>
internal static unsafe partial class LibUsb
{
    internal const string Library = "libusb-1.0.so.0";

    internal const int OptionNoDeviceDiscovery = 2; // LIBUSB_OPTION_NO_DEVICE_DISCOVERY

    internal const byte TypeControl = 0;
    internal const byte TypeIsochronous = 1;
    internal const byte TypeBulk = 2;
    internal const byte TypeInterrupt = 3;
    internal const byte TypeBulkStream = 4;

    [LibraryImport(Library, EntryPoint = "libusb_set_option")]
    internal static partial int SetOption(nint context, int option);

    [LibraryImport(Library, EntryPoint = "libusb_init")]
    internal static partial int Init(nint* context);

    [LibraryImport(Library, EntryPoint = "libusb_exit")]
    internal static partial void Exit(nint context);

    [LibraryImport(Library, EntryPoint = "libusb_get_pollfds")]
    internal static partial PollDescriptor** GetPollDescriptors(nint context);

    [LibraryImport(Library, EntryPoint = "libusb_free_pollfds")]
    internal static partial void FreePollDescriptors(PollDescriptor** list);

    [LibraryImport(Library, EntryPoint = "libusb_set_pollfd_notifiers")]
    internal static partial void SetPollNotifiers(nint context, delegate* unmanaged<int, short, nint, void> added, delegate* unmanaged<int, nint, void> removed, nint user);

    [LibraryImport(Library, EntryPoint = "libusb_handle_events_timeout_completed")]
    internal static partial int HandleEvents(nint context, TimeValue* timeout, int* completed);

    [LibraryImport(Library, EntryPoint = "libusb_wrap_sys_device")]
    internal static partial int WrapSystemDevice(nint context, nint descriptor, nint* handle);

    [LibraryImport(Library, EntryPoint = "libusb_close")]
    internal static partial void Close(nint handle);

    [LibraryImport(Library, EntryPoint = "libusb_set_configuration")]
    internal static partial int SetConfiguration(nint handle, int configuration);

    [LibraryImport(Library, EntryPoint = "libusb_claim_interface")]
    internal static partial int ClaimInterface(nint handle, int number);

    [LibraryImport(Library, EntryPoint = "libusb_release_interface")]
    internal static partial int ReleaseInterface(nint handle, int number);

    [LibraryImport(Library, EntryPoint = "libusb_set_interface_alt_setting")]
    internal static partial int SetInterface(nint handle, int number, int alternate);

    [LibraryImport(Library, EntryPoint = "libusb_clear_halt")]
    internal static partial int ClearHalt(nint handle, byte endpoint);

    [LibraryImport(Library, EntryPoint = "libusb_reset_device")]
    internal static partial int ResetDevice(nint handle);

    [LibraryImport(Library, EntryPoint = "libusb_kernel_driver_active")]
    internal static partial int KernelDriverActive(nint handle, int number);

    [LibraryImport(Library, EntryPoint = "libusb_detach_kernel_driver")]
    internal static partial int DetachKernelDriver(nint handle, int number);

    [LibraryImport(Library, EntryPoint = "libusb_attach_kernel_driver")]
    internal static partial int AttachKernelDriver(nint handle, int number);

    [LibraryImport(Library, EntryPoint = "libusb_alloc_streams")]
    internal static partial int AllocateStreams(nint handle, uint count, byte* endpoints, int endpointCount);

    [LibraryImport(Library, EntryPoint = "libusb_free_streams")]
    internal static partial int FreeStreams(nint handle, byte* endpoints, int endpointCount);

    [LibraryImport(Library, EntryPoint = "libusb_dev_mem_alloc")]
    internal static partial nint AllocateDeviceMemory(nint handle, nuint length);

    [LibraryImport(Library, EntryPoint = "libusb_dev_mem_free")]
    internal static partial int FreeDeviceMemory(nint handle, nint buffer, nuint length);

    [LibraryImport(Library, EntryPoint = "libusb_alloc_transfer")]
    internal static partial Transfer* AllocateTransfer(int packets);

    [LibraryImport(Library, EntryPoint = "libusb_free_transfer")]
    internal static partial void FreeTransfer(Transfer* transfer);

    [LibraryImport(Library, EntryPoint = "libusb_submit_transfer")]
    internal static partial int SubmitTransfer(Transfer* transfer);

    [LibraryImport(Library, EntryPoint = "libusb_cancel_transfer")]
    internal static partial int CancelTransfer(Transfer* transfer);

    [LibraryImport(Library, EntryPoint = "libusb_transfer_set_stream_id")]
    internal static partial void SetStreamId(Transfer* transfer, uint stream);

    /// <summary>struct libusb_pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct PollDescriptor
    {
        internal int Number;
        internal short Events;
    }

    /// <summary>struct timeval of 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct TimeValue
    {
        internal long Seconds;
        internal long Microseconds;
    }

    /// <summary>struct libusb_transfer up to its packets.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Transfer
    {
        internal nint Handle;
        internal byte Flags;
        internal byte Endpoint;
        internal byte Type;
        internal uint Timeout;
        internal int Status;
        internal int Length;
        internal int ActualLength;
        internal delegate* unmanaged<Transfer*, void> Callback;
        internal nint User;
        internal byte* Buffer;
        internal int PacketCount;
    }

    /// <summary>struct libusb_iso_packet_descriptor; they follow the transfer at <see cref="PacketsOffset"/>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Packet
    {
        internal uint Length;
        internal uint ActualLength;
        internal int Status;
    }

    /// <summary>Where the packets are: the structure itself is padded, its flexible array begins before the padding.</summary>
    internal const int PacketsOffset = 60;
}
