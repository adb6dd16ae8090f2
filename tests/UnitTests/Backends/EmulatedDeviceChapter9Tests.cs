using System;
using System.Collections.Generic;
using System.Text;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline.Requests;
using XenUsbDm.TestKit.Devices;
using Xunit;

namespace XenUsbDm.UnitTests.Devices;

public sealed class EmulatedDeviceChapter9Tests
{
    private const RequestStatus Ok = RequestStatus.Success;
    private const RequestStatus Stall = RequestStatus.Stall;

    private static (ProbeDevice Device, DeviceBench Bench) Make(UsbSpeed speed = UsbSpeed.High, bool configured = true, byte attributes = 0xe0)
    {
        var device = new ProbeDevice(speed, attributes);
        var bench = new DeviceBench(device);
        if (configured) Assert.Equal(Ok, bench.Configure(1));
        return (device, bench);
    }

    // Request, wValue, wIndex, wLength, status when addressed, status when configured (USB 2.0 §9.4, USB 3.2 §9.4).
    public static TheoryData<UsbSpeed, byte, byte, ushort, ushort, int, RequestStatus, RequestStatus> Requests()
    {
        var rows = new TheoryData<UsbSpeed, byte, byte, ushort, ushort, int, RequestStatus, RequestStatus>();
        void High(byte type, byte request, int value, int index, int length, RequestStatus addressed, RequestStatus configured) =>
            rows.Add(UsbSpeed.High, type, request, (ushort)value, (ushort)index, length, addressed, configured);
        void Super(byte type, byte request, int value, int index, int length, RequestStatus addressed, RequestStatus configured) =>
            rows.Add(UsbSpeed.Super, type, request, (ushort)value, (ushort)index, length, addressed, configured);

        // GET_STATUS
        High(0x80, 0, 0, 0, 2, Ok, Ok);
        High(0x80, 0, 1, 0, 2, Stall, Stall);
        High(0x80, 0, 0, 1, 2, Stall, Stall);
        High(0x81, 0, 0, 0, 2, Stall, Ok);
        High(0x81, 0, 0, 2, 2, Stall, Stall);
        High(0x82, 0, 0, 0x00, 2, Ok, Ok);
        High(0x82, 0, 0, 0x80, 2, Ok, Ok);
        High(0x82, 0, 0, 0x100, 2, Stall, Stall);
        High(0x82, 0, 0, 0x81, 2, Stall, Ok);
        High(0x82, 0, 0, 0x91, 2, Stall, Stall);
        High(0x82, 0, 0, 0x84, 2, Stall, Stall);
        High(0x83, 0, 0, 0, 2, Stall, Stall);

        // CLEAR_FEATURE and SET_FEATURE
        High(0x00, 3, 1, 0, 0, Ok, Ok);
        High(0x00, 1, 1, 0, 0, Ok, Ok);
        High(0x00, 3, 1, 1, 0, Stall, Stall);
        High(0x00, 3, 1, 0, 1, Stall, Stall);
        High(0x00, 1, 1, 0, 1, Stall, Stall);
        High(0x00, 3, 2, 0x0100, 0, Stall, Stall);
        High(0x00, 3, 48, 0, 0, Stall, Stall);
        High(0x00, 3, 0, 0, 0, Stall, Stall);
        High(0x01, 3, 0, 0, 0, Stall, Stall);
        High(0x02, 3, 0, 0x81, 0, Stall, Ok);
        High(0x02, 3, 0, 0x82, 0, Stall, Stall);
        High(0x02, 3, 0, 0x84, 0, Stall, Stall);
        High(0x02, 3, 0, 0x00, 0, Stall, Stall);
        High(0x02, 3, 1, 0x81, 0, Stall, Stall);
        High(0x02, 1, 0, 0x81, 0, Stall, Ok);
        High(0x02, 1, 0, 0x00, 0, Ok, Ok);
        High(0x02, 1, 0, 0x84, 0, Stall, Stall);
        High(0x02, 1, 1, 0x81, 0, Stall, Stall);
        Super(0x00, 3, 1, 0, 0, Stall, Stall);
        Super(0x00, 3, 48, 0, 0, Stall, Ok);
        Super(0x00, 3, 49, 0, 0, Stall, Ok);
        Super(0x00, 1, 48, 0, 0, Stall, Ok);
        Super(0x00, 3, 50, 0, 0, Stall, Stall);
        Super(0x00, 3, 48, 1, 0, Stall, Stall);
        Super(0x01, 3, 0, 0x0300, 0, Stall, Ok);
        Super(0x01, 3, 0, 0x0400, 0, Stall, Stall);
        Super(0x01, 3, 0, 0x0302, 0, Stall, Stall);
        Super(0x01, 1, 0, 0x0000, 0, Stall, Ok);

        // GET_DESCRIPTOR, SET_DESCRIPTOR
        High(0x80, 6, 0x0100, 0, 18, Ok, Ok);
        High(0x80, 6, 0x0101, 0, 18, Stall, Stall);
        High(0x80, 6, 0x0200, 0, 9, Ok, Ok);
        High(0x80, 6, 0x0201, 0, 9, Stall, Stall);
        High(0x80, 6, 0x0300, 0, 255, Ok, Ok);
        High(0x80, 6, 0x0303, 0x0409, 255, Ok, Ok);
        High(0x80, 6, 0x0303, 0, 255, Ok, Ok);
        High(0x80, 6, 0x0303, 0x0407, 255, Stall, Stall);
        High(0x80, 6, 0x0304, 0x0409, 255, Stall, Stall);
        High(0x80, 6, 0x03ee, 0, 18, Stall, Stall);
        High(0x80, 6, 0x0400, 0, 9, Stall, Stall);
        High(0x80, 6, 0x0500, 0, 9, Stall, Stall);
        High(0x80, 6, 0x0600, 0, 10, Stall, Stall);
        High(0x80, 6, 0x0700, 0, 9, Stall, Stall);
        High(0x80, 6, 0x0f00, 0, 5, Stall, Stall);
        High(0x82, 6, 0x0100, 0, 18, Stall, Stall);
        High(0x00, 7, 0x0100, 0, 0, Stall, Stall);
        Super(0x80, 6, 0x0f00, 0, 5, Ok, Ok);
        Super(0x80, 6, 0x0f01, 0, 5, Stall, Stall);

        // GET_CONFIGURATION, GET_INTERFACE, SET_INTERFACE, SET_CONFIGURATION
        High(0x80, 8, 0, 0, 1, Ok, Ok);
        High(0x80, 8, 1, 0, 1, Stall, Stall);
        High(0x80, 8, 0, 1, 1, Stall, Stall);
        High(0x81, 8, 0, 0, 1, Stall, Stall);
        High(0x81, 10, 0, 0, 1, Stall, Ok);
        High(0x81, 10, 1, 0, 1, Stall, Stall);
        High(0x81, 10, 0, 2, 1, Stall, Stall);
        High(0x80, 10, 0, 0, 1, Stall, Stall);
        High(0x01, 11, 0, 0, 0, Stall, Ok);
        High(0x01, 11, 1, 1, 0, Stall, Ok);
        High(0x01, 11, 1, 0, 0, Stall, Stall);
        High(0x01, 11, 0, 2, 0, Stall, Stall);
        High(0x01, 11, 0x100, 0, 0, Stall, Stall);
        High(0x01, 11, 0, 0x100, 0, Stall, Stall);
        High(0x01, 11, 0, 0, 1, Stall, Stall);
        High(0x00, 9, 1, 0, 0, Ok, Ok);
        High(0x00, 9, 2, 0, 0, Stall, Stall);
        High(0x00, 9, 0x101, 0, 0, Stall, Stall);
        High(0x00, 9, 1, 1, 0, Stall, Stall);
        High(0x00, 9, 1, 0, 1, Stall, Stall);

        // SET_ADDRESS is the pipeline's. SYNCH_FRAME, SET_SEL, SET_ISOCH_DELAY, and what does not exist.
        High(0x00, 5, 1, 0, 0, Stall, Stall);
        High(0x82, 12, 0, 0x82, 2, Stall, Ok);
        High(0x82, 12, 0, 0x81, 2, Stall, Stall);
        High(0x82, 12, 1, 0x82, 2, Stall, Stall);
        High(0x80, 12, 0, 0x82, 2, Stall, Stall);
        High(0x00, 48, 0, 0, 6, Stall, Stall);
        High(0x00, 49, 40, 0, 0, Stall, Stall);
        Super(0x00, 48, 0, 0, 6, Ok, Ok);
        Super(0x00, 48, 0, 0, 5, Stall, Stall);
        Super(0x00, 48, 1, 0, 6, Stall, Stall);
        Super(0x00, 48, 0, 1, 6, Stall, Stall);
        Super(0x01, 48, 0, 0, 6, Stall, Stall);
        Super(0x00, 49, 40, 0, 0, Ok, Ok);
        Super(0x00, 49, 40, 1, 0, Stall, Stall);
        Super(0x01, 49, 40, 0, 0, Stall, Stall);
        Super(0x00, 49, 40, 0, 1, Stall, Stall);
        High(0x80, 2, 0, 0, 1, Stall, Stall);
        High(0x00, 200, 0, 0, 0, Stall, Stall);
        return rows;
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public void Standard_request_is_answered_as_chapter_9_says(UsbSpeed speed, byte type, byte request, ushort value, ushort index, int length, RequestStatus addressed, RequestStatus configured)
    {
        foreach (bool isConfigured in (bool[])[false, true])
        {
            (_, DeviceBench bench) = Make(speed, isConfigured);

            ControlResult result = bench.Control(new SetupPacket(type, request, value, index, (ushort)length), new byte[length], length);

            Assert.Equal(isConfigured ? configured : addressed, result.Status);
            if (result.Status == Stall) Assert.Equal(0, result.ActualLength);
        }
    }

    [Theory]
    [InlineData(18, 64, 18)]
    [InlineData(8, 64, 8)]
    [InlineData(64, 10, 10)]
    [InlineData(255, 255, 18)]
    [InlineData(0, 0, 0)]
    [InlineData(0, 18, 0)]
    public void Reply_is_the_least_of_descriptor_wLength_and_buffer(int wLength, int buffer, int expected)
    {
        (_, DeviceBench bench) = Make();

        ControlResult result = bench.Control(new SetupPacket(0x80, 6, 0x0100, 0, (ushort)wLength), default, buffer);

        Assert.Equal((Ok, expected), (result.Status, result.ActualLength));
    }

    [Fact]
    public void Configuration_and_interface_read_back_what_was_set()
    {
        (ProbeDevice device, DeviceBench bench) = Make(configured: false);

        Assert.Equal([0], bench.Control(0x80, 8, length: 1).Data);
        bench.Configure(1);
        Assert.Equal([1], bench.Control(0x80, 8, length: 1).Data);
        Assert.Equal(bench.Control(0x80, 6, 0x0200, length: 255).Data, device.ActiveConfigurationDescriptor.ToArray());
        bench.SelectAlternate(1, 1);
        Assert.Equal([1], bench.Control(0x81, 10, 0, 1, length: 1).Data);
        bench.Configure(1);
        Assert.Equal([0], bench.Control(0x81, 10, 0, 1, length: 1).Data);
        Assert.Equal(["reset", "configured 1", "interface 1 1", "configured 1"], device.Events);
    }

    [Theory]
    [InlineData(0x80, new byte[] { 0, 0 })]
    [InlineData(0xc0, new byte[] { 1, 0 })]
    public void Device_status_tells_the_power_source(byte attributes, byte[] expected)
    {
        (_, DeviceBench bench) = Make(attributes: attributes);

        Assert.Equal(expected, bench.Control(0x80, 0, length: 2).Data);
    }

    [Fact]
    public void Remote_wake_feature_shows_in_status_and_allows_waking_a_suspended_bus_only()
    {
        (ProbeDevice device, DeviceBench bench) = Make();
        device.SetSuspended(true);
        Assert.False(device.WakeBus());
        device.SetSuspended(false);

        Assert.Equal(Ok, bench.Control(0x00, 3, 1).Status);
        Assert.Equal([3, 0], bench.Control(0x80, 0, length: 2).Data);
        Assert.False(device.WakeBus());
        device.SetSuspended(true);
        device.SetSuspended(true);
        Assert.True(device.WakeBus());
        Assert.Equal(1, bench.RemoteWakes);
        Assert.Equal(["suspended", "resumed", "suspended"], device.Events[2..]);

        device.Reset();
        Assert.Equal([1, 0], bench.Control(0x80, 0, length: 2).Data);
    }

    [Fact]
    public void Remote_wake_feature_stalls_on_a_device_that_cannot()
    {
        foreach (bool configured in (bool[])[false, true])
        {
            (_, DeviceBench bench) = Make(configured: configured, attributes: 0xc0);
            Assert.Equal(Stall, bench.Control(0x00, 3, 1).Status);
        }

        (_, DeviceBench super) = Make(UsbSpeed.Super, attributes: 0xc0);
        Assert.Equal(Stall, super.Control(0x01, 3, 0, 0x0200).Status);
        Assert.Equal([0, 0], super.Control(0x81, 0, length: 2).Data);
    }

    [Fact]
    public void Remote_wake_survives_deconfiguration_and_U1_does_not()
    {
        (_, DeviceBench bench) = Make();
        bench.Control(0x00, 3, 1);
        bench.Configure(0);
        Assert.Equal([3, 0], bench.Control(0x80, 0, length: 2).Data);

        (_, DeviceBench super) = Make(UsbSpeed.Super);
        super.Control(0x00, 3, 48);
        super.Control(0x00, 3, 49);
        Assert.Equal([0x0d, 0], super.Control(0x80, 0, length: 2).Data);
        super.Control(0x00, 1, 49);
        Assert.Equal([0x05, 0], super.Control(0x80, 0, length: 2).Data);
        super.Configure(0);
        Assert.Equal([1, 0], super.Control(0x80, 0, length: 2).Data);
    }

    [Fact]
    public void Function_suspend_with_remote_wake_shows_in_interface_status_and_allows_waking()
    {
        (ProbeDevice device, DeviceBench bench) = Make(UsbSpeed.Super);
        Assert.Equal([1, 0], bench.Control(0x81, 0, 0, 1, length: 2).Data);

        Assert.Equal(Ok, bench.Control(0x01, 3, 0, 0x0201).Status);

        Assert.Equal([3, 0], bench.Control(0x81, 0, 0, 1, length: 2).Data);
        Assert.Equal([1, 0], bench.Control(0x81, 0, 0, 0, length: 2).Data);
        device.SetSuspended(true);
        Assert.True(device.WakeBus());
        Assert.Equal(Ok, bench.Control(0x01, 1, 0, 0x0001).Status);
        Assert.False(device.WakeBus());
    }

    [Fact]
    public void Halt_feature_shows_in_endpoint_status_and_set_interface_clears_it()
    {
        (_, DeviceBench bench) = Make();

        bench.Control(0x02, 3, 0, 0x81);
        Assert.Equal([1, 0], bench.Control(0x82, 0, 0, 0x81, length: 2).Data);
        Assert.Equal([0, 0], bench.Control(0x82, 0, 0, 0x01, length: 2).Data);
        bench.SelectAlternate(0, 0);

        Assert.Equal([0, 0], bench.Control(0x82, 0, 0, 0x81, length: 2).Data);
    }

    [Fact]
    public void Synch_frame_answers_the_frame_number()
    {
        (_, DeviceBench bench) = Make();
        bench.Now = VirtualTime.AtMicroframe((2048 + 300) * 8);

        Assert.Equal([300 & 0xff, 300 >> 8], bench.Control(0x82, 12, 0, 0x82, length: 2).Data);
    }

    [Fact]
    public void String_is_utf16_and_string_0_names_us_english()
    {
        (_, DeviceBench bench) = Make();

        Assert.Equal([4, 3, 9, 4], bench.Control(0x80, 6, 0x0300, length: 255).Data);
        byte[] text = bench.Control(0x80, 6, 0x0302, 0x0409, length: 255).Data;
        Assert.Equal("thing", Encoding.Unicode.GetString(text.AsSpan(2)));
    }

    [Fact]
    public void Standard_requests_submitted_as_plain_control_requests_work_too()
    {
        (ProbeDevice device, DeviceBench bench) = Make(configured: false);
        UsbRequest Plain(byte type, byte request, ushort value, ushort index)
        {
            var made = new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(type, request, value, index, 0) };
            device.Submit(made);
            return made;
        }

        Assert.Equal(Ok, bench.StatusOf(Plain(0, 9, 1, 0)));
        Assert.Equal(Ok, bench.StatusOf(Plain(1, 11, 1, 1)));
        device.HaltNow(0x81);
        Assert.Equal(Ok, bench.StatusOf(Plain(2, 1, 0, 0x81)));
        Assert.False(device.At(0x81).Halted);
    }

