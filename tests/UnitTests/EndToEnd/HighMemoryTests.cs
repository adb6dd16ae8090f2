using Xunit;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Attacks;

namespace XenUsbDm.UnitTests.EndToEnd;

/// <summary>64-bit addresses in every pointer (xHCI 1.2 §5.3.6 AC64); the Windows HLK proves them so.</summary>
public sealed class HighMemoryTests
{
    [Fact]
    public void Streams_and_every_structure_above_4_gib_work()
    {
        using var rig = new Rig(
            new XhciDriverOptions { HighStructures = true, HighBuffers = true, Interrupters = 2, EventSegments = 2, EventSegmentTrbs = 16, RingSegments = 2, RingSegmentTrbs = 16 },
            highMemory: 8 << 20);
        var device = Arena.NewDevice(UsbSpeed.Super);
        UsbDeviceHandle handle = rig.Plug(device);
        GuestPipe linear = handle.ConfigureStreams(Arena.BulkIn, 2);
        GuestPipe secondary = handle.ConfigureStreams(Arena.BulkOut, 2, 0);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(4096);
        GuestBuffer bandwidth = rig.Driver.AllocateStructure(64);

        for (int round = 0; round < 40; round++)
        {
            long read = linear.Submit(buffer.Address, 1024, stream: 3);
            long written = secondary.Submit(buffer.Address + 1024, 1024, stream: 3 | (5 << 2));
            rig.Driver.Expect(() => device.Held.Count == 2, "both requests");
            while (device.Held.Count > 0)
            {
                UsbRequest held = device.Held[0];
                if (held.IsIn) device.Fill(held, new byte[] { 0x5a });
                device.Complete(held);
            }

            Assert.True(linear.Wait(read).Ok);
            Assert.True(secondary.Wait(written).Ok);
            Assert.True(rig.Driver.NoOpCommand().Ok);
        }

        Assert.True(rig.Driver.GetPortBandwidth(bandwidth.Address, 4).Ok);
        Assert.NotEqual(0, rig.Bytes(bandwidth)[5]);
        Assert.Equal(0x5a, rig.Bytes(buffer)[0]);
        Assert.All([buffer.Address, bandwidth.Address, handle.Context.Buffer.Address, rig.Driver.CommandRing.Base], address => Assert.True(address >= 1UL << 32));
    }
}
