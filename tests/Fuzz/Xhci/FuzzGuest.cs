using System;
using System.Buffers.Binary;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>
/// The driver half: rings at fixed places, contexts, commands, events. It never waits and never throws; what the hardware
/// does not answer it does without, and goes on.
/// </summary>
public sealed partial class FuzzGuest
{
    public const int Oper = 0x40;
    public const int UsbCommand = Oper;
    public const int UsbStatus = Oper + 4;
    public const int CommandRingControl = Oper + 0x18;
    public const int ContextArray = Oper + 0x30;
    public const int Configure = Oper + 0x38;
    public const int Ports = Oper + 0x400;
    public const int Runtime = 0x1000;
    public const int Doorbells = 0x2000;

    private const int Rings = 1 + (FuzzMachine.Slots * 32) + 256;

    private readonly FuzzMemory _memory;
    private readonly FuzzMachine _machine;

    // Producer position and cycle of every ring: command, slot by DCI, streams.
    private readonly byte[] _index = new byte[Rings];
    private readonly byte[] _cycle = new byte[Rings];

    // Consumer of every event ring.
    private readonly int[] _eventIndex = new int[FuzzMachine.Interrupters];
    private readonly byte[] _eventCycle = new byte[FuzzMachine.Interrupters];
    private readonly int[] _eventTotal = new int[FuzzMachine.Interrupters];
    private readonly int[] _segmentCount = new int[FuzzMachine.Interrupters];

    public FuzzGuest(FuzzMemory memory, FuzzMachine machine)
    {
        _memory = memory;
        _machine = machine;
        Array.Fill(_cycle, (byte)1);
    }

    /// <summary>The last command's completion: code and slot.</summary>
    public GuestCompletion LastCode { get; private set; }

    public int LastSlot { get; private set; }

    /// <summary>Opcode of the action that runs, for features.</summary>
    public int Action { get; set; }

    /// <summary>Slot of the device on a connector, 0 for none, as the driver believes.</summary>
    public int[] SlotOf { get; } = new int[FuzzMachine.Connectors + 1];

    public uint Read(int offset) => (uint)_machine.ReadBar((ulong)offset, 4);

    public void Write(int offset, uint value) => _machine.WriteBar((ulong)offset, 4, value);

    public void Write64(int offset, ulong value)
    {
        Write(offset, (uint)(value & 0xffff_ffff));
        Write(offset + 4, (uint)(value >> 32));
    }

    public static int RingOf(int slot, int dci) => slot == 0 ? 0 : 1 + (((slot - 1) & 7) * 32) + (dci & 31);

    public static int RingOfStream(int stream) => 1 + (FuzzMachine.Slots * 32) + (stream & 0xff);

    public static ulong BaseOf(int ring) =>
        ring == 0 ? FuzzLayout.CommandRing
        : ring <= FuzzMachine.Slots * 32 ? FuzzLayout.TransferRings + ((ulong)(ring - 1) * 0x100)
        : FuzzLayout.StreamRings + ((ulong)(ring - 1 - (FuzzMachine.Slots * 32)) * 0x100);

    /// <summary>Where the next TRB of a ring goes, with its cycle state in bit 0.</summary>
    public ulong Enqueue(int ring) => (BaseOf(ring) + ((ulong)_index[ring] * 16)) | _cycle[ring];

    /// <summary>Puts a TRB on a ring; the last place of the ring is its Link TRB.</summary>
    public ulong Put(int ring, GuestTrb trb, bool invertCycle = false)
    {
        int size = ring == 0 ? FuzzLayout.CommandTrbs : FuzzLayout.TransferTrbs;
        ulong start = BaseOf(ring);
        ulong at = start + ((ulong)_index[ring] * 16);
        WriteTrb(at, trb.Parameter, trb.Status, (trb.Control & ~1u) | (uint)(_cycle[ring] ^ (invertCycle ? 1 : 0)));
        _index[ring]++;
        if (_index[ring] < size - 1) return at;
        uint chain = trb.Control & GuestTrb.Chain;
        WriteTrb(start + ((ulong)_index[ring] * 16), start, 0, GuestTrb.TypeBits(GuestTrbType.Link) | GuestTrb.ToggleCycle | chain | _cycle[ring]);
        _index[ring] = 0;
        _cycle[ring] ^= 1;
        return at;
    }

    /// <summary>A TRB that the ring's producer does not count: the next one overwrites it.</summary>
    public void PutRaw(int ring, int ahead, ulong parameter, uint status, uint control) =>
        WriteTrb(unchecked(BaseOf(ring) + ((ulong)(_index[ring] + ahead) * 16)), parameter, status, control);

