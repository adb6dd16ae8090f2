using System;
using System.Buffers.Binary;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends;

public abstract partial class EmulatedDevice
{
    /// <summary>Bytes that the base itself needs of the control buffer: SET_SEL's six.</summary>
    private const int StandardReplyCapacity = 8;

    // bmRequestType of the standard requests (USB 2.0 table 9-3).
    private const byte DeviceOut = 0x00;
    private const byte InterfaceOut = 0x01;
    private const byte EndpointOut = 0x02;
    private const byte DeviceIn = 0x80;
    private const byte InterfaceIn = 0x81;
    private const byte EndpointIn = 0x82;
    private const byte TypeMask = 0x60;

    // Feature selectors (USB 2.0 table 9-6, USB 3.2 table 9-7). Interfaces and endpoints number theirs apart.
    private const ushort EndpointHaltFeature = 0;
    private const ushort FunctionSuspendFeature = 0;
    private const ushort RemoteWakeFeature = 1;
    private const ushort U1Feature = 48;
    private const ushort U2Feature = 49;

    private const ushort UsEnglish = 0x0409;

    // What is common is there from the start; the rest is made when a guest sends that much.
    private const int FirstControlCapacity = 256;

    private readonly int _controlCapacity;
    private byte[] _control;
    private readonly byte[] _exitLatency = new byte[6];
    private DescriptorSet _descriptors = null!;
    private ConfigurationPlan[] _plans = [];
    private byte[][] _strings = [];
    private byte[] _alternates = [];
    private byte[] _functionSuspend = [];
    private ConfigurationPlan? _active;
    private bool _remoteWake;
    private bool _u1;
    private bool _u2;
    private ushort _isochDelay;

    /// <summary>Room for a control reply; valid until the next control request. Also what a control OUT data stage is collected in.</summary>
    protected Span<byte> ControlBuffer => _control;

    /// <summary>Selected alternate setting, 0 when there is no such interface.</summary>
    protected byte AlternateSetting(int interfaceNumber) =>
        interfaceNumber < _alternates.Length ? _alternates[interfaceNumber] : (byte)0;

    /// <summary>
    /// Wakes the suspended host when it has allowed it: DEVICE_REMOTE_WAKEUP (USB 2.0 §9.4.9), or the function's remote wake
    /// option at SuperSpeed (USB 3.2 §9.4.9). False when it has not, or the bus is not suspended.
    /// </summary>
    protected bool TryRemoteWake()
    {
        bool allowed = _remoteWake;
        foreach (byte options in _functionSuspend) allowed |= (options & 2) != 0;
        if (!_suspended || !allowed || !IsAttached) return false;
        Host.RemoteWake();
        return true;
    }

    /// <inheritdoc/>
    public void SetConfiguration(UsbRequest request, byte configuration)
    {
        ArgumentNullException.ThrowIfNull(request);
        EndControl(request, request.Setup.Index == 0 && request.Setup.Length == 0 && request.Setup.Value <= 0xff && SelectConfiguration(configuration));
    }

    /// <inheritdoc/>
    public void SetInterface(UsbRequest request, byte interfaceNumber, byte alternateSetting)
    {
        ArgumentNullException.ThrowIfNull(request);
        bool valid = _active is not null && interfaceNumber < _alternates.Length && alternateSetting < _active.AlternateCounts[interfaceNumber];
        valid &= request.Setup.Length == 0 && request.Setup.Index <= 0xff && request.Setup.Value <= 0xff;
        if (valid)
        {
            _alternates[interfaceNumber] = alternateSetting;
            ApplyEndpoints(interfaceNumber);
            OnInterfaceSet(interfaceNumber, alternateSetting);
        }

        EndControl(request, valid);
        if (valid) WakeAll();
    }

    /// <inheritdoc/>
    public void ClearHalt(UsbRequest request, EndpointAddress endpoint)
    {
        ArgumentNullException.ThrowIfNull(request);

        // Endpoint 0 never stays halted, so clearing it is a success without effect (USB 2.0 §9.4.5).
        EmulatedEndpoint? target = EndpointAt(endpoint);
        if (endpoint.Number == 0 || target is null)
        {
            EndControl(request, endpoint.Number == 0);
            return;
        }

        if (OnClearHalt(target)) target.Halted = false;
        EndControl(request, true);
        Wake(target);
    }

