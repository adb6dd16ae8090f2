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
}
