using System.Runtime.InteropServices;
using XenUsbDm.Hosts.VfioUser;

namespace XenUsbDm.Native.Linux;

/// <summary>Shared memory and eventfds for the vfio-user host.</summary>
public sealed class VfioSystem : IVfioSystem
{
    /// <inheritdoc/>
    public bool TryMap(SafeHandle descriptor, ulong offset, ulong size, bool writable, out IMappedMemory? memory, out int error)
    {
        bool mapped = MappedMemory.TryMap(descriptor, offset, size, writable, out MappedMemory? made, out error);
        memory = made;
        return mapped;
    }

    /// <inheritdoc/>
    public long LostMappings => BusErrorGuard.Hits;

    /// <inheritdoc/>
    public bool IsEvent(SafeHandle descriptor) => EventDescriptor.IsEvent(descriptor);

    /// <inheritdoc/>
    public bool Signal(SafeHandle eventDescriptor) => EventDescriptor.Signal(eventDescriptor);

    /// <inheritdoc/>
    public bool Clear(SafeHandle eventDescriptor) => EventDescriptor.Clear(eventDescriptor);
}
