namespace XenUsbDm.Frontends.Xhci;

/// <summary>What an xHCI controller needs of the PCI function it sits behind (implemented by Pci).</summary>
public interface IHostBus
{
    /// <summary>Bus Master Enable is set and the function is in D0: the controller may read and write guest memory.</summary>
    bool DmaAllowed { get; }

    /// <summary>The guest has enabled MSI or MSI-X, so interrupters signal by message and INTx stays silent (xHCI 1.2 §4.17).</summary>
    bool MessagesEnabled { get; }

    /// <summary>Sends the message of <paramref name="interrupter"/>; the function folds it to the vectors that the guest enabled.</summary>
    void SendMessage(int interrupter);

    /// <summary>Drives INTx; the function applies Interrupt Disable and keeps Interrupt Status. Called with the level wanted, changed or not.</summary>
    void SetLevel(bool asserted);

    /// <summary>A port wants to wake the system while the function is in D3hot: sets PME_Status (PCI PM 1.2 §3.2.4).</summary>
    void SignalPowerManagementEvent();
}
