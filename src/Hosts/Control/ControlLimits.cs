namespace XenUsbDm.Hosts.Control;

/// <summary>Bounds of the control side; a client of it is trusted with the guest, not with this process's memory.</summary>
public static class ControlLimits
{
    /// <summary>Clients at once: an operator, a monitor and a toolstack, several times over.</summary>
    public const int Clients = 16;

    /// <summary>Longest message from a client in bytes; commands have a few hundred.</summary>
    public const int MessageBytes = 64 << 10;

    /// <summary>Bytes that a session starts with for its messages: most clients send one short command.</summary>
    public const int FirstInputBytes = 1 << 10;

    /// <summary>Deepest nesting of a message; send-key needs 4.</summary>
    public const int Nesting = 16;

    /// <summary>Commands of one client that one turn of the loop executes; the guest must not wait for an operator's script.</summary>
    public const int CommandsPerRun = 8;

    /// <summary>Bytes of output waiting from which on a client's next command waits too.</summary>
    public const int BackPressureBytes = 64 << 10;

    /// <summary>Longest reply in bytes; qmp-shell reads lines of up to 10 MiB.</summary>
    public const int ReplyBytes = 4 << 20;

    /// <summary>Output waiting at most in bytes; a client that lets more gather (events) is dropped.</summary>
    public const int QueuedBytes = ReplyBytes + (1 << 20);

    /// <summary>Output buffer that a client keeps when it has taken everything, in bytes.</summary>
    public const int KeptBytes = 256 << 10;

    /// <summary>Keys of one send-key: all ten fingers and some.</summary>
    public const int KeysAtOnce = 16;

    /// <summary>send-key commands that wait for the ones before them: what an operator types in a minute.</summary>
    public const int WaitingChords = 256;

    /// <summary>Longest hold-time of send-key in milliseconds.</summary>
    public const int MaxHoldMilliseconds = 60_000;

    /// <summary>hold-time when none is said, in milliseconds (as QEMU's).</summary>
    public const int DefaultHoldMilliseconds = 100;
}
