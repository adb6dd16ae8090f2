using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Backends.GadgetZero;

/// <summary>
/// Linux's gadget zero (0525:a4a0): configuration 3 sends and swallows data, configuration 2 sends back what it gets, and
/// two vendor requests write (0x5b) and read (0x5c) a buffer. It is what usbtest runs its 30 cases against.
/// </summary>
/// <remarks>
/// Source endpoints fill whatever is asked for: a real one whose packets are larger than the buffer would babble, and
/// usbtest chooses sizes that avoid it. A sink whose data is wrong ends the request with Stall and halts its endpoint.
/// Isochronous data is counted and not checked, as usbtest lays its pattern over a whole URB there.
/// </remarks>
public sealed class GadgetZero : EmulatedDevice
{
    /// <summary>Bytes of the vendor requests' buffer: as many as wLength can ask for.</summary>
    public const int VendorCapacity = ushort.MaxValue;

    private const byte VendorOut = 0x40;
    private const byte VendorIn = 0xc0;
    private const byte WriteBuffer = 0x5b;
    private const byte ReadBuffer = 0x5c;

    // One for each size of packet; what they hold never changes, so all devices share them.
    private static readonly PatternBlock[] Patterns = [new(8), new(64), new(512), new(1024)];

    private const byte Undecided = 0;
    private const byte SinksPattern = 1;
    private const byte SinksZeros = 2;

    private readonly GadgetZeroOptions _options;
    private readonly byte[] _sinkModes = new byte[32];
    private readonly LoopbackBuffer _loopback;

    // Made when a guest first asks for it: most that plug the device in never do.
    private byte[]? _vendorBuffer;
    private int _vendorUsed;
    private long _bytesSourced;
    private long _bytesSunk;
    private long _mismatches;

    /// <summary>Makes the device; throws <see cref="ArgumentOutOfRangeException"/> on options outside their ranges.</summary>
    public GadgetZero(GadgetZeroOptions options)
        : base(Checked(options).Speed, GadgetZeroDescriptors.Make(options), VendorCapacity)
    {
        _options = options;
        _loopback = new LoopbackBuffer(options.Speed switch
        {
            UsbSpeed.Low => 8,
            UsbSpeed.Full => 64,
            UsbSpeed.High => 512,
            _ => 1024,
        });
    }

    /// <inheritdoc/>
    public override string Description => "gadget zero";

    /// <summary>Resumes a suspended bus, as a device with remote wake-up would; false when the host has not allowed it.</summary>
    public bool TryWake() => TryRemoteWake();

    /// <summary>The state to save; requests in flight are their frontend's.</summary>
    public GadgetZeroStateV1 Capture() => new(
        CaptureStandard(),
        Vendor.AsSpan(0, _vendorUsed).ToArray(),
        [.. _sinkModes],
        _loopback.CaptureLengths(),
        _loopback.CaptureBytes(),
        _bytesSourced,
        _bytesSunk,
        _mismatches);

    /// <summary>Takes a saved state; false, with the reason and nothing changed, when it is not one of this device.</summary>
    public bool TryRestore(GadgetZeroStateV1 state, out string error)
    {
        if (state is not { VendorBuffer.Length: <= VendorCapacity, SinkModes.Length: 32, LoopbackLengths: not null, LoopbackBytes: not null, BytesSourced: >= 0, BytesSunk: >= 0, Mismatches: >= 0 })
        {
            error = "a field is missing or out of range";
            return false;
        }

        if (state.SinkModes.AsSpan().IndexOfAnyExceptInRange(Undecided, SinksZeros) >= 0 || !_loopback.Accepts(state.LoopbackLengths, state.LoopbackBytes))
        {
            error = "sink modes or loopback packets";
            return false;
        }

        if (!TryRestoreStandard(state.Device, out error)) return false;
        Array.Clear(Vendor);
        state.VendorBuffer.CopyTo(Vendor, 0);
        _vendorUsed = state.VendorBuffer.Length;
        state.SinkModes.CopyTo(_sinkModes, 0);
        _loopback.Restore(state.LoopbackLengths, state.LoopbackBytes);
        _bytesSourced = state.BytesSourced;
        _bytesSunk = state.BytesSunk;
        _mismatches = state.Mismatches;
        return true;
    }

