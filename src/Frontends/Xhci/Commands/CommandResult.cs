namespace XenUsbDm.Frontends.Xhci.Commands;

/// <summary>What a command came to: its Command Completion Event's fields, or that it has to wait.</summary>
/// <param name="Code">Completion code; <see cref="CompletionCode.Invalid"/> while it waits.</param>
/// <param name="Slot">Slot ID of the event; 0 leaves the command's own.</param>
internal readonly record struct CommandResult(CompletionCode Code, int Slot = 0)
{
    /// <summary>
    /// The command waits for requests to come back or for room in an event ring. It is executed again from its start, so
    /// a command changes nothing before its last wait.
    /// </summary>
    public static CommandResult Waiting => new(CompletionCode.Invalid);

    /// <summary>It waits.</summary>
    public bool IsWaiting => Code == CompletionCode.Invalid;

    /// <summary>A bare completion code is a result.</summary>
    public static implicit operator CommandResult(CompletionCode code) => new(code);
}
