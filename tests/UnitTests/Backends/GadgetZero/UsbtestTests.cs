using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Devices;

/// <summary>What Linux's usbtest demands of the device behind its cases; the cases themselves run in a guest.</summary>
public sealed class UsbtestTests
{
    private static readonly UsbSpeed[] Speeds = [UsbSpeed.Low, UsbSpeed.Full, UsbSpeed.High, UsbSpeed.Super];

    public static TheoryData<UsbSpeed> AllSpeeds() => [.. Speeds];

    public static TheoryData<UsbSpeed> BulkSpeeds() => [.. Speeds[1..]];

    private static DeviceBench Configured(UsbSpeed speed)
    {
        var bench = new DeviceBench(new XenUsbDm.Backends.GadgetZero.GadgetZero(new GadgetZeroOptions { Speed = speed }));

        // The driver takes the first configuration, as usb_choose_configuration does for vendor-specific ones.
        byte value = bench.Control(0x80, 6, 0x0200, length: 9).Data[5];
        Assert.Equal(3, value);
        Assert.Equal(RequestStatus.Success, bench.Configure(value));
        return bench;
    }

    private static List<(byte Alternate, byte Address, TransferKind Kind, int Packet)> Endpoints(ReadOnlySpan<byte> block)
    {
        List<(byte, byte, TransferKind, int)> found = [];
        byte alternate = 0;
        for (int at = 0; at < block.Length; at += block[at])
        {
            if (block[at + 1] == 4) alternate = block[at + 3];
            if (block[at + 1] == 5) found.Add((alternate, block[at + 2], (TransferKind)(block[at + 3] & 3), (block[at + 4] | (block[at + 5] << 8)) & 0x7ff));
        }

        return found;
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Alternate_settings_offer_bulk_isochronous_and_interrupt_pairs(UsbSpeed speed)
    {
        DeviceBench bench = Configured(speed);
        var endpoints = Endpoints(bench.Device.ActiveConfigurationDescriptor);
        bool Has(byte alternate, TransferKind kind) => endpoints.Count(e => e.Alternate == alternate && e.Kind == kind) == 2;

        Assert.All(new byte[] { 0, 1, 2, 3 }, alternate => Assert.True(Has(alternate, TransferKind.Bulk)));
        Assert.Equal([false, true, false, true], new byte[] { 0, 1, 2, 3 }.Select(a => Has(a, TransferKind.Isochronous)));
        Assert.Equal([false, false, true, true], new byte[] { 0, 1, 2, 3 }.Select(a => Has(a, TransferKind.Interrupt)));
    }

    [Fact]
    public void Low_speed_offers_an_interrupt_pair_only()
    {
        // Setting 1 of configuration 3 is what usbtest's entry fff0:fff0 uses at low speed.
        DeviceBench bench = Configured(UsbSpeed.Low);
        Assert.Equal(
            [
                (0, 0x81, TransferKind.Interrupt, 8), (0, 0x01, TransferKind.Interrupt, 8),
                (1, 0x82, TransferKind.Interrupt, 8), (1, 0x02, TransferKind.Interrupt, 8),
            ],
            Endpoints(bench.Device.ActiveConfigurationDescriptor));

        bench.Configure(2);

        Assert.Equal([(0, 0x81, TransferKind.Interrupt, 8), (0, 0x01, TransferKind.Interrupt, 8)], Endpoints(bench.Device.ActiveConfigurationDescriptor));
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Device_is_gadget_zero_at_every_speed(UsbSpeed speed)
    {
        byte[] device = Configured(speed).Control(0x80, 6, 0x0100, length: 18).Data;

        Assert.Equal([0x25, 0x05, 0xa0, 0xa4], device[8..12]);
        Assert.Equal(speed switch { UsbSpeed.Low => 8, UsbSpeed.Super => 9, _ => 64 }, device[7]);
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Case_9_chapter_9_subset(UsbSpeed speed)
    {
        DeviceBench bench = Configured(speed);
        int alternates = speed == UsbSpeed.Low ? 2 : 4;
        for (byte alternate = 0; alternate < alternates; alternate++)
        {
            Assert.Equal(RequestStatus.Success, bench.SelectAlternate(0, alternate));
            Assert.Equal([alternate], bench.Control(0x81, 10, length: 1).Data);
        }

        Assert.Equal([3], bench.Control(0x80, 8, length: 1).Data);
        byte[] device = bench.Control(0x80, 6, 0x0100, length: 18).Data;
        Assert.Equal(18, device.Length);
        int version = device[2] | (device[3] << 8);
        if (version >= 0x0210) CheckBos(bench);
        Assert.Equal(2, device[17]);
        for (int i = 0; i < device[17]; i++) CheckConfiguration(bench, (ushort)(0x0200 + i), 2);
        if (version == 0x0200) CheckOtherSpeed(bench, speed);
        Assert.Equal(2, bench.Control(0x80, 0, length: 2).ActualLength);
        Assert.Equal(2, bench.Control(0x81, 0, length: 2).ActualLength);
    }

    private static void CheckBos(DeviceBench bench)
    {
        byte[] header = bench.Control(0x80, 6, 0x0f00, length: 5).Data;
        byte[] bos = bench.Control(0x80, 6, 0x0f00, length: header[2]).Data;
        Assert.Equal(header[2], bos.Length);
        int at = 5;
        for (int i = 0; i < bos[4]; i++, at += bos[at])
        {
            Assert.Equal(16, bos[at + 1]);
            if (bos[at + 2] == 2) Assert.Equal((7, 0, 0, 0), (bos[at], bos[at + 3] & 1, bos[at + 5], bos[at + 6]));
            if (bos[at + 2] == 3) Assert.Equal((10, 0, 0, 0), (bos[at], bos[at + 3] & ~2, bos[at + 4] & ~0xf, bos[at + 5]));
        }

        Assert.Equal(bos.Length, at);
    }

    private static void CheckConfiguration(DeviceBench bench, ushort value, byte type)
    {
        byte[] block = bench.Control(0x80, 6, value, length: 256).Data;
        Assert.Equal((9, type), (block[0], block[1]));
        Assert.Equal(0x80, block[7] & 0x9f);
        int total = block[2] | (block[3] << 8);
        Assert.True(total == block.Length || total >= 256);
    }

    private static void CheckOtherSpeed(DeviceBench bench, UsbSpeed speed)
    {
        ControlResult qualifier = bench.Control(0x80, 6, 0x0600, length: 10);
        Assert.Equal(speed == UsbSpeed.High ? RequestStatus.Success : RequestStatus.Stall, qualifier.Status);
        if (qualifier.Status == RequestStatus.Stall) return;
        Assert.Equal(10, qualifier.Data.Length);
        for (int i = 0; i < qualifier.Data[8]; i++) CheckConfiguration(bench, (ushort)(0x0700 + i), 7);
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Case_10_sixteen_subcases(UsbSpeed speed)
    {
        DeviceBench bench = Configured(speed);
        byte[] device = bench.Control(0x80, 6, 0x0100, length: 18).Data;
        int packet0 = speed == UsbSpeed.Super ? 512 : device[7];
        void Whole(byte type, byte request, int value, int length) =>
            Assert.Equal((RequestStatus.Success, length), Outcome(bench, type, request, value, length));
        void Short(int value, int length)
        {
            (RequestStatus status, int actual) = Outcome(bench, 0x80, 6, value, length);
            Assert.Equal(RequestStatus.Success, status);
            Assert.InRange(actual, 1, length - 1);
        }

        void Stalls(int value, int length) => Assert.Equal(RequestStatus.Stall, Outcome(bench, 0x80, 6, value, length).Status);

        Whole(0x80, 6, 0x0100, 18);
        Whole(0x80, 6, 0x0200, 9);
        Whole(0x81, 10, 0, 1);
        Whole(0x81, 0, 0, 2);
        Whole(0x80, 0, 0, 2);
        if (speed == UsbSpeed.High) Whole(0x80, 6, 0x0600, 10);
        else Stalls(0x0600, 10);
        Whole(0x80, 6, 0x0200, 18);
        Stalls(0x0400, 9);
        Assert.Equal(RequestStatus.Success, bench.Control(0x02, 1).Status);
        Whole(0x82, 0, 0, 2);
        Short(0x0200, 1024);
        Stalls(0x0500, 9);
        Short(0x0300, 9);
        Short(0x0200, 1024 - packet0);
        Short(0x0100, packet0 == 8 ? 24 : packet0);
        if (speed == UsbSpeed.Super) Whole(0x80, 6, 0x0f00, 22);
        else Stalls(0x0f00, 5);
    }

    private static (RequestStatus Status, int Actual) Outcome(DeviceBench bench, byte type, byte request, int value, int length)
    {
        ControlResult result = bench.Control(type, request, (ushort)value, length: length);
        return (result.Status, result.ActualLength);
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Case_13_set_and_clear_halt(UsbSpeed speed)
    {
        DeviceBench bench = Configured(speed);
        foreach (byte address in (byte[])[0x81, 0x01])
        {
            for (int round = 0; round < 2; round++)
            {
                Assert.Equal([0, 0], bench.Control(0x82, 0, 0, address, length: 2).Data);
                Assert.Equal(RequestStatus.Success, bench.StatusOf(bench.Submit(address, TransferKind.Bulk, 0, 1024)));
                Assert.Equal(RequestStatus.Success, bench.Control(0x02, 3, 0, address).Status);
                Assert.Equal([1, 0], bench.Control(0x82, 0, 0, address, length: 2).Data);
                Assert.Equal(RequestStatus.Stall, bench.StatusOf(bench.Submit(address, TransferKind.Bulk, 0, 1024)));
                Assert.Equal(RequestStatus.Stall, bench.StatusOf(bench.Submit(address, TransferKind.Bulk, 0, 1024)));
                Assert.Equal(RequestStatus.Success, bench.Control(0x02, 1, 0, address).Status);
            }
        }
    }

    [Theory]
    [MemberData(nameof(AllSpeeds))]
    public void Case_14_control_writes_of_every_length_read_back(UsbSpeed speed)
    {
        DeviceBench bench = Configured(speed);
        for (int i = 0, length = 1; length <= 4096; i++, length += 251)
        {
            byte[] data = [.. Enumerable.Range(i, length).Select(j => (byte)(j & 0xff))];

            Assert.Equal(length, bench.Control(0x40, 0x5b, data: data).ActualLength);
            Assert.Equal(data, bench.Control(0xc0, 0x5c, length: length).Data);
        }
    }

    [Theory]
    [MemberData(nameof(BulkSpeeds))]
    public void Case_24_unlinking_two_of_many_leaves_the_others(UsbSpeed speed)
    {
        // Loopback holds back what it cannot store, so requests are really queued when two of them are unlinked.
        DeviceBench bench = Configured(speed);
        bench.Configure(2);
        bench.Send(0x01, TransferKind.Bulk, new byte[64 << 10]);
        UsbRequest[] queued = [.. Enumerable.Range(0, 8).Select(_ => bench.Submit(0x01, TransferKind.Bulk, 0, 1024))];

        bench.Device.Cancel(queued[4]);
        bench.Device.Cancel(queued[6]);
        bench.Submit(0x81, TransferKind.Bulk, 1 << 20, 80 << 10);

        Assert.All(queued, (request, i) => Assert.Equal(i is 4 or 6 ? RequestStatus.Cancelled : RequestStatus.Success, bench.StatusOf(request)));
    }
}
