using System;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;
using static XenUsbDm.TestKit.Devices.PipelineRig;
using static XenUsbDm.TestKit.Devices.RequestRig;

namespace XenUsbDm.UnitTests.Pipeline;

public sealed class PipelineAllocationTests
{
    [Fact]
    public void Request_in_steady_state_allocates_nothing_on_any_path()
    {
        PipelineRig rig = new PipelineRig().Configured();
        rig.Device.KeepCalls = false;
        rig.Frontend.KeepEvents = false;
        UsbRequest bulk = Bulk();
        UsbRequest interrupt = Interrupt();
        UsbRequest iso = Iso(0);
        UsbRequest control = Control(new SetupPacket(0x80, 6, 0x100, 0, 18));
        UsbRequest setAddress = Control(new SetupPacket(0, 5, 5, 0, 0));
        UsbRequest refused = Request(new EndpointAddress(9, true), TransferKind.Bulk, 8);
        UsbRequest unlinked = Iso(ulong.MaxValue);
        ulong microframe = 1;

        void Round()
        {
            for (int i = 0; i < 100; i++)
            {
                iso.StartMicroframe = microframe + 4;
                bulk.ActualLength = 0;
                interrupt.ActualLength = 0;
                iso.ActualLength = 0;
                control.ActualLength = 0;
                rig.Submit(bulk);
                rig.Submit(control);
                rig.Submit(setAddress);
                rig.Submit(interrupt);
                rig.Submit(iso);
                rig.Submit(refused);
                rig.Device.Complete(bulk);
                rig.Device.Complete(control);
                microframe += 8;
                rig.RunTo(microframe);
                rig.Submit(unlinked);
                rig.Unlink(unlinked);
                while (rig.Device.Held.Count > 0) rig.Device.CompleteNext();
                rig.Run();
            }
        }

        for (int i = 0; i < 50; i++) Round(); // Past the log's burst, and compiled.
        int completed = rig.Frontend.CompletedCount;
        long before = GC.GetAllocatedBytesForCurrentThread();
        Round();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(0, allocated);
        Assert.Equal(700, rig.Frontend.CompletedCount - completed);
    }
}
