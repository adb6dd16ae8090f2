using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.LibUsb;

/// <summary>
/// A physical device on the pipeline. Requests go to the host's USB stack as they come, many at a time and each as one
/// transfer; the host's controller paces periodic ones. This file: the device as the pipeline sees it;
/// HostDevice.Transfers.cs: from requests to transfers and back; HostDevice.Operations.cs: what runs on the slow lane.
/// Suspend is not passed on: the host's kernel decides on the power of its own ports, and a device that the guest
/// suspended simply gets no traffic. So a suspended device does not wake the guest.
/// </summary>
public sealed partial class HostDevice : IUsbDevice
{
    private const int Lines = 32;

    private readonly IHostHandle _handle;
    private readonly HostDescriptors _descriptors;
    private readonly EndpointLine[] _lines = new EndpointLine[Lines];
    private IUsbDeviceHost? _host;
    private byte _configuration;

    /// <summary>The device behind <paramref name="handle"/>; <paramref name="descriptors"/> is what the host's kernel has read from it.</summary>
    public HostDevice(IHostHandle handle, HostDescriptors descriptors)
    {
        ArgumentNullException.ThrowIfNull(handle);
        ArgumentNullException.ThrowIfNull(descriptors);
        _handle = handle;
        _descriptors = descriptors;
        for (int i = 0; i < Lines; i++) _lines[i] = new EndpointLine(new EndpointAddress(i >> 1, (i & 1) != 0));
    }

    /// <inheritdoc/>
    public UsbSpeed Speed => _handle.Facts.Speed;

    /// <inheritdoc/>
    public string Description => _handle.Facts.Description;

    /// <inheritdoc/>
    public bool PacesItself => true;

    /// <summary>The device has left the host, or came back from a reset as another one; it is to be detached.</summary>
    public bool IsGone { get; private set; }

    /// <inheritdoc/>
    public VirtualTime NextDeadline => _retryAt;

    /// <inheritdoc/>
    public ReadOnlySpan<byte> ActiveConfigurationDescriptor => _configuration == 0 ? default : _descriptors.Configuration(_configuration);

    /// <inheritdoc/>
    public void Attached(IUsbDeviceHost host)
    {
        ArgumentNullException.ThrowIfNull(host);
        _host = host;
        _configuration = 0;
    }

    /// <summary>Forgets every request. Transfers in flight are called back; what still comes of them goes into the pool.</summary>
    public void Detached()
    {
        _host = null;
        _retryAt = VirtualTime.Never;
        _starved = false;
        _resetWanted = false;
        _resetOwed = false;
        _streamsDirty = 0;
        _pendingRequest = null;
        foreach (EndpointLine line in _lines)
        {
            while (line.TakeWaiting() is not null)
            {
            }

            HostTransfer? next;
            for (HostTransfer? one = line.First; one is not null; one = next)
            {
                next = one.Next;
                one.Request = null;
                if (!one.Parked)
                {
                    _handle.Cancel(one);
                    continue;
                }

                line.Remove(one);
                _handle.Return(one);
            }
        }
    }

    /// <inheritdoc/>
    public void Submit(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (IsGone)
        {
            _host!.Complete(request, RequestStatus.NoDevice);
            return;
        }

        EndpointLine line = _lines[request.Endpoint.Index];
        line.Append(request);
        Pump(line);
    }

    /// <inheritdoc/>
    public void Cancel(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        EndpointLine line = _lines[request.Endpoint.Index];
        if (line.Find(request) is { } transfer)
        {
            transfer.Unlinked = true;
            if (!transfer.Parked)
            {
                _handle.Cancel(transfer);
                return;
            }

            line.Remove(transfer);
            Release(transfer);
            _host!.Complete(request, RequestStatus.Cancelled);
        }
        else if (line.RemoveWaiting(request))
        {
            _host!.Complete(request, RequestStatus.Cancelled);
        }
        else if (ReferenceEquals(_pendingRequest, request) && !_running)
        {
            // The operation has not begun: it waits for transfers that were called back, and these go out again.
            _pendingRequest = null;
            _pending = null;
            _host!.Complete(request, RequestStatus.Cancelled);
            Resume();
        }
    }

    /// <inheritdoc/>
    public void SetConfiguration(UsbRequest request, byte configuration) => Submit(request);

    /// <inheritdoc/>
    public void SetInterface(UsbRequest request, byte interfaceNumber, byte alternateSetting) => Submit(request);

    /// <inheritdoc/>
    public void ClearHalt(UsbRequest request, EndpointAddress endpoint) => Submit(request);

    /// <inheritdoc/>
    public void SetSuspended(bool suspended)
    {
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        if (_retryAt > now) return;
        _retryAt = VirtualTime.Never;
        RetryStarved();
    }

    /// <summary>Takes what the host's stack has ended since the last call and completes it.</summary>
    public void Deliver()
    {
        // What ends while this runs, because a completion led to a new transfer, is for the next call.
        for (int left = _inFlight; left > 0 && _handle.TryTakeTransfer(out HostTransfer? transfer); left--) Ended(transfer);
        if (_handle.TryTakeOperation(out HostError result)) OperationEnded(result);
        if (_starved) RetryStarved();
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("description", Description);
        writer.Text("speed", Speed.ToString());
        writer.Text("bus-path", _handle.Facts.BusPath);
        writer.Text("serial", _handle.Facts.Serial);
        writer.Flag("gone", IsGone);
        writer.Number("configuration", _configuration);
        writer.Number("configurations", _descriptors.Count);
        writer.Text("operation", _pending is { } operation ? $"{operation.Kind} {(_running ? "runs" : "waits")}" : "-");
        writer.Number("operations", _operations);
        writer.Number("operations-failed", FailedOperations);
        writer.Text("fault", FailedOperations == 0 ? "-" : Fault);
        writer.Number("transfers", _transfers);
        writer.Number("transfers-of-64-kib", _transfersOf64KiB);
        writer.Number("largest-transfer", _largestTransfer);
        writer.Number("in-flight", _inFlight);
        writer.Number("most-in-flight", _mostInFlight);
        writer.Number("in-flight-bytes", _inFlightBytes);
        writer.Number("recalled", _recalled);
        writer.Number("starved", _starvations);
        writer.Number("isochronous-packets", _packets);
        writer.Number("isochronous-packets-failed", _failedPackets);
        foreach (EndpointLine line in _lines)
        {
            if (line.Active == 0 && line.WaitingCount == 0 && line.Streams == 0) continue;
            using (writer.Node(line.Address.ToString()))
            {
                writer.Number("in-flight", line.Active);
                writer.Number("waiting", line.WaitingCount);
                writer.Number("streams", line.Streams);
            }
        }

        writer.Child("handle", _handle);
    }
}
