using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>The way of a request: checks, queue, hand-over, completion.</summary>
internal sealed partial class PortRecord
{
    private static readonly EndpointDescriptor NoEndpoint;

    /// <summary>Takes a request of the frontend.</summary>
    public void Submit(UsbRequest request)
    {
        request.UnlinkRequested = false;
        request.Status = RequestStatus.Success;
        _counters.Submitted();
        EndpointQueue? queue = Session is null ? null : _queues[request.Endpoint.Index];
        request.Queue = queue;
        queue?.Counters.Submitted();
        if (queue is null)
        {
            Finish(request, RequestStatus.NoDevice);
            return;
        }

        if (FindFlaw(request) is { } flaw)
        {
            Refuse(request, flaw);
            return;
        }

        queue.Waiting.Append(request);
        request.State = RequestState.Waiting;
        _waitingMask |= 1u << queue.Address.Index;
        HandOverDue(queue);

        // What will wait is checked now, so that a mistake shows at once; endpoint 0 is checked in turn, for its address may change.
        if (request.State == RequestState.Waiting && queue.Address.Index != 0 && FindMismatch(request, queue, out _) is { } mismatch)
        {
            RemoveWaiting(queue, request);
            Refuse(request, mismatch);
        }
    }

    /// <summary>Asks for a request back.</summary>
    public void Unlink(UsbRequest request, EndpointQueue queue)
    {
        if (request.State == RequestState.Waiting)
        {
            RemoveWaiting(queue, request);
            Finish(request, RequestStatus.Cancelled);
        }
        else if (request.State == RequestState.InFlight && !request.UnlinkRequested)
        {
            request.UnlinkRequested = true;
            Session!.Device.Cancel(request);
        }
    }

    /// <summary>The device gives a request back.</summary>
    public void Complete(UsbRequest request, RequestStatus status)
    {
        if (request.State != RequestState.InFlight || request.Queue is not { } queue || !ReferenceEquals(queue.Port, this))
        {
            NoteDeviceFault("completed a request that it does not have");
            return;
        }

        if (!HasValidLengths(request))
        {
            NoteDeviceFault("claimed to have moved more than was asked for, or less than nothing");
            status = RequestStatus.Babble;
        }
        else if (status is < RequestStatus.Success or > RequestStatus.MemoryFault
            || (status == RequestStatus.Cancelled && !request.UnlinkRequested && !_resetting))
        {
            NoteDeviceFault("ended a request with a status that does not fit");
            status = RequestStatus.TransactionError;
        }

        queue.InFlight.Remove(request);
        queue.Ended(request);
        if (queue.Address.Index == 0) FollowControl(request, status);
        Finish(request, status);
    }

    private static string? FindFlaw(UsbRequest request, int outstanding)
    {
        if (outstanding > PipelineLimits.OutstandingPerPort) return "too many requests outstanding";
        if (request.Length > UsbRequest.MaxLength) return "longer than a request may be";
        if (request.ActualLength < 0 || request.ActualLength > request.Length) return "progress lies outside the data";
        if (request.Endpoint.Number == 0 && request.Kind != TransferKind.Control) return "endpoint 0 is a control endpoint";
        if (request.Kind != TransferKind.Isochronous) return null;
        int packets = request.PacketCount;
        if (packets < 1 || packets > PipelineLimits.IsoPackets || packets > request.Packets.Length) return "bad number of packets";
        foreach (ref readonly IsoPacket packet in request.Packets.AsSpan(0, packets))
        {
            if (packet.Offset < 0 || packet.Length < 0 || packet.Length > request.Length || packet.Offset > request.Length - packet.Length)
                return "a packet lies outside the data";
        }

        return null;
    }

    private string? FindFlaw(UsbRequest request)
    {
        if (_resetting) return "the port is being reset";
        string? flaw = FindFlaw(request, _counters.Outstanding);
        if (_counters.Outstanding <= PipelineLimits.OutstandingPerPort) return flaw;
        _counters.QueueFull();
        request.Queue!.Counters.QueueFull();
        return flaw;
    }

    // Null when the request fits the device's address and configuration (USB 2.0 §8.3.2: a function answers only its own address and endpoints).
    private string? FindMismatch(UsbRequest request, EndpointQueue queue, out EndpointDescriptor endpoint)
    {
        endpoint = NoEndpoint;
        if (request.Address != Address) return "no device of this address on the port";
        if (queue.Address.Index == 0) return null;
        if (!_table.TryFind(queue.Address, out endpoint)) return "endpoint is not in the active configuration";
        if (endpoint.Kind != request.Kind) return "endpoint is of another kind";
        if (request.StreamId > queue.Streams || (request.StreamId == 0 && queue.Streams > 0)) return "no such stream";
        return null;
    }

