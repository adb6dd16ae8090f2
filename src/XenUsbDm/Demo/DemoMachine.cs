using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Threading;
using Microsoft.Extensions.Logging;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Native.Storage;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Demo;

/// <summary>The machine of the demo: a controller with a stick, a keyboard and gadget zero, and a guest that drives it.</summary>
internal sealed class DemoMachine
{
    private const int StickConnector = 1;
    private const int KeyboardConnector = 2;
    private const int ZeroConnector = 3;

    // Ctrl-C is looked at this often while the image file works.
    private static readonly TimeSpan StopCheck = TimeSpan.FromMilliseconds(100);

    private readonly InProcessMachine _machine;
    private readonly List<UsbDeviceHandle> _devices = [];

    /// <summary>Powers the machine on with the stick on <paramref name="image"/>; the caller keeps the image and disposes it last.</summary>
    public DemoMachine(ImageFile image, UsbSpeed stickSpeed, ILogger logger, CancellationToken stop)
    {
        _machine = new InProcessMachine(new InProcessOptions { Logger = logger })
        {
            Pump = () => Pump(image, stop),
        };
        _machine.Attach(StickConnector, new DiskDevice(image, new DiskOptions { Speed = stickSpeed }));
        _machine.Attach(KeyboardConnector, new BootKeyboard(UsbSpeed.Full));
        _machine.Attach(ZeroConnector, new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.High }));
        Driver = new XhciDriver(new InProcessPlatform(_machine));
    }

    /// <summary>The guest's controller driver.</summary>
    public XhciDriver Driver { get; }

    /// <summary>Starts the controller, finds and configures every device, and opens the stick.</summary>
    public MassStorageClient Enumerate()
    {
        Driver.Start();
        Driver.Expect(() => Driver.ConnectedPorts().Count == ZeroConnector, "three devices to connect");
        foreach (int port in Driver.ConnectedPorts()) _devices.Add(UsbDeviceHandle.Enumerate(Driver, port));
        UsbDeviceHandle stick = _devices.First(device => Interfaces(device).Any(one => one.Class == MassStorageClass));
        var client = new MassStorageClient(stick);
        client.Inquiry();
        client.TestUnitReady();
        client.ReadCapacity();
        return client;
    }

    /// <summary>The buses as the guest enumerated them.</summary>
    public List<TreeBus> Tree()
    {
        var buses = new List<TreeBus>();
        foreach (GuestProtocol protocol in Driver.Protocols)
        {
            var devices = new List<TreeDevice>();
            foreach (UsbDeviceHandle device in _devices)
            {
                int port = device.Port - protocol.FirstPort + 1;
                if (port < 1 || port > protocol.Count) continue;
                List<TreeInterface> interfaces = Interfaces(device);
                string driver = interfaces.Count > 0 && interfaces[0].Class == MassStorageClass ? "mass-storage" : "[none]";
                devices.Add(new TreeDevice(port, devices.Count + 2, device.Speed, interfaces, driver));
            }

            buses.Add(new TreeBus(protocol.Count, protocol.Major >= 3 ? UsbSpeed.Super : UsbSpeed.High, devices));
        }

        return buses;
    }

    /// <summary>Transfers that the pipeline has completed for the stick.</summary>
    public long StickTransfers => Counter(Fields(), $"/pipeline/port/{StickConnector}/completed");

    /// <summary>The counters of every port with a device: one line each, zero counters left out.</summary>
    public List<string> Counters()
    {
        string[] names =
        [
            "submitted", "completed", "unlinked", "outstanding", "high-water", "queue-full", "stalls", "transaction-errors", "babbles",
            "no-device", "memory-faults", "bytes-in", "bytes-out",
        ];
        Dictionary<string, string> fields = Fields();
        var lines = new List<string>();
        for (int connector = StickConnector; connector <= ZeroConnector; connector++)
        {
            string port = $"/pipeline/port/{connector}";
            IEnumerable<string> counters = names
                .Select(name => (name, Value: Counter(fields, $"{port}/{name}")))
                .Where(counter => counter.Value != 0)
                .Select(counter => string.Create(CultureInfo.InvariantCulture, $"{counter.name} {counter.Value}"));
            lines.Add($"port {connector}  {fields.GetValueOrDefault($"{port}/attached")}: {string.Join(", ", counters)}");
        }

        return lines;
    }

    /// <summary>Unplugs the stick, so that nothing of the machine uses the image any more.</summary>
    public void PowerOff() => _machine.Detach(StickConnector);

    private const byte MassStorageClass = 8;

    private static List<TreeInterface> Interfaces(UsbDeviceHandle device) => DeviceTree.Interfaces(device.ConfigurationDescriptor);

    private static bool Pump(ImageFile image, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        if (image.Drain() > 0) return true;
        if (image.InFlight == 0) return false;
        image.Ready.WaitOne(StopCheck);
        return true;
    }

    private static long Counter(Dictionary<string, string> fields, string path) =>
        fields.TryGetValue(path, out string? text) && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : 0;

    private Dictionary<string, string> Fields()
    {
        var writer = new InspectWriter();
        _machine.Inspect(writer);
        var fields = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string path, string value) in writer.Fields) fields[path] = value;
        return fields;
    }
}
