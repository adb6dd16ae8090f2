using System;
using System.Diagnostics;
using System.IO;
using Microsoft.Extensions.Logging;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Native.Linux;
using XenUsbDm.Run;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Demo;

/// <summary>
/// <c>demo --device</c>: the guest in this process enumerates a physical mass storage device through the whole road and
/// reads all of it. Nothing is written to it. The device is taken from the host for that time and given back.
/// </summary>
internal sealed class DeviceDemo : ITimed
{
    private const int Connector = 1;

    // Ctrl-C is looked at this often while the device works.
    private const ulong StopCheckNanoseconds = 100_000_000;

    private readonly EpollLoop _loop;
    private readonly PhysicalDevice _physical;
    private readonly InProcessMachine _machine;
    private readonly Surroundings _surroundings;

    private DeviceDemo(EpollLoop loop, IOpenedDevice opened, PhysicalDevice physical, ILogger logger, Surroundings surroundings)
    {
        _loop = loop;
        _physical = physical;
        _surroundings = surroundings;
        _machine = new InProcessMachine(new InProcessOptions { Logger = logger }) { Pump = Pump };
        _machine.Attach(Connector, opened.Device);
        _machine.Machine.AddCompletions(opened.Completions!);
    }

    /// <inheritdoc/>
    public VirtualTime NextDeadline => _loop.Now.Plus(StopCheckNanoseconds);

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
    }

    /// <summary>Runs it; returns the exit status.</summary>
    public static int Invoke(DeviceSpec spec, Surroundings surroundings)
    {
        using ILoggerFactory logs = Logs.Open(LogLevel.Warning);
        using var loop = new EpollLoop();
        ILogger log = logs.CreateLogger("demo");
        using var devices = new HostDevices(loop, "demo", log);
        if (new DeviceSource(loop, log, devices).OpenRule(spec, out string error) is not { } rule) return surroundings.Fail(ExitStatus.Environment, $"demo: {error}");
        devices.Settle();
        if (!rule.TryTake(out IOpenedDevice? opened))
            return surroundings.Fail(ExitStatus.Environment, $"demo: {(rule.Refused.Length > 0 ? rule.Refused : $"no device {rule.Text} is plugged in; xen-usb-dm list shows what is")}");
        ProgressLine progress = ProgressLine.OnWallClock(surroundings.Output, surroundings.OutputIsTerminal);
        var demo = new DeviceDemo(loop, opened, ((OpenedHostDevice)opened).Physical, log, surroundings);
        try
        {
            return demo.Run(opened, progress);
        }
        catch (OperationCanceledException)
        {
            progress.End();
            return surroundings.Fail(ExitStatus.Failed, "demo: interrupted; the device is given back");
        }
        catch (Exception failure) when (failure is GuestDriverException or GuestTimeoutException)
        {
            progress.End();
            string why = opened.IsGone ? $"{opened.Device.Description} was unplugged" : $"the guest's driver gave up: {failure.Message.Split('\n')[0]}";
            return surroundings.Fail(ExitStatus.Failed, $"demo: {why}");
        }
        finally
        {
            demo._machine.Detach(Connector);
        }
    }

    private int Run(IOpenedDevice opened, ProgressLine progress)
    {
        TextWriter output = _surroundings.Output;
        output.WriteLine($"device: {opened.Device.Description}");
        var driver = new XhciDriver(new InProcessPlatform(_machine));
        driver.Start();
        driver.Expect(() => driver.ConnectedPorts().Count == 1, "the device to connect");
        UsbDeviceHandle device = UsbDeviceHandle.Enumerate(driver, driver.ConnectedPorts()[0]);
        var stick = new MassStorageClient(device);
        stick.Inquiry();
        for (int i = 0; i < 10 && !stick.TestUnitReady(); i++) stick.RequestSense();
        stick.ReadCapacity();
        long length = (long)stick.Blocks * stick.BlockSize;
        int chunk = DemoRun.ChunkBytes / stick.BlockSize * stick.BlockSize;
        if (chunk == 0) return _surroundings.Fail(ExitStatus.Failed, $"demo: the device has blocks of {stick.BlockSize} bytes; up to {DemoRun.ChunkBytes} can be read");
        GuestBuffer buffer = driver.AllocateBuffer(DemoRun.ChunkBytes);
        var hash = new Sha256();
        var time = new Stopwatch();
        long chunks = 0;
        progress.Start("read");
        for (long offset = 0; offset < length; offset += chunk)
        {
            _surroundings.Stop.ThrowIfCancellationRequested();
            int bytes = (int)Math.Min(chunk, length - offset);
            time.Start();
            ScsiResult result = stick.Read((ulong)(offset / stick.BlockSize), bytes / stick.BlockSize, buffer.Address);
            time.Stop();
            if (!result.Ok || result.Actual != bytes)
            {
                progress.End();
                return _surroundings.Fail(ExitStatus.Failed, $"demo: the device failed to read at byte {offset}{(opened.IsGone ? ": it is gone" : "")}");
            }

            hash.Append(driver.Platform.Memory(buffer.Address, bytes));
            chunks++;
            progress.Report(offset + bytes, length);
        }

        progress.End();
        output.WriteLine(new StepFigures("read", length, chunks, time.Elapsed, $"SHA-256 {hash.Finish()}"));
        foreach (string line in InspectWriter.Dump(opened.Device).Split('\n'))
        {
            if (line.StartsWith("/transfers", StringComparison.Ordinal) || line.StartsWith("/largest", StringComparison.Ordinal) || line.Contains("device-memory", StringComparison.Ordinal))
                output.WriteLine(line.TrimStart('/'));
        }

        output.WriteLine("demo passed: the guest read the whole device");
        return ExitStatus.Done;
    }

    // Real time passes while the device works; virtual time does not.
    private bool Pump()
    {
        _surroundings.Stop.ThrowIfCancellationRequested();
        if (!_physical.IsBusy) return false;
        if (!_physical.HasEnded) _loop.Turn(this, mayWait: true);
        return true;
    }
}