    public void ResetRing(int ring)
    {
        _memory.Guest(BaseOf(ring), ring == 0 ? FuzzLayout.CommandTrbs * 16 : FuzzLayout.TransferTrbs * 16).Clear();
        _index[ring] = 0;
        _cycle[ring] = 1;
    }

    public void RingDoorbell(int slot, uint value) => Write(Doorbells + (slot * 4), value);

    /// <summary>Puts a command on its ring, rings, runs the machine and looks at the events.</summary>
    public GuestCompletion Command(GuestTrbType type, int slot = 0, int endpoint = 0, ulong parameter = 0, uint flags = 0, uint status = 0, int rounds = 4)
    {
        LastCode = GuestCompletion.Invalid;
        Put(0, GuestTrb.Command(type, slot & 0xff, endpoint & 0x1f, parameter, flags, status));
        RingDoorbell(0, 0);
        _machine.Step(rounds);
        TakeEvents(0, acknowledge: true);
        FuzzCase.Hit(1, (uint)type, (uint)LastCode, SlotState(slot));
        return LastCode;
    }

    /// <summary>Takes what is on an event ring, notes it, and tells the controller.</summary>
    public void TakeEvents(int interrupter, bool acknowledge)
    {
        int taken = 0;
        for (; taken < 256 && _eventTotal[interrupter] > 0; taken++)
        {
            ulong at = FuzzLayout.EventRing(interrupter) + ((ulong)_eventIndex[interrupter] * 16);
            uint control = _memory.Read32(at + 12);
            if ((control & 1) != _eventCycle[interrupter]) break;
            Note(interrupter, _memory.Read64(at), _memory.Read32(at + 8), control);
            if (++_eventIndex[interrupter] < _eventTotal[interrupter]) continue;
            _eventIndex[interrupter] = 0;
            _eventCycle[interrupter] ^= 1;
        }

        if (taken > 0 && acknowledge) Acknowledge(interrupter);
    }

    public void Acknowledge(int interrupter)
    {
        int segment = _segmentCount[interrupter] == 0 ? 0 : _eventIndex[interrupter] / FuzzLayout.EventTrbs;
        ulong pointer = FuzzLayout.EventRing(interrupter) + ((ulong)_eventIndex[interrupter] * 16);
        Write64(Runtime + 0x20 + (interrupter * 0x20) + 0x18, pointer | 8 | (uint)(segment & 7));
    }

    /// <summary>State of a slot, 0-3, as its context shows it; 7 for no slot.</summary>
    public uint SlotState(int slot) =>
        slot is < 1 or > FuzzMachine.Slots ? 7 : (_memory.Read32(FuzzLayout.DeviceContext(slot) + 12) >> 27) & 7;

    public uint EndpointState(int slot, int dci) =>
        slot is < 1 or > FuzzMachine.Slots ? 7 : _memory.Read32(FuzzLayout.DeviceContext(slot) + ((ulong)(dci & 31) * 32)) & 7;

    public uint EndpointType(int slot, int dci) =>
        slot is < 1 or > FuzzMachine.Slots ? 0 : (_memory.Read32(FuzzLayout.DeviceContext(slot) + ((ulong)(dci & 31) * 32) + 4) >> 3) & 7;

    private void Note(int interrupter, ulong parameter, uint status, uint control)
    {
        uint type = (control >> 10) & 0x3f;
        uint code = status >> 24;
        int slot = (int)(control >> 24);
        int dci = (int)((control >> 16) & 0x1f);
        switch ((GuestTrbType)type)
        {
            case GuestTrbType.CommandCompletion:
                LastCode = (GuestCompletion)code;
                LastSlot = slot;
                FuzzCase.Hit(2, (_memory.Read32(parameter + 12) >> 10) & 0x3f, code, (uint)Action);
                break;
            case GuestTrbType.TransferEvent:
                uint trb = (control & 4) != 0 ? 99 : (_memory.Read32(parameter + 12) >> 10) & 0x3f;
                uint length = status & 0xffffff;
                FuzzCase.Hit(3, code, EndpointType(slot, dci), trb);
                FuzzCase.Hit(4, code, (uint)Action, EndpointState(slot, dci));
                FuzzCase.Hit(5, code, trb, length == 0 ? 0u : length < 64 ? 1u : length < 4096 ? 2u : 3u);
                break;
            default:
                FuzzCase.Hit(6, type, code, (uint)interrupter);
                break;
        }
    }

    private void WriteTrb(ulong at, ulong parameter, uint status, uint control)
    {
        Span<byte> place = _memory.Guest(at, 16);
        if (place.IsEmpty) return;
        BinaryPrimitives.WriteUInt64LittleEndian(place, parameter);
        BinaryPrimitives.WriteUInt32LittleEndian(place[8..], status);
        BinaryPrimitives.WriteUInt32LittleEndian(place[12..], control);
    }
}
