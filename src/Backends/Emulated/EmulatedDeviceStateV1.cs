namespace XenUsbDm.Backends.Emulated;

/// <summary>Saved chapter 9 state of an emulated device, version 1. Requests in flight are not in it: the frontend submits them again.</summary>
/// <param name="Configuration">bConfigurationValue, 0 when not configured.</param>
/// <param name="AlternateSettings">Selected setting per interface; empty when not configured.</param>
/// <param name="HaltedEndpoints">One bit per <c>EndpointAddress.Index</c>.</param>
/// <param name="FunctionSuspend">FUNCTION_SUSPEND options per interface (USB 3.2 table 9-10); empty when not configured.</param>
/// <param name="RemoteWake">DEVICE_REMOTE_WAKEUP is set.</param>
/// <param name="U1">U1_ENABLE is set.</param>
/// <param name="U2">U2_ENABLE is set.</param>
/// <param name="Suspended">The port is suspended.</param>
/// <param name="IsochDelay">Nanoseconds given by SET_ISOCH_DELAY.</param>
/// <param name="SystemExitLatency">The six bytes of SET_SEL.</param>
public sealed record EmulatedDeviceStateV1(
    byte Configuration,
    byte[] AlternateSettings,
    uint HaltedEndpoints,
    byte[] FunctionSuspend,
    bool RemoteWake,
    bool U1,
    bool U2,
    bool Suspended,
    ushort IsochDelay,
    byte[] SystemExitLatency);
