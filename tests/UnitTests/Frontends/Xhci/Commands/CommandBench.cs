using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Commands;

/// <summary>How far <see cref="CommandBench"/> brings its slot.</summary>
public enum SlotAt
{
    Disabled,
    Enabled,
    Default,
    Addressed,
    Configured,
}

/// <summary>How far <see cref="CommandBench.Bring"/> brings an endpoint.</summary>
public enum EndpointAt
{
    Disabled,
    Running,
    Halted,
    Stopped,
    Error,
}

/// <summary>
/// A machine with one <see cref="FakeDevice"/>, its slot in a given state, and raw rings: tests enqueue single TRBs, run
/// single commands and see every event. No pipes are registered, so transfer events stay unclaimed.
/// </summary>
internal sealed class CommandBench : IDisposable
{
    public const int Control = 1;
    public const int BulkOut = 2;
    public const int BulkIn = 3;
    public const int InterruptIn = 5;
    public const int IsochOut = 6;
    public const int IsochIn = 7;

    /// <summary>A DCI that the device does not use.</summary>
    public const int Unused = 9;

    private readonly GuestRing?[] _rings = new GuestRing?[32];

    public CommandBench(
        SlotAt state = SlotAt.Configured, UsbSpeed speed = UsbSpeed.High, XhciDriverOptions? options = null, XhciOptions? controller = null)
    {
        Machine = new InProcessMachine(new InProcessOptions { Xhci = controller ?? new XhciOptions() });
        Driver = new XhciDriver(new InProcessPlatform(Machine), options);
        Driver.Start();
        Device = new FakeDevice(speed) { PacesItself = true, Configuration = Descriptor(speed) };
        RootPort = Plug(Device, 1);
        if (state >= SlotAt.Enabled) Slot = Driver.EnableSlot().Require("Enable Slot").Slot;
        Input = Driver.NewInputContext();
        Output = Driver.NewDeviceContext();
        Driver.SetDeviceContext(Slot, Output.Buffer.Address);
        FillAddress();
        if (state >= SlotAt.Default) Driver.AddressDevice(Slot, Input.Buffer.Address, blockSetAddress: true).Require("Address Device, BSR");
        if (state >= SlotAt.Addressed) Driver.AddressDevice(Slot, Input.Buffer.Address).Require("Address Device");
        if (state >= SlotAt.Configured)
        {
            Configure().Require("Configure Endpoint");
            SelectConfiguration();
        }

        Device.Calls.Clear();
    }

    public InProcessMachine Machine { get; }

    public XhciDriver Driver { get; }

    public FakeDevice Device { get; }

    public int RootPort { get; }

    /// <summary>The slot; 1 while no slot is enabled.</summary>
    public int Slot { get; } = 1;

    public GuestInputContext Input { get; }

    public GuestDeviceContext Output { get; }

    public StreamTable? Streams { get; private set; }

    /// <summary>Accesses outside mapped memory that the test itself provoked.</summary>
    public long ExpectedRefusals { get; set; }

    public bool HostSystemError => (Driver.ReadOperational(XhciDriver.UsbStatus) & 4) != 0;

    public bool HostControllerError => (Driver.ReadOperational(XhciDriver.UsbStatus) & 0x1000) != 0;

    public static ulong Unmapped => 0x8000_0000;

    /// <summary>Nothing outside mapped memory was touched, nothing was thrown, and the model always came to rest.</summary>
    public void Dispose()
    {
        Assert.Equal(0, Machine.Controller.Faults);
        Assert.Equal(0, Machine.BoundHits);
        Assert.Equal(ExpectedRefusals, Machine.Memory.RefusedAccesses);
    }

    public int Plug(FakeDevice device, int connector)
    {
        Assert.Equal(AttachResult.Attached, Machine.Attach(connector, device));
        int port = device.Speed == UsbSpeed.Super ? 4 + connector : connector;
        Driver.Expect(() => (Driver.ReadPort(port) & XhciDriver.PortConnected) != 0, "the connection");
        Driver.ResetPort(port);
        return port;
    }

    public GuestRing Ring(int dci) => _rings[dci] ??= Driver.Ring(64);

    public GuestContext EndpointContext(int dci) => Output.Endpoint(dci);

    public GuestEndpointState State(int dci) => EndpointContext(dci).EndpointState;