    /// <inheritdoc/>
    protected override void OnReset() => Restart();

    /// <inheritdoc/>
    protected override void OnConfigured(byte configuration) => Restart();

    /// <inheritdoc/>
    protected override void OnInterfaceSet(byte interfaceNumber, byte alternateSetting) => Restart();

    /// <inheritdoc/>
    protected override bool TryControlIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        bool asked = IsVendor(setup, VendorIn, ReadBuffer);
        reply = asked ? Vendor : default;
        return asked;
    }

    /// <inheritdoc/>
    protected override bool TryControlOut(SetupPacket setup, ReadOnlySpan<byte> data)
    {
        if (!IsVendor(setup, VendorOut, WriteBuffer)) return false;
        data.CopyTo(Vendor);
        _vendorUsed = Math.Max(_vendorUsed, data.Length);
        return true;
    }

    /// <inheritdoc/>
    protected override bool Pump(EmulatedEndpoint endpoint, UsbRequest request)
    {
        ArgumentNullException.ThrowIfNull(endpoint);
        ArgumentNullException.ThrowIfNull(request);
        bool isIn = endpoint.Address.IsIn;
        if (ConfigurationValue == GadgetZeroDescriptors.LoopbackConfiguration) return isIn ? LoopIn(endpoint, request) : LoopOut(endpoint, request);
        if (endpoint.Kind == TransferKind.Isochronous) return Isochronous(endpoint, request);
        RequestStatus status = isIn ? Source(endpoint, request) : Sink(endpoint, request);
        Complete(endpoint, request, status);
        if (status == RequestStatus.Stall) Halt(endpoint);
        return true;
    }

    /// <inheritdoc/>
    protected override void InspectDevice(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Text("pattern", _options.Pattern.ToString());
        writer.Number("bytes-sourced", _bytesSourced);
        writer.Number("bytes-sunk", _bytesSunk);
        writer.Number("mismatches", _mismatches);
        writer.Number("vendor-bytes", _vendorUsed);
        writer.Number("loopback-packets", _loopback.Count);
    }

    private static GadgetZeroOptions Checked(GadgetZeroOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return options;
    }

    private byte[] Vendor => _vendorBuffer ??= new byte[VendorCapacity];

    private bool IsVendor(SetupPacket setup, byte requestType, byte request) =>
        ConfigurationValue != 0 && setup.RequestType == requestType && setup.Request == request && setup.Value == 0 && setup.Index == 0;

    private void Restart()
    {
        _loopback.Clear();
        Array.Clear(_sinkModes);
    }

    private static PatternBlock PatternFor(EmulatedEndpoint endpoint)
    {
        foreach (PatternBlock pattern in Patterns)
        {
            if (pattern.MaxPacket == endpoint.MaxPacket) return pattern;
        }

        return Patterns[^1];
    }

    private RequestStatus Source(EmulatedEndpoint endpoint, UsbRequest request)
    {
        PatternBlock pattern = PatternFor(endpoint);
        while (request.ActualLength < request.Length)
        {
            Span<byte> room = NextRoom(request, request.Length - request.ActualLength);
            if (room.IsEmpty) return RequestStatus.MemoryFault;
            Fill(pattern, room, request.ActualLength);
            request.ActualLength += room.Length;
        }

        return RequestStatus.Success;
    }

    private void Fill(PatternBlock pattern, Span<byte> room, int offset)
    {
        if (_options.Pattern == ZeroPattern.Mod63) pattern.Fill(room, offset);
        else room.Clear();
        _bytesSourced += room.Length;
    }

    private RequestStatus Sink(EmulatedEndpoint endpoint, UsbRequest request)
    {
        ref byte mode = ref _sinkModes[endpoint.Address.Index];
        if (request.ActualLength == 0) mode = Undecided;
        PatternBlock pattern = PatternFor(endpoint);
        while (request.ActualLength < request.Length)
        {
            ReadOnlySpan<byte> data = NextData(request, request.Length - request.ActualLength);
            if (data.IsEmpty) return RequestStatus.MemoryFault;
            int good = Accepted(pattern, data, request.ActualLength, ref mode);
            if (good < data.Length)
            {
                // The packet with the wrong byte is the one refused.
                int end = request.ActualLength + good;
                int accepted = end - (end % pattern.MaxPacket);
                _bytesSunk += accepted - request.ActualLength;
                _mismatches++;
                request.ActualLength = accepted;
                return RequestStatus.Stall;
            }

            _bytesSunk += data.Length;
            request.ActualLength += data.Length;
        }

        return RequestStatus.Success;
    }

    // Bytes at the start of the run that are right. A transfer is either pattern or zeros throughout: a page of zeros in the
    // middle of a pattern is the kind of fault this device exists to find.
    private int Accepted(PatternBlock pattern, ReadOnlySpan<byte> data, int offset, ref byte mode)
    {
        if (_options.Pattern == ZeroPattern.Unchecked) return data.Length;
        if (_options.Pattern == ZeroPattern.Zeros || mode == SinksZeros) return LeadingZeros(data);
        int good = pattern.Match(data, offset);
        if (mode == SinksPattern) return good;
        int zeros = LeadingZeros(data);
        if (good > zeros) mode = SinksPattern;
        else if (zeros > good) mode = SinksZeros;
        return Math.Max(good, zeros);
    }

    private static int LeadingZeros(ReadOnlySpan<byte> data)
    {
        int other = data.IndexOfAnyExcept((byte)0);
        return other < 0 ? data.Length : other;
    }

    private bool Isochronous(EmulatedEndpoint endpoint, UsbRequest request)
    {
        PatternBlock pattern = PatternFor(endpoint);
        Span<IsoPacket> packets = request.Packets.AsSpan(0, Math.Min(request.PacketCount, request.Packets.Length));
        bool faulted = false;
        int total = 0;
        foreach (ref IsoPacket packet in packets)
        {
            int length = Math.Clamp(packet.Length, 0, request.Length);
            bool whole = true;
            if (endpoint.Address.IsIn)
            {
                length = Math.Min(length, endpoint.IntervalBytes);
                whole = TryFillPacket(pattern, request, packet.Offset, length);
            }
            else
            {
                _bytesSunk += length;
            }

            packet.ActualLength = whole ? length : 0;
            packet.Status = whole ? RequestStatus.Success : RequestStatus.MemoryFault;
            total += packet.ActualLength;
            faulted |= !whole;
        }

        request.ActualLength = total;
        Complete(endpoint, request, faulted ? RequestStatus.MemoryFault : RequestStatus.Success);
        return true;
    }

    private bool TryFillPacket(PatternBlock pattern, UsbRequest request, int offset, int length)
    {
        for (int done = 0; done < length;)
        {
            Span<byte> room = request.Data.Map(Memory, offset + done, length - done, GuestAccess.Write);
            if (room.IsEmpty) return false;
            Fill(pattern, room, done);
            done += room.Length;
        }

        return true;
    }

    private bool LoopOut(EmulatedEndpoint endpoint, UsbRequest request)
    {
        bool moved = false;
        RequestStatus? status = null;
        while (status is null && !_loopback.IsFull)
        {
            int length = Math.Min(endpoint.MaxPacket, request.Length - request.ActualLength);
            if (!request.Data.TryCopyFromGuest(Memory, request.ActualLength, _loopback.Room(length)))
            {
                status = RequestStatus.MemoryFault;
                break;
            }

            _loopback.Add(length);
            request.ActualLength += length;
            moved = true;
            if (request.ActualLength >= request.Length) status = RequestStatus.Success;
        }

        if (status is { } ended) Complete(endpoint, request, ended);
        if (moved) WakePartner(GadgetZeroDescriptors.BulkIn);
        return status is not null;
    }

    private bool LoopIn(EmulatedEndpoint endpoint, UsbRequest request)
    {
        bool completed = false;
        bool moved = false;
        while (!completed && _loopback.Count > 0)
        {
            // A request without a buffer takes no packet; one that is too small loses it (babble).
            int length = _loopback.First.Length;
            if (SendPackets(endpoint, request, _loopback.First, last: true, out completed) != length) break;
            _loopback.RemoveFirst();
            moved = true;
        }

        if (moved) WakePartner(GadgetZeroDescriptors.BulkOut);
        return completed;
    }

    private void WakePartner(byte address)
    {
        if (EndpointAt(new EndpointAddress(address)) is { } partner) Wake(partner);
    }
}
