namespace XenUsbDm.Backends.Disk;

/// <summary>What carrying out a command takes.</summary>
internal enum ScsiAction
{
    /// <summary>Nothing more: the command is done, or has failed with the plan's sense.</summary>
    Done,

    /// <summary>Send the first bytes of the target's buffer.</summary>
    Respond,

    /// <summary>Receive a parameter list into the target's buffer, then ask <see cref="ScsiTarget.Continue"/>.</summary>
    Receive,

    /// <summary>Send sectors.</summary>
    Read,

    /// <summary>Receive and store sectors.</summary>
    Write,

    /// <summary>Receive and store sectors, read them back and compare.</summary>
    WriteAndCompare,

    /// <summary>Receive data and compare it with the sectors.</summary>
    Compare,

    /// <summary>Make everything written durable.</summary>
    Flush,

    /// <summary>Make a run of sectors zero.</summary>
    WriteZeroes,

    /// <summary>Give a run of sectors back.</summary>
    Discard,

    /// <summary>Give back the runs listed by the UNMAP parameter list in the target's buffer.</summary>
    DiscardList,

    /// <summary>Fill a run of sectors with the one in the target's buffer.</summary>
    Fill,
}

/// <summary>A decoded and checked command.</summary>
/// <param name="Action">What it takes.</param>
/// <param name="Length">Bytes that the device means to send or receive (Di and Do of BOT 1.0 §6.7); 0 without a data stage.</param>
/// <param name="Sector">First sector of medium actions.</param>
/// <param name="SectorCount">Number of sectors of medium actions.</param>
/// <param name="ForceUnitAccess">Durable before the status is sent (FUA).</param>
/// <param name="Sense">Why it failed; not set for a command that is under way or done.</param>
internal readonly record struct ScsiPlan(ScsiAction Action, long Length, long Sector, long SectorCount, bool ForceUnitAccess, Sense Sense)
{
    /// <summary>Success without data.</summary>
    public static ScsiPlan Good => default;

    /// <summary>Data goes to the host.</summary>
    public bool Sends => Length > 0 && Action is ScsiAction.Respond or ScsiAction.Read;

    /// <summary>Data comes from the host.</summary>
    public bool Receives => Length > 0 && Action is ScsiAction.Receive or ScsiAction.Write or ScsiAction.WriteAndCompare or ScsiAction.Compare;

    /// <summary>CHECK CONDITION.</summary>
    public static ScsiPlan Fail(Sense sense) => new(ScsiAction.Done, 0, 0, 0, false, sense);

    /// <summary>Sends what lies in the target's buffer.</summary>
    public static ScsiPlan Respond(int length) => length == 0 ? Good : new(ScsiAction.Respond, length, 0, 0, false, Sense.None);
}
