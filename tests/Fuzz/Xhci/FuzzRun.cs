using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>One case: interprets the input as actions. FuzzRun.Guest.cs has those of the driver, this file those of the host.</summary>
public sealed partial class FuzzRun
{
    /// <summary>Most actions of a case; inputs are not longer.</summary>
    private const int MaxActions = Mutator.MaxLength / InputReader.Unit;

    private static readonly byte[] FakeConfiguration = MakeFakeConfiguration();

    private readonly FuzzMemory _memory;
    private readonly InputReader _in = new();
    private readonly SmallStore _store = new();
    private readonly DevicePool _pool;
    private readonly IUsbDevice?[] _devices = new IUsbDevice?[FuzzMachine.Connectors + 1];
    private readonly FuzzDevice[] _kinds = new FuzzDevice[FuzzMachine.Connectors + 1];
    private readonly UsbSpeed[] _speeds = new UsbSpeed[FuzzMachine.Connectors + 1];
    private FuzzMachine _machine = null!;
    private FuzzGuest _guest = null!;
    private UsbRequest? _stale;
    private readonly GadgetZeroOptions[] _zeroOptions = new GadgetZeroOptions[FuzzMachine.Connectors + 1];
    private DiskOptions _diskOptions = new();

    public FuzzRun(FuzzMemory memory)
    {
        _memory = memory;
        _pool = new DevicePool(_store);
    }

    public FuzzMachine Machine => _machine;

    /// <summary>Runs an input from power-on and returns the hash of everything the guest could see.</summary>
    public ulong Run(byte[] input, int length)
    {
        _memory.Reset();
        _pool.Reset();
        _machine = new FuzzMachine(_memory);
        _guest = new FuzzGuest(_memory, _machine);
        Array.Clear(_devices);
        _stale = null;
        _in.Reset(input, length);
        for (int i = 0; i < MaxActions && !_machine.IsSpent && _in.TryNext(out byte opcode); i++)
        {
            var action = (FuzzAction)(opcode % (int)FuzzAction.Count);
            _guest.Action = (int)action;
            Do(action);
            NoteState(action);
        }

        _machine.Step(4);
        _machine.Absorb(_memory.Hash());
        return _machine.Hash;
    }

    /// <summary>After a case: everything unplugged and reset must leave nothing behind.</summary>
    public void CheckEnd()
    {
        _ = _machine.Inspect();
        for (int i = 1; i <= FuzzMachine.Connectors; i++) _machine.Detach(i);
        for (int i = 0; i < 64 && _machine.IsDue; i++) _machine.Round();
        _machine.Controller.Reset();
        for (int i = 0; i < 8; i++) _machine.Round();
        string tree = _machine.Inspect();
        if (!tree.Contains("/xhci/transfers/in-use 0\n", StringComparison.Ordinal))
        {
            int at = tree.IndexOf("/xhci/transfers/", StringComparison.Ordinal);
            throw new OracleException("leak", $"transfers are left after detach and reset: {tree[at..Math.Min(tree.Length, at + 200)]}");
        }
    }

