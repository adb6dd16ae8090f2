using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Hosts.State;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.EndToEnd;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>A Transfer Event as a test expects it.</summary>
internal readonly record struct Seen(GuestCompletion Code, ulong Pointer, int Length, bool IsEventData = false);

/// <summary>
/// A configured <see cref="FakeDevice"/> behind a controller, one level below the guest's pipes: tests put TRBs on rings,
/// ring doorbells, complete the device's requests and look at every event. What one step does happens in no time.
/// </summary>
internal sealed class TransferBench : IDisposable
{
    public const byte In = 0x81;
    public const byte Out = 0x02;
    public const int InDci = 3;
    public const int OutDci = 4;
    private readonly MovablePlatform _platform;
    private readonly byte[] _configuration;
    private readonly bool _pacesItself;

    public TransferBench(
        UsbSpeed speed = UsbSpeed.High,
        TransferKind kind = TransferKind.Bulk,
        int packet = 0,
        byte interval = 1,
        int bytesPerInterval = 0,
        int ringTrbs = 256,
        XhciDriverOptions? options = null,
        XhciOptions? controller = null,
        bool pacesItself = false)
    {
        _pacesItself = pacesItself;
        Packet = packet > 0 ? packet : speed switch { UsbSpeed.Super => 1024, UsbSpeed.High => 512, UsbSpeed.Full => 64, _ => 8 };
        _configuration = Describe(speed, kind, interval, bytesPerInterval > 0 ? bytesPerInterval : Packet);
        _platform = new MovablePlatform(new InProcessMachine(new InProcessOptions { Xhci = controller ?? new XhciOptions() }));
        Driver = new XhciDriver(_platform, (options ?? new XhciDriverOptions()) with { RingSegmentTrbs = ringTrbs });
        Driver.Start();
        Device = MakeDevice(speed);
        Device.OnSubmit = Answer;
        Machine.Attach(1, Device);
        int port = speed == UsbSpeed.Super ? 5 : 1;
        Driver.Expect(() => (Driver.ReadPort(port) & XhciDriver.PortConnected) != 0, "the connection");
        Handle = UsbDeviceHandle.Enumerate(Driver, port);
        Device.OnSubmit = null;
        Device.Calls.Clear();
        for (int dci = 1; dci < 32; dci++) Driver.Register(Handle.Slot, dci, null);
        Driver.EventLog = Log;
    }

    public InProcessMachine Machine => _platform.Machine;

    public XhciDriver Driver { get; }

    public FakeDevice Device { get; private set; }

    public UsbDeviceHandle Handle { get; }

    public int Slot => Handle.Slot;

    public int Packet { get; }

    /// <summary>Every event since the bench was made.</summary>
    public List<GuestEvent> Log { get; } = [];

    /// <summary>Accesses outside mapped memory that the test itself provokes.</summary>
    public long ExpectedRefusals { get; set; }

    /// <summary>The stop at the end for tests that end with a controller in its error state, or that make accesses on purpose.</summary>
    public void Dispose()
    {
        if (System.Runtime.InteropServices.Marshal.GetExceptionPointers() != 0) return;
        Assert.Equal(ExpectedRefusals, Machine.Memory.RefusedAccesses);
        Assert.Equal(0, Machine.BoundHits);
        Assert.Equal(0, Machine.Controller.Faults);
    }

    public GuestRing Ring(int dci) => dci == 1 ? Handle.Control.Ring : Handle.Pipe((byte)((dci >> 1) | ((dci & 1) << 7))).Ring;

    /// <summary>Puts TRBs on a ring; the address of the last one.</summary>
    public ulong Put(int dci, params ReadOnlySpan<GuestTrb> trbs)
    {
        ulong last = 0;
        foreach (GuestTrb trb in trbs) last = Ring(dci).Enqueue(trb);
        return last;
    }

    /// <summary>Puts TRBs on a ring, rings its doorbell and lets everything that is due happen; the addresses of the TRBs.</summary>
    public ulong[] Go(int dci, params ReadOnlySpan<GuestTrb> trbs)
    {
        var at = new ulong[trbs.Length];
        for (int i = 0; i < trbs.Length; i++) at[i] = Ring(dci).Enqueue(trbs[i]);
        Doorbell(dci);
        return at;
    }

    public void Doorbell(int dci, int stream = 0)
    {
        Driver.RingDoorbell(Slot, dci, stream);
        Machine.Step();
    }

    public GuestBuffer Buffer(int length) => Driver.AllocateBuffer(length);

    public byte[] Bytes(ulong address, int length) => Driver.Platform.Memory(address, length).ToArray();

