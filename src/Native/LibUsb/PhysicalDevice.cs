using System;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>How far a physical device is.</summary>
public enum PhysicalState
{
    /// <summary>The slow lane opens it.</summary>
    Opening,

    /// <summary>It is open and all its interfaces are this process's.</summary>
    Open,

    /// <summary>It could not be opened; <see cref="PhysicalDevice.Failure"/> says why. Nothing is held.</summary>
    Failed,

    /// <summary>It is being given back to the host.</summary>
    Closing,

    /// <summary>The host has it again.</summary>
    Closed,
}

/// <summary>
/// One device of the host in this process's hands, over libusb. Members are called on the loop's thread; opening, operations
/// and giving back run on the slow lane, in that order. The kernel's drivers are taken off when it is opened; when it is
/// given back it is reset, has its configuration again and its drivers are bound.
/// </summary>
public sealed unsafe class PhysicalDevice : IHostHandle
{
    private readonly LibUsbContext _context;
    private readonly SlowLane _lane;
    private readonly IEventLoop _loop;
    private readonly PluggedDevice _device;
    private readonly TakenPlace _place;
    private readonly TransferPool _pool;
    private uint _claimed; // Interface numbers, one bit each.
    private readonly int _process;
    private readonly string _guest;
    private byte _original; // The configuration to be restored.
    private Descriptor? _node;
    private nint _handle;
    private volatile PhysicalState _state;
    private LibUsbTransfer? _firstEnded;
    private LibUsbTransfer? _lastEnded;
    private int _inFlight;
    private bool _closing;
    private volatile bool _operationEnded;
    private bool _operationRuns;
    private HostError _operationResult;
    private long _submitted;
    private long _refused;

