namespace XenUsbDm.Backends.LibUsb;

/// <summary>Every cap of the physical backend with its reason.</summary>
public static class HostDeviceLimits
{
    /// <summary>
    /// Bytes that one device has in flight: the kernel gives all of usbfs 16 MiB by default (usbcore.usbfs_memory_mb), and
    /// two devices at full depth must fit. The next requests wait in this process.
    /// </summary>
    public const int InFlightBytes = 8 << 20;

    /// <summary>Transfers in flight of one endpoint; the frontends hand over at most 128, or one ring of packets.</summary>
    public const int InFlightPerEndpoint = 256;

    /// <summary>
    /// Data bytes of one control transfer: libusb refuses more (MAX_CTRL_BUFFER_LENGTH in its linux_usbfs.h), though usbfs's
    /// asynchronous requests (USBDEVFS_SUBMITURB) take what wLength says; only its synchronous ones end at a page. Longer IN
    /// requests are cut to it, longer OUT requests fail.
    /// </summary>
    public const int ControlBytes = 4096;

    /// <summary>Bytes of the setup packet in front of a control transfer's data.</summary>
    public const int SetupBytes = 8;

    /// <summary>How long to wait for memory when no transfer is in flight whose end would free some: 10 ms.</summary>
    public const ulong RetryNanoseconds = 10_000_000;
}
