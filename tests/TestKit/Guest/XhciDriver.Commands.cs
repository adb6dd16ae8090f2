using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>What a command's completion event said (§6.4.2.2).</summary>
public readonly record struct CommandResult(GuestCompletion Code, int Slot, int Parameter, ulong Pointer)
{
    public bool Ok => Code == GuestCompletion.Success;

    /// <summary>Throws unless the command succeeded.</summary>
    public CommandResult Require(string what) => Ok ? this : throw new GuestDriverException(what, Code);
}

/// <summary>Every command of xHCI 1.2 §6.4.3. The named ones ring the doorbell and wait; <see cref="PostCommand"/> does neither.</summary>
public sealed partial class XhciDriver
{
    private readonly Dictionary<ulong, CommandResult> _finished = [];
    private readonly HashSet<ulong> _posted = [];

    /// <summary>Enqueues a command without ringing the doorbell and returns its TRB's address.</summary>
    public ulong PostCommand(in GuestTrb command)
    {
        ulong pointer = CommandRing.Enqueue(command);
        _posted.Add(pointer);
        return pointer;
    }

    /// <summary>The result of a posted command, if its event has come.</summary>
    public bool TryTakeCommand(ulong pointer, out CommandResult result)
    {
        ProcessEvents();
        return _finished.Remove(pointer, out result);
    }

    /// <summary>Waits for a posted command.</summary>
    public CommandResult WaitCommand(ulong pointer, ulong timeoutNanoseconds = 0)
    {
        Expect(() => _finished.ContainsKey(pointer), "a command completion", timeoutNanoseconds);
        _finished.Remove(pointer, out CommandResult result);
        return result;
    }

    /// <summary>Runs one command.</summary>
    public CommandResult Command(in GuestTrb command)
    {
        ulong pointer = PostCommand(command);
        RingDoorbell(0);
        return WaitCommand(pointer);
    }

    public CommandResult NoOpCommand() => Command(GuestTrb.Command(GuestTrbType.NoOpCommand));

    public CommandResult EnableSlot(int slotType = 0) => Command(GuestTrb.Command(GuestTrbType.EnableSlot, flags: (uint)slotType << 16));

    public CommandResult DisableSlot(int slot) => Command(GuestTrb.Command(GuestTrbType.DisableSlot, slot));

    public CommandResult AddressDevice(int slot, ulong inputContext, bool blockSetAddress = false) =>
        Command(GuestTrb.Command(GuestTrbType.AddressDevice, slot, 0, inputContext, blockSetAddress ? GuestTrb.BlockSetAddress : 0));

    public CommandResult ConfigureEndpoint(int slot, ulong inputContext, bool deconfigure = false) =>
        Command(GuestTrb.Command(GuestTrbType.ConfigureEndpoint, slot, 0, inputContext, deconfigure ? GuestTrb.Deconfigure : 0));

    public CommandResult EvaluateContext(int slot, ulong inputContext) =>
        Command(GuestTrb.Command(GuestTrbType.EvaluateContext, slot, 0, inputContext));

    public CommandResult ResetEndpoint(int slot, int dci, bool preserveTransferState = false) =>
        Command(GuestTrb.Command(GuestTrbType.ResetEndpoint, slot, dci, 0, preserveTransferState ? GuestTrb.TransferStatePreserve : 0));

    public CommandResult StopEndpoint(int slot, int dci, bool suspend = false) =>
        Command(GuestTrb.Command(GuestTrbType.StopEndpoint, slot, dci, 0, suspend ? 1u << 23 : 0));

    /// <summary>Set TR Dequeue Pointer (§6.4.3.9); <paramref name="pointerAndCycle"/> has DCS in bit 0.</summary>
    public CommandResult SetTrDequeue(int slot, int dci, ulong pointerAndCycle, int stream = 0, int streamContextType = 0) =>
        Command(GuestTrb.Command(
            GuestTrbType.SetTrDequeue, slot, dci, pointerAndCycle | ((ulong)streamContextType << 1), status: (uint)stream << 16));

    public CommandResult ResetDevice(int slot) => Command(GuestTrb.Command(GuestTrbType.ResetDevice, slot));

    public CommandResult ForceEvent(ulong eventTrb, int interrupter, int function) =>
        Command(GuestTrb.Command(GuestTrbType.ForceEvent, 0, 0, eventTrb, (uint)function << 16, (uint)interrupter << 22));

    public CommandResult NegotiateBandwidth(int slot) => Command(GuestTrb.Command(GuestTrbType.NegotiateBandwidth, slot));

    public CommandResult SetLatencyTolerance(int belt) =>
        Command(GuestTrb.Command(GuestTrbType.SetLatencyTolerance, flags: (uint)belt << 16));

    /// <summary>Get Port Bandwidth (§6.4.3.14): one byte per port into <paramref name="context"/>.</summary>
    public CommandResult GetPortBandwidth(ulong context, int speed, int hubSlot = 0) =>
        Command(GuestTrb.Command(GuestTrbType.GetPortBandwidth, hubSlot, 0, context, (uint)speed << 16));

    public CommandResult ForceHeader(ulong headerLow, uint headerHigh, int port) =>
        Command(new GuestTrb(headerLow, headerHigh, GuestTrb.TypeBits(GuestTrbType.ForceHeader) | ((uint)port << 24)));

    public CommandResult GetExtendedProperty(ulong context, int identifier, int slot = 0, int dci = 0) =>
        Command(GuestTrb.Command(GuestTrbType.GetExtendedProperty, slot, dci, context, status: (uint)identifier));

    public CommandResult SetExtendedProperty(int identifier, int slot = 0, int dci = 0) =>
        Command(GuestTrb.Command(GuestTrbType.SetExtendedProperty, slot, dci, 0, status: (uint)identifier));

    /// <summary>Command Stop or Command Abort through CRCR, and the Command Ring Stopped event (§4.6.1).</summary>
    public GuestEvent StopCommandRing(bool abort)
    {
        int offset = OperationalOffset + CommandRingControl;
        Write32(offset, abort ? 4u : 2u);
        if (Options.WriteHalves) Write32(offset + 4, 0);
        Spin(() => (Read32(offset) & 8) == 0, Options.TimeoutNanoseconds, "CRR to clear");
        return NextEvent(GuestTrbType.CommandCompletion);
    }

    private void OnCommandCompletion(in GuestEvent taken)
    {
        if (taken.Code == GuestCompletion.CommandRingStopped || !_posted.Remove(taken.Pointer))
        {
            Keep(taken);
            return;
        }

        CommandRing.ReleaseThrough(taken.Pointer);
        _finished[taken.Pointer] = new CommandResult(taken.Code, taken.Slot, taken.Residual, taken.Pointer);
    }
}
