using System;
using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Bringing the controller up and down (xHCI 1.2 §4.2).</summary>
public sealed partial class XhciDriver
{
    public const int UsbCommand = 0x00;
    public const int UsbStatus = 0x04;
    public const int PageSizeRegister = 0x08;
    public const int DeviceNotificationControl = 0x14;
    public const int CommandRingControl = 0x18;
    public const int ContextBaseArray = 0x30;
    public const int Configure = 0x38;
    public const int PortBase = 0x400;

    private readonly List<GuestBuffer> _scratchpads = [];

    /// <summary>USBCMD.R/S as the driver last wrote it.</summary>
    public bool Running { get; private set; }

    /// <summary>The whole of bring-up: PCI, hand-off, reset, structures, run, port power.</summary>
    public void Start()
    {
        AttachPci();
        TakeFromFirmware();
        Halt();
        Reset();
        SetUpStructures();
        Run();
        PowerPorts();
    }

    /// <summary>PCI set-up and the read-only parameters (§5.3).</summary>
    public void AttachPci()
    {
        Pci.Enable(Options.BarAddress);
        OperationalOffset = (int)Platform.MmioRead(Pci.BarAddress, 1);
        uint hcs1 = Read32(0x04);
        MaxSlots = (int)(hcs1 & 0xff);
        MaxInterrupters = (int)((hcs1 >> 8) & 0x7ff);
        MaxPorts = (int)(hcs1 >> 24);
        HccParams1 = Read32(0x10);
        ContextSize = (HccParams1 & 4) != 0 ? 64 : 32;
        MaxPrimaryStreamsLog = (int)((HccParams1 >> 12) & 0xf);
        DoorbellOffset = (int)(Read32(0x14) & ~3u);
        RuntimeOffset = (int)(Read32(0x18) & ~0x1fu);
        ReadProtocols();
        Vectors = Pci.EnableInterrupts(Options.Interrupts, Options.Interrupters);
    }

    /// <summary>USB Legacy Support hand-off (§4.22.1, §7.1).</summary>
    public void TakeFromFirmware()
    {
        int at = FindExtendedCapability(1, 0);
        if (at == 0) return;
        Write32(at, Read32(at) | (1u << 24));
        Spin(() => (Read32(at) & (1u << 16)) == 0, 1_000_000_000, "the firmware to let go");
        Write32(at + 4, 0xe000_0000);
    }

    /// <summary>Clears Run/Stop and waits for HCHalted, which is due within 16 ms (§5.4.1.1).</summary>
    public void Halt()
    {
        WriteOperational(UsbCommand, ReadOperational(UsbCommand) & ~5u);
        Running = false;
        Spin(() => (ReadOperational(UsbStatus) & 1) != 0, 32_000_000, "HCHalted");
    }

    /// <summary>HCRST, then Controller Not Ready (§4.2).</summary>
    public void Reset()
    {
        WriteOperational(UsbCommand, 2);
        Spin(() => (ReadOperational(UsbCommand) & 2) == 0, 1_000_000_000, "HCRST to clear");
        Spin(() => (ReadOperational(UsbStatus) & 0x800) == 0, 1_000_000_000, "Controller Not Ready to clear");
        Array.Clear(_pipes);
        _unclaimed.Clear();
        _changedPorts.Clear();
        _finished.Clear();
    }

    /// <summary>DCBAA, scratchpads, command ring and event rings; the controller is told of all of them.</summary>
    public void SetUpStructures()
    {
        int slots = Options.MaxSlots == 0 ? MaxSlots : Math.Min(Options.MaxSlots, MaxSlots);
        WriteOperational(Configure, (uint)slots);
        _dcbaa = AllocateStructure((MaxSlots + 1) * 8);
        SetUpScratchpads();
        Write64(OperationalOffset + ContextBaseArray, _dcbaa.Address);
        CommandRing = Ring(Options.CommandRingTrbs);
        Write64(OperationalOffset + CommandRingControl, CommandRing.EnqueuePointer | CommandRing.EnqueueCycle);
        _eventRings = new GuestEventRing[Math.Min(Options.Interrupters, MaxInterrupters)];
        for (int i = 0; i < _eventRings.Length; i++)
        {
            _eventRings[i] = new GuestEventRing(Platform, Memory, i, Options.EventSegments, Options.EventSegmentTrbs, Options.HighStructures);
            SetUpInterrupter(i);
        }
    }