    [Fact]
    public void Class_request_data_reaches_the_device_and_too_much_of_it_stalls()
    {
        (ProbeDevice device, DeviceBench bench) = Make();

        Assert.Equal(3, bench.Control(0x21, 1, data: [7, 8, 9]).ActualLength);
        Assert.Equal([7, 8, 9], device.VendorData!);
        Assert.Equal(Stall, bench.Control(0x21, 2, data: [1]).Status);
        Assert.Equal(Stall, bench.Control(0x21, 1, data: new byte[65]).Status);
        Assert.Equal(Stall, bench.Control(new SetupPacket(0x21, 1, 0, 0, 4), new byte[5], 5).Status);
        Assert.Equal(2, bench.Control(new SetupPacket(0x21, 1, 0, 0, 4), [5, 6], 2).ActualLength);
        Assert.Equal([5, 6], device.VendorData!);
    }

    [Fact]
    public void Class_request_for_data_is_answered_by_the_device_or_stalls()
    {
        (ProbeDevice device, DeviceBench bench) = Make();

        Assert.Equal(Stall, bench.Control(0xa1, 1, length: 8).Status);
        device.VendorReply = [1, 2, 3];
        Assert.Equal([1, 2, 3], bench.Control(0xc0, 1, length: 8).Data);
        Assert.Equal([1, 2], bench.Control(0x81, 6, 0x2100, length: 2).Data);
    }

