namespace XenUsbDm.Core.Usb;

/// <summary>Bus speed of a device (USB 2.0 §4.2.1, USB 3.2 §3.1). SuperSpeed is 5 Gb/s.</summary>
public enum UsbSpeed
{
    /// <summary>1.5 Mb/s.</summary>
    Low,

    /// <summary>12 Mb/s.</summary>
    Full,

    /// <summary>480 Mb/s.</summary>
    High,

    /// <summary>5 Gb/s.</summary>
    Super,
}

/// <summary>Transfer type; the values are those of bmAttributes bits 1:0 (USB 2.0 table 9-13).</summary>
public enum TransferKind
{
    /// <summary>Control.</summary>
    Control = 0,

    /// <summary>Isochronous.</summary>
    Isochronous = 1,

    /// <summary>Bulk.</summary>
    Bulk = 2,

    /// <summary>Interrupt.</summary>
    Interrupt = 3,
}
