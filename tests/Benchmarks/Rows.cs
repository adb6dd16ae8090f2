using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.Benchmarks;

/// <summary>The measured paths.</summary>
public static class Rows
{
    private const int InFlight = 32;
    private const int Accesses = 1000;
    private const int Large = 65536;
    private const int LargeCount = 64;

    /// <summary>Every row of the budgets, validated. The last are the two memcpy rows that the 64 KiB rows are compared with.</summary>
    public static IReadOnlyList<Row> All()
    {
        var zero = new RoadRig(new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.Super, Pattern = ZeroPattern.Unchecked }));
        var rows = new List<Row>
        {
            RegisterRead(zero), RegisterWrite(zero), Doorbell(zero), Control(zero), Small(zero, isIn: true), Small(zero, isIn: false),
        };
        var high = new RoadRig(new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.High, IsochronousInterval = 1 }));
        high.Device.SetInterface(0, 1);
        rows.Add(Isochronous(high));
        var store = new MemoryBlockStore(16384);
        var disk = new RoadRig(new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        GuestBuffer data = disk.Buffer(Large * LargeCount);
        ValidateDisk(disk, store, data);
        rows.Add(Disk(disk, data, isIn: true));
        rows.Add(Disk(disk, data, isIn: false));
        rows.Add(Copy(disk, data, toGuest: true));
        rows.Add(Copy(disk, data, toGuest: false));
        return rows;
    }

    private static Row RegisterRead(RoadRig rig)
    {
        int status = rig.Driver.OperationalOffset + XhciDriver.UsbStatus;
        return new Row
        {
            Name = "register-read",
            Operations = Accesses,
            Measured = () =>
            {
                uint sum = 0;
                for (int i = 0; i < Accesses; i++) sum |= rig.Machine.ReadBar32(status);
                if ((sum & 1) != 0) throw new InvalidOperationException("the controller is halted");
            },
        };
    }

    private static Row RegisterWrite(RoadRig rig)
    {
        int moderation = rig.Driver.InterrupterOffset(1, 4);
        return new Row
        {
            Name = "register-write",
            Operations = Accesses,
            Measured = () =>
            {
                for (int i = 0; i < Accesses; i++) rig.Machine.WriteBar32(moderation, (uint)i);
            },
            Finish = () =>
            {
                if ((rig.Machine.ReadBar32(moderation) & 0xffff) != Accesses - 1) throw new InvalidOperationException("the write is lost");
            },
        };
    }

    private static Row Doorbell(RoadRig rig)
    {
        GuestPipe pipe = rig.Device.Pipe(TransferKind.Bulk, isIn: true);
        int doorbell = rig.Driver.DoorbellOffset + (rig.Device.Slot * 4);
        return new Row
        {
            Name = "doorbell",
            Operations = Accesses,
            Measured = () =>
            {
                for (int i = 0; i < Accesses; i++) rig.Machine.WriteBar32(doorbell, (uint)pipe.Dci);
            },
            Finish = () => rig.Machine.Step(),
        };
    }

    // Doorbell to event, setup to status; one at a time, as control transfers are.
    private static Row Control(RoadRig rig)
    {
        GuestBuffer buffer = rig.Buffer(64);
        var setup = new SetupPacket(0x80, (byte)StandardRequest.GetDescriptor, 0x0100, 0, 18);
        return new Row
        {
            Name = "control",
            Operations = 1,
            Bytes = 18,
            Prepare = () => rig.Device.Control.SubmitControl(setup, buffer.Address, 18, TdFlags.NoDoorbell),
            Measured = () =>
            {
                rig.Ring(rig.Device.Control);
                rig.Machine.Step();
            },
            Finish = () =>
            {
                rig.Reap(rig.Device.Control, 1, 18);
                if (rig.Bytes(buffer)[1] != 1) throw new InvalidOperationException("not a device descriptor");
            },
        };
    }

    private static Row Small(RoadRig rig, bool isIn)
    {
        const int Length = 512;
        GuestPipe pipe = rig.Device.Pipe(TransferKind.Bulk, isIn);
        GuestBuffer buffer = rig.Buffer(Length * InFlight);
        rig.Bytes(buffer).Fill(0xff);
        return new Row
        {
            Name = isIn ? "bulk-in-512" : "bulk-out-512",
            Operations = InFlight,
            Bytes = Length,
            Prepare = () =>
            {
                for (int i = 0; i < InFlight; i++) pipe.Submit(buffer.Address + (ulong)(i * Length), Length, flags: TdFlags.NoDoorbell);
            },
            Measured = () =>
            {
                rig.Ring(pipe);
                rig.Machine.Step();
            },
            Finish = () =>
            {
                rig.Reap(pipe, InFlight, Length);
                if (isIn && rig.Bytes(buffer).ContainsAnyExcept((byte)0)) throw new InvalidOperationException("the source's data is not there");
            },
        };
    }

    // One packet of 1024 bytes in every microframe.
    private static Row Isochronous(RoadRig rig)
    {
        const int Length = 1024;
        GuestPipe pipe = rig.Device.Pipe(TransferKind.Isochronous, isIn: true);
        GuestBuffer buffer = rig.Buffer(Length * InFlight);
        return new Row
        {
            Name = "isochronous-in",
            Operations = InFlight,
            Bytes = Length,
            Prepare = () =>
            {
                for (int i = 0; i < InFlight; i++) pipe.SubmitIsochronous(buffer.Address + (ulong)(i * Length), Length, flags: TdFlags.NoDoorbell);
            },
            Measured = () =>
            {
                rig.Ring(pipe);
                rig.Machine.AdvanceBy((InFlight + 24) * 125_000UL);
            },
            Finish = () => rig.Reap(pipe, InFlight, Length),
        };
    }

    // READ (10) and WRITE (10) of 4 MiB whose data stage is 64 requests of 64 KiB; command and status stage are timed too.
    private static Row Disk(RoadRig rig, GuestBuffer data, bool isIn)
    {
        GuestPipe dataPipe = rig.Device.Pipe(TransferKind.Bulk, isIn);
        GuestPipe outPipe = rig.Device.Pipe(TransferKind.Bulk, isIn: false);
        GuestPipe inPipe = rig.Device.Pipe(TransferKind.Bulk, isIn: true);
        GuestBuffer wrapper = rig.Buffer(64);
        WriteWrapper(rig.Bytes(wrapper), isIn);
        return new Row
        {
            Name = isIn ? "bulk-in-64k" : "bulk-out-64k",
            Operations = LargeCount,
            Bytes = Large,
            Prepare = () =>
            {
                outPipe.Submit(wrapper.Address, 31, flags: TdFlags.NoDoorbell);
                for (int i = 0; i < LargeCount; i++) dataPipe.Submit(data.Address + (ulong)(i * Large), Large, flags: TdFlags.NoDoorbell);
                inPipe.Submit(wrapper.Address + 32, 13, flags: TdFlags.NoDoorbell);
            },
            Measured = () =>
            {
                rig.Ring(outPipe);
                rig.Ring(inPipe);
                rig.Machine.Step();
            },
            Finish = () =>
            {
                rig.Reap(outPipe, isIn ? 1 : LargeCount + 1);
                rig.Reap(inPipe, isIn ? LargeCount + 1 : 1);
                if (rig.Bytes(wrapper)[32 + 12] != 0) throw new InvalidOperationException("the command failed");
            },
        };
    }

    private static Row Copy(RoadRig rig, GuestBuffer data, bool toGuest)
    {
        byte[] other = new byte[Large * LargeCount];
        Random.Shared.NextBytes(other);
        return new Row
        {
            Name = toGuest ? "memcpy-to-guest" : "memcpy-from-guest",
            Operations = LargeCount,
            Bytes = Large,
            Measured = () =>
            {
                Span<byte> guest = rig.Bytes(data);
                for (int i = 0; i < LargeCount; i++)
                {
                    Span<byte> a = other.AsSpan(i * Large, Large);
                    Span<byte> b = guest.Slice(i * Large, Large);
                    if (toGuest) a.CopyTo(b);
                    else b.CopyTo(a);
                }
            },
        };
    }

    private static void WriteWrapper(Span<byte> bytes, bool isIn)
    {
        bytes.Clear();
        "USBC"u8.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], Large * LargeCount);
        bytes[12] = isIn ? (byte)0x80 : (byte)0;
        bytes[14] = 10;
        bytes[15] = isIn ? (byte)0x28 : (byte)0x2a;
        BinaryPrimitives.WriteUInt16BigEndian(bytes[22..], Large * LargeCount / 512);
    }

    private static void ValidateDisk(RoadRig rig, MemoryBlockStore store, GuestBuffer data)
    {
        byte[] wanted = new byte[data.Length];
        new Random(1).NextBytes(wanted);
        wanted.CopyTo(rig.Bytes(data));
        // A disk's first answer is a unit attention.
        var client = new MassStorageClient(rig.Device);
        for (int i = 0; i < 3 && !client.TestUnitReady(); i++) client.RequestSense();
        Row write = Disk(rig, data, isIn: false);
        Row read = Disk(rig, data, isIn: true);
        foreach (Row row in (Row[])[write, read])
        {
            row.Prepare();
            row.Measured();
            row.Finish();
            if (ReferenceEquals(row, write))
            {
                byte[] stored = new byte[wanted.Length];
                store.Save(0, stored);
                if (!stored.AsSpan().SequenceEqual(wanted)) throw new InvalidOperationException("the disk has other data than was written");
                rig.Bytes(data).Clear();
            }
            else if (!rig.Bytes(data).SequenceEqual(wanted))
            {
                throw new InvalidOperationException("other data was read than the disk has");
            }
        }
    }
}
