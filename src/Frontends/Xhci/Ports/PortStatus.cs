using XenUsbDm.Core.Usb;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>PORTSC (xHCI 1.2 §5.4.8).</summary>
internal readonly record struct PortStatus(uint Raw)
{
    /// <summary>Bit 0: Current Connect Status (CCS).</summary>
    public const uint Connected = 1u << 0;

    /// <summary>Bit 1: Port Enabled (PED).</summary>
    public const uint Enabled = 1u << 1;

    /// <summary>Bit 4: Port Reset (PR).</summary>
    public const uint Reset = 1u << 4;

    /// <summary>Bits 8:5: Port Link State (PLS).</summary>
    public const uint LinkMask = 0xfu << 5;

    /// <summary>Bit 9: Port Power (PP).</summary>
    public const uint Power = 1u << 9;

    /// <summary>Bits 13:10: Port Speed.</summary>
    public const uint SpeedMask = 0xfu << 10;

    /// <summary>Bits 15:14: Port Indicator Control (PIC).</summary>
    public const uint IndicatorMask = 3u << 14;

    /// <summary>Bit 16: Port Link State Write Strobe (LWS).</summary>
    public const uint LinkWriteStrobe = 1u << 16;

    /// <summary>Bit 17: Connect Status Change (CSC).</summary>
    public const uint ConnectChange = 1u << 17;

    /// <summary>Bit 19: Warm Port Reset Change (WRC).</summary>
    public const uint WarmResetChange = 1u << 19;

    /// <summary>Bit 21: Port Reset Change (PRC).</summary>
    public const uint ResetChange = 1u << 21;

    /// <summary>Bit 22: Port Link State Change (PLC).</summary>
    public const uint LinkChange = 1u << 22;

    /// <summary>Bits 23:17: CSC, PEC, WRC, OCC, PRC, PLC, CEC.</summary>
    public const uint ChangeMask = 0x7fu << 17;

    /// <summary>Bit 25: Wake on Connect Enable (WCE).</summary>
    public const uint WakeOnConnect = 1u << 25;

    /// <summary>Bit 26: Wake on Disconnect Enable (WDE).</summary>
    public const uint WakeOnDisconnect = 1u << 26;

    /// <summary>Bits 27:25: WCE, WDE, WOE.</summary>
    public const uint WakeMask = 7u << 25;

    /// <summary>Bit 31: Warm Port Reset (WPR).</summary>
    public const uint WarmReset = 1u << 31;

    /// <summary>Bits that hold something: everything but LWS, WPR (they read 0), DR and reserved bits.</summary>
    public const uint Stored = Connected | Enabled | Reset | LinkMask | Power | SpeedMask | IndicatorMask | ChangeMask | WakeMask;

    /// <summary>PLS.</summary>
    public LinkState Link => (LinkState)((Raw & LinkMask) >> 5);

    /// <summary>Any bit of <paramref name="bits"/> is set.</summary>
    public bool Has(uint bits) => (Raw & bits) != 0;

    /// <summary>With <paramref name="bits"/> set.</summary>
    public PortStatus With(uint bits) => new(Raw | bits);

    /// <summary>With <paramref name="bits"/> cleared.</summary>
    public PortStatus Without(uint bits) => new(Raw & ~bits);

    /// <summary>With another PLS.</summary>
    public PortStatus WithLink(LinkState link) => new((Raw & ~LinkMask) | ((uint)link << 5));

    /// <summary>With the speed id of <paramref name="speed"/>: 1 full, 2 low, 3 high, 4 SuperSpeed (§7.2.2.1.1).</summary>
    public PortStatus WithSpeed(UsbSpeed speed) => new((Raw & ~SpeedMask) | (SpeedId(speed) << 10));

    private static uint SpeedId(UsbSpeed speed) => speed switch
    {
        UsbSpeed.Full => 1,
        UsbSpeed.Low => 2,
        UsbSpeed.High => 3,
        _ => 4,
    };
}

/// <summary>PLS values (xHCI 1.2 table 5-27) that a port here can be in or software can ask for.</summary>
internal enum LinkState : byte
{
    /// <summary>U0: on.</summary>
    U0 = 0,

    /// <summary>U3: suspended.</summary>
    U3 = 3,

    /// <summary>Disabled, or without power.</summary>
    Disabled = 4,

    /// <summary>RxDetect: disconnected.</summary>
    RxDetect = 5,

    /// <summary>Polling: a USB 2 port waits for its reset.</summary>
    Polling = 7,

    /// <summary>Hot Reset.</summary>
    HotReset = 9,

    /// <summary>Resume.</summary>
    Resume = 15,
}
