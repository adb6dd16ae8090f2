using System;
using System.Buffers.Binary;

namespace XenUsbDm.TestKit.Guest;

/// <summary>A driver of USB Attached SCSI on streams, with as many commands in flight as there are tags.</summary>
public sealed class UasClient
{
    private const int StatusLength = 64;

    private readonly GuestBuffer _units;
    private readonly GuestBuffer _statuses;
    private readonly long[] _data;
    private readonly long[] _answers;

    /// <summary>Selects the setting with protocol 0x62 and configures 2^<paramref name="streamsLog"/> stream contexts on its three pipes.</summary>
    public UasClient(UsbDeviceHandle device, int streamsLog = 5)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        GuestInterface setting = device.Configuration?.Find(8, 6, 0x62) ?? throw new GuestDriverException("no setting with USB Attached SCSI");
        device.SetInterface(setting.Number, setting.AlternateSetting);
        Command = device.Pipe(setting.Endpoints[0].Address);
        Status = device.ConfigureStreams(setting.Endpoints[1].Address, streamsLog);
        In = device.ConfigureStreams(setting.Endpoints[2].Address, streamsLog);
        Out = device.ConfigureStreams(setting.Endpoints[3].Address, streamsLog);
        Tags = (1 << streamsLog) - 1;
        _units = device.Driver.AllocateBuffer((Tags + 1) * 32);
        _statuses = device.Driver.AllocateBuffer((Tags + 1) * StatusLength);
        _data = new long[Tags + 1];
        _answers = new long[Tags + 1];
    }

    public UsbDeviceHandle Device { get; }

    /// <summary>Tags are 1 to this.</summary>
    public int Tags { get; }

    public GuestPipe Command { get; }

    public GuestPipe Status { get; }

    public GuestPipe In { get; }

    public GuestPipe Out { get; }

    /// <summary>Posts status and data transfers of a tag, then the command unit.</summary>
    public void Begin(int tag, ReadOnlySpan<byte> command, GuestBuffer data, bool isIn)
    {
        _answers[tag] = Status.Submit(_statuses.Address + (ulong)(tag * StatusLength), StatusLength, tag);
        _data[tag] = data.Length == 0 ? -1 : (isIn ? In : Out).Submit(data.Address, data.Length, tag);
        GuestBuffer unit = _units.Slice(tag * 32, 32);
        Span<byte> bytes = Device.Driver.Platform.Memory(unit.Address, 32);
        bytes.Clear();
        bytes[0] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], (ushort)tag);
        command.CopyTo(bytes[16..]);
        Command.Submit(unit.Address, 32);
    }

    /// <summary>Waits for a tag's data and status. Status is that of the sense unit, -1 for another unit.</summary>
    public (int Status, int Actual) End(int tag, bool isIn)
    {
        int actual = _data[tag] < 0 ? 0 : (isIn ? In : Out).Wait(_data[tag]).Actual;
        TransferCompletion done = Status.Wait(_answers[tag]);
        ReadOnlySpan<byte> unit = Device.Driver.Platform.Memory(_statuses.Address + (ulong)(tag * StatusLength), StatusLength);
        bool valid = done.Ok && done.Actual >= 16 && unit[0] == 3 && BinaryPrimitives.ReadUInt16BigEndian(unit[2..]) == tag;
        return (valid ? unit[6] : -1, actual);
    }
}
