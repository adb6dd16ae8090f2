using System;
using System.Collections.Generic;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>
/// A device that does what a test tells it: it holds every request until told to complete it (or completes at once), keeps
/// a record of the calls it got, and can be made to lie. It moves data only through <see cref="Fill"/>.
/// </summary>
public sealed class FakeDevice : IUsbDevice
{
    private readonly List<UsbRequest> _held = [];
    private bool _configured;

    public FakeDevice(UsbSpeed speed = UsbSpeed.High) => Speed = speed;

    public UsbSpeed Speed { get; set; }

    public string Description { get; set; } = "fake";

    public bool PacesItself { get; set; }

    /// <summary>The block that <see cref="ActiveConfigurationDescriptor"/> shows while configured; see <see cref="DescriptorBuilder"/>.</summary>
    public byte[] Configuration { get; set; } = [];

    /// <summary>The way back, from attach to detach (kept after, for devices that talk when they should not).</summary>
    public IUsbDeviceHost? Host { get; private set; }

    public bool IsAttached { get; private set; }

    /// <summary>Requests that the device has, oldest first.</summary>
    public IReadOnlyList<UsbRequest> Held => _held;

    /// <summary>Calls in order, as text: "submit ep1in", "cancel ep1in", "set-configuration 1", ... Not kept when <see cref="KeepCalls"/> is false.</summary>
    public List<string> Calls { get; } = [];

    public bool KeepCalls { get; set; } = true;

    /// <summary>Submitted requests complete inside Submit with <see cref="Answer"/> and all of their length.</summary>
    public bool CompletesAtOnce { get; set; }

    /// <summary>Status for <see cref="CompletesAtOnce"/> and for the configuration calls.</summary>
    public RequestStatus Answer { get; set; } = RequestStatus.Success;

    /// <summary>SET_CONFIGURATION, SET_INTERFACE and CLEAR_FEATURE complete at once; false leaves them in <see cref="Held"/>.</summary>
    public bool AnswersConfiguration { get; set; } = true;

    /// <summary>A cancelled request comes back at once; false leaves it held until the test completes it.</summary>
    public bool CancelsAtOnce { get; set; } = true;

    /// <summary>A reset gives back what is held and ends at once; false leaves both to the test (<see cref="FinishReset"/>).</summary>
    public bool ResetsAtOnce { get; set; } = true;

    /// <summary>Deadline shown to the pipeline; Advance sets it to Never.</summary>
    public VirtualTime NextDeadline { get; set; } = VirtualTime.Never;

    /// <summary>Runs inside Advance.</summary>
    public Action<FakeDevice, VirtualTime>? OnAdvance { get; set; }

    /// <summary>Runs inside Submit, before anything else.</summary>
    public Action<FakeDevice, UsbRequest>? OnSubmit { get; set; }

    public ReadOnlySpan<byte> ActiveConfigurationDescriptor => _configured ? Configuration : default;

    public void Attached(IUsbDeviceHost host)
    {
        Host = host;
        IsAttached = true;
        Note("attached");
    }

    public void Detached()
    {
        IsAttached = false;
        _held.Clear();
        Note("detached");
    }

    public void Reset()
    {
        _configured = false;
        Note("reset");
        if (ResetsAtOnce) FinishReset();
    }

    /// <summary>Gives back what is held as Cancelled and ends the reset.</summary>
    public void FinishReset()
    {
        while (_held.Count > 0) Complete(_held[0], RequestStatus.Cancelled, _held[0].ActualLength);
        Host!.ResetDone();
    }

    public void Submit(UsbRequest request)
    {
        if (KeepCalls) Note(request.StreamId == 0 ? $"submit {request.Endpoint}" : $"submit {request.Endpoint} stream {request.StreamId}");
        _held.Add(request);
        OnSubmit?.Invoke(this, request);
        if (CompletesAtOnce && _held.Contains(request)) Complete(request, Answer);
    }

    public void Cancel(UsbRequest request)
    {
        if (KeepCalls) Note($"cancel {request.Endpoint}");
        if (CancelsAtOnce) Complete(request, RequestStatus.Cancelled, request.ActualLength);
    }

    public void SetConfiguration(UsbRequest request, byte configuration)
    {
        Note($"set-configuration {configuration}");
        if (Answer == RequestStatus.Success) _configured = configuration != 0;
        Configure(request);
    }

    public void SetInterface(UsbRequest request, byte interfaceNumber, byte alternateSetting)
    {
        Note($"set-interface {interfaceNumber} {alternateSetting}");
        Configure(request);
    }

    public void ClearHalt(UsbRequest request, EndpointAddress endpoint)
    {
        Note($"clear-halt {endpoint}");
        Configure(request);
    }

    public void SetStreams(EndpointAddress endpoint, int streams) => Note($"set-streams {endpoint} {streams}");

    public void SetSuspended(bool suspended) => Note(suspended ? "suspend" : "resume");

    public void Advance(VirtualTime now)
    {
        NextDeadline = VirtualTime.Never;
        OnAdvance?.Invoke(this, now);
    }

    /// <summary>Gives a held request back; <paramref name="actual"/> defaults to all of it and is passed on unchecked.</summary>
    public void Complete(UsbRequest request, RequestStatus status = RequestStatus.Success, int? actual = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        request.ActualLength = actual ?? request.Length;
        _held.Remove(request);
        Host!.Complete(request, status);
    }

    /// <summary>Gives back the oldest held request.</summary>
    public UsbRequest CompleteNext(RequestStatus status = RequestStatus.Success, int? actual = null)
    {
        UsbRequest request = _held[0];
        Complete(request, status, actual);
        return request;
    }

    /// <summary>Puts device data into a held IN request at its progress and moves the progress on. False when guest memory is missing.</summary>
    public bool Fill(UsbRequest request, ReadOnlySpan<byte> data)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (!request.Data.TryCopyToGuest(Host!.Memory, request.ActualLength, data)) return false;
        request.ActualLength += data.Length;
        return true;
    }

    /// <summary>Makes the device configured or not without a request, as a restored device is.</summary>
    public void SetConfigured(bool configured) => _configured = configured;

    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("held", _held.Count);
        writer.Flag("configured", _configured);
    }

    private void Configure(UsbRequest request)
    {
        _held.Add(request);
        if (AnswersConfiguration) Complete(request, Answer);
    }

    private void Note(string call)
    {
        if (KeepCalls) Calls.Add(call);
    }
}
