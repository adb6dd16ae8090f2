namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// What a register write sets off outside the register blocks. The register side applies masks first and calls these
/// afterwards; each does bounded work at once and leaves the rest to <see cref="Core.Time.ITimed.Advance"/>.
/// </summary>
internal interface IRegisterEffects
{
    /// <summary>USBCMD.R/S changed (§5.4.1). On 0 the controller halts within the call and the register side sets HCHalted.</summary>
    void RunStopChanged(bool run);

    /// <summary>USBCMD.HCRST (§4.2, §5.4.1): everything but the register values, which the register side resets itself.</summary>
    void HostControllerReset();

    /// <summary>USBCMD.LHCRST (§5.4.1): as HCRST, but the ports and their devices stay.</summary>
    void LightReset();

    /// <summary>USBCMD.CSS (§4.23.2). Returns false when the state could not be saved (USBSTS.SRE).</summary>
    bool SaveState();

    /// <summary>USBCMD.CRS (§4.23.2). Returns false when there is nothing valid to restore (USBSTS.SRE).</summary>
    bool RestoreState();

    /// <summary>CRCR was written with CS or CA while CRR was 1 (§5.4.5).</summary>
    void CommandRingStop(bool abort);

    /// <summary>Doorbell <paramref name="index"/> (0 = command ring, else slot) was rung with <paramref name="value"/> (§5.6).</summary>
    void Doorbell(int index, uint value);

    /// <summary>ERDP, ERSTSZ or ERSTBA of an interrupter changed so that its event ring may have room again (§4.9.4).</summary>
    void EventRingMayHaveRoom(int interrupter);
}
