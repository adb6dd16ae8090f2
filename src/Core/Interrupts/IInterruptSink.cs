namespace XenUsbDm.Core.Interrupts;

/// <summary>Where a PCI function's interrupts go: the host turns them into an event channel, an eventfd or a test's list.</summary>
public interface IInterruptSink
{
    /// <summary>Drives the function's INTx pin (INTA#). Called only on a change of level.</summary>
    void SetIntx(bool asserted);

    /// <summary>Sends one message-signalled interrupt.</summary>
    void SendMessage(in InterruptMessage message);
}

/// <summary>Which capability a message belongs to.</summary>
public enum MessageKind
{
    /// <summary>MSI capability.</summary>
    Msi,

    /// <summary>MSI-X capability.</summary>
    MsiX,
}

/// <summary>One message-signalled interrupt: the memory write that the function would do, and the vector it stands for.</summary>
/// <param name="Kind">MSI or MSI-X.</param>
/// <param name="Vector">Zero-based vector within that capability.</param>
/// <param name="Address">The address the guest programmed.</param>
/// <param name="Data">The data the guest programmed (MSI: low bits replaced by the vector).</param>
public readonly record struct InterruptMessage(MessageKind Kind, int Vector, ulong Address, uint Data);