    /// <summary>Begins to open <paramref name="device"/>; <paramref name="place"/> is disposed when it is closed or has failed.</summary>
    public PhysicalDevice(LibUsbContext context, SlowLane lane, IEventLoop loop, PluggedDevice device, TakenPlace place, string guest)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(lane);
        ArgumentNullException.ThrowIfNull(loop);
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(place);
        _context = context;
        _lane = lane;
        _loop = loop;
        _device = device;
        _place = place;
        _guest = guest;
        _process = Environment.ProcessId;
        _pool = new TransferPool(this);
        Descriptors = new HostDescriptors(UsbSysfs.Descriptors(device));
        lane.Add(Open);
    }

    /// <inheritdoc/>
    public HostDeviceFacts Facts => _device.Facts;

    /// <summary>What the kernel has read of it.</summary>
    public HostDescriptors Descriptors { get; }

    /// <summary>The device as it was found.</summary>
    public PluggedDevice Plugged => _device;

    /// <summary>How far it is.</summary>
    public PhysicalState State => _state;

    /// <summary>Why it could not be opened, for the operator.</summary>
    public string Failure { get; private set; } = "";

    /// <summary>That is because another program has an interface of it.</summary>
    public bool IsClaimedElsewhere { get; private set; }

    /// <summary>Something is under way, so that something will wait to be taken.</summary>
    public bool IsBusy => _inFlight > 0 || _operationRuns || HasEnded;

    /// <summary>Something waits to be taken.</summary>
    public bool HasEnded => _firstEnded is not null || _operationEnded;

    /// <summary>Gives back a device whose process died: as <see cref="Close"/>, but at once. True when the host has it again or it is gone.</summary>
    public static bool TryGiveBack(LibUsbContext context, UsbSysfs sysfs, TakenPlace place)
    {
        ArgumentNullException.ThrowIfNull(context);
        ArgumentNullException.ThrowIfNull(sysfs);
        ArgumentNullException.ThrowIfNull(place);
        TakenRecord? record = place.Record;
        PluggedDevice? device = sysfs.Find(place.BusPath);
        if (device is { IsInReset: true }) return false;
        if (record is not null && device is not null && device.Bus == record.Bus && device.Number == record.Number)
        {
            using Descriptor? node = OpenNode(device, out _);
            nint handle = 0;
            if (node is null || LibUsb.WrapSystemDevice(context.Context, node.Number, &handle) != 0) return false;
            Restore(handle, new HostDescriptors(UsbSysfs.Descriptors(device)), record.Configuration, device.Configuration);
            LibUsb.Close(handle);
        }

        place.Clear();
        return true;
    }

    /// <inheritdoc/>
    public HostTransfer? Rent(int bytes, int packets) => _pool.Rent(_handle, bytes, packets);

    /// <inheritdoc/>
    public void Return(HostTransfer transfer) => _pool.Return((LibUsbTransfer)transfer);

    /// <inheritdoc/>
    public HostError Submit(HostTransfer transfer)
    {
        HostError error = ((LibUsbTransfer)transfer).Submit(_handle);
        if (error == HostError.None)
        {
            _inFlight++;
            _submitted++;
        }
        else
        {
            _refused++;
        }

        return error;
    }

    /// <inheritdoc/>
    public void Cancel(HostTransfer transfer) => ((LibUsbTransfer)transfer).Cancel();

    /// <inheritdoc/>
    public void Start(HostOperation operation)
    {
        _operationRuns = true;
        _lane.Add(() =>
        {
            _operationResult = HostOutcome.FromNumber(Run(operation));
            _operationEnded = true;
            _loop.Wake();
        });
    }

    /// <inheritdoc/>
    public bool TryTakeTransfer([NotNullWhen(true)] out HostTransfer? transfer)
    {
        LibUsbTransfer? first = _firstEnded;
        transfer = first!;
        if (first is null) return false;
        _firstEnded = first.Following;
        if (_firstEnded is null) _lastEnded = null;
        first.Following = null;
        return true;
    }

    /// <inheritdoc/>
    public bool TryTakeOperation(out HostError result)
    {
        result = _operationResult;
        if (!_operationEnded) return false;
        _operationEnded = false;
        _operationRuns = false;
        return true;
    }

    /// <summary>Gives the device back, after its HostDevice was detached. <see cref="State"/> says when that is done.</summary>
    public void Close()
    {
        if (_closing) return;
        _closing = true;
        if (_state == PhysicalState.Open) _state = PhysicalState.Closing;
        CloseWhenQuiet();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("node", _device.Node);
        writer.Text("state", _state.ToString());
        writer.Number("submitted", _submitted);
        writer.Number("refused", _refused);
        writer.Number("in-flight", _inFlight);
        writer.Number("buffers", _pool.Made);
        writer.Number("buffer-bytes", _pool.Bytes);
        writer.Number("device-memory-bytes", _pool.DeviceMemory);
    }

    /// <summary>Called by libusb's callback, on the loop's thread.</summary>
    internal void TransferEnded(LibUsbTransfer transfer)
    {
        _inFlight--;
        if (_lastEnded is null) _firstEnded = transfer;
        else _lastEnded.Following = transfer;
        _lastEnded = transfer;
        if (_closing) CloseWhenQuiet();
    }

    private void CloseWhenQuiet()
    {
        if (_inFlight > 0) return;
        while (TryTakeTransfer(out HostTransfer? transfer)) Return(transfer);
        _lane.Add(GiveBack);
    }

    private void Open()
    {
        Failure = TryOpen() ?? "";
        if (Failure.Length > 0)
        {
            // The kernel's drivers come back to the interfaces that could be taken.
            ReleaseClaims();
            if (_handle != 0) AttachDrivers(_handle, Descriptors, _device.Configuration);
            Release();
            _place.Clear();
            _place.Dispose();
        }

        _state = Failure.Length > 0 ? PhysicalState.Failed : PhysicalState.Open;
        _loop.Wake();
    }

    // Null when it is open.
    private string? TryOpen()
    {
        _node = OpenNode(_device, out string failure);
        if (_node is null) return failure;
        nint handle;
        int result = LibUsb.WrapSystemDevice(_context.Context, _node.Number, &handle);
        if (result != 0) return $"{Facts.BusPath}: libusb does not open it ({HostOutcome.FromNumber(result)})";
        _handle = handle;
        _original = TakenRecord.Original(_place.Record, _device);
        _place.Write(new TakenRecord(_process, _guest, _device.Bus, _device.Number, _original));
        int error = Claim(_device.Configuration);
        if (error == 0) return null;
        string holder = !IsClaimedElsewhere ? "" : $"; {OpenFiles.HolderOf(_device.Node) ?? "another program"} has it";
        return $"{Facts.BusPath}: its interfaces cannot be taken ({HostOutcome.FromNumber(error)}){holder}";
    }

    private static Descriptor? OpenNode(PluggedDevice device, out string failure)
    {
        var node = new Descriptor(Libc.Open(device.Node, Libc.OpenReadWrite | Libc.OpenCloseOnExec, 0));
        failure = node.IsInvalid ? $"{device.Facts.BusPath}: {device.Node}: {Marshal.GetLastPInvokeErrorMessage()}" : "";
        if (!node.IsInvalid) return node;
        node.Dispose();
        return null;
    }

    private void GiveBack()
    {
        if (_state == PhysicalState.Failed) return;
        if (_handle != 0)
        {
            ReleaseClaims();
            Restore(_handle, Descriptors, _original, 0);
        }

        Release();
        _place.Clear();
        _place.Dispose();
        _state = PhysicalState.Closed;
        _loop.Wake();
    }

    // Configuration, reset (the guest may have left it in the middle of something), drivers. Errors are of no use: the device may be gone.
    private static void Restore(nint handle, HostDescriptors descriptors, byte configuration, byte current)
    {
        if (configuration != 0 && configuration != current) _ = LibUsb.SetConfiguration(handle, configuration);
        _ = LibUsb.ResetDevice(handle);
        AttachDrivers(handle, descriptors, configuration);
    }

    private static void AttachDrivers(nint handle, HostDescriptors descriptors, byte configuration)
    {
        uint interfaces = HostDescriptors.InterfacesOf(descriptors.Configuration(configuration));
        for (int number = 0; number < DescriptorLimits.Interfaces; number++)
        {
            if ((interfaces & (1u << number)) != 0) _ = LibUsb.AttachKernelDriver(handle, number);
        }
    }

    private void Release()
    {
        _pool.Free();
        if (_handle != 0) LibUsb.Close(_handle);
        _handle = 0;
        _node?.Dispose();
        _node = null;
    }

    private int Run(HostOperation operation)
    {
        byte endpoint = operation.Target;
        switch (operation.Kind)
        {
            case HostOperationKind.Reset:
                return LibUsb.ResetDevice(_handle);
            case HostOperationKind.SetConfiguration:
                ReleaseClaims();
                int result = LibUsb.SetConfiguration(_handle, operation.Target == 0 ? -1 : operation.Target);
                return result != 0 ? result : Claim(operation.Target);
            case HostOperationKind.SetInterface:
                return LibUsb.SetInterface(_handle, operation.Target, operation.Value);
            case HostOperationKind.ClearHalt:
                return LibUsb.ClearHalt(_handle, endpoint);
            default:
                return operation.Value > 0
                    ? LibUsb.AllocateStreams(_handle, (uint)operation.Value, &endpoint, 1)
                    : LibUsb.FreeStreams(_handle, &endpoint, 1);
        }
    }

    private int Claim(byte configuration)
    {
        uint interfaces = HostDescriptors.InterfacesOf(Descriptors.Configuration(configuration));
        for (int number = 0; number < DescriptorLimits.Interfaces; number++)
        {
            if ((interfaces & (1u << number)) == 0) continue;
            if (LibUsb.KernelDriverActive(_handle, number) == 1) _ = LibUsb.DetachKernelDriver(_handle, number);
            int result = LibUsb.ClaimInterface(_handle, number);
            IsClaimedElsewhere |= HostOutcome.FromNumber(result) == HostError.Busy;
            if (result != 0) return result;
            _claimed |= 1u << number;
        }

        return 0;
    }

    private void ReleaseClaims()
    {
        for (int number = 0; number < DescriptorLimits.Interfaces; number++)
        {
            if ((_claimed & (1u << number)) != 0) _ = LibUsb.ReleaseInterface(_handle, number);
        }

        _claimed = 0;
    }
}
