using System;
using System.Runtime.InteropServices;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.EndToEnd;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>
/// A hostile guest with one puppet device on connector 1, and the oracles that every attack ends with: no exception, bounded
/// work, no access outside guest memory that the attack did not ask for, nothing kept, and after HCRST the controller works.
/// </summary>
internal sealed class Arena : IDisposable
{
    public const byte BulkIn = 0x81;
    public const byte BulkOut = 0x02;
    public const byte InterruptIn = 0x83;
    public const byte IsochIn = 0x84;
    public const byte IsochOut = 0x05;

    // Accesses to guest memory of one Advance: the TRB budget, with room for events and contexts.
    private const long AccessesPerAdvance = 40_000;

    // Rounds of a whole attack: far above what any needs, far below a loop.
    private const long RoundLimit = 50_000;

    public Arena(UsbSpeed speed = UsbSpeed.High, XhciDriverOptions? options = null)
    {
        Rig = new Rig(options);
        Device = NewDevice(speed);
        Handle = Rig.Plug(Device);
        Hostile = Driver.Memory.Allocate(0x10000).Address;
    }

    public Rig Rig { get; }

    public FakeDevice Device { get; }

    public UsbDeviceHandle Handle { get; }

    public XhciDriver Driver => Rig.Driver;

    public InProcessMachine Machine => Rig.Machine;

    /// <summary>64 KiB of zeroed guest memory to build hostile structures in.</summary>
    public ulong Hostile { get; }

    /// <summary>The attack names memory that is not there.</summary>
    public bool AllowsRefusals { get; set; }

    public uint Status => Driver.ReadOperational(XhciDriver.UsbStatus);

    /// <summary>A device with an endpoint of every kind that answers descriptor requests and holds everything else.</summary>
    public static FakeDevice NewDevice(UsbSpeed speed)
    {
        bool super = speed == UsbSpeed.Super;
        int bulk = super ? 1024 : speed == UsbSpeed.High ? 512 : 64;
        int isoch = speed is UsbSpeed.Full ? 256 : 1024;
        var builder = new DescriptorBuilder();
        builder.Interface(0);
        foreach ((byte address, TransferKind kind, int packet) in new[]
        {
            (BulkIn, TransferKind.Bulk, bulk), (BulkOut, TransferKind.Bulk, bulk), (InterruptIn, TransferKind.Interrupt, 64),
            (IsochIn, TransferKind.Isochronous, isoch), (IsochOut, TransferKind.Isochronous, isoch),
        })
        {
            builder.Endpoint(address, kind, packet, (byte)(kind == TransferKind.Bulk ? 0 : speed == UsbSpeed.Full ? 1 : 4));
            if (super) builder.Companion(0, (byte)(kind == TransferKind.Bulk ? 8 : 0), kind == TransferKind.Bulk ? 0 : packet);
        }

        byte[] configuration = builder.Build();
        byte[] descriptor = [18, 1, 0, (byte)(super ? 3 : 2), 0xff, 0, 0, (byte)(super ? 9 : 64), 0x34, 0x12, 0x78, 0x56, 0, 1, 0, 0, 0, 1];
        return new FakeDevice(speed)
        {
            Configuration = configuration,
            KeepCalls = false,
            OnSubmit = (fake, request) => AnswerControl(fake, request, descriptor, configuration),
        };
    }

    public GuestPipe Pipe(byte endpoint) => Handle.Pipe(endpoint);

    /// <summary>Address of a TRB in the hostile memory.</summary>
    public ulong At(int index) => Hostile + ((ulong)index * GuestTrb.Size);

    /// <summary>Writes a TRB as it is, with cycle bit 1 unless told.</summary>
    public void Put(int index, in GuestTrb trb, uint cycle = 1) =>
        (trb with { Control = (trb.Control & ~GuestTrb.Cycle) | cycle }).Write(Driver.Platform.Memory(At(index), GuestTrb.Size));

    /// <summary>Lets the endpoint's events go unclaimed and moves its dequeue pointer; the doorbell is not rung.</summary>
    public int Aim(byte endpoint, ulong pointerAndCycle)
    {
        int dci = endpoint == 0 ? 1 : Pipe(endpoint).Dci;
        Driver.Register(Handle.Slot, dci, null);
        Assert.Equal(GuestCompletion.Success, Driver.StopEndpoint(Handle.Slot, dci).Code);
        while (Driver.TryNextEvent(out _))
        {
            // The Stopped event, if there is one.
        }

        Assert.Equal(GuestCompletion.Success, Driver.SetTrDequeue(Handle.Slot, dci, pointerAndCycle).Code);
        return dci;
    }

