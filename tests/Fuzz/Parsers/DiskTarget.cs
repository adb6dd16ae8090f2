using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Fuzz.Xhci;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>
/// Bulk-only transport, USB Attached SCSI and SCSI without a controller before them: eight bytes of input are a piece of a
/// command wrapper, a data stage, a status stage, a unit, a transfer on a stream, a control request, a completion of the
/// medium or a cancel.
/// </summary>
public sealed class DiskTarget : IFuzzTarget, IUsbDeviceHost
{
    private const long Work = 100_000;

    [ThreadStatic]
    private static DiskTarget? _self;

    private readonly FuzzMemory _memory = new();
    private readonly SmallStore _store = new();
    private readonly RequestShelf _requests = new();
    private readonly byte[] _wrapper = new byte[31];
    private readonly DevicePool _pool;
    private DiskDevice _disk = null!;

    private DiskTarget() => _pool = new DevicePool(_store);

    public static string Name => "disk";

    public VirtualTime Now { get; private set; }

    public IGuestMemory Memory => _memory;

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        DiskTarget self = _self ??= new DiskTarget();
        self.Run(input);
    }

    public void Complete(UsbRequest request, RequestStatus status)
    {
        ArgumentNullException.ThrowIfNull(request);
        _requests.GiveBack(request);
        FuzzCase.Hit(50, (uint)status, (uint)Math.Min(request.ActualLength, 64), request.Endpoint.Value);
    }

    public void ResetDone() => FuzzCase.Hit(51, 1);

    public void RemoteWake() => FuzzCase.Hit(51, 2);

    private void Run(ReadOnlySpan<byte> input)
    {
        _memory.Reset();
        _requests.Reset();
        Array.Clear(_wrapper);
        Now = VirtualTime.Zero;
        byte options = input.IsEmpty ? (byte)0 : input[0];
        _pool.Reset();
        _store.Reset((options & 1) != 0, (options & 2) != 0, (options & 4) != 0);
        var speed = (UsbSpeed)(1 + (options >> 6) % 3);
        bool uas = (options & 16) != 0 && speed != UsbSpeed.Full;
        var disk = new DiskOptions { Speed = speed, Removable = (options & 8) != 0, Uas = uas };
        _disk = _pool.Disk(disk);
        _disk.Attached(this);
        Control(new SetupPacket(0, 9, 1, 0, 0), 0);
        if (uas) Select(1);
        for (int at = 0; at + 8 <= input.Length && _memory.Accesses < Work; at += 8)
        {
            if (uas) ActUas(input.Slice(at, 8));
            else Act(input.Slice(at, 8));
        }

        if (FuzzCase.Thorough)
        {
            _ = InspectWriter.Dump(_disk);
            var copy = new DiskDevice(_store, disk);
            copy.Attached(this);
            if (!copy.TryRestore(_disk.Capture(), out string error)) throw new OracleException("restore", error);
        }

        _disk.Detached();

        // What the store still has comes back to a disk that is gone.
        for (int i = 0; i < 64; i++) _store.EndOne(0);
    }

    private void Act(ReadOnlySpan<byte> action)
    {
        long before = _memory.Accesses;
        switch (action[0] % 10)
        {
            case 0 or 1:
                // Four bytes of the command block.
                action.Slice(4, 4).CopyTo(_wrapper.AsSpan(15 + ((action[1] & 3) * 4), 4));
                break;
            case 2:
                SendWrapper(action);
                break;
            case 3:
                Submit(0x81, FuzzLayout.Address(action[1], action[2]), action[3] | (action[4] << 8) | ((action[5] & 1) << 16));
                break;
            case 4:
                Submit(0x02, FuzzLayout.Address(action[1], action[2]), action[3] | (action[4] << 8) | ((action[5] & 1) << 16));
                break;
            case 5:
                Submit(0x81, FuzzLayout.Buffers, 13);
                break;
            case 6:
                Control(new SetupPacket(action[1], action[2], (ushort)action[3], (ushort)action[4], (ushort)(action[5] | (action[6] << 8))), action[7]);
                break;
            case 7:
                _store.EndOne(action[1]);
                _store.Outcome = (BlockResult)(action[2] % 5);
                _store.Holds = (action[3] & 1) != 0;
                break;
            case 8:
                if (_requests.Held(action[1]) is { } held) _disk.Cancel(held);
                break;
            default:
                if ((action[1] & 1) != 0) ClearHalt((action[1] & 2) != 0 ? (byte)0x81 : (byte)0x02);
                else if ((action[1] & 6) == 6) _disk.Reset();
                break;
        }

        for (int i = 0; i < 8 && _disk.NextDeadline <= Now; i++) _disk.Advance(Now);
        FuzzCase.Hit(52, action[0] % 10u, (uint)_requests.Completed & 3);
        if (_memory.Accesses - before > Work) throw new OracleException("work", $"{_memory.Accesses - before} accesses to guest memory in one action");
    }

    private void ActUas(ReadOnlySpan<byte> action)
    {
        long before = _memory.Accesses;
        ushort stream = (ushort)(action[1] & 0x3f);
        int length = action[2] | (action[3] << 8);
        switch (action[0] % 10)
        {
            case 0 or 1:
                // A command: opcode, flags, two bytes of the address, one of the length.
                SendUnit([1, 0, 0, (byte)stream, (byte)(action[7] & 7), 0, 0, 0, 0, (byte)(action[7] >> 7)], action[2], action.Slice(3, 4), 32);
                break;
            case 2:
                SendUnit([5, 0, 0, (byte)stream, action[2], 0, 0, action[3], 0, (byte)(action[4] >> 7)], 0, default, 16);
                break;
            case 3:
                SendUnit(action[1..], 0, default, action[7]);
                break;
            case 4:
                Submit(0x84, FuzzLayout.Buffers, action[2] == 0 ? 64 : action[2], stream);
                break;
            case 5:
                Submit(0x85, FuzzLayout.Address(action[4], action[5]), length, stream);
                break;
            case 6:
                Submit(0x06, FuzzLayout.Address(action[4], action[5]), length, stream);
                break;
            case 7:
                _store.EndOne(action[1]);
                _store.Outcome = (BlockResult)(action[2] % 5);
                _store.Holds = (action[3] & 1) != 0;
                break;
            case 8:
                if (_requests.Held(action[1]) is { } held) _disk.Cancel(held);
                break;
            default:
                if ((action[1] & 1) != 0) ClearHalt((byte)(action[2] & 0x87));
                else if ((action[1] & 6) == 6) _disk.Reset();
                else if ((action[1] & 6) == 4) Select((byte)(action[2] & 1));
                else Control(new SetupPacket(action[2], action[3], (ushort)action[4], (ushort)action[5], 0), 0);
                break;
        }

        FuzzCase.Hit(54, action[0] % 10u, (uint)_requests.Completed & 3);
        if (_memory.Accesses - before > Work) throw new OracleException("work", $"{_memory.Accesses - before} accesses to guest memory in one action");
    }

    private void SendUnit(ReadOnlySpan<byte> start, byte operation, ReadOnlySpan<byte> fields, int length)
    {
        Span<byte> unit = _memory.Guest(FuzzLayout.Scratch, 32);
        unit.Clear();
        start.CopyTo(unit);
        unit[16] = operation;
        if (!fields.IsEmpty)
        {
            unit[17] = fields[0];
            fields.Slice(1, 2).CopyTo(unit[20..]);
            unit[24] = fields[3];
        }

        Submit(0x03, FuzzLayout.Scratch, length);
    }

    private void Select(byte setting)
    {
        if (_requests.Take() is not { } request) return;
        request.Kind = TransferKind.Control;
        request.Setup = new SetupPacket(1, (byte)StandardRequest.SetInterface, setting, 0, 0);
        _disk.SetInterface(request, 0, setting);
    }

    private void SendWrapper(ReadOnlySpan<byte> action)
    {
        "USBC"u8.CopyTo(_wrapper);
        _wrapper[8] = action[1];
        _wrapper[9] = action[2];
        _wrapper[10] = (byte)(action[3] & 1);
        _wrapper[12] = (byte)(action[3] & 0x80);
        _wrapper[14] = action[4] == 0 ? (byte)10 : action[4];
        if (action[5] != 0) _wrapper[15] = action[5];
        _wrapper.CopyTo(_memory.Guest(FuzzLayout.Scratch, 31));
        Submit(0x02, FuzzLayout.Scratch, action[6] == 0 ? 31 : action[6]);
        FuzzCase.Hit(53, _wrapper[15]);
    }

    private void Submit(byte endpoint, ulong address, int length, ushort stream = 0)
    {
        if (_requests.Take() is not { } request) return;
        request.StreamId = stream;
        request.Endpoint = new EndpointAddress(endpoint);
        request.Kind = TransferKind.Bulk;
        request.Data.Add(new GuestAddress(address), length);
        _disk.Submit(request);
    }

    private void Control(SetupPacket setup, int length)
    {
        if (setup.Is(0x00, StandardRequest.SetConfiguration) && _requests.Take() is { } configure)
        {
            configure.Kind = TransferKind.Control;
            configure.Setup = setup;
            _disk.SetConfiguration(configure, (byte)(setup.Value & 0xff));
            return;
        }

        if (setup.Is(0x01, StandardRequest.SetInterface) || (setup.Is(0x02, StandardRequest.ClearFeature) && setup.Value == 0) || setup.Is(0x00, StandardRequest.SetAddress)) return;
        if (_requests.Take() is not { } request) return;
        request.Kind = TransferKind.Control;
        request.Setup = setup;
        request.Data.Add(new GuestAddress(FuzzLayout.Buffers), length);
        _disk.Submit(request);
    }

    private void ClearHalt(byte endpoint)
    {
        if (_requests.Take() is not { } request) return;
        request.Kind = TransferKind.Control;
        request.Setup = new SetupPacket(2, (byte)StandardRequest.ClearFeature, 0, endpoint, 0);
        _disk.ClearHalt(request, new EndpointAddress(endpoint));
    }
}