    [Theory]
    [InlineData(0x80, 6, 0x0100)]
    [InlineData(0x21, 1, 0)]
    public void Control_data_in_missing_memory_is_a_memory_fault(byte type, byte code, ushort value)
    {
        (ProbeDevice device, DeviceBench bench) = Make();
        var request = new UsbRequest { Kind = TransferKind.Control, Setup = new SetupPacket(type, code, value, 0, 18) };
        request.Data.Add(new GuestAddress(1UL << 40), 18);

        device.Submit(request);

        Assert.Equal(RequestStatus.MemoryFault, bench.StatusOf(request));
        Assert.Equal(0, request.ActualLength);
    }

    [Fact]
    public void High_bandwidth_endpoints_know_their_bytes_per_interval()
    {
        Assert.Equal(1024 * 3, Make().Device.At(0x82).IntervalBytes);
        Assert.Equal(512, Make(UsbSpeed.Full).Device.At(0x82).IntervalBytes);
        Assert.Equal(512 * 6, Make(UsbSpeed.Super).Device.At(0x82).IntervalBytes);
        Assert.Equal(512, Make().Device.At(0x81).IntervalBytes);
    }

    public static TheoryData<string, Func<byte[], byte[]>> BrokenConfigurations() => new()
    {
        { "empty", _ => [] },
        { "header length", b => Changed(b, 0, 8) },
        { "header type", b => Changed(b, 1, 3) },
        { "total length", b => Changed(b, 2, 1) },
        { "value 0", b => Changed(b, 5, 0) },
        { "attributes", b => Changed(b, 7, 0x60) },
        { "interfaces", b => Changed(b, 4, 1) },
        { "interfaces missing", b => Changed(b, 4, 3) },
        { "descriptor length 0", b => Changed(b, 9, 0) },
        { "descriptor too long", b => Changed(b, b.Length - 9, 200) },
        { "interface length", b => Changed(b, 18, 9) },
        { "alternate", b => Changed(b, 12, 1) },
        { "endpoint count low", b => Changed(b, 13, 2) },
        { "endpoint count high", b => Changed(b, b.Length - 5, 1) },
        { "endpoint 0", b => Changed(b, 20, 0x80) },
        { "control endpoint", b => Changed(b, 21, 0) },
        { "packet size", b => Changed(b, 23, 7) },
    };

