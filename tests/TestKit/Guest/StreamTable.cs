using System;
using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Stream contexts and a ring per stream of one bulk endpoint (xHCI 1.2 §4.12.2, §6.2.4).</summary>
public sealed class StreamTable
{
    /// <summary>Set in place of a secondary array's size for a linear table.</summary>
    public const int Linear = -1;

    private readonly List<GuestBuffer> _arrays = [];
    private readonly List<(int Stream, GuestRing Ring)> _rings = [];

    /// <summary>
    /// A primary array of 2^<paramref name="primaryLog"/> contexts. With <paramref name="secondary"/> 0 to 5 every primary
    /// entry from 1 on names a secondary array of 8 times two to its power.
    /// </summary>
    public StreamTable(XhciDriver driver, int primaryLog, int secondary = Linear, int ringTrbs = 32)
    {
        ArgumentNullException.ThrowIfNull(driver);
        PrimaryLog = primaryLog;
        SecondaryCode = secondary;
        int entries = 1 << primaryLog;
        Primary = driver.AllocateStructure(entries * 16);
        _arrays.Add(Primary);
        for (int i = 1; i < entries; i++)
        {
            if (secondary < 0)
            {
                Put(driver, Primary, i, NewRing(driver, i, ringTrbs).Base | (1u << 1) | 1);
                continue;
            }

            int size = 8 << secondary;
            GuestBuffer array = driver.AllocateStructure(size * 16);
            _arrays.Add(array);
            for (int j = 1; j < size; j++)
                Put(driver, array, j, NewRing(driver, i | (j << primaryLog), ringTrbs).Base | 1);
            Put(driver, Primary, i, array.Address | ((uint)(secondary + 2) << 1));
        }
    }

    public int PrimaryLog { get; }

    public int SecondaryCode { get; }

    public bool IsLinear => SecondaryCode < 0;

    public GuestBuffer Primary { get; }

    /// <summary>Stream ids and their rings.</summary>
    public IReadOnlyList<(int Stream, GuestRing Ring)> Rings => _rings;

    public void FreeMemory(XhciDriver driver)
    {
        ArgumentNullException.ThrowIfNull(driver);
        foreach (GuestBuffer array in _arrays) driver.Memory.Free(array);
    }

    private GuestRing NewRing(XhciDriver driver, int stream, int trbs)
    {
        GuestRing ring = driver.Ring(trbs);
        _rings.Add((stream, ring));
        return ring;
    }

    private static void Put(XhciDriver driver, GuestBuffer array, int index, ulong value) =>
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(driver.Platform.Memory(array.Address + (ulong)(index * 16), 8), value);
}
