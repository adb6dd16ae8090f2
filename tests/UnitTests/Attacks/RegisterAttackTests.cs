using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>DMA that is aimed at the controller's own registers, and register accesses that no driver makes.</summary>
public sealed class RegisterAttackTests
{
    // CVE-2021-3750 (a buffer in the controller's own registers reset it in mid transfer): nothing that the model reads or
    // writes by DMA reaches its BAR.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Buffer_in_the_own_registers_is_a_data_buffer_error_and_changes_no_register(bool isIn)
    {
        using var arena = new Arena { AllowsRefusals = true };
        UsbDeviceHandle zero = arena.Rig.PlugZero(connector: 2);
        GuestPipe pipe = zero.Pipe(TransferKind.Bulk, isIn);
        ulong registers = arena.Driver.Pci.BarAddress + (ulong)arena.Driver.OperationalOffset;
        uint command = arena.Driver.ReadOperational(XhciDriver.UsbCommand);

        TransferCompletion done = pipe.Wait(pipe.Submit([new GuestBuffer(registers, 512)]));

        Assert.Equal(GuestCompletion.DataBufferError, done.Code);
        Assert.Equal(command, arena.Driver.ReadOperational(XhciDriver.UsbCommand));
        Assert.Equal(0u, arena.Status & 0x1005);
    }

    // OSS-Fuzz 27796 (stack overflow: DMA to own MMIO rang the doorbell that did the DMA): each structure in turn lies in the
    // BAR. The controller finds no memory there and stops with HSE; it neither recurses nor changes a register.
    [Theory]
    [InlineData("transfer ring")]
    [InlineData("command ring")]
    [InlineData("event ring table")]
    [InlineData("event ring segment")]
    [InlineData("device context")]
    [InlineData("context array")]
    [InlineData("input context")]
    [InlineData("port bandwidth")]
    public void Structure_in_the_own_registers_is_a_host_system_error_without_recursion(string structure)
    {
        using var arena = new Arena { AllowsRefusals = true };
        XhciDriver driver = arena.Driver;
        ulong bar = driver.Pci.BarAddress;
        uint configure = driver.ReadOperational(XhciDriver.Configure);
        switch (structure)
        {
            case "transfer ring":
                int dci = arena.Aim(Arena.BulkIn, (bar + 0x40) | 1);
                driver.RingDoorbell(arena.Handle.Slot, dci);
                break;
            case "command ring":
                driver.StopCommandRing(abort: false);
                driver.Write64(driver.OperationalOffset + XhciDriver.CommandRingControl, bar | 1);
                driver.RingDoorbell(0);
                break;
            case "event ring table":
                driver.Write64(driver.InterrupterOffset(0, 0x10), bar);
                Command(driver, GuestTrbType.NoOpCommand);
                break;
            case "event ring segment":
                arena.Machine.Memory.GuestWrite64(new(arena.Hostile), bar + (ulong)driver.DoorbellOffset);
                arena.Machine.Memory.GuestWrite64(new(arena.Hostile + 8), 256);
                driver.Write64(driver.InterrupterOffset(0, 0x10), arena.Hostile);
                Command(driver, GuestTrbType.NoOpCommand);
                break;
            case "device context":
                int slot = driver.EnableSlot().Slot;
                driver.SetDeviceContext(slot, bar);
                driver.PostCommand(GuestTrb.Command(GuestTrbType.AddressDevice, slot, 0, AddressInput(arena), GuestTrb.BlockSetAddress));
                driver.RingDoorbell(0);
                break;
            case "context array":
                int other = driver.EnableSlot().Slot;
                driver.Write64(driver.OperationalOffset + XhciDriver.ContextBaseArray, bar);
                Command(driver, GuestTrbType.AddressDevice, other, AddressInput(arena));
                break;
            case "input context":
                Command(driver, GuestTrbType.ConfigureEndpoint, arena.Handle.Slot, bar);
                break;
            default:
                driver.PostCommand(GuestTrb.Command(GuestTrbType.GetPortBandwidth, 0, 0, bar, 3u << 16));
                driver.RingDoorbell(0);
                break;
        }

        arena.Machine.AdvanceBy(1_000_000);

        Assert.Equal(0x5u, arena.Status & 0x1005);
        Assert.Equal(configure, driver.ReadOperational(XhciDriver.Configure));
    }

