using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

/// <summary>The register side of a controller with a core that only takes notes, and 1 MiB of guest memory at 16 MiB.</summary>
internal sealed class RegisterBench : IGuestMemory, IHostBus, IRegisterEffects, IUsbFrontend
{
    public const ulong MemoryStart = 0x100_0000;
    public const ulong Erst = MemoryStart + 0x1000;
    public const ulong Ring = MemoryStart + 0x10000;

    public const int UsbCmd = 0x40;
    public const int UsbSts = 0x44;
    public const int Crcr = 0x58;
    public const int Dcbaap = 0x70;
    public const int Config = 0x78;
    public const int LegSup = 0x800;
    public const int LegCtlSts = 0x804;
    public const int MfIndex = 0x1000;

    private readonly byte[] _memory = new byte[0x10_0000];

    public RegisterBench(int usb2 = 2, int usb3 = 2, int slots = 8, int interrupters = 4, Microsoft.Extensions.Logging.ILogger? logger = null)
    {
        Options = new XhciOptions(usb2, usb3, slots, interrupters);
        Pipeline = new UsbPipeline(Options.Connectors, this);
        Pipeline.Connect(this);
        Interrupters = new Interrupters(interrupters, this, this);
        Ports = new RootPorts(Options, Pipeline, Interrupters);
        Registers = new XhciRegisters(Options, Interrupters, Ports, this, logger);
    }

    public XhciOptions Options { get; }

    public UsbPipeline Pipeline { get; }

    public Interrupters Interrupters { get; }

    public RootPorts Ports { get; }

    public XhciRegisters Registers { get; }

    public List<string> Calls { get; } = [];

    public List<int> Messages { get; } = [];

    public bool Level { get; private set; }

    public int WakeEvents { get; private set; }

    public bool DmaAllowed { get; set; } = true;

    public bool MessagesEnabled { get; set; } = true;

    public bool SaveSucceeds { get; set; } = true;

    public bool RestoreSucceeds { get; set; } = true;

    public Action? OnCommandRingStop { get; set; }

    public Action? OnMessage { get; set; }

    public static int PortSc(int port) => 0x440 + ((port - 1) * 0x10);

    public static int Iman(int interrupter) => 0x1020 + (interrupter * 0x20);

    public uint Read(int offset) => (uint)Registers.Read(offset, 4);

    public void Write(int offset, uint value) => Registers.Write(offset, 4, value);

    public uint Port(int port) => Read(PortSc(port));

    public LinkState Link(int port) => new PortStatus(Port(port)).Link;

    /// <summary>Sets the link state as drivers do: PP kept, change bits not cleared, LWS.</summary>
    public void SetLink(int port, LinkState link) =>
        Write(PortSc(port), 0x0001_0200 | ((uint)link << 5) | (Port(port) & PortStatus.WakeMask));

    public FakeDevice Attach(int connector, UsbSpeed speed)
    {
        var device = new FakeDevice(speed);
        Pipeline.Attach(new PortNumber(connector), device);
        return device;
    }

    public void Detach(int connector) => Pipeline.Detach(new PortNumber(connector));

    public void At(ulong nanoseconds)
    {
        var now = new VirtualTime(nanoseconds);
        Registers.Now = now;
        Pipeline.Advance(now);
        Registers.Advance(now);
        Interrupters.Advance(now);
        Ports.Advance(now);
        Pipeline.Advance(now);
    }

    public void After(ulong nanoseconds) => At(Registers.Now.Nanoseconds + nanoseconds);

    /// <summary>Resets a USB 2 port and lets the reset end.</summary>
    public void ResetPort(int port)
    {
        Write(PortSc(port), 0x210);
        After(RootPorts.Usb2ResetNanoseconds);
    }

