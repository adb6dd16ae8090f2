using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.LibUsb;

public sealed partial class HostDevice
{
    private const int SixtyFourKiB = 64 << 10;

    private VirtualTime _retryAt = VirtualTime.Never;
    private bool _starved; // Some request waits for memory or for room in flight.
    private int _inFlight;
    private int _mostInFlight;
    private long _inFlightBytes;
    private long _transfers;
    private long _transfersOf64KiB;
    private long _largestTransfer;
    private long _recalled;
    private long _starvations;
    private long _packets;
    private long _failedPackets;

    private enum Sending
    {
        /// <summary>It is in flight or has been completed.</summary>
        Done,

        /// <summary>There is no memory or no room for it now.</summary>
        Starved,
    }

    // Hands over what may go. Each round takes one waiting request, so their number bounds the loop.
    private void Pump(EndpointLine line)
    {
        while (_host is not null && line.Waiting is { } request && !IsHeld(line) && line.Active < HostDeviceLimits.InFlightPerEndpoint)
        {
            if (line.Address.Index == 0 && IsOperation(request.Setup))
            {
                // Control requests take effect in order: what went before has to end first.
                if (line.Active > 0 || _pending is not null) return;
                BeginControl(line.TakeWaiting()!);
                continue;
            }

            if (Send(line, request) == Sending.Starved) return;
        }
    }

    private Sending Send(EndpointLine line, UsbRequest request)
    {
        RequestStatus? known = request.Kind == TransferKind.Control ? ControlAnswer(request) : null;
        if (known is { } answer)
        {
            line.TakeWaiting();
            _host!.Complete(request, answer);
            return Sending.Done;
        }

        int left = request.Length - request.ActualLength;
        int bytes = request.Kind switch
        {
            TransferKind.Control => HostDeviceLimits.SetupBytes + ControlLength(request.Setup),
            TransferKind.Isochronous => PacketBytes(request),
            _ => left,
        };
        int packets = request.Kind == TransferKind.Isochronous ? request.PacketCount : 0;
        if (bytes > UsbRequest.MaxLength + HostDeviceLimits.SetupBytes)
        {
            // Packets that overlap in the request's data may add up to more than the data.
            line.TakeWaiting();
            _host!.Complete(request, RequestStatus.TransactionError);
            return Sending.Done;
        }

        bool room = _inFlight == 0 || _inFlightBytes + bytes <= HostDeviceLimits.InFlightBytes;
        HostTransfer? transfer = room ? _handle.Rent(bytes, packets) : null;
        if (transfer is null) return Starve();
        Fill(transfer, request, bytes);
        if (!TryLoad(transfer, request))
        {
            line.TakeWaiting();
            _handle.Return(transfer);
            _host!.Complete(request, RequestStatus.MemoryFault);
            return Sending.Done;
        }

        HostError error = _handle.Submit(transfer);
        if (error == HostError.NoMemory)
        {
            _handle.Return(transfer);
            return Starve();
        }

        line.TakeWaiting();
        if (error != HostError.None)
        {
            _handle.Return(transfer);
            _host!.Complete(request, HostOutcome.OfSubmit(error));
            if (error == HostError.NoDevice) Vanish();
            return Sending.Done;
        }

        transfer.Request = request;
        line.Sent(transfer);
        Count(bytes - (request.Kind == TransferKind.Control ? HostDeviceLimits.SetupBytes : 0));
        _inFlightBytes += bytes;
        return Sending.Done;
    }

    private static void Fill(HostTransfer transfer, UsbRequest request, int bytes)
    {
        transfer.Endpoint = request.Kind == TransferKind.Control ? new EndpointAddress(0, request.Setup.IsIn) : request.Endpoint;
        transfer.Kind = request.Kind;
        transfer.StreamId = request.StreamId;
        transfer.Length = bytes;
        transfer.PacketCount = request.Kind == TransferKind.Isochronous ? request.PacketCount : 0;
        transfer.ActualLength = 0;
        transfer.Unlinked = false;
        transfer.Parked = false;
    }

