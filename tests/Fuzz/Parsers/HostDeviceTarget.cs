using System;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Fuzz.Xhci;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>
/// The backend of physical devices between a guest and a host's USB stack, neither of which is trusted. The first eight bytes
/// of input change the device's descriptors; eight bytes each are then a request, its cancel, the end of a transfer or of
/// an operation in any order and with any result, a reset, streams, memory that is used up. At the end the stack answers
/// everything, and then every request must have come back and every buffer be in the pool.
/// </summary>
public sealed class HostDeviceTarget : IFuzzTarget, IUsbDeviceHost
{
    private const int Header = 8;
    private const long Work = 100_000;

    private static readonly byte[] Block = HostDeviceRig.Block(HostDeviceRig.Configuration(), HostDeviceRig.Configuration(2));

    [ThreadStatic]
    private static HostDeviceTarget? _self;

    private readonly FuzzMemory _memory = new();
    private readonly RequestShelf _requests = new();
    private readonly ConfigurationTable _table = new();
    private FakeHostHandle _handle = null!;
    private HostDevice _device = null!;
    private bool _resetting;
    private bool _detached;

    public static string Name => "libusb";

    public VirtualTime Now { get; private set; }

    public IGuestMemory Memory => _memory;

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        HostDeviceTarget self = _self ??= new HostDeviceTarget();
        self.Run(input);
    }

    public void Complete(UsbRequest request, RequestStatus status)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (_detached) throw new OracleException("contract", "a request was given back after the detach");
        _requests.GiveBack(request);
        for (int i = 0; i < request.PacketCount; i++)
        {
            IsoPacket packet = request.Packets[i];
            if (packet.ActualLength < 0 || packet.ActualLength > packet.Length) throw new OracleException("contract", $"{packet.ActualLength} of {packet.Length} bytes of a packet");
        }

        FuzzCase.Hit(80, (uint)status, (uint)Math.Min(request.ActualLength, 64), request.Endpoint.Value);
    }

    public void ResetDone()
    {
        if (!_resetting) throw new OracleException("contract", "a reset that nobody asked for is done");
        _resetting = false;
        FuzzCase.Hit(81, 1);
    }

    public void RemoteWake() => FuzzCase.Hit(81, 2);

    private void Run(ReadOnlySpan<byte> input)
    {
        _memory.Reset();
        _requests.Reset();
        _resetting = false;
        _detached = false;
        Now = VirtualTime.Zero;
        _handle = new FakeHostHandle { KeepLists = false };
        var descriptors = new HostDescriptors(Descriptors(input));
        _device = new HostDevice(_handle, descriptors);
        _device.Attached(this);
        FuzzCase.Hit(82, (uint)descriptors.Count);
        for (int at = Header; at + 8 <= input.Length && !_detached; at += 8)
        {
            long before = _memory.Accesses;
            ReadOnlySpan<byte> action = input.Slice(at, 8);
            Act(action);
            if ((action[7] & 0x40) == 0) Turn(0);
            FuzzCase.Hit(83, action[0] % 12u, (uint)Math.Min(_handle.InFlight.Count, 7), _handle.OperationRuns ? 1u : 0);
            if (_memory.Accesses - before > Work) throw new OracleException("work", $"{_memory.Accesses - before} accesses to guest memory in one action");
        }

        _table.Load(_device.ActiveConfigurationDescriptor);
        FuzzCase.Hit(84, (uint)_table.Problem, (uint)Math.Min(_table.SettingCount, 40));
        if (FuzzCase.Thorough) _ = InspectWriter.Dump(_device);
        Settle();
        if (!_detached) Detach();
        Settle();
        if (_handle.Rented != 0) throw new OracleException("leak", $"{_handle.Rented} transfers are not in the pool");
    }

    private static byte[] Descriptors(ReadOnlySpan<byte> input)
    {
        byte[] block = [.. Block];
        if (input.Length < Header) return block;
        for (int i = 0; i < 3; i++)
        {
            if (input[i * 2] != 0) block[input[i * 2] % block.Length] = input[(i * 2) + 1];
        }

        return block[..(block.Length - (input[6] % block.Length))];
    }

    private void Act(ReadOnlySpan<byte> action)
    {
        switch (action[0] % 12)
        {
            case 0 or 1 or 2:
                Submit(action);
                break;
            case 3:
                Isochronous(action);
                break;
            case 4:
                Control(new SetupPacket(action[1], action[2], action[3], action[4], (ushort)(action[5] << (action[6] & 7))), action[7] & 0x3f);
                break;
            case 5:
                Configure(action);
                break;
            case 6 or 7:
                EndTransfer(action);
                break;
            case 8:
                if (_handle.OperationRuns) _handle.EndOperation(HostOutcome.FromNumber(-(action[1] % 14)));
                break;
            case 9:
                if (_requests.Held(action[1]) is { } held) _device.Cancel(held);
                break;
            case 10:
                _handle.SubmitResult = (action[1] & 1) == 0 ? HostError.None : HostOutcome.FromNumber(-(action[2] % 14));
                _handle.NoMemory = (action[1] & 2) != 0;
                _handle.CancelsAtOnce = (action[1] & 4) == 0;
                int length = action[3] | (action[4] << 8);
                _handle.CancelledLength = _ => length;
                break;
            default:
                Rare(action);
                break;
        }
    }

    private void Rare(ReadOnlySpan<byte> action)
    {
        switch (action[1] % 5)
        {
            case 0:
                _resetting = true;
                _device.Reset();
                break;
            case 1:
                var endpoint = new EndpointAddress((byte)(action[2] & 0x8f));
                if (endpoint.Number != 0) _device.SetStreams(endpoint, action[3]);
                break;
            case 2:
                Turn((ulong)action[2] << 20);
                break;
            case 3:
                _device.SetSuspended((action[2] & 1) != 0);
                break;
            default:
                if (action[2] == 0xff) Detach();
                break;
        }
    }

    private void Submit(ReadOnlySpan<byte> action)
    {
        var endpoint = new EndpointAddress((byte)(action[1] & 0x8f));
        if (endpoint.Number == 0 || _requests.Take() is not { } request) return;
        request.Endpoint = endpoint;
        request.Kind = (action[2] & 1) == 0 ? TransferKind.Bulk : TransferKind.Interrupt;
        request.StreamId = (ushort)(action[2] >> 3);
        request.Data.Add(new GuestAddress(FuzzLayout.Address(action[3], action[4])), action[5] | (action[6] << 8) | ((action[7] & 1) << 16));
        _device.Submit(request);
    }

    private void Isochronous(ReadOnlySpan<byte> action)
    {
        var endpoint = new EndpointAddress((byte)(action[1] & 0x8f));
        if (endpoint.Number == 0 || _requests.Take() is not { } request) return;
        int length = action[3] | (action[4] << 8);
        request.Endpoint = endpoint;
        request.Kind = TransferKind.Isochronous;
        request.Data.Add(new GuestAddress(FuzzLayout.Address(action[5], action[6])), length);
        request.PacketCount = 1 + (action[2] & 31);
        request.Packets = new IsoPacket[request.PacketCount];
        for (int i = 0; i < request.PacketCount; i++)
        {
            int offset = (i * action[7] * 7) % (length + 1);
            request.Packets[i] = new IsoPacket { Offset = offset, Length = Math.Min(length - offset, (action[7] & 0x80) != 0 ? length : 1024) };
        }

        _device.Submit(request);
    }

    private void Control(SetupPacket setup, int surplus)
    {
        // These three come by calls of their own, and SET_ADDRESS never.
        bool own = setup.Is(0x00, StandardRequest.SetConfiguration) || setup.Is(0x01, StandardRequest.SetInterface)
            || (setup.Is(0x02, StandardRequest.ClearFeature) && setup.Value == 0) || setup.Is(0x00, StandardRequest.SetAddress);
        if (own || _requests.Take() is not { } request) return;
        request.Kind = TransferKind.Control;
        request.Setup = setup;
        request.Data.Add(new GuestAddress(FuzzLayout.Buffers), Math.Max(0, setup.Length - 8 + surplus));
        _device.Submit(request);
    }

    private void Configure(ReadOnlySpan<byte> action)
    {
        if (_requests.Take() is not { } request) return;
        request.Kind = TransferKind.Control;
        switch (action[1] % 3)
        {
            case 0:
                request.Setup = new SetupPacket(0x00, (byte)StandardRequest.SetConfiguration, action[2], 0, 0);
                _device.SetConfiguration(request, action[2]);
                break;
            case 1:
                request.Setup = new SetupPacket(0x01, (byte)StandardRequest.SetInterface, action[3], action[2], 0);
                _device.SetInterface(request, action[2], action[3]);
                break;
            default:
                request.Setup = new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, action[2], 0);
                _device.ClearHalt(request, new EndpointAddress(action[2]));
                break;
        }
    }

    // Any transfer in flight, not the oldest; statuses and lengths that libusb does not have among them.
    private void EndTransfer(ReadOnlySpan<byte> action)
    {
        if (_handle.InFlight.Count == 0) return;
        FakeTransfer transfer = _handle.InFlight[action[1] % _handle.InFlight.Count];
        int actual = (action[5] & 3) switch { 0 => transfer.Length, 1 => action[3] | (action[4] << 8), 2 => -action[3], _ => int.MaxValue - action[3] };
        for (int i = 0; i < transfer.PacketCount; i++)
            transfer.PacketResults[i] = new HostPacket((HostTransferStatus)(action[6] * i % 9), (action[7] & 1) == 0 ? transfer.PacketLengths[i] : action[3] * i);
        _handle.End(transfer, (HostTransferStatus)(action[2] % 9), actual);
    }

    private void Detach()
    {
        _detached = true;
        _device.Detached();
        _requests.Reset();
    }

    private void Turn(ulong nanoseconds)
    {
        Now = Now.Plus(nanoseconds);
        _device.Deliver();
        for (int i = 0; i < 8 && _device.NextDeadline <= Now; i++) _device.Advance(Now);
    }

    // From here on the stack does what it is asked: everything comes to an end.
    private void Settle()
    {
        _handle.SubmitResult = HostError.None;
        _handle.NoMemory = false;
        _handle.CancelsAtOnce = true;
        for (int i = 0; i < 256 && (_requests.Busy > 0 || _handle.InFlight.Count > 0 || _handle.OperationRuns || _resetting); i++)
        {
            if (_handle.OperationRuns) _handle.EndOperation();
            _handle.EndAll(HostTransferStatus.Completed);
            Turn(HostDeviceLimits.RetryNanoseconds);
            if (_detached) _resetting = false;
        }

        Turn(0);
        if (_requests.Busy > 0) throw new OracleException("leak", $"{_requests.Busy} requests were never given back");
        if (_resetting) throw new OracleException("leak", "a reset was never done");
    }
}
