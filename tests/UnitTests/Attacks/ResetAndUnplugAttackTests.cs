using System;
using System.Linq;
using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Devices that go, endpoints that stop and controllers that reset while transfers are out.</summary>
public sealed class ResetAndUnplugAttackTests
{
    private const uint Ioc = GuestTrb.InterruptOnCompletion;

    // CVE-2016-7466 (unplug with MSI-X enabled leaked): plug and unplug with vectors masked and pending.
    [Fact]
    public void Unplug_with_msi_x_masked_and_pending_leaves_nothing_behind()
    {
        using var arena = new Arena();
        arena.Driver.Pci.MaskMsiX(0, true);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
        arena.Machine.AdvanceBy(1_000_000);

        for (int i = 0; i < 50; i++)
        {
            arena.Machine.Detach(1);
            arena.Machine.AdvanceBy(1_000_000);
            arena.Machine.Attach(1, Arena.NewDevice(UsbSpeed.High));
            arena.Machine.AdvanceBy(1_000_000);
        }

        Assert.True(arena.Driver.Pci.MsiXPending(0));
        arena.Machine.Reset();
        Assert.Equal(0, arena.TransfersInUse());
        Assert.False(arena.Machine.Pci.MessagesEnabled);
        arena.Driver.AttachPci();
        Assert.False(arena.Driver.Pci.MsiXPending(0));
    }

    // 236846a019 (unplug in mid TD), on each kind of endpoint, with parts of the TD moved.
    [Theory]
    [InlineData(Arena.BulkIn)]
    [InlineData(Arena.BulkOut)]
    [InlineData(Arena.InterruptIn)]
    [InlineData(Arena.IsochIn)]
    [InlineData(Arena.IsochOut)]
    public void Unplug_in_mid_td_ends_it_and_the_next_device_works(byte endpoint)
    {
        using var arena = new Arena();
        bool isoch = endpoint is Arena.IsochIn or Arena.IsochOut;
        arena.Put(0, isoch ? GuestTrb.Isoch(arena.Hostile + 0x8000, 256, null, 0, 0, GuestTrb.Chain) : GuestTrb.Normal(arena.Hostile + 0x8000, 256, GuestTrb.Chain));
        arena.Put(1, GuestTrb.Normal(arena.Hostile + 0x8200, 256, GuestTrb.Chain));
        arena.Put(2, GuestTrb.Normal(arena.Hostile + 0x8400, 512, Ioc));
        int dci = arena.Loose(endpoint);
        arena.Driver.Expect(() => arena.Device.Held.Count > 0, "the request");
        arena.Device.Held[0].ActualLength = 600;

        arena.Machine.Detach(1);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);
        CommandResult closed = arena.Handle.Close();