    private void LoadDescriptors(DescriptorSet set)
    {
        ConfigurationPlan.Require(set.Device is { Length: 18 } && set.Device[0] == 18 && set.Device[1] == (byte)DescriptorType.Device, "device");
        ConfigurationPlan.Require(set.Device[17] == set.Configurations.Count && set.Configurations.Count > 0, "bNumConfigurations");
        ConfigurationPlan.Require(set.Bos is null || BinaryPrimitives.ReadUInt16LittleEndian(set.Bos.AsSpan(2)) == set.Bos.Length, "BOS length");
        ConfigurationPlan.Require(set.Qualifier is null || set.Qualifier[8] == set.OtherSpeedConfigurations.Count, "qualifier");
        _descriptors = set;
        _plans = new ConfigurationPlan[set.Configurations.Count];
        for (int i = 0; i < _plans.Length; i++) _plans[i] = ConfigurationPlan.Read(set.Configurations[i], Speed);
        _strings = new byte[set.Strings.Count + 1][];
        _strings[0] = [4, (byte)DescriptorType.String, UsEnglish & 0xff, UsEnglish >> 8];
        for (int i = 0; i < set.Strings.Count; i++) _strings[i + 1] = DescriptorWriter.Text(set.Strings[i]);
    }

    private void ControlRequest(UsbRequest request)
    {
        SetupPacket setup = request.Setup;
        if (setup.Is(DeviceOut, StandardRequest.SetConfiguration)) SetConfiguration(request, (byte)(setup.Value & 0xff));
        else if (setup.Is(InterfaceOut, StandardRequest.SetInterface)) SetInterface(request, (byte)(setup.Index & 0xff), (byte)(setup.Value & 0xff));
        else if (setup.Is(EndpointOut, StandardRequest.ClearFeature) && setup.Value == EndpointHaltFeature) ClearHalt(request, new EndpointAddress((byte)(setup.Index & 0xff)));
        else if (setup.IsIn) ControlIn(request, setup);
        else ControlOut(request, setup);
    }

    private void ControlIn(UsbRequest request, SetupPacket setup)
    {
        bool standard = (setup.RequestType & TypeMask) == 0;
        bool toDevice = !standard || setup.Is(InterfaceIn, StandardRequest.GetDescriptor);
        ReadOnlySpan<byte> reply;
        bool answered = toDevice ? TryControlIn(setup, out reply) : TryStandardIn(setup, out reply);
        if (!answered)
        {
            EndControl(request, false);
            return;
        }

        int length = Math.Min(reply.Length, Math.Min(setup.Length, request.Length));
        bool copied = request.Data.TryCopyToGuest(Memory, 0, reply[..length]);
        request.ActualLength = copied ? length : 0;
        Host.Complete(request, copied ? RequestStatus.Success : RequestStatus.MemoryFault);
    }

    private void ControlOut(UsbRequest request, SetupPacket setup)
    {
        // More data than wLength announces, or than the device can hold, stalls the data stage (USB 2.0 §8.5.3, §9.2.7).
        int length = request.Length;
        if (length > setup.Length || length > _controlCapacity)
        {
            EndControl(request, false);
            return;
        }

        if (length > _control.Length) _control = new byte[_controlCapacity];
        Span<byte> data = _control.AsSpan(0, length);
        if (!request.Data.TryCopyFromGuest(Memory, 0, data))
        {
            request.ActualLength = 0;
            Host.Complete(request, RequestStatus.MemoryFault);
            return;
        }

        bool standard = (setup.RequestType & TypeMask) == 0;
        bool accepted = standard ? TryStandardOut(setup, data) : TryControlOut(setup, data);
        EndControl(request, accepted, accepted ? length : 0);
    }

    // A protocol stall ends with the next setup packet, so nothing is left behind (USB 2.0 §8.5.3.4).
    private void EndControl(UsbRequest request, bool accepted, int actual = 0)
    {
        request.ActualLength = actual;
        Host.Complete(request, accepted ? RequestStatus.Success : RequestStatus.Stall);
    }

