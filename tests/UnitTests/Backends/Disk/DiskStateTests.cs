using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Save and restore in every phase of a command, and records that cannot have been saved.</summary>
public sealed class DiskStateTests
{
    private const string Write512 = "2a 00 00 00 00 10 00 02 00 00";
    private const string Read512 = "28 00 00 00 00 10 00 02 00 00";

    private static string Dump(DiskDevice disk) => InspectWriter.Dump(disk);

    private static (DiskDevice Disk, DeviceBench Bench) Restore(DiskStateV1 state, IBlockStore store, DiskOptions? options = null)
    {
        var disk = new DiskDevice(store, options ?? new DiskOptions());
        var bench = new DeviceBench(disk);
        bool restored = disk.TryRestore(state, out string error);
        Assert.True(restored, error);
        return (disk, bench);
    }

    private static UsbRequest Resubmit(DeviceBench bench, UsbRequest request)
    {
        UsbRequest again = DeviceBench.Make(request.Endpoint.Value, TransferKind.Bulk, (int)request.Data.Segments[0].Address.Value, request.Length);
        again.ActualLength = request.ActualLength;
        bench.Device.Submit(again);
        return again;
    }

    [Fact]
    public void Idle_disk_restores_to_the_same_tree()
    {
        var store = new MemoryBlockStore(4096);
        var host = new BotHost(store, new DiskOptions { Removable = true });
        host.Do("1e 00 00 00 01 00");
        host.Command("c0", 0);
        (DiskDevice disk, _) = Restore(host.Disk.Capture(), store, new DiskOptions { Removable = true });
        Assert.Equal(Dump(host.Disk), Dump(disk));
    }

