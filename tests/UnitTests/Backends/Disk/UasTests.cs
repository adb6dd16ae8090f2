using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

public sealed class UasTests
{
    private const string Inquiry = "12 00 00 00 24 00";
    private const string Flush = "35 00 00 00 00 00 00 00 00 00";

    private static UasHost Ready(UsbSpeed speed = UsbSpeed.Super) => new(Filled(), speed);

    private static MemoryBlockStore Filled(int sectors = 4096)
    {
        var store = new MemoryBlockStore(sectors);
        store.Load(0, BotHost.Pattern(sectors * 512));
        return store;
    }

    private static (UasHost Host, HeldStore Store) Held(UsbSpeed speed = UsbSpeed.Super)
    {
        var store = new HeldStore(4096);
        store.Inner.Load(0, BotHost.Pattern(4096 * 512));
        var host = new UasHost(store, speed);
        store.Hold = true;
        return (host, store);
    }

    private static byte[] Stored(HeldStore store, int sector, int count)
    {
        byte[] bytes = new byte[count * 512];
        store.Inner.Save(sector * 512, bytes);
        return bytes;
    }

    [Theory]
    [InlineData(
        UsbSpeed.High,
        "09040000020806500007058102000200070502020002000904000104080662000705030200020004240100070584020002000424020007058502000200042403000705060200020004240400")]
    [InlineData(
        UsbSpeed.Super,
        "09040000020806500007058102000400" + "06300f000000" + "07050202000400" + "06300f000000" + "090400010408066200"
        + "07050302000400" + "06300f000000" + "04240100" + "07058402000400" + "06300f050000" + "04240200"
        + "07058502000400" + "06300f050000" + "04240300" + "07050602000400" + "06300f050000" + "04240400")]
    public void Descriptors_have_bulk_only_first_and_four_pipes_with_their_usage_second(UsbSpeed speed, string expected)
    {
        var bench = new DeviceBench(new DiskDevice(new MemoryBlockStore(64), new DiskOptions { Speed = speed, Uas = true }));

        byte[] block = bench.Control(0x80, 6, 0x0200, length: 255).Data;

        Assert.Equal(block.Length, block[2] | (block[3] << 8));
        Assert.Equal(expected, Convert.ToHexStringLower(block.AsSpan(9)));
    }

    [Fact]
    public void Other_speed_configuration_of_a_high_speed_disk_has_no_uas()
    {
        UasHost host = Ready(UsbSpeed.High);

        byte[] block = host.Bench.Control(0x80, 6, 0x0700, length: 255).Data;

        Assert.Equal(32, block.Length);
    }

    [Fact]
    public void Full_speed_is_refused() =>
        Assert.Throws<ArgumentException>(() => new DiskDevice(new MemoryBlockStore(64), new DiskOptions { Speed = UsbSpeed.Full, Uas = true }));

    [Theory]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Inquiry_says_that_commands_are_queued_in_this_setting_only(UsbSpeed speed)
    {
        UasHost host = Ready(speed);
        UsbRequest data = host.PostIn(3, 64), status = host.PostStatus(3), ready = host.PostStatus(3);
        host.Command(3, Inquiry);

        Assert.Equal(36, data.ActualLength);
        Assert.Equal(2, host.Data(data)[7] & 2);
        Assert.Equal("3 tag 3 status 00", host.Unit(host.Streams ? status : ready));
        var plain = new BotHost(new MemoryBlockStore(64), new DiskOptions { Speed = speed, Uas = true });
        Assert.Equal(0, plain.Ask(Inquiry, 36)[7]);
    }

