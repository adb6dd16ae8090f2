using System.Collections.Generic;
using XenUsbDm.Core.Usb;
using XenUsbDm.Fuzz.Xhci;
using XenUsbDm.TestKit.Devices;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>Where the corpora of the small targets start.</summary>
public static class ParserSeeds
{
    public static IEnumerable<(string Target, string Name, byte[] Input)> All()
    {
        byte[] configuration = new DescriptorBuilder()
            .Interface(0).Endpoint(0x81, TransferKind.Bulk, 1024).Companion(15, 4).Endpoint(0x01, TransferKind.Bulk, 512)
            .Interface(0, 1).Endpoint(0x82, TransferKind.Isochronous, 0x1400, 4).Companion(3, 2, 12288)
            .Interface(1).Endpoint(0x83, TransferKind.Interrupt, 64, 16).Raw(9, 0x21, 1, 1, 1, 1, 1, 1, 1)
            .Build();
        yield return (DescriptorTarget.Name, "whole", configuration);
        yield return (DescriptorTarget.Name, "length-0", [9, 2, 40, 0, 1, 1, 0, 0x80, 50, 0, 4]);
        yield return (DescriptorTarget.Name, "length-beyond-end", [9, 2, 255, 255, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 1, 255, 0, 0, 0, 7, 5, 0x81]);
        yield return (DescriptorTarget.Name, "endpoint-0", [9, 2, 25, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 1, 255, 0, 0, 0, 7, 5, 0x80, 3, 8, 0, 255]);
        yield return (DescriptorTarget.Name, "empty", []);
        byte up = (byte)FuzzAction.BringUp;
        byte many = (byte)FuzzAction.ManyTransfers;
        byte[] run = [up, 0, 8, 0, 0, 0, 0, 0, many, 0, 0x43, 7, 0, 0, 0, 0];
        yield return (StateTarget.Name, "unchanged", [.. run, .. new byte[32]]);
        yield return (StateTarget.Name, "large-numbers", [.. run, 10, 2, 0, 2, 0, 0, 0, 0, 100, 8, 0, 5, 0, 0, 0, 0, 0, 20, 0, 6, 0, 0, 0, 0, 50, 30, 0, 1, 0, 0, 0, 0]);
        // READ CAPACITY, refused once and then answered, then a wrapper one byte short: a save now must be restorable.
        yield return (
            DiskTarget.Name,
            "bug-progress-of-an-earlier-command-refused-on-restore",
            [2, 8, 0, 0x80, 10, 0x25, 0, 0, 3, 0, 0, 8, 0, 0, 0, 0, 9, 3, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 8, 0, 0x80, 10, 0x25, 0, 0, 3, 0, 0, 8, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0x80, 10, 0x25, 30, 0]);
        // Configured, then transfers, packets, an operation with transfers before it, a reset, a kernel without memory, a detach.
        byte[] configured = [0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
        byte[] bulk = [0, 0x81, 0, 0, 0, 0, 2, 0, 0, 0x02, 0, 0, 0, 0, 2, 0, 0, 0x83, 1, 0, 0, 64, 0, 0];
        byte[] ended = [6, 1, 0, 0, 0, 0, 0, 0, 6, 0, 4, 9, 0, 1, 0, 0, 6, 0, 8, 0, 0, 2, 0, 0];
        yield return (HostDeviceTarget.Name, "bulk", [.. configured, .. bulk, .. ended]);
        yield return (HostDeviceTarget.Name, "lengths-that-cannot-be", [.. configured, .. bulk, 6, 0, 0, 5, 0, 3, 0, 0, 6, 0, 3, 5, 0, 2, 0, 0]);
        yield return (HostDeviceTarget.Name, "isochronous", [.. configured, 3, 0x84, 7, 0, 32, 0, 0, 16, 6, 0, 0, 3, 0, 0, 5, 1]);
        yield return (HostDeviceTarget.Name, "control-cut", [.. configured, 4, 0x80, 6, 0, 2, 255, 7, 8, 6, 0, 0, 0, 0, 0, 0, 0]);
        yield return (HostDeviceTarget.Name, "clear-halt-with-transfers", [.. configured, .. bulk, 5, 2, 0x81, 0, 0, 0, 0, 0, 8, 9, 0, 0, 0, 0, 0, 0, .. ended]);
        yield return (HostDeviceTarget.Name, "interface-changed-slowly", [.. configured, 10, 4, 0, 0, 0, 0, 0, 0, .. bulk, 5, 1, 0, 1, 0, 0, 0, 0, 9, 3, 0, 0, 0, 0, 0, 0, .. ended]);
        yield return (HostDeviceTarget.Name, "reset-during-an-operation", [.. configured, .. bulk, 5, 2, 0x81, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, .. bulk]);
        yield return (HostDeviceTarget.Name, "no-memory", [.. configured, 10, 2, 0, 0, 0, 0, 0, 0, .. bulk, 11, 2, 255, 0, 0, 0, 0, 0, 10, 1, 11, 0, 0, 0, 0, 0, 11, 2, 255, 0, 0, 0, 0, 0]);
        yield return (HostDeviceTarget.Name, "pulled", [.. configured, .. bulk, 6, 0, 5, 0, 0, 2, 0, 0, .. bulk]);
        yield return (HostDeviceTarget.Name, "streams-then-detach", [.. configured, 11, 1, 0x81, 16, 0, 0, 0, 0, 0, 0x81, 24, 0, 0, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 11, 4, 255, 0, 0, 0, 0, 0]);
        yield return (HostDeviceTarget.Name, "descriptors-cut-and-changed", [18, 0, 20, 255, 27, 0, 9, 0, 5, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, .. bulk, 5, 1, 0, 1, 0, 0, 0, 0]);
        foreach (byte operation in (byte[])[0x00, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x42, 0x5a, 0x88, 0x8a, 0x93, 0x9e])
        {
            yield return (DiskTarget.Name, $"in-{operation:x2}", [2, 0, 2, 0x80, 0, operation, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
            yield return (DiskTarget.Name, $"out-{operation:x2}", [0, 2, 0, 0, 1, 0, 0, 0, 2, 0, 2, 0, 0, operation, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
}
