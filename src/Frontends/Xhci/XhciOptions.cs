namespace XenUsbDm.Frontends.Xhci;

/// <summary>What the operator chooses of an xHCI controller.</summary>
/// <param name="Usb2Ports">USB 2 root ports, 1-15. They are numbered first, from 1.</param>
/// <param name="Usb3Ports">USB 3 root ports, 0-15, numbered after the USB 2 ports. Connector N is USB 2 port N and USB 3 port Usb2Ports + N.</param>
/// <param name="Slots">Device slots, 1-255 (MaxSlots).</param>
/// <param name="Interrupters">Interrupters, 1-16 (MaxIntrs).</param>
public sealed record XhciOptions(int Usb2Ports = 4, int Usb3Ports = 4, int Slots = 64, int Interrupters = 16)
{
    /// <summary>Most root ports of one bus: AppleUSBXHCI fails beyond 15 ports (PEERS.md section 6).</summary>
    public const int MaxPortsPerBus = 15;

    /// <summary>Connectors: pipeline ports that the controller uses.</summary>
    public int Connectors => System.Math.Max(Usb2Ports, Usb3Ports);

    /// <summary>Root ports in all (MaxPorts).</summary>
    public int RootPorts => Usb2Ports + Usb3Ports;
}
