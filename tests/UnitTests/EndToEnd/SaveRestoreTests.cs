using System;
using System.Linq;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Hosts.State;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.EndToEnd;

public sealed class SaveRestoreTests
{
    [Fact]
    public void Machine_moved_in_the_middle_of_transfers_goes_on_and_shows_the_same_tree()
    {
        var switcher = new MovablePlatform(new InProcessMachine());
        var driver = new XhciDriver(switcher);
        driver.Start();
        var keyboard = new BootKeyboard(UsbSpeed.Full);
        switcher.Machine.Attach(1, keyboard);
        switcher.Machine.Attach(2, new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.High }));
        var store = new MemoryBlockStore(4096);
        switcher.Machine.Attach(3, new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        driver.WaitUntil(() => driver.ConnectedPorts().Count == 3, 1_000_000_000);
        var keys = new KeyboardClient(UsbDeviceHandle.Enumerate(driver, 1), depth: 2);
        UsbDeviceHandle zero = UsbDeviceHandle.Enumerate(driver, 2);
        zero.SetConfiguration(zero.ReadConfiguration(1));
        var disk = new MassStorageClient(UsbDeviceHandle.Enumerate(driver, 7));
        for (int i = 0; i < 3 && !disk.TestUnitReady(); i++) disk.RequestSense();
        GuestBuffer buffer = driver.AllocateBuffer(8192);
        driver.Platform.Memory(buffer.Address, 3000).Fill(0x5a);

        // Loopback: an IN transfer that waits for data, and the keyboard's two reads.
        GuestPipe loopIn = zero.Pipe(TransferKind.Bulk, isIn: true);
        long waiting = loopIn.Submit(buffer.Address + 4096, 512);
        driver.WaitUntil(() => false, 30_000_000);

        byte[] file = StateFile.Write(switcher.Machine.TryCapture()!);
        string before = InspectWriter.Dump(switcher.Machine);
        var keyboard2 = new BootKeyboard(UsbSpeed.Full);
        InProcessMachine target = CopyOf(switcher.Machine);
        target.Attach(1, keyboard2);
        target.Attach(2, new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.High }));
        target.Attach(3, new DiskDevice(store, new DiskOptions { Speed = UsbSpeed.Super }));
        Assert.True(StateFile.TryRead(file, out MachineStateV1? state, out string fileError), fileError);
        Assert.True(target.TryRestore(state!, out string error), error);
        string after = InspectWriter.Dump(target);
        switcher.Machine = target;

        Assert.Equal(before, after);
        keyboard2.Press(9);
        Assert.Equal(9, keys.NextReport()[2]);
        zero.Pipe(TransferKind.Bulk, isIn: false).Transfer(buffer.Address, 512);
        Assert.Equal((GuestCompletion.Success, 512), (loopIn.Wait(waiting) is var done ? done.Code : default, done.Actual));
        Assert.Equal(0x5a, driver.Platform.Memory(buffer.Address + 4096 + 511, 1)[0]);
        Assert.True(disk.Write(10, 4, buffer.Address).Ok);
        Assert.Equal(0, target.Controller.Faults);
    }

    [Fact]
    public void Machine_moved_with_a_command_on_a_stream_goes_on_and_shows_the_same_tree()
    {
        var options = new DiskOptions { Speed = UsbSpeed.Super, Uas = true };
        var store = new MemoryBlockStore(64);
        store.Load(8 * 512, [.. Enumerable.Repeat((byte)0x5a, 4096)]);
        var switcher = new MovablePlatform(new InProcessMachine());
        var driver = new XhciDriver(switcher);
        driver.Start();
        switcher.Machine.Attach(1, new DiskDevice(store, options));
        driver.WaitUntil(() => driver.ConnectedPorts().Count == 1, 1_000_000_000);
        var client = new UasClient(UsbDeviceHandle.Enumerate(driver, 5));
        GuestBuffer buffer = driver.AllocateBuffer(4096);
        client.Begin(1, [0], default, isIn: false);
        Assert.Equal((2, 0), client.End(1, isIn: false));
        client.Begin(7, MassStorageClient.TransferCommand(8, 8, isIn: true), default, isIn: true);
        driver.WaitUntil(() => false, 10_000_000);

        byte[] file = StateFile.Write(switcher.Machine.TryCapture()!);
        string before = InspectWriter.Dump(switcher.Machine);
        InProcessMachine target = CopyOf(switcher.Machine);
        target.Attach(1, new DiskDevice(store, options));
        Assert.True(StateFile.TryRead(file, out MachineStateV1? state, out string fileError), fileError);
        Assert.True(target.TryRestore(state!, out string error), error);
        Assert.Equal(before, InspectWriter.Dump(target));
        switcher.Machine = target;

        Assert.Equal(4096, client.In.Wait(client.In.Submit(buffer.Address, 4096, 7)).Actual);
        Assert.Equal((0, 0), client.End(7, isIn: true));
        Assert.Equal(-1, driver.Platform.Memory(buffer.Address, 4096).IndexOfAnyExcept((byte)0x5a));
    }

    [Fact]
    public void Machine_with_other_devices_refuses_the_state()
    {
        var machine = new InProcessMachine();
        machine.Attach(1, new BootKeyboard(UsbSpeed.Full));
        MachineStateV1 state = machine.TryCapture()!;

        Assert.False(new InProcessMachine().TryRestore(state, out string missing));
        InProcessMachine faster = new();
        faster.Attach(1, new BootKeyboard(UsbSpeed.High));
        Assert.False(faster.TryRestore(state, out string speed));
        InProcessMachine other = new();
        other.Attach(1, new GadgetZero(new GadgetZeroOptions { Speed = UsbSpeed.Full }));
        Assert.False(other.TryRestore(state, out string kind));
        InProcessMachine more = new();
        more.Attach(1, new BootKeyboard(UsbSpeed.Full));
        more.Attach(2, new BootKeyboard(UsbSpeed.Full));
        Assert.False(more.TryRestore(state, out string extra));
        InProcessMachine same = new();
        same.Attach(1, new BootKeyboard(UsbSpeed.Full));
        Assert.False(same.TryRestore(state with { Devices = [state.Devices[0], state.Devices[0]] }, out _));
        Assert.False(same.TryRestore(state with { Devices = [state.Devices[0] with { Connector = 99 }] }, out _));
        Assert.False(same.TryRestore(state with { Pci = null! }, out _));

        Assert.All([missing, speed, kind], e => Assert.Contains("connector 1", e, StringComparison.Ordinal));
        Assert.Contains("connector 2", extra, StringComparison.Ordinal);
    }

    private static InProcessMachine CopyOf(InProcessMachine source)
    {
        var copy = new InProcessMachine(source.Options);
        source.Memory.Guest(new GuestAddress(0), source.Memory.LowBytes).CopyTo(copy.Memory.Guest(new GuestAddress(0), copy.Memory.LowBytes));
        return copy;
    }
}