    private bool TryStandardIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        reply = default;
        switch ((StandardRequest)setup.Request)
        {
            case StandardRequest.GetDescriptor when setup.RequestType == DeviceIn:
                reply = Descriptor((DescriptorType)(setup.Value >> 8), setup.Value & 0xff, setup.Index);
                return !reply.IsEmpty;
            case StandardRequest.GetStatus when setup.Value == 0:
                return TryStatus(setup, out ushort status) && Reply16(status, out reply);
            case StandardRequest.GetConfiguration when setup.RequestType == DeviceIn && setup.Value == 0 && setup.Index == 0:
                _control[0] = ConfigurationValue;
                reply = _control.AsSpan(0, 1);
                return true;
            case StandardRequest.GetInterface when setup.RequestType == InterfaceIn && setup.Value == 0 && setup.Index < _alternates.Length:
                _control[0] = _alternates[setup.Index];
                reply = _control.AsSpan(0, 1);
                return true;
            case StandardRequest.SynchFrame when setup.RequestType == EndpointIn && setup.Value == 0:
                // USB 2.0 §9.4.11: only isochronous endpoints; ours start their pattern anew in every frame.
                ulong frame = Host.Now.Nanoseconds / (8 * VirtualTime.MicroframeNanoseconds) % 2048;
                return FindEndpoint(setup.Index) is { Kind: TransferKind.Isochronous } && Reply16((ushort)frame, out reply);
            default:
                return false;
        }
    }

    private bool Reply16(ushort value, out ReadOnlySpan<byte> reply)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_control, value);
        reply = _control.AsSpan(0, 2);
        return true;
    }

    // GET_STATUS, USB 2.0 §9.4.5 and USB 3.2 §9.4.5.
    private bool TryStatus(SetupPacket setup, out ushort status)
    {
        status = 0;
        switch (setup.RequestType)
        {
            case DeviceIn when setup.Index == 0:
                bool selfPowered = (_active ?? _plans[0]).IsSelfPowered;
                status = (ushort)((selfPowered ? 1 : 0) | (_remoteWake ? 2 : 0) | (_u1 ? 4 : 0) | (_u2 ? 8 : 0));
                return true;
            case InterfaceIn when _active is not null && setup.Index < _alternates.Length:
                if (Speed == UsbSpeed.Super && _active.CanWake) status = (ushort)(1 | (_functionSuspend[setup.Index] & 2));
                return true;
            case EndpointIn when (setup.Index & 0x7f) == 0 && setup.Index <= 0xff:
                return true;
            case EndpointIn when FindEndpoint(setup.Index) is { } endpoint:
                status = (ushort)(endpoint.Halted ? 1 : 0);
                return true;
            default:
                return false;
        }
    }

    private EmulatedEndpoint? FindEndpoint(ushort index) =>
        (index & 0xff70) == 0 ? EndpointAt(new EndpointAddress((byte)index)) : null;

    private ReadOnlySpan<byte> Descriptor(DescriptorType type, int index, ushort language)
    {
        switch (type)
        {
            case DescriptorType.Device when index == 0:
                return _descriptors.Device;
            case DescriptorType.Configuration when index < _plans.Length:
                return _plans[index].Block;
            case DescriptorType.String when index == 0 && _strings.Length > 1:
                return _strings[0];
            case DescriptorType.String when index > 0 && index < _strings.Length && language is UsEnglish or 0:
                return _strings[index];
            case DescriptorType.DeviceQualifier when index == 0:
                return _descriptors.Qualifier;
            case DescriptorType.OtherSpeedConfiguration when index < _descriptors.OtherSpeedConfigurations.Count:
                return _descriptors.OtherSpeedConfigurations[index];
            case DescriptorType.Bos when index == 0:
                return _descriptors.Bos;
            default:
                return default;
        }
    }

    private bool TryStandardOut(SetupPacket setup, ReadOnlySpan<byte> data)
    {
        bool super = Speed == UsbSpeed.Super;
        switch ((StandardRequest)setup.Request)
        {
            case StandardRequest.SetFeature when setup.Length == 0:
                return TryFeature(setup, set: true);
            case StandardRequest.ClearFeature when setup.Length == 0:
                return TryFeature(setup, set: false);
            case StandardRequest.SetSel when super && setup.RequestType == DeviceOut && setup.Value == 0 && setup.Index == 0 && data.Length == 6 && setup.Length == 6:
                data.CopyTo(_exitLatency);
                return true;
            case StandardRequest.SetIsochDelay when super && setup.RequestType == DeviceOut && setup.Index == 0 && setup.Length == 0:
                _isochDelay = setup.Value;
                return true;
            default:
                // SET_ADDRESS is the pipeline's; SET_DESCRIPTOR is optional and not supported (USB 2.0 §9.4.8).
                return false;
        }
    }

    private bool TryFeature(SetupPacket setup, bool set)
    {
        switch (setup.RequestType)
        {
            case DeviceOut when setup.Value == RemoteWakeFeature && setup.Index == 0 && Speed != UsbSpeed.Super && CanWake():
                _remoteWake = set;
                return true;
            case DeviceOut when setup.Value is U1Feature or U2Feature && setup.Index == 0 && Speed == UsbSpeed.Super && _active is not null:
                // USB 3.2 §9.4.9: valid in the configured state only. Test mode and LTM are not supported: stall.
                if (setup.Value == U1Feature) _u1 = set;
                else _u2 = set;
                return true;
            case InterfaceOut when setup.Value == FunctionSuspendFeature && Speed == UsbSpeed.Super && (setup.Index & 0xff) < _functionSuspend.Length:
                // Options in the upper byte: bit 0 suspend, bit 1 remote wake (USB 3.2 table 9-10).
                int options = setup.Index >> 8;
                if ((options & ~3) != 0 || ((options & 2) != 0 && !CanWake())) return false;
                _functionSuspend[setup.Index & 0xff] = (byte)(set ? options : 0);
                return true;
            case EndpointOut when set && setup.Value == EndpointHaltFeature && FindEndpoint(setup.Index) is { } endpoint && endpoint.Kind != TransferKind.Isochronous:
                Halt(endpoint);
                return true;
            default:
                return false;
        }
    }

    private bool CanWake()
    {
        if (_active is not null) return _active.CanWake;
        foreach (ConfigurationPlan plan in _plans)
        {
            if (plan.CanWake) return true;
        }

        return false;
    }

    private void InspectChapter9(InspectWriter writer)
    {
        writer.Number("configuration", ConfigurationValue);
        for (int i = 0; i < _alternates.Length; i++)
        {
            using (writer.Node("interface", i))
            {
                writer.Number("alternate", _alternates[i]);
                writer.Hex("function-suspend", _functionSuspend[i]);
            }
        }

        writer.Flag("suspended", _suspended);
        writer.Flag("remote-wake", _remoteWake);
        writer.Flag("u1", _u1);
        writer.Flag("u2", _u2);
        writer.Number("isoch-delay", _isochDelay);
        using (writer.Node("descriptors")) InspectDescriptors(writer);
    }

    // The bytes that GET_DESCRIPTOR answers with, so that they can be compared with what a guest has read.
    private void InspectDescriptors(InspectWriter writer)
    {
        writer.Text("device", Convert.ToHexStringLower(_descriptors.Device));
        for (int i = 0; i < _plans.Length; i++) writer.Text($"configuration/{i}", Convert.ToHexStringLower(_plans[i].Block));
        if (_descriptors.Qualifier is { } qualifier) writer.Text("qualifier", Convert.ToHexStringLower(qualifier));
        for (int i = 0; i < _descriptors.OtherSpeedConfigurations.Count; i++) writer.Text($"other-speed/{i}", Convert.ToHexStringLower(_descriptors.OtherSpeedConfigurations[i]));
        if (_descriptors.Bos is { } bos) writer.Text("bos", Convert.ToHexStringLower(bos));
        for (int i = 0; i < _strings.Length; i++) writer.Text($"string/{i}", Convert.ToHexStringLower(_strings[i]));
    }
}
