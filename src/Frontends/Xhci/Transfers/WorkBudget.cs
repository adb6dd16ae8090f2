namespace XenUsbDm.Frontends.Xhci.Transfers;

/// <summary>What one Advance may still do (<see cref="XhciLimits"/>). Every fetched TRB counts, Link TRBs included.</summary>
internal struct WorkBudget
{
    /// <summary>TRBs that may be fetched.</summary>
    public int Trbs;

    /// <summary>Bytes that may be submitted.</summary>
    public int Bytes;

    /// <summary>Commands that may be executed.</summary>
    public int Commands;

    /// <summary>A full budget.</summary>
    public static WorkBudget Full => new()
    {
        Trbs = XhciLimits.TrbsPerAdvance,
        Bytes = XhciLimits.BytesPerAdvance,
        Commands = XhciLimits.CommandsPerAdvance,
    };

    /// <summary>Room for one more transfer of the largest size.</summary>
    public readonly bool HasRoomForTransfer => Trbs >= XhciLimits.TrbsPerTransferHard && Bytes > 0;
}
