using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>Commands on root ports: Get Port Bandwidth and Force Header (xHCI 1.2 §4.6.15, §4.6.16).</summary>
internal sealed class PortCommands(CommandContext context, XhciOptions options)
{
    /// <summary>Get Port Bandwidth (§4.6.15): one byte per root port, percent still available for a device of the speed asked for.</summary>
    public CommandResult GetBandwidth(in Trb command)
    {
        int speedId = (int)((command.Control >> 16) & 0xf);
        if (speedId is < 1 or > 4) return CompletionCode.TrbError;
        // Hub Slot ID 0 is the root hub; there are no hubs behind it.
        if (command.SlotId != 0) return context.Slots.FindEnabled(command.SlotId) is null ? CompletionCode.SlotNotEnabledError : CompletionCode.ParameterError;
        UsbSpeed speed = speedId switch
        {
            1 => UsbSpeed.Full,
            2 => UsbSpeed.Low,
            3 => UsbSpeed.High,
            _ => UsbSpeed.Super,
        };
        // §6.2.6: byte 0 is reserved, byte n is port n, padded to whole 8-byte lines.
        int size = (options.RootPorts + 8) / 8 * 8;
        Span<byte> bytes = stackalloc byte[size];
        bytes.Clear();
        for (int port = 1; port <= options.RootPorts; port++)
        {
            bool isSuper = port > options.Usb2Ports;
            if (isSuper != (speed == UsbSpeed.Super)) continue;
            int connector = isSuper ? port - options.Usb2Ports : port;
            bytes[port] = (byte)context.Bandwidth.PercentAvailable(new PortNumber(connector), speed);
        }

        var address = new GuestAddress(command.Parameter & ~0xfUL);
        return context.Memory.TryWrite(address, bytes) ? CompletionCode.Success : context.Fault("port bandwidth context", address);
    }

    /// <summary>
    /// Force Header (§4.6.16): the packet goes to the link partner of a SuperSpeed port, where emulated devices and libusb
    /// have nothing that could take it; the port decides alone.
    /// </summary>
    public CommandResult ForceHeader(in Trb command)
    {
        int port = command.SlotId;
        if (port < 1 || port > options.RootPorts) return CompletionCode.TrbError;
        bool answers = port > options.Usb2Ports && context.Ports.TryGetDevice(port, out _, out _);
        return answers ? CompletionCode.Success : CompletionCode.UsbTransactionError;
    }
}