    private static byte[] Changed(byte[] block, int offset, byte value)
    {
        if (block.Length == 0) return block;
        byte[] copy = [.. block];
        copy[offset] = value == 9 && offset == 18 ? (byte)8 : value;
        return copy;
    }

    [Theory]
    [MemberData(nameof(BrokenConfigurations))]
    public void Contradictory_configuration_is_refused_at_construction(string what, Func<byte[], byte[]> change)
    {
        DescriptorSet good = ProbeDevice.Describe(UsbSpeed.High, 0xe0);
        ArgumentNullException.ThrowIfNull(change);

        Exception error = Record.Exception(() => new ProbeDevice(descriptors: good with { Configurations = [change(good.Configurations[0])] }))!;

        Assert.True(error is ArgumentException, what);
    }

    [Fact]
    public void Contradictory_descriptor_sets_are_refused_at_construction()
    {
        DescriptorSet good = ProbeDevice.Describe(UsbSpeed.High, 0xe0);
        List<DescriptorSet> bad =
        [
            good with { Device = new byte[18] },
            good with { Device = [18, 1] },
            good with { Configurations = [] },
            good with { Configurations = [good.Configurations[0], good.Configurations[0]] },
            good with { Bos = [5, 15, 9, 0, 0] },
            good with { Qualifier = DescriptorWriter.Qualifier(0, 64, 1) },
        ];

        Assert.All(bad, set => Assert.Throws<ArgumentException>(() => new ProbeDevice(descriptors: set)));
        Assert.Throws<ArgumentException>(() => new ProbeDevice(UsbSpeed.Low, descriptors: good));
        Assert.Throws<ArgumentException>(() => new ProbeDevice(UsbSpeed.Super, descriptors: good));
    }

