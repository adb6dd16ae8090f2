using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>How a SCSI command ended.</summary>
/// <param name="Status">bCSWStatus: 0 good, 1 failed, 2 phase error; -1 when no valid CSW came.</param>
/// <param name="Residue">dCSWDataResidue.</param>
/// <param name="Actual">Bytes of the data stage that moved.</param>
public readonly record struct ScsiResult(int Status, uint Residue, int Actual)
{
    public bool Ok => Status == 0;
}

/// <summary>A bulk-only mass storage driver (USB Mass Storage Class BOT 1.0) with the SCSI commands a disk needs.</summary>
public sealed class MassStorageClient
{
    private const uint CommandSignature = 0x43425355;
    private const uint StatusSignature = 0x53425355;

    private readonly GuestBuffer _wrapper;
    private readonly GuestBuffer _small;
    private uint _tag;

    public MassStorageClient(UsbDeviceHandle device)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        Out = device.Pipe(TransferKind.Bulk, isIn: false);
        In = device.Pipe(TransferKind.Bulk, isIn: true);
        _wrapper = device.Driver.AllocateBuffer(128);
        _small = device.Driver.AllocateBuffer(512);
    }

    public UsbDeviceHandle Device { get; }

    public GuestPipe Out { get; }

    public GuestPipe In { get; }

    /// <summary>Blocks of the disk, after <see cref="ReadCapacity"/>.</summary>
    public ulong Blocks { get; private set; }

    public int BlockSize { get; private set; } = 512;

    /// <summary>Reset recoveries done (BOT 1.0 §5.3.4).</summary>
    public int Recoveries { get; private set; }

    private IGuestPlatform Platform => Device.Driver.Platform;

    /// <summary>Standard INQUIRY data.</summary>
    public byte[] Inquiry()
    {
        ScsiResult result = Execute([0x12, 0, 0, 0, 36, 0], _small.Slice(0, 36), isIn: true);
        return result.Ok ? Platform.Memory(_small.Address, 36).ToArray() : throw new GuestDriverException("INQUIRY failed");
    }

    public bool TestUnitReady() => Execute([0, 0, 0, 0, 0, 0], default(GuestBuffer), isIn: false).Ok;

    /// <summary>REQUEST SENSE: sense key, ASC, ASCQ.</summary>
    public (int Key, int Code, int Qualifier) RequestSense()
    {
        Execute([0x03, 0, 0, 0, 18, 0], _small.Slice(0, 18), isIn: true);
        ReadOnlySpan<byte> sense = Platform.Memory(_small.Address, 18);
        return (sense[2] & 0xf, sense[12], sense[13]);
    }

    /// <summary>READ CAPACITY (10), and (16) where the disk is too large for it.</summary>
    public void ReadCapacity()
    {
        if (!Execute([0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], _small.Slice(0, 8), isIn: true).Ok) throw new GuestDriverException("READ CAPACITY failed");
        ReadOnlySpan<byte> data = Platform.Memory(_small.Address, 8);
        uint last = BinaryPrimitives.ReadUInt32BigEndian(data);
        BlockSize = (int)BinaryPrimitives.ReadUInt32BigEndian(data[4..]);
        Blocks = last + 1UL;
        if (last != 0xffff_ffff) return;
        byte[] command = new byte[16];
        command[0] = 0x9e;
        command[1] = 0x10;
        command[13] = 32;
        if (!Execute(command, _small.Slice(0, 32), isIn: true).Ok) throw new GuestDriverException("READ CAPACITY (16) failed");
        Blocks = BinaryPrimitives.ReadUInt64BigEndian(Platform.Memory(_small.Address, 8)) + 1;
    }

    /// <summary>READ (10) or (16) into guest memory.</summary>
    public ScsiResult Read(ulong block, int blocks, ulong address) => Transfer(block, blocks, address, isIn: true);

    /// <summary>WRITE (10) or (16) from guest memory.</summary>
    public ScsiResult Write(ulong block, int blocks, ulong address) => Transfer(block, blocks, address, isIn: false);

    /// <summary>SYNCHRONIZE CACHE (10).</summary>
    public ScsiResult Flush() => Execute([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], default(GuestBuffer), isIn: false);

    /// <summary>One command through the three stages, with data in one piece.</summary>
    public ScsiResult Execute(ReadOnlySpan<byte> command, GuestBuffer data, bool isIn)
    {
        uint tag = WriteCommand(command, (uint)data.Length, isIn);
        if (!Out.Transfer(_wrapper.Address, 31).Ok) return Fail();
        GuestPipe pipe = isIn ? In : Out;
        return FinishCommand(tag, data.Length == 0 ? null : pipe, data.Length == 0 ? 0 : pipe.Submit(data.Address, data.Length));
    }

    /// <summary>One command with a data stage of one TRB per part.</summary>
    public ScsiResult Execute(ReadOnlySpan<byte> command, ReadOnlySpan<GuestBuffer> parts, bool isIn)
    {
        int total = 0;
        foreach (GuestBuffer part in parts) total += part.Length;
        uint tag = WriteCommand(command, (uint)total, isIn);
        if (!Out.Transfer(_wrapper.Address, 31).Ok) return Fail();
        GuestPipe pipe = isIn ? In : Out;
        return FinishCommand(tag, pipe, pipe.Submit(parts));
    }

    /// <summary>READ (10) and WRITE (10) command blocks, (16) beyond 32-bit block addresses.</summary>
    public static byte[] TransferCommand(ulong block, int blocks, bool isIn)
    {
        byte[] command = new byte[block > 0xffff_ffff ? 16 : 10];
        if (command.Length == 16)
        {
            command[0] = (byte)(isIn ? 0x88 : 0x8a);
            BinaryPrimitives.WriteUInt64BigEndian(command.AsSpan(2), block);
            BinaryPrimitives.WriteUInt32BigEndian(command.AsSpan(10), (uint)blocks);
        }
        else
        {
            command[0] = (byte)(isIn ? 0x28 : 0x2a);
            BinaryPrimitives.WriteUInt32BigEndian(command.AsSpan(2), (uint)block);
            BinaryPrimitives.WriteUInt16BigEndian(command.AsSpan(7), (ushort)blocks);
        }

        return command;
    }

    /// <summary>Bulk-Only Mass Storage Reset and CLEAR_FEATURE(HALT) on both pipes.</summary>
    public void ResetRecovery()
    {
        Recoveries++;
        Device.ControlOut(new SetupPacket(0x21, 0xff, 0, In.Endpoint.InterfaceNumber, 0));
        ClearPipe(In);
        ClearPipe(Out);
    }

    private ScsiResult Transfer(ulong block, int blocks, ulong address, bool isIn)
    {
        if (block > 0xffff_ffff) return Execute(TransferCommand(block, blocks, isIn), new GuestBuffer(address, blocks * BlockSize), isIn);
        Span<byte> command = stackalloc byte[10];
        command.Clear();
        command[0] = (byte)(isIn ? 0x28 : 0x2a);
        BinaryPrimitives.WriteUInt32BigEndian(command[2..], (uint)block);
        BinaryPrimitives.WriteUInt16BigEndian(command[7..], (ushort)blocks);
        return Execute(command, new GuestBuffer(address, blocks * BlockSize), isIn);
    }

    private uint WriteCommand(ReadOnlySpan<byte> command, uint length, bool isIn)
    {
        Span<byte> wrapper = Platform.Memory(_wrapper.Address, 31);
        wrapper.Clear();
        uint tag = unchecked(++_tag);
        BinaryPrimitives.WriteUInt32LittleEndian(wrapper, CommandSignature);
        BinaryPrimitives.WriteUInt32LittleEndian(wrapper[4..], tag);
        BinaryPrimitives.WriteUInt32LittleEndian(wrapper[8..], length);
        wrapper[12] = (byte)(isIn ? 0x80 : 0);
        wrapper[14] = (byte)command.Length;
        command.CopyTo(wrapper[15..]);
        return tag;
    }

    private ScsiResult FinishCommand(uint tag, GuestPipe? dataPipe, long dataId)
    {
        int actual = 0;
        if (dataPipe is not null)
        {
            TransferCompletion data = dataPipe.Wait(dataId);
            actual = data.Actual;
            if (data.Code == GuestCompletion.Stall) Device.RecoverFromStall(dataPipe);
            else if (!data.Ok) return Fail();
        }

        GuestBuffer status = _wrapper.Slice(64, 13);
        TransferCompletion done = In.Transfer(status.Address, status.Length);
        if (done.Code == GuestCompletion.Stall)
        {
            // BOT 1.0 §6.7.2: a stalled status stage is cleared and read once more.
            Device.RecoverFromStall(In);
            done = In.Transfer(status.Address, status.Length);
        }

        ReadOnlySpan<byte> bytes = Platform.Memory(status.Address, status.Length);
        bool valid = done.Ok && done.Actual == 13
            && BinaryPrimitives.ReadUInt32LittleEndian(bytes) == StatusSignature && BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]) == tag;
        if (!valid) return Fail();
        int code = bytes[12];
        uint residue = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (code == 2) ResetRecovery();
        return new ScsiResult(code, residue, actual);
    }

    private ScsiResult Fail()
    {
        ResetRecovery();
        return new ScsiResult(-1, 0, 0);
    }

    private void ClearPipe(GuestPipe pipe)
    {
        if (pipe.Halted) pipe.Recover();
        else if (pipe.InFlight > 0) pipe.Cancel();
        Device.ClearHalt(pipe);
    }
}