    /// <summary>Points the endpoint at the hostile memory and rings its doorbell.</summary>
    public int Loose(byte endpoint, int index = 0)
    {
        int dci = Aim(endpoint, At(index) | 1);
        Driver.RingDoorbell(Handle.Slot, dci);
        return dci;
    }

    public GuestEndpointState State(int dci) => Handle.Context.Endpoint(dci).EndpointState;

    /// <summary>Rounds of the host's loop at one instant, each checked to be bounded; for guests whose work never ends.</summary>
    public void Turn(int rounds, Func<bool>? until = null)
    {
        for (int i = 0; i < rounds && until?.Invoke() != true; i++)
        {
            long before = Machine.Memory.Accesses;
            Machine.Controller.Advance(Machine.Now);
            Machine.Pipeline.Advance(Machine.Now);
            Assert.InRange(Machine.Memory.Accesses - before, 0, AccessesPerAdvance);
        }
    }

    /// <summary>A command beside work that never ends.</summary>
    public CommandResult CommandInTurn(in GuestTrb command, int rounds = 100)
    {
        ulong pointer = Driver.PostCommand(command);
        Driver.RingDoorbell(0);
        CommandResult result = default;
        bool taken = false;
        Turn(rounds, () => taken = Driver.TryTakeCommand(pointer, out result));
        Assert.True(taken || Driver.TryTakeCommand(pointer, out result), "the command starved");
        return result;
    }

    public void Dispose()
    {
        // Not over the failure that brought us here.
        if (Marshal.GetExceptionPointers() != 0) return;
        Assert.InRange(Machine.Rounds, 0, RoundLimit);
        Assert.Equal(0, Machine.Controller.Faults);
        Assert.Equal(0, Machine.BoundHits);
        Assert.Equal(0, AllowsRefusals ? 0 : Machine.Memory.RefusedAccesses);
        Rig.ExpectedRefusals = Machine.Memory.RefusedAccesses;
        Machine.Detach(1);
        StartOver();
        AssertWorks();
        Rig.Dispose();
    }

    /// <summary>HCRST and everything after it.</summary>
    public void StartOver()
    {
        Driver.Halt();
        Driver.Reset();
        Driver.SetUpStructures();
        Driver.Run();
        Driver.PowerPorts();
    }

    /// <summary>A device enumerates and moves data both ways, and nothing is left over.</summary>
    public void AssertWorks(int connector = 4)
    {
        UsbDeviceHandle zero = Rig.PlugZero(UsbSpeed.High, connector);
        GuestBuffer data = Rig.PatternBuffer(4096, 512);
        TransferCompletion sent = zero.Pipe(TransferKind.Bulk, isIn: false).Transfer(data.Address, 4096);
        TransferCompletion got = zero.Pipe(TransferKind.Bulk, isIn: true).Transfer(data.Address, 4096);
        Assert.Equal((GuestCompletion.Success, 4096), (sent.Code, sent.Actual));
        Assert.Equal((GuestCompletion.Success, 4096), (got.Code, got.Actual));
        Assert.Equal(0, TransfersInUse());
    }

    /// <summary>Transfers that the controller holds, as inspect tells.</summary>
    public long TransfersInUse() => long.Parse(Inspected("/xhci/transfers/in-use"), System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>One value of the inspect tree.</summary>
    public string Inspected(string path)
    {
        foreach (string line in XenUsbDm.Core.Inspect.InspectWriter.Dump(Machine).Split('\n'))
        {
            if (line.StartsWith(path + " ", StringComparison.Ordinal)) return line[(path.Length + 1)..];
        }

        throw new InvalidOperationException($"inspect has no {path}");
    }

    private static void AnswerControl(FakeDevice fake, UsbRequest request, byte[] device, byte[] configuration)
    {
        if (request.Kind != TransferKind.Control || request.Endpoint.Number != 0) return;
        byte[] answer = request.Setup.Value == 0x0100 ? device : configuration;
        bool known = request.Setup.Request == (byte)StandardRequest.GetDescriptor && request.Setup.Value is 0x0100 or 0x0200;
        if (known) fake.Fill(request, answer.AsSpan(0, Math.Min(answer.Length, request.Length)));
        fake.Complete(request, known ? RequestStatus.Success : RequestStatus.Stall, request.ActualLength);
    }
}
