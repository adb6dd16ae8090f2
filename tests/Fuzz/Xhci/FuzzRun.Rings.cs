using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Fuzz.Xhci;

/// <content>Transfers, rings, event rings, save and restore by the guest, races.</content>
public sealed partial class FuzzRun
{
    private static int Length(byte raw) => (raw & 15) switch
    {
        0 => 512,
        1 => 0,
        2 => 1,
        3 => 8,
        4 => 31,
        5 => 13,
        6 => 64,
        7 => 1024,
        8 => 4096,
        9 => 65536,
        10 => 65535,
        11 => 0x1ffff,
        12 => 511,
        13 => 513,
        14 => raw,
        _ => raw * 16,
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
        if ((how & 0x10) != 0)
        {
            DiskUnit(slot, operation, block, count, how, odd);
            return;
        }

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

    // The same as units of USB Attached SCSI: a command, or task management for operation ffh, with its status and data. The tag
    // is the stream where bit 3 of `odd` asks for one; streams of one number share a ring, whatever the endpoint.
    private void DiskUnit(int slot, byte operation, byte block, byte count, byte how, byte odd)
    {
        const ulong Unit = FuzzLayout.Buffers + 0x400;
        const ulong Data = FuzzLayout.Buffers + 0x1000;
        int tag = 1 + (odd & 7);
        int stream = (odd & 8) != 0 ? tag : 0;
        bool isManagement = operation == 0xff;
        Span<byte> unit = _memory.Guest(Unit, 32);
        unit.Clear();
        unit[0] = isManagement ? (byte)5 : (byte)1;
        unit[3] = (byte)tag;
        unit[4] = isManagement ? block : (byte)(odd >> 6);
        unit[7] = isManagement ? count : (byte)0;
        unit[16] = operation;
        unit[21] = block;
        unit[24] = (byte)(count & 15);
        if ((how & 0x80) != 0) unit[odd & 31] ^= (byte)(odd | 1);
        bool isIn = (how & 1) != 0;
        int length = (how & 0xe) switch { 0 => (count & 15) * 512, 2 => 0, 4 => 36, 6 => 8, 8 => 512, 10 => 255, 12 => odd, _ => 65536 };
        if ((how & 0x40) == 0) Queue(slot, 9, Unit + 64, 64, stream);
        Queue(slot, 6, Unit, isManagement ? 16 : 32);
        if (length > 0 && (how & 0x20) == 0) Queue(slot, isIn ? 11 : 12, Data, length, stream);
        if ((how & 0x40) != 0) Queue(slot, 9, Unit + 64, odd, stream);
        _machine.Step(6);
        _guest.TakeEvents(0, acknowledge: true);
    }

    private void Queue(int slot, int dci, ulong buffer, int length, int stream = 0)
    {
        int ring = stream == 0 ? FuzzGuest.RingOf(slot, dci) : FuzzGuest.RingOfStream(stream);
        _guest.Put(ring, GuestTrb.Normal(buffer, length, GuestTrb.InterruptOnCompletion | GuestTrb.InterruptOnShort));
        _guest.RingDoorbell(slot, (uint)dci | ((uint)stream << 16));
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
