using System;
using System.Runtime.InteropServices;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Native.Linux;

namespace XenUsbDm.Native.LibUsb;

/// <summary>One libusb_transfer with a buffer of its own, for as long as its device is open.</summary>
internal sealed unsafe class LibUsbTransfer : HostTransfer
{
    private readonly PhysicalDevice _owner;
    private readonly nint _deviceMemoryOf;
    private LibUsb.Transfer* _transfer;
    private byte* _buffer;
    private GCHandle _self;

    private LibUsbTransfer(PhysicalDevice owner, LibUsb.Transfer* transfer, byte* buffer, int capacity, int packets, nint deviceMemoryOf)
    {
        _owner = owner;
        _transfer = transfer;
        _buffer = buffer;
        _deviceMemoryOf = deviceMemoryOf;
        Capacity = capacity;
        Packets = packets;
        _self = GCHandle.Alloc(this);
        transfer->User = GCHandle.ToIntPtr(_self);
        transfer->Callback = &Ended;
        transfer->Buffer = buffer;
    }

    /// <summary>Bytes of the buffer.</summary>
    public int Capacity { get; }

    /// <summary>Packets there is room for.</summary>
    public int Packets { get; }

    /// <summary>The buffer is the kernel's own: it moves the data without another copy.</summary>
    public bool IsDeviceMemory => _deviceMemoryOf != 0;

    /// <summary>The next in the pool, or the next that has ended.</summary>
    public LibUsbTransfer? Following { get; set; }

    /// <inheritdoc/>
    public override Span<byte> Buffer => new(_buffer, Capacity);

    /// <summary>Makes one; null when there is no memory. Device memory is tried when <paramref name="deviceMemory"/> allows.</summary>
    public static LibUsbTransfer? TryCreate(PhysicalDevice owner, nint handle, int capacity, int packets, bool deviceMemory)
    {
        LibUsb.Transfer* transfer = LibUsb.AllocateTransfer(packets);
        if (transfer is null) return null;
        byte* buffer = deviceMemory ? (byte*)LibUsb.AllocateDeviceMemory(handle, (nuint)capacity) : null;
        nint deviceMemoryOf = buffer is null ? 0 : handle;
        if (buffer is null) buffer = Libc.AllocateMemory((nuint)capacity);
        if (buffer is not null) return new LibUsbTransfer(owner, transfer, buffer, capacity, packets, deviceMemoryOf);
        LibUsb.FreeTransfer(transfer);
        return null;
    }

    /// <inheritdoc/>
    public override void SetPacketLength(int packet, int length)
    {
        LibUsb.Packet* one = PacketAt(packet);
        one->Length = (uint)length;
        one->ActualLength = 0;
        one->Status = 0;
    }

    /// <inheritdoc/>
    public override HostPacket Packet(int packet)
    {
        LibUsb.Packet* one = PacketAt(packet);
        return new HostPacket((HostTransferStatus)one->Status, (int)Math.Min(one->ActualLength, int.MaxValue));
    }

    /// <summary>Hands it over.</summary>
    public HostError Submit(nint handle)
    {
        LibUsb.Transfer* transfer = _transfer;
        transfer->Handle = handle;
        transfer->Flags = 0;
        transfer->Endpoint = Endpoint.Value;
        transfer->Type = Kind switch
        {
            Core.Usb.TransferKind.Control => LibUsb.TypeControl,
            Core.Usb.TransferKind.Isochronous => LibUsb.TypeIsochronous,
            Core.Usb.TransferKind.Interrupt => LibUsb.TypeInterrupt,
            _ => StreamId == 0 ? LibUsb.TypeBulk : LibUsb.TypeBulkStream,
        };
        transfer->Timeout = 0; // The guest decides how long to wait.
        transfer->Length = Length;
        transfer->ActualLength = 0;
        transfer->PacketCount = PacketCount;
        if (StreamId != 0) LibUsb.SetStreamId(transfer, StreamId);
        return HostOutcome.FromNumber(LibUsb.SubmitTransfer(transfer));
    }

    /// <summary>Asks for it back. That it has ended already is no error: its end is on the way.</summary>
    public void Cancel() => _ = LibUsb.CancelTransfer(_transfer);

    /// <summary>Frees everything. It must not be in flight.</summary>
    public void Free()
    {
        if (_transfer is null) return;
        LibUsb.FreeTransfer(_transfer);
        if (_deviceMemoryOf != 0) _ = LibUsb.FreeDeviceMemory(_deviceMemoryOf, (nint)_buffer, (nuint)Capacity);
        else Libc.FreeMemory(_buffer);
        _transfer = null;
        _buffer = null;
        _self.Free();
    }

    [UnmanagedCallersOnly]
    private static void Ended(LibUsb.Transfer* transfer)
    {
        var self = (LibUsbTransfer)GCHandle.FromIntPtr(transfer->User).Target!;
        self.Status = (HostTransferStatus)transfer->Status;
        self.ActualLength = transfer->ActualLength;
        self._owner.TransferEnded(self);
    }

    private LibUsb.Packet* PacketAt(int packet)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)packet, (uint)Packets);
        return (LibUsb.Packet*)((byte*)_transfer + LibUsb.PacketsOffset) + packet;
    }
}
