using System;
using System.Collections.Generic;

namespace XenUsbDm.UsbRedir;

/// <summary>A control request without its data stage's direction of flow decided: <see cref="IsIn"/> tells.</summary>
public readonly record struct ControlRequest(byte RequestType, byte Request, ushort Value, ushort Index, ushort Length)
{
    public bool IsIn => (RequestType & 0x80) != 0;
}

/// <summary>What is on the bus. Requests that QEMU's usb-redir answers by packets of their own do not get here.</summary>
public abstract class RedirDevice
{
    private const byte DeviceDescriptor = 1;
    private const byte ConfigurationDescriptor = 2;
    private const byte StringDescriptor = 3;
    private static readonly byte[] UsEnglish = [4, StringDescriptor, 0x09, 0x04];

    /// <summary>0 low, 1 full, 2 high, 3 super.</summary>
    public abstract byte Speed { get; }

    /// <summary>18 bytes.</summary>
    public abstract byte[] Device { get; }

    /// <summary>The one configuration, whole.</summary>
    public abstract byte[] Configuration { get; }

    /// <summary>Text of string 1.</summary>
    protected abstract string Product { get; }

    /// <summary>Sends a packet on an isochronous IN endpoint that the host listens to; set by the connection.</summary>
    internal Action<byte, ReadOnlyMemory<byte>> SendIsochronous { get; set; } = (_, _) => { };

    /// <summary>Answer to a control request, cut to its length by the caller; null stalls.</summary>
    public byte[]? Control(ControlRequest request, ReadOnlySpan<byte> data)
    {
        switch (request)
        {
            case { RequestType: 0x80, Request: 6 }:
                return (request.Value >> 8, request.Value & 0xff) switch
                {
                    (DeviceDescriptor, 0) => Device,
                    (ConfigurationDescriptor, 0) => Configuration,
                    (StringDescriptor, 0) => UsEnglish,
                    (StringDescriptor, 1) => [(byte)(2 + (2 * Product.Length)), StringDescriptor, .. System.Text.Encoding.Unicode.GetBytes(Product)],
                    _ => null,
                };
            case { RequestType: 0x80 or 0x81 or 0x82, Request: 0 }:
                return [0, 0];
            case { RequestType: 0x02, Request: 1, Value: 0 }:
                return [];
            default:
                return (request.RequestType & 0x60) == 0x20 ? ClassRequest(request, data) : null;
        }
    }

    /// <summary>What was counted, a line each.</summary>
    public abstract IEnumerable<string> Report();

    /// <summary>As <see cref="Control"/>, for a class request.</summary>
    protected virtual byte[]? ClassRequest(ControlRequest request, ReadOnlySpan<byte> data) => null;

    /// <summary>A packet arrived at an isochronous OUT endpoint.</summary>
    public virtual void IsochronousOut(byte endpoint, ReadOnlyMemory<byte> data) { }

    /// <summary>The host begins or ends to listen to, or feed, an isochronous endpoint.</summary>
    public virtual void StreamChanged(byte endpoint, bool runs) { }

    /// <summary>At most <paramref name="most"/> bytes for a bulk IN transfer; a shorter answer is a short packet.</summary>
    public virtual ReadOnlyMemory<byte> BulkIn(byte endpoint, int most) => default;
}
