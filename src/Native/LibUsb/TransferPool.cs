using System;
using System.Numerics;

namespace XenUsbDm.Native.LibUsb;

/// <summary>
/// Transfers of one device that are not in flight, by size of buffer (powers of two from 4 KiB) and room for packets. A
/// transfer that was made once is used again until the device is closed.
/// </summary>
internal sealed class TransferPool(PhysicalDevice owner)
{
    private const int SmallestLog = 12;
    private const int LargestLog = 21; // 1 MiB and a setup packet.
    private const int Sizes = LargestLog - SmallestLog + 1;

    // Device memory counts against the kernel's 16 MiB for all of usbfs; the rest comes from malloc.
    private const long MostDeviceMemory = 4 << 20;

    private static ReadOnlySpan<int> PacketRooms => [0, 1, 8, 32, 128, 1024];

    private readonly LibUsbTransfer?[] _free = new LibUsbTransfer?[Sizes * 6];
    private long _deviceMemory;
    private bool _deviceMemoryFails;

    /// <summary>Transfers made and not freed.</summary>
    public int Made { get; private set; }

    /// <summary>Bytes of all buffers.</summary>
    public long Bytes { get; private set; }

    /// <summary>Bytes of buffers that are the kernel's own.</summary>
    public long DeviceMemory => _deviceMemory;

    /// <summary>One with room for so much; null when there is no memory.</summary>
    public LibUsbTransfer? Rent(nint handle, int bytes, int packets)
    {
        int size = Math.Max(0, BitOperations.Log2((uint)Math.Max(1, bytes - 1)) + 1 - SmallestLog);
        int room = 0;
        while (room < PacketRooms.Length && PacketRooms[room] < packets) room++;
        if (size >= Sizes || room >= PacketRooms.Length) return null;
        ref LibUsbTransfer? free = ref _free[(size * PacketRooms.Length) + room];
        if (free is { } pooled)
        {
            free = pooled.Following;
            pooled.Following = null;
            return pooled;
        }

        int capacity = 1 << (SmallestLog + size);
        bool deviceMemory = !_deviceMemoryFails && packets == 0 && _deviceMemory + capacity <= MostDeviceMemory;
        LibUsbTransfer? made = LibUsbTransfer.TryCreate(owner, handle, capacity, PacketRooms[room], deviceMemory);
        if (made is null) return null;
        if (made.IsDeviceMemory) _deviceMemory += capacity;
        else _deviceMemoryFails |= deviceMemory;
        Made++;
        Bytes += capacity;
        return made;
    }

    /// <summary>Gives one back.</summary>
    public void Return(LibUsbTransfer transfer)
    {
        int size = BitOperations.Log2((uint)transfer.Capacity) - SmallestLog;
        ref LibUsbTransfer? free = ref _free[(size * PacketRooms.Length) + PacketRooms.IndexOf(transfer.Packets)];
        transfer.Following = free;
        free = transfer;
    }

    /// <summary>Frees all that are here.</summary>
    public void Free()
    {
        for (int i = 0; i < _free.Length; i++)
        {
            while (_free[i] is { } transfer)
            {
                _free[i] = transfer.Following;
                transfer.Free();
                Made--;
                Bytes -= transfer.Capacity;
            }
        }
    }
}
