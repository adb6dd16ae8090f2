using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline;

/// <summary>
/// A device as the pipeline drives it: emulated (Backends) or physical (libusb). The device accepts any number of
/// requests per endpoint, works on those of one endpoint (one stream) in order, and gives each back exactly once through
/// <see cref="IUsbDeviceHost.Complete"/>, which it may call from inside any of these members or later.
/// </summary>
public interface IUsbDevice : IInspectable, ITimed
{
    /// <summary>Speed at which the device is connected.</summary>
    UsbSpeed Speed { get; }

    /// <summary>One line for logs and trees: what it is and where it comes from ("disk stick.img", "host 1-2.3 Vendor Product").</summary>
    string Description { get; }

    /// <summary>
    /// True for physical devices: the host's own controller paces periodic endpoints, so the pipeline hands requests over
    /// at once. False: the pipeline holds periodic requests until their service interval.
    /// </summary>
    bool PacesItself { get; }

    /// <summary>Called once before anything else, with the way back.</summary>
    void Attached(IUsbDeviceHost host);

    /// <summary>The device was detached: forget every request without completing it (the pipeline completes them with NoDevice) and release what is held.</summary>
    void Detached();

    /// <summary>Bus reset: address 0, not configured, all requests in flight given back as Cancelled. Ends with <see cref="IUsbDeviceHost.ResetDone"/>.</summary>
    void Reset();

    /// <summary>Takes a request. Standard requests that need a call of their own (below) never come this way.</summary>
    void Submit(UsbRequest request);

    /// <summary>
    /// Asks for an in-flight request back: complete it as Cancelled with the exact <see cref="UsbRequest.ActualLength"/>, or
    /// with its own result if that came first; now or later. Order among the rest is kept.
    /// </summary>
    void Cancel(UsbRequest request);

    /// <summary>SET_CONFIGURATION(<paramref name="configuration"/>); complete <paramref name="request"/> when it is done.</summary>
    void SetConfiguration(UsbRequest request, byte configuration);

    /// <summary>SET_INTERFACE; complete <paramref name="request"/> when it is done.</summary>
    void SetInterface(UsbRequest request, byte interfaceNumber, byte alternateSetting);

    /// <summary>CLEAR_FEATURE(ENDPOINT_HALT): halt and data toggle or sequence number; complete <paramref name="request"/> when it is done.</summary>
    void ClearHalt(UsbRequest request, EndpointAddress endpoint);

    /// <summary>The frontend configured (<paramref name="streams"/> &gt; 0, highest usable stream id) or removed (0) streams on a bulk endpoint.</summary>
    void SetStreams(EndpointAddress endpoint, int streams);

    /// <summary>The port entered (true) or left (false) suspend.</summary>
    void SetSuspended(bool suspended);

    /// <summary>
    /// The active configuration with all its interfaces and alternate settings as one block of bytes (USB 2.0 §9.6.3); empty
    /// when not configured. The device is not trusted: the pipeline parses it with every length checked.
    /// </summary>
    System.ReadOnlySpan<byte> ActiveConfigurationDescriptor { get; }
}

/// <summary>The way back from a device to its pipeline.</summary>
public interface IUsbDeviceHost
{
    /// <summary>The instant of the host's current entry into the model.</summary>
    VirtualTime Now { get; }

    /// <summary>The guest memory that requests' segments name.</summary>
    Core.Memory.IGuestMemory Memory { get; }

    /// <summary>Gives a request back with its result; <see cref="UsbRequest.ActualLength"/> must be set before.</summary>
    void Complete(UsbRequest request, RequestStatus status);

    /// <summary>The reset asked for is over.</summary>
    void ResetDone();

    /// <summary>The suspended device signals resume.</summary>
    void RemoteWake();
}