    [Fact]
    public void State_restored_into_a_new_device_shows_the_same_tree()
    {
        (ProbeDevice device, DeviceBench bench) = Make(UsbSpeed.Super);
        bench.SelectAlternate(1, 1);
        bench.Control(0x02, 3, 0, 0x81);
        bench.Control(0x00, 3, 48);
        bench.Control(0x01, 3, 0, 0x0200);
        bench.Control(0x00, 49, 40);
        bench.Control(0x00, 48, data: [1, 2, 3, 4, 5, 6]);
        device.SetSuspended(true);
        (ProbeDevice copy, _) = Make(UsbSpeed.Super, configured: false);

        Assert.True(copy.Restore(device.Capture(), out string error), error);

        Assert.Equal(InspectWriter.Dump(device), InspectWriter.Dump(copy));
        Assert.Equal([1, 2, 3, 4, 5, 6], copy.Capture().SystemExitLatency);
        Assert.True(copy.At(0x81).Halted);
    }

    [Fact]
    public void Inspect_shows_the_descriptors_that_a_guest_reads()
    {
        (ProbeDevice device, DeviceBench bench) = Make();
        string tree = InspectWriter.Dump(device);

        (string Name, ushort Value)[] all = [("device", 0x0100), ("configuration/0", 0x0200), ("configuration/1", 0x0201), ("string/0", 0x0300), ("string/1", 0x0301), ("qualifier", 0x0600), ("other-speed/0", 0x0700)];
        foreach ((string name, ushort value) in all)
        {
            byte[] read = bench.Control(0x80, 6, value, length: 4096).Data;
            if (read.Length == 0) Assert.DoesNotContain($"/descriptors/{name} ", tree, StringComparison.Ordinal);
            else Assert.Contains($"/descriptors/{name} {Convert.ToHexStringLower(read)}\n", tree, StringComparison.Ordinal);
        }

        (ProbeDevice super, DeviceBench superBench) = Make(UsbSpeed.Super);
        Assert.Contains($"/descriptors/bos {Convert.ToHexStringLower(superBench.Control(0x80, 6, 0x0f00, length: 4096).Data)}\n", InspectWriter.Dump(super), StringComparison.Ordinal);
    }

