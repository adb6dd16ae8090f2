using System.Diagnostics.CodeAnalysis;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Hosts.Control;

/// <summary>
/// A port that is bound to a physical device, by place or identity: while the device is plugged into the host it is on the
/// port, while it is not the rule waits for it. Looked at in every turn of the loop; nothing here blocks.
/// </summary>
public interface IPortRule
{
    /// <summary>The rule as the operator wrote it ("host:1-2.3").</summary>
    string Text { get; }

    /// <summary>What it does now, in a few words: "waits", "opens", "attached", "refused: ...".</summary>
    string State { get; }

    /// <summary>When the rule wants to be looked at again though nothing has happened; Never most of the time.</summary>
    VirtualTime NextLook { get; }

    /// <summary>A device has been opened and is to be plugged in. True once for each.</summary>
    bool TryTake([NotNullWhen(true)] out IOpenedDevice? opened);

    /// <summary>Why the device that is plugged into the host is not on the port. True once for each reason.</summary>
    bool TryTakeRefusal([NotNullWhen(true)] out string? reason);

    /// <summary>The rule ends. A device that is on its port stays the machine's; one that was opened and not taken is given back.</summary>
    void Drop();
}
