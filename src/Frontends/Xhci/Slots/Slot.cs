using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.Contexts;

namespace XenUsbDm.Frontends.Xhci.Slots;

/// <summary>One device slot (xHCI 1.2 §4.5): its state, the device behind it and its endpoints.</summary>
internal sealed class Slot(int id) : IInspectable
{
    private readonly Endpoint?[] _endpoints = new Endpoint?[XhciLimits.Endpoints + 1];

    /// <summary>Slot ID, one-based.</summary>
    public int Id { get; } = id;

    /// <summary>Given out by Enable Slot.</summary>
    public bool IsEnabled { get; set; }

    /// <summary>Slot State while enabled.</summary>
    public SlotState State { get; set; }

    /// <summary>Output Slot Context as last written.</summary>
    public SlotContext Context { get; set; }

    /// <summary>Output Device Context, from the DCBAA when the device was addressed.</summary>
    public GuestAddress ContextAddress { get; set; }

    /// <summary>Connector of the device.</summary>
    public PortNumber Port { get; set; }

    /// <summary>Speed of the device.</summary>
    public UsbSpeed Speed { get; set; }

    /// <summary>USB address given by Address Device, 0 before.</summary>
    public DeviceAddress Address { get; set; }

    /// <summary>Endpoint <paramref name="dci"/> (1-31), or null when disabled.</summary>
    public Endpoint? this[int dci]
    {
        get => _endpoints[dci];
        set => _endpoints[dci] = value;
    }

    /// <summary>Guest address of context <paramref name="dci"/> (0 = slot) in the output device context.</summary>
    public GuestAddress ContextOf(int dci) => ContextAddress.OffsetWrapping((ulong)dci * SlotContext.Size);

    /// <summary>Highest DCI with an endpoint, at least 1: Context Entries.</summary>
    public int HighestEndpoint
    {
        get
        {
            for (int dci = XhciLimits.Endpoints; dci > 1; dci--)
                if (_endpoints[dci] is not null) return dci;
            return 1;
        }
    }

    /// <summary>Back to the disabled state, endpoints forgotten.</summary>
    public void Clear()
    {
        System.Array.Clear(_endpoints);
        IsEnabled = false;
        State = SlotState.Enabled;
        Context = default;
        ContextAddress = default;
        Port = default;
        Address = default;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Text("state", State.ToString());
        writer.Number("port", Port.Value);
        writer.Text("speed", Speed.ToString());
        writer.Number("address", Address.Value);
        writer.Hex("context", ContextAddress.Value);
        writer.Number("interrupter-target", Context.InterrupterTarget);
        writer.Number("max-exit-latency", Context.MaxExitLatency);
        for (int dci = 1; dci <= XhciLimits.Endpoints; dci++)
        {
            if (_endpoints[dci] is not { } endpoint) continue;
            using (writer.Node("endpoint", dci)) endpoint.Inspect(writer);
        }
    }
}
