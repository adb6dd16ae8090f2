namespace XenUsbDm.Core.Usb;

/// <summary>The eight bytes of a SETUP transaction (USB 2.0 §9.3), as a little-endian 64-bit word.</summary>
public readonly record struct SetupPacket(ulong Raw)
{
    /// <summary>Makes a packet from its fields.</summary>
    public SetupPacket(byte requestType, byte request, ushort value, ushort index, ushort length)
        : this(requestType | ((ulong)request << 8) | ((ulong)value << 16) | ((ulong)index << 32) | ((ulong)length << 48))
    {
    }

    /// <summary>bmRequestType.</summary>
    public byte RequestType => (byte)(Raw & 0xff);

    /// <summary>bRequest.</summary>
    public byte Request => (byte)((Raw >> 8) & 0xff);

    /// <summary>wValue.</summary>
    public ushort Value => (ushort)((Raw >> 16) & 0xffff);

    /// <summary>wIndex.</summary>
    public ushort Index => (ushort)((Raw >> 32) & 0xffff);

    /// <summary>wLength, bytes of the data stage.</summary>
    public ushort Length => (ushort)(Raw >> 48);

    /// <summary>Data stage runs device to host (bmRequestType bit 7). Without a data stage the bit means nothing.</summary>
    public bool IsIn => (RequestType & 0x80) != 0;

    /// <summary>Standard request to the device, for exactly this bmRequestType and bRequest.</summary>
    public bool Is(byte requestType, StandardRequest request) => RequestType == requestType && Request == (byte)request;

    /// <inheritdoc/>
    public override string ToString() => $"{RequestType:x2} {Request:x2} value {Value:x4} index {Index:x4} length {Length}";
}

/// <summary>Standard request codes (USB 2.0 table 9-4, USB 3.2 table 9-5).</summary>
public enum StandardRequest : byte
{
    /// <summary>GET_STATUS.</summary>
    GetStatus = 0,

    /// <summary>CLEAR_FEATURE.</summary>
    ClearFeature = 1,

    /// <summary>SET_FEATURE.</summary>
    SetFeature = 3,

    /// <summary>SET_ADDRESS.</summary>
    SetAddress = 5,

    /// <summary>GET_DESCRIPTOR.</summary>
    GetDescriptor = 6,

    /// <summary>SET_DESCRIPTOR.</summary>
    SetDescriptor = 7,

    /// <summary>GET_CONFIGURATION.</summary>
    GetConfiguration = 8,

    /// <summary>SET_CONFIGURATION.</summary>
    SetConfiguration = 9,

    /// <summary>GET_INTERFACE.</summary>
    GetInterface = 10,

    /// <summary>SET_INTERFACE.</summary>
    SetInterface = 11,

    /// <summary>SYNCH_FRAME.</summary>
    SynchFrame = 12,

    /// <summary>SET_SEL.</summary>
    SetSel = 48,

    /// <summary>SET_ISOCH_DELAY.</summary>
    SetIsochDelay = 49,
}

/// <summary>Descriptor types (USB 2.0 table 9-5, USB 3.2 table 9-6).</summary>
public enum DescriptorType : byte
{
    /// <summary>DEVICE.</summary>
    Device = 1,

    /// <summary>CONFIGURATION.</summary>
    Configuration = 2,

    /// <summary>STRING.</summary>
    String = 3,

    /// <summary>INTERFACE.</summary>
    Interface = 4,

    /// <summary>ENDPOINT.</summary>
    Endpoint = 5,

    /// <summary>DEVICE_QUALIFIER.</summary>
    DeviceQualifier = 6,

    /// <summary>OTHER_SPEED_CONFIGURATION.</summary>
    OtherSpeedConfiguration = 7,

    /// <summary>INTERFACE_ASSOCIATION.</summary>
    InterfaceAssociation = 11,

    /// <summary>BOS.</summary>
    Bos = 15,

    /// <summary>DEVICE CAPABILITY.</summary>
    DeviceCapability = 16,

    /// <summary>HID class descriptor (HID 1.11 §7.1).</summary>
    Hid = 0x21,

    /// <summary>HID report descriptor (HID 1.11 §7.1).</summary>
    HidReport = 0x22,

    /// <summary>SUPERSPEED_USB_ENDPOINT_COMPANION.</summary>
    SuperSpeedEndpointCompanion = 48,
}
