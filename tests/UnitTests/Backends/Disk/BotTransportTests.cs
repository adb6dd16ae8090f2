using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Wrappers, queues, halts and recovery of the bulk-only transport.</summary>
public sealed class BotTransportTests
{
    private const string TestUnitReady = "00 00 00 00 00 00";

    private static string Read(int sector, int count) => $"28 00 00 00 {sector >> 8:x2} {sector & 0xff:x2} 00 {count >> 8:x2} {count & 0xff:x2} 00";

    private static string Write(int sector, int count) => "2a" + Read(sector, count)[2..];

    private static byte[] Inquiry(BotHost host) => host.Wrapper(BotHost.Hex("12 00 00 00 24 00"), 36, true);

    public static TheoryData<string, byte[]> InvalidWrappers()
    {
        byte[] good = BotHost.Ready().Wrapper(BotHost.Hex(TestUnitReady), 0, false);
        return new TheoryData<string, byte[]>
        {
            { "signature", Change(good, 0, 0x56) },
            { "reserved flags", Change(good, 12, 0x01) },
            { "reserved unit bits", Change(good, 13, 0x10) },
            { "no command", Change(good, 14, 0) },
            { "long command", Change(good, 14, 17) },
            { "first piece", good[..16] },
            { "one byte short", good[..30] },
            { "one byte long", [.. good, 0] },
            { "empty", [] },
            { "larger than a packet", new byte[2048] },
        };
    }

    private static byte[] Change(byte[] bytes, int offset, byte value)
    {
        byte[] copy = [.. bytes];
        copy[offset] = value;
        return copy;
    }

