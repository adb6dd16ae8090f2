using System;
using System.Collections.Generic;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>
/// A device on a bench: requests go straight to an <see cref="IUsbDevice"/> as a pipeline would hand them over, with flat
/// memory in place of a guest. Completions are kept in order in <see cref="Completed"/>.
/// </summary>
public sealed class DeviceBench : IUsbDeviceHost
{
    private readonly List<UsbRequest> _completed = new(1024);
    private readonly Dictionary<UsbRequest, RequestStatus> _statuses = new(1024);
    private readonly UsbRequest _controlRequest = new();

    public DeviceBench(IUsbDevice device, int memorySize = 4 << 20)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        Memory = new FlatMemory(memorySize);
        device.Attached(this);
    }

    public IUsbDevice Device { get; }

    public FlatMemory Memory { get; }

    IGuestMemory IUsbDeviceHost.Memory => Memory;

    public VirtualTime Now { get; set; }

    /// <summary>Requests given back since the last <see cref="Forget"/>, in order.</summary>
    public IReadOnlyList<UsbRequest> Completed => _completed;

    public int Resets { get; private set; }

    public int RemoteWakes { get; private set; }

    /// <summary>Where <see cref="Control(byte, byte, ushort, ushort, ReadOnlySpan{byte}, int)"/> puts its data stage: the last 64 KiB of memory.</summary>
    public int ControlBuffer => Memory.Bytes.Length - (64 << 10);

    public void Complete(UsbRequest request, RequestStatus status)
    {
        if (!_statuses.TryAdd(request, status)) throw new InvalidOperationException("A request was given back twice.");
        _completed.Add(request);
    }

    public void ResetDone() => Resets++;

    public void RemoteWake() => RemoteWakes++;

    /// <summary>Status of a completed request, or null while it is with the device.</summary>
    public RequestStatus? StatusOf(UsbRequest request) => _statuses.TryGetValue(request, out RequestStatus status) ? status : null;

    /// <summary>Forgets all completions, so that their requests may be submitted again.</summary>
    public void Forget()
    {
        _completed.Clear();
        _statuses.Clear();
    }

    /// <summary>Makes a bulk, interrupt or isochronous request over one buffer at <paramref name="address"/>.</summary>
    public static UsbRequest Make(byte endpoint, TransferKind kind, int address, int length)
    {
        var request = new UsbRequest { Endpoint = new EndpointAddress(endpoint), Kind = kind };
        request.Data.Add(new GuestAddress((ulong)address), length);
        return request;
    }

    /// <summary>Submits a new request and returns it; see <see cref="StatusOf"/>.</summary>
    public UsbRequest Submit(byte endpoint, TransferKind kind, int address, int length)
    {
        UsbRequest request = Make(endpoint, kind, address, length);
        Device.Submit(request);
        return request;
    }

    /// <summary>Writes <paramref name="data"/> to memory at <paramref name="address"/> and submits it to an OUT endpoint.</summary>
    public UsbRequest Send(byte endpoint, TransferKind kind, ReadOnlySpan<byte> data, int address = 0)
    {
        data.CopyTo(Memory.Bytes[address..]);
        return Submit(endpoint, kind, address, data.Length);
    }

    /// <summary>Lets time pass: calls the device at each of its deadlines up to <paramref name="now"/>, at most 1000 of them.</summary>
    public void RunUntil(VirtualTime now)
    {
        for (int i = 0; i < 1000 && Device.NextDeadline <= now; i++)
        {
            if (Device.NextDeadline > Now) Now = Device.NextDeadline;
            Device.Advance(Now);
        }

        Now = now;
        Device.Advance(now);
    }

    /// <summary>A control transfer; the data stage is <paramref name="length"/> bytes, also when wLength differs. Submitted as a pipeline does.</summary>
    public ControlResult Control(SetupPacket setup, ReadOnlySpan<byte> data, int length)
    {
        UsbRequest request = _controlRequest;
        request.Clear();
        request.Kind = TransferKind.Control;
        request.Setup = setup;
        Span<byte> buffer = Memory.Bytes.Slice(ControlBuffer, 64 << 10);
        if (!data.IsEmpty) data.CopyTo(buffer);
        request.Data.Add(new GuestAddress((ulong)ControlBuffer), length);
        _statuses.Remove(request);
        _completed.Remove(request);
        Route(request);
        if (StatusOf(request) is not { } status) throw new InvalidOperationException("The control request is still pending.");
        _statuses.Remove(request);
        _completed.Remove(request);
        return new ControlResult(status, setup.IsIn ? buffer[..request.ActualLength].ToArray() : [], request.ActualLength);
    }

    /// <summary>A control transfer with its data stage as wLength says.</summary>
    public ControlResult Control(byte requestType, byte request, ushort value = 0, ushort index = 0, ReadOnlySpan<byte> data = default, int length = 0) =>
        (requestType & 0x80) != 0
            ? Control(new SetupPacket(requestType, request, value, index, (ushort)length), default, length)
            : Control(new SetupPacket(requestType, request, value, index, (ushort)data.Length), data, data.Length);

    /// <summary>SET_CONFIGURATION.</summary>
    public RequestStatus Configure(byte configuration) => Control(0x00, (byte)StandardRequest.SetConfiguration, configuration).Status;

    /// <summary>SET_INTERFACE.</summary>
    public RequestStatus SelectAlternate(byte number, byte alternate) => Control(0x01, (byte)StandardRequest.SetInterface, alternate, number).Status;

    private void Route(UsbRequest request)
    {
        SetupPacket setup = request.Setup;
        if (setup.Is(0x00, StandardRequest.SetConfiguration)) Device.SetConfiguration(request, (byte)(setup.Value & 0xff));
        else if (setup.Is(0x01, StandardRequest.SetInterface)) Device.SetInterface(request, (byte)(setup.Index & 0xff), (byte)(setup.Value & 0xff));
        else if (setup.Is(0x02, StandardRequest.ClearFeature) && setup.Value == 0) Device.ClearHalt(request, new EndpointAddress((byte)(setup.Index & 0xff)));
        else Device.Submit(request);
    }
}

/// <summary>How a control transfer on the bench ended.</summary>
public sealed record ControlResult(RequestStatus Status, byte[] Data, int ActualLength);
