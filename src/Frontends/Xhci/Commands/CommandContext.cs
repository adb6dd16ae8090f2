using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Xhci.Contexts;
using XenUsbDm.Frontends.Xhci.Slots;
using XenUsbDm.Frontends.Xhci.Transfers;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>What commands may touch.</summary>
internal sealed record CommandContext(
    XhciController Controller,
    IGuestMemory Memory,
    DeviceSlots Slots,
    TransferEngine Engine,
    RootPorts Ports,
    Bandwidth Bandwidth,
    UsbPipeline Pipeline,
    int Interrupters)
{
    /// <summary>An unmapped structure of the guest's is a host system error (§4.10.2.6), and the command never completes.</summary>
    public CommandResult Fault(string what, GuestAddress address)
    {
        Controller.SystemError(what, address);
        return CommandResult.Waiting;
    }
}

/// <summary>
/// An Input Context (xHCI 1.2 §6.2.5): Input Control Context, Slot Context and 31 Endpoint Contexts, copied once so that
/// what was validated is what is used.
/// </summary>
internal ref struct InputContext
{
    /// <summary>Bytes: 33 contexts.</summary>
    public const int Size = 33 * SlotContext.Size;

    private readonly ReadOnlySpan<byte> _bytes;

    private InputContext(ReadOnlySpan<byte> bytes) => _bytes = bytes;

    /// <summary>Drop and add flags.</summary>
    public readonly InputControlContext Control => InputControlContext.Read(_bytes);

    /// <summary>Slot Context.</summary>
    public readonly SlotContext Slot => SlotContext.Read(_bytes[SlotContext.Size..]);

    /// <summary>Endpoint Context <paramref name="dci"/>, 1-31.</summary>
    public readonly EndpointContext Endpoint(int dci) => EndpointContext.Read(_bytes[((dci + 1) * SlotContext.Size)..]);

    /// <summary>
    /// Copies the contexts that the flags name into <paramref name="buffer"/> (<see cref="Size"/> bytes). Contexts that are not
    /// named need not be mapped: a driver may allocate only what it uses.
    /// </summary>
    public static bool TryRead(IGuestMemory memory, GuestAddress address, Span<byte> buffer, out InputContext input)
    {
        buffer.Clear();
        input = new InputContext(buffer);
        if (!memory.TryRead(address, buffer[..SlotContext.Size])) return false;
        uint add = InputControlContext.Read(buffer).Add;
        for (int i = 0; i < 32; i++)
        {
            int offset = (i + 1) * SlotContext.Size;
            if ((add >> i & 1) != 0 && !memory.TryRead(address.OffsetWrapping((ulong)offset), buffer.Slice(offset, SlotContext.Size))) return false;
        }

        return true;
    }
}
