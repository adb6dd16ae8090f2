using System;
using System.Numerics;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends;

public abstract partial class EmulatedDevice
{
    /// <summary>The chapter 9 state as a record; a device puts it into its own.</summary>
    protected EmulatedDeviceStateV1 CaptureStandard()
    {
        uint halted = 0;
        foreach (EmulatedEndpoint? endpoint in _endpoints)
        {
            if (endpoint is { Exists: true, Halted: true }) halted |= 1u << endpoint.Address.Index;
        }

        return new EmulatedDeviceStateV1(
            ConfigurationValue,
            [.. _alternates],
            halted,
            [.. _functionSuspend],
            _remoteWake,
            _u1,
            _u2,
            _suspended,
            _isochDelay,
            [.. _exitLatency]);
    }

    /// <summary>
    /// Takes a saved state, checked as if from an attacker; on false <paramref name="error"/> says what is wrong and nothing
    /// has changed. Called before any request is submitted again.
    /// </summary>
    protected bool TryRestoreStandard(EmulatedDeviceStateV1? state, out string error)
    {
        error = Check(state);
        if (error.Length > 0) return false;
        Deconfigure();
        ConfigurationPlan? plan = Array.Find(_plans, p => p.Value == state!.Configuration);
        if (plan is not null)
        {
            Activate(plan);
            state!.AlternateSettings.CopyTo(_alternates, 0);
            state.FunctionSuspend.CopyTo(_functionSuspend, 0);
            ApplyEndpoints(-1);
        }

        for (uint bits = state!.HaltedEndpoints; bits != 0; bits &= bits - 1)
        {
            if (_endpoints[BitOperations.TrailingZeroCount(bits)] is { Exists: true } endpoint) endpoint.Halted = true;
        }

        _remoteWake = state.RemoteWake;
        _u1 = state.U1;
        _u2 = state.U2;
        _suspended = state.Suspended;
        _isochDelay = state.IsochDelay;
        state.SystemExitLatency.CopyTo(_exitLatency, 0);
        return true;
    }

    private string Check(EmulatedDeviceStateV1? state)
    {
        if (state is null) return "no device state";
        if (state.AlternateSettings is null || state.FunctionSuspend is null || state.SystemExitLatency is not { Length: 6 }) return "a field is missing";
        ConfigurationPlan? plan = Array.Find(_plans, p => p.Value == state.Configuration);
        if (plan is null && state.Configuration != 0) return "no such configuration";
        int interfaces = plan?.AlternateCounts.Length ?? 0;
        if (state.AlternateSettings.Length != interfaces || state.FunctionSuspend.Length != interfaces) return "interface count";
        uint existing = 0;
        for (int i = 0; i < interfaces; i++)
        {
            if (state.AlternateSettings[i] >= plan!.AlternateCounts[i]) return "no such alternate setting";
            if (state.FunctionSuspend[i] > 3 || (state.FunctionSuspend[i] != 0 && Speed != UsbSpeed.Super)) return "function suspend options";
        }

        foreach (EndpointPlan endpoint in plan?.Endpoints ?? [])
        {
            bool canHalt = endpoint.Alternate == state.AlternateSettings[endpoint.Interface] && endpoint.Kind != TransferKind.Isochronous;
            if (canHalt) existing |= 1u << endpoint.Address.Index;
        }

        if ((state.HaltedEndpoints & ~existing) != 0) return "a halted endpoint does not exist";
        if ((state.U1 || state.U2) && (Speed != UsbSpeed.Super || plan is null)) return "U1 or U2 enabled";
        return state.RemoteWake && Speed == UsbSpeed.Super ? "remote wake-up feature at SuperSpeed" : "";
    }
}
