using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Hosts.EventLoop;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>VFIO's interrupt indexes of a PCI device.</summary>
public enum IrqIndex : uint
{
    /// <summary>The pin.</summary>
    Intx,

    /// <summary>MSI.</summary>
    Msi,

    /// <summary>MSI-X.</summary>
    MsiX,

    /// <summary>Error reports; we have none.</summary>
    Error,

    /// <summary>Requests to release the device; we have none.</summary>
    Request,
}

/// <summary>
/// The device's interrupts as eventfds. A message that finds no eventfd is kept and signalled when the client brings one:
/// clients enable the capability first and hand over the eventfds after that.
/// </summary>
/// <remarks>
/// INTx is a level and an eventfd is an edge, so VFIO masks the interrupt when it signals it (AUTOMASKED). The client
/// unmasks after the guest has served it, by SET_IRQS or by an eventfd of its own (KVM's resampler), and is signalled again
/// if the level still stands.
/// </remarks>
public sealed class VfioInterrupts(IVfioSystem system, IEventLoop loop) : IInterruptSink, IInspectable
{
    /// <summary>Vectors of MSI, and of MSI-X.</summary>
    public const int Vectors = 16;

    private readonly SafeHandle?[] _msi = new SafeHandle?[Vectors];
    private readonly SafeHandle?[] _msix = new SafeHandle?[Vectors];
    private SafeHandle? _intx;
    private UnmaskWatch? _unmask;
    private bool _asserted;
    private bool _masked;
    private uint _pendingMsi;
    private uint _pendingMsix;
    private long _signals;

    /// <summary>Tells that the client takes an MSI-X vector (true) or does so no longer.</summary>
    public Action<int, bool>? VectorTaken { get; set; }

    /// <summary>Sub-indexes of an index; 0 when there is none of the kind.</summary>
    public static uint CountOf(uint index) => (IrqIndex)index switch
    {
        IrqIndex.Intx => 1,
        IrqIndex.Msi or IrqIndex.MsiX => Vectors,
        _ => 0,
    };

    /// <summary>True when the client has an eventfd on this MSI-X vector.</summary>
    public bool IsTaken(int vector) => _msix[vector] is not null;

    /// <inheritdoc/>
    public void SetIntx(bool asserted)
    {
        _asserted = asserted;
        DriveIntx();
    }

    /// <inheritdoc/>
    public void SendMessage(in InterruptMessage message)
    {
        if ((uint)message.Vector >= Vectors) return;
        if (message.Kind == MessageKind.MsiX) Send(_msix, ref _pendingMsix, message.Vector);
        else Send(_msi, ref _pendingMsi, message.Vector);
    }

    /// <summary>
    /// SET_IRQS. Descriptors that are kept are taken out of <paramref name="descriptors"/>. Returns 0 or the errno; on an
    /// error nothing has changed.
    /// </summary>
    public int Set(in SetIrqsMessage message, ReadOnlySpan<byte> data, List<SafeHandle> descriptors)
    {
        ArgumentNullException.ThrowIfNull(descriptors);
        uint available = CountOf(message.Index);
        if (!message.IsWellFormed || available == 0) return VfioUserError.Invalid;
        if (message.Start > available || message.Count > available - message.Start) return VfioUserError.Invalid;
        var index = (IrqIndex)message.Index;
        if (message is { Data: IrqData.None, Action: IrqAction.Trigger, Start: 0, Count: 0 })
        {
            Disable(index);
            return 0;
        }

        if (message.Count == 0) return VfioUserError.Invalid;
        if (message.Data == IrqData.EventFd) return SetDescriptors(index, message, descriptors);
        if (message.Data == IrqData.Bool && data.Length < (int)message.Count) return VfioUserError.Invalid;
        if (message.Action != IrqAction.Trigger && index != IrqIndex.Intx) return VfioUserError.NoSuchFeature;
        for (int i = 0; i < (int)message.Count; i++)
        {
            if (message.Data == IrqData.Bool && data[i] == 0) continue;
            Act(index, (int)message.Start + i, message.Action);
        }

        return 0;
    }

    /// <summary>The client is gone: closes every descriptor. The level of INTx stays.</summary>
    public void Clear()
    {
        Disable(IrqIndex.Intx);
        Disable(IrqIndex.Msi);
        Disable(IrqIndex.MsiX);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("signals", _signals);
        using (writer.Node("intx"))
        {
            writer.Flag("asserted", _asserted);
            writer.Flag("masked", _masked);
            writer.Flag("eventfd", _intx is not null);
            writer.Flag("unmask-eventfd", _unmask is not null);
        }

        InspectVectors(writer, "msi", _msi, _pendingMsi);
        InspectVectors(writer, "msix", _msix, _pendingMsix);
    }

