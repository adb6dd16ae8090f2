using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends;

public abstract partial class EmulatedDevice
{
    private bool SelectConfiguration(byte configuration)
    {
        if (configuration == 0)
        {
            bool wake = _remoteWake;
            Deconfigure();
            _remoteWake = wake;
            OnConfigured(0);
            return true;
        }

        ConfigurationPlan? plan = Array.Find(_plans, p => p.Value == configuration);
        if (plan is null) return false;
        Activate(plan);
        OnConfigured(configuration);
        WakeAll();
        return true;
    }

    private void Activate(ConfigurationPlan plan)
    {
        _active = plan;
        _alternates = new byte[plan.AlternateCounts.Length];
        _functionSuspend = new byte[plan.AlternateCounts.Length];
        ApplyEndpoints(-1);
    }

    private void Deconfigure()
    {
        _active = null;
        _alternates = [];
        _functionSuspend = [];
        _remoteWake = _u1 = _u2 = false;
        _isochDelay = 0;
        Array.Clear(_exitLatency);
        ApplyEndpoints(-1);
    }

    // Makes the endpoint table say what the selected settings say, for one interface or (-1) for all. Endpoints that are no
    // longer there answer nothing: a time-out for what waits on them.
    private void ApplyEndpoints(int onlyInterface)
    {
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is null || (onlyInterface >= 0 && (!endpoint.Exists || endpoint.InterfaceNumber != onlyInterface))) continue;
            endpoint.Exists = false;
            endpoint.Halted = false;
        }

        if (_active is not null)
        {
            foreach (EndpointPlan plan in _active.Endpoints)
            {
                if (plan.Alternate != _alternates[plan.Interface] || (onlyInterface >= 0 && plan.Interface != onlyInterface)) continue;
                EmulatedEndpoint endpoint = _endpoints[plan.Address.Index]!;
                endpoint.Exists = true;
                endpoint.Kind = plan.Kind;
                endpoint.MaxPacket = plan.MaxPacket;
                endpoint.IntervalBytes = plan.IntervalBytes;
                endpoint.InterfaceNumber = plan.Interface;
                endpoint.MaxStreams = plan.MaxStreams;
            }
        }

        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is { Exists: false, Pending: > 0 }) Flush(endpoint, RequestStatus.TransactionError);
        }
    }

    private void WakeAll()
    {
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is { Pending: > 0 }) Wake(endpoint);
        }
    }
}
