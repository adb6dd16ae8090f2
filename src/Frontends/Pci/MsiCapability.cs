using System;
using System.Numerics;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;

namespace XenUsbDm.Frontends.Pci;

/// <summary>MSI (PCI 3.0 §6.8.1): 64-bit, up to 16 messages, per-vector masking. Its registers live in the configuration space.</summary>
internal sealed class MsiCapability(ConfigSpace config) : IInspectable
{
    // Multiple Message Capable: log2 of 16. A guest that enables more (reserved) gets this many.
    private const int CapableLog2 = 4;

    /// <summary>MSI Enable.</summary>
    public bool Enabled => (Control & 1) != 0;

    /// <summary>Messages the guest enabled: 1, 2, 4, 8 or 16.</summary>
    public int Count => 1 << Math.Min((int)(Control >> 4) & 7, CapableLog2);

    /// <summary>Pending bits, vector 0 in bit 0.</summary>
    public uint Pending
    {
        get => config.Get32(ConfigLayout.Msi + 0x14);
        private set => config.Set32(ConfigLayout.Msi + 0x14, value);
    }

    private uint Control => config.Get16(ConfigLayout.Msi + 2);

    private uint Mask => config.Get32(ConfigLayout.Msi + 0x10);

    /// <summary>Notes an interrupt; it stays pending until <see cref="Deliver"/> may send it.</summary>
    public void Post(int interrupter) => Pending |= 1u << (interrupter & (Count - 1));

    /// <summary>Forgets what is pending.</summary>
    public void ClearPending() => Pending = 0;

    /// <summary>
    /// Sends every pending vector that is not masked, lowest first. The vector replaces the low bits of the message data
    /// (§6.8.1.6). Vectors that the guest took away by enabling fewer messages are folded, not lost.
    /// </summary>
    public void Deliver(IInterruptSink sink)
    {
        if (Pending == 0) return;
        uint folded = 0;
        for (uint bits = Pending; bits != 0; bits &= bits - 1)
            folded |= 1u << (BitOperations.TrailingZeroCount(bits) & (Count - 1));
        Pending = folded;
        ulong address = config.Get64(ConfigLayout.Msi + 4);
        uint data = config.Get16(ConfigLayout.Msi + 0xc) & ~(uint)(Count - 1);
        for (uint ready = folded & ~Mask; ready != 0; ready &= ready - 1)
        {
            int vector = BitOperations.TrailingZeroCount(ready);
            Pending &= ~(1u << vector);
            sink.SendMessage(new InterruptMessage(MessageKind.Msi, vector, address, data | (uint)vector));
        }
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        writer.Flag("enabled", Enabled);
        writer.Number("count", Count);
        writer.Hex("address", config.Get64(ConfigLayout.Msi + 4));
        writer.Hex("data", config.Get16(ConfigLayout.Msi + 0xc));
        writer.Hex("mask", Mask);
        writer.Hex("pending", Pending);
    }
}
