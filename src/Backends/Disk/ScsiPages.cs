using System;
using System.Buffers.Binary;
using System.Text;

namespace XenUsbDm.Backends.Disk;

/// <summary>Parameter data that depends only on what the disk is: INQUIRY data, vital product data, mode pages, capacities.</summary>
internal static class ScsiPages
{
    /// <summary>T10 vendor identification. Not "QEMU": SeaBIOS asks such a disk for the obsolete geometry page.</summary>
    public const string Vendor = "Xen     ";

    /// <summary>Product identification.</summary>
    public const string Product = "USB disk        ";

    /// <summary>Product revision level.</summary>
    public const string Revision = "1.00";

    /// <summary>
    /// Most sectors that one UNMAP or WRITE SAME may name: 2 GiB. It bounds the work of one command, and so the time that the
    /// next one waits.
    /// </summary>
    public const long MaxRangeSectors = (2L << 30) / IBlockStore.SectorSize;

    /// <summary>Most ranges in one UNMAP: what an 8-bit count reaches, and a parameter list that fits the 4 KiB buffer.</summary>
    public const int MaxUnmapRanges = 255;

    /// <summary>Sectors in a unit that the file system below can give back: 4 KiB.</summary>
    public const int UnmapGranularity = 8;

    private static ReadOnlySpan<byte> SupportedPages => [0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2];

    /// <summary>Standard INQUIRY data (SPC-4 §6.6.2), 36 bytes.</summary>
    public static int WriteInquiry(Span<byte> d, bool removable, bool queues)
    {
        d[..36].Clear();
        d[1] = (byte)(removable ? 0x80 : 0);
        d[2] = 6; // SPC-4.
        d[3] = 2; // Response data format.
        d[4] = 31;
        d[7] = (byte)(queues ? 0x02 : 0); // CMDQUE.
        Encoding.ASCII.GetBytes(Vendor, d[8..]);
        Encoding.ASCII.GetBytes(Product, d[16..]);
        Encoding.ASCII.GetBytes(Revision, d[32..]);
        return 36;
    }

    /// <summary>A vital product data page (SPC-4 §7.8, SBC-3 §6.6); -1 for one that is not supported.</summary>
    public static int WriteVital(Span<byte> d, byte page, string serial, bool canDiscard)
    {
        d[..64].Clear();
        d[1] = page;
        switch (page)
        {
            case 0x00:
                SupportedPages.CopyTo(d[4..]);
                return Close(d, SupportedPages.Length);
            case 0x80:
                return Close(d, Encoding.ASCII.GetBytes(serial, d[4..]));
            case 0x83:
                return Close(d, WriteDesignators(d[4..], serial));
            case 0xb0:
                d[4] = 1; // WSNZ: WRITE SAME of "the rest of the medium" is not supported.
                if (canDiscard)
                {
                    BinaryPrimitives.WriteUInt32BigEndian(d[20..], (uint)MaxRangeSectors);
                    BinaryPrimitives.WriteUInt32BigEndian(d[24..], MaxUnmapRanges);
                    BinaryPrimitives.WriteUInt32BigEndian(d[28..], UnmapGranularity);
                }

                BinaryPrimitives.WriteInt64BigEndian(d[36..], MaxRangeSectors);
                return Close(d, 0x3c);
            case 0xb1:
                BinaryPrimitives.WriteUInt16BigEndian(d[4..], 1); // Non-rotating.
                return Close(d, 0x3c);
            case 0xb2:
                d[5] = (byte)(canDiscard ? 0xe4 : 0); // LBPU, LBPWS, LBPWS10, LBPRZ.
                d[6] = (byte)(canDiscard ? 2 : 0); // Thin provisioned.
                return Close(d, 4);
            default:
                return -1;
        }
    }

