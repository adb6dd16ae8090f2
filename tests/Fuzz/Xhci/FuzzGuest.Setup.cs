using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>The vocabulary that reaches deep states in one action: bring-up, enumeration, endpoints, streams, transfers.</summary>
public sealed partial class FuzzGuest
{
    /// <summary>PCI, interrupts, structures, run. Bits of <paramref name="how"/>: 1:0 MSI-X, MSI, INTx, none; 3:2 segments of each event ring less one; 4 write high half first; 5 without INTE; 6 moderation.</summary>
    public void Start(byte how)
    {
        _machine.WriteConfig(0x10, 4, FuzzMachine.BarAddress);
        _machine.WriteConfig(0x14, 4, 0);
        _machine.WriteConfig(0x04, 2, (how & 3) == 2 ? 0x006u : 0x406u);
        if ((how & 3) == 0)
        {
            for (int i = 0; i < FuzzMachine.Interrupters; i++)
            {
                _machine.WriteBar((ulong)(0x3000 + (i * 16)), 8, 0xfee0_0000);
                _machine.WriteBar((ulong)(0x3008 + (i * 16)), 8, (ulong)(uint)i);
            }

            _machine.WriteConfig(0x92, 2, 0x8000);
        }
        else if ((how & 3) == 1)
        {
            _machine.WriteConfig(0x74, 4, 0xfee0_0000);
            _machine.WriteConfig(0x72, 2, 0x0021);
        }

        Write(UsbCommand, 0);
        Write(Configure, FuzzMachine.Slots);
        Write64(ContextArray, FuzzLayout.Dcbaa);
        for (int slot = 1; slot <= FuzzMachine.Slots; slot++) _memory.Write64(FuzzLayout.Dcbaa + ((ulong)slot * 8), FuzzLayout.DeviceContext(slot));
        ResetRing(0);
        Write64(CommandRingControl, FuzzLayout.CommandRing | 1);
        for (int i = 0; i < FuzzMachine.Interrupters; i++) SetUpEventRing(i, ((how >> 2) & 3) + 1, (how & 0x10) != 0, (how & 0x40) != 0 ? 4000u : 0);
        Write(UsbCommand, (how & 0x20) != 0 ? 1u : 5u);
    }

    public void SetUpEventRing(int interrupter, int segments, bool highFirst, uint moderation)
    {
        int set = Runtime + 0x20 + (interrupter * 0x20);
        _segmentCount[interrupter] = segments;
        _eventTotal[interrupter] = segments * FuzzLayout.EventTrbs;
        _eventIndex[interrupter] = 0;
        _eventCycle[interrupter] = 1;
        for (int i = 0; i < segments; i++)
        {
            ulong entry = FuzzLayout.SegmentTable(interrupter) + ((ulong)i * 16);
            _memory.Write64(entry, FuzzLayout.EventRing(interrupter) + ((ulong)i * FuzzLayout.EventTrbs * 16));
            _memory.Write64(entry + 8, FuzzLayout.EventTrbs);
        }

        _memory.Guest(FuzzLayout.EventRing(interrupter), FuzzLayout.EventTrbs * 16 * segments).Clear();
        Write(set + 8, (uint)segments);
        Write64(set + 0x18, FuzzLayout.EventRing(interrupter) | 8);
        if (highFirst)
        {
            Write(set + 0x14, 0);
            Write(set + 0x10, (uint)FuzzLayout.SegmentTable(interrupter));
        }
        else
        {
            Write64(set + 0x10, FuzzLayout.SegmentTable(interrupter));
        }

        Write(set + 4, moderation);
        Write(set, 3);
    }

    /// <summary>Root port of a connector's device at a speed.</summary>
    public static int PortOf(int connector, UsbSpeed speed) => speed == UsbSpeed.Super ? FuzzMachine.Connectors + connector : connector;

    public void ResetPort(int port, bool warm)
    {
        int offset = Ports + ((port - 1) * 16);
        Write(offset, warm ? 0x8000_0200u : 0x210u);
        for (int i = 0; i < 4 && (Read(offset) & 0x10) != 0; i++) _machine.Advance(60_000_000, 4);
        Write(offset, 0x00fe_0200);
        TakeEvents(0, acknowledge: true);
    }

