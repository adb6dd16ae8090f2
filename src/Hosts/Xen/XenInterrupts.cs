using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// The function's interrupts as calls to Xen. Address and data of a message go through as the guest programmed them: Xen
/// itself tells a message for a local APIC from one that stands for an event channel (vector 0).
/// </summary>
public sealed class XenInterrupts(IXenDomain domain, int slot) : IInterruptSink, IInspectable
{
    private long _messages;
    private long _refused;
    private bool _asserted;

    /// <summary>Error of the last call that failed, once: the host takes it and reports it.</summary>
    public int Error { get; set; }

    /// <inheritdoc/>
    public void SetIntx(bool asserted)
    {
        _asserted = asserted;
        Note(domain.SetIntx(slot, asserted));
    }

    /// <inheritdoc/>
    public void SendMessage(in InterruptMessage message)
    {
        _messages++;
        Note(domain.InjectMsi(message.Address, message.Data));
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("messages", _messages);
        writer.Number("refused", _refused);
        writer.Flag("intx", _asserted);
    }

    private void Note(int error)
    {
        if (error == 0) return;
        _refused++;
        Error = error;
    }
}