    /// <summary>
    /// Mode pages (SPC-4 §7.5, SBC-3 §6.5) named by <paramref name="page"/> and <paramref name="subpage"/>, of page control
    /// <paramref name="control"/> 0-2; -1 when there is none. Nothing can be changed: page control 1 gives zero masks.
    /// </summary>
    public static int WriteModePages(Span<byte> d, int page, int subpage, int control)
    {
        if (subpage != 0 && !(subpage == 0xff && page == 0x3f)) return -1;
        int length = 0;
        foreach (int candidate in (ReadOnlySpan<int>)[0x08, 0x0a, 0x1c])
        {
            if (page == candidate || page == 0x3f) length += WriteModePage(d[length..], candidate, control == 1);
        }

        return length == 0 ? -1 : length;
    }

    /// <summary>READ CAPACITY (10) data (SBC-3 §5.15): 0xffffffff when the last sector needs more than 32 bits.</summary>
    public static int WriteCapacity10(Span<byte> d, long sectors)
    {
        BinaryPrimitives.WriteUInt32BigEndian(d, (uint)Math.Min(sectors - 1, uint.MaxValue));
        BinaryPrimitives.WriteUInt32BigEndian(d[4..], IBlockStore.SectorSize);
        return 8;
    }

    /// <summary>READ CAPACITY (16) data (SBC-3 §5.16).</summary>
    public static int WriteCapacity16(Span<byte> d, long sectors, bool canDiscard)
    {
        d[..32].Clear();
        BinaryPrimitives.WriteInt64BigEndian(d, sectors - 1);
        BinaryPrimitives.WriteUInt32BigEndian(d[8..], IBlockStore.SectorSize);
        d[14] = (byte)(canDiscard ? 0xc0 : 0); // LBPME, LBPRZ.
        return 32;
    }

    /// <summary>READ FORMAT CAPACITIES data (MMC-6 §6.24): one descriptor; formatted medium, or none present.</summary>
    public static int WriteFormatCapacities(Span<byte> d, long sectors, bool present)
    {
        d[..12].Clear();
        d[3] = 8;
        BinaryPrimitives.WriteUInt32BigEndian(d[4..], (uint)Math.Min(sectors, uint.MaxValue));
        BinaryPrimitives.WriteUInt32BigEndian(d[8..], IBlockStore.SectorSize);
        d[8] = (byte)(present ? 2 : 3);
        return 12;
    }

    private static int Close(Span<byte> d, int length)
    {
        BinaryPrimitives.WriteUInt16BigEndian(d[2..], (ushort)length);
        return 4 + length;
    }

    private static int WriteDesignators(Span<byte> d, string serial)
    {
        // T10 vendor id based (SPC-4 §7.8.6.4): ASCII, of the logical unit.
        d[0] = 2;
        d[1] = 1;
        int text = Encoding.ASCII.GetBytes(Vendor, d[4..]);
        text += Encoding.ASCII.GetBytes(serial, d[(4 + text)..]);
        d[3] = (byte)text;

        // NAA 3, locally assigned (§7.8.6.6.4): 60 bits that follow from the serial number (FNV-1a).
        ulong hash = 14695981039346656037;
        foreach (char c in serial) hash = unchecked((hash ^ c) * 1099511628211);
        Span<byte> naa = d[(4 + text)..];
        naa[0] = 1;
        naa[1] = 3;
        naa[2] = 0;
        naa[3] = 8;
        BinaryPrimitives.WriteUInt64BigEndian(naa[4..], (hash >> 4) | (3UL << 60));
        return 4 + text + 12;
    }

    private static int WriteModePage(Span<byte> d, int page, bool mask)
    {
        int length = page == 0x08 ? 20 : 12;
        d[..length].Clear();
        d[0] = (byte)page;
        d[1] = (byte)(length - 2);
        if (mask) return length;
        switch (page)
        {
            case 0x08:
                d[2] = 0x04; // WCE: writes end in the host's page cache, so hosts must send SYNCHRONIZE CACHE.
                break;
            case 0x0a:
                d[3] = 0x10; // Unrestricted reordering: tasks under way together end in any order.
                d[5] = 0x40; // TAS.
                break;
        }

        return length;
    }
}
