namespace XenUsbDm.Core.Usb;

/// <summary>bEndpointAddress (USB 2.0 table 9-13): number in bits 3:0, direction in bit 7. Bits 6:4 are dropped.</summary>
public readonly record struct EndpointAddress
{
    /// <summary>Makes an address from its byte; reserved bits are ignored.</summary>
    public EndpointAddress(byte value) => Value = (byte)(value & 0x8f);

    /// <summary>Makes an address from number (0-15) and direction.</summary>
    public EndpointAddress(int number, bool isIn) => Value = (byte)((number & 0xf) | (isIn ? 0x80 : 0));

    /// <summary>The default control pipe.</summary>
    public static EndpointAddress Control => default;

    /// <summary>The address byte.</summary>
    public byte Value { get; }

    /// <summary>Endpoint number, 0-15.</summary>
    public int Number => Value & 0xf;

    /// <summary>Device to host.</summary>
    public bool IsIn => (Value & 0x80) != 0;

    /// <summary>Table index 0-31: number times two, plus one for IN. Endpoint 0 uses index 0.</summary>
    public int Index => Number == 0 ? 0 : (Number * 2) + (IsIn ? 1 : 0);

    /// <inheritdoc/>
    public override string ToString() => Number == 0 ? "ep0" : $"ep{Number}{(IsIn ? "in" : "out")}";
}
