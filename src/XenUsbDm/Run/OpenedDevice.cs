using Microsoft.Extensions.Logging;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Native.Storage;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Run;

/// <summary>A device with what was opened for it, and the way of its file's completions into the loop.</summary>
internal sealed class OpenedDevice : IOpenedDevice
{
    private readonly ImageFile? _image;
    private bool _closing;

    /// <summary>A device, with its image if it has one.</summary>
    public OpenedDevice(IUsbDevice device, ImageFile? image, ICompletionSource? completions)
    {
        Device = device;
        _image = image;
        Completions = completions;
    }

    /// <summary>The device.</summary>
    public IUsbDevice Device { get; }

    /// <summary>To be given to the machine that the device is attached to; null when it has no file.</summary>
    public ICompletionSource? Completions { get; }

    /// <inheritdoc/>
    public long Errors => _image?.Errors ?? 0;

    /// <inheritdoc/>
    public string Fault => _image?.Fault ?? "";

    /// <summary>Everything is closed and could be opened again.</summary>
    public bool IsClosed => _closing && _image is not { IsClosed: false };

    /// <summary>Closing lost nothing. Known once it is closed.</summary>
    public bool ClosedWell => _image is not { ClosedWell: false };

    /// <summary>Starts to close; the image's own thread does it, since a last flush may take seconds, and wakes the loop then. Called after the device was detached.</summary>
    public void Close()
    {
        _closing = true;
        _image?.Close();
    }

    /// <summary>Closes and waits for it: what the guest was told to be written is durable then.</summary>
    public void CloseAndWait()
    {
        _closing = true;
        _image?.Dispose();
    }

    /// <summary>Completions of an image: the image's thread says that some wait, the loop hands them over.</summary>
    internal sealed class ImageCompletions(IEventLoop loop, ILogger log) : ICompletionSource
    {
        private volatile bool _ready;

        /// <summary>The image; set once it is open.</summary>
        public ImageFile? Image { get; set; }

        /// <inheritdoc/>
        public bool IsReady => _ready;

        /// <summary>Called on the image's thread.</summary>
        public void Wake()
        {
            if (Image is { IsClosed: true, ClosedWell: false } image) RunLog.CloseFailed(log, image.Description, image.Fault);
            _ready = true;
            loop.Wake();
        }

        /// <inheritdoc/>
        public void Deliver()
        {
            // Cleared first: what ends from now on says so again.
            _ready = false;
            Image?.Drain();
        }
    }
}
