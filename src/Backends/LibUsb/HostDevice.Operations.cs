using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.LibUsb;

public sealed partial class HostDevice
{
    private const byte ToDevice = 0x00;
    private const byte ToInterface = 0x01;
    private const byte ToEndpoint = 0x02;
    private const ushort EndpointHalt = 0;
    private const ushort FunctionSuspend = 0;
    private const ushort TestMode = 2;
    private const ushort U1Enable = 48;
    private const ushort LatencyTolerance = 50;
    private const uint AllLines = uint.MaxValue;

    private HostOperation? _pending; // Waits for its endpoints to come to rest, or runs.
    private UsbRequest? _pendingRequest; // The control request that asked for it; null for reset and streams.
    private bool _running;
    private uint _held; // Endpoints that the pending operation is about.
    private bool _resetWanted; // Until the device was reset: what comes meanwhile waits for it.
    private bool _resetOwed; // The pipeline has not been told that the reset it asked for is over.
    private uint _streamsDirty;
    private long _operations;
    private HostOperation _failedOperation;
    private HostError _failure;

    private bool EndpointsChange =>
        _pending is { Kind: HostOperationKind.SetConfiguration or HostOperationKind.SetInterface or HostOperationKind.Reset };

    /// <inheritdoc/>
    /// <remarks>
    /// It is over for the guest when every request has come back. What the guest sends then waits here until the host's reset is
    /// done too: that one takes as long as the host's kernel likes, a hundred milliseconds and more, and SeaBIOS gives a port up
    /// that is not through with its reset after 100 ms.
    /// </remarks>
    public void Reset()
    {
        _resetOwed = true;
        _resetWanted = true;
        _streamsDirty = 0;
        if (!_running && _pending is not null)
        {
            if (_pendingRequest is { } waiting) _host!.Complete(waiting, RequestStatus.Cancelled);
            _pendingRequest = null;
            _pending = null;
            _held = 0;
        }

        foreach (EndpointLine line in _lines)
        {
            line.Streams = 0;
            for (int left = line.WaitingCount; left > 0; left--) _host!.Complete(line.TakeWaiting()!, RequestStatus.Cancelled);
            HostTransfer? next;
            for (HostTransfer? one = line.First; one is not null; one = next)
            {
                next = one.Next;
                one.Unlinked = true;
                if (!one.Parked)
                {
                    _handle.Cancel(one);
                    continue;
                }

                UsbRequest request = one.Request!;
                line.Remove(one);
                Release(one);
                _host!.Complete(request, RequestStatus.Cancelled);
            }
        }

        // One that runs serves: nothing has reached the device since it began.
        if (_running && _pending is { Kind: HostOperationKind.Reset }) EndReset();
        else Resume();
    }

    /// <summary>Operations that the host's stack did not carry out, since the device was opened.</summary>
    public long FailedOperations { get; private set; }

    /// <summary>One line on the last of them, and what to do; empty when there was none.</summary>
    public string Fault => FailedOperations == 0 ? "" : $"{_failedOperation.Words} failed: {HostOutcome.Explain(_failure)}";

    /// <inheritdoc/>
    public void SetStreams(EndpointAddress endpoint, int streams)
    {
        EndpointLine line = _lines[endpoint.Index];
        line.Streams = streams;
        _streamsDirty |= line.Bit;
        if (_pending is null) Resume();
    }

    // As the pipeline sorts them: the rest of the control requests are transfers.
    private static bool IsOperation(SetupPacket setup) =>
        setup.Is(ToDevice, StandardRequest.SetConfiguration) || setup.Is(ToInterface, StandardRequest.SetInterface)
        || (setup.Is(ToEndpoint, StandardRequest.ClearFeature) && setup.Value == EndpointHalt);

    private static int ControlLength(SetupPacket setup) => System.Math.Min((int)setup.Length, HostDeviceLimits.ControlBytes);

    /// <summary>
    /// Control requests that are not for the device: link power and latencies are between the device and the host's
    /// controller, and a test mode (USB 2.0 §9.4.9) would take the host's port out of service. Null: it goes to the device.
    /// </summary>
    private static RequestStatus? ControlAnswer(UsbRequest request)
    {
        SetupPacket setup = request.Setup;
        bool set = setup.Request == (byte)StandardRequest.SetFeature;
        if (setup.Is(ToDevice, StandardRequest.SetSel) || setup.Is(ToDevice, StandardRequest.SetIsochDelay))
        {
            request.ActualLength = request.Length;
            return RequestStatus.Success;
        }

        if (set || setup.Request == (byte)StandardRequest.ClearFeature)
        {
            if (setup.RequestType == ToDevice && setup.Value is >= U1Enable and <= LatencyTolerance) return RequestStatus.Success;
            if (setup.RequestType == ToDevice && setup.Value == TestMode) return RequestStatus.Stall;
            if (setup.RequestType == ToInterface && setup.Value == FunctionSuspend) return RequestStatus.Success;
        }

        if (request.IsIn) return null;
        if (setup.Length > HostDeviceLimits.ControlBytes || request.Length < setup.Length) return RequestStatus.TransactionError;

        // More data than wLength announces stalls the data stage (USB 2.0 §8.5.3).
        return request.Length > setup.Length ? RequestStatus.Stall : null;
    }