        Assert.Equal((GuestCompletion.TransactionError, dci), (told.Code, told.Dci));
        Assert.True(closed.Ok);
        Assert.Equal(0, arena.TransfersInUse());
        arena.AssertWorks(connector: 1);
    }

    // 7cec2ed9d7, c9e3859262, 34b9d6a1f8 (leaks): transfers ended in every way there is give everything back.
    [Theory]
    [InlineData("disable slot")]
    [InlineData("reset device")]
    [InlineData("drop endpoint")]
    [InlineData("deconfigure")]
    [InlineData("stop and move")]
    [InlineData("port reset")]
    [InlineData("unplug")]
    [InlineData("hcrst")]
    [InlineData("light reset")]
    [InlineData("bus reset")]
    public void Transfers_ended_by_force_give_everything_back(string way)
    {
        using var arena = new Arena();
        for (int round = 0; round < 3; round++)
        {
            UsbDeviceHandle handle = round == 0 ? arena.Handle : Plug(arena);
            GuestBuffer buffer = arena.Driver.AllocateBuffer(65536);
            FakeDevice device = (FakeDevice)arena.Machine.Pipeline.AttachedDevice(new PortNumber(1))!;
            foreach (byte endpoint in new[] { Arena.BulkIn, Arena.BulkOut, Arena.InterruptIn })
                for (int i = 0; i < 8; i++) handle.Pipe(endpoint).Submit(buffer.Address, 2048);
            for (int i = 0; i < 8; i++) handle.Pipe(Arena.IsochIn).SubmitIsochronous(buffer.Address, 512);
            arena.Machine.AdvanceBy(20_000_000);
            Assert.True(device.Held.Count > 20);
            Assert.True(arena.TransfersInUse() >= 20);

            End(arena, handle, way);

            arena.Machine.AdvanceBy(100_000_000);
            arena.Driver.ProcessEvents();
            Assert.Equal(0, arena.TransfersInUse());
            Assert.Equal("0", arena.Inspected("/xhci/transfers/trb-records"));
            Assert.Empty(device.Held);
            arena.Machine.Detach(1);
            arena.StartOver();
        }
    }

    // LP 1878323 (assertion in usb_detach): detached twice, by the host and by the guest, in every order.
    [Fact]
    public void Detach_twice_is_one_detach()
    {
        using var arena = new Arena();
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        arena.Pipe(Arena.BulkIn).Submit(buffer.Address, 512);
        arena.Machine.Step();

        Assert.NotNull(arena.Machine.Detach(1));
        Assert.Null(arena.Machine.Detach(1));
        arena.Driver.WritePort(1, 0, XhciDriver.PortPower);
        arena.Driver.WritePort(1, XhciDriver.PortReset);
        Assert.Null(arena.Machine.Detach(1));
        arena.Driver.WritePort(1, XhciDriver.PortPower);
        arena.Machine.AdvanceBy(100_000_000);

        Assert.Equal(0u, arena.Driver.ReadPort(1) & (XhciDriver.PortConnected | XhciDriver.PortEnabled | XhciDriver.PortReset));
        Assert.True(arena.Handle.Close().Ok);
        arena.AssertWorks(connector: 1);
    }

    // GitLab 1180 (assertion in usb_cancel_packet): the request is done when it is cancelled, and again afterwards.
    [Fact]
    public void Cancel_of_a_request_that_is_done_keeps_its_result()
    {
        using var arena = new Arena();
        arena.Device.CancelsAtOnce = false;
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        long id = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        UsbRequest request = arena.Device.Held[0];

        ulong stop = arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, pipe.Dci));
        arena.Driver.RingDoorbell(0);
        arena.Device.Complete(request);
        CommandResult stopped = arena.Driver.WaitCommand(stop);
        arena.Machine.Pipeline.Unlink(request);
        arena.Device.Complete(request, RequestStatus.Cancelled, 0);
        arena.Machine.Step();

        Assert.True(stopped.Ok);
        Assert.Equal((GuestCompletion.Success, 512), (pipe.Wait(id) is var done ? done.Code : default, done.Actual));
        Assert.Equal(0, arena.TransfersInUse());
    }

    // QEMU 2b, own addition: Stop Endpoint races the completion, at every point between the two.
    [Theory]
    [InlineData("completed before the command")]
    [InlineData("completed with the doorbell")]
    [InlineData("completed inside cancel")]
    [InlineData("completed after cancel")]
    [InlineData("stalled inside cancel")]
    public void Stop_endpoint_and_completion_race_without_loss(string order)
    {
        using var arena = new Arena();
        arena.Device.CancelsAtOnce = false;
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        long id = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        if (order == "completed before the command") arena.Device.CompleteNext();
        ulong stop = arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, pipe.Dci));
        arena.Driver.RingDoorbell(0);
        if (order == "completed with the doorbell") arena.Device.CompleteNext();
        if (order.EndsWith("inside cancel", StringComparison.Ordinal))
        {
            arena.Machine.Controller.Advance(arena.Machine.Now);
            arena.Device.CompleteNext(order.StartsWith("stalled", StringComparison.Ordinal) ? RequestStatus.Stall : RequestStatus.Success);
        }

        arena.Machine.AdvanceBy(1_000_000);
        if (order == "completed after cancel") arena.Device.CompleteNext();
        CommandResult stopped = arena.Driver.WaitCommand(stop);
        TransferCompletion done = pipe.Wait(id);

        bool stalled = order.StartsWith("stalled", StringComparison.Ordinal);
        Assert.Equal(stalled ? GuestCompletion.ContextStateError : GuestCompletion.Success, stopped.Code);
        Assert.Equal(stalled ? GuestCompletion.Stall : GuestCompletion.Success, done.Code);
        Assert.Equal(stalled ? GuestEndpointState.Halted : GuestEndpointState.Stopped, arena.State(pipe.Dci));
    }

    // An isochronous endpoint whose Stop Endpoint Command was aborted, and whose ring then runs dry: no deadline of it may
    // stay in the past, or the host's loop never ends (own addition).
    [Fact]
    public void Aborted_stop_of_an_isochronous_endpoint_does_not_hold_the_loop()
    {
        using var arena = new Arena();
        arena.Device.CancelsAtOnce = false;
        arena.Put(0, GuestTrb.Isoch(arena.Hostile + 0x8000, 512, null, 0, 0, Ioc));
        int dci = arena.Loose(Arena.IsochIn);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.StopEndpoint, arena.Handle.Slot, dci));
        arena.Driver.RingDoorbell(0);
        arena.Machine.Step();

        arena.Driver.Write32(arena.Driver.OperationalOffset + XhciDriver.CommandRingControl, 4);
        arena.Machine.Step();
        arena.Device.CompleteNext();
        arena.Machine.AdvanceBy(100_000_000);

        Assert.Equal(0, arena.Machine.BoundHits);
        Assert.Equal(GuestCompletion.ShortPacket, arena.Driver.NextEvent(GuestTrbType.TransferEvent).Code);
    }

    // CVE-2021-3682 (a buffer freed that was not the one allocated), PEERS 5 "usb_packet_unmap after free on cancel and
    // detach": a device that gives requests back twice, after a cancel, after a detach, and ones that it never had.
    [Fact]
    public void Request_given_back_twice_is_taken_once()
    {
        using var arena = new Arena();
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        long first = pipe.Submit(buffer.Address, 512);
        long second = pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 2, "both requests");
        UsbRequest request = arena.Device.Held[0];
        UsbRequest other = arena.Device.Held[1];

        arena.Device.Complete(request);
        arena.Device.Complete(request);
        arena.Machine.Step();
        arena.Device.Complete(request, RequestStatus.Stall, 17);
        arena.Device.Host!.Complete(new UsbRequest(), RequestStatus.Success);
        arena.Device.Complete(other, RequestStatus.Success, 512);
        arena.Machine.Step();

        Assert.Equal(GuestCompletion.Success, pipe.Wait(first).Code);
        Assert.Equal(GuestCompletion.Success, pipe.Wait(second).Code);
        Assert.Equal(0, pipe.DoneCount);
        Assert.Equal(0, arena.TransfersInUse());
    }

    [Fact]
    public void Request_given_back_after_cancel_and_detach_touches_nothing()
    {
        using var arena = new Arena();
        arena.Device.CancelsAtOnce = false;
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        UsbRequest request = arena.Device.Held[0];
        arena.Driver.PostCommand(GuestTrb.Command(GuestTrbType.DisableSlot, arena.Handle.Slot));
        arena.Driver.RingDoorbell(0);
        arena.Machine.Step();

        arena.Machine.Detach(1);
        arena.Device.Host!.Complete(request, RequestStatus.Cancelled);
        arena.Machine.AdvanceBy(1_000_000);
        arena.Device.Host.Complete(request, RequestStatus.Success);
        arena.Machine.AdvanceBy(1_000_000);

        Assert.Equal(0, arena.TransfersInUse());
        Assert.True(arena.Driver.NoOpCommand().Ok);
    }

    // The other half of "use after unmap": a cancelled IN transfer whose device writes late. Disable Slot may complete only
    // when the device has let go, so no buffer is written after the guest has it back.
    [Theory]
    [InlineData(GuestTrbType.DisableSlot)]
    [InlineData(GuestTrbType.StopEndpoint)]
    [InlineData(GuestTrbType.ResetDevice)]
    public void Command_completes_only_when_the_device_has_let_go(GuestTrbType type)
    {
        using var arena = new Arena();
        arena.Device.CancelsAtOnce = false;
        GuestPipe pipe = arena.Pipe(Arena.BulkIn);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(512);
        pipe.Submit(buffer.Address, 512);
        arena.Driver.Expect(() => arena.Device.Held.Count == 1, "the request");
        ulong command = arena.Driver.PostCommand(GuestTrb.Command(type, arena.Handle.Slot, pipe.Dci));
        arena.Driver.RingDoorbell(0);
        arena.Machine.AdvanceBy(10_000_000);

        bool early = arena.Driver.TryTakeCommand(command, out _);
        arena.Device.CompleteNext(RequestStatus.Cancelled, 0);

        Assert.False(early);
        Assert.True(arena.Driver.WaitCommand(command).Ok);
    }

    private static UsbDeviceHandle Plug(Arena arena) => arena.Rig.Plug(Arena.NewDevice(UsbSpeed.High));

    private static void End(Arena arena, UsbDeviceHandle handle, string way)
    {
        XhciDriver driver = arena.Driver;
        switch (way)
        {
            case "disable slot":
                Assert.True(driver.DisableSlot(handle.Slot).Ok);
                break;
            case "reset device":
                Assert.True(driver.ResetDevice(handle.Slot).Ok);
                break;
            case "drop endpoint":
                Assert.True(handle.Reconfigure(handle.Pipes.ToArray(), []).Ok);
                break;
            case "deconfigure":
                Assert.True(driver.ConfigureEndpoint(handle.Slot, 0, deconfigure: true).Ok);
                break;
            case "stop and move":
                foreach (GuestPipe pipe in handle.Pipes) pipe.Cancel();
                break;
            case "port reset":
                driver.ResetPort(1);
                break;
            case "unplug":
                arena.Machine.Detach(1);
                break;
            case "hcrst":
                driver.WriteOperational(XhciDriver.UsbCommand, 2);
                break;
            case "light reset":
                driver.Halt();
                driver.WriteOperational(XhciDriver.UsbCommand, 0x80);
                break;
            default:
                arena.Machine.Reset();
                driver.AttachPci();
                break;
        }
    }
}
