using System;
using System.Linq;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

public sealed class UasStateTests
{
    private const string Flush = "35 00 00 00 00 00 00 00 00 00";

    private static (UasHost Host, HeldStore Store) Held(UsbSpeed speed)
    {
        var store = new HeldStore(4096);
        store.Inner.Load(0, BotHost.Pattern(4096 * 512));
        var host = new UasHost(store, speed);
        store.Hold = true;
        return (host, store);
    }

    [Fact]
    public void Commands_in_flight_on_streams_go_on_after_a_restore()
    {
        (UasHost host, HeldStore store) = Held(UsbSpeed.Super);
        byte[] data = BotHost.Pattern(4096, 9), pattern = BotHost.Pattern(512, 4);
        UsbRequest[] statuses = Enumerable.Range(1, 6).Select(tag => host.PostStatus(tag)).ToArray();
        UsbRequest read = host.PostIn(1, 4096);
        host.Command(1, UasHost.Read10(8, 8));
        host.Command(2, UasHost.Write10(100, 8));
        host.PostOut(2, data);
        host.Command(3, "41 00 00 00 00 20 00 00 02 00");
        host.Command(4, Flush);
        host.Command(5, UasHost.Write10(200, 8));
        UsbRequest half = host.PostOut(5, data[..1000]);
        Assert.False(host.IsOpen(half));
        host.Command(7, "ff");
        var copy = new HeldStore(4096);
        copy.Inner.Load(0, BotHost.Pattern(4096 * 512));

        host.Move(copy, [.. statuses[..5], read]);
        host.PostOut(3, pattern);
        host.PostOut(5, data[1000..]);
        copy.ReleaseAll();

        Assert.Equal(
            ["3 tag 1 status 00", "3 tag 2 status 00", "3 tag 3 status 00", "3 tag 4 status 00", "3 tag 5 status 00"],
            statuses[..5].Select(host.Unit));
        Assert.Equal("3 tag 7 status 02 sense 5/20/00", host.Unit(host.PostStatus(7)));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(8 * 512, 4096).ToArray(), host.Data(read));
        byte[] stored = new byte[4096];
        foreach (int sector in (int[])[100, 200])
        {
            copy.Inner.Save(sector * 512, stored);
            Assert.Equal(data, stored);
        }