    [Fact]
    public void Wedged_and_ejected_disk_restores_to_the_same_tree()
    {
        var store = new MemoryBlockStore(4096);
        var host = new BotHost(store, new DiskOptions { Removable = true });
        host.Do("1b 00 00 00 02 00");
        host.SendWrapper(new byte[31]);
        (DiskDevice disk, DeviceBench bench) = Restore(host.Disk.Capture(), store, new DiskOptions { Removable = true });
        Assert.Equal(Dump(host.Disk), Dump(disk));
        Assert.Equal(RequestStatus.Stall, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Read_goes_on_where_it_was(bool direct)
    {
        var store = new MemoryBlockStore(4096, direct: direct);
        byte[] data = BotHost.Pattern(512 * 512);
        store.Load(16 * 512, data);
        var host = new BotHost(store);
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read512), 512 * 512, true));
        host.Transfer(true, 1000 + (130 << 10));
        (DiskDevice disk, DeviceBench bench) = Restore(host.Disk.Capture(), store);
        Assert.Equal(Dump(host.Disk), Dump(disk));
        int rest = data.Length - 1000 - (130 << 10);
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0x1000, rest)));
        Assert.Equal(data.AsSpan(data.Length - rest), bench.Memory.Bytes.Slice(0x1000, rest));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
        Assert.Equal(0, bench.Memory.Bytes[12]);
    }

    [Fact]
    public void Read_request_in_flight_goes_on_from_its_progress()
    {
        var store = new HeldStore(4096);
        byte[] data = BotHost.Pattern(512 * 512);
        store.Inner.Load(16 * 512, data);
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read512), 512 * 512, true));
        UsbRequest request = host.Transfer(true, 512 * 512);
        store.Release();
        Assert.Equal(128 << 10, request.ActualLength);
        (_, DeviceBench bench) = Restore(host.Disk.Capture(), new MemoryView(store.Inner));
        host.Bench.Memory.Bytes.CopyTo(bench.Memory.Bytes);
        UsbRequest again = Resubmit(bench, request);
        Assert.Equal((RequestStatus.Success, 512 * 512), (bench.StatusOf(again), again.ActualLength));
        Assert.Equal(data, bench.Memory.Bytes.Slice(BotHost.DataAt, data.Length));
    }

    [Theory]
    [InlineData(Write512, true, 1000)]
    [InlineData(Write512, false, 1000)]
    [InlineData(Write512, false, (200 << 10) + 7)]
    [InlineData(Write512, false, 512 * 512)]
    [InlineData("2e 02 00 00 00 10 00 02 00 00", false, (100 << 10) + 7)]
    [InlineData("2e 02 00 00 00 10 00 02 00 00", true, 1)]
    [InlineData("2f 02 00 00 00 10 00 02 00 00", false, (140 << 10) + 1)]
    public void Write_and_compare_go_on_with_what_was_received(string command, bool direct, int before)
    {
        IBlockStore store = direct ? new MemoryBlockStore(4096) : new HeldStore(4096);
        MemoryBlockStore inner = store as MemoryBlockStore ?? ((HeldStore)store).Inner;
        byte[] data = BotHost.Pattern(512 * 512);
        if (command.StartsWith("2f", StringComparison.Ordinal)) inner.Load(16 * 512, data);
        var host = new BotHost(store);
        if (store is HeldStore held) held.Hold = true;
        data.CopyTo(host.Data);
        host.SendWrapper(host.Wrapper(BotHost.Hex(command), (uint)data.Length, false));
        UsbRequest request = host.Transfer(false, before);

        // The operations in flight are lost with the old process; the medium holds what had ended.
        DiskStateV1 state = host.Disk.Capture();
        IBlockStore other = direct ? store : new MemoryView(inner);
        (_, DeviceBench bench) = Restore(state, other);
        host.Bench.Memory.Bytes.CopyTo(bench.Memory.Bytes);
        if (host.Bench.StatusOf(request) is null) Resubmit(bench, request);
        if (before < data.Length)
        {
            UsbRequest rest = bench.Submit(BotHost.Out, TransferKind.Bulk, BotHost.DataAt + before, data.Length - before);
            Assert.Equal(RequestStatus.Success, bench.StatusOf(rest));
        }

        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
        Assert.Equal(0, bench.Memory.Bytes[12]);
        byte[] stored = new byte[data.Length];
        inner.Save(16 * 512, stored);
        Assert.Equal(data, stored);
    }

    [Theory]
    [InlineData("12 00 00 00 24 00", 36, 10)]
    [InlineData("1a 08 08 00 18 00", 24, 1)]
    public void Response_goes_on_where_it_was(string command, int length, int before)
    {
        BotHost host = BotHost.Ready();
        byte[] whole = host.Ask(command, length);
        host.SendWrapper(host.Wrapper(BotHost.Hex(command), (uint)length, true));
        host.Transfer(true, before);
        (DiskDevice disk, DeviceBench bench) = Restore(host.Disk.Capture(), new MemoryBlockStore(4096));
        Assert.Equal(Dump(host.Disk), Dump(disk));
        bench.Submit(BotHost.In, TransferKind.Bulk, 0x1000, length - before);
        Assert.Equal(whole.AsSpan(before), bench.Memory.Bytes.Slice(0x1000, length - before));
    }

    [Theory]
    [InlineData("41 00 00 00 00 02 00 02 58 00", 7)]
    [InlineData("41 00 00 00 00 02 00 02 58 00", 0)]
    [InlineData("41 08 00 00 00 02 00 02 58 00", 0)]
    public void Write_same_goes_on_in_its_parameters_and_in_its_work(string command, byte value)
    {
        byte[] sector = new byte[512];
        sector.AsSpan().Fill(value);
        foreach (int parameters in (int[])[100, 512])
        {
            var store = new HeldStore(4096);
            store.Inner.Load(0, BotHost.Pattern(700 * 512));
            var host = new BotHost(store);
            store.Hold = true;
            sector.CopyTo(host.Data);
            host.SendWrapper(host.Wrapper(BotHost.Hex(command), 512, false));
            host.Transfer(false, parameters);
            if (parameters == 512) store.Release();
            (_, DeviceBench bench) = Restore(host.Disk.Capture(), store.Inner);
            host.Bench.Memory.Bytes.CopyTo(bench.Memory.Bytes);
            if (parameters < 512) bench.Submit(BotHost.Out, TransferKind.Bulk, BotHost.DataAt + 100, 412);
            Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
            byte[] after = new byte[700 * 512];
            store.Inner.Save(0, after);
            Assert.Equal([.. BotHost.Pattern(700 * 512)[..1024], .. Enumerable.Repeat(value, 600 * 512), .. BotHost.Pattern(700 * 512)[(602 * 512)..]], after);
        }
    }

    [Fact]
    public void Unmap_goes_on_with_its_next_range_and_flush_is_begun_anew()
    {
        var store = new HeldStore(4096);
        store.Inner.Load(0, BotHost.Pattern(64 * 512));
        var host = new BotHost(store);
        store.Hold = true;
        byte[] list = BotHost.Hex("00 26 00 20 00 00 00 00  00 00 00 00 00 00 00 02 00 00 00 03 00 00 00 00  00 00 00 00 00 00 00 09 00 00 00 01 00 00 00 00");
        list.CopyTo(host.Data);
        host.SendWrapper(host.Wrapper(BotHost.Hex("42 00 00 00 00 00 00 00 28 00"), 40, false));
        host.Transfer(false, 40);
        store.Release();
        var other = new HeldStore(4096);
        (_, DeviceBench bench) = Restore(host.Disk.Capture(), other);
        Assert.Equal((BlockOperationKind.Discard, 9L, 1L), Assert.Single(other.Seen));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
    }

    [Fact]
    public void Flush_in_flight_is_begun_anew()
    {
        var store = new HeldStore(4096);
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex("35 00 00 00 00 00 00 00 00 00"), 0, false));
        var other = new HeldStore(4096) { Hold = true };
        (DiskDevice disk, DeviceBench bench) = Restore(host.Disk.Capture(), other);
        Assert.Equal(Dump(host.Disk), Dump(disk));
        UsbRequest status = bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13);
        Assert.Null(bench.StatusOf(status));
        other.ReleaseAll();
        Assert.Equal(RequestStatus.Success, bench.StatusOf(status));
    }

    [Fact]
    public void Failure_not_reported_yet_is_reported_after_restore()
    {
        var store = new HeldStore(4096) { Fault = o => BlockResult.NoSpace };
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Write512), 512 * 512, false));
        host.Transfer(false, 512 * 512);
        host.AskStatus();
        store.Release();
        (_, DeviceBench bench) = Restore(host.Disk.Capture(), new MemoryBlockStore(4096));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
        Assert.Equal(1, bench.Memory.Bytes[12]);
    }

    [Fact]
    public void Status_not_taken_yet_is_sent_after_restore()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex("c0"), 0, false));
        (DiskDevice disk, DeviceBench bench) = Restore(host.Disk.Capture(), new MemoryBlockStore(4096));
        Assert.Equal(Dump(host.Disk), Dump(disk));
        host.AskStatus();
        bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13);
        Assert.Equal(host.Bench.Memory.Bytes.Slice(BotHost.StatusAt, 13).ToArray(), bench.Memory.Bytes[..13].ToArray());
    }

    private static DiskStateV1 Saved(string command, uint length, bool isIn, int moved, HeldStore? store = null)
    {
        store ??= new HeldStore(4096);
        var host = new BotHost(store);
        store.Hold = true;
        BotHost.Pattern(512).CopyTo(host.Data);
        host.SendWrapper(host.Wrapper(BotHost.Hex(command), length, isIn));
        if (moved > 0) host.Transfer(isIn, moved);
        return host.Disk.Capture();
    }

    private static DiskStateV1 DiscardList()
    {
        DiskStateV1 fill = Saved("41 00 00 00 00 02 00 02 58 00", 512, false, 512);
        return fill with
        {
            Transport = fill.Transport with { Action = 10, SectorCount = 1, Buffer = new byte[4096] },
            Medium = fill.Medium with { JobSector = 0, JobLeft = 0, JobRange = 1 },
        };
    }

    [Fact]
    public void List_of_ranges_that_is_all_done_ends_after_restore()
    {
        (_, DeviceBench bench) = Restore(DiscardList(), new MemoryBlockStore(4096));
        Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
        Assert.Equal(0, bench.Memory.Bytes[12]);
    }

    public static TheoryData<string, DiskStateV1?> Impossible()
    {
        DiskStateV1 idle = BotHost.Ready().Disk.Capture();
        DiskStateV1 read = Saved(Read512, 512 * 512, true, 0);
        DiskStateV1 write = Saved(Write512, 512 * 512, false, 700);
        DiskStateV1 busy = Saved(Write512, 512 * 512, false, 512 * 512);
        DiskStateV1 inquiry = Saved("12 00 00 00 24 00", 36, true, 10);
        DiskStateV1 fill = Saved("41 00 00 00 00 02 00 02 58 00", 512, false, 512);
        DiskStateV1 flush = Saved("35 00 00 00 00 00 00 00 00 00", 0, false, 0);
        DiskStateV1 list = DiscardList();
        byte[] beyond = new byte[4096];
        beyond[14] = 0x20;
        beyond[19] = 1;
        return new TheoryData<string, DiskStateV1?>
        {
            { "null", null },
            { "no transport", idle with { Transport = null! } },
            { "no medium", idle with { Medium = null! } },
            { "no unit", idle with { Unit = null! } },
            { "no device", idle with { Device = null! } },
            { "no buffer", idle with { Transport = idle.Transport with { Buffer = null! } } },
            { "no pending", idle with { Medium = idle.Medium with { Pending = null! } } },
            { "counters", idle with { Counters = [1] } },
            { "sense key", idle with { Unit = idle.Unit with { SenseKey = 16 } } },
            { "sense sector", idle with { Unit = idle.Unit with { SenseSector = 5000 } } },
            { "attention", idle with { Unit = idle.Unit with { Attention = 1 } } },
            { "ejected", idle with { Unit = idle.Unit with { Ejected = true } } },
            { "after", idle with { Unit = idle.Unit with { AfterAction = 3 } } },
            { "after range", idle with { Unit = idle.Unit with { AfterAction = 11, AfterSector = 4096, AfterCount = 1 } } },
            { "phase", idle with { Transport = idle.Transport with { Phase = 6 } } },
            { "case", idle with { Transport = idle.Transport with { Case = 0 } } },
            { "lun", idle with { Transport = idle.Transport with { Lun = 16 } } },
            { "status", idle with { Transport = idle.Transport with { Status = 3 } } },
            { "residue", idle with { Transport = idle.Transport with { Residue = 1 } } },
            { "moved", read with { Transport = read.Transport with { Moved = -1 } } },
            { "moved all", read with { Transport = read.Transport with { Moved = 512 * 512 } } },
            { "limit", read with { Transport = read.Transport with { Limit = 512 } } },
            { "limit beyond", read with { Transport = read.Transport with { Limit = 1 << 30 } } },
            { "action", read with { Transport = read.Transport with { Action = 99 } } },
            { "direction", read with { Transport = read.Transport with { IsIn = false } } },
            { "no data", read with { Transport = read.Transport with { Action = 0 } } },
            { "sectors", read with { Transport = read.Transport with { Sector = 4000 } } },
            { "negative sector", read with { Transport = read.Transport with { Sector = -1 } } },
            { "length", read with { Transport = read.Transport with { SectorCount = 511 } } },
            { "pending read", read with { Medium = read.Medium with { Pending = [1] } } },
            { "failure", read with { Medium = read.Medium with { FailureKey = 16 } } },
            { "failed sector", read with { Medium = read.Medium with { FailedSector = 5000 } } },
            { "unaligned", write with { Medium = write.Medium with { Pending = [1, 2] } } },
            { "too much", write with { Medium = write.Medium with { Pending = new byte[1 << 20] } } },
            { "unfinished", busy with { Transport = busy.Transport with { Moved = 512 } } },
            { "busy read", busy with { Transport = busy.Transport with { Action = 3 } } },
            { "long response", inquiry with { Transport = inquiry.Transport with { Length = 5000, Limit = 5000, DataLength = 5000 } } },
            { "buffer", inquiry with { Transport = inquiry.Transport with { Buffer = new byte[5000] } } },
            { "pattern", fill with { Transport = fill.Transport with { Buffer = [] } } },
            { "job range", fill with { Transport = fill.Transport with { Sector = 5000 } } },
            { "job progress", fill with { Medium = fill.Medium with { JobLeft = 5000 } } },
            { "job list", fill with { Medium = fill.Medium with { JobRange = 1 } } },
            { "flush", flush with { Medium = flush.Medium with { JobLeft = 2 } } },
            { "list index", list with { Medium = list.Medium with { JobRange = 2 } } },
            { "list short", list with { Transport = list.Transport with { Buffer = new byte[20] } } },
            { "list ranges", list with { Transport = list.Transport with { Buffer = beyond } } },
            { "list count", list with { Transport = list.Transport with { SectorCount = 256 } } },
        };
    }

    [Theory]
    [MemberData(nameof(Impossible))]
    public void State_that_cannot_have_been_saved_is_refused_and_changes_nothing(string what, DiskStateV1? state)
    {
        BotHost host = BotHost.Ready();
        string before = Dump(host.Disk);
        Assert.False(host.Disk.TryRestore(state, out string error), what);
        Assert.NotEmpty(error);
        Assert.Equal(before, Dump(host.Disk));
    }

    [Fact]
    public void State_that_writes_is_refused_by_a_read_only_store()
    {
        DiskStateV1 fill = Saved("41 00 00 00 00 02 00 02 58 00", 512, false, 512);
        foreach (DiskStateV1 state in (IEnumerable<DiskStateV1>)[Saved(Write512, 512 * 512, false, 512), fill, Saved("41 08 00 00 00 02 00 00 03 00", 512, false, 100)])
            Assert.False(new DiskDevice(new MemoryBlockStore(4096, isReadOnly: true), new DiskOptions()).TryRestore(state, out _));
    }

    [Fact]
    public void State_that_discards_is_refused_by_a_store_without_discard()
    {
        foreach (DiskStateV1 state in (IEnumerable<DiskStateV1>)[Saved("93 09 00 00 00 00 00 00 00 02 00 00 00 03 00 00", 0, false, 0), Saved("41 08 00 00 00 02 00 00 03 00", 512, false, 100)])
            Assert.False(new DiskDevice(new HeldStore(4096) { Discards = false }, new DiskOptions()).TryRestore(state, out _));
    }

    /// <summary>The same medium in a new process: nothing held, nothing mapped.</summary>
    private sealed class MemoryView(MemoryBlockStore inner) : IBlockStore
    {
        public long SectorCount => inner.SectorCount;

        public bool IsReadOnly => false;

        public bool CanDiscard => true;

        public string Description => "view";

        public void Start(BlockOperation operation) => inner.Start(operation);

        public ReadOnlySpan<byte> MapRead(long offset, int length) => default;

        public Span<byte> MapWrite(long offset, int length) => default;

        public void Inspect(InspectWriter writer) => inner.Inspect(writer);
    }
}
