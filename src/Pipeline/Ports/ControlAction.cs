using XenUsbDm.Core.Usb;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>
/// What the pipeline makes of a request on endpoint 0. The decision looks at all of bmRequestType, so that a class or
/// vendor request with the same bRequest reaches the device (FTDI devices have a vendor request 5).
/// </summary>
internal enum ControlAction
{
    /// <summary>The device takes it as it is.</summary>
    PassOn,

    /// <summary>SET_ADDRESS: the pipeline keeps the address (USB 2.0 §9.4.6); the host's own stack addresses a physical device.</summary>
    SetAddress,

    /// <summary>A standard request with a value that no device accepts: answered with STALL (USB 2.0 §9.2.7).</summary>
    Refuse,

    /// <summary>SET_CONFIGURATION (USB 2.0 §9.4.7).</summary>
    SetConfiguration,

    /// <summary>SET_INTERFACE (USB 2.0 §9.4.10).</summary>
    SetInterface,

    /// <summary>CLEAR_FEATURE(ENDPOINT_HALT) (USB 2.0 §9.4.1).</summary>
    ClearHalt,
}

/// <summary>Sorts setup packets into <see cref="ControlAction"/>s.</summary>
internal static class ControlActions
{
    private const byte ToDevice = 0x00;
    private const byte ToInterface = 0x01;
    private const byte ToEndpoint = 0x02;
    private const ushort EndpointHalt = 0;
    private const ushort EndpointBits = 0x8f;

    /// <summary>The action for <paramref name="setup"/>.</summary>
    public static ControlAction Of(SetupPacket setup)
    {
        if (setup.Is(ToDevice, StandardRequest.SetAddress))
            return setup.Value <= DeviceAddress.Max ? ControlAction.SetAddress : ControlAction.Refuse;
        if (setup.Is(ToDevice, StandardRequest.SetConfiguration))
            return ControlAction.SetConfiguration; // The upper byte of wValue is reserved and not looked at.
        if (setup.Is(ToInterface, StandardRequest.SetInterface))
            return setup.Value <= byte.MaxValue && setup.Index <= byte.MaxValue ? ControlAction.SetInterface : ControlAction.Refuse;
        if (setup.Is(ToEndpoint, StandardRequest.ClearFeature) && setup.Value == EndpointHalt)
            return (setup.Index & ~EndpointBits) == 0 ? ControlAction.ClearHalt : ControlAction.Refuse;
        return ControlAction.PassOn;
    }

    /// <summary>
    /// The pipeline answers this itself. It does so when every earlier request of endpoint 0 has ended, so that answers keep
    /// the order of the requests and an earlier request still goes by the old address.
    /// </summary>
    public static bool IsLocal(SetupPacket setup) => Of(setup) is ControlAction.SetAddress or ControlAction.Refuse;
}