    [Fact]
    public void Bulk_only_commands_work_in_the_first_setting_and_again_after_a_switch_back()
    {
        UasHost host = Ready();

        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0xa1, 0xfe, length: 1).Status);
        Assert.Equal(RequestStatus.Stall, host.Bench.Control(0x21, 0xff).Status);
        Assert.Equal(RequestStatus.TransactionError, host.Bench.StatusOf(host.Bench.Submit(BotHost.In, TransferKind.Bulk, 0, 13)));
        Assert.Equal(RequestStatus.Success, host.Bench.SelectAlternate(0, 0));
        Assert.Equal(RequestStatus.Success, host.Bench.Control(0xa1, 0xfe, length: 1).Status);
        Assert.Equal(RequestStatus.TransactionError, host.Bench.StatusOf(host.PostStatus(1)));
    }

    [Fact]
    public void Stream_read_and_write_move_data_whatever_order_the_host_posts_in()
    {
        UasHost host = Ready();
        byte[] data = BotHost.Pattern(8192, 9);
        UsbRequest status = host.PostStatus(5);
        host.Command(5, UasHost.Write10(100, 16));
        Assert.Equal("-", host.Unit(status));
        host.PostOut(5, data);
        Assert.Equal("3 tag 5 status 00", host.Unit(status));

        host.Bench.Forget();
        UsbRequest back = host.PostIn(7, 8192);
        host.Command(7, UasHost.Read10(100, 16));
        Assert.False(host.IsOpen(back));
        Assert.Equal("3 tag 7 status 00", host.Unit(host.PostStatus(7)));
        Assert.Equal(data, host.Data(back));
    }

    [Fact]
    public void Without_streams_ready_units_name_the_task_that_a_data_pipe_serves()
    {
        UasHost host = Ready(UsbSpeed.High);
        byte[] data = BotHost.Pattern(1024, 3);
        UsbRequest first = host.PostStatus(1), second = host.PostStatus(2), third = host.PostStatus(3), fourth = host.PostStatus(4), fifth = host.PostStatus(5), sixth = host.PostStatus(6);

        host.Command(9, UasHost.Write10(4, 2));
        host.Command(10, UasHost.Read10(8, 1));
        host.Command(11, UasHost.Read10(9, 1));

        Assert.Equal(("7 tag 9 length 4", "6 tag 10 length 4", "-"), (host.Unit(first), host.Unit(second), host.Unit(third)));
        UsbRequest read = host.PostIn(10, 512);
        Assert.Equal("3 tag 10 status 00", host.Unit(third));
        Assert.Equal("6 tag 11 length 4", host.Unit(fourth));
        host.PostOut(9, data);
        Assert.Equal("3 tag 9 status 00", host.Unit(fifth));
        UsbRequest other = host.PostIn(11, 512);
        Assert.Equal("3 tag 11 status 00", host.Unit(sixth));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(8 * 512, 512).ToArray(), host.Data(read));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(9 * 512, 512).ToArray(), host.Data(other));
    }

    [Fact]
    public void Data_posted_before_its_ready_unit_is_taken_waits_for_that()
    {
        UasHost host = Ready(UsbSpeed.High);
        UsbRequest read = host.PostIn(1, 512), write = host.PostOut(2, new byte[512]);
        host.Command(1, UasHost.Read10(8, 1));
        host.Command(2, UasHost.Write10(9, 1));
        Assert.True(host.IsOpen(read) && host.IsOpen(write));
        host.Move(Filled(), read, write);
        Assert.True(host.IsOpen(read) && host.IsOpen(write));

        string[] units = [host.Unit(host.PostStatus(0)), host.Unit(host.PostStatus(0)), host.Unit(host.PostStatus(0)), host.Unit(host.PostStatus(0))];

        Assert.Equal(["6 tag 1 length 4", "7 tag 2 length 4", "3 tag 1 status 00", "3 tag 2 status 00"], units);
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(8 * 512, 512).ToArray(), host.Data(read));
    }

    [Theory]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Commands_in_flight_are_with_the_store_together_and_end_in_the_order_of_the_store(UsbSpeed speed)
    {
        (UasHost host, HeldStore store) = Held(speed);
        UsbRequest[] statuses = Enumerable.Range(1, 32).Select(tag => host.PostStatus(tag)).ToArray();
        UsbRequest[] data = speed == UsbSpeed.Super ? Enumerable.Range(1, 16).Select(tag => host.PostIn(tag, 4096)).ToArray() : [];
        for (int tag = 1; tag <= 16; tag++) host.Command(tag, UasHost.Read10(tag * 8, 8));
        Assert.Equal(16, store.Held.Count);

        for (int tag = 16; tag >= 1; tag--)
        {
            store.Release(tag - 1);
            UsbRequest request = speed == UsbSpeed.Super ? data[tag - 1] : host.PostIn(tag, 4096);
            Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(tag * 4096, 4096).ToArray(), host.Data(request));
            int at = (16 - tag) * 2;
            if (speed == UsbSpeed.High) Assert.Equal($"6 tag {tag} length 4", host.Unit(statuses[at]));
            Assert.Equal($"3 tag {tag} status 00", host.Unit(speed == UsbSpeed.Super ? statuses[tag - 1] : statuses[at + 1]));
        }
    }

    [Theory]
    [InlineData(UsbSpeed.High, 0x29)]
    [InlineData(UsbSpeed.Super, 0x20)]
    public void Task_set_takes_32_commands_and_refuses_the_next(UsbSpeed speed, int last)
    {
        (UasHost host, HeldStore store) = Held(speed);
        for (int tag = 1; tag <= 32; tag++) host.Command(tag, Flush);
        Assert.Equal(32, store.Held.Count);
        if (speed == UsbSpeed.High)
        {
            UsbRequest status = host.PostStatus(last);
            host.Command(last, Flush);
            Assert.Equal($"3 tag {last} status 28", host.Unit(status));
        }

        store.Release(store.Held.Count - 1);
        Assert.Equal("3 tag 32 status 00", host.Unit(host.PostStatus(32)));
        host.Command(last, Flush);
        Assert.Equal(32, store.Held.Count);
    }

    [Theory]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Overlapped_tag_ends_both_commands_with_one_response(UsbSpeed speed)
    {
        (UasHost host, HeldStore store) = Held(speed);
        host.Command(4, Flush);
        UsbRequest status = host.PostStatus(4), next = host.PostStatus(4);

        host.Command(4, Flush);
        store.ReleaseAll();

        Assert.Equal("4 tag 4 code 0a length 8", host.Unit(status));
        Assert.Equal("-", host.Unit(next));
        host.Command(4, "00");
        Assert.Equal("3 tag 4 status 00", host.Unit(next));
    }

    public static TheoryData<byte[], string> BadUnits() => new()
    {
        { [9, 0, 0, 2], "4 tag 2 code 02 length 8" },
        { [1, 0, 0, 2, 0, 0, 0, 0], "4 tag 2 code 02 length 8" },
        { UasHost.CommandUnit(2, "00")[..31], "4 tag 2 code 02 length 8" },
        { UasHost.TaskUnit(2, 1)[..15], "4 tag 2 code 02 length 8" },
        { AddCdb(UasHost.CommandUnit(2, "00"), 4), "4 tag 2 code 02 length 8" },
        { [.. AddCdb(UasHost.CommandUnit(2, "7f"), 16), .. new byte[16]], "3 tag 2 status 02 sense 5/20/00" },
        { UasHost.CommandUnit(2, "00", lun: 1), "3 tag 2 status 02 sense 5/25/00" },
        { UasHost.CommandUnit(2, "00", lun: 1UL << 48), "3 tag 2 status 02 sense 5/25/00" },
        { UasHost.CommandUnit(2, "ff"), "3 tag 2 status 02 sense 5/20/00" },
        { UasHost.CommandUnit(2, UasHost.Read10(4095, 2)), "3 tag 2 status 02 sense 5/21/00" },
        { UasHost.CommandUnit(2, "00", attribute: 4), "3 tag 2 status 02 sense 5/0e/03" },
    };

    private static byte[] AddCdb(byte[] unit, int bytes)
    {
        unit[6] = (byte)bytes;
        return unit;
    }

    [Theory]
    [MemberData(nameof(BadUnits))]
    public void Bad_unit_gets_its_answer_and_the_next_command_works(byte[] unit, string answer)
    {
        foreach (UsbSpeed speed in (UsbSpeed[])[UsbSpeed.High, UsbSpeed.Super])
        {
            UasHost host = Ready(speed);
            UsbRequest status = host.PostStatus(2), next = host.PostStatus(2);

            UsbRequest sent = host.Send(unit);
            host.Command(2, "00");

            Assert.Equal((RequestStatus.Success, unit.Length), (host.Bench.StatusOf(sent), sent.ActualLength));
            Assert.Equal(answer, host.Unit(status));
            Assert.Equal("3 tag 2 status 00", host.Unit(next));
        }
    }

    [Theory]
    [InlineData(UsbSpeed.Super, "01 00 00 00")]
    [InlineData(UsbSpeed.Super, "01 00 00 21 00 00 00 00")]
    [InlineData(UsbSpeed.Super, "01 00 00")]
    [InlineData(UsbSpeed.Super, "")]
    [InlineData(UsbSpeed.High, "05 00 00 00")]
    public void Unit_that_cannot_be_answered_halts_the_command_pipe_until_it_is_cleared(UsbSpeed speed, string unit)
    {
        UasHost host = Ready(speed);

        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.Send(BotHost.Hex(unit))));
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.Command(2, "00")));
        Assert.Equal(RequestStatus.Success, host.Bench.Control(0x02, 1, 0, UasHost.CommandPipe).Status);
        host.Command(2, "00");

        Assert.Equal("3 tag 2 status 00", host.Unit(host.PostStatus(2)));
    }

    [Fact]
    public void Stream_that_the_disk_does_not_have_is_not_answered()
    {
        UasHost host = Ready();
        Assert.Equal(RequestStatus.TransactionError, host.Bench.StatusOf(host.PostStatus(33)));
        Assert.True(host.IsOpen(host.PostStatus(32)));
    }

    [Fact]
    public void Transfer_longer_than_the_data_ends_with_what_there_was_before_the_status()
    {
        UasHost host = Ready();
        UsbRequest data = host.PostIn(2, 4096), status = host.PostStatus(2), none = host.PostIn(3, 512), third = host.PostStatus(3);
        host.Command(2, UasHost.Read10(0, 2));
        host.Command(3, "00");

        Assert.Equal((1024, 0), (data.ActualLength, none.ActualLength));
        Assert.Equal(("3 tag 2 status 00", "3 tag 3 status 00"), (host.Unit(status), host.Unit(third)));
        List<UsbRequest> order = [.. host.Bench.Completed];
        Assert.True(order.IndexOf(data) < order.IndexOf(status) && order.IndexOf(none) < order.IndexOf(third));
    }

    [Fact]
    public void Transfer_shorter_than_the_data_waits_for_the_next_one()
    {
        UasHost host = Ready();
        UsbRequest data = host.PostIn(2, 512), status = host.PostStatus(2);
        host.Command(2, UasHost.Read10(0, 2));

        Assert.Equal((512, "-"), (data.ActualLength, host.Unit(status)));
        UsbRequest rest = host.Post(UasHost.InPipe, 2, UasHost.DataAt(3), 512);
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(512, 512).ToArray(), host.Data(rest));
        Assert.Equal("3 tag 2 status 00", host.Unit(status));
    }

    [Fact]
    public void Data_out_longer_than_wanted_is_taken_and_forgotten_and_in_pieces_is_put_together()
    {
        (UasHost host, HeldStore store) = Held();
        store.Hold = false;
        byte[] data = BotHost.Pattern(2048, 5);
        UsbRequest status = host.PostStatus(2);
        host.Command(2, UasHost.Write10(10, 2));
        host.PostOut(2, data[..300]);
        UsbRequest rest = host.PostOut(2, data[300..]);

        Assert.Equal((1748, "3 tag 2 status 00"), (rest.ActualLength, host.Unit(status)));
        Assert.Equal(data[..1024], Stored(store, 10, 2));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(12 * 512, 512).ToArray(), Stored(store, 12, 1));
    }

    [Theory]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Medium_error_ends_the_data_and_comes_as_sense_with_its_own_command(UsbSpeed speed)
    {
        (UasHost host, HeldStore store) = Held(speed);
        store.Fault = operation => operation.Sector == 40 ? BlockResult.MediumError : null;
        store.Hold = false;
        UsbRequest[] statuses = [host.PostStatus(2), host.PostStatus(3), host.PostStatus(4), host.PostStatus(5)];
        UsbRequest bad = host.PostIn(2, 4096);
        host.Command(2, UasHost.Read10(40, 8));
        UsbRequest good = host.PostIn(3, 4096);
        host.Command(3, UasHost.Read10(48, 8));

        string[] units = statuses.Select(host.Unit).Where(u => u.StartsWith('3')).ToArray();
        Assert.Equal(["3 tag 2 status 02 sense 3/11/00", "3 tag 3 status 00"], units);
        Assert.Equal((0, 4096), (bad.ActualLength, good.ActualLength));
    }

    [Theory]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Abort_task_takes_one_command_out_and_leaves_the_others(UsbSpeed speed)
    {
        (UasHost host, HeldStore store) = Held(speed);
        host.Command(2, Flush);
        host.Command(3, Flush);

        Assert.Equal("4 tag 30 code 08 length 8", host.Manage(0x80, 2));
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(0x01, 2));
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(0x80, 2));
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(0x01, 2));
        UsbRequest status = host.PostStatus(3);
        store.ReleaseAll();
        Assert.Equal("3 tag 3 status 00", host.Unit(status));
        Assert.True(host.IsOpen(host.PostStatus(2)));
    }

    [Fact]
    public void Abort_without_streams_gives_the_data_pipe_to_the_next_task()
    {
        UasHost host = Ready(UsbSpeed.High);
        host.Command(2, UasHost.Read10(0, 1));
        host.Command(3, UasHost.Read10(5, 1));
        UsbRequest first = host.PostStatus(2), second = host.PostStatus(2), third = host.PostStatus(2), fourth = host.PostStatus(2);

        host.Send(UasHost.TaskUnit(30, 0x01, 2));

        Assert.Equal(("6 tag 2 length 4", "6 tag 3 length 4", "4 tag 30 code 00 length 8"), (host.Unit(first), host.Unit(second), host.Unit(third)));
        UsbRequest data = host.PostIn(3, 512);
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(5 * 512, 512).ToArray(), host.Data(data));
        Assert.Equal("3 tag 3 status 00", host.Unit(fourth));
    }

    [Theory]
    [InlineData(0x02, "3 tag 2 status 00")]
    [InlineData(0x04, "3 tag 2 status 00")]
    [InlineData(0x08, "3 tag 2 status 02 sense 6/29/00")]
    [InlineData(0x10, "3 tag 2 status 02 sense 6/29/00")]
    public void Task_set_functions_end_every_command_and_a_reset_raises_unit_attention(int function, string next)
    {
        (UasHost host, HeldStore store) = Held();
        UsbRequest status = host.PostStatus(2), third = host.PostStatus(3);
        host.Command(2, Flush);
        host.Command(3, UasHost.Read10(0, 8));

        Assert.Equal("4 tag 30 code 08 length 8", host.Manage(0x81));
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(function));
        Assert.Equal("4 tag 30 code 00 length 8", host.Manage(0x81));
        store.ReleaseAll();
        Assert.Equal(("-", "-"), (host.Unit(status), host.Unit(third)));
        host.Command(2, "00");
        Assert.Equal(next, host.Unit(status));
    }

    [Theory]
    [InlineData(0x40, 0UL, "04")]
    [InlineData(0x82, 0UL, "04")]
    [InlineData(0x01, 1UL << 48, "09")]
    [InlineData(0x08, 1UL, "09")]
    public void Task_management_that_cannot_be_done_is_refused(int function, ulong lun, string code) =>
        Assert.Equal($"4 tag 30 code {code} length 8", Ready().Manage(function, 0, lun));

    [Fact]
    public void Task_management_with_the_tag_of_a_command_is_refused_and_the_command_goes_on()
    {
        (UasHost host, HeldStore store) = Held();
        host.Command(30, Flush);

        Assert.Equal("4 tag 30 code 0a length 8", host.Manage(0x01, 5));
        UsbRequest status = host.PostStatus(30);
        store.ReleaseAll();
        Assert.Equal("3 tag 30 status 00", host.Unit(status));
    }

    [Fact]
    public void Ordered_command_waits_for_older_ones_and_younger_ones_for_it_but_not_task_management()
    {
        (UasHost host, HeldStore store) = Held();
        host.Command(1, Flush);
        UsbRequest ordered = host.Command(2, Flush, attribute: 2);
        UsbRequest younger = host.Command(3, "00");
        Assert.True(host.IsOpen(ordered));
        UsbRequest first = host.PostStatus(1), second = host.PostStatus(2), third = host.PostStatus(3);

        store.Release();
        Assert.Equal("3 tag 1 status 00", host.Unit(first));
        Assert.False(host.IsOpen(ordered));
        Assert.True(host.IsOpen(younger));
        store.Release();

        Assert.Equal(("3 tag 2 status 00", "3 tag 3 status 00"), (host.Unit(second), host.Unit(third)));
    }

    [Fact]
    public void Host_that_takes_no_answers_is_not_given_more_than_it_has_room_for()
    {
        UasHost host = Ready();
        var sent = new List<UsbRequest>();
        for (int i = 0; i < 40; i++) sent.Add(host.Send([9, 0, 0, 7]));
        Assert.Equal(32, sent.Count(r => !host.IsOpen(r)));

        for (int i = 0; i < 8; i++) Assert.Equal("4 tag 7 code 02 length 8", host.Unit(host.PostStatus(7)));

        Assert.All(sent, r => Assert.False(host.IsOpen(r)));
    }

    [Fact]
    public void Status_that_does_not_fit_or_cannot_be_written_stays()
    {
        UasHost host = Ready();
        host.Command(2, "ff");

        Assert.Equal("Babble", host.Unit(host.PostStatus(2, 8)));
        Assert.Equal("MemoryFault", host.Unit(host.Post(UasHost.StatusPipe, 2, 8 << 20, 64)));
        Assert.Equal("3 tag 2 status 02 sense 5/20/00", host.Unit(host.PostStatus(2)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Reset_or_another_setting_ends_all_commands_and_late_operations_disturb_nobody(bool reset)
    {
        (UasHost host, HeldStore store) = Held();
        UsbRequest status = host.PostStatus(2), data = host.PostIn(2, 4096);
        for (int tag = 2; tag < 34; tag++) host.Command(tag, UasHost.Read10(tag * 8, 8));
        if (reset)
        {
            host.Disk.Reset();
            Assert.Equal((RequestStatus.Cancelled, RequestStatus.Cancelled), (host.Bench.StatusOf(status), host.Bench.StatusOf(data)));
            host.Bench.Configure(1);
        }
        else
        {
            host.Bench.SelectAlternate(0, 0);
            Assert.Equal((RequestStatus.TransactionError, RequestStatus.TransactionError), (host.Bench.StatusOf(status), host.Bench.StatusOf(data)));
        }

        host.Bench.SelectAlternate(0, 1);
        UsbRequest again = host.PostStatus(2), back = host.PostIn(2, 4096);
        Assert.Equal("-", host.Unit(again));
        store.Hold = false;
        store.ReleaseAll();
        Assert.Equal((0, "-"), (back.ActualLength, host.Unit(again)));
        host.Command(2, UasHost.Read10(96, 8));

        Assert.Equal("3 tag 2 status 00", host.Unit(again));
        Assert.Equal(BotHost.Pattern(4096 * 512).AsSpan(96 * 512, 4096).ToArray(), host.Data(back));
    }

    [Fact]
    public void Cancelled_transfer_leaves_the_command_waiting_for_another()
    {
        (UasHost host, HeldStore store) = Held();
        UsbRequest status = host.PostStatus(2), data = host.PostIn(2, 4096);
        host.Command(2, UasHost.Read10(0, 8));
        host.Disk.Cancel(data);
        store.ReleaseAll();
        Assert.Equal((RequestStatus.Cancelled, "-"), (host.Bench.StatusOf(data), host.Unit(status)));

        Assert.Equal(4096, host.PostIn(2, 4096).ActualLength);
        Assert.Equal("3 tag 2 status 00", host.Unit(status));
    }

    [Fact]
    public void Halted_data_pipe_stalls_every_stream_and_works_again_when_cleared()
    {
        UasHost host = Ready();
        UsbRequest status = host.PostStatus(2);
        host.Command(2, UasHost.Read10(0, 8));
        Assert.Equal(RequestStatus.Success, host.Bench.Control(0x02, 3, 0, UasHost.InPipe).Status);
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.PostIn(2, 4096)));
        Assert.Equal(RequestStatus.Stall, host.Bench.StatusOf(host.PostIn(9, 4096)));
        Assert.Equal(RequestStatus.Success, host.Bench.Control(0x02, 1, 0, UasHost.InPipe).Status);

        Assert.Equal(4096, host.PostIn(2, 4096).ActualLength);
        Assert.Equal("3 tag 2 status 00", host.Unit(status));
    }

    [Fact]
    public void Parameter_lists_of_commands_in_flight_together_do_not_mix()
    {
        (UasHost host, HeldStore store) = Held();
        store.Hold = false;
        UsbRequest first = host.PostStatus(2), second = host.PostStatus(3);
        byte[] one = BotHost.Pattern(512, 1), two = BotHost.Pattern(512, 77);
        host.Command(2, "41 00 00 00 00 10 00 00 02 00");
        host.Command(3, "41 00 00 00 00 20 00 00 02 00");
        host.PostOut(3, two);
        host.PostOut(2, one);

        Assert.Equal(("3 tag 2 status 00", "3 tag 3 status 00"), (host.Unit(first), host.Unit(second)));
        Assert.Equal([.. one, .. one], Stored(store, 16, 2));
        Assert.Equal([.. two, .. two], Stored(store, 32, 2));
    }

    [Fact]
    public void Forced_write_ends_after_its_flush_and_sense_of_one_command_is_not_seen_by_another()
    {
        (UasHost host, HeldStore store) = Held();
        UsbRequest status = host.PostStatus(2), other = host.PostStatus(3);
        host.Command(2, UasHost.Write10(0, 8, fua: true));
        host.PostOut(2, new byte[4096]);
        store.Release();
        Assert.Equal("-", host.Unit(status));
        Assert.Equal(BlockOperationKind.Flush, store.Held[0].Kind);
        host.Command(3, "ff");
        store.Release();

        Assert.Equal(("3 tag 2 status 00", "3 tag 3 status 02 sense 5/20/00"), (host.Unit(status), host.Unit(other)));
        UsbRequest sense = host.PostIn(4, 18);
        host.Command(4, "03 00 00 00 12 00");
        Assert.Equal(0, host.Data(sense)[2]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Steady_state_allocates_nothing(bool direct)
    {
        var host = new UasHost(new MemoryBlockStore(4096, direct: direct), clearAttention: false);
        var probe = new UasProbe(host.Disk);
        probe.Run(20);
        long before = GC.GetAllocatedBytesForCurrentThread();
        probe.Run(200);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(220 * UasProbe.Depth * 3, probe.Completions);
    }
}
