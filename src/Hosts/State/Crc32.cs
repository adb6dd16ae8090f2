using System;

namespace XenUsbDm.Hosts.State;

/// <summary>CRC-32 of IEEE 802.3 (reflected, polynomial 0xEDB88320), by table. Guards against damage, not against intent.</summary>
internal static class Crc32
{
    private static readonly uint[] Table = MakeTable();

    /// <summary>The checksum of some bytes; that of "123456789" is 0xCBF43926.</summary>
    internal static uint Of(ReadOnlySpan<byte> bytes)
    {
        uint crc = 0xffff_ffff;
        foreach (byte next in bytes) crc = (crc >> 8) ^ Table[(int)((crc ^ next) & 0xff)];
        return ~crc;
    }

    private static uint[] MakeTable()
    {
        var table = new uint[256];
        for (uint i = 0; i < 256; i++)
        {
            uint value = i;
            for (int bit = 0; bit < 8; bit++) value = (value & 1) != 0 ? (value >> 1) ^ 0xedb8_8320 : value >> 1;
            table[i] = value;
        }

        return table;
    }
}
