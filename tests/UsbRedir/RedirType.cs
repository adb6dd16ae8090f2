namespace XenUsbDm.UsbRedir;

/// <summary>Packets of the protocol that this side sends or understands.</summary>
public enum RedirType
{
    Hello = 0,
    DeviceConnect = 1,
    Reset = 3,
    InterfaceInfo = 4,
    EndpointInfo = 5,
    SetConfiguration = 6,
    GetConfiguration = 7,
    ConfigurationStatus = 8,
    SetAltSetting = 9,
    GetAltSetting = 10,
    AltSettingStatus = 11,
    StartIsoStream = 12,
    StopIsoStream = 13,
    IsoStreamStatus = 14,
    ControlPacket = 100,
    BulkPacket = 101,
    IsoPacket = 102,
}
