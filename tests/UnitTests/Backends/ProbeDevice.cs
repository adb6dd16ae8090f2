using System;
using System.Collections.Generic;
using XenUsbDm.Backends;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.UnitTests.Devices;

/// <summary>An emulated device whose answers a test scripts: bulk 0x81/0x01, isochronous 0x82, and an empty setting 1 of interface 1.</summary>
internal sealed class ProbeDevice(UsbSpeed speed = UsbSpeed.High, byte attributes = 0xe0, DescriptorSet? descriptors = null)
    : EmulatedDevice(speed, descriptors ?? Describe(speed, attributes), 64)
{
    public List<string> Events { get; } = [];

    public Queue<(byte[] Bytes, bool Last)> Replies { get; } = new();

    public bool HoldsHalt { get; set; }

    public bool KeepsHeadOnCancel { get; set; }

    public bool HaltOnPump { get; set; }

    public byte[]? VendorReply { get; set; }

    public byte[]? VendorData { get; private set; }

    public List<int> Taken { get; } = [];

    public override string Description => "probe";

    public static DescriptorSet Describe(UsbSpeed speed, byte attributes)
    {
        bool super = speed == UsbSpeed.Super;
        DescriptorWriter writer = new DescriptorWriter().Configuration(1, attributes, 1).Interface(0, 0, 0xff, 0, 0);
        if (speed == UsbSpeed.Low)
        {
            writer.Endpoint(0x81, TransferKind.Interrupt, 8, 10).Endpoint(0x01, TransferKind.Interrupt, 8, 10);
        }
        else
        {
            foreach (byte address in (byte[])[0x81, 0x01])
            {
                writer.Endpoint(address, TransferKind.Bulk, (ushort)(super ? 1024 : speed == UsbSpeed.High ? 512 : 64), 0);
                if (super) writer.Companion(0, 0, 0);
            }

            writer.Endpoint(0x82, TransferKind.Isochronous, (ushort)(speed == UsbSpeed.High ? 0x1400 : 512), 1);
            if (super) writer.Companion(1, 2, 512 * 6);
        }

        writer.Interface(1, 0, 0xff, 0, 0);
        if (speed is UsbSpeed.Full or UsbSpeed.High) writer.Endpoint(0x83, TransferKind.Interrupt, 64, 1);
        writer.Interface(1, 1, 0xff, 0, 0);
        return new DescriptorSet
        {
            Device = DescriptorWriter.Device((ushort)(super ? 0x0300 : 0x0200), 0xff, (byte)(super ? 9 : speed == UsbSpeed.Low ? 8 : 64), 1, 2, 3, 1),
            Configurations = [writer.ToArray()],
            Strings = ["maker", "thing", "1"],
            Bos = super ? DescriptorWriter.SuperSpeedBos() : null,
        };
    }

    public EmulatedEndpoint At(byte address) => EndpointAt(new EndpointAddress(address))!;

    public EmulatedEndpoint? Find(byte address) => EndpointAt(new EndpointAddress(address));

    public void HaltNow(byte address) => Halt(At(address));

    public void UnhaltNow(byte address) => ClearHalt(At(address));

    public void WakeNow(byte address) => Wake(At(address));

    public bool WakeBus() => TryRemoteWake();

    public void Finish(byte address, UsbRequest request, RequestStatus status) => Complete(At(address), request, status);

    public EmulatedDeviceStateV1 Capture() => CaptureStandard();

    public bool Restore(EmulatedDeviceStateV1? state, out string error) => TryRestoreStandard(state, out error);

    protected override bool Pump(EmulatedEndpoint endpoint, UsbRequest request)
    {
        if (HaltOnPump)
        {
            HaltOnPump = false;
            Halt(endpoint);
            return false;
        }

        bool completed = false;
        while (!completed && Replies.TryDequeue(out (byte[] Bytes, bool Last) reply))
            Taken.Add(SendPackets(endpoint, request, reply.Bytes, reply.Last, out completed));
        return completed;
    }

    protected override bool TryControlIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        reply = VendorReply;
        return VendorReply is not null;
    }

    protected override bool TryControlOut(SetupPacket setup, ReadOnlySpan<byte> data)
    {
        VendorData = data.ToArray();
        return setup.Request == 1;
    }

    protected override void OnReset() => Events.Add("reset");

    protected override void OnDetached() => Events.Add("detached");

    protected override void OnSuspended(bool suspended) => Events.Add(suspended ? "suspended" : "resumed");

    protected override void OnConfigured(byte configuration) => Events.Add($"configured {configuration}");

    protected override void OnInterfaceSet(byte interfaceNumber, byte alternateSetting) => Events.Add($"interface {interfaceNumber} {alternateSetting}");

    protected override bool OnClearHalt(EmulatedEndpoint endpoint) => !HoldsHalt;

    protected override bool OnCancelHead(EmulatedEndpoint endpoint, UsbRequest request) => !KeepsHeadOnCancel;
}