    /// <summary>Enable Slot, contexts, Address Device. False when the hardware refused.</summary>
    public bool Address(int port, bool blockFirst, UsbSpeed speed)
    {
        if (Command(GuestTrbType.EnableSlot) != GuestCompletion.Success || LastSlot is < 1 or > FuzzMachine.Slots) return false;
        int slot = LastSlot;
        FillAddressContext(slot, port, speed);
        if (blockFirst) Command(GuestTrbType.AddressDevice, slot, 0, FuzzLayout.InputContext(slot), GuestTrb.BlockSetAddress);
        bool ok = Command(GuestTrbType.AddressDevice, slot, 0, FuzzLayout.InputContext(slot)) == GuestCompletion.Success;
        LastSlot = slot;
        return ok;
    }

    public void FillAddressContext(int slot, int port, UsbSpeed speed)
    {
        ulong input = FuzzLayout.InputContext(slot);
        _memory.Guest(input, 0x800).Clear();
        uint id = speed switch { UsbSpeed.Full => 1, UsbSpeed.Low => 2, UsbSpeed.High => 3, _ => 4 };
        _memory.Write32(input + 4, 3);
        _memory.Write32(input + 32, (1u << 27) | (id << 20));
        _memory.Write32(input + 36, (uint)port << 16);
        ResetRing(RingOf(slot, 1));
        int packet = speed switch { UsbSpeed.Super => 512, UsbSpeed.Low => 8, _ => 64 };
        FillEndpoint(input + 64, 4, packet, 0, 0, 0, FuzzLayout.TransferRing(slot, 1) | 1, 8);
    }

    /// <summary>Configure Endpoint that adds the endpoints of a plan (and drops those in <paramref name="drop"/>). <paramref name="streams"/>: MaxPStreams for bulk, with secondary arrays when bit 7 is set.</summary>
    public GuestCompletion ConfigureEndpoints(int slot, ReadOnlySpan<EndpointPlan> plans, uint drop, byte streams, byte mutation, byte value)
    {
        ulong input = FuzzLayout.InputContext(slot);
        ulong slotContext = FuzzLayout.DeviceContext(slot);
        _memory.Guest(input, 0x800).Clear();
        for (int i = 0; i < 12; i += 4) _memory.Write32(input + 32 + (ulong)i, _memory.Read32(slotContext + (ulong)i));
        uint add = 1;
        int last = 1;
        foreach (EndpointPlan plan in plans)
        {
            int dci = plan.Dci;
            add |= 1u << dci;
            last = Math.Max(last, dci);
            ulong at = input + (ulong)((dci + 1) * 32);
            int array = streams & 15;
            bool hasStreams = array != 0 && plan.Kind == TransferKind.Bulk && plan.TakesStreams;
            ResetRing(RingOf(slot, dci));
            int payload = plan.Packet * (plan.Burst + 1) * (plan.Mult + 1);
            FillEndpoint(at, plan.Type, plan.Packet, plan.Burst, plan.Interval, plan.Mult, hasStreams ? FuzzLayout.PrimaryStreams : FuzzLayout.TransferRing(slot, dci) | 1, plan.Kind is TransferKind.Bulk ? 3072 : payload);
            if (!hasStreams) continue;
            bool linear = (streams & 0x80) == 0;
            _memory.Write32(at, _memory.Read32(at) | ((uint)array << 10) | (linear ? 1u << 15 : 0));
            FillStreams(array, linear, (streams >> 4) & 7);
        }

        _memory.Write32(input, drop);
        _memory.Write32(input + 4, add);
        _memory.Write32(input + 32, (_memory.Read32(input + 32) & 0x07ff_ffff) | ((uint)last << 27));

        // One field of one context changed: the 33 contexts of 8 dwords, by byte.
        if (mutation != 0) _memory.Write32(input + ((ulong)mutation * 4), unchecked((_memory.Read32(input + ((ulong)mutation * 4)) ^ ((uint)value << ((value & 3) * 8)))));
        return Command(GuestTrbType.ConfigureEndpoint, slot, 0, input);
    }

    public void FillEndpoint(ulong at, int type, int packet, int burst, int interval, int mult, ulong dequeue, int average)
    {
        bool periodic = (type & 3) is 1 or 3;
        int payload = periodic ? packet * (burst + 1) * (mult + 1) : 0;
        _memory.Write32(at, ((uint)interval << 16) | ((uint)mult << 8) | (((uint)payload >> 16) << 24));
        _memory.Write32(at + 4, ((uint)packet << 16) | ((uint)burst << 8) | ((uint)type << 3) | ((type & 3) == 1 ? 0 : 6u));
        _memory.Write64(at + 8, dequeue);
        _memory.Write32(at + 16, ((uint)average & 0xffff) | ((uint)(payload & 0xffff) << 16));
    }

