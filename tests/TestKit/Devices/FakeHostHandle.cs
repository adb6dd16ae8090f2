using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A transfer on managed memory.</summary>
public sealed class FakeTransfer(int capacity, int packets) : HostTransfer
{
    private readonly byte[] _buffer = new byte[capacity];

    public override Span<byte> Buffer => _buffer;

    public int[] PacketLengths { get; } = new int[packets];

    public HostPacket[] PacketResults { get; } = new HostPacket[packets];

    public override void SetPacketLength(int packet, int length) => PacketLengths[packet] = length;

    public override HostPacket Packet(int packet) => PacketResults[packet];
}

/// <summary>The host's USB stack as a script: the test ends transfers and operations, in the order and with the results that it wants.</summary>
public sealed class FakeHostHandle : IHostHandle
{
    private readonly Queue<HostTransfer> _ended = new();
    private readonly Stack<FakeTransfer> _pool = new();
    private HostError? _operationResult;

    public HostDeviceFacts Facts { get; set; } =
        new() { BusPath = "1-2.3", Speed = UsbSpeed.High, VendorId = 0x0951, ProductId = 0x1666, Manufacturer = "Kingston", Product = "DataTraveler", Serial = "0001" };

    /// <summary>Transfers that the host's stack has, oldest first.</summary>
    public List<FakeTransfer> InFlight { get; } = [];

    /// <summary>Transfers that the device asked back, in that order.</summary>
    public List<FakeTransfer> Cancelled { get; } = [];

    /// <summary>Operations started, oldest first.</summary>
    public List<HostOperation> Operations { get; } = [];

    /// <summary>An operation was started and has not been ended.</summary>
    public bool OperationRuns { get; private set; }

    /// <summary>Result of the next submits.</summary>
    public HostError SubmitResult { get; set; }

    /// <summary>Rent finds no memory.</summary>
    public bool NoMemory { get; set; }

    /// <summary>A cancelled transfer ends at once, with what <see cref="CancelledLength"/> says of it.</summary>
    public bool CancelsAtOnce { get; set; } = true;

    public Func<FakeTransfer, int> CancelledLength { get; set; } = static _ => 0;

    /// <summary>Lists for the test are not kept, so that a steady state allocates nothing.</summary>
    public bool KeepLists { get; set; } = true;

    public int Rented { get; private set; }

    public HostTransfer? Rent(int bytes, int packets)
    {
        if (NoMemory) return null;
        Rented++;
        if (_pool.TryPop(out FakeTransfer? pooled) && pooled.Buffer.Length >= bytes && pooled.PacketLengths.Length >= packets) return pooled;
        return new FakeTransfer(bytes, packets);
    }

    public void Return(HostTransfer transfer)
    {
        Rented--;
        _pool.Push((FakeTransfer)transfer);
    }

    public HostError Submit(HostTransfer transfer)
    {
        if (SubmitResult != HostError.None) return SubmitResult;
        InFlight.Add((FakeTransfer)transfer);
        return HostError.None;
    }

    public void Cancel(HostTransfer transfer)
    {
        var fake = (FakeTransfer)transfer;
        if (!InFlight.Contains(fake)) return;
        if (KeepLists) Cancelled.Add(fake);
        if (CancelsAtOnce) End(fake, HostTransferStatus.Cancelled, CancelledLength(fake));
    }

    public void Start(HostOperation operation)
    {
        if (OperationRuns) throw new InvalidOperationException("Two operations at a time.");
        OperationRuns = true;
        if (KeepLists) Operations.Add(operation);
    }

    public bool TryTakeTransfer([NotNullWhen(true)] out HostTransfer? transfer) => _ended.TryDequeue(out transfer);

    public bool TryTakeOperation(out HostError result)
    {
        result = _operationResult ?? HostError.None;
        bool ended = _operationResult is not null;
        _operationResult = null;
        return ended;
    }

    /// <summary>Ends a transfer; it is delivered when the device is asked to.</summary>
    public void End(FakeTransfer transfer, HostTransferStatus status, int actual)
    {
        ArgumentNullException.ThrowIfNull(transfer);
        if (!InFlight.Remove(transfer)) throw new InvalidOperationException("The transfer is not in flight.");
        transfer.Status = status;
        transfer.ActualLength = actual;
        _ended.Enqueue(transfer);
    }

    /// <summary>Ends the oldest transfer as done, with everything moved unless said.</summary>
    public void EndNext(HostTransferStatus status = HostTransferStatus.Completed, int? actual = null)
    {
        FakeTransfer transfer = InFlight[0];
        End(transfer, status, actual ?? (transfer.Length - (transfer.Kind == TransferKind.Control ? 8 : 0)));
    }

    /// <summary>Ends all transfers with one status and nothing moved, as when the device is pulled.</summary>
    public void EndAll(HostTransferStatus status)
    {
        foreach (FakeTransfer transfer in InFlight.ToArray()) End(transfer, status, 0);
    }

    /// <summary>Ends the operation that runs.</summary>
    public void EndOperation(HostError result = HostError.None)
    {
        if (!OperationRuns) throw new InvalidOperationException("No operation runs.");
        OperationRuns = false;
        _operationResult = result;
    }

    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("rented", Rented);
    }
}
