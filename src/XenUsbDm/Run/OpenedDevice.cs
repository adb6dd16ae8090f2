using System.Threading;
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
    private Thread? _closing;
    private volatile bool _closed;

    /// <summary>A device, with its image if it has one; <paramref name="loop"/> is woken when the image has been closed.</summary>
    public OpenedDevice(IEventLoop loop, IUsbDevice device, ImageFile? image, ICompletionSource? completions)
    {
        _loop = loop;
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

    /// <summary>Everything is closed and could be opened again.</summary>
    public bool IsClosed => _closed;

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
            _image.Dispose();
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
