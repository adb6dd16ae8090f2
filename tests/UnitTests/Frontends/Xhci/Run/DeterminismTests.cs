using System;
using System.Collections.Generic;
using Xunit;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.EndToEnd;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Run;

/// <summary>DESIGN rules 2 and 5: the same calls give the same outputs, and looking changes nothing.</summary>
public sealed class DeterminismTests
{
    [Fact]
    public void Same_script_twice_gives_the_same_memory_accesses_interrupts_and_tree()
    {
        Outcome first = RunScript(inspect: false);
        Outcome second = RunScript(inspect: false);

        AssertSame(first, second);
        Assert.InRange(first.Accesses.Count, 200, int.MaxValue);
    }

    [Fact]
    public void Inspect_after_every_step_changes_nothing()
    {
        Outcome blind = RunScript(inspect: false);
        Outcome watched = RunScript(inspect: true);

        AssertSame(blind, watched);
    }

    [Fact]
    public void Inspect_shows_every_stateful_object()
    {
        Outcome outcome = RunScript(inspect: false);

        string[] paths =
        [
            "/pci/command", "/pci/msix/", "/xhci/registers/usbcmd", "/xhci/interrupter/interrupter/0/ring/erdp", "/xhci/port/port/1/",
            "/xhci/command-ring/position", "/xhci/slot/1/endpoint/1/stage", "/xhci/slot/2/endpoint/3/dequeue", "/xhci/transfers/in-use",
            "/pipeline/port/1/",
        ];
        Assert.All(paths, path => Assert.Contains(path, outcome.Tree, StringComparison.Ordinal));
    }

    private static void AssertSame(Outcome one, Outcome two)
    {
        Assert.Equal(one.Accesses, two.Accesses);
        Assert.Equal(one.Messages, two.Messages);
        Assert.True(one.Memory.AsSpan().SequenceEqual(two.Memory), "guest memory differs");
        Assert.Equal(one.Tree, two.Tree);
    }

    private static Outcome RunScript(bool inspect)
    {
        using var rig = new Rig();
        rig.Machine.Memory.AccessLog = [];
        void Look()
        {
            if (inspect) InspectWriter.Dump(rig.Machine);
        }

        UsbDeviceHandle zero = rig.PlugZero();
        Look();
        zero.SetInterface(0, 1);
        GuestBuffer data = rig.PatternBuffer(65536, 512);
        for (int i = 0; i < 20; i++)
        {
            zero.Pipe(TransferKind.Bulk, isIn: false).Submit(data.Address, 3000 + i);
            zero.Pipe(TransferKind.Bulk, isIn: true).Submit(data.Address, 512 * i);
            zero.Pipe(TransferKind.Isochronous, isIn: true).SubmitIsochronous(data.Address, 512);
            Look();
            rig.Machine.AdvanceBy(333_333);
            Look();
        }

        foreach (GuestPipe pipe in zero.Pipes) pipe.Cancel();
        Look();
        rig.Driver.ResetDevice(zero.Slot);
        rig.Driver.Halt();
        rig.Driver.Run();
        Look();
        UsbDeviceHandle again = rig.PlugZero(UsbSpeed.Super, 2);
        again.Pipe(TransferKind.Bulk, isIn: true).Transfer(data.Address, 5000);
        return new Outcome(
            rig.Machine.Memory.AccessLog.ConvertAll(a => (a.Address.Value, a.Length, a.Granted, (int)a.Access)),
            rig.Machine.MessageCount,
            rig.Machine.Memory.Guest(new GuestAddress(0), rig.Machine.Memory.LowBytes).ToArray(),
            InspectWriter.Dump(rig.Machine));
    }

    private sealed record Outcome(List<(ulong Address, int Length, int Granted, int Access)> Accesses, long Messages, byte[] Memory, string Tree);
}