        copy.Inner.Save(32 * 512, stored.AsSpan(0, 512));
        Assert.Equal(pattern, stored[..512]);
        Assert.DoesNotContain(store.Seen, s => s.Sector == 200);
    }

    [Fact]
    public void Announced_tasks_of_the_data_pipes_and_waiting_units_survive_without_streams()
    {
        (UasHost host, HeldStore store) = Held(UsbSpeed.High);
        store.Hold = false;
        UsbRequest told = host.PostStatus(1);
        host.Command(1, UasHost.Read10(8, 1));
        host.Command(2, UasHost.Write10(9, 1));
        host.Command(3, UasHost.Read10(10, 1));
        host.Send([9, 0, 0, 4]);
        Assert.Equal("6 tag 1 length 4", host.Unit(told));

        host.Move(store);

        UsbRequest[] units = Enumerable.Range(0, 6).Select(_ => host.PostStatus(1)).ToArray();
        UsbRequest first = host.PostIn(1, 512);
        host.PostOut(2, new byte[512]);
        UsbRequest third = host.PostIn(3, 512);
        Assert.Equal(
            ["3 tag 1 status 00", "3 tag 2 status 00", "3 tag 3 status 00", "4 tag 4 code 02 length 8", "6 tag 3 length 4", "7 tag 2 length 4"],
            units.Select(host.Unit).Order());
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(8 * 512, 512).ToArray(), host.Data(first));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(10 * 512, 512).ToArray(), host.Data(third));
    }

    // Found by the fuzzer: the sense data of the last command, gone with its status, stayed in the tree of one of the two.
    [Fact]
    public void Tree_is_the_same_after_a_restore_when_a_command_has_failed()
    {
        (UasHost host, HeldStore store) = Held(UsbSpeed.High);
        store.Hold = false;
        UsbRequest status = host.PostStatus(1);
        host.Command(1, "ff");
        Assert.Equal("3 tag 1 status 02 sense 5/20/00", host.Unit(status));
        string before = InspectWriter.Dump(host.Disk);

        host.Move(store, []);

        Assert.Equal(before, InspectWriter.Dump(host.Disk));
    }

    // Found by the fuzzer: a task that had been aborted while the store was at it stood in the tree of one of the two.
    [Fact]
    public void Tree_is_the_same_after_a_restore_whatever_the_store_still_does()
    {
        (UasHost host, _) = Held(UsbSpeed.Super);
        foreach (int tag in (int[])[5, 4, 3]) host.Command(tag, Flush);
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(0x01, 4));
        string before = InspectWriter.Dump(host.Disk);

        host.Move(new HeldStore(4096) { Hold = true }, []);

        Assert.DoesNotContain("/uas/task/4/", before);
        Assert.Equal(before, InspectWriter.Dump(host.Disk));
    }

    [Fact]
    public void Tree_names_tasks_by_their_age()
    {
        (UasHost host, HeldStore store) = Held(UsbSpeed.Super);
        UsbRequest status = host.PostStatus(5);
        foreach (int tag in (int[])[5, 4]) host.Command(tag, Flush);
        store.Release();
        Assert.Equal("3 tag 5 status 00", host.Unit(status));
        host.Command(3, Flush); // In the place of the first.
        string before = InspectWriter.Dump(host.Disk);

        host.Move(new HeldStore(4096) { Hold = true }, []);

        Assert.True(before.IndexOf("/uas/task/4/", StringComparison.Ordinal) < before.IndexOf("/uas/task/3/", StringComparison.Ordinal));
        Assert.Equal(before, InspectWriter.Dump(host.Disk));
    }

    [Fact]
    public void State_with_and_without_uas_do_not_fit_each_other()
    {
        DiskStateV1 with = Held(UsbSpeed.Super).Host.Disk.Capture();
        var plain = new DiskDevice(new MemoryBlockStore(4096), new DiskOptions { Speed = UsbSpeed.Super });

        Assert.False(plain.TryRestore(with, out _));
        Assert.False(new DiskDevice(new MemoryBlockStore(4096), new DiskOptions { Speed = UsbSpeed.Super, Uas = true }).TryRestore(plain.Capture(), out _));
    }

    [Theory]
    [InlineData(0x15)]
    [InlineData(0x42)]
    [InlineData(0x41)]
    public void Parameter_list_that_no_command_could_ask_for_fails_or_does_nothing(byte receiving)
    {
        (UasHost host, HeldStore store) = Held(UsbSpeed.Super);
        store.Hold = false;
        host.Command(2, "41 00 00 00 00 20 00 00 02 00");
        DiskStateV1 state = host.Disk.Capture();
        UasTaskStateV1 task = state.Uas!.Tasks[0] with { Receiving = receiving, Length = 1, AfterAction = 0, AfterSector = 0, AfterCount = 0 };

        Assert.True(host.Disk.TryRestore(state with { Uas = state.Uas with { Tasks = [task] } }, out string error), error);
        UsbRequest status = host.PostStatus(2);
        host.PostOut(2, [1]);

        Assert.Equal(receiving == 0x15 ? "3 tag 2 status 02 sense 5/1a/00" : "3 tag 2 status 00", host.Unit(status));
        Assert.DoesNotContain(store.Seen, s => s.Kind != BlockOperationKind.Read);
    }

    public static TheoryData<string, Func<UasStateV1, UasStateV1>> Impossible() => new()
    {
        { "tasks missing", s => s with { Tasks = null! } },
        { "counters", s => s with { Counters = [1] } },
        { "too many replies", s => s with { Replies = [.. Enumerable.Repeat(new UasReplyStateV1(4, 1, 0, 0, 0, 0), 33)] } },
        { "kind of reply", s => s with { Replies = [new UasReplyStateV1(6, 1, 0, 0, 0, 0)] } },
        { "tag of reply", s => s with { Replies = [new UasReplyStateV1(4, 33, 0, 0, 0, 0)] } },
        { "null task", s => s with { Tasks = [null!] } },
        { "tag 0", s => Task(s, t => t with { Tag = 0 }) },
        { "tag without stream", s => Task(s, t => t with { Tag = 33 }) },
        { "same tag twice", s => s with { Tasks = [s.Tasks[0], s.Tasks[0]] } },
        { "too many tasks", s => s with { Tasks = [.. Enumerable.Range(1, 33).Select(i => s.Tasks[0] with { Tag = (ushort)i })] } },
        { "phase", s => Task(s, t => t with { Phase = 5 }) },
        { "direction", s => Task(s, t => t with { Phase = 2 }) },
        { "action", s => Task(s, t => t with { Action = 99 }) },
        { "moved too much", s => Task(s, t => t with { Moved = t.Length }) },
        { "moved less than nothing", s => Task(s, t => t with { Moved = -1 }) },
        { "beyond the medium", s => Task(s, t => t with { Sector = 4090 }) },
        { "length", s => Task(s, t => t with { Length = 1L << 40 }) },
        { "sense key", s => Task(s, t => t with { SenseKey = 16 }) },
        { "sense sector", s => Task(s, t => t with { SenseSector = -2 }) },
        { "sense sector at the end of numbers", s => Task(s, t => t with { SenseSector = long.MaxValue }) },
        { "failed sector", s => Task(s, t => t with { Medium = t.Medium with { FailedSector = 1L << 60 } }) },
        { "buffer", s => Task(s, t => t with { Buffer = new byte[4097] }) },
        { "after", s => Task(s, t => t with { AfterAction = 3 }) },
        { "medium missing", s => Task(s, t => t with { Medium = null! }) },
        { "busy without work", s => Task(s, t => t with { Phase = 3 }) },
        { "failed with more data than its length", s => Task(s, t => t with { Phase = 3, Action = 4, Moved = t.Length + 512, Medium = t.Medium with { FailureKey = 3 } }) },
        { "pipe with streams", s => s with { DataIn = 3 } },
        { "announced without pipe", s => s with { ReadReady = true } },
    };

    private static UasStateV1 Task(UasStateV1 state, Func<UasTaskStateV1, UasTaskStateV1> change) => state with { Tasks = [change(state.Tasks[0])] };

    [Theory]
    [MemberData(nameof(Impossible))]
    public void State_that_cannot_have_been_saved_is_refused(string what, Func<UasStateV1, UasStateV1> change)
    {
        (UasHost host, _) = Held(UsbSpeed.Super);
        host.Command(3, UasHost.Read10(8, 8));
        DiskStateV1 state = host.Disk.Capture();
        var disk = new DiskDevice(new MemoryBlockStore(4096), new DiskOptions { Speed = UsbSpeed.Super, Uas = true });
        _ = new XenUsbDm.TestKit.Devices.DeviceBench(disk);

        Assert.False(disk.TryRestore(state with { Uas = change(state.Uas!) }, out string error), what);
        Assert.NotEmpty(error);
        Assert.Equal(0, disk.Capture().Device.Configuration);
        Assert.True(disk.TryRestore(state, out error), error);
    }
}