    private bool IsHeld(EndpointLine line) => _resetWanted || line.Recalling || (_held & line.Bit) != 0 || (_streamsDirty & line.Bit) != 0;

    private void BeginControl(UsbRequest request)
    {
        SetupPacket setup = request.Setup;
        byte target = (byte)(setup.Request == (byte)StandardRequest.SetConfiguration ? setup.Value & 0xff : setup.Index & 0xff);
        uint mask;
        HostOperation operation;
        if (setup.Request == (byte)StandardRequest.SetConfiguration)
        {
            if (target != 0 && _descriptors.Configuration(target).IsEmpty)
            {
                _host!.Complete(request, RequestStatus.Stall);
                return;
            }

            operation = new HostOperation(HostOperationKind.SetConfiguration, target);
            mask = AllLines;
            _streamsDirty = 0;
        }
        else if (setup.Request == (byte)StandardRequest.SetInterface)
        {
            operation = new HostOperation(HostOperationKind.SetInterface, target, setup.Value & 0xff);
            mask = HostDescriptors.EndpointsOf(ActiveConfigurationDescriptor, target) | 1;
        }
        else
        {
            var endpoint = new EndpointAddress(target);
            if (endpoint.Number == 0)
            {
                // Endpoint 0 does not stay halted: a success without effect (USB 2.0 §9.4.5).
                _host!.Complete(request, RequestStatus.Success);
                return;
            }

            operation = new HostOperation(HostOperationKind.ClearHalt, endpoint.Value);
            mask = (1u << endpoint.Index) | 1;
        }

        Begin(operation, mask, request);
    }

    // Endpoints that an operation is about come to rest first: their transfers are called back and go out again after it.
    private void Begin(HostOperation operation, uint mask, UsbRequest? request)
    {
        _pending = operation;
        _pendingRequest = request;
        _held = mask;
        foreach (EndpointLine line in _lines)
        {
            if ((mask & line.Bit) == 0) continue;
            line.Recalling = true;
            for (HostTransfer? one = line.First; one is not null; one = one.Next)
            {
                if (!one.Parked) _handle.Cancel(one);
            }
        }

        Drained();
    }

    // Starts the pending operation when its endpoints are at rest.
    private void Drained()
    {
        if (_pending is not { } operation || _running || _host is null) return;
        foreach (EndpointLine line in _lines)
        {
            if ((_held & line.Bit) != 0 && line.Active > 0) return;
        }

        _running = true;
        _operations++;
        _handle.Start(operation);
        if (operation.Kind == HostOperationKind.Reset) EndReset();
    }

    private void EndReset()
    {
        if (!_resetOwed) return;
        _resetOwed = false;
        _configuration = 0;
        _host!.ResetDone();
    }

    private void OperationEnded(HostError result)
    {
        if (_pending is not { } operation) return;
        if (HostOutcome.IsOfHost(result))
        {
            FailedOperations++;
            _failedOperation = operation;
            _failure = result;
        }

        _running = false;
        _pending = null;
        UsbRequest? request = _pendingRequest;
        _pendingRequest = null;
        _held = 0;
        if (_host is null) return;
        if (operation.Kind == HostOperationKind.Reset)
        {
            _resetWanted = false;

            // The device that came back has other descriptors: for the host it is another device (libusb_reset_device).
            if (result is HostError.NotFound or HostError.NoDevice) Vanish();
        }
        else if (operation.Kind == HostOperationKind.SetConfiguration && result == HostError.None)
        {
            _configuration = operation.Target;
        }

        if (request is not null) _host.Complete(request, _resetWanted ? RequestStatus.Cancelled : HostOutcome.OfOperation(result));
        if (result == HostError.NoDevice) Vanish();
        Resume();
    }

    // No operation is pending: the next one begins, or the endpoints go on.
    private void Resume()
    {
        if (_host is null || _running) return;
        if (_pending is not null)
        {
            Drained();
            return;
        }

        _held = 0;
        foreach (EndpointLine line in _lines) Unpark(line);
        if (_resetWanted)
        {
            Begin(new HostOperation(HostOperationKind.Reset), AllLines, null);
            return;
        }

        foreach (EndpointLine line in _lines)
        {
            if ((_streamsDirty & line.Bit) == 0) continue;
            _streamsDirty &= ~line.Bit;
            Begin(new HostOperation(HostOperationKind.SetStreams, line.Address.Value, line.Streams), line.Bit, null);
            break;
        }

        foreach (EndpointLine line in _lines) Pump(line);
    }

    // After an operation that did not begin, transfers that were called back may still be on their way: they follow.
    private void Unpark(EndpointLine line)
    {
        if (line.Active > 0) return;
        line.Recalling = false;
        while (line.Unpark() is { } transfer) Release(transfer);
    }
}