    // The one copy on the way out. False when guest memory is not there.
    private bool TryLoad(HostTransfer transfer, UsbRequest request)
    {
        Span<byte> buffer = transfer.Buffer;
        if (request.Kind == TransferKind.Control)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(buffer, request.Setup.Raw);
            int length = transfer.Length - HostDeviceLimits.SetupBytes;
            BinaryPrimitives.WriteUInt16LittleEndian(buffer[6..], (ushort)length);
            return request.IsIn || request.Data.TryCopyFromGuest(_host!.Memory, 0, buffer.Slice(HostDeviceLimits.SetupBytes, length));
        }

        if (request.Kind != TransferKind.Isochronous)
            return request.IsIn || request.Data.TryCopyFromGuest(_host!.Memory, request.ActualLength, buffer[..transfer.Length]);
        int at = 0;
        for (int i = 0; i < request.PacketCount; i++)
        {
            ref IsoPacket packet = ref request.Packets[i];
            transfer.SetPacketLength(i, packet.Length);
            packet.ActualLength = 0;
            if (!request.IsIn && !request.Data.TryCopyFromGuest(_host!.Memory, packet.Offset, buffer.Slice(at, packet.Length))) return false;
            at += packet.Length;
        }

        return true;
    }

    private void Ended(HostTransfer transfer)
    {
        EndpointLine line = _lines[transfer.Endpoint.Index];
        _inFlight--;
        _inFlightBytes -= transfer.Length;
        UsbRequest? request = transfer.Request;
        if (request is null || _host is null)
        {
            line.Remove(transfer);
            Release(transfer);
            return;
        }

        bool comesAgain = line.Recalling && !transfer.Unlinked && !_resetWanted && transfer.Status is HostTransferStatus.Cancelled or HostTransferStatus.NoDevice
            && transfer.Kind is TransferKind.Bulk or TransferKind.Interrupt;
        if (comesAgain)
        {
            RequestStatus part = StoreData(transfer, request);
            if (part == RequestStatus.Cancelled && request.ActualLength < Math.Max(1, request.Length))
            {
                _recalled++;
                line.Park(transfer);
                Drained();
                GoOn(line);
                return;
            }

            Complete(line, transfer, request, part == RequestStatus.Cancelled ? RequestStatus.Success : part);
            return;
        }

        Complete(line, transfer, request, Finish(transfer, request));
    }

    private void Complete(EndpointLine line, HostTransfer transfer, UsbRequest request, RequestStatus status)
    {
        line.Remove(transfer);
        bool unlinked = transfer.Unlinked;
        Release(transfer);

        // Nobody asked for it back, so for the guest it is a transfer that failed.
        if (status == RequestStatus.Cancelled && !unlinked) status = RequestStatus.TransactionError;
        _host!.Complete(request, status);
        if (status == RequestStatus.NoDevice) Vanish();
        Drained();
        GoOn(line);
    }

    // An operation that was called off leaves transfers on their way back; the last of them sets its endpoint going again.
    private void GoOn(EndpointLine line)
    {
        if (_pending is null && line.Recalling) Unpark(line);
        Pump(line);
    }

    // The way in: one copy, and nothing that the host's stack says is believed.
    private RequestStatus Finish(HostTransfer transfer, UsbRequest request)
    {
        if (transfer.Kind == TransferKind.Isochronous) return StorePackets(transfer, request);
        if (transfer.Kind != TransferKind.Control) return StoreData(transfer, request);
        RequestStatus status = HostOutcome.OfTransfer(transfer.Status);
        int asked = transfer.Length - HostDeviceLimits.SetupBytes;
        int actual = Math.Clamp(transfer.ActualLength, 0, asked);
        if (actual > request.Length || transfer.ActualLength > asked)
        {
            status = RequestStatus.Babble;
            actual = Math.Min(actual, request.Length);
        }

        if (request.IsIn && !request.Data.TryCopyToGuest(_host!.Memory, 0, transfer.Buffer.Slice(HostDeviceLimits.SetupBytes, actual)))
            return status == RequestStatus.Cancelled ? status : RequestStatus.MemoryFault;
        request.ActualLength = actual;
        return status;
    }

    private RequestStatus StoreData(HostTransfer transfer, UsbRequest request)
    {
        // An operation that takes the endpoint away ends its transfers as if the device had gone.
        RequestStatus status = transfer.Status == HostTransferStatus.NoDevice && EndpointsChange ? RequestStatus.Cancelled : HostOutcome.OfTransfer(transfer.Status);
        int actual = Math.Clamp(transfer.ActualLength, 0, transfer.Length);
        if (transfer.ActualLength > transfer.Length) status = RequestStatus.Babble;
        if (request.IsIn && !request.Data.TryCopyToGuest(_host!.Memory, request.ActualLength, transfer.Buffer[..actual]))
            return status == RequestStatus.Cancelled ? status : RequestStatus.MemoryFault;
        request.ActualLength += actual;
        return status;
    }

    private RequestStatus StorePackets(HostTransfer transfer, UsbRequest request)
    {
        RequestStatus status = HostOutcome.OfTransfer(transfer.Status);
        int at = 0;
        int moved = 0;
        for (int i = 0; i < transfer.PacketCount; i++)
        {
            ref IsoPacket packet = ref request.Packets[i];
            HostPacket result = transfer.Packet(i);
            int actual = Math.Clamp(result.ActualLength, 0, packet.Length);
            packet.Status = result.ActualLength > packet.Length ? RequestStatus.Babble : HostOutcome.OfTransfer(result.Status);

            // Of a transfer that was called back, the packets that did not run are not marked by libusb.
            bool notRun = status != RequestStatus.Success && actual == 0 && packet.Length > 0;
            if (notRun || packet.Status == RequestStatus.Cancelled) packet.Status = RequestStatus.TransactionError;
            if (request.IsIn && !request.Data.TryCopyToGuest(_host!.Memory, packet.Offset, transfer.Buffer.Slice(at, actual)))
            {
                packet.Status = RequestStatus.MemoryFault;
                actual = 0;
            }

            packet.ActualLength = actual;
            if (packet.Status == RequestStatus.Success) _packets++;
            else if (!transfer.Unlinked) _failedPackets++; // What the guest called off is no failure.
            moved += actual;
            at += packet.Length;
        }

        request.ActualLength = Math.Min(moved, request.Length);
        return status;
    }

    private void Release(HostTransfer transfer)
    {
        transfer.Request = null;
        _handle.Return(transfer);
    }

    private void Count(int bytes)
    {
        _transfers++;
        if (bytes == SixtyFourKiB) _transfersOf64KiB++;
        _largestTransfer = Math.Max(_largestTransfer, bytes);
        _inFlight++;
        _mostInFlight = Math.Max(_mostInFlight, _inFlight);
    }

    private Sending Starve()
    {
        if (!_starved) _starvations++;
        _starved = true;
        _retryAt = _host!.Now.Plus(HostDeviceLimits.RetryNanoseconds);
        return Sending.Starved;
    }

    private void RetryStarved()
    {
        if (_host is null) return;
        _starved = false;
        _retryAt = VirtualTime.Never;
        foreach (EndpointLine line in _lines) Pump(line);
    }

    // The device is gone: what waits will never go. What is in flight comes back by itself.
    private void Vanish()
    {
        if (IsGone) return;
        IsGone = true;
        foreach (EndpointLine line in _lines)
        {
            while (_host is not null && line.TakeWaiting() is { } request) _host.Complete(request, RequestStatus.NoDevice);
        }
    }

    private static int PacketBytes(UsbRequest request)
    {
        // At most 1,024 packets of at most 1 MiB each, which may overlap in the request's data.
        long bytes = 0;
        for (int i = 0; i < request.PacketCount; i++) bytes += request.Packets[i].Length;
        return (int)Math.Min(bytes, int.MaxValue);
    }
}