    [Theory]
    [MemberData(nameof(InvalidWrappers))]
    public void Invalid_wrapper_stalls_both_pipes_until_reset_recovery(string what, byte[] wrapper)
    {
        BotHost host = BotHost.Ready();
        UsbRequest sent = host.SendWrapper(wrapper);
        Assert.Equal(wrapper.Length > 512 ? RequestStatus.Stall : RequestStatus.Success, host.Bench.StatusOf(sent));
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.SendWrapper(Inquiry(host))));
        host.ClearHalt(BotHost.In);
        host.ClearHalt(BotHost.Out);
        Assert.True(host.IsHalted(BotHost.In) && host.IsHalted(BotHost.Out), what);
        Assert.Equal(RequestStatus.Success, host.Bench.Control(0x21, 0xff).Status);
        Assert.True(host.IsHalted(BotHost.In) && host.IsHalted(BotHost.Out), "reset leaves halts to the host");
        host.ResetRecovery();
        host.Bench.Forget();
        Assert.Equal(0, host.Command(TestUnitReady, 0).Csw);
    }

    [Fact]
    public void Wrapper_in_missing_memory_is_a_memory_fault_and_changes_nothing()
    {
        BotHost host = BotHost.Ready();
        UsbRequest request = host.Bench.Submit(BotHost.Out, TransferKind.Bulk, (4 << 20) - 10, 31);
        Assert.Equal(RequestStatus.MemoryFault, host.Bench.StatusOf(request));
        Assert.Equal(0, host.Command(TestUnitReady, 0).Csw);
    }

    [Fact]
    public void Max_lun_is_0_and_odd_class_requests_stall()
    {
        BotHost host = BotHost.Ready();
        Assert.Equal([0], host.Bench.Control(0xa1, 0xfe, length: 1).Data);
        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0xa1, 0xfe, 1, length: 1).Status);
        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0xa1, 0xfd, length: 1).Status);
        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0x21, 0xff, 0, 1).Status);
        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0x21, 0xff, data: [0]).Status);
    }

    [Fact]
    public void Whole_commands_may_be_queued_ahead_on_both_pipes()
    {
        BotHost host = BotHost.Ready();
        byte[] data = BotHost.Pattern(1024);
        data.CopyTo(host.Data);
        UsbRequest firstStatus = host.Bench.Submit(BotHost.In, TransferKind.Bulk, 0x200, 13);
        UsbRequest read = host.Bench.Submit(BotHost.In, TransferKind.Bulk, 0x8000, 1024);
        UsbRequest secondStatus = host.AskStatus();
        Assert.Empty(host.Bench.Completed);
        UsbRequest firstWrapper = host.Bench.Send(BotHost.Out, TransferKind.Bulk, host.Wrapper(BotHost.Hex(Write(9, 2)), 1024, false), 0x40);
        UsbRequest written = host.Transfer(false, 1024);
        UsbRequest secondWrapper = host.SendWrapper(host.Wrapper(BotHost.Hex(Read(9, 2)), 1024, true));
        Assert.Equal([firstWrapper, written, firstStatus, secondWrapper, read, secondStatus], host.Bench.Completed);
        Assert.Equal(data, host.Bench.Memory.Bytes.Slice(0x8000, 1024));
        Assert.Equal((0, 0u), host.ReadStatus());
    }

    [Fact]
    public void A_wrapper_sent_before_the_status_is_taken_waits()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex(TestUnitReady), 0, false));
        UsbRequest next = host.SendWrapper(host.Wrapper(BotHost.Hex(TestUnitReady), 0, false));
        Assert.Null(host.Bench.StatusOf(next));
        host.AskStatus();
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(next));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Data_may_come_in_requests_of_any_size(bool direct)
    {
        var store = new MemoryBlockStore(8192, direct: direct);
        var host = new BotHost(store);
        byte[] data = BotHost.Pattern(600 * 512);
        int[] pieces = [512, 100, 200 << 10, 0, 412, 1024];
        data.CopyTo(host.Data);
        host.SendWrapper(host.Wrapper(BotHost.Hex(Write(1, 600)), (uint)data.Length, false));
        int offset = 0;
        foreach (int piece in pieces.Append(data.Length - pieces.Sum()))
        {
            Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.Transfer(false, piece, offset)));
            offset += piece;
        }

        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal((0, 0u), host.ReadStatus());
        host.Data[..data.Length].Clear();
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(1, 600)), (uint)data.Length, true));
        offset = 0;
        foreach (int piece in pieces.Append(data.Length - pieces.Sum()))
        {
            UsbRequest request = host.Transfer(true, piece, offset);
            Assert.Equal((RequestStatus.Success, piece), (host.Bench.StatusOf(request), request.ActualLength));
            offset += piece;
        }

        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal((0, 0u), host.ReadStatus());
        Assert.Equal(data, host.Data[..data.Length]);
    }

    [Fact]
    public void Data_crosses_scattered_memory()
    {
        BotHost host = BotHost.Ready();
        host.Bench.Memory.LongestRun = 61;
        host.Do(Write(0, 64), BotHost.Pattern(64 * 512));
        Assert.Equal(BotHost.Pattern(64 * 512), host.Ask(Read(0, 64), 64 * 512));
    }

    [Fact]
    public void A_request_with_room_after_the_data_gets_the_status_as_its_last_packet()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 1)), 512, true));
        UsbRequest request = host.Transfer(true, 1024);
        Assert.Equal((RequestStatus.Success, 525), (host.Bench.StatusOf(request), request.ActualLength));
        Assert.Equal("USBS"u8.ToArray(), host.Data.Slice(512, 4));
        Assert.Equal(0, host.Command(TestUnitReady, 0).Csw);
    }

    [Fact]
    public void Status_into_too_little_room_is_babble_and_stays()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex(TestUnitReady), 0, false));
        Assert.Equal(RequestStatus.Babble, host.Bench.StatusOf(host.Transfer(true, 12)));
        UsbRequest empty = host.Transfer(true, 0);
        Assert.Equal((RequestStatus.Success, 0), (host.Bench.StatusOf(empty), empty.ActualLength));
        Assert.Equal(RequestStatus.MemoryFault, host.Bench.StatusOf(host.Bench.Submit(BotHost.In, TransferKind.Bulk, 4 << 20, 13)));
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal((0, 0u), host.ReadStatus());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Data_in_missing_memory_is_a_memory_fault_and_can_be_repeated(bool isIn)
    {
        BotHost host = BotHost.Ready();
        byte[] data = BotHost.Pattern(1024);
        data.CopyTo(host.Data);
        host.Do(Write(0, 2), data);
        host.SendWrapper(host.Wrapper(BotHost.Hex(isIn ? Read(0, 2) : Write(2, 2)), 1024, isIn));
        UsbRequest hole = host.Bench.Submit(isIn ? BotHost.In : BotHost.Out, TransferKind.Bulk, (4 << 20) - 512, 1024);
        Assert.Equal((RequestStatus.MemoryFault, 0), (host.Bench.StatusOf(hole), hole.ActualLength));
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.Transfer(isIn, 1024)));
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal((0, 0u), host.ReadStatus());
        Assert.Equal(data, host.Data[..1024]);
    }

    [Fact]
    public void More_data_than_announced_is_refused()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex(Write(0, 1)), 512, false));
        UsbRequest request = host.Transfer(false, 2048);
        Assert.Equal((RequestStatus.Stall, 512), (host.Bench.StatusOf(request), request.ActualLength));
        host.AskStatus();
        Assert.Equal((0, 0u), host.ReadStatus());
    }

    [Fact]
    public void A_packet_is_taken_whole_when_only_its_start_is_wanted()
    {
        BotHost host = BotHost.Ready();
        host.SendWrapper(host.Wrapper(BotHost.Hex("42 00 00 00 00 00 00 00 08 00"), 1024, false));
        UsbRequest request = host.Transfer(false, 1024);
        Assert.Equal((RequestStatus.Stall, 512), (host.Bench.StatusOf(request), request.ActualLength));
        host.AskStatus();
        Assert.Equal((0, 1016u), host.ReadStatus());
    }

    [Fact]
    public void Large_reads_run_ahead_with_several_operations()
    {
        var store = new HeldStore(8192);
        store.Inner.Load(0, BotHost.Pattern(2048 * 512));
        var host = new BotHost(store) { };
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 2048)), 1 << 20, true));
        Assert.Equal(4, store.Held.Count);
        UsbRequest data = host.Transfer(true, 1 << 20);
        UsbRequest status = host.AskStatus();

        // The second ends first: nothing moves until the first has.
        store.Release(1);
        Assert.Equal(0, data.ActualLength);
        store.Release();
        Assert.Equal(256 << 10, data.ActualLength);
        Assert.Equal(4, store.Held.Count);
        store.ReleaseAll();
        Assert.Equal((RequestStatus.Success, RequestStatus.Success), (host.Bench.StatusOf(data), host.Bench.StatusOf(status)));
        Assert.Equal(8, store.Seen.Count);
        Assert.Equal(BotHost.Pattern(1 << 20), host.Data[..(1 << 20)]);
    }

    [Fact]
    public void Large_writes_run_behind_with_several_operations_and_status_waits_for_all()
    {
        var store = new HeldStore(8192);
        var host = new BotHost(store);
        store.Hold = true;
        byte[] bytes = BotHost.Pattern(1 << 20);
        bytes.CopyTo(host.Data);
        host.SendWrapper(host.Wrapper(BotHost.Hex(Write(0, 2048)), 1 << 20, false));
        UsbRequest data = host.Transfer(false, 1 << 20);
        UsbRequest status = host.AskStatus();
        Assert.Equal((4, 512 << 10), (store.Held.Count, data.ActualLength));
        while (store.Held.Count > 1) store.Release(store.Held.Count - 1);
        Assert.Null(host.Bench.StatusOf(status));
        store.ReleaseAll();
        Assert.Equal((RequestStatus.Success, RequestStatus.Success), (host.Bench.StatusOf(data), host.Bench.StatusOf(status)));
        byte[] stored = new byte[1 << 20];
        store.Inner.Save(0, stored);
        Assert.Equal(bytes, stored);
    }

    [Fact]
    public void Reset_in_the_middle_of_a_command_waits_for_its_operations_before_the_next()
    {
        var store = new HeldStore(8192);
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 512)), 512 * 512, true));
        host.ResetRecovery();
        UsbRequest next = host.SendWrapper(host.Wrapper(BotHost.Hex(TestUnitReady), 0, false));
        UsbRequest status = host.AskStatus();
        Assert.Null(host.Bench.StatusOf(next));
        store.ReleaseAll();
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(status));
        Assert.Equal((0, 0u), host.ReadStatus());
    }

    [Fact]
    public void Operations_that_end_after_detach_touch_nothing()
    {
        var store = new HeldStore(8192);
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 512)), 512 * 512, true));
        UsbRequest data = host.Transfer(true, 4096);
        host.Disk.Detached();
        store.ReleaseAll();
        Assert.Null(host.Bench.StatusOf(data));
    }

    [Fact]
    public void Bus_reset_returns_requests_and_starts_anew()
    {
        var store = new HeldStore(8192);
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 8)), 4096, true));
        UsbRequest data = host.Transfer(true, 4096);
        host.Disk.Reset();
        Assert.Equal(RequestStatus.Cancelled, host.Bench.StatusOf(data));
        store.ReleaseAll();
        store.Hold = false;
        host.Bench.Forget();
        host.Bench.Configure(1);
        Assert.Equal(0, host.Command(TestUnitReady, 0).Csw);
    }

    [Fact]
    public void Cancelled_data_request_tells_what_was_moved_and_the_next_goes_on()
    {
        var store = new HeldStore(8192);
        store.Inner.Load(0, BotHost.Pattern(512 * 512));
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 512)), 512 * 512, true));
        UsbRequest data = host.Transfer(true, 512 * 512);
        store.Release();
        host.Disk.Cancel(data);
        Assert.Equal((RequestStatus.Cancelled, 128 << 10), (host.Bench.StatusOf(data), data.ActualLength));
        UsbRequest rest = host.Transfer(true, 128 << 10, 128 << 10);
        store.ReleaseAll();
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(rest));
        Assert.Equal(BotHost.Pattern(512 * 512), host.Data[..(512 * 512)]);
    }

    [Fact]
    public void Write_that_fails_late_stalls_the_data_that_follows()
    {
        var store = new HeldStore(8192) { Fault = o => o.Sector == 0 && o.Kind == BlockOperationKind.Write ? BlockResult.NoSpace : null };
        var host = new BotHost(store);
        store.Hold = true;
        host.SendWrapper(host.Wrapper(BotHost.Hex(Write(0, 1024)), 1024 * 512, false));
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.Transfer(false, 256 << 10)));
        store.ReleaseAll();
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.Transfer(false, 256 << 10)));
        Assert.Equal(RequestStatus.Success, host.Bench.StatusOf(host.AskStatus()));
        Assert.Equal((1, 1024u * 512), host.ReadStatus());
        host.ClearHalt(BotHost.Out);
        host.Bench.Forget();
        Assert.Equal("7/27/07", host.Sense());
    }

    [Fact]
    public void Inspect_shows_command_counters_and_parts()
    {
        BotHost host = BotHost.Ready();
        host.Command("c0", 0);
        Dictionary<string, string> fields = Fields(host.Disk);
        Assert.Equal(("2", "2", "Command"), (fields["/transport/commands"], fields["/transport/failed"], fields["/transport/phase"]));
        Assert.Equal("5/20/00", fields["/unit/sense"]);
        Assert.Equal("4096", fields["/store/sectors"]);
        host.SendWrapper(host.Wrapper(BotHost.Hex(Read(0, 8)), 4096, true));
        Assert.Equal(("DataIn", "6 HiDi", "Read"), (Fields(host.Disk)["/transport/phase"], Fields(host.Disk)["/transport/case"], Fields(host.Disk)["/medium/action"]));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Steady_state_allocates_nothing(bool direct)
    {
        var store = new MemoryBlockStore(4096, direct: direct);
        var disk = new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super });
        var host = new AllocationProbe(disk);
        byte[] read = BotHost.Ready().Wrapper(BotHost.Hex(Read(0, 128)), 64 << 10, true);
        byte[] write = BotHost.Ready().Wrapper(BotHost.Hex(Write(0, 128)), 64 << 10, false);
        host.Run(read, true, 20);
        host.Run(write, false, 20);
        long before = GC.GetAllocatedBytesForCurrentThread();
        host.Run(read, true, 200);
        host.Run(write, false, 200);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(3 * 440, host.Completions);
    }

    private static Dictionary<string, string> Fields(IInspectable part)
    {
        var writer = new InspectWriter();
        part.Inspect(writer);
        return writer.Fields.ToDictionary(f => f.Key, f => f.Value);
    }
}
