using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Pipeline.Ports;

/// <summary>What happened on one port or endpoint. Submitted equals completed plus outstanding at every moment.</summary>
internal sealed class TransferCounters : IInspectable
{
    private long _submitted;
    private long _completed;
    private long _unlinked;
    private long _stalls;
    private long _transactionErrors;
    private long _babbles;
    private long _noDevice;
    private long _memoryFaults;
    private long _queueFull;
    private long _bytesIn;
    private long _bytesOut;
    private int _highWater;

    /// <summary>Requests taken and not ended.</summary>
    public int Outstanding { get; private set; }

    /// <summary>Something was submitted here.</summary>
    public bool Used => _submitted > 0;

    /// <summary>A request came.</summary>
    public void Submitted()
    {
        _submitted++;
        Outstanding++;
        _highWater = Math.Max(_highWater, Outstanding);
    }

    /// <summary>A request was refused because too many are outstanding; it is counted as ended too.</summary>
    public void QueueFull() => _queueFull++;

    /// <summary>A request ended with the status and length it holds.</summary>
    public void Ended(UsbRequest request)
    {
        Outstanding--;
        _completed++;
        switch (request.Status)
        {
            case RequestStatus.Cancelled: _unlinked++; break;
            case RequestStatus.Stall: _stalls++; break;
            case RequestStatus.TransactionError: _transactionErrors++; break;
            case RequestStatus.Babble: _babbles++; break;
            case RequestStatus.NoDevice: _noDevice++; break;
            case RequestStatus.MemoryFault: _memoryFaults++; break;
            default: break;
        }

        if (request.IsIn) _bytesIn += request.ActualLength;
        else _bytesOut += request.ActualLength;
    }

    /// <summary>Back to zero, for a new device on the same port. Nothing may be outstanding.</summary>
    public void Clear() => Restore(new TransferCountersStateV1(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));

    /// <summary>The saved form; requests that are outstanding will be counted when they are submitted again.</summary>
    public TransferCountersStateV1 Capture() => new(
        _submitted - Outstanding, _completed, _unlinked, _stalls, _transactionErrors, _babbles, _noDevice, _memoryFaults,
        _queueFull, _bytesIn, _bytesOut, _highWater);

    /// <summary>True when a saved form can be taken over: nothing negative, nothing near overflow.</summary>
    public static bool IsValid(TransferCountersStateV1? state)
    {
        const long Most = long.MaxValue / 2;
        return state is not null
            && state.Submitted is >= 0 and <= Most && state.Completed is >= 0 and <= Most && state.Unlinked is >= 0 and <= Most
            && state.Stalls is >= 0 and <= Most && state.TransactionErrors is >= 0 and <= Most
            && state.Babbles is >= 0 and <= Most && state.NoDevice is >= 0 and <= Most
            && state.MemoryFaults is >= 0 and <= Most && state.QueueFull is >= 0 and <= Most
            && state.BytesIn is >= 0 and <= Most && state.BytesOut is >= 0 and <= Most && state.HighWater >= 0;
    }

    /// <summary>Takes over a valid saved form.</summary>
    public void Restore(TransferCountersStateV1 state)
    {
        _submitted = state.Submitted;
        _completed = state.Completed;
        _unlinked = state.Unlinked;
        _stalls = state.Stalls;
        _transactionErrors = state.TransactionErrors;
        _babbles = state.Babbles;
        _noDevice = state.NoDevice;
        _memoryFaults = state.MemoryFaults;
        _queueFull = state.QueueFull;
        _bytesIn = state.BytesIn;
        _bytesOut = state.BytesOut;
        _highWater = state.HighWater;
        Outstanding = 0;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("submitted", _submitted);
        writer.Number("completed", _completed);
        writer.Number("unlinked", _unlinked);
        writer.Number("outstanding", Outstanding);
        writer.Number("high-water", _highWater);
        writer.Number("queue-full", _queueFull);
        writer.Number("stalls", _stalls);
        writer.Number("transaction-errors", _transactionErrors);
        writer.Number("babbles", _babbles);
        writer.Number("no-device", _noDevice);
        writer.Number("memory-faults", _memoryFaults);
        writer.Number("bytes-in", _bytesIn);
        writer.Number("bytes-out", _bytesOut);
    }
}
