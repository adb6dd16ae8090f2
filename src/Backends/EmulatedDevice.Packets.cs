using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Memory;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends;

public abstract partial class EmulatedDevice
{
    /// <summary>
    /// Offers bytes as consecutive IN packets to the head request: full packets, then a short or empty last one when
    /// <paramref name="last"/> says that the transfer ends here (without it, the length must be a multiple of the packet
    /// size). A short packet, or the last byte of the buffer, completes the request; a packet larger than the room left is
    /// Babble (USB 2.0 §8.7.4). Returns the bytes taken: all of them, or as many as fitted at a packet border, and the rest
    /// is for the next request. <paramref name="completed"/> tells whether the request was given back.
    /// </summary>
    protected int SendPackets(EmulatedEndpoint endpoint, UsbRequest request, ReadOnlySpan<byte> bytes, bool last, out bool completed)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(request);
        int packet = Math.Max(1, endpoint.MaxPacket);
        int room = request.Length - request.ActualLength;
        bool overrun = bytes.Length > room && room % packet != 0;
        int taken = Math.Min(bytes.Length, overrun ? room - (room % packet) : room);
        if (!request.Data.TryCopyToGuest(Memory, request.ActualLength, bytes[..taken]))
        {
            Complete(endpoint, request, RequestStatus.MemoryFault);
            completed = true;
            return bytes.Length;
        }

        request.ActualLength += taken;
        if (overrun)
        {
            // The packet that does not fit is lost, and with it what the device meant to send after it.
            Complete(endpoint, request, RequestStatus.Babble);
            completed = true;
            return bytes.Length;
        }

        bool shortPacket = last && taken == bytes.Length && (taken % packet != 0 || taken == 0);
        completed = shortPacket || request.ActualLength >= request.Length;
        if (completed) Complete(endpoint, request, RequestStatus.Success);
        return taken;
    }

    /// <summary>The next run of the request's buffer to be filled by the device, at most <paramref name="most"/> bytes; empty when guest memory is missing there.</summary>
    protected Span<byte> NextRoom(UsbRequest request, int most) => Next(request, most, GuestAccess.Write);

    /// <summary>The next run of the host's data that the device has not taken yet, at most <paramref name="most"/> bytes; empty when guest memory is missing there.</summary>
    protected ReadOnlySpan<byte> NextData(UsbRequest request, int most) => Next(request, most, GuestAccess.Read);

    private Span<byte> Next(UsbRequest request, int most, GuestAccess access)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Data.Map(Memory, request.ActualLength, most, access);
    }
}