    /// <summary>Writes a segment table for <paramref name="interrupter"/>: segments of the sizes given, 64 KiB apart.</summary>
    public void SetUpRing(int interrupter, params int[] sizes)
    {
        ulong table = Erst + ((ulong)interrupter * 0x400);
        for (int i = 0; i < sizes.Length; i++) WriteEntry(table, i, SegmentBase(interrupter, i), sizes[i]);
        int iman = Iman(interrupter);
        Write(iman + 0x08, (uint)sizes.Length);
        Registers.Write(iman + 0x18, 8, SegmentBase(interrupter, 0));
        Registers.Write(iman + 0x10, 8, table);
        Write(iman + 0x04, 0);
        Write(iman, 2);
    }

    public static ulong SegmentBase(int interrupter, int segment) => Ring + ((ulong)interrupter * 0x2_0000) + ((ulong)segment * 0x1000);

    public void WriteEntry(ulong table, int index, ulong address, int size)
    {
        Span<byte> entry = _memory.AsSpan((int)(table - MemoryStart) + (index * 16), 16);
        BinaryPrimitives.WriteUInt64LittleEndian(entry, address);
        BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], (uint)size);
    }

    /// <summary>Rings set up, INTE, R/S.</summary>
    public void Start(params int[] sizes)
    {
        SetUpRing(0, sizes.Length == 0 ? [32] : sizes);
        Write(UsbCmd, 0x5);
    }

    public Trb Event(int interrupter, int segment, int index) =>
        Trb.Read(_memory.AsSpan((int)(SegmentBase(interrupter, segment) - MemoryStart) + (index * 16), 16));

    /// <summary>How many events of <paramref name="type"/> are in the first segment of interrupter 0.</summary>
    public int Count(TrbType type, int size = 32)
    {
        int count = 0;
        for (int i = 0; i < size; i++) count += Event(0, 0, i).Type == type ? 1 : 0;
        return count;
    }

    /// <summary>Writes ERDP whole with EHB, as a handler does at its end.</summary>
    public void Consume(int interrupter, int segment, int index) =>
        Registers.Write(Iman(interrupter) + 0x18, 8, (SegmentBase(interrupter, segment) + ((ulong)index * 16)) | 8);

    public bool Post(int interrupter = 0, bool block = false, ulong tag = 0) =>
        Interrupters.TryPost(interrupter, Trb.TransferEvent(tag, CompletionCode.Success, 0, false, 1, 1), block);

    public Span<byte> Map(GuestAddress address, int length, GuestAccess access)
    {
        ulong offset = unchecked(address.Value - MemoryStart);
        return offset >= (ulong)_memory.Length ? default : _memory.AsSpan((int)offset, Math.Min(length, _memory.Length - (int)offset));
    }

    public void SendMessage(int interrupter)
    {
        Messages.Add(interrupter);
        OnMessage?.Invoke();
    }

    public void SetLevel(bool asserted) => Level = asserted;

    public void SignalPowerManagementEvent() => WakeEvents++;

    public void RunStopChanged(bool run) => Calls.Add(run ? "run" : "stop");

    void IRegisterEffects.HostControllerReset() => Calls.Add("reset");

    public void LightReset() => Calls.Add("light reset");

    public bool SaveState()
    {
        Calls.Add("save");
        return SaveSucceeds;
    }

    public bool RestoreState()
    {
        Calls.Add("restore");
        return RestoreSucceeds;
    }

    public void CommandRingStop(bool abort)
    {
        Calls.Add(abort ? "abort" : "command stop");
        OnCommandRingStop?.Invoke();
    }

    public void Doorbell(int index, uint value) => Calls.Add($"doorbell {index} 0x{value:x}");

    public void EventRingMayHaveRoom(int interrupter) => Calls.Add($"room {interrupter}");

    public void Completed(UsbRequest request) => Calls.Add("completed");

    public void PortChanged(PortNumber port) => Ports.PortChanged(port);

    public void PortResetDone(PortNumber port) => Ports.PortResetDone(port);

    public void RemoteWake(PortNumber port) => Ports.RemoteWake(port);
}
