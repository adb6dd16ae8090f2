using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A frontend that records what the pipeline tells it, in order, and can answer from inside the call.</summary>
public sealed class FakeFrontend : IUsbFrontend
{
    /// <summary>Everything heard: "completed ep1in Success 512", "port 1 changed", "port 1 reset done", "port 1 wake". Not kept when <see cref="KeepEvents"/> is false.</summary>
    public List<string> Events { get; } = [];

    public bool KeepEvents { get; set; } = true;

    public List<UsbRequest> CompletedRequests { get; } = [];

    public int CompletedCount { get; private set; }

    /// <summary>Runs inside Completed.</summary>
    public Action<UsbRequest>? OnCompleted { get; set; }

    /// <summary>True while the frontend makes a call of its own; a notification then is a breach of the contract.</summary>
    public bool InCall { get; set; }

    public void Completed(UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (InCall) throw new InvalidOperationException("The pipeline re-entered the frontend.");
        CompletedCount++;
        if (KeepEvents)
        {
            CompletedRequests.Add(request);
            Events.Add($"completed {request.Endpoint} {request.Status} {request.ActualLength}");
        }

        OnCompleted?.Invoke(request);
    }

    public void PortChanged(PortNumber port) => Note($"port {port} changed");

    public void PortResetDone(PortNumber port) => Note($"port {port} reset done");

    public void RemoteWake(PortNumber port) => Note($"port {port} wake");

    /// <summary>The events since the last call of this, as one text.</summary>
    public string TakeEvents()
    {
        string events = string.Join("; ", Events);
        Events.Clear();
        return events;
    }

    /// <summary>How often <paramref name="request"/> completed.</summary>
    public int CountOf(UsbRequest request) => CompletedRequests.Count(r => ReferenceEquals(r, request));

    private void Note(string text)
    {
        if (InCall) throw new InvalidOperationException("The pipeline re-entered the frontend.");
        Events.Add(text);
    }
}