    /// <summary>Tells an interrupter of its event ring and enables it (§4.2, §4.9.4: ERSTSZ, ERDP, then ERSTBA).</summary>
    public void SetUpInterrupter(int interrupter)
    {
        GuestEventRing ring = _eventRings[interrupter];
        Write32(InterrupterOffset(interrupter, 0x08), (uint)ring.SegmentCount);
        Write64(InterrupterOffset(interrupter, 0x18), ring.DequeuePointer | 8);
        Write64(InterrupterOffset(interrupter, 0x10), ring.Table.Address);
        Write32(InterrupterOffset(interrupter, 0x04), Options.Moderation);
        if (Options.Interrupts != GuestInterruptMode.Polling) Write32(InterrupterOffset(interrupter, 0x00), 3);
    }

    /// <summary>Sets Run/Stop, and Interrupter Enable unless the driver polls.</summary>
    public void Run()
    {
        WriteOperational(UsbCommand, Options.Interrupts == GuestInterruptMode.Polling ? 1u : 5u);
        Running = true;
        Spin(() => (ReadOperational(UsbStatus) & 1) == 0, 32_000_000, "HCHalted to clear");
    }

    /// <summary>Extended capability of an id after <paramref name="after"/> (0: the first), as BAR offset; 0 when there is none (§7).</summary>
    public int FindExtendedCapability(byte id, int after)
    {
        int at = after == 0 ? (int)(HccParams1 >> 16) * 4 : after + NextCapability(after);
        for (int i = 0; at != 0 && at != after && i < 256; i++)
        {
            if ((Read32(at) & 0xff) == id) return at;
            int step = NextCapability(at);
            if (step == 0) return 0;
            at += step;
        }

        return 0;
    }

    /// <summary>A driver's own polling loop on a register.</summary>
    public void Spin(Func<bool> condition, ulong timeoutNanoseconds, string what)
    {
        ArgumentNullException.ThrowIfNull(condition);
        ulong end = Platform.Now + timeoutNanoseconds;
        while (!condition())
        {
            if (Platform.Now >= end) throw Timeout(what);
            Platform.Relax(Math.Min(Options.PollNanoseconds, end - Platform.Now));
        }
    }

    private int NextCapability(int at) => (int)((Read32(at) >> 8) & 0xff) * 4;

    private void ReadProtocols()
    {
        Protocols.Clear();
        for (int at = FindExtendedCapability(2, 0); at != 0; at = FindExtendedCapability(2, at))
        {
            uint revision = Read32(at);
            if (Read32(at + 4) != 0x2042_5355) continue;
            uint ports = Read32(at + 8);
            var speeds = new uint[ports >> 28];
            for (int i = 0; i < speeds.Length; i++) speeds[i] = Read32(at + 16 + (i * 4));
            Protocols.Add(new GuestProtocol(
                (int)(revision >> 24), (int)((revision >> 16) & 0xff), (int)(ports & 0xff), (int)((ports >> 8) & 0xff), (int)(Read32(at + 12) & 0x1f), speeds));
        }
    }

    private void SetUpScratchpads()
    {
        uint hcs2 = Read32(0x08);
        int count = (int)(((hcs2 >> 21) & 0x1f) << 5 | (hcs2 >> 27));
        if (count == 0) return;
        GuestBuffer array = AllocateStructure(count * 8);
        for (int i = 0; i < count; i++)
        {
            GuestBuffer page = AllocateStructure(4096);
            _scratchpads.Add(page);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(Platform.Memory(array.Address + (ulong)(i * 8), 8), page.Address);
        }

        SetDeviceContext(0, array.Address);
    }
}
