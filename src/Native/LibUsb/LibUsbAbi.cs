using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>Every constant and every structure of <see cref="LibUsb"/>, and the values of libusb that Backends has under names of its own.</summary>
internal static unsafe class LibUsbAbi
{
    /// <summary>The comparisons with libusb.h.</summary>
    public static IReadOnlyList<AbiValue> Values { get; } =
    [
        new("OptionNoDeviceDiscovery", LibUsb.OptionNoDeviceDiscovery, "LIBUSB_OPTION_NO_DEVICE_DISCOVERY"),
        new("TypeControl", LibUsb.TypeControl, "LIBUSB_TRANSFER_TYPE_CONTROL"),
        new("TypeIsochronous", LibUsb.TypeIsochronous, "LIBUSB_TRANSFER_TYPE_ISOCHRONOUS"),
        new("TypeBulk", LibUsb.TypeBulk, "LIBUSB_TRANSFER_TYPE_BULK"),
        new("TypeInterrupt", LibUsb.TypeInterrupt, "LIBUSB_TRANSFER_TYPE_INTERRUPT"),
        new("TypeBulkStream", LibUsb.TypeBulkStream, "LIBUSB_TRANSFER_TYPE_BULK_STREAM"),
        new("PacketsOffset", LibUsb.PacketsOffset, "offsetof(struct libusb_transfer, iso_packet_desc)"),
        new("Transfer", sizeof(LibUsb.Transfer), "sizeof(struct libusb_transfer)"),
        .. Fields<LibUsb.Transfer>("struct libusb_transfer",
            ("Handle", "dev_handle"), ("Flags", "flags"), ("Endpoint", "endpoint"), ("Type", "type"), ("Timeout", "timeout"), ("Status", "status"),
            ("Length", "length"), ("ActualLength", "actual_length"), ("Callback", "callback"), ("User", "user_data"), ("Buffer", "buffer"),
            ("PacketCount", "num_iso_packets")),
        new("Packet", sizeof(LibUsb.Packet), "sizeof(struct libusb_iso_packet_descriptor)"),
        .. Fields<LibUsb.Packet>("struct libusb_iso_packet_descriptor", ("Length", "length"), ("ActualLength", "actual_length"), ("Status", "status")),
        new("PollDescriptor", sizeof(LibUsb.PollDescriptor), "sizeof(struct libusb_pollfd)"),
        .. Fields<LibUsb.PollDescriptor>("struct libusb_pollfd", ("Number", "fd"), ("Events", "events")),
        new("TimeValue", sizeof(LibUsb.TimeValue), "sizeof(struct timeval)"),
        .. Fields<LibUsb.TimeValue>("struct timeval", ("Seconds", "tv_sec"), ("Microseconds", "tv_usec")),
        new("EpollIn", Libc.EpollIn, "POLLIN"),
        new("EpollOut", Libc.EpollOut, "POLLOUT"),

        // libusb's errors are negative.
        new("HostError.None", -(int)HostError.None, "LIBUSB_SUCCESS"),
        new("HostError.Io", -(int)HostError.Io, "LIBUSB_ERROR_IO"),
        new("HostError.InvalidParameter", -(int)HostError.InvalidParameter, "LIBUSB_ERROR_INVALID_PARAM"),
        new("HostError.Access", -(int)HostError.Access, "LIBUSB_ERROR_ACCESS"),
        new("HostError.NoDevice", -(int)HostError.NoDevice, "LIBUSB_ERROR_NO_DEVICE"),
        new("HostError.NotFound", -(int)HostError.NotFound, "LIBUSB_ERROR_NOT_FOUND"),
        new("HostError.Busy", -(int)HostError.Busy, "LIBUSB_ERROR_BUSY"),
        new("HostError.Timeout", -(int)HostError.Timeout, "LIBUSB_ERROR_TIMEOUT"),
        new("HostError.Overflow", -(int)HostError.Overflow, "LIBUSB_ERROR_OVERFLOW"),
        new("HostError.Pipe", -(int)HostError.Pipe, "LIBUSB_ERROR_PIPE"),
        new("HostError.Interrupted", -(int)HostError.Interrupted, "LIBUSB_ERROR_INTERRUPTED"),
        new("HostError.NoMemory", -(int)HostError.NoMemory, "LIBUSB_ERROR_NO_MEM"),
        new("HostError.NotSupported", -(int)HostError.NotSupported, "LIBUSB_ERROR_NOT_SUPPORTED"),
        new("HostError.Other", -(int)HostError.Other, "LIBUSB_ERROR_OTHER"),
        new("HostTransferStatus.Completed", (int)HostTransferStatus.Completed, "LIBUSB_TRANSFER_COMPLETED"),
        new("HostTransferStatus.Error", (int)HostTransferStatus.Error, "LIBUSB_TRANSFER_ERROR"),
        new("HostTransferStatus.TimedOut", (int)HostTransferStatus.TimedOut, "LIBUSB_TRANSFER_TIMED_OUT"),
        new("HostTransferStatus.Cancelled", (int)HostTransferStatus.Cancelled, "LIBUSB_TRANSFER_CANCELLED"),
        new("HostTransferStatus.Stall", (int)HostTransferStatus.Stall, "LIBUSB_TRANSFER_STALL"),
        new("HostTransferStatus.NoDevice", (int)HostTransferStatus.NoDevice, "LIBUSB_TRANSFER_NO_DEVICE"),
        new("HostTransferStatus.Overflow", (int)HostTransferStatus.Overflow, "LIBUSB_TRANSFER_OVERFLOW"),

        // What the host's kernel keeps of a device is read as bytes; libusb.h has the same numbers from the specification.
        new("SetupBytes", HostDeviceLimits.SetupBytes, "LIBUSB_CONTROL_SETUP_SIZE"),
        new("DeviceSize", HostDescriptors.DeviceSize, "LIBUSB_DT_DEVICE_SIZE"),
        new("ConfigurationSize", HostDescriptors.HeaderSize, "LIBUSB_DT_CONFIG_SIZE"),
        new("ConfigurationTotal", HostDescriptors.TotalOffset, "offsetof(struct libusb_config_descriptor, wTotalLength)"),
        new("ConfigurationValue", HostDescriptors.ValueOffset, "offsetof(struct libusb_config_descriptor, bConfigurationValue)"),
        new("DescriptorType.Device", (int)DescriptorType.Device, "LIBUSB_DT_DEVICE"),
        new("DescriptorType.Configuration", (int)DescriptorType.Configuration, "LIBUSB_DT_CONFIG"),
        new("DescriptorType.Interface", (int)DescriptorType.Interface, "LIBUSB_DT_INTERFACE"),
        new("DescriptorType.Endpoint", (int)DescriptorType.Endpoint, "LIBUSB_DT_ENDPOINT"),
        new("HubClass", HostDeviceFacts.HubClass, "LIBUSB_CLASS_HUB"),
    ];

    private static List<AbiValue> Fields<T>(string structure, params (string Name, string InC)[] fields)
        where T : unmanaged
    {
        var values = new List<AbiValue>();
        foreach ((string name, string inC) in fields)
            values.Add(new($"{typeof(T).Name}.{name}", Marshal.OffsetOf<T>(name), $"offsetof({structure}, {inC})"));
        return values;
    }
}
