using System;
using System.Linq;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Xhci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

public class InterrupterTests
{
    private const int Imod = 0x1024;

    [Fact]
    public void Event_sends_a_message_and_clears_Ip_by_itself()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        Assert.Equal([0], bench.Messages);
        Assert.Equal(2u, bench.Read(RegisterBench.Iman(0)));
        Assert.Equal(8u, bench.Read(RegisterBench.UsbSts));
        Assert.Equal(8u, bench.Read(0x1038) & 8);
        Assert.False(bench.Level);
    }

    [Fact]
    public void Handler_busy_holds_back_messages_until_Erdp_is_written()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Post();
        bench.Post();
        Assert.Equal([0], bench.Messages);
        bench.Consume(0, 0, 3);
        Assert.Equal([0], bench.Messages);
        bench.Post();
        Assert.Equal([0, 0], bench.Messages);
    }

    [Fact]
    public void Erdp_written_with_events_left_raises_again()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Post();
        bench.Consume(0, 0, 1);
        Assert.Equal([0, 0], bench.Messages);
    }

    [Fact]
    public void Erdp_written_without_Ehb_leaves_the_handler_busy()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Write(0x1038, (uint)RegisterBench.Ring + 0x10);
        bench.Post();
        Assert.Equal([0], bench.Messages);
        Assert.Equal(8u, bench.Read(0x1038) & 8);
    }

    [Fact]
    public void Erdp_written_twice_as_the_Intel_driver_does_raises_once()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Consume(0, 0, 1);
        bench.Consume(0, 0, 1);
        Assert.Equal([0], bench.Messages);
        bench.Post();
        Assert.Equal([0, 0], bench.Messages);
    }

    [Fact]
    public void Erdp_byte_writes_do_not_clear_Ehb_of_other_bytes()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Registers.Write(0x1039, 1, 0);
        Assert.Equal(8u, bench.Read(0x1038) & 8);
        bench.Registers.Write(0x1038, 1, 0x1d);
        Assert.Equal(0x15u, bench.Read(0x1038) & 0xff);
    }

    [Fact]
    public void Blocked_event_waits_for_one_that_is_not_blocked()
    {
        var bench = new RegisterBench();
        bench.Start();
        Assert.True(bench.Post(block: true));
        Assert.True(bench.Post(block: true));
        Assert.Empty(bench.Messages);
        Assert.Equal(0u, bench.Read(RegisterBench.UsbSts));
        Assert.True(bench.Post());
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Blocked_events_alone_do_not_raise_when_Erdp_is_written()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Consume(0, 0, 1);
        bench.Post(block: true);
        bench.Consume(0, 0, 1);
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Moderation_spaces_messages_by_the_interval()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Write(Imod, 160);
        bench.At(1_000_000);
        bench.Post();
        bench.Consume(0, 0, 1);
        Assert.Equal(160u | (160u << 16), bench.Read(Imod));
        bench.Post();
        Assert.Equal([0], bench.Messages);
        Assert.Equal(new VirtualTime(1_040_000), bench.Interrupters.NextDeadline);
        bench.At(1_039_999);
        Assert.Equal([0], bench.Messages);
        Assert.Equal(160u | (1u << 16), bench.Read(Imod));
        bench.At(1_040_000);
        Assert.Equal([0, 0], bench.Messages);
        Assert.Equal(VirtualTime.Never, bench.Interrupters.NextDeadline);
    }

    [Fact]
    public void Moderation_counter_written_as_zero_ends_the_wait()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Write(Imod, 4000);
        bench.Post();
        bench.Consume(0, 0, 1);
        bench.Post();
        Assert.Equal([0], bench.Messages);
        bench.Registers.Write(Imod, 2, 100);
        Assert.Equal([0], bench.Messages);
        bench.Write(Imod, 100);
        Assert.Equal([0, 0], bench.Messages);
    }

    [Fact]
    public void Moderation_that_software_outruns_by_emptying_the_ring_ends_quietly()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Write(Imod, 4000);
        bench.Post();
        bench.Consume(0, 0, 1);
        bench.Post();
        bench.Consume(0, 0, 2);
        Assert.Equal(VirtualTime.Never, bench.Interrupters.NextDeadline);
        bench.After(5_000_000);
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Imod_interval_after_reset_is_one_millisecond()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Registers.Write(Imod, 2, 4000);
        bench.Post();
        bench.Consume(0, 0, 1);
        bench.Post();
        Assert.Equal(new VirtualTime(1_000_000), bench.Interrupters.NextDeadline);
    }

    [Fact]
    public void Pin_follows_Ip_Ie_and_Inte()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.Post();
        Assert.True(bench.Level);
        Assert.Equal(3u, bench.Read(RegisterBench.Iman(0)));
        bench.Write(RegisterBench.Iman(0), 0);
        Assert.False(bench.Level);
        bench.Write(RegisterBench.Iman(0), 2);
        Assert.True(bench.Level);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.False(bench.Level);
        bench.Write(RegisterBench.UsbCmd, 5);
        Assert.True(bench.Level);
        bench.Write(RegisterBench.Iman(0), 3);
        Assert.False(bench.Level);
        Assert.Empty(bench.Messages);
    }

    [Fact]
    public void Pin_is_raised_again_by_Erdp_with_events_left_and_after_moderation()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.Write(Imod, 400);
        bench.Post();
        bench.Post();
        bench.Write(RegisterBench.Iman(0), 3);
        bench.Consume(0, 0, 1);
        Assert.False(bench.Level);
        bench.After(100_000);
        Assert.True(bench.Level);
    }

    [Fact]
    public void Pin_and_message_are_exchanged_when_the_guest_enables_messages()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.Post();
        Assert.True(bench.Level);
        bench.MessagesEnabled = true;
        bench.Registers.HostBusChanged();
        Assert.False(bench.Level);
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Message_waits_for_Ie_and_Inte()
    {
        var bench = new RegisterBench();
        bench.SetUpRing(0, 32);
        bench.Write(RegisterBench.Iman(0), 0);
        bench.Write(RegisterBench.UsbCmd, 1);
        bench.Post();
        Assert.Equal(1u, bench.Read(RegisterBench.Iman(0)));
        bench.Write(RegisterBench.Iman(0), 2);
        Assert.Empty(bench.Messages);
        bench.Write(RegisterBench.UsbCmd, 5);
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Polling_guest_that_clears_Ie_everywhere_gets_events_without_interrupts_OVMF()
    {
        var bench = new RegisterBench();
        bench.Start();
        for (int i = 0; i < 4; i++) bench.Write(RegisterBench.Iman(i), bench.Read(RegisterBench.Iman(i)) & ~2u);
        for (int i = 0; i < 5; i++) Assert.True(bench.Post(tag: (ulong)i));
        Assert.Empty(bench.Messages);
        Assert.False(bench.Level);
        Assert.Equal(4ul, bench.Event(0, 0, 4).Parameter);
        bench.Consume(0, 0, 5);
        Assert.True(bench.Post());
    }

    [Fact]
    public void Secondary_interrupter_has_its_own_ring_and_message()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.SetUpRing(2, 16);
        Assert.True(bench.Post(2, tag: 9));
        Assert.Equal([2], bench.Messages);
        Assert.Equal(9ul, bench.Event(2, 0, 0).Parameter);
        Assert.Equal(0u, bench.Event(0, 0, 0).Control);
    }

    [Fact]
    public void Secondary_interrupter_folds_to_the_primary_without_messages()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.SetUpRing(2, 16);
        Assert.True(bench.Post(2, tag: 9));
        Assert.Equal(9ul, bench.Event(0, 0, 0).Parameter);
        Assert.True(bench.Level);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(1023)]
    [InlineData(-1)]
    public void Interrupter_that_does_not_exist_folds_to_the_primary(int target)
    {
        var bench = new RegisterBench();
        bench.Start();
        Assert.True(bench.Post(target));
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Disabled_secondary_interrupter_keeps_the_event()
    {
        var bench = new RegisterBench();
        bench.Start();
        Assert.False(bench.Post(1));
        Assert.False(bench.Registers.IsDead);
    }

    [Fact]
    public void Halted_controller_posts_nothing()
    {
        var bench = new RegisterBench();
        bench.SetUpRing(0, 32);
        Assert.False(bench.Post());
        Assert.False(bench.Interrupters.HasRoom(0));
        Assert.Equal(0u, bench.Event(0, 0, 0).Control);
    }

    [Fact]
    public void Full_ring_raises_an_interrupt_for_its_error()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        while (bench.Interrupters.HasRoom(0)) bench.Post(block: true);
        Assert.Empty(bench.Messages);
        Assert.False(bench.Post(block: true));
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Events_on_all_interrupters_have_deadlines_of_their_own()
    {
        var bench = new RegisterBench();
        bench.Start();
        for (int i = 0; i < 4; i++)
        {
            bench.SetUpRing(i, 16);
            bench.Write(RegisterBench.Iman(i) + 4, (uint)(400 - (i * 100)));
            bench.Post(i);
            bench.Consume(i, 0, 1);
            bench.Post(i);
        }

        bench.Messages.Clear();
        for (int i = 3; i >= 0; i--)
        {
            VirtualTime next = bench.Interrupters.NextDeadline;
            Assert.Equal(new VirtualTime((ulong)(400 - (i * 100)) * 250), next);
            bench.At(next.Nanoseconds);
        }

        Assert.Equal([3, 2, 1, 0], bench.Messages);
    }

    [Fact]
    public void Message_that_targets_the_own_registers_does_not_recurse_LP_1905444()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.OnMessage = () =>
        {
            bench.Write(RegisterBench.Iman(0), 3);
            bench.Write(Imod, 0);
            bench.Consume(0, 0, 0);
        };
        bench.Post();
        Assert.Equal([0], bench.Messages);
        Assert.True(bench.Interrupters.NextDeadline <= bench.Registers.Now);
        bench.OnMessage = null;
        bench.After(0);
        Assert.Equal([0, 0], bench.Messages);
        Assert.Equal(VirtualTime.Never, bench.Interrupters.NextDeadline);
    }

    [Fact]
    public void Interrupts_enabled_by_a_guest_that_is_not_ready_wait_for_Erdp_Linux_4_6()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        bench.Registers.Write(0x1038, 8, RegisterBench.Ring);
        Assert.Equal([0], bench.Messages);
        Assert.True(bench.Interrupters.InterruptsEnabled);
        bench.Consume(0, 0, 0);
        Assert.Equal([0, 0], bench.Messages);
        bench.Consume(0, 0, 1);
        bench.Post();
        Assert.Equal([0, 0, 0], bench.Messages);
    }

    [Fact]
    public void Message_waits_for_bus_mastering()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Write(RegisterBench.Iman(0), 0);
        bench.Post();
        bench.DmaAllowed = false;
        bench.Write(RegisterBench.Iman(0), 2);
        Assert.Empty(bench.Messages);
        bench.DmaAllowed = true;
        bench.Registers.HostBusChanged();
        Assert.Equal([0], bench.Messages);
    }

    [Fact]
    public void Fault_without_a_listener_only_refuses_the_event()
    {
        var bench = new RegisterBench();
        bench.Start(3);
        bench.Interrupters.Fault = null;
        Assert.False(bench.Interrupters.HasRoom(0));
        Assert.False(bench.Post());
        Assert.False(bench.Registers.IsDead);
    }

    [Fact]
    public void Reset_drops_the_level_and_all_state()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.Post();
        bench.Write(RegisterBench.UsbCmd, 2);
        Assert.False(bench.Level);
        Assert.Equal(0u, bench.Read(RegisterBench.Iman(0)));
        Assert.Equal(4000u, bench.Read(Imod));
        Assert.Equal(0ul, bench.Registers.Read(0x1038, 8));
    }

    [Fact]
    public void Restored_level_is_driven()
    {
        var bench = new RegisterBench { MessagesEnabled = false };
        bench.Start();
        bench.Post();
        var other = new RegisterBench { MessagesEnabled = false };
        Assert.True(other.Interrupters.TryRestore(bench.Interrupters.Capture(), out _));
        Assert.True(other.Level);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(17)]
    public void Count_outside_its_range_is_refused(int count)
    {
        var bench = new RegisterBench();
        Assert.Throws<ArgumentOutOfRangeException>(() => new Interrupters(count, bench, bench));
        Assert.Equal(4, bench.Interrupters.Count);
        Assert.Equal(0u, bench.Interrupters.ReadRegister(0, RegisterEffect.None, 0));
        bench.Interrupters.WriteRegister(0, RegisterEffect.None, 0, 1, 1);
        Assert.Empty(bench.Messages.Concat(bench.Calls.Select(_ => 0)));
    }
}
