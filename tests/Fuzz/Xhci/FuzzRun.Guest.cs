using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Fuzz.Xhci;

public sealed partial class FuzzRun
{
    // Offsets worth a write, and what to write.
    private static readonly (int Offset, uint Value)[] Interesting =
    [
        (FuzzGuest.UsbCommand, 0), (FuzzGuest.UsbCommand, 1), (FuzzGuest.UsbCommand, 2), (FuzzGuest.UsbCommand, 5), (FuzzGuest.UsbCommand, 0x80),
        (FuzzGuest.UsbCommand, 0x405), (FuzzGuest.UsbCommand, 0x805), (FuzzGuest.UsbCommand, 0x100), (FuzzGuest.UsbCommand, 0x200), (FuzzGuest.UsbCommand, 0x301),
        (FuzzGuest.UsbStatus, 0xffff_ffff), (FuzzGuest.UsbStatus, 8), (FuzzGuest.UsbStatus, 0x10), (FuzzGuest.UsbStatus, 0x404),
        (FuzzGuest.Oper + 0x14, 0xffff), (FuzzGuest.CommandRingControl, 2), (FuzzGuest.CommandRingControl, 4), (FuzzGuest.CommandRingControl, 6),
        (FuzzGuest.CommandRingControl, 0x2001), (FuzzGuest.CommandRingControl + 4, 0), (FuzzGuest.CommandRingControl + 4, 0xffff_ffff),
        (FuzzGuest.ContextArray, 0), (FuzzGuest.ContextArray, 0x1000), (FuzzGuest.ContextArray, 0x8000_0000), (FuzzGuest.ContextArray + 4, 0xffff_ffff), (FuzzGuest.ContextArray + 4, 0),
        (FuzzGuest.Configure, 0), (FuzzGuest.Configure, 8), (FuzzGuest.Configure, 0xff), (FuzzGuest.Configure, 0x308),
        (0x800, 0x0100_0000), (0x800, 0), (0x804, 0xffff_ffff),
        (0x1020, 0), (0x1020, 3), (0x1020, 1), (0x1024, 0), (0x1024, 0xffff_ffff), (0x1024, 4000), (0x1028, 0), (0x1028, 1), (0x1028, 0xffff),
        (0x1030, 0), (0x1030, 0x3000), (0x1030, 0x8000_0000), (0x1034, 0), (0x1034, 0xffff_ffff), (0x1038, 8), (0x1038, 0x4008), (0x103c, 0),
        (0x1040, 3), (0x1044, 1), (0x1048, 2), (0x1050, 0x3100), (0x1058, 0x5008), (0x1060, 3), (0x1070, 0x3200), (0x1078, 0x6008),
        (0x1000, 0xffff_ffff), (0x1010, 1), (0x2000, 0), (0x2000, 1), (0x2004, 1), (0x2004, 0), (0x2004, 0x20), (0x2004, 0xffff_ffff), (0x2024, 1), (0x23fc, 1),
    ];

    private static readonly SetupPacket[] Requests =
    [
        new(0x80, 6, 0x0100, 0, 18), new(0x80, 6, 0x0100, 0, 8), new(0x80, 6, 0x0200, 0, 255), new(0x80, 6, 0x0201, 0, 9), new(0x80, 6, 0x0302, 0x0409, 255),
        new(0x80, 6, 0x0600, 0, 10), new(0x80, 6, 0x0700, 0, 255), new(0x80, 6, 0x0f00, 0, 255), new(0x81, 6, 0x2200, 0, 255), new(0x81, 6, 0x2100, 0, 9),
        new(0x80, 0, 0, 0, 2), new(0x81, 0, 0, 0, 2), new(0x82, 0, 0, 0x81, 2), new(0x82, 0, 0, 0x01, 2), new(0x80, 8, 0, 0, 1), new(0x81, 10, 0, 0, 1),
        new(0x00, 5, 5, 0, 0), new(0x00, 5, 200, 0, 0), new(0x00, 9, 0, 0, 0), new(0x00, 9, 1, 0, 0), new(0x00, 9, 2, 0, 0), new(0x00, 9, 3, 0, 0), new(0x00, 9, 77, 0, 0),
        new(0x01, 11, 0, 0, 0), new(0x01, 11, 1, 0, 0), new(0x01, 11, 2, 0, 0), new(0x01, 11, 3, 0, 0), new(0x01, 11, 9, 9, 0),
        new(0x02, 1, 0, 0x81, 0), new(0x02, 1, 0, 0x01, 0), new(0x02, 1, 0, 0x02, 0), new(0x02, 3, 0, 0x81, 0), new(0x02, 3, 0, 0x01, 0), new(0x02, 3, 0, 0, 0), new(0x02, 1, 0, 0, 0),
        new(0x00, 3, 1, 0, 0), new(0x00, 1, 1, 0, 0), new(0x00, 3, 2, 0x0100, 0), new(0x01, 3, 0, 0x300, 0), new(0x00, 48, 0, 0, 6), new(0x00, 49, 100, 0, 0),
        new(0x21, 0xff, 0, 0, 0), new(0xa1, 0xfe, 0, 0, 1), new(0x21, 9, 0x200, 0, 1), new(0xa1, 1, 0x100, 0, 8), new(0x21, 10, 0, 0, 0), new(0xa1, 2, 0, 0, 1), new(0x21, 11, 0, 0, 0), new(0xa1, 3, 0, 0, 1),
        new(0x40, 0x5b, 0, 0, 512), new(0xc0, 0x5c, 0, 0, 512), new(0xc0, 0x5c, 0, 0, 65535), new(0x40, 0x5b, 0, 0, 65535), new(0x40, 0x5b, 0, 0, 0), new(0xc0, 0xff, 0, 0, 64),
        new(0x80, 12, 0, 0x82, 2), new(0x00, 7, 0x100, 0, 18), new(0x80, 6, 0x0200, 0, 65535), new(0x80, 6, 0x0100, 0, 0),
    ];