    /// <summary>The input context as Address Device wants it.</summary>
    public void FillAddress()
    {
        Input.Clear();
        Fill(Input, RootPort, Device.Speed, Ring(Control).EnqueuePointer | Ring(Control).EnqueueCycle);
    }

    public static void Fill(GuestInputContext input, int rootPort, UsbSpeed speed, ulong dequeue)
    {
        input.Add(0);
        input.Add(1);
        GuestContext slot = input.Slot;
        slot.Entries = 1;
        slot.RootPort = (uint)rootPort;
        GuestContext control = input.Endpoint(1);
        control.EndpointType = 4;
        control.ErrorCount = 3;
        control.MaxPacketSize = speed switch { UsbSpeed.Super => 512, UsbSpeed.High => 64, _ => 8 };
        control.DequeuePointer = dequeue;
    }

    /// <summary>Clears the input context but for A0 and Context Entries 31.</summary>
    public GuestInputContext NewConfigure()
    {
        Input.Clear();
        Input.Add(0);
        GuestContext slot = Input.Slot;
        slot.Entries = 31;
        return Input;
    }

    /// <summary>Adds an endpoint of the device to the input context.</summary>
    public GuestContext Add(int dci)
    {
        (int number, TransferKind kind) = (dci / 2, KindOf(dci));
        int packet = PacketOf(dci);
        Input.Add(dci);
        var endpoint = new GuestEndpoint(0, 0, (byte)(number | ((dci & 1) << 7)), (byte)kind, (ushort)packet, 4) { BytesPerInterval = (ushort)packet };
        GuestContext context = Input.Endpoint(dci);
        bool hasStreams = Streams is not null && dci is BulkIn;
        XhciDriver.FillEndpoint(
            context, endpoint, Device.Speed, hasStreams ? Streams!.Primary.Address : Ring(dci).EnqueuePointer,
            hasStreams ? Streams!.PrimaryLog : 0, Streams?.IsLinear ?? true);
        if (!hasStreams) context.DequeuePointer = Ring(dci).EnqueuePointer | Ring(dci).EnqueueCycle;
        return context;
    }

    public CommandResult Configure()
    {
        NewConfigure();
        foreach (int dci in Device.Speed == UsbSpeed.Low ? [InterruptIn] : new[] { BulkOut, BulkIn, InterruptIn, IsochOut, IsochIn }) Add(dci);
        return SendConfigure();
    }

    /// <summary>A bench whose bulk IN endpoint has streams.</summary>
    public static CommandBench WithStreams(int primaryLog = 4, int secondary = StreamTable.Linear)
    {
        var bench = new CommandBench(SlotAt.Addressed, UsbSpeed.Super);
        bench.Streams = new StreamTable(bench.Driver, primaryLog, secondary);
        bench.Configure().Require("Configure Endpoint");
        bench.SelectConfiguration();
        return bench;
    }

    public GuestRing StreamRing(int stream) => Streams!.Rings.First(entry => entry.Stream == stream).Ring;

    public CommandResult SendConfigure(bool deconfigure = false) => Driver.ConfigureEndpoint(Slot, Input.Buffer.Address, deconfigure);

    public CommandResult SendAddress(bool block = false) => Driver.AddressDevice(Slot, Input.Buffer.Address, block);

    public CommandResult SendEvaluate() => Driver.EvaluateContext(Slot, Input.Buffer.Address);

    public CommandResult Stop(int dci, bool suspend = false) => Driver.StopEndpoint(Slot, dci, suspend);

    /// <summary>Posts a command that may have to wait, rings and lets the machine act.</summary>
    public ulong Begin(in GuestTrb command)
    {
        ulong pointer = Driver.PostCommand(command);
        Driver.RingDoorbell(0);
        Machine.Step();
        return pointer;
    }

    public ulong BeginStop(int dci) => Begin(GuestTrb.Command(GuestTrbType.StopEndpoint, Slot, dci));

    /// <summary>Enqueues TRBs on an endpoint's ring and returns where they lie.</summary>
    public ulong[] Queue(int dci, params ReadOnlySpan<GuestTrb> trbs)
    {
        var at = new ulong[trbs.Length];
        for (int i = 0; i < trbs.Length; i++) at[i] = Ring(dci).Enqueue(trbs[i]);
        return at;
    }

