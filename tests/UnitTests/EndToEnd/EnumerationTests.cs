using System;
using System.Linq;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

public sealed class EnumerationTests
{
    [Theory]
    [InlineData(UsbSpeed.Low)]
    [InlineData(UsbSpeed.Full)]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Gadget_zero_enumerates_at_every_speed(UsbSpeed speed)
    {
        using var rig = new Rig();

        UsbDeviceHandle device = rig.PlugZero(speed);

        Assert.Equal((0x0525, 0xa4a0), (device.VendorId, device.ProductId));
        Assert.Equal(speed, device.Speed);
        Assert.Equal(GuestSlotState.Configured, device.Context.Slot.SlotState);
        Assert.NotEqual(0, device.Address);
        Assert.Equal(2, device.Pipes.Count());
        Assert.All(device.Pipes, p => Assert.Equal(GuestEndpointState.Running, device.Context.Endpoint(p.Dci).EndpointState));
        Assert.Equal("Gadget Zero", device.ReadString(device.DeviceDescriptor[15]));
    }

    [Theory]
    [InlineData(UsbSpeed.Low)]
    [InlineData(UsbSpeed.Full)]
    [InlineData(UsbSpeed.High)]
    [InlineData(UsbSpeed.Super)]
    public void Keyboard_reports_keys_and_takes_leds(UsbSpeed speed)
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, BootKeyboard keyboard) = rig.PlugKeyboard(speed);
        var client = new KeyboardClient(handle);

        client.SetLeds(2);
        keyboard.Press(4);
        byte[] down = client.NextReport();
        keyboard.Release(4);
        byte[] up = client.NextReport();

        Assert.Equal(2, keyboard.Leds);
        Assert.Equal(4, down[2]);
        Assert.Equal(0, up[2]);
        Assert.Equal(8, client.GetReport().Length);
    }

    [Theory]
    [InlineData(GuestInterruptMode.MsiX)]
    [InlineData(GuestInterruptMode.Msi)]
    [InlineData(GuestInterruptMode.Intx)]
    [InlineData(GuestInterruptMode.Polling)]
    public void Every_interrupt_mode_carries_a_driver(GuestInterruptMode mode)
    {
        using var rig = new Rig(new XhciDriverOptions { Interrupts = mode });
        UsbDeviceHandle device = rig.PlugZero();
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);

        TransferCompletion done = device.Pipe(TransferKind.Bulk, isIn: true).Transfer(buffer.Address, 4096);

        Assert.Equal((GuestCompletion.Success, 4096), (done.Code, done.Actual));
        Assert.Equal(mode == GuestInterruptMode.MsiX, rig.Machine.MsiXCount(0) > 0);
        Assert.Equal(mode == GuestInterruptMode.Msi, rig.Machine.MsiCount(0) > 0);
        Assert.Equal(mode == GuestInterruptMode.Intx, rig.Machine.IntxCount > 0);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void Structures_and_data_above_4_gib_work(bool structures, bool buffers)
    {
        using var rig = new Rig(
            new XhciDriverOptions { HighStructures = structures, HighBuffers = buffers, BarAddress = 0x20_0000_0000, WriteHalves = structures && buffers },
            highMemory: 8 << 20);
        rig.Machine.Memory.SplitAtPages = true;
        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.Super);
        GuestBuffer data = rig.PatternBuffer(100_000, 1024);

        TransferCompletion sent = device.Pipe(TransferKind.Bulk, isIn: false).Transfer(data.Address, data.Length);

        Assert.Equal((GuestCompletion.Success, 100_000), (sent.Code, sent.Actual));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(64)]
    public void Memory_in_short_runs_changes_nothing(int runLimit)
    {
        using var rig = new Rig();
        rig.Machine.Memory.RunLimit = runLimit;
        UsbDeviceHandle device = rig.PlugZero();
        GuestBuffer data = rig.PatternBuffer(5000, 512);

        TransferCompletion sent = device.Pipe(TransferKind.Bulk, isIn: false).Transfer(data.Address, data.Length);

        Assert.Equal((GuestCompletion.Success, 5000), (sent.Code, sent.Actual));
    }

    [Fact]
    public void Set_address_in_two_steps_works_as_windows_does_it()
    {
        using var rig = new Rig(new XhciDriverOptions { BlockSetAddressFirst = true });

        UsbDeviceHandle device = rig.PlugZero(UsbSpeed.Full);

        Assert.Equal(64, device.Control.Endpoint.MaxPacketSize);
        Assert.Equal(64u, device.Context.Endpoint(1).MaxPacketSize);
    }

    [Fact]
    public void Several_devices_work_beside_each_other_on_several_interrupters()
    {
        using var rig = new Rig(new XhciDriverOptions { Interrupters = 4, EventSegments = 3, EventSegmentTrbs = 16, RingSegments = 3, RingSegmentTrbs = 16 });
        var devices = new UsbDeviceHandle[4];
        for (int i = 0; i < 4; i++)
        {
            devices[i] = rig.PlugZero((UsbSpeed)i, connector: i + 1);
            foreach (GuestPipe pipe in devices[i].Pipes) pipe.Interrupter = i;
        }

        GuestBuffer buffer = rig.Driver.AllocateBuffer(512);
        for (int round = 0; round < 40; round++)
        {
            foreach (UsbDeviceHandle device in devices)
            {
                GuestPipe pipe = device.Pipes.First(p => p.IsIn);
                Assert.Equal(8, pipe.Transfer(buffer.Address, 8).Actual);
            }
        }

        for (int i = 1; i < 4; i++) Assert.True(rig.Machine.MsiXCount(i) > 0);
    }

    [Fact]
    public void Unplugging_ends_transfers_and_the_port_serves_the_next_device()
    {
        using var rig = new Rig();
        (UsbDeviceHandle handle, BootKeyboard _) = rig.PlugKeyboard();
        var client = new KeyboardClient(handle, depth: 1);
        long events = rig.Driver.PortEventCount;

        rig.Machine.Detach(1);
        rig.Driver.Expect(() => (rig.Driver.ReadPort(1) & XhciDriver.PortConnected) == 0, "the disconnection");
        TransferCompletion ended = client.In.Reap();
        CommandResult closed = handle.Close();
        rig.Driver.AcknowledgePort(1);
        UsbDeviceHandle next = rig.PlugZero(UsbSpeed.High);

        Assert.True(rig.Driver.PortEventCount > events);
        Assert.Equal(GuestCompletion.TransactionError, ended.Code);
        Assert.True(closed.Ok);
        Assert.Equal(0x0525, next.VendorId);
    }

    [Fact]
    public void Controller_reset_starts_everything_over()
    {
        using var rig = new Rig();
        rig.PlugZero();

        rig.Driver.Halt();
        rig.Driver.Reset();
        rig.Driver.SetUpStructures();
        rig.Driver.Run();
        rig.Driver.PowerPorts();
        int port = rig.Driver.WaitForConnect();
        UsbDeviceHandle again = UsbDeviceHandle.Enumerate(rig.Driver, port);

        Assert.Equal(1, port);
        Assert.Equal(0xa4a0, again.ProductId);
    }

    [Fact]
    public void Configuration_can_be_left_and_changed()
    {
        using var rig = new Rig();
        UsbDeviceHandle device = rig.PlugZero();

        device.SetInterface(0, 3);
        int withAll = device.Pipes.Count();
        device.Deconfigure();
        GuestSlotState addressed = device.Context.Slot.SlotState;
        device.SetConfiguration(device.ReadConfiguration(1));

        Assert.Equal(6, withAll);
        Assert.Equal(GuestSlotState.Addressed, addressed);
        Assert.Equal(2, device.Configuration!.Value);
        Assert.Equal(2, device.Pipes.Count());
    }
}
