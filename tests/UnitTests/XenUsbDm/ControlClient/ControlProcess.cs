using System;
using System.IO;
using System.Threading;
using Microsoft.Extensions.Logging.Abstractions;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Native.Linux;
using XenUsbDm.Run;

namespace XenUsbDm.UnitTests.ControlClient;

/// <summary>What <c>run --control</c> composes, over an in-process machine: the real loop, socket, image files and devices.</summary>
internal sealed class ControlProcess : ITimed, IDisposable
{
    private readonly EpollLoop _loop = new();
    private readonly InProcessMachine _machine = new();
    private readonly ControlServer _server;
    private readonly Thread _thread;

    public ControlProcess()
    {
        Folder = Directory.CreateTempSubdirectory("control-").FullName;
        SocketPath = Path.Combine(Folder, "usb.sock");
        UnixListener listener = UnixListener.Open(SocketPath, out string error, ownerOnly: true) ?? throw new InvalidOperationException(error);
        Control = new MachineControl([new ControlledController(_machine.Machine)], _machine, new DeviceSource(_loop, NullLogger.Instance), _loop.Stop)
        {
            Status = MachineStatus.Running,
        };
        Hub = new ControlHub(Control, ControlVersion.Parse("1.2.3"), TimeProvider.System);
        Control.Events = Hub;
        _server = new ControlServer(_loop, listener, Hub);
        _thread = new Thread(() => _loop.Run(this));
        _thread.Start();
    }

    public string Folder { get; }

    public string SocketPath { get; }

    public MachineControl Control { get; }

    public ControlHub Hub { get; }

    public VirtualTime NextDeadline =>
        VirtualTime.Min(_machine.NextDeadline, VirtualTime.Min(Control.NextDeadline, _server.NextDeadline));

    public void Advance(VirtualTime now)
    {
        _machine.Machine.Advance(now);
        Control.Advance(now);
        _server.Advance(now);
    }

    /// <summary>True when the loop ended by itself.</summary>
    public bool WaitForEnd(TimeSpan patience) => _thread.Join(patience);

    /// <summary>An image of whole sectors in the folder.</summary>
    public string Image(string name, int sectors = 64)
    {
        string path = Path.Combine(Folder, name);
        File.WriteAllBytes(path, new byte[sectors * 512]);
        return path;
    }

    public void Dispose()
    {
        if (!Directory.Exists(Folder)) return;
        _loop.Stop();
        _thread.Join();
        _server.Dispose();
        foreach (IOpenedDevice device in Control.DetachAll(_loop.Now)) ((OpenedDevice)device).CloseAndWait();
        _loop.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