    private static void InspectVectors(InspectWriter writer, string name, SafeHandle?[] handles, uint pending)
    {
        uint taken = 0;
        for (int i = 0; i < handles.Length; i++) taken |= handles[i] is null ? 0 : 1u << i;
        using (writer.Node(name))
        {
            writer.Hex("taken", taken);
            writer.Hex("pending", pending);
        }
    }

    private int SetDescriptors(IrqIndex index, in SetIrqsMessage message, List<SafeHandle> descriptors)
    {
        if (descriptors.Count != 0 && descriptors.Count != (int)message.Count) return VfioUserError.Invalid;
        if (message.Action == IrqAction.Mask || (message.Action == IrqAction.Unmask && index != IrqIndex.Intx)) return VfioUserError.NoSuchFeature;
        foreach (SafeHandle descriptor in descriptors)
        {
            // As the kernel answers. Anything else could block when it is written to, or be a file of someone.
            if (!system.IsEvent(descriptor)) return VfioUserError.Invalid;
        }

        for (int i = 0; i < (int)message.Count; i++)
        {
            SafeHandle? handle = descriptors.Count == 0 ? null : descriptors[i];
            if (message.Action == IrqAction.Unmask) SetUnmask(handle);
            else Assign(index, (int)message.Start + i, handle);
        }

        descriptors.Clear();
        return 0;
    }

    private void Assign(IrqIndex index, int vector, SafeHandle? handle)
    {
        switch (index)
        {
            case IrqIndex.Intx:
                _intx?.Dispose();
                _intx = handle;
                _masked = false;
                DriveIntx();
                break;
            case IrqIndex.Msi:
                Assign(_msi, ref _pendingMsi, vector, handle);
                break;
            default:
                Assign(_msix, ref _pendingMsix, vector, handle);
                VectorTaken?.Invoke(vector, handle is not null);
                break;
        }
    }

    private void Assign(SafeHandle?[] handles, ref uint pending, int vector, SafeHandle? handle)
    {
        handles[vector]?.Dispose();
        handles[vector] = handle;
        if (handle is null || (pending & (1u << vector)) == 0) return;
        pending &= ~(1u << vector);
        Signal(handle);
    }

    private void Disable(IrqIndex index)
    {
        int count = (int)CountOf((uint)index);
        for (int i = 0; i < count; i++) Assign(index, i, null);
        if (index == IrqIndex.Intx) SetUnmask(null);
        else if (index == IrqIndex.Msi) _pendingMsi = 0;
        else _pendingMsix = 0;
    }

    private void Act(IrqIndex index, int vector, IrqAction action)
    {
        if (action == IrqAction.Trigger)
        {
            SafeHandle? handle = index switch { IrqIndex.Intx => _intx, IrqIndex.Msi => _msi[vector], _ => _msix[vector] };
            if (handle is not null) Signal(handle);
            return;
        }

        _masked = action == IrqAction.Mask;
        DriveIntx();
    }

    private void DriveIntx()
    {
        if (!_asserted || _masked || _intx is null) return;
        _masked = true;
        Signal(_intx);
    }

    private void Send(SafeHandle?[] handles, ref uint pending, int vector)
    {
        if (handles[vector] is { } handle) Signal(handle);
        else pending |= 1u << vector;
    }

    private void Signal(SafeHandle handle)
    {
        if (system.Signal(handle)) _signals++;
    }

    private void SetUnmask(SafeHandle? handle)
    {
        _unmask?.Dispose();
        _unmask = handle is null ? null : new UnmaskWatch(this, handle);
    }

    /// <summary>The client's eventfd that says that the guest has served INTx.</summary>
    private sealed class UnmaskWatch : ILoopSource, IDisposable
    {
        private readonly VfioInterrupts _owner;
        private readonly SafeHandle _handle;
        private readonly ILoopWatch? _watch;

        public UnmaskWatch(VfioInterrupts owner, SafeHandle handle)
        {
            _owner = owner;
            _handle = handle;
            _watch = owner.TryWatch(handle, this);
        }

        public void Ready(LoopEvents events)
        {
            if (!_owner.Clear(_handle))
            {
                // Not an eventfd, or broken: it would be ready for ever.
                _owner.SetUnmask(null);
                return;
            }

            _owner.Act(IrqIndex.Intx, 0, IrqAction.Unmask);
        }

        public void Dispose()
        {
            _watch?.Dispose();
            _handle.Dispose();
        }
    }

    private bool Clear(SafeHandle handle) => system.Clear(handle);

    private ILoopWatch? TryWatch(SafeHandle handle, ILoopSource source)
    {
        try
        {
            return loop.Watch(handle, LoopEvents.Readable, source);
        }
        catch (System.IO.IOException)
        {
            // A descriptor that cannot be waited for (a plain file).
            return null;
        }
    }
}
