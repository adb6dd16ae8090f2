using System;
using System.Threading;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.CommandLine;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.Machine;
using XenUsbDm.Native.Storage;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Run;

/// <summary>Makes devices from DEVICE as on the command line. <paramref name="wake"/> makes the loop go round; it is called on other threads.</summary>
internal sealed class DeviceOpener(Action wake) : IDeviceSource
{
    /// <inheritdoc/>
    public IOpenedDevice? Open(string device, out string error) =>
        DeviceSpec.TryParse(device, out DeviceSpec? spec, out error) ? Open(spec!, out error) : null;

    /// <summary>Opens a device whose description was parsed before.</summary>
    public IOpenedDevice? Open(DeviceSpec spec, out string error)
    {
        error = "";
        switch (spec)
        {
            case DiskSpec disk:
                return OpenedImage.Open(disk, wake, out error);
            case ZeroSpec zero:
                return new OpenedEmulation(new GadgetZero(new GadgetZeroOptions { Speed = zero.Speed }));
            case KeyboardSpec keyboard:
                return new OpenedEmulation(new BootKeyboard(keyboard.Speed));
            default:
                error = "physical devices (host:...) are not in this build; get a build that lists them in its README";
                return null;
        }
    }

    // A device of which nothing has to be closed.
    private sealed class OpenedEmulation(IUsbDevice device) : IOpenedDevice
    {
        public IUsbDevice Device => device;

        public ICompletionSource? Completions => null;

        public long MediumErrors => 0;

        public bool IsClosed { get; private set; }

        public void Close() => IsClosed = true;
    }

    // A disk with its image. The image's thread says that completions wait; the loop takes them.
    private sealed class OpenedImage : IOpenedDevice, ICompletionSource
    {
        private readonly Action _wake;
        private ImageFile? _file;
        private volatile bool _ready;
        private volatile bool _closed;

        private OpenedImage(Action wake) => _wake = wake;

        public IUsbDevice Device { get; private set; } = null!;

        public ICompletionSource? Completions => this;

        public long MediumErrors => _file?.Errors ?? 0;

        public bool IsClosed => _closed;

        public bool IsReady => _ready;

        public static OpenedImage? Open(DiskSpec disk, Action wake, out string error)
        {
            var opened = new OpenedImage(wake);
            ImageOpenResult image = ImageFile.Open(disk.Path, disk.ReadOnly, opened.Wake);
            error = image.Message;
            if (image.File is null) return null;
            opened._file = image.File;
            opened.Device = new DiskDevice(image.File, new DiskOptions { Speed = disk.Speed, Serial = DiskOptions.SerialFromName(disk.Path) });
            return opened;
        }

        public void Deliver()
        {
            _ready = false;
            _file!.Drain();
        }

        // The last writes may take as long as the disk below: the loop and its guest do not wait for them, but the process
        // does when it ends.
        public void Close()
        {
            var thread = new Thread(() =>
            {
                _file!.Dispose();
                _closed = true;
                _wake();
            })
            {
                IsBackground = false,
                Name = "close image",
            };
            thread.Start();
        }

        private void Wake()
        {
            _ready = true;
            _wake();
        }
    }
}