    [Fact]
    public void State_of_an_unconfigured_device_restores()
    {
        (ProbeDevice device, _) = Make(configured: false);
        (ProbeDevice copy, _) = Make();

        Assert.True(copy.Restore(device.Capture(), out _));

        Assert.Equal(InspectWriter.Dump(device), InspectWriter.Dump(copy));
    }

    [Fact]
    public void State_that_cannot_be_is_refused_and_changes_nothing()
    {
        (ProbeDevice device, _) = Make();
        EmulatedDeviceStateV1 good = device.Capture();
        string before = InspectWriter.Dump(device);
        List<EmulatedDeviceStateV1?> bad =
        [
            null,
            good with { AlternateSettings = null! },
            good with { FunctionSuspend = null! },
            good with { SystemExitLatency = null! },
            good with { SystemExitLatency = new byte[5] },
            good with { Configuration = 9 },
            good with { Configuration = 0 },
            good with { AlternateSettings = [0] },
            good with { FunctionSuspend = [0] },
            good with { AlternateSettings = [0, 2] },
            good with { AlternateSettings = [0, 1], HaltedEndpoints = 1u << 7 },
            good with { FunctionSuspend = [4, 0] },
            good with { FunctionSuspend = [1, 0] },
            good with { HaltedEndpoints = 1u << 5 },
            good with { HaltedEndpoints = 1 },
            good with { U1 = true },
            good with { U2 = true },
        ];

        foreach (EmulatedDeviceStateV1? state in bad)
        {
            Assert.False(device.Restore(state, out string error));
            Assert.NotEmpty(error);
        }

        Assert.Equal(before, InspectWriter.Dump(device));
        (ProbeDevice super, _) = Make(UsbSpeed.Super);
        Assert.False(super.Restore(super.Capture() with { RemoteWake = true }, out _));
        Assert.False(super.Restore(super.Capture() with { Configuration = 0, AlternateSettings = [], FunctionSuspend = [], U1 = true }, out _));
    }
}
