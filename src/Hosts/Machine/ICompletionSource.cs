namespace XenUsbDm.Hosts.Machine;

/// <summary>Work of another thread (file I/O of the slow lane) whose ends wait to be handed to the model.</summary>
public interface ICompletionSource
{
    /// <summary>Some wait. Cheap, and may be out of date by the time it is read; the source then wakes the loop.</summary>
    bool IsReady { get; }

    /// <summary>Hands them over, on the loop's thread.</summary>
    void Deliver();
}
