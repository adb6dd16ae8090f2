using System;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>A host with <see cref="Depth"/> commands in flight that allocates nothing itself: reads and writes, on streams.</summary>
internal sealed class UasProbe : QuietHost
{
    public const int Depth = 8;

    private readonly UsbRequest[] _commands = new UsbRequest[Depth];
    private readonly UsbRequest[] _statuses = new UsbRequest[Depth];
    private readonly UsbRequest[] _data = new UsbRequest[Depth];

    public UasProbe(DiskDevice disk)
        : base(disk)
    {
        disk.SetInterface(new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(1, 11, 1, 0, 0) }, 0, 1);
        for (int i = 0; i < Depth; i++)
        {
            bool isIn = i % 2 == 0;
            string command = isIn ? UasHost.Read10(i * 16, 8) : UasHost.Write10(i * 16, 8);
            UasHost.CommandUnit(i + 1, command).CopyTo(Memory.Bytes[(i * 32)..]);
            _commands[i] = DeviceBench.Make(UasHost.CommandPipe, TransferKind.Bulk, i * 32, 32);
            _statuses[i] = DeviceBench.Make(UasHost.StatusPipe, TransferKind.Bulk, 0x1000 + (i * 64), 64);
            _data[i] = DeviceBench.Make(isIn ? UasHost.InPipe : UasHost.OutPipe, TransferKind.Bulk, 0x10000 + (i * 4096), 4096);
            _statuses[i].StreamId = _data[i].StreamId = (ushort)(i + 1);
        }

        // The first command hears of the unit attention.
        Round();
        Completions = 0;
    }

    public void Run(int rounds)
    {
        for (int i = 0; i < rounds; i++) Round();
    }

    private void Round()
    {
        for (int i = 0; i < Depth; i++) Submit(_statuses[i]);
        for (int i = 0; i < Depth; i++) Submit(_commands[i]);
        for (int i = Depth - 1; i >= 0; i--) Submit(_data[i]);
    }
}
