using System;
using System.Buffers.Binary;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>The host's half of USB Attached SCSI on a bench, with streams at SuperSpeed. Each tag has a place in memory for its status and its data.</summary>
public sealed class UasHost
{
    public const byte CommandPipe = 0x03;
    public const byte StatusPipe = 0x84;
    public const byte InPipe = 0x85;
    public const byte OutPipe = 0x06;
    public const int Places = 40;

    private int _sent;
    private int _asked;

    public UasHost(IBlockStore store, UsbSpeed speed = UsbSpeed.Super, bool clearAttention = true, DiskOptions? options = null)
    {
        Disk = new DiskDevice(store, (options ?? new DiskOptions()) with { Speed = speed, Uas = true });
        Bench = new DeviceBench(Disk);
        Assert.Equal(RequestStatus.Success, Bench.Configure(1));
        Assert.Equal(RequestStatus.Success, Bench.SelectAlternate(0, 1));
        if (!clearAttention) return;
        UsbRequest status = PostStatus(1);
        Command(1, "00");
        Assert.Equal("3 tag 1 status 02 sense 6/29/00", Unit(status));
        Bench.Forget();
    }

    public DiskDevice Disk { get; private set; }

    public DeviceBench Bench { get; private set; }

    public bool Streams => Disk.Speed == UsbSpeed.Super;

    public static int DataAt(int tag) => 0x10000 + (tag % Places * 0x10000);

    public static string Read10(int sector, int count) => $"28 00 00 00 {sector >> 8:x2} {sector & 0xff:x2} 00 {count >> 8:x2} {count & 0xff:x2} 00";

    public static string Write10(int sector, int count, bool fua = false) => $"2a {(fua ? 8 : 0):x2} 00 00 {sector >> 8:x2} {sector & 0xff:x2} 00 {count >> 8:x2} {count & 0xff:x2} 00";

    public static byte[] CommandUnit(int tag, string command, int attribute = 0, ulong lun = 0)
    {
        byte[] unit = new byte[32];
        unit[0] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(unit.AsSpan(2), (ushort)tag);
        unit[4] = (byte)attribute;
        BinaryPrimitives.WriteUInt64BigEndian(unit.AsSpan(8), lun);
        BotHost.Hex(command).CopyTo(unit, 16);
        return unit;
    }

    public static byte[] TaskUnit(int tag, int function, int managed = 0, ulong lun = 0)
    {
        byte[] unit = new byte[16];
        unit[0] = 5;
        BinaryPrimitives.WriteUInt16BigEndian(unit.AsSpan(2), (ushort)tag);
        unit[4] = (byte)function;
        BinaryPrimitives.WriteUInt16BigEndian(unit.AsSpan(6), (ushort)managed);
        BinaryPrimitives.WriteUInt64BigEndian(unit.AsSpan(8), lun);
        return unit;
    }

    public UsbRequest Send(byte[] unit) => Bench.Send(CommandPipe, TransferKind.Bulk, unit, _sent++ % 100 * 64);

    public UsbRequest Command(int tag, string command, int attribute = 0, ulong lun = 0) => Send(CommandUnit(tag, command, attribute, lun));

    public UsbRequest PostStatus(int tag, int length = 64) => Post(StatusPipe, tag, 0x4000 + (_asked++ % 500 * 64), length);

    public UsbRequest PostIn(int tag, int length) => Post(InPipe, tag, DataAt(tag), length);

    public UsbRequest PostOut(int tag, byte[] data)
    {
        data.CopyTo(Bench.Memory.Bytes[DataAt(tag)..]);
        return Post(OutPipe, tag, DataAt(tag), data.Length);
    }

    public UsbRequest Post(byte pipe, int tag, int address, int length)
    {
        UsbRequest request = DeviceBench.Make(pipe, TransferKind.Bulk, address, length);
        request.StreamId = (ushort)(Streams ? tag : 0);
        Bench.Device.Submit(request);
        return request;
    }

    public bool IsOpen(UsbRequest request) => Bench.StatusOf(request) is null;

    /// <summary>What the disk sent in a status request, as text; "-" while it has sent nothing.</summary>
    public string Unit(UsbRequest request)
    {
        if (Bench.StatusOf(request) is not { } ended) return "-";
        if (ended != RequestStatus.Success) return ended.ToString();
        ReadOnlySpan<byte> d = Bench.Memory.Bytes.Slice((int)request.Data.Segments[0].Address.Value, request.ActualLength);
        int tag = BinaryPrimitives.ReadUInt16BigEndian(d[2..]);
        if (d[0] is 6 or 7) return $"{d[0]} tag {tag} length {d.Length}";
        if (d[0] == 4) return $"4 tag {tag} code {d[7]:x2} length {d.Length}";
        int length = BinaryPrimitives.ReadUInt16BigEndian(d[14..]);
        Assert.Equal(16 + length, d.Length);
        return $"{d[0]} tag {tag} status {d[6]:x2}" + (length == 0 ? "" : $" sense {d[18] & 0xf:x}/{d[28]:x2}/{d[29]:x2}");
    }

    public byte[] Data(UsbRequest request) => Bench.Memory.Bytes.Slice((int)request.Data.Segments[0].Address.Value, request.ActualLength).ToArray();

    /// <summary>A task management function with tag 30; gives the answer's code.</summary>
    public string Manage(int function, int managed = 0, ulong lun = 0)
    {
        UsbRequest status = PostStatus(30);
        Send(TaskUnit(30, function, managed, lun));
        return Unit(status);
    }

    /// <summary>Goes on with another disk that was restored from this one's state, and submits what was open again.</summary>
    public void Move(IBlockStore store, params UsbRequest[] open)
    {
        DiskStateV1 state = Disk.Capture();
        byte[] memory = Bench.Memory.Bytes.ToArray();
        Disk = new DiskDevice(store, new DiskOptions { Speed = Disk.Speed, Uas = true });
        Bench = new DeviceBench(Disk);
        memory.CopyTo(Bench.Memory.Bytes);
        Assert.True(Disk.TryRestore(state, out string error), error);
        foreach (UsbRequest request in open) Bench.Device.Submit(request);
    }
}
