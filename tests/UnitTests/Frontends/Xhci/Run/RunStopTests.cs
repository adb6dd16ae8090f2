using System.Collections.Generic;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Attacks;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Run;

/// <summary>R/S, Bus Master Enable and D3hot with transfers on the road (xHCI 1.2 §5.4.1.1; PCI 3.0 §6.2.2; PCI PM 1.2).</summary>
public sealed class RunStopTests
{
    private const int PciCommand = 4;

    [Fact]
    public void Stop_halts_at_once_and_no_event_comes_while_halted()
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");

        arena.Driver.WriteOperational(XhciDriver.UsbCommand, 4);
        uint halted = arena.Status & 1;
        arena.Device.CompleteNext();
        pipe.Kick();
        arena.Driver.RingDoorbell(0);
        long events = arena.Driver.EventCount;
        arena.Machine.AdvanceBy(100_000_000);
        arena.Driver.ProcessEvents();

        Assert.Equal(1u, halted);
        Assert.Equal(events, arena.Driver.EventCount);
        Assert.Equal(0u, arena.Driver.ReadOperational(XhciDriver.CommandRingControl) & 8);
    }

    // Whatever ended, was cut off or is still out while the controller was halted is told after the start, once and in order.
    [Fact]
    public void Stop_and_start_go_on_where_they_were_and_lose_nothing()
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(8192);
        GuestPipe input = arena.Pipe(Arena.BulkIn);
        GuestPipe output = arena.Pipe(Arena.BulkOut);
        var ids = new List<long>();
        for (int i = 0; i < 8; i++) ids.Add(input.Submit(buffer.Address, 512));
        long sent = output.Submit(buffer.Address, 1024);
        arena.Driver.Expect(() => arena.Device.Held.Count == 9, "the requests");

        arena.Driver.Halt();
        for (int i = 0; i < 3; i++) arena.Device.Complete(arena.Device.Held.First(r => r.Endpoint.IsIn));
        arena.Machine.AdvanceBy(50_000_000);
        int heldWhileHalted = arena.Device.Held.Count;
        arena.Driver.Run();
        arena.Machine.Step();
        int doneAfterStart = Reap(input).Count;
        while (arena.Device.Held.Count > 0) arena.Device.CompleteNext();
        var done = new List<long>();
        for (int i = 3; i < 8; i++) done.Add(input.Reap().Id);

        Assert.Equal(6, heldWhileHalted);
        Assert.Equal(3, doneAfterStart);
        Assert.Equal(ids.Skip(3), done);
        Assert.Equal((GuestCompletion.Success, 1024), (output.Wait(sent) is var last ? last.Code : default, last.Actual));
        Assert.True(arena.Driver.NoOpCommand().Ok);
    }

    // §4.6.9: no Stopped Transfer Event without a Stop Endpoint Command; a controller that halts tells none (HCCPARAMS1 has
    // no flag for it), and one that waited for its events tells the finished transfers after the start.
    [Fact]
    public void Halt_posts_no_stopped_event()
    {
        using var arena = new Arena();
        arena.Driver.EventLog = [];
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        long id = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");

        arena.Driver.Halt();
        arena.Machine.AdvanceBy(50_000_000);
        arena.Driver.Run();
        arena.Machine.AdvanceBy(50_000_000);
        arena.Driver.ProcessEvents();
        int stoppedEvents = arena.Driver.EventLog.Count(e => e.Type == GuestTrbType.TransferEvent);
        arena.Device.CompleteNext();

        Assert.Equal(0, stoppedEvents);
        Assert.Equal(GuestCompletion.Success, pipe.Wait(id).Code);
    }

    // PCI 3.0 §6.2.2: Bus Master Enable 0 in mid transfer: neither the controller nor a device's data touch memory.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Bus_master_off_in_mid_transfer_stops_all_dma_and_on_goes_on(bool isIn)
    {
        using var arena = new Arena { AllowsRefusals = true };
        UsbDeviceHandle zero = arena.Rig.PlugZero(connector: 2);
        GuestPipe pipe = zero.Pipe(TransferKind.Bulk, isIn);
        GuestBuffer data = arena.Rig.PatternBuffer(4096, 512);
        GuestPipe waiting = arena.Pipe(Arena.BulkIn);
        long first = waiting.Submit(data.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");

        arena.Machine.WriteConfig(PciCommand, 2, 2);
        arena.Machine.Memory.AccessLog = [];
        long second = pipe.Submit(data.Address, 4096);
        arena.Device.CompleteNext();
        arena.Driver.RingDoorbell(0);
        arena.Machine.AdvanceBy(100_000_000);
        int accesses = arena.Machine.Memory.AccessLog.Count;
        long messages = arena.Machine.MessageCount;
        arena.Machine.Memory.AccessLog = null;
        arena.Machine.WriteConfig(PciCommand, 2, 6);
        TransferCompletion one = waiting.Wait(first);
        TransferCompletion two = pipe.Wait(second);

        Assert.Equal(0, accesses);
        Assert.True(arena.Machine.MessageCount > messages);
        Assert.Equal(GuestCompletion.Success, one.Code);
        Assert.Equal((GuestCompletion.Success, 4096), (two.Code, two.Actual));
        Assert.Equal(0u, arena.Status & 0x1005);
    }

    // A device that answers while DMA is off finds no memory: its transfer fails, the controller does not.
    [Fact]
    public void Device_that_answers_with_bus_master_off_writes_nothing()
    {
        using var arena = new Arena { AllowsRefusals = true };
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        long id = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");

        arena.Machine.WriteConfig(PciCommand, 2, 2);
        bool filled = arena.Device.Fill(arena.Device.Held[0], [1, 2, 3]);
        arena.Device.CompleteNext(RequestStatus.MemoryFault, 0);
        arena.Machine.AdvanceBy(1_000_000);
        arena.Machine.WriteConfig(PciCommand, 2, 6);

        Assert.False(filled);
        Assert.Equal(GuestCompletion.DataBufferError, pipe.Wait(id).Code);
        Assert.Equal(new byte[512], arena.Rig.Bytes(buffer));
    }

    // §4.23, PCI PM 1.2 §5.4: D3hot in mid transfer; registers do not answer, nothing moves, D0 goes on.
    [Fact]
    public void D3hot_in_mid_transfer_and_back_loses_nothing()
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(1024);
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        long first = pipe.Submit(buffer.Address, 512);
        long second = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 2, "both requests");
        string before = arena.Inspected("/xhci/registers/usbcmd");

        int power = arena.Driver.Pci.FindCapability(1) + 4;
        arena.Machine.WriteConfig(power, 2, 3);
        uint asleep = arena.Status;
        arena.Machine.Memory.AccessLog = [];
        arena.Device.CompleteNext();
        arena.Machine.AdvanceBy(100_000_000);
        int accesses = arena.Machine.Memory.AccessLog.Count;
        arena.Machine.Memory.AccessLog = null;
        arena.Machine.WriteConfig(power, 2, 0);
        TransferCompletion one = pipe.Wait(first);
        arena.Device.CompleteNext();

        Assert.Equal(uint.MaxValue, asleep);
        Assert.Equal(0, accesses);
        Assert.Equal(before, arena.Inspected("/xhci/registers/usbcmd"));
        Assert.Equal(GuestCompletion.Success, one.Code);
        Assert.Equal(GuestCompletion.Success, pipe.Wait(second).Code);
    }

    // §4.9.4, §4.10.1: interrupter 1's ring is full when transfers end and their endpoint is stopped; not one event is lost,
    // and the command ends when software has made room there.
    [Fact]
    public void Event_ring_that_fills_up_loses_no_completion_and_no_transfer_event()
    {
        using var arena = new Arena(options: new XhciDriverOptions { Interrupters = 2, EventSegmentTrbs = 16, RingSegmentTrbs = 256 });
        arena.Driver.AutoAcknowledge = false;
        arena.Driver.ProcessEvents();
        arena.Driver.Acknowledge(0);
        int dci = arena.Pipe(Arena.BulkIn).Dci;
        arena.Driver.Register(arena.Handle.Slot, dci, null);
        GuestRing ring = arena.Pipe(Arena.BulkIn).Ring;
        var expected = new List<ulong>();
        for (int i = 0; i < 100; i++) expected.Add(ring.Enqueue(GuestTrb.NoOp(interrupter: 1)));
        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        arena.Machine.Step();
        var commands = new List<ulong>();
        for (int i = 0; i < 40; i++) commands.Add(arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.NoOpCommand)));
        commands.Add(arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, dci)));
        arena.Driver.RingDoorbell(0);

        var told = new List<ulong>();
        int finished = 0;
        for (int round = 0; round < 100; round++)
        {
            arena.Machine.AdvanceBy(1_000_000);
            while (arena.Driver.TryNextEvent(out GuestEvent next))
                if (next.Type == GuestTrbType.TransferEvent && next.Code == GuestCompletion.Success) told.Add(next.Pointer);
            foreach (ulong command in commands)
                if (arena.Driver.TryTakeCommand(command, out CommandResult result) && result.Ok) finished++;
            arena.Driver.Acknowledge(0);
            arena.Driver.Acknowledge(1);
        }

        arena.Driver.AutoAcknowledge = true;
        Assert.Equal(commands.Count, finished);
        Assert.Equal(told.Distinct(), told);
        Assert.Equal(expected.Take(told.Count), told);
        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        while (told.Count < 100) told.Add(arena.Driver.NextEvent(GuestTrbType.TransferEvent).Pointer);
        Assert.Equal(expected, told);
    }

    private static List<TransferCompletion> Reap(GuestPipe pipe)
    {
        var done = new List<TransferCompletion>();
        while (pipe.TryReap(out TransferCompletion next)) done.Add(next);
        return done;
    }
}
