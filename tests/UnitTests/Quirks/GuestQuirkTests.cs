using System.Linq;
using Xunit;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Attacks;
using XenUsbDm.UnitTests.EndToEnd;

namespace XenUsbDm.UnitTests.Quirks;

/// <summary>What guests do that the specification does not lead one to expect, one test per guest.</summary>
public sealed class GuestQuirkTests
{
    private const int U0 = 0;
    private const int U3 = 3;
    private const int Resume = 15;

    // Windows arms remote wake and suspends an idle device (its D2); the device must come back and keep its state.
    [Fact]
    public void Windows_suspended_device_with_remote_wake_comes_back_and_works()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, BootKeyboard keyboard) = rig.PlugKeyboard();
        var client = new KeyboardClient(handle, depth: 1);
        handle.ControlOut(new SetupPacket(0, 3, 1, 0, 0));
        client.In.Cancel();

        rig.Driver.SetLinkState(1, U3);
        rig.Machine.AdvanceBy(1_000_000_000);
        int asleep = rig.Driver.LinkState(1);
        keyboard.Press(7);
        rig.Machine.AdvanceBy(1_000_000);
        int waking = rig.Driver.LinkState(1);
        uint change = rig.Driver.AcknowledgePort(1) & XhciDriver.PortLinkChange;
        rig.Machine.AdvanceBy(20_000_000);
        rig.Driver.SetLinkState(1, U0);
        GuestBuffer report = rig.Driver.AllocateBuffer(8);
        TransferCompletion done = client.In.Transfer(report.Address, 8);

        Assert.Equal((U3, Resume, U0), (asleep, waking, rig.Driver.LinkState(1)));
        Assert.Equal(XhciDriver.PortLinkChange, change);
        Assert.Equal(GuestCompletion.Success, done.Code);
        Assert.Equal(7, rig.Bytes(report)[2]);
        Assert.Equal(GuestSlotState.Configured, handle.Context.Slot.SlotState);
    }

    // NEC's driver asks for the firmware version and a challenge (TRB types 49 and 50) before anything else.
    [Theory]
    [InlineData(48)]
    [InlineData(49)]
    [InlineData(50)]
    [InlineData(63)]
    public void Nec_vendor_commands_end_with_a_trb_error_and_the_ring_goes_on(int type)
    {
        using var rig = new Rig();

        CommandResult vendor = rig.Driver.Command(GuestTrb.Command((GuestTrbType)type, 0, 0, 0x1234_5678_9abc_def0));
        CommandResult next = rig.Driver.NoOpCommand();

        Assert.Equal(GuestCompletion.TrbError, vendor.Code);
        Assert.True(next.Ok);
        Assert.Equal(0u, rig.Driver.ReadOperational(XhciDriver.UsbStatus) & 0x1005);
    }

    // AIX puts a No Op TRB on a transfer ring and waits for its event.
    [Theory]
    [InlineData(Arena.BulkIn)]
    [InlineData(Arena.InterruptIn)]
    [InlineData((byte)0)]
    public void Aix_no_op_on_a_transfer_ring_ends_with_success(byte endpoint)
    {
        using var arena = new Arena();
        int dci = endpoint == 0 ? 1 : arena.Pipe(endpoint).Dci;
        GuestRing ring = endpoint == 0 ? arena.Handle.Control.Ring : arena.Pipe(endpoint).Ring;
        arena.Driver.Register(arena.Handle.Slot, dci, null);
        ulong at = ring.Enqueue(GuestTrb.NoOp());

        arena.Driver.RingDoorbell(arena.Handle.Slot, dci);
        GuestEvent told = arena.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal((GuestCompletion.Success, at, 0), (told.Code, told.Pointer, told.Residual));
        Assert.Empty(arena.Device.Held);
    }

    // A device that could do SuperSpeed sits on a USB 2 port: bMaxPacketSize0 is 64 there, not the exponent 9.
    [Fact]
    public void Superspeed_capable_device_on_a_usb_2_port_has_64_byte_control_packets()
    {
        using var rig = new Rig();

        UsbDeviceHandle high = rig.PlugZero(UsbSpeed.High, 1);
        UsbDeviceHandle super = rig.PlugZero(UsbSpeed.Super, 2);
        (MassStorageClient disk, _) = rig.PlugDisk(UsbSpeed.High, 3);

        Assert.Equal(64, high.DeviceDescriptor[7]);
        Assert.Equal(64, high.Control.Endpoint.MaxPacketSize);
        Assert.Equal(9, super.DeviceDescriptor[7]);
        Assert.Equal(2, high.DeviceDescriptor[3]);
        Assert.Equal(64, disk.Device.DeviceDescriptor[7]);
    }

    // Guests send SET_CONFIGURATION again for the configuration that is active (a second driver, a reset of the stack).
    [Fact]
    public void Set_configuration_of_the_active_configuration_leaves_the_pipes_working()
    {
        using var rig = new Rig();
        UsbDeviceHandle zero = rig.PlugZero();
        GuestBuffer data = rig.PatternBuffer(512, 512);
        GuestPipe sink = zero.Pipe(TransferKind.Bulk, isIn: false);
        Assert.True(sink.Transfer(data.Address, 512).Ok);

        for (int i = 0; i < 3; i++) zero.ControlOut(new SetupPacket(0, 9, zero.Configuration!.Value, 0, 0));
        TransferCompletion after = sink.Transfer(data.Address, 512);
        System.Span<byte> active = stackalloc byte[1];
        zero.ControlIn(new SetupPacket(0x80, 8, 0, 0, 1), active);

        Assert.Equal((GuestCompletion.Success, 512), (after.Code, after.Actual));
        Assert.Equal(zero.Configuration!.Value, active[0]);
    }

    // The Windows HLK wants MaxPSASize of 4 or more: 31 primary streams that work.
    [Fact]
    public void Windows_hlk_finds_31_primary_streams_that_work()
    {
        using var arena = new Arena(UsbSpeed.Super);
        GuestPipe pipe = arena.Handle.ConfigureStreams(Arena.BulkIn, 5);
        GuestBuffer buffer = arena.Driver.AllocateBuffer(1024);
        long[] ids = [.. Enumerable.Range(1, 31).Select(stream => pipe.Submit(buffer.Address, 1024, stream))];

        arena.Driver.Expect(() => arena.Device.Held.Count == 31, "31 streams at the device");
        while (arena.Device.Held.Count > 0) arena.Device.CompleteNext();

        Assert.InRange(arena.Driver.MaxPrimaryStreamsLog, 4, 15);
        Assert.All(ids, id => Assert.Equal(GuestCompletion.Success, pipe.Wait(id).Code));
    }

    // macOS leaves Max ESIT Payload 0 in isochronous and interrupt endpoint contexts: no limit, and bandwidth is still kept.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Macos_isochronous_endpoint_with_max_esit_payload_0_moves_its_data(bool isIn)
    {
        using var rig = new Rig();
        UsbDeviceHandle zero = rig.PlugZero(UsbSpeed.High);
        zero.SetInterface(0, 1);
        GuestPipe pipe = zero.Pipe(TransferKind.Isochronous, isIn);
        GuestRing ring = rig.Driver.TransferRing();
        GuestInputContext input = zero.Input;
        input.Clear();
        for (int i = 0; i < 3; i++) Copy(input.Slot, zero.Context.Slot, i);
        input.Drop(pipe.Dci);
        input.Add(pipe.Dci);
        input.Add(0);
        XhciDriver.FillEndpoint(input.Endpoint(pipe.Dci), pipe.Endpoint, UsbSpeed.High, ring.Base);
        ClearPayload(input.Endpoint(pipe.Dci));
        Assert.True(rig.Driver.ConfigureEndpoint(zero.Slot, input.Buffer.Address).Ok);
        rig.Driver.Register(zero.Slot, pipe.Dci, null);
        GuestBuffer buffer = rig.PatternBuffer(1024, 1024);
        ring.Enqueue(GuestTrb.Isoch(buffer.Address, 1024, null, 0, 0, GuestTrb.InterruptOnCompletion));

        rig.Driver.RingDoorbell(zero.Slot, pipe.Dci);
        GuestEvent told = rig.Driver.NextEvent(GuestTrbType.TransferEvent);

        Assert.Equal((GuestCompletion.Success, 0), (told.Code, told.Residual));
    }

    private static void Copy(GuestContext to, GuestContext from, int dword) => to[dword] = from[dword];

    private static void ClearPayload(GuestContext endpoint) => endpoint.MaxEsitPayload = 0;
}