    // LP 1905444, 3c6151cd11 (an MSI-X address in the own BAR recursed until the stack was full).
    [Fact]
    public void Message_aimed_at_the_own_registers_is_only_a_message()
    {
        using var arena = new Arena();
        ulong bar = arena.Driver.Pci.BarAddress;
        ulong table = bar + (ulong)(arena.Machine.Pci.BarSize - 0x1000);
        arena.Driver.Platform.MmioWrite(table, 4, (uint)(bar + (ulong)arena.Driver.InterrupterOffset(0, 0)));
        arena.Driver.Platform.MmioWrite(table + 8, 4, 3);
        long sent = arena.Machine.MessageCount;

        Assert.True(arena.Driver.NoOpCommand().Ok);

        Assert.True(arena.Machine.MessageCount > sent);
        Assert.Equal(bar + (ulong)arena.Driver.InterrupterOffset(0, 0), arena.Machine.LastMessage.Address);
    }

    // LP 1902112 (runtime offset below 0x20 was interrupter -1), OSS-Fuzz 26693 (beyond the last): every byte of the BAR, in
    // every size, aligned or not, read and written with ones and zeros while the controller runs.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(3)]
    public void Every_register_written_with_ones_and_zeros_leaves_a_controller_that_resets(int size)
    {
        using var arena = new Arena { AllowsRefusals = true };
        for (int offset = 0; offset < arena.Machine.Pci.BarSize; offset += size == 1 ? 1 : size + 1)
        {
            arena.Machine.ReadBar((ulong)offset, size);
            arena.Machine.WriteBar((ulong)offset, size, ulong.MaxValue);
            arena.Machine.Step();
            arena.Machine.WriteBar((ulong)offset, size, 0);
            arena.Machine.Step();
        }

        arena.Driver.Pci.EnableInterrupts(GuestInterruptMode.MsiX, 1);
        Assert.Equal(0, arena.Machine.Controller.Faults);
    }

    // QEMU 2b, own additions: ERDP written in torn halves, and CRCR while its ring runs.
    [Fact]
    public void Torn_event_pointer_and_command_ring_written_while_it_runs_lose_no_completion()
    {
        using var arena = new Arena();
        XhciDriver driver = arena.Driver;
        var pending = new System.Collections.Generic.List<ulong>();
        for (int i = 0; i < 20; i++)
        {
            pending.Add(driver.PostCommand(GuestTrb.Command(GuestTrbType.NoOpCommand)));
            driver.RingDoorbell(0);
            driver.Write32(driver.OperationalOffset + XhciDriver.CommandRingControl, (uint)arena.Hostile | 1);
            driver.Write32(driver.OperationalOffset + XhciDriver.CommandRingControl + 4, 0xffff_ffff);
            driver.Write32(driver.InterrupterOffset(0, 0x1c), 0xffff_ffff);
            arena.Machine.Step();
            driver.Write32(driver.InterrupterOffset(0, 0x1c), 0);
        }

        foreach (ulong pointer in pending) Assert.True(driver.WaitCommand(pointer).Ok);
    }

    private static void Command(XhciDriver driver, GuestTrbType type, int slot = 0, ulong parameter = 0)
    {
        driver.PostCommand(GuestTrb.Command(type, slot, 0, parameter));
        driver.RingDoorbell(0);
    }

    private static ulong AddressInput(Arena arena)
    {
        GuestInputContext input = arena.Driver.NewInputContext();
        input.AddFlags = 3;
        GuestContext slot = input.Slot;
        slot.Speed = 3;
        slot.Entries = 1;
        slot.RootPort = 1;
        GuestContext endpoint = input.Endpoint(1);
        endpoint.EndpointType = 4;
        endpoint.MaxPacketSize = 64;
        endpoint.DequeuePointer = arena.Hostile | 1;
        return input.Buffer.Address;
    }
}
