using System.Threading;
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
    private readonly IEventLoop _loop;
    private readonly ImageFile? _image;
    private readonly ILogger _log;
    private Thread? _closing;
    private volatile bool _closed;

    /// <summary>A device, with its image if it has one; <paramref name="loop"/> is woken when the image has been closed.</summary>
    public OpenedDevice(IEventLoop loop, ILogger log, IUsbDevice device, ImageFile? image, ICompletionSource? completions)
    {
        _loop = loop;
        _log = log;
        Device = device;
        _image = image;
        Completions = completions;
    }

    /// <summary>The device.</summary>
    public IUsbDevice Device { get; }

    /// <summary>To be given to the machine that the device is attached to; null when it has no file.</summary>
    public ICompletionSource? Completions { get; }

    /// <inheritdoc/>
    public long MediumErrors => _image?.Errors ?? 0;

    /// <inheritdoc/>
    public string MediumFault => _image?.Fault ?? "";

    /// <summary>Everything is closed and could be opened again.</summary>
    public bool IsClosed => _closed;

    /// <summary>Closing lost nothing. Known once it is closed.</summary>
    public bool ClosedWell { get; private set; } = true;

    /// <summary>Starts to close, on a thread of its own, since a last flush may take seconds. Called once, after the device was detached.</summary>
    public void Close()
    {
        if (_closing is not null || IsClosed) return;
        if (_image is null)
        {
            _closed = true;
            return;
        }

        _closing = new Thread(() =>
        {
            long errors = _image.Errors;
            _image.Dispose();
            ClosedWell = _image.Errors == errors;
            if (!ClosedWell) RunLog.CloseFailed(_log, Device.Description, _image.Fault);
            _closed = true;
            _loop.Wake();
        })
        { Name = "close image" };
        _closing.Start();
    }

    /// <summary>Closes and waits for it: what the guest was told to be written is durable then.</summary>
    public void CloseAndWait()
    {
        Close();
        _closing?.Join();
    }

    /// <summary>Completions of an image: the image's thread says that some wait, the loop hands them over.</summary>
    internal sealed class ImageCompletions(IEventLoop loop) : ICompletionSource
    {
        private volatile bool _ready;

        /// <summary>The image; set once it is open.</summary>
        public ImageFile? Image { get; set; }

        /// <inheritdoc/>
        public bool IsReady => _ready;

        /// <summary>Called on the image's thread.</summary>
        public void Wake()
        {
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
