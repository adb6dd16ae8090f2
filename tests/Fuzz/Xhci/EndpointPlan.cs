using XenUsbDm.Core.Usb;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>What the driver puts into an endpoint context (xHCI 1.2 §6.2.3).</summary>
public readonly record struct EndpointPlan(byte Address, TransferKind Kind, int Packet, int Interval = 0, int Burst = 0, int Mult = 0, bool TakesStreams = true)
{
    public bool IsIn => (Address & 0x80) != 0;

    public int Dci => ((Address & 15) * 2) + (IsIn ? 1 : 0);

    /// <summary>Table 6-9.</summary>
    public int Type => (int)Kind + (IsIn ? 4 : 0);
}

/// <summary>Device kinds of the fuzzer.</summary>
public enum FuzzDevice
{
    Zero,
    Disk,
    Keyboard,
    Fake,
}

/// <summary>The endpoints that each kind of device has, as the driver would have worked them out of its descriptors.</summary>
public static class EndpointPlans
{
    public static EndpointPlan[] Of(FuzzDevice device, UsbSpeed speed, int alternate)
    {
        bool super = speed == UsbSpeed.Super;
        int bulk = speed switch { UsbSpeed.Low => 8, UsbSpeed.Full => 64, UsbSpeed.High => 512, _ => 1024 };
        int burst = super ? 15 : 0;
        int isoch = speed == UsbSpeed.Full ? 512 : 1024;
        int interrupt = speed == UsbSpeed.Full ? 64 : 1024;
        int interval = speed == UsbSpeed.Full ? 6 : 3;
        EndpointPlan bulkIn = new(0x81, speed == UsbSpeed.Low ? TransferKind.Interrupt : TransferKind.Bulk, bulk, speed == UsbSpeed.Low ? 6 : 0, burst);
        switch (device)
        {
            case FuzzDevice.Disk when (alternate & 3) != 0:
                // USB Attached SCSI: command, status, data in, data out.
                return [bulkIn with { Address = 0x03, TakesStreams = false }, bulkIn with { Address = 0x84 }, bulkIn with { Address = 0x85 }, bulkIn with { Address = 0x06 }];
            case FuzzDevice.Disk:
                return [bulkIn, bulkIn with { Address = 0x02 }];
            case FuzzDevice.Keyboard:
                return [new(0x81, TransferKind.Interrupt, 8, 6)];
            case FuzzDevice.Zero when speed == UsbSpeed.Low:
                return [bulkIn, bulkIn with { Address = 0x01 }];
            default:
                EndpointPlan bulkOut = bulkIn with { Address = 0x01 };
                EndpointPlan isochIn = new(0x82, TransferKind.Isochronous, isoch, interval);
                EndpointPlan interruptIn = new(0x83, TransferKind.Interrupt, interrupt, interval);
                return (alternate & 3) switch
                {
                    0 => [bulkIn, bulkOut],
                    1 => [bulkIn, bulkOut, isochIn, isochIn with { Address = 0x02 }],
                    2 => [bulkIn, bulkOut, interruptIn, interruptIn with { Address = 0x03 }],
                    _ => [bulkIn, bulkOut, isochIn, isochIn with { Address = 0x02 }, interruptIn, interruptIn with { Address = 0x03 }],
                };
        }
    }
}
