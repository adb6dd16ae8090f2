using System;
using System.Collections.Generic;
using System.Linq;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Xhci;

public class OperationalRegisterTests
{
    [Fact]
    public void Run_stop_changes_halted_within_the_write()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.Equal(1u, bench.Read(RegisterBench.UsbCmd));
        Assert.Equal(0u, bench.Read(RegisterBench.UsbSts));
        Assert.True(bench.Registers.Running);
        bench.Write(RegisterBench.UsbCmd, 0);
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
        Assert.True(bench.Registers.Halted);
        Assert.Equal(["run", "stop"], bench.Calls);
    }

    [Fact]
    public void Run_stop_is_not_touched_by_a_write_to_another_byte()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 5);
        bench.Registers.Write(RegisterBench.UsbCmd + 1, 1, 0x04);
        Assert.Equal(0x405u, bench.Read(RegisterBench.UsbCmd));
        Assert.Equal(["run"], bench.Calls);
    }

    [Fact]
    public void Hcrst_resets_registers_interrupters_and_status_at_once()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Write(RegisterBench.Config, 8);
        bench.Registers.Write(RegisterBench.Dcbaap, 8, 0x1_0000_0040);
        bench.Write(RegisterBench.LegSup, OsOwned);
        bench.Registers.RaiseHostControllerError();
        bench.Write(RegisterBench.UsbCmd, 0xc0e);
        Assert.Contains("reset", bench.Calls);
        Assert.Equal(0u, bench.Read(RegisterBench.UsbCmd));
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
        Assert.Equal(0u, bench.Read(RegisterBench.Config));
        Assert.Equal(0ul, bench.Registers.Dcbaap.Value);
        Assert.Equal(0u, bench.Read(RegisterBench.Iman(0)));
        Assert.Equal(0u, bench.Read(0x1028));
        Assert.False(bench.Registers.IsDead);
        Assert.Equal(OsOwned | 0x401, bench.Read(RegisterBench.LegSup));
    }

    [Fact]
    public void Lhcrst_keeps_the_ports()
    {
        var bench = new RegisterBench();
        bench.Attach(1, UsbSpeed.High);
        bench.Start();
        bench.ResetPort(1);
        uint before = bench.Port(1);
        bench.Write(RegisterBench.UsbCmd, 0x80);
        Assert.Contains("light reset", bench.Calls);
        Assert.Equal(before, bench.Port(1));
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
        Assert.Equal(0u, bench.Read(0x1028));
        bench.Ports.Reset(light: true);
        Assert.Equal(before, bench.Port(1));
    }

    [Theory]
    [InlineData(0x100u, true, false, "save")]
    [InlineData(0x100u, false, true, "save")]
    [InlineData(0x200u, true, false, "restore")]
    [InlineData(0x200u, false, true, "restore")]
    public void Save_and_restore_report_their_outcome_in_Sre(uint command, bool succeeds, bool error, string call)
    {
        var bench = new RegisterBench { SaveSucceeds = succeeds, RestoreSucceeds = succeeds };
        bench.Write(RegisterBench.UsbCmd, command);
        Assert.Equal([call], bench.Calls);
        Assert.Equal(error ? 0x401u : 1u, bench.Read(RegisterBench.UsbSts));
        Assert.Equal(0u, bench.Read(RegisterBench.UsbCmd));
        bench.Write(RegisterBench.UsbSts, 0x400);
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
    }

    [Fact]
    public void Save_success_clears_an_older_Sre()
    {
        var bench = new RegisterBench { RestoreSucceeds = false };
        bench.Write(RegisterBench.UsbCmd, 0x200);
        bench.Write(RegisterBench.UsbCmd, 0x100);
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
    }

    [Fact]
    public void Save_while_running_is_ignored()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 1);
        bench.Write(RegisterBench.UsbCmd, 0x101);
        Assert.Equal(["run"], bench.Calls);
    }

    [Fact]
    public void Host_system_error_stops_and_clears_with_one()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 9);
        bench.Registers.RaiseHostSystemError();
        Assert.Equal(0x5u, bench.Read(RegisterBench.UsbSts));
        Assert.Equal(8u, bench.Read(RegisterBench.UsbCmd));
        Assert.Equal(1u << 20, bench.Read(RegisterBench.LegCtlSts));
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.False(bench.Registers.Running);
        bench.Registers.Write(RegisterBench.UsbSts + 1, 1, 0xff);
        Assert.Equal(0x5u, bench.Read(RegisterBench.UsbSts));
        bench.Write(RegisterBench.UsbSts, 4);
        Assert.Equal(1u, bench.Read(RegisterBench.UsbSts));
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Registers.Running);
    }

    [Fact]
    public void Host_controller_error_stays_until_reset()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 1);
        bench.Registers.RaiseHostControllerError();
        bench.Write(RegisterBench.UsbSts, 0xffff_ffff);
        Assert.Equal(0x1001u, bench.Read(RegisterBench.UsbSts));
        Assert.True(bench.Registers.IsDead);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Registers.Halted);
    }

    [Fact]
    public void Event_ring_faults_are_logged_within_a_budget()
    {
        var logger = new ListLogger();
        var bench = new RegisterBench(logger: logger);
        for (int i = 0; i < 50; i++)
        {
            bench.Start(i % 2 == 0 ? 3 : 32);
            if (i % 2 != 0) bench.Registers.Write(0x1030, 8, 0xffff_0000_0000);
            Assert.False(bench.Post());
            Assert.True(bench.Registers.IsDead);
            bench.Write(RegisterBench.UsbCmd, 2);
        }

        Assert.Equal(10, logger.Lines.Count);
        Assert.Contains("16", logger.Lines[0], StringComparison.Ordinal);
        Assert.Contains("mapped", logger.Lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Restore_lets_event_rings_go_on_after_Erstba_was_written_anew_as_Linux_does()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        for (int i = 0; i < 20; i++)
        {
            Assert.True(bench.Post());
            bench.Consume(0, 0, (i + 1) % 16);
        }

        bench.Write(RegisterBench.UsbCmd, 0);
        bench.Write(RegisterBench.UsbCmd, 0x100);
        var other = new RegisterBench();
        Assert.True(other.Interrupters.TryRestore(bench.Interrupters.Capture(), out string error), error);
        other.Write(RegisterBench.UsbCmd, 2);
        other.SetUpRing(0, 16);
        other.Consume(0, 0, 4);
        other.Write(RegisterBench.UsbCmd, 0x200);
        other.Write(RegisterBench.UsbCmd, 5);
        Assert.True(other.Post(tag: 20));
        Assert.Equal(20ul, other.Event(0, 0, 4).Parameter);
        Assert.False(other.Event(0, 0, 4).Cycle);
    }

    [Fact]
    public void Restore_with_another_segment_table_starts_the_ring_over()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        Assert.True(bench.Post());
        bench.Write(RegisterBench.UsbCmd, 0);
        bench.Write(RegisterBench.UsbCmd, 0x100);
        bench.WriteEntry(RegisterBench.Erst + 0x800, 0, RegisterBench.Ring, 16);
        bench.Registers.Write(0x1030, 8, RegisterBench.Erst + 0x800);
        bench.Write(RegisterBench.UsbCmd, 0x200);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post(tag: 8));
        Assert.Equal(8ul, bench.Event(0, 0, 0).Parameter);
    }

    [Fact]
    public void Restore_after_a_run_leaves_the_rings_where_they_are()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        bench.Write(RegisterBench.UsbCmd, 0);
        bench.Write(RegisterBench.UsbCmd, 0x100);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post());
        bench.Write(RegisterBench.UsbCmd, 0);
        bench.Write(RegisterBench.UsbCmd, 0x200);
        bench.Write(RegisterBench.UsbCmd, 1);
        Assert.True(bench.Post(tag: 1));
        Assert.Equal(1ul, bench.Event(0, 0, 1).Parameter);
    }

    [Fact]
    public void Chip_reset_resets_the_extended_capabilities_too()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.UsbCmd, 0x100);
        bench.Write(RegisterBench.LegSup, OsOwned);
        bench.Registers.Reset();
        Assert.NotNull(bench.Interrupters.Capture().SavedRings);
        Assert.Equal(OsOwned | 0x401, bench.Read(RegisterBench.LegSup));
        bench.Registers.Reset(chip: true);
        Assert.Equal(0x401u, bench.Read(RegisterBench.LegSup));
        Assert.Equal(0u, bench.Read(RegisterBench.LegCtlSts));
        Assert.Null(bench.Interrupters.Capture().SavedRings);
    }

    [Fact]
    public void Crcr_halves_in_either_order_make_one_pointer()
    {
        foreach (bool lowFirst in new[] { true, false })
        {
            var bench = new RegisterBench();
            bench.Write(lowFirst ? RegisterBench.Crcr : RegisterBench.Crcr + 4, lowFirst ? 0x4000_0041u : 0x12);
            bench.Write(lowFirst ? RegisterBench.Crcr + 4 : RegisterBench.Crcr, lowFirst ? 0x12u : 0x4000_0041);
            Assert.Equal(0x12_4000_0040ul, bench.Registers.CommandRingPointer.Value);
            Assert.True(bench.Registers.CommandRingCycle);
            Assert.True(bench.Registers.CommandRingWritten);
            Assert.Equal(0ul, bench.Registers.Read(RegisterBench.Crcr, 8));
        }
    }

    [Fact]
    public void Crcr_written_while_running_takes_stop_and_abort_only()
    {
        var bench = new RegisterBench();
        bench.Registers.Write(RegisterBench.Crcr, 8, 0x1_0000_0041);
        bench.Registers.CommandRingWritten = false;
        bench.Registers.CommandRingRunning = true;
        bench.Registers.Write(RegisterBench.Crcr, 8, 0x7_0000_1000);
        bench.Write(RegisterBench.Crcr, 0x2002);
        bench.Write(RegisterBench.Crcr, 0x2006);
        Assert.Equal(["command stop", "abort"], bench.Calls);
        Assert.Equal(0x1_0000_0040ul, bench.Registers.CommandRingPointer.Value);
        Assert.False(bench.Registers.CommandRingWritten);
        Assert.Equal(8ul, bench.Registers.Read(RegisterBench.Crcr, 8));
    }

    [Fact]
    public void Crcr_high_half_after_an_abort_that_ends_at_once_is_no_new_pointer()
    {
        var bench = new RegisterBench();
        bench.OnCommandRingStop = () => bench.Registers.CommandRingRunning = false;
        bench.Registers.CommandRingRunning = true;
        bench.Registers.Write(RegisterBench.Crcr, 8, 0x1_0000_2004);
        Assert.Equal(["abort"], bench.Calls);
        Assert.False(bench.Registers.CommandRingWritten);
    }

    [Fact]
    public void Config_fields_reach_the_core()
    {
        var bench = new RegisterBench(slots: 8);
        bench.Write(RegisterBench.Config, 0x3ff);
        Assert.Equal(8, bench.Registers.MaxSlotsEnabled);
        Assert.True(bench.Registers.U3EntryEnabled);
        Assert.True(bench.Registers.ConfigurationInformationEnabled);
        Assert.True(bench.Ports.ReportU3Entry);
        bench.Write(RegisterBench.Config, 5);
        Assert.Equal(5, bench.Registers.MaxSlotsEnabled);
        Assert.False(bench.Registers.U3EntryEnabled);
    }

    [Fact]
    public void Doorbells_ring_with_the_value_written()
    {
        var bench = new RegisterBench(slots: 8);
        bench.Write(0x2000, 0);
        bench.Write(0x2004, 0x0002_0003);
        bench.Registers.Write(0x2008, 8, 0x0000_0004_0000_0005);
        bench.Registers.Write(0x2010, 1, 1);
        bench.Registers.Write(0x2012, 2, 7);
        bench.Write(0x2000 + (9 * 4), 1);
        Assert.Equal(["doorbell 0 0x0", "doorbell 1 0x20003", "doorbell 2 0x5", "doorbell 3 0x4", "doorbell 4 0x1"], bench.Calls);
        Assert.Equal(0u, bench.Read(0x2004));
    }

    [Fact]
    public void Mfindex_counts_only_while_running()
    {
        var bench = new RegisterBench();
        bench.At(1_000_000);
        Assert.Equal(0u, bench.Read(RegisterBench.MfIndex));
        bench.Write(RegisterBench.UsbCmd, 1);
        bench.At(1_000_000 + (10 * 125_000));
        Assert.Equal(10u, bench.Read(RegisterBench.MfIndex));
        Assert.Equal(8ul, bench.Registers.MfindexOrigin);
        bench.Write(RegisterBench.UsbCmd, 0);
        bench.After(50 * 125_000);
        Assert.Equal(10u, bench.Read(RegisterBench.MfIndex));
        bench.Write(RegisterBench.UsbCmd, 1);
        bench.After((16384 - 10) * 125_000ul);
        Assert.Equal(0u, bench.Read(RegisterBench.MfIndex));
    }

    [Fact]
    public void Mfindex_wrap_event_comes_once_per_wrap_and_only_when_enabled()
    {
        const ulong Wrap = 16384 * 125_000ul;
        var bench = new RegisterBench();
        bench.Start();
        Assert.Equal(VirtualTime.Never, bench.Registers.NextDeadline);
        bench.At(Wrap);
        Assert.Equal(0, bench.Count(TrbType.MicroframeIndexWrapEvent));
        bench.Write(RegisterBench.UsbCmd, 0x405);
        Assert.Equal(new VirtualTime(2 * Wrap), bench.Registers.NextDeadline);
        bench.At((2 * Wrap) - 1);
        Assert.Equal(0, bench.Count(TrbType.MicroframeIndexWrapEvent));
        bench.At(2 * Wrap);
        bench.At(2 * Wrap);
        Assert.Equal(1, bench.Count(TrbType.MicroframeIndexWrapEvent));
        bench.At((5 * Wrap) + 1);
        Assert.Equal(2, bench.Count(TrbType.MicroframeIndexWrapEvent));
        Assert.Equal(new VirtualTime(6 * Wrap), bench.Registers.NextDeadline);
        bench.Write(RegisterBench.UsbCmd, 0x5);
        Assert.Equal(VirtualTime.Never, bench.Registers.NextDeadline);
    }

    [Fact]
    public void Mfindex_wrap_event_waits_for_room()
    {
        var bench = new RegisterBench();
        bench.Start(16);
        bench.Write(RegisterBench.UsbCmd, 0x405);
        while (bench.Post()) { }
        bench.At(16384 * 125_000ul);
        Assert.Equal(0, bench.Count(TrbType.MicroframeIndexWrapEvent, 16));
        bench.Consume(0, 0, 10);
        Assert.Equal(1, bench.Count(TrbType.MicroframeIndexWrapEvent, 16));
    }

    [Fact]
    public void Usblegsup_takes_the_os_semaphore_by_byte_and_notes_the_change()
    {
        var bench = new RegisterBench();
        bench.Registers.Write(RegisterBench.LegSup + 3, 1, 1);
        Assert.Equal(OsOwned | 0x401, bench.Read(RegisterBench.LegSup));
        Assert.Equal(0x2000_0000u, bench.Read(RegisterBench.LegCtlSts));
        bench.Registers.Write(RegisterBench.LegCtlSts, 2, 0);
        Assert.Equal(0x2000_0000u, bench.Read(RegisterBench.LegCtlSts));
        bench.Write(RegisterBench.LegCtlSts, 0xe000_0000);
        Assert.Equal(0u, bench.Read(RegisterBench.LegCtlSts));
    }

    [Fact]
    public void Usblegctlsts_takes_stray_writes_of_Haiku()
    {
        var bench = new RegisterBench();
        bench.Write(RegisterBench.LegCtlSts, 0xffff_ffff);
        Assert.Equal(0xe011u, bench.Read(RegisterBench.LegCtlSts));
        bench.Write(RegisterBench.LegCtlSts, 0xe000_0000);
        Assert.Equal(0u, bench.Read(RegisterBench.LegCtlSts));
    }

    [Fact]
    public void Usblegctlsts_shadows_the_event_interrupt()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.Post();
        Assert.Equal(1u << 16, bench.Read(RegisterBench.LegCtlSts));
        Assert.Equal(8u, bench.Read(RegisterBench.UsbSts));
        bench.Write(RegisterBench.UsbSts, 8);
        Assert.Equal(0u, bench.Read(RegisterBench.LegCtlSts));
    }

    [Fact]
    public void Bus_change_lets_everybody_try_again()
    {
        var bench = new RegisterBench(interrupters: 2) { DmaAllowed = false };
        bench.Start();
        bench.Attach(1, UsbSpeed.High);
        Assert.False(bench.Post());
        Assert.False(bench.Interrupters.HasRoom(0));
        bench.Calls.Clear();
        bench.DmaAllowed = true;
        bench.Registers.HostBusChanged();
        Assert.Equal(["room 0", "room 1"], bench.Calls);
        Assert.Equal(1, bench.Count(TrbType.PortStatusChangeEvent));
    }

    [Fact]
    public void State_restored_into_a_new_controller_shows_the_same_tree()
    {
        var bench = new RegisterBench();
        bench.Start();
        bench.At(777_777);
        bench.Write(RegisterBench.UsbCmd, 0x405);
        bench.Registers.Write(RegisterBench.Crcr, 8, 0x5_0000_0041);
        bench.Registers.Write(RegisterBench.Dcbaap, 8, 0x6_0000_0040);
        bench.Write(RegisterBench.LegSup, OsOwned);
        var other = new RegisterBench();
        other.Registers.Now = bench.Registers.Now;
        Assert.True(other.Registers.TryRestore(bench.Registers.Capture(), out string error), error);
        Assert.Equal(InspectWriter.Dump(bench.Registers), InspectWriter.Dump(other.Registers));
        Assert.Equal(bench.Registers.NextDeadline, other.Registers.NextDeadline);
        Assert.Empty(other.Calls);
    }

    [Fact]
    public void State_that_no_controller_can_have_is_refused()
    {
        var bench = new RegisterBench();
        XhciRegistersStateV1 good = bench.Registers.Capture();
        XhciRegistersStateV1[] bad =
        [
            good with { Words = null! },
            good with { Words = [1] },
            good with { Words = [.. good.Words.Select((w, i) => i == 1 ? 0x1_0000 : w)] },
            good with { Words = [.. good.Words.Select((w, i) => i == 0 ? 1 : w)] },
            good with { Errors = 0x8000 },
            good with { Errors = 4, Running = true },
            good with { FrozenMicroframe = 1 << 14 },
            good with { NextWrap = 1 },
        ];
        foreach (XhciRegistersStateV1 state in bad)
        {
            Assert.False(bench.Registers.TryRestore(state, out string error));
            Assert.NotEmpty(error);
        }

        Assert.False(bench.Registers.TryRestore(null!, out _));
        Assert.True(bench.Registers.TryRestore(good, out _));
    }

    private const uint OsOwned = 1u << 24;

    private sealed class ListLogger : ILogger
    {
        public List<string> Lines { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Lines.Add(formatter(state, exception));
    }
}