    /// <summary>Gives the device's oldest request back and lets its event come.</summary>
    public void Complete(RequestStatus status = RequestStatus.Success, int? actual = null)
    {
        UsbRequest request = Device.Held[0];
        if (request.Kind == TransferKind.Isochronous)
            request.Packets[0] = request.Packets[0] with { ActualLength = actual ?? request.Length, Status = status };
        Device.Complete(request, request.Kind == TransferKind.Isochronous ? RequestStatus.Success : status, actual);
        Machine.Step();
    }

    /// <summary>The Transfer Events that came since the last call, all of them of <paramref name="dci"/>.</summary>
    public Seen[] Take(int dci)
    {
        Machine.Step();
        Driver.ProcessEvents();
        var seen = new List<Seen>();
        while (Driver.TryNextEvent(out GuestEvent e))
        {
            Assert.Equal((GuestTrbType.TransferEvent, Slot, dci), (e.Type, e.Slot, e.Dci));
            seen.Add(new Seen(e.Code, e.Pointer, e.Residual, e.IsEventData));
        }

        return [.. seen];
    }

    /// <summary>Exactly these Transfer Events came since the last look, in this order.</summary>
    public void Expect(int dci, params ReadOnlySpan<Seen> expected) => Assert.Equal(expected.ToArray(), Take(dci));

    public GuestContext Context(int dci) => Handle.Context.Endpoint(dci);

    public GuestEndpointState State(int dci) => Context(dci).EndpointState;

    /// <summary>TR Dequeue Pointer of the output context, without the cycle state.</summary>
    public ulong Dequeue(int dci) => Context(dci).DequeuePointer & ~0xfUL;

    /// <summary>Runs a command to its end.</summary>
    public GuestCompletion Stop(int dci) => Driver.StopEndpoint(Slot, dci).Code;

    public GuestCompletion Reset(int dci, bool preserve = false) => Driver.ResetEndpoint(Slot, dci, preserve).Code;

    public GuestCompletion SetDequeue(int dci, ulong pointer, int stream = 0) =>
        Driver.SetTrDequeue(Slot, dci, pointer | 1, stream, stream == 0 ? 0 : 1).Code;

    /// <summary>The machine's tree.</summary>
    public string Tree() => InspectWriter.Dump(Machine);

    /// <summary>Lengths of what the device holds.</summary>
    public int[] Held => [.. Device.Held.Select(r => r.Length)];

    /// <summary>
    /// Saves the machine, copies memory to a new one with a new device, restores there and goes on with that one. The tree
    /// is as before. The device has its requests again, in order.
    /// </summary>
    public void Move(Action<FakeDevice>? prepare = null)
    {
        MachineStateV1 state = Machine.TryCapture()!;
        string before = InspectWriter.Dump(Machine);
        byte[] file = StateFile.Write(state);
        Assert.True(StateFile.TryRead(file, out MachineStateV1? read, out string readError), readError);
        var target = new InProcessMachine(Machine.Options);
        Machine.Memory.Guest(default, Machine.Memory.LowBytes).CopyTo(target.Memory.Guest(default, target.Memory.LowBytes));
        FakeDevice old = Device;
        Device = MakeDevice(old.Speed);
        Device.CancelsAtOnce = old.CancelsAtOnce;
        Device.SetConfigured(true);
        prepare?.Invoke(Device);
        target.Attach(1, Device);
        Assert.True(target.TryRestore(read!, out string error), error);
        Assert.Equal(before, InspectWriter.Dump(target));
        _platform.Machine = target;
    }

    private FakeDevice MakeDevice(UsbSpeed speed) => new(speed) { Configuration = _configuration, PacesItself = _pacesItself };

    private byte[] Describe(UsbSpeed speed, TransferKind kind, byte interval, int bytesPerInterval)
    {
        var builder = new DescriptorBuilder();
        builder.Interface(0);
        foreach (byte address in new[] { In, Out })
        {
            builder.Endpoint(address, kind, Packet, interval);
            int burst = kind == TransferKind.Bulk ? 0 : ((bytesPerInterval + Packet - 1) / Packet) - 1;
            if (speed == UsbSpeed.Super) builder.Companion((byte)burst, (byte)(kind == TransferKind.Bulk ? 8 : 0), bytesPerInterval);
        }

        return builder.Build();
    }

    private void Answer(FakeDevice fake, UsbRequest request)
    {
        if (request.Kind != TransferKind.Control) return;
        bool super = fake.Speed == UsbSpeed.Super;
        byte[] device = [18, 1, 0, (byte)(super ? 3 : 2), 0xff, 0, 0, (byte)(super ? 9 : fake.Speed == UsbSpeed.Low ? 8 : 64), 0x34, 0x12, 0x78, 0x56, 0, 1, 0, 0, 0, 1];
        byte[] answer = request.Setup.Value == 0x0100 ? device : _configuration;
        fake.Fill(request, answer.AsSpan(0, Math.Min(answer.Length, request.Length)));
        fake.Complete(request, RequestStatus.Success, request.ActualLength);
    }
}