    private int Slot() => 1 + (_in.Byte() & 7);

    private void DoGuest(FuzzAction action)
    {
        switch (action)
        {
            case FuzzAction.RegisterRead:
                _machine.ReadBar(Offset(_in.Word()), 1 + (_in.Byte() & 7));
                break;
            case FuzzAction.RegisterWrite:
                _machine.WriteBar(Offset(_in.Word()), 1 + (_in.Byte() & 7), Value(_in.Byte(), _in.Word()));
                break;
            case FuzzAction.InterestingWrite:
                (int offset, uint value) = Interesting[_in.Byte() % Interesting.Length];
                _guest.Write(offset, value);
                if ((_in.Byte() & 1) != 0) _machine.Step(1);
                break;
            case FuzzAction.ConfigAccess:
                ConfigAccess(_in.Byte(), _in.Byte(), _in.Byte(), _in.Word());
                break;
            case FuzzAction.Doorbell:
                _guest.RingDoorbell(_in.Byte() % 10, _in.Byte() | ((uint)_in.Word() << 16));
                _machine.Step(_in.Byte() & 3);
                break;
            case FuzzAction.Start:
                _guest.Start(_in.Byte());
                break;
            case FuzzAction.PortWrite:
                PortWrite(_in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.ResetPort:
                _guest.ResetPort(1 + (_in.Byte() & 7), (_in.Byte() & 1) != 0);
                break;
            case FuzzAction.EnableAndAddress:
                _guest.Address(1 + (_in.Byte() & 7), (_in.Byte() & 1) != 0, (UsbSpeed)(_in.Byte() & 3));
                break;
            case FuzzAction.AddressDevice:
                AddressDevice(Slot(), _in.Byte(), (UsbSpeed)(_in.Byte() & 3), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.ConfigureEndpoints:
                ConfigureEndpoints(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.EvaluateContext:
                EvaluateContext(Slot(), _in.Byte(), _in.Word(), _in.Byte());
                break;
            case FuzzAction.SlotCommand:
                SlotCommand(_in.Byte(), Slot(), _in.Byte());
                break;
            case FuzzAction.RawCommand:
                _guest.Command((GuestTrbType)(_in.Byte() & 0x3f), _in.Byte() % 12, _in.Byte(), FuzzLayout.Address(_in.Byte(), _in.Byte()), (uint)_in.Byte() << 9, (uint)_in.Byte() << 16);
                break;
            case FuzzAction.EndpointCommand:
                EndpointCommand(_in.Byte(), Slot(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.SetDequeue:
                SetDequeue(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.BulkTransfer:
                Transfer(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.ManyTransfers:
                ManyTransfers(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.IsochTransfer:
                IsochTransfer(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.ControlTransfer:
                _guest.Control(Slot(), new SetupPacket(_in.Byte(), _in.Byte(), _in.Byte(), 0, _in.Byte()), _in.Byte(), FuzzLayout.Buffers, _in.Byte());
                break;
            case FuzzAction.StandardRequest:
                StandardRequest(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.RawTrb:
                RawTrb(_in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Word(), _in.Byte());
                break;
            case FuzzAction.Link:
                Link(_in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.PokeStructure:
                Poke(FuzzLayout.Address(_in.Byte(), _in.Byte()), _in.Byte(), _in.Byte(), _in.Word());
                break;
            case FuzzAction.PokeContext:
                PokeContext(_in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.Tear:
                _memory.ArmTear(_in.Byte() & 63, FuzzLayout.Address(_in.Byte(), _in.Byte()), (uint)Value(_in.Byte(), _in.Word()));
                break;
            case FuzzAction.Streams:
                _guest.FillStreams(_in.Byte() & 7, (_in.Byte() & 1) != 0, _in.Byte());
                break;
            case FuzzAction.StreamTransfer:
                StreamTransfer(Slot(), _in.Byte(), _in.Word(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.EventRing:
                EventRing(_in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Word());
                break;
            case FuzzAction.TakeEvents:
                int interrupter = _in.Byte() & 3;
                _guest.TakeEvents(interrupter, (_in.Byte() & 1) == 0);
                break;
            case FuzzAction.RunStop:
                _guest.Write(FuzzGuest.UsbCommand, _in.Byte() | ((uint)_in.Byte() << 8));
                _machine.Step(_in.Byte() & 3);
                break;
            case FuzzAction.SaveRestore:
                SaveRestore(_in.Byte());
                break;
            case FuzzAction.DiskCommand:
                DiskCommand(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.MsiXEntry:
                _machine.WriteBar(0x3000u + (uint)((_in.Byte() & 0x1f) * 8), 8, Value(_in.Byte(), _in.Word()));
                break;
            case FuzzAction.Power:
                _machine.WriteConfig(0x54, 2, _in.Word());
                break;
            case FuzzAction.CommandRing:
                CommandRing(_in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.Race:
                Race(Slot(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            default:
                _machine.Step(1);
                break;
        }
    }

    private static ulong Offset(ushort raw) => (raw & 0xc000) switch
    {
        0x0000 => (ulong)(raw & 0x3fff),
        0x4000 => (ulong)(0x40 + (raw & 0x7f)),
        0x8000 => (ulong)(0x440 + (raw & 0x7f)),
        _ => (ulong)(0x1000 + (raw & 0xff)),
    };

    private static ulong Value(byte selector, ushort raw) => (selector & 15) switch
    {
        0 => raw,
        1 => (ulong)raw << 16,
        2 => (ulong)raw << 32,
        3 => (ulong)raw << 48,
        4 => ulong.MaxValue,
        5 => 0,
        6 => ~(ulong)raw,
        7 => 1UL << (raw & 63),
        8 => raw | ((ulong)raw << 16) | ((ulong)raw << 32),
        _ => FuzzLayout.Address(raw & 0xff, raw >> 8),
    };

    private void ConfigAccess(byte offset, byte size, byte selector, ushort raw)
    {
        if ((size & 0x80) != 0) _machine.ReadConfig(offset, 1 + (size & 7));
        else _machine.WriteConfig(offset, 1 + (size & 7), Value(selector, raw));
    }

    private void PortWrite(byte port, byte what, byte raw)
    {
        int offset = FuzzGuest.Ports + ((port & 7) * 16);
        uint keep = _guest.Read(offset) & 0x0e00_c200;
        switch (what & 15)
        {
            case 0:
                _guest.Write(offset, keep | 0x10);
                break;
            case 1:
                _guest.Write(offset, keep | 0x8000_0000);
                break;
            case 2:
                _guest.Write(offset, keep | 2);
                break;
            case 3:
                _guest.Write(offset, keep & ~0x200u);
                break;
            case 4:
                _guest.Write(offset, keep | 0x00fe_0000);
                break;
            case 5 or 6 or 7:
                _guest.Write(offset, keep | 0x10000 | ((uint)(raw & 15) << 5));
                break;
            case 8:
                _guest.Write(offset, keep | ((uint)(raw & 7) << 25));
                break;
            case 9:
                _guest.Write(offset + 4, raw | ((uint)raw << 8) | ((uint)raw << 24));
                break;
            case 10:
                _guest.Write(offset + 8, raw);
                break;
            case 11:
                _guest.Write(offset + 12, raw);
                break;
            default:
                _machine.WriteBar((ulong)offset + (ulong)(raw & 3), 1 + ((raw >> 2) & 7), raw * 0x0101_0101u);
                break;
        }

        _machine.Step(what >> 6);
    }

    private void AddressDevice(int slot, byte port, UsbSpeed speed, byte mutation, byte value)
    {
        _guest.FillAddressContext(slot, port % 10, speed);
        if (mutation != 0) MutateInput(slot, mutation, value);
        _guest.Command(GuestTrbType.AddressDevice, slot, 0, FuzzLayout.InputContext(slot), (value & 1) != 0 ? GuestTrb.BlockSetAddress : 0);
    }

    private void MutateInput(int slot, byte mutation, byte value)
    {
        ulong at = FuzzLayout.InputContext(slot) + ((ulong)mutation * 4 % 0x420);
        _memory.Write32(at, _memory.Read32(at) ^ ((uint)value << ((value & 3) * 8)));
    }

    // Bits of how: 1:0 device kind, 3:2 speed, 5:4 alternate, 6 drop what is added, 7 DC. mask leaves endpoints out.
    private void ConfigureEndpoints(int slot, byte how, byte mask, byte streams, byte mutation, byte value, byte odd)
    {
        if ((how & 0x80) != 0 && mask == 0)
        {
            _guest.Command(GuestTrbType.ConfigureEndpoint, slot, 0, FuzzLayout.InputContext(slot), GuestTrb.Deconfigure);
            return;
        }

        EndpointPlan[] all = EndpointPlans.Of((FuzzDevice)(how & 3), (UsbSpeed)((how >> 2) & 3), (how >> 4) & 3);
        Span<EndpointPlan> plans = stackalloc EndpointPlan[all.Length];
        int count = 0;
        uint drop = 0;
        for (int i = 0; i < all.Length; i++)
        {
            if ((mask & (1 << i)) != 0) continue;
            EndpointPlan plan = all[i];
            if ((how & 0x40) != 0) drop |= 1u << plan.Dci;
            plans[count++] = (odd & 7) switch
            {
                1 => plan with { Interval = odd >> 3 },
                2 => plan with { Burst = odd >> 3, Mult = odd >> 6 },
                3 => plan with { Packet = odd * 8 },
                4 => plan with { Kind = (TransferKind)((odd >> 3) & 3) },
                5 => plan with { Address = (byte)(plan.Address ^ (odd >> 3)) },
                _ => plan,
            };
        }

        _guest.ConfigureEndpoints(slot, plans[..count], drop, streams, mutation, value);
    }

    private void EvaluateContext(int slot, byte flags, ushort value, byte mutation)
    {
        ulong input = FuzzLayout.InputContext(slot);
        _memory.Guest(input, 0x800).Clear();
        _memory.Write32(input + 4, flags);
        _memory.Write32(input + 36, value);
        _memory.Write32(input + 40, (uint)(value & 7) << 22);
        _memory.Write32(input + 68, ((uint)value << 16) | (4 << 3) | 6);
        if (mutation != 0) MutateInput(slot, mutation, (byte)(value >> 8));
        _guest.Command(GuestTrbType.EvaluateContext, slot, 0, input);
    }

    private void SlotCommand(byte what, int slot, byte raw)
    {
        switch (what % 8)
        {
            case 0:
                _guest.Command(GuestTrbType.EnableSlot, flags: (uint)(raw & 3) << 16);
                break;
            case 1:
                _guest.Command(GuestTrbType.DisableSlot, slot);
                break;
            case 2:
                _guest.Command(GuestTrbType.ResetDevice, slot);
                break;
            case 3:
                _guest.Command(GuestTrbType.NoOpCommand);
                break;
            case 4:
                _guest.Command(GuestTrbType.GetPortBandwidth, raw & 3, 1 + (raw & 3), FuzzLayout.Address((raw >> 5) == 7 ? 20 : 25, raw & 7));
                break;
            case 5:
                _guest.Command((GuestTrbType)(18 + (raw % 8)), slot, 0, FuzzLayout.Scratch);
                break;
            case 6:
                _guest.Command((GuestTrbType)(48 + (raw & 15)), slot);
                break;
            default:
                _guest.Command(GuestTrbType.ConfigureEndpoint, slot, 0, FuzzLayout.InputContext(slot), GuestTrb.Deconfigure);
                break;
        }
    }

    private void EndpointCommand(byte what, int slot, byte dci, byte rounds)
    {
        uint flag = (what & 0x10) != 0 ? 1u << 9 : 0;
        GuestTrbType type = (what & 3) == 0 ? GuestTrbType.ResetEndpoint : GuestTrbType.StopEndpoint;
        if ((what & 0x20) != 0) flag |= 1u << 23;
        _guest.Command(type, slot, Dci(dci), 0, flag, 0, 1 + (rounds & 7));
    }

    private static int Dci(byte raw) => (raw & 0x40) != 0 ? raw & 31 : 1 + ((raw & 15) % 7);

    private void SetDequeue(int slot, byte dci, byte where, byte offset, byte stream, byte type)
    {
        int target = Dci(dci);
        ulong pointer = (where & 7) switch
        {
            0 or 1 => _guest.Enqueue(FuzzGuest.RingOf(slot, target)),
            2 => FuzzLayout.TransferRing(slot, target) + ((ulong)(offset & 15) * 16) + (ulong)(offset >> 7),
            3 => _guest.Enqueue(FuzzGuest.RingOfStream(stream)),
            4 => FuzzLayout.StreamRing(stream) + ((ulong)(offset & 15) * 16) + (ulong)(offset >> 7),
            _ => FuzzLayout.Address(where >> 3, offset),
        };
        bool ofStream = (type & 0x80) != 0;
        _guest.Command(GuestTrbType.SetTrDequeue, slot, target, pointer | ((ulong)(type & 7) << 1), 0, ofStream ? (uint)stream << 16 : 0);
        if ((where & 0x80) != 0) _guest.RingDoorbell(slot, (uint)target | (ofStream ? (uint)stream << 16 : 0));
        _machine.Step(2);
    }

    private static int Length(byte raw) => (raw & 15) switch
    {
        0 => 512, 1 => 0, 2 => 1, 3 => 8, 4 => 31, 5 => 13, 6 => 64, 7 => 1024, 8 => 4096, 9 => 65536, 10 => 65535, 11 => 0x1ffff, 12 => 511, 13 => 513, 14 => raw, _ => raw * 16,
    };

    // A TD of 1 to 8 TRBs. flags: ISP, NS, CH at the end, IOC, IDT of the last TRB; 5 IOC on all; 6 Event Data at its end; 7 no doorbell.
    private void Transfer(int slot, byte dci, byte length, byte shape, byte flags, byte where, byte offset)
    {
        int target = Dci(dci);
        int ring = FuzzGuest.RingOf(slot, target);
        int count = 1 + (shape & 7);
        int part = Length(length);
        ulong buffer = FuzzLayout.Address(where, offset);
        uint all = ((uint)flags & 1) << 2 | ((flags & 0x20) != 0 ? GuestTrb.InterruptOnCompletion : 0) | ((uint)(shape & 8) >> 2);
        for (int i = 0; i < count; i++)
        {
            bool last = i == count - 1;
            uint bits = all;
            if (!last || (flags & 0x44) != 0) bits |= GuestTrb.Chain;
            if (last && (flags & 0x48) == 0) bits |= GuestTrb.InterruptOnCompletion;
            if (last && (flags & 0x10) != 0) bits |= GuestTrb.ImmediateData;
            if (last && (shape & 0x10) != 0) bits |= GuestTrb.BlockEventInterrupt;
            _guest.Put(ring, GuestTrb.Normal(unchecked(buffer + ((ulong)i * (ulong)part)), part, bits, count - 1 - i, shape >> 5));
        }

        if ((flags & 0x40) != 0) _guest.Put(ring, GuestTrb.EventData(buffer, GuestTrb.InterruptOnCompletion | ((flags & 4) != 0 ? GuestTrb.Chain : 0), shape >> 5));
        if ((flags & 0x80) != 0) return;
        _guest.RingDoorbell(slot, (uint)target);
        _machine.Step(3);
        _guest.TakeEvents((shape >> 5) & 3, acknowledge: true);
    }

    private void ManyTransfers(int slot, byte dci, byte count, byte length, byte flags)
    {
        int target = Dci(dci);
        int ring = FuzzGuest.RingOf(slot, target);
        for (int i = 0; i <= (count & 15); i++)
            _guest.Put(ring, GuestTrb.Normal(FuzzLayout.Buffers + ((ulong)i * 64), Length(length), GuestTrb.InterruptOnCompletion | (((uint)flags & 1) << 2) | (uint)(flags & 2) << 8));
        if ((flags & 0x80) != 0) return;
        _guest.RingDoorbell(slot, (uint)target);
        _machine.Step(flags >> 5);
    }

    private void IsochTransfer(int slot, byte dci, byte count, byte length, byte frame, byte flags)
    {
        int target = (dci & 0x40) != 0 ? dci & 31 : 4 + (dci & 1);
        int ring = FuzzGuest.RingOf(slot, target);
        uint now = _guest.Read(FuzzGuest.Runtime) >> 3;
        for (int i = 0; i <= (count & 15); i++)
        {
            int? id = (flags & 1) == 0 ? null : (int)(now + frame + (uint)(i * ((flags >> 1) & 3)));
            uint bits = GuestTrb.InterruptOnCompletion | ((uint)(flags & 8) >> 1) | ((flags & 0x10) != 0 ? GuestTrb.Chain : 0);
            _guest.Put(ring, GuestTrb.Isoch(FuzzLayout.Buffers + ((ulong)i * 1024), Length(length), id, (flags >> 5) & 3, frame & 15, bits));
            if ((flags & 0x10) != 0) _guest.Put(ring, GuestTrb.Normal(FuzzLayout.Buffers, 64, GuestTrb.InterruptOnCompletion));
        }

        _guest.RingDoorbell(slot, (uint)target);
        _machine.Step(1);
        if ((flags & 0x80) == 0) _machine.Advance((ulong)(frame & 15) * 250_000, 16);
        _guest.TakeEvents(0, acknowledge: true);
    }

    private void StandardRequest(int slot, byte which, byte length, byte shape, byte where)
    {
        SetupPacket setup = Requests[which % Requests.Length];
        int stage = (length & 3) switch { 0 or 1 => setup.Length, 2 => setup.Length / 2, _ => Length((byte)(length >> 2)) };
        _guest.Control(slot, setup, stage, FuzzLayout.Address(where, 0), shape);
    }

    // Any TRB type with any bits on any ring, at or ahead of the producer's place.
    private void RawTrb(byte ringSelector, byte type, byte where, byte status, ushort control, byte how)
    {
        int ring = ringSelector % 16 == 15 ? 0 : FuzzGuest.RingOf(1 + ((ringSelector >> 4) & 7), 1 + (ringSelector & 15));
        uint bits = ((uint)type & 0x3f) << 10 | ((uint)control & 0x3ff) | ((uint)control & 0xfc00) << 16;
        uint length = (uint)Length(status) | ((uint)(status & 0xf0) << 13);
        ulong parameter = FuzzLayout.Address(where, control >> 8);
        if ((how & 1) != 0) _guest.PutRaw(ring, how >> 4, parameter, length, bits);
        else _guest.Put(ring, new GuestTrb(parameter, length, bits), (how & 2) != 0);
        if ((how & 4) == 0 && ring != 0) _guest.RingDoorbell(1 + ((ringSelector >> 4) & 7), 1u + (uint)(ringSelector & 15));
        else if ((how & 4) == 0) _guest.RingDoorbell(0, 0);
        _machine.Step(2);
        _guest.TakeEvents(0, acknowledge: (how & 8) == 0);
    }

    private void Link(byte ringSelector, byte target, byte offset, byte flags, byte ahead)
    {
        int slot = 1 + ((ringSelector >> 4) & 7);
        int dci = 1 + (ringSelector & 15);
        int ring = (flags & 0x80) != 0 ? 0 : (flags & 0x40) != 0 ? FuzzGuest.RingOfStream(offset) : FuzzGuest.RingOf(slot, dci);
        ulong here = _guest.Enqueue(ring) & ~0xfUL;
        ulong to = (target & 3) switch
        {
            0 => here,
            1 => FuzzGuest.BaseOf(ring),
            2 => here - ((ulong)(offset & 7) * 16),
            _ => FuzzLayout.Address(target >> 2, offset),
        };
        uint bits = GuestTrb.TypeBits(GuestTrbType.Link) | ((uint)flags & 0x3f) | (uint)(_guest.Enqueue(ring) & 1);
        _guest.PutRaw(ring, ahead & 3, to, 0, bits);
        _guest.RingDoorbell(ring == 0 ? 0 : slot, ring == 0 ? 0 : (uint)dci);
        _machine.Step(3);
        _guest.TakeEvents(0, acknowledge: true);
    }

    private void Poke(ulong address, byte size, byte selector, ushort raw)
    {
        ulong value = Value(selector, raw);
        if ((size & 3) == 0) _memory.Write64(address, value);
        else _memory.Write32(address, (uint)(value & 0xffff_ffff));
    }

    private void PokeContext(byte slot, byte dci, byte dword, byte shift, byte value)
    {
        ulong at = ((slot & 0x80) != 0 ? FuzzLayout.InputContext(slot) : FuzzLayout.DeviceContext(1 + (slot & 7))) + ((ulong)(dci & 31) * 32) + ((ulong)(dword & 7) * 4);
        _memory.Write32(at, _memory.Read32(at) ^ unchecked((uint)value << (shift & 31)));
    }

    private void StreamTransfer(int slot, byte dci, ushort stream, byte length, byte flags)
    {
        int target = 2 + (dci & 1);
        int id = (flags & 0x80) != 0 ? stream : stream & 0x1f;
        int ring = FuzzGuest.RingOfStream(id);
        for (int i = 0; i <= (flags & 3); i++)
            _guest.Put(ring, GuestTrb.Normal(FuzzLayout.Buffers, Length(length), GuestTrb.InterruptOnCompletion | ((uint)flags & 4)));
        _guest.RingDoorbell(slot, (uint)target | ((uint)id << 16));
        _machine.Step(1 + ((flags >> 4) & 7));
        _guest.TakeEvents(0, acknowledge: (flags & 8) == 0);
    }

    private void EventRing(byte interrupter, byte what, byte segments, byte size, ushort raw)
    {
        int i = interrupter & 3;
        int set = FuzzGuest.Runtime + 0x20 + (i * 0x20);
        switch (what & 7)
        {
            case 0:
                _guest.SetUpEventRing(i, 1 + (segments & 3), (what & 8) != 0, raw);
                break;
            case 1:
                _guest.Write(set + 8, segments);
                break;
            case 2:
                _guest.Write64(set + 0x10, FuzzLayout.Address(segments, size));
                break;
            case 3:
                _guest.Write64(set + 0x18, FuzzLayout.Address(segments, size) | ((uint)what >> 4));
                break;
            case 4:
                ulong entry = FuzzLayout.SegmentTable(i) + ((ulong)(segments & 3) * 16);
                _memory.Write64(entry, FuzzLayout.Address(segments >> 2, size));
                _memory.Write64(entry + 8, raw);
                break;
            case 5:
                _guest.Write(set + 4, raw | ((uint)size << 16));
                break;
            case 6:
                _guest.Write(set, size);
                break;
            default:
                _guest.Acknowledge(i);
                break;
        }

        _machine.Step(1);
    }

    private void SaveRestore(byte how)
    {
        uint run = (how & 1) != 0 ? 5u : 0;
        if ((how & 1) == 0) _guest.Write(FuzzGuest.UsbCommand, 0);
        _guest.Write(FuzzGuest.UsbCommand, run | 0x100);
        _machine.Step(2);
        if ((how & 2) != 0) _guest.Write(FuzzGuest.UsbCommand, 2);
        if ((how & 4) != 0)
        {
            _guest.Write(FuzzGuest.Configure, FuzzMachine.Slots);
            _guest.Write64(FuzzGuest.ContextArray, FuzzLayout.Dcbaa);
        }

        _guest.Write(FuzzGuest.UsbCommand, 0x200);
        _machine.Step(2);
        _guest.Read(FuzzGuest.UsbStatus);
        if ((how & 8) == 0) return;
        _guest.ResetRing(0);
        _guest.Write64(FuzzGuest.CommandRingControl, FuzzLayout.CommandRing | 1);
        for (int i = 0; i < FuzzMachine.Interrupters; i++) _guest.SetUpEventRing(i, 1, false, 0);
        _guest.Write(FuzzGuest.UsbCommand, 5);
    }

    // A command block in its wrapper, its data stage and its status stage, each of which can be left out or be wrong.
    private void DiskCommand(int slot, byte operation, byte block, byte count, byte how, byte odd)
    {
        const ulong Wrapper = FuzzLayout.Buffers;
        const ulong Data = FuzzLayout.Buffers + 0x1000;
        Span<byte> cbw = _memory.Guest(Wrapper, 31);
        cbw.Clear();
        "USBC"u8.CopyTo(cbw);
        cbw[4] = odd;
        bool isIn = (how & 1) != 0;
        int length = (how & 0xe) switch { 0 => (count & 15) * 512, 2 => 0, 4 => 36, 6 => 8, 8 => 512, 10 => 255, 12 => odd, _ => 65536 };
        cbw[8] = (byte)(length & 0xff);
        cbw[9] = (byte)((length >> 8) & 0xff);
        cbw[10] = (byte)(length >> 16);
        cbw[12] = isIn ? (byte)0x80 : (byte)0;
        cbw[14] = (byte)((operation >> 5) switch { 0 => 6, 4 => 16, 5 => 12, _ => 10 });
        cbw[15] = operation;
        cbw[20] = block;
        cbw[23] = (byte)(count & 15);
        if (cbw[14] == 16) cbw[28] = cbw[23];
        if (cbw[14] == 6) cbw[19] = (byte)length;
        if ((how & 0x80) != 0) cbw[odd % 31] ^= (byte)(odd | 1);
        int sent = (how & 0x40) != 0 ? odd : 31;
        Queue(slot, 4, Wrapper, sent);
        if (length > 0 && (how & 0x20) == 0) Queue(slot, isIn ? 3 : 4, Data, Math.Min(length, 65536));
        Queue(slot, 3, Wrapper + 64, 13);
        _machine.Step(6);
        _guest.TakeEvents(0, acknowledge: true);
    }

    private void Queue(int slot, int dci, ulong buffer, int length)
    {
        _guest.Put(FuzzGuest.RingOf(slot, dci), GuestTrb.Normal(buffer, length, GuestTrb.InterruptOnCompletion | GuestTrb.InterruptOnShort));
        _guest.RingDoorbell(slot, (uint)dci);
        _machine.Step(2);
    }

    private void CommandRing(byte what, byte offset, byte raw)
    {
        switch (what & 7)
        {
            case 0:
                _guest.Write(FuzzGuest.CommandRingControl, 2);
                break;
            case 1:
                _guest.Write(FuzzGuest.CommandRingControl, 4);
                break;
            case 2:
                _guest.Write64(FuzzGuest.CommandRingControl, FuzzLayout.Address(raw, offset) | ((uint)what >> 7));
                break;
            case 3:
                // Two commands and a stop between them.
                _guest.Put(0, GuestTrb.Command(GuestTrbType.NoOpCommand));
                _guest.Put(0, GuestTrb.Command(GuestTrbType.EnableSlot));
                _guest.RingDoorbell(0, 0);
                _guest.Write(FuzzGuest.CommandRingControl, (raw & 1) != 0 ? 4u : 2);
                break;
            case 4:
                for (int i = 0; i <= (raw & 63); i++) _guest.Put(0, GuestTrb.Command((GuestTrbType)(offset & 0x3f), 1 + (raw >> 6)));
                _guest.RingDoorbell(0, 0);
                break;
            case 5:
                _guest.ResetRing(0);
                _guest.Write64(FuzzGuest.CommandRingControl, FuzzLayout.CommandRing | 1);
                break;
            default:
                _guest.RingDoorbell(0, 0);
                break;
        }

        _machine.Step(2);
        _guest.TakeEvents(0, acknowledge: (what & 0x40) == 0);
    }

    // Transfers under way, and in the same breath something that takes them away.
    private void Race(int slot, byte dci, byte what, byte count, byte raw)
    {
        int target = Dci(dci);
        ManyTransfers(slot, dci, count, (byte)(raw & 15), 0);
        switch (what % 10)
        {
            case 0:
                _guest.Command(GuestTrbType.StopEndpoint, slot, target, rounds: 1 + (raw >> 6));
                break;
            case 1:
                _guest.Command(GuestTrbType.DisableSlot, slot);
                break;
            case 2:
                _guest.Command(GuestTrbType.ResetDevice, slot);
                break;
            case 3:
                Detach(1 + (raw & 3));
                break;
            case 4:
                _guest.Write(FuzzGuest.UsbCommand, 0);
                break;
            case 5:
                _guest.Write(FuzzGuest.UsbCommand, 2);
                break;
            case 6:
                _guest.Write(FuzzGuest.Ports + ((raw & 7) * 16), 0x210);
                break;
            case 7:
                _guest.Command(GuestTrbType.StopEndpoint, slot, target, rounds: 1);
                _guest.Command(GuestTrbType.SetTrDequeue, slot, target, _guest.Enqueue(FuzzGuest.RingOf(slot, target)), rounds: 1);
                _guest.RingDoorbell(slot, (uint)target);
                break;
            case 8:
                _guest.Command(GuestTrbType.ConfigureEndpoint, slot, 0, FuzzLayout.InputContext(slot), GuestTrb.Deconfigure);
                break;
            default:
                _machine.WriteConfig(4, 2, 0);
                _machine.Step(2);
                _machine.WriteConfig(4, 2, 6);
                break;
        }

        _machine.Step(raw & 7);
        _guest.TakeEvents(0, acknowledge: true);
    }
}