    private void Do(FuzzAction action)
    {
        switch (action)
        {
            case FuzzAction.Step:
                _machine.Step(1 + (_in.Byte() & 15));
                break;
            case FuzzAction.AdvanceTime:
                AdvanceTime(_in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.Attach:
                Attach(Connector(), (FuzzDevice)(_in.Byte() & 3), (UsbSpeed)(_in.Byte() & 3), _in.Byte());
                break;
            case FuzzAction.Detach:
                Detach(Connector());
                break;
            case FuzzAction.BringUp:
                BringUp(Connector(), _in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.HostSaveRestore:
                HostSaveRestore(_in.Byte());
                break;
            case FuzzAction.FakeDevice:
                FakeDevice(_in.Byte(), _in.Byte(), _in.Byte(), _in.Byte());
                break;
            case FuzzAction.DeviceInput:
                DeviceInput(_in.Byte(), _in.Byte());
                break;
            case FuzzAction.StoreControl:
                StoreControl(_in.Byte(), _in.Byte());
                break;
            case FuzzAction.Protect:
                _memory.Protect(_in.Byte(), (byte)(_in.Byte() % 3));
                _memory.RunLimit = (_in.Byte() & 7) switch { 1 => 1, 2 => 3, 3 => 16, 4 => 100, 5 => 4096, _ => 0 };
                break;
            case FuzzAction.Inspect:
                _machine.Absorb((ulong)_machine.Inspect().Length);
                break;
            default:
                DoGuest(action);
                break;
        }
    }

    private int Connector() => 1 + (_in.Byte() & 3);

    private void AdvanceTime(byte kind, byte amount, byte stops)
    {
        ulong n = (ulong)amount + 1;
        ulong span = (kind & 7) switch
        {
            0 => n * 125_000,
            1 => n * 1_000,
            2 => n * 1_000_000,
            3 => n * 50_000_000,
            4 => n * 2_048_000_000,
            5 => n * 3_600_000_000_000,
            6 => n << 50,
            _ => n,
        };
        _machine.Advance(span, 1 + (stops & 31));
        _guest.TakeEvents(0, acknowledge: (kind & 8) == 0);
    }

    private void Attach(int connector, FuzzDevice kind, UsbSpeed speed, byte how)
    {
        if (_devices[connector] is not null) return;
        if (kind == FuzzDevice.Disk && speed == UsbSpeed.Low) speed = UsbSpeed.High;
        IUsbDevice device;
        switch (kind)
        {
            case FuzzDevice.Disk:
                for (int i = 1; i <= FuzzMachine.Connectors; i++)
                    if (_devices[i] is DiskDevice) return;
                _store.Reset((how & 1) != 0, (how & 2) == 0, (how & 4) != 0);
                _diskOptions = new DiskOptions { Speed = speed, Removable = (how & 8) != 0, Uas = (how & 16) != 0 && speed != UsbSpeed.Full };
                device = _pool.Disk(_diskOptions);
                break;
            case FuzzDevice.Keyboard:
                device = new BootKeyboard(speed);
                break;
            case FuzzDevice.Fake:
                device = NewFake(speed, how);
                break;
            default:
                device = _pool.Zero(_zeroOptions[connector] = new GadgetZeroOptions { Speed = speed, Pattern = (ZeroPattern)(how % 3) });
                break;
        }

        if (_machine.Attach(connector, device) != AttachResult.Attached) return;
        _devices[connector] = device;
        _kinds[connector] = kind;
        _speeds[connector] = speed;
    }

    private void Detach(int connector)
    {
        _machine.Detach(connector);
        _devices[connector] = null;
    }

    // The long road in one action: device, controller, port, slot, address, configuration.
    private void BringUp(int connector, byte kind, byte how, byte start, byte attach)
    {
        Attach(connector, (FuzzDevice)(kind & 3), (UsbSpeed)((kind >> 2) & 3), attach);
        uint command = _guest.Read(FuzzGuest.UsbCommand);
        if ((command & 1) == 0 || command == uint.MaxValue || (kind & 0x80) != 0) _guest.Start(start);
        if (_devices[connector] is null) return;
        _guest.Enumerate(connector, _kinds[connector], _speeds[connector], how);
    }

    private static FakeDevice NewFake(UsbSpeed speed, byte how) => new(speed)
    {
        KeepCalls = false,
        Configuration = FakeConfiguration,
        PacesItself = (how & 1) != 0,
        CompletesAtOnce = (how & 2) == 0,
        AnswersConfiguration = (how & 4) == 0,
        CancelsAtOnce = (how & 8) == 0,
        ResetsAtOnce = (how & 16) == 0,
        Answer = (how & 0x60) switch { 0x20 => RequestStatus.Stall, 0x40 => RequestStatus.TransactionError, 0x60 => RequestStatus.Babble, _ => RequestStatus.Success },
    };

    // Late, in any order, with a length of its own invention, twice, or about requests of long ago.
    private void FakeDevice(byte connector, byte what, byte which, byte amount)
    {
        if (_devices[1 + (connector & 3)] is not TestKit.Devices.FakeDevice fake || !fake.IsAttached) return;
        _machine.FromOutside(() =>
        {
            switch (what % 12)
            {
                case 0 or 1 when fake.Held.Count > 0:
                    CompleteHeld(fake, which, RequestStatus.Success, amount);
                    break;
                case 2 when fake.Held.Count > 0:
                    CompleteHeld(fake, which, (RequestStatus)(amount % 9), amount);
                    break;
                case 3 when _stale is { } stale:
                    fake.Host!.Complete(stale, (RequestStatus)(amount % 8));
                    break;
                case 4:
                    fake.FinishReset();
                    break;
                case 5:
                    fake.Host!.RemoteWake();
                    break;
                case 6:
                    fake.CompletesAtOnce = (which & 1) != 0;
                    fake.CancelsAtOnce = (which & 2) != 0;
                    fake.AnswersConfiguration = (which & 4) != 0;
                    fake.ResetsAtOnce = (which & 8) != 0;
                    fake.Answer = (RequestStatus)(amount % 8);
                    break;
                case 7:
                    fake.NextDeadline = _machine.Now.Plus(amount * 100_000UL);
                    break;
                case 8 when fake.Held.Count > 0:
                    // Progress without completion, honest or not.
                    fake.Held[which % fake.Held.Count].ActualLength = amount switch { 255 => -1, 254 => int.MaxValue, _ => amount };
                    break;
                case 9 when fake.Held.Count > 0:
                    while (fake.Held.Count > 0) CompleteHeld(fake, amount, RequestStatus.Success, 0);
                    break;
                case 10:
                    fake.Host!.ResetDone();
                    break;
                default:
                    fake.Configuration = (which & 1) == 0 ? FakeConfiguration : FakeConfiguration[..(amount % FakeConfiguration.Length)];
                    break;
            }
        });
    }

    private void CompleteHeld(FakeDevice fake, byte which, RequestStatus status, byte amount)
    {
        UsbRequest request = fake.Held[which % fake.Held.Count];
        _stale = request;
        int actual = (amount & 7) switch
        {
            0 or 1 => request.Length,
            2 => request.Length / 2,
            3 => 0,
            4 => request.Length + 1,
            5 => -1,
            6 => int.MaxValue,
            _ => Math.Min(amount, request.Length),
        };
        for (int i = 0; i < request.PacketCount; i++)
        {
            request.Packets[i].ActualLength = actual;
            request.Packets[i].Status = status;
        }

        fake.Complete(request, status, actual);
        if ((amount & 0x80) != 0) fake.Host!.Complete(request, status);
    }

    private void DeviceInput(byte connector, byte what)
    {
        IUsbDevice? device = _devices[1 + (connector & 3)];
        if (device is BootKeyboard keyboard)
            _machine.FromOutside(() => _ = (connector & 0x80) != 0 ? keyboard.Release(what) : keyboard.Press(what));
        else if (device is GadgetZero zero)
            _machine.FromOutside(() => _ = zero.TryWake());
    }

    private void StoreControl(byte what, byte value)
    {
        _machine.FromOutside(() =>
        {
            switch (what % 5)
            {
                case 0:
                    _store.EndOne(value);
                    break;
                case 1:
                    _store.Holds = (value & 1) != 0;
                    break;
                case 2:
                    _store.Outcome = (BlockResult)(value % 5);
                    break;
                case 3:
                    while (_store.Held > 0) _store.EndOne(value);
                    break;
                default:
                    _store.Direct = (value & 1) != 0;
                    break;
            }
        });
    }

    private void NoteState(FuzzAction action)
    {
        if (FuzzCase.Features is null) return;
        var op = (uint)action;
        uint status = _machine.Peek(FuzzGuest.UsbStatus);
        FuzzCase.Hit(10, status, op);
        for (int port = 0; port < 2 * FuzzMachine.Connectors; port++)
        {
            uint portsc = _machine.Peek(FuzzGuest.Ports + (port * 16));
            if (portsc != 0x2a0) FuzzCase.Hit(11, portsc & 0x80fe_03f3, op, port < FuzzMachine.Connectors ? 0u : 1u);
        }

        for (int slot = 1; slot <= FuzzMachine.Slots; slot++)
        {
            uint state = _guest.SlotState(slot);
            if (state == 0) continue;
            FuzzCase.Hit(12, state, op);
            for (int dci = 1; dci < 8; dci++)
            {
                uint endpoint = _guest.EndpointState(slot, dci);
                if (endpoint != 0) FuzzCase.Hit(13, endpoint, _guest.EndpointType(slot, dci), op);
            }
        }
    }

    private static byte[] MakeFakeConfiguration() => new DescriptorBuilder()
        .Interface(0)
        .Endpoint(0x81, TransferKind.Bulk, 512).Companion(15, 4)
        .Endpoint(0x01, TransferKind.Bulk, 512).Companion(15, 4)
        .Endpoint(0x82, TransferKind.Isochronous, 1024, 4).Companion(3, 2, 12288)
        .Endpoint(0x02, TransferKind.Isochronous, 1024, 4).Companion(3, 2, 12288)
        .Endpoint(0x83, TransferKind.Interrupt, 64, 4)
        .Endpoint(0x03, TransferKind.Interrupt, 64, 4)
        .Build();
}
