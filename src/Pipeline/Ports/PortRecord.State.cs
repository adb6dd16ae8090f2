using System;
using System.Collections.Generic;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>Save, restore and inspect.</summary>
internal sealed partial class PortRecord
{
    /// <summary>The saved form.</summary>
    public PortStateV1 Capture()
    {
        var alternates = new List<AlternateStateV1>();
        for (int i = 0; i <= byte.MaxValue; i++)
        {
            byte alternate = _table.SelectedAlternate((byte)i);
            if (alternate != 0) alternates.Add(new AlternateStateV1((byte)i, alternate));
        }

        var endpoints = new List<EndpointStateV1>();
        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is not null && (queue.Counters.Used || queue.Streams > 0)) endpoints.Add(queue.Capture());
        }

        return new PortStateV1(
            Session is not null, Address.Value, _configured, _suspended, _resetting, _resetDone, _wake, _deviceFaults,
            alternates.ToArray(), _counters.Capture(), endpoints.ToArray());
    }

    /// <summary>Checks a saved form against this port; null when it can be taken over.</summary>
    public string? FindFlaw(PortStateV1? state)
    {
        if (state?.Alternates is null || state.Endpoints is null || !TransferCounters.IsValid(state.Counters)) return "incomplete or impossible counters";
        if (_counters.Outstanding > 0) return "requests are outstanding";
        if (state.Attached != Session is not null) return state.Attached ? "its device is missing" : "it was empty";
        if (state.Address > DeviceAddress.Max || state.DeviceFaults is < 0 or > long.MaxValue / 2) return "a value is out of range";
        if (!state.Attached && (state.Address != 0 || state.Configured || state.Suspended || state.Resetting || state.Wake || state.Alternates.Length > 0))
            return "an empty port has a device's state";
        if (!state.Configured && state.Alternates.Length > 0) return "alternate settings without a configuration";
        if (state.Alternates.Length > DescriptorLimits.Interfaces) return "too many alternate settings";
        return FindFlaw(state.Endpoints);
    }

    /// <summary>Takes over a saved form that <see cref="FindFlaw(PortStateV1)"/> passed; false when the device's descriptor does not have what was saved.</summary>
    public bool TryRestore(PortStateV1 state)
    {
        var table = new ConfigurationTable();
        if (state.Configured)
        {
            table.Load(Session!.Device.ActiveConfigurationDescriptor);
            if (!table.IsConfigured) return false;
        }

        foreach (AlternateStateV1? alternate in state.Alternates)
        {
            if (alternate is null || !table.TrySelect(alternate.Interface, alternate.Alternate)) return false;
        }

        Unconfigure();
        _table = table;
        _configured = state.Configured;
        Address = new DeviceAddress(state.Address);
        _suspended = state.Suspended;
        _resetDone = state.ResetDone;
        _wake = state.Wake;
        if (_resetDone || _wake) pipeline.NoteEvent(Number);
        _deviceFaults = state.DeviceFaults;
        _counters.Restore(state.Counters);
        foreach (EndpointQueue? queue in _queues) queue?.Counters.Clear();
        foreach (EndpointStateV1 saved in state.Endpoints)
        {
            EndpointQueue queue = _queues[saved.Index] ??= new EndpointQueue(this, AddressOf(saved.Index));
            queue.Restore(saved);

            // The device has its streams from its own saved state.
            if (queue.Streams > 0 && table.TryFind(queue.Address, out _)) _streamsTold |= 1u << saved.Index;
        }

        if (state.Resetting) Reset(); // The device starts it again: nothing is in flight, so once more changes nothing.
        return true;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("attached", Session?.Device.Description);
        writer.Text("speed", Session?.Speed.ToString());
        writer.Text("rule", Rule.Speeds.ToString());
        writer.Number("address", Address.Value);
        writer.Flag("suspended", _suspended);
        writer.Flag("resetting", _resetting);
        writer.Flag("reset-done-pending", _resetDone);
        writer.Flag("wake-pending", _wake);
        writer.Number("device-faults", _deviceFaults);
        _counters.Inspect(writer);
        if (Session is null && !_counters.Used) return;
        writer.Child("configuration", _table);
        foreach (EndpointQueue? queue in _queues)
        {
            if (queue is not null && (queue.Counters.Used || queue.Streams > 0)) writer.Child(queue.Address.ToString(), queue);
        }

        if (Session is not null) writer.Child("device", Session.Device);
    }

    private static EndpointAddress AddressOf(int index) => new(index / 2, (index & 1) != 0);

    private static string? FindFlaw(EndpointStateV1[] endpoints)
    {
        uint seen = 0;
        foreach (EndpointStateV1? endpoint in endpoints)
        {
            if (!EndpointQueue.IsValid(endpoint)) return "an endpoint's values are out of range";
            uint bit = 1u << endpoint!.Index;
            if ((seen & bit) != 0) return "an endpoint appears twice";
            seen |= bit;
        }

        return null;
    }
}
