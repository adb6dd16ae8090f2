using System;
using System.Buffers.Binary;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>What a command came to. Data is what the host received; statuses are those of the data and first status request.</summary>
public sealed record BotResult(RequestStatus? DataStatus, int DataLength, byte[] Data, RequestStatus FirstStatus, int Csw, uint Residue);

/// <summary>The host's half of bulk-only transport, written from the specification: wrapper, data, status, halts cleared as §6.7 says.</summary>
public sealed class BotHost
{
    public const byte In = 0x81;
    public const byte Out = 0x02;
    public const int WrapperAt = 0;
    public const int StatusAt = 0x100;
    public const int DataAt = 0x1000;

    private uint _tag = 0x1000;

    public BotHost(IBlockStore store, DiskOptions? options = null, bool clearAttention = true)
    {
        Disk = new DiskDevice(store, options ?? new DiskOptions());
        Bench = new DeviceBench(Disk);
        Assert.Equal(RequestStatus.Success, Bench.Configure(1));
        if (clearAttention) Assert.Equal(1, Command("00", 0).Csw);
    }

    public DiskDevice Disk { get; }

    public DeviceBench Bench { get; }

    public Span<byte> Data => Bench.Memory.Bytes[DataAt..];

    public static BotHost Ready(long sectors = 4096) => new(new MemoryBlockStore(sectors));

    public static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", string.Empty, StringComparison.Ordinal));

    public static byte[] Pattern(int length, int seed = 1)
    {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++) bytes[i] = (byte)(((i * 7) + (i >> 8) + seed) & 0xff);
        return bytes;
    }

    public byte[] Wrapper(byte[] command, uint length, bool isIn, byte lun = 0)
    {
        byte[] bytes = new byte[31];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, 0x43425355);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), ++_tag);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), length);
        bytes[12] = (byte)(isIn ? 0x80 : 0);
        bytes[13] = lun;
        bytes[14] = (byte)command.Length;
        command.CopyTo(bytes, 15);
        return bytes;
    }

    public UsbRequest SendWrapper(byte[] bytes) => Bench.Send(Out, TransferKind.Bulk, bytes, WrapperAt);

    public UsbRequest AskStatus() => Bench.Submit(In, TransferKind.Bulk, StatusAt, 13);

    public UsbRequest Transfer(bool isIn, int length, int offset = 0) => Bench.Submit(isIn ? In : Out, TransferKind.Bulk, DataAt + offset, length);

    public RequestStatus ClearHalt(byte endpoint) => Bench.Control(0x02, 1, 0, endpoint).Status;

    public bool IsHalted(byte endpoint) => Bench.Control(0x82, 0, 0, endpoint, length: 2).Data[0] == 1;

    public void ResetRecovery()
    {
        Assert.Equal(RequestStatus.Success, Bench.Control(0x21, 0xff).Status);
        Assert.Equal(RequestStatus.Success, ClearHalt(In));
        Assert.Equal(RequestStatus.Success, ClearHalt(Out));
    }

    /// <summary>Status wrapper in memory, checked against the last tag.</summary>
    public (int Csw, uint Residue) ReadStatus()
    {
        ReadOnlySpan<byte> csw = Bench.Memory.Bytes.Slice(StatusAt, 13);
        Assert.Equal(0x53425355u, BinaryPrimitives.ReadUInt32LittleEndian(csw));
        Assert.Equal(_tag, BinaryPrimitives.ReadUInt32LittleEndian(csw[4..]));
        return (csw[12], BinaryPrimitives.ReadUInt32LittleEndian(csw[8..]));
    }

    /// <summary>A whole command; <paramref name="data"/> makes it one with data to the device, <paramref name="length"/> one from it.</summary>
    public BotResult Command(string command, int length, byte[]? data = null, byte lun = 0)
    {
        bool isIn = data is null;
        int announced = data?.Length ?? length;
        data?.CopyTo(Data);
        UsbRequest wrapper = SendWrapper(Wrapper(Hex(command), (uint)announced, isIn, lun));
        Assert.Equal(RequestStatus.Success, Bench.StatusOf(wrapper));
        UsbRequest? transfer = announced > 0 ? Transfer(isIn, announced) : null;
        RequestStatus? dataStatus = transfer is null ? null : Bench.StatusOf(transfer);
        if (dataStatus == RequestStatus.Stall) Assert.Equal(RequestStatus.Success, ClearHalt(isIn ? In : Out));
        UsbRequest status = AskStatus();
        Assert.NotNull(Bench.StatusOf(status));
        RequestStatus first = Bench.StatusOf(status)!.Value;
        if (first == RequestStatus.Stall)
        {
            Assert.Equal(RequestStatus.Success, ClearHalt(In));
            status = AskStatus();
        }

        Assert.Equal(RequestStatus.Success, Bench.StatusOf(status));
        Assert.Equal(13, status.ActualLength);
        if (IsHalted(Out)) ClearHalt(Out);
        (int csw, uint residue) = ReadStatus();
        int moved = transfer?.ActualLength ?? 0;
        var result = new BotResult(dataStatus, moved, isIn ? Data[..moved].ToArray() : [], first, csw, residue);
        Bench.Forget();
        return result;
    }

    /// <summary>A command that passes and answers.</summary>
    public byte[] Ask(string command, int length)
    {
        BotResult result = Command(command, length);
        Assert.Equal(0, result.Csw);
        return result.Data;
    }

    /// <summary>A command that passes.</summary>
    public void Do(string command, byte[]? data = null) => Assert.Equal(0, Command(command, 0, data).Csw);

    /// <summary>A command that fails with the given sense ("5/24/00").</summary>
    public void Fails(string sense, string command, int length = 0, byte[]? data = null, byte lun = 0)
    {
        Assert.Equal(1, Command(command, length, data, lun).Csw);
        Assert.Equal(sense, Sense());
    }

    public string Sense()
    {
        byte[] d = Ask("03 00 00 00 12 00", 18);
        return $"{d[2] & 0xf:x}/{d[12]:x2}/{d[13]:x2}";
    }
}