    private void HandOverDue(EndpointQueue queue)
    {
        for (int budget = PipelineLimits.HandedOverPerStep; budget > 0; budget--)
        {
            if (Session is not { } session || !MayHandOver || queue.Waiting.Head is not { } request) return;
            if (queue.DueAt(session.PacesItself) > pipeline.Now) return;
            RemoveWaiting(queue, request);
            if (FindMismatch(request, queue, out EndpointDescriptor endpoint) is { } mismatch)
            {
                Refuse(request, mismatch);
                continue;
            }

            if (queue.Address.Index == 0)
            {
                HandOverControl(session.Device, request, queue);
                continue;
            }

            if (!session.PacesItself && request.Kind is TransferKind.Interrupt or TransferKind.Isochronous)
                queue.Serve(request, endpoint, session.Speed, pipeline.Now);
            MarkInFlight(queue, request);
            session.Device.Submit(request);
        }
    }

    private void HandOverControl(IUsbDevice device, UsbRequest request, EndpointQueue queue)
    {
        SetupPacket setup = request.Setup;
        switch (ControlActions.Of(setup))
        {
            case ControlAction.SetAddress:
                Address = new DeviceAddress((byte)setup.Value);
                Finish(request, RequestStatus.Success);
                return;
            case ControlAction.Refuse:
                Finish(request, RequestStatus.Stall);
                return;
            case ControlAction.SetConfiguration:
                MarkInFlight(queue, request);
                device.SetConfiguration(request, (byte)(setup.Value & 0xff));
                return;
            case ControlAction.SetInterface:
                MarkInFlight(queue, request);
                device.SetInterface(request, (byte)setup.Index, (byte)setup.Value);
                return;
            case ControlAction.ClearHalt:
                MarkInFlight(queue, request);
                device.ClearHalt(request, new EndpointAddress((byte)setup.Index));
                return;
            default:
                MarkInFlight(queue, request);
                device.Submit(request);
                return;
        }
    }

    private static void MarkInFlight(EndpointQueue queue, UsbRequest request)
    {
        queue.InFlight.Append(request);
        request.State = RequestState.InFlight;
    }

    // What a control request changed in the device, the port's table follows.
    private void FollowControl(UsbRequest request, RequestStatus status)
    {
        if (status != RequestStatus.Success || Session is not { } session || _resetting) return;
        SetupPacket setup = request.Setup;
        switch (ControlActions.Of(setup))
        {
            case ControlAction.SetConfiguration:
                _table.Load(session.Device.ActiveConfigurationDescriptor);
                _configured = _table.IsConfigured;
                if (_table.Problem != DescriptorProblem.None) NoteDeviceFault("has a faulty configuration descriptor");
                _streamsTold = 0;
                TellStreamsAgain(null);
                break;
            case ControlAction.SetInterface:
                if (_table.TrySelect((byte)setup.Index, (byte)setup.Value)) TellStreamsAgain((byte)setup.Index);
                else NoteDeviceFault("selected an alternate setting that its descriptor does not have");
                break;
            default:
                break;
        }
    }

    private static bool HasValidLengths(UsbRequest request)
    {
        bool ok = request.ActualLength >= 0 && request.ActualLength <= request.Length;
        request.ActualLength = Math.Clamp(request.ActualLength, 0, request.Length);
        if (request.Kind != TransferKind.Isochronous) return ok;
        foreach (ref IsoPacket packet in request.Packets.AsSpan(0, Math.Min(request.PacketCount, request.Packets.Length)))
        {
            ok &= packet.ActualLength >= 0 && packet.ActualLength <= packet.Length;
            packet.ActualLength = Math.Clamp(packet.ActualLength, 0, Math.Max(0, packet.Length));
        }

        return ok;
    }

    private void RemoveWaiting(EndpointQueue queue, UsbRequest request)
    {
        queue.Waiting.Remove(request);
        if (queue.Waiting.Count == 0) _waitingMask &= ~(1u << queue.Address.Index);
    }

    private void TakeBack(EndpointQueue queue, ref RequestList list, RequestStatus status)
    {
        while (list.Head is { } request)
        {
            list.Remove(request);
            Finish(request, status);
        }

        if (queue.Waiting.Count == 0) _waitingMask &= ~(1u << queue.Address.Index);
    }

    private void Refuse(UsbRequest request, string reason)
    {
        if (_refusalBudget.TryTake(pipeline.Now, out long suppressed))
            PipelineLog.Refused(pipeline.Log, Number, request, reason, suppressed);
        Finish(request, RequestStatus.TransactionError);
    }

    private void Finish(UsbRequest request, RequestStatus status)
    {
        HasValidLengths(request);
        request.Status = status;
        _counters.Ended(request);
        request.Queue?.Counters.Ended(request);
        pipeline.QueueDone(request);
    }
}
