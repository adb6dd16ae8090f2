using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Devices;

/// <summary>Builds a configuration block descriptor by descriptor; wTotalLength and bNumInterfaces are filled in by <see cref="Build"/>.</summary>
public sealed class DescriptorBuilder
{
    private readonly List<byte> _bytes;
    private readonly HashSet<int> _interfaces = [];

    public DescriptorBuilder(byte value = 1) => _bytes = [9, 2, 0, 0, 0, value, 0, 0x80, 50];

    public DescriptorBuilder Interface(byte number, byte alternate = 0, byte interfaceClass = 0xff)
    {
        _interfaces.Add(number);
        return Raw(9, 4, number, alternate, 0, interfaceClass, 0, 0, 0);
    }

    public DescriptorBuilder Endpoint(byte address, TransferKind kind, int maxPacketSize, byte interval = 0) =>
        Raw(7, 5, address, (byte)kind, (byte)(maxPacketSize & 0xff), (byte)(maxPacketSize >> 8), interval);

    public DescriptorBuilder Companion(byte maxBurst, byte attributes = 0, int bytesPerInterval = 0) =>
        Raw(6, 48, maxBurst, attributes, (byte)(bytesPerInterval & 0xff), (byte)(bytesPerInterval >> 8));

    public DescriptorBuilder Raw(params byte[] bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public byte[] Build()
    {
        byte[] block = _bytes.ToArray();
        BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(2), (ushort)Math.Min(block.Length, ushort.MaxValue));
        block[4] = (byte)_interfaces.Count;
        return block;
    }
}