    public void Kick(int dci, int stream = 0)
    {
        Driver.RingDoorbell(Slot, dci, stream);
        Machine.Step();
    }

    /// <summary>A Normal TRB over a buffer of its own.</summary>
    public GuestTrb Normal(int length, uint flags = GuestTrb.InterruptOnCompletion, int interrupter = 0) =>
        GuestTrb.Normal(Driver.AllocateBuffer(Math.Max(1, length)).Address, length, flags, interrupter: interrupter);

    /// <summary>The unclaimed events so far: code, pointer, residual.</summary>
    public List<(GuestCompletion Code, ulong Pointer, int Residual)> Events()
    {
        Machine.Step();
        var events = new List<(GuestCompletion, ulong, int)>();
        while (Driver.TryNextEvent(out GuestEvent taken)) events.Add((taken.Code, taken.Pointer, taken.Residual));
        return events;
    }

    /// <summary>Brings an endpoint of a configured bench into a state; its events are taken away.</summary>
    public void Bring(int dci, EndpointAt state)
    {
        switch (state)
        {
            case EndpointAt.Halted:
                Queue(dci, Normal(512));
                Kick(dci);
                Device.CompleteNext(RequestStatus.Stall, 0);
                break;
            case EndpointAt.Stopped:
                Stop(dci).Require("Stop Endpoint");
                break;
            case EndpointAt.Error:
                Queue(dci, GuestTrb.Setup(0, 0));
                Kick(dci);
                break;
            default:
                break;
        }

        Events();
        Assert.Equal((GuestEndpointState)state, State(dci));
        Device.Calls.Clear();
    }

    /// <summary>The 1024 bytes of input or output context.</summary>
    public byte[] Snapshot() => Driver.Platform.Memory(Output.Buffer.Address, 1024).ToArray();

    public byte[] Bytes(ulong address, int length) => Driver.Platform.Memory(address, length).ToArray();

    public ulong Read64(ulong address) => BinaryPrimitives.ReadUInt64LittleEndian(Driver.Platform.Memory(address, 8));

    public void Protect(ulong address, MemoryProtection protection) => Machine.Memory.Protect(new GuestAddress(address), 1, protection);

    public void WriteCrcr(uint value)
    {
        Driver.WriteOperational(XhciDriver.CommandRingControl, value);
        Driver.WriteOperational(XhciDriver.CommandRingControl + 4, 0);
    }

    public bool CommandRingRunning => (Driver.ReadOperational(XhciDriver.CommandRingControl) & 8) != 0;

    /// <summary>SET_CONFIGURATION(1) over endpoint 0.</summary>
    public void SelectConfiguration()
    {
        Queue(Control, GuestTrb.Setup(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 1, 0, 0).Raw, 0), GuestTrb.StatusStage(isIn: true));
        Kick(Control);
        (GuestCompletion code, _, _) = Assert.Single(Events());
        Assert.Equal(GuestCompletion.Success, code);
        Device.Calls.Clear();
    }

    private static TransferKind KindOf(int dci) => dci switch
    {
        BulkOut or BulkIn => TransferKind.Bulk,
        InterruptIn => TransferKind.Interrupt,
        _ => TransferKind.Isochronous,
    };

    private int PacketOf(int dci) => PacketOf(KindOf(dci), Device.Speed);

    private static int PacketOf(TransferKind kind, UsbSpeed speed) => kind switch
    {
        TransferKind.Bulk => speed switch { UsbSpeed.Super => 1024, UsbSpeed.High => 512, _ => 64 },
        TransferKind.Interrupt => 8,
        _ => 256,
    };

    private static byte[] Descriptor(UsbSpeed speed)
    {
        DescriptorBuilder builder = new DescriptorBuilder().Interface(0);
        foreach (int dci in new[] { BulkOut, BulkIn, InterruptIn, IsochOut, IsochIn })
        {
            TransferKind kind = KindOf(dci);
            builder.Endpoint((byte)((dci / 2) | ((dci & 1) << 7)), kind, PacketOf(kind, speed), 4);
            if (speed == UsbSpeed.Super) builder.Companion(0, kind == TransferKind.Bulk ? (byte)4 : (byte)0, PacketOf(kind, speed));
        }

        return builder.Build();
    }
}
