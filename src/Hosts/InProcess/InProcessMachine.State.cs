using System.Collections.Generic;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.State;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.InProcess;

/// <summary>Save and restore of everything but guest memory.</summary>
public sealed partial class InProcessMachine
{
    /// <summary>The machine's state between two steps; null when the pipeline does not come to rest (see <see cref="UsbPipeline.TrySettle"/>).</summary>
    public MachineStateV1? TryCapture()
    {
        if (!Pipeline.TrySettle(Now)) return null;
        var devices = new List<DeviceStateV1>();
        for (int connector = 1; connector <= Pipeline.PortCount; connector++)
        {
            if (Pipeline.AttachedDevice(new PortNumber(connector)) is not { } device) continue;
            devices.Add(new DeviceStateV1(
                connector,
                (int)device.Speed,
                (device as DiskDevice)?.Capture(),
                (device as GadgetZero)?.Capture(),
                (device as BootKeyboard)?.Capture()));
        }

        return new MachineStateV1(Now.Nanoseconds, PendingMessages, Pci.Capture(), Controller.Capture(), Pipeline.Capture(), [.. devices]);
    }

    /// <summary>
    /// Takes over a saved state. The machine is new, made with the same options, and has the same devices attached to the
    /// same connectors; guest memory is as at the save. On false the machine is to be discarded.
    /// </summary>
    public bool TryRestore(MachineStateV1 state, out string error)
    {
        error = "a part of the state is missing";
        if (state is not { Pci: not null, Xhci: not null, Pipeline: not null, Devices: not null }) return false;
        _machine.PassTime(new VirtualTime(state.Now));
        _machine.Enter();
        if (!TryRestoreDevices(state.Devices, out error)) return false;
        if (!Pipeline.TryRestore(state.Pipeline, out error)) return false;
        if (!Pci.TryRestore(state.Pci, out error)) return false;
        if (!Controller.TryRestore(state.Xhci, out error)) return false;

        // What restoring itself signalled, the guest has seen before the save or is told again by the pending bits.
        PendingMessages |= state.PendingMessages;
        return true;
    }

    private bool TryRestoreDevices(DeviceStateV1[] devices, out string error)
    {
        uint seen = 0;
        foreach (DeviceStateV1 saved in devices)
        {
            error = "a device is missing";
            if (saved is null || !PortNumber.TryCreate(saved.Connector, Pipeline.PortCount, out PortNumber port)) return false;
            error = $"connector {port} has another device than the one saved";
            if ((seen & (1u << port.Index)) != 0 || Pipeline.AttachedDevice(port) is not { } device || (int)device.Speed != saved.Speed) return false;
            seen |= 1u << port.Index;
            if (TryRestoreDevice(device, saved, ref error)) continue;
            error = $"connector {port}: {error}";
            return false;
        }

        error = string.Empty;
        for (int connector = 1; connector <= Pipeline.PortCount; connector++)
        {
            if (Pipeline.AttachedDevice(new PortNumber(connector)) is null || (seen & (1u << (connector - 1))) != 0) continue;
            error = $"connector {connector} had no device when the state was saved";
            return false;
        }

        return true;
    }

    private static bool TryRestoreDevice(IUsbDevice device, DeviceStateV1 saved, ref string error) => (device, saved) switch
    {
        (DiskDevice disk, { Disk: { } state, GadgetZero: null, Keyboard: null }) => disk.TryRestore(state, out error),
        (GadgetZero zero, { Disk: null, GadgetZero: { } state, Keyboard: null }) => zero.TryRestore(state, out error),
        (BootKeyboard keyboard, { Disk: null, GadgetZero: null, Keyboard: { } state }) => keyboard.TryRestore(state, out error),
        (DiskDevice or GadgetZero or BootKeyboard, _) => false,
        (_, { Disk: null, GadgetZero: null, Keyboard: null }) => true,
        _ => false,
    };
}