    /// <summary>Stream contexts: a linear array, or a primary array of secondary arrays.</summary>
    public void FillStreams(int array, bool linear, int secondary)
    {
        int entries = Math.Min(1 << (array + 1), 64);
        for (int i = 1; i < entries; i++)
        {
            ulong entry = FuzzLayout.PrimaryStreams + ((ulong)i * 16);
            if (linear)
            {
                ResetRing(RingOfStream(i));
                _memory.Write64(entry, FuzzLayout.StreamRing(i) | 2 | 1);
                continue;
            }

            if (i > 4)
            {
                _memory.Write64(entry, FuzzLayout.StreamRing(i) | 2 | 1);
                continue;
            }

            ulong table = FuzzLayout.SecondaryStreams + ((ulong)i * 0x200);
            _memory.Write64(entry, table | ((ulong)(2 + (secondary % 6)) << 1));
            for (int j = 1; j < 8; j++)
            {
                int ring = (i * 8) + j;
                ResetRing(RingOfStream(ring));
                _memory.Write64(table + ((ulong)j * 16), FuzzLayout.StreamRing(ring) | 1);
            }
        }
    }

    /// <summary>A control transfer: Setup, Data by <paramref name="length"/>, Status; rung, run and looked at.</summary>
    public void Control(int slot, SetupPacket setup, int length, ulong buffer, byte shape = 0)
    {
        int ring = RingOf(slot, 1);
        bool isIn = setup.IsIn && length > 0;
        Put(ring, GuestTrb.Setup(setup.Raw, length == 0 ? 0 : isIn ? 3 : 2, (shape & 1) != 0 ? GuestTrb.InterruptOnCompletion : 0));
        if ((shape & 2) != 0)
        {
            RingDoorbell(slot, 1);
            _machine.Step(2);
        }

        if (length > 0)
        {
            bool split = (shape & 4) != 0 && length > 1;
            int first = split ? length / 2 : length;
            uint shortFlag = isIn ? GuestTrb.InterruptOnShort : 0;
            Put(ring, GuestTrb.Data(buffer, first, isIn ^ ((shape & 0x40) != 0), shortFlag | (split || (shape & 8) != 0 ? GuestTrb.Chain : 0)));
            if (split) Put(ring, GuestTrb.Normal(unchecked(buffer + (ulong)first), length - first, shortFlag | ((shape & 8) != 0 ? GuestTrb.Chain : 0)));
            if ((shape & 8) != 0) Put(ring, GuestTrb.EventData(0x1234, GuestTrb.InterruptOnCompletion));
        }

        if ((shape & 0x10) == 0) Put(ring, GuestTrb.StatusStage(!isIn ^ ((shape & 0x20) != 0)));
        if ((shape & 0x80) != 0) Put(ring, GuestTrb.EventData(0x5678, GuestTrb.InterruptOnCompletion));
        RingDoorbell(slot, 1);
        _machine.Step(4);
        TakeEvents(0, acknowledge: true);
    }

    /// <summary>From an empty connector's device to a configured one. Bits of <paramref name="how"/>: 0 BSR first, 2:1 configuration or alternate setting, 6:3 streams.</summary>
    public void Enumerate(int connector, FuzzDevice kind, UsbSpeed speed, byte how)
    {
        int port = PortOf(connector, speed);
        ResetPort(port, warm: false);
        if (!Address(port, (how & 1) != 0, speed)) return;
        int slot = LastSlot;
        SlotOf[connector] = slot;
        Control(slot, new SetupPacket(0x80, 6, 0x100, 0, 18), 18, FuzzLayout.Scratch);
        Control(slot, new SetupPacket(0x80, 6, 0x200, 0, 255), 255, FuzzLayout.Scratch);
        int alternate = (how >> 1) & 3;
        byte configuration = kind == FuzzDevice.Zero ? (byte)((how & 0x80) != 0 ? 2 : 3) : (byte)1;
        if (configuration == 2) alternate = 0;
        Control(slot, new SetupPacket(0, 9, configuration, 0, 0), 0, 0);
        if (kind == FuzzDevice.Disk) alternate = Math.Min(alternate, 1);
        if (alternate != 0 && kind is (FuzzDevice.Zero or FuzzDevice.Disk)) Control(slot, new SetupPacket(1, 11, (ushort)alternate, 0, 0), 0, 0);
        ConfigureEndpoints(slot, EndpointPlans.Of(kind, speed, alternate), 0, (byte)((how >> 3) & 0xf), 0, 0);
    }
}
