using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Pipeline;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.InProcess;

public sealed class InProcessMachineTests
{
    [Fact]
    public void Bar_is_answered_where_it_is_mapped_and_nowhere_else()
    {
        var machine = new InProcessMachine();
        var pci = new PciSetup(new InProcessPlatform(machine));
        Assert.Equal(0xffUL, machine.ReadMmio(0xfe00_0000, 1));

        pci.Enable(0xfe00_0000);

        Assert.Equal(machine.ReadBar32(0), (uint)machine.ReadMmio(0xfe00_0000, 4));
        Assert.Equal(0xffff_ffffUL, machine.ReadMmio(0xfe00_0000 + pci.BarSize, 4));
        Assert.Equal(ulong.MaxValue, machine.ReadMmio(0xfdff_fff8, 8));
        machine.WriteMmio(0xfdff_fff8, 8, 1);
        Assert.Equal(0x0c0330u, pci.ClassCode);
    }

    [Fact]
    public void Time_passes_to_the_instant_asked_for()
    {
        var machine = new InProcessMachine();

        machine.AdvanceTo(new VirtualTime(5_000_000));
        machine.AdvanceBy(1_000);
        bool never = machine.RunUntil(() => false, 2_000);

        Assert.False(never);
        Assert.Equal(5_003_000UL, machine.Now.Nanoseconds);
    }

    [Fact]
    public void Condition_that_holds_takes_no_time()
    {
        var machine = new InProcessMachine();

        Assert.True(machine.RunUntil(() => true, 1_000));

        Assert.Equal(VirtualTime.Zero, machine.Now);
    }

    [Fact]
    public void Outside_work_is_awaited_before_time_passes()
    {
        var machine = new InProcessMachine();
        int outstanding = 3;
        machine.Pump = () => outstanding-- > 0;

        bool done = machine.RunUntil(() => outstanding == 0, 1_000_000_000);

        Assert.True(done);
        Assert.Equal(VirtualTime.Zero, machine.Now);
    }

    [Fact]
    public void Device_that_never_comes_to_rest_is_reported_and_time_goes_on()
    {
        var machine = new InProcessMachine();
        var restless = new FakeDevice(UsbSpeed.High) { OnAdvance = (device, _) => device.NextDeadline = VirtualTime.Zero, NextDeadline = VirtualTime.Zero };
        machine.Attach(1, restless);

        bool settled = machine.Step();
        machine.AdvanceBy(1_500);

        Assert.False(settled);
        Assert.True(machine.BoundHits > 1);
        Assert.Equal(1_500UL, machine.Now.Nanoseconds);
    }

    [Fact]
    public void Attach_and_detach_go_to_the_pipeline()
    {
        var machine = new InProcessMachine();
        var keyboard = new BootKeyboard();

        Assert.Equal(AttachResult.Attached, machine.Attach(2, keyboard));
        Assert.Equal(AttachResult.PortTaken, machine.Attach(2, new BootKeyboard()));
        Assert.Equal(AttachResult.NoSuchPort, machine.Attach(9, new BootKeyboard()));
        Assert.Same(keyboard, machine.Detach(2));
        Assert.Null(machine.Detach(2));
    }

    [Fact]
    public void Interrupts_are_counted_by_kind_and_vector()
    {
        var machine = new InProcessMachine();

        machine.SendMessage(new InterruptMessage(MessageKind.MsiX, 3, 0xfee0_0000, 67));
        machine.SendMessage(new InterruptMessage(MessageKind.Msi, 1, 0xfee0_0000, 1));
        machine.SendMessage(new InterruptMessage(MessageKind.Msi, 99, 0, 0));
        machine.SetIntx(true);

        Assert.Equal((1, 1, 3), (machine.MsiXCount(3), machine.MsiCount(1), machine.MessageCount));
        Assert.Equal(0b1011UL, machine.TakeMessages());
        Assert.Equal(0UL, machine.PendingMessages);
        Assert.True(machine.IntxAsserted);
        Assert.Equal(99, machine.LastMessage.Vector);
    }

    [Fact]
    public void Bus_reset_leaves_devices_and_nothing_else()
    {
        var machine = new InProcessMachine();
        machine.Attach(1, new BootKeyboard());
        var driver = new XhciDriver(new InProcessPlatform(machine));
        driver.Start();

        machine.Reset();

        Assert.False(machine.Pci.BarMapping.Enabled);
        var again = new XhciDriver(new InProcessPlatform(machine));
        again.Start();
        Assert.Equal(1, again.WaitForConnect());
    }

    [Fact]
    public void Same_actions_twice_give_the_same_memory_and_tree()
    {
        Assert.Equal(Run(), Run());

        static (string Tree, long Events, long Messages) Run()
        {
            var machine = new InProcessMachine();
            var keyboard = new BootKeyboard(UsbSpeed.Full);
            machine.Attach(1, keyboard);
            var platform = new InProcessPlatform(machine);
            var driver = new XhciDriver(platform);
            driver.Start();
            var client = new KeyboardClient(UsbDeviceHandle.Enumerate(driver, driver.WaitForConnect()));
            keyboard.Press(4);
            client.NextReport();
            return (platform.Diagnose(), driver.EventCount, machine.MessageCount);
        }
    }
}
