#pragma warning disable CA1822, CS9113 // Seam only; the implementation follows.
using System;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Pci;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>The register block of an xHCI controller (xHCI 1.2 §5): 0x3000 bytes from the start of BAR 0.</summary>
internal sealed class XhciRegisters(XhciOptions options, Interrupters interrupters, RootPorts ports, IRegisterEffects effects, ILogger? logger = null)
    : IMemoryBar, ITimed, IInspectable
{
    /// <summary>USBCMD.R/S.</summary>
    public bool Running => false;

    /// <summary>USBSTS.HCH.</summary>
    public bool Halted => true;

    /// <summary>USBSTS.HCE or HSE.</summary>
    public bool IsDead => false;

    /// <summary>DCBAAP.</summary>
    public GuestAddress Dcbaap => default;

    /// <summary>CONFIG.MaxSlotsEn, at most MaxSlots.</summary>
    public int MaxSlotsEnabled => 0;

    /// <summary>CONFIG.CIE.</summary>
    public bool ConfigurationInformationEnabled => false;

    /// <summary>CONFIG.U3E.</summary>
    public bool U3EntryEnabled => false;

    /// <summary>Command ring pointer as last written to CRCR.</summary>
    public GuestAddress CommandRingPointer => default;

    /// <summary>RCS as last written to CRCR.</summary>
    public bool CommandRingCycle => false;

    /// <summary>CRCR was written while CRR was 0; the core clears it when it takes pointer and cycle at the next doorbell.</summary>
    public bool CommandRingWritten { get; set; }

    /// <summary>CRCR.CRR, set by the core.</summary>
    public bool CommandRingRunning { get; set; }

    /// <summary>The instant of the current entry; handed on to interrupters and ports.</summary>
    public VirtualTime Now { get; set; }

    /// <summary>The absolute microframe (<see cref="VirtualTime.Microframe"/>) at which MFINDEX was, or would have been, 0.</summary>
    public ulong MfindexOrigin => 0;

    /// <inheritdoc/>
    public VirtualTime NextDeadline => VirtualTime.Never;

    /// <inheritdoc/>
    public void Advance(VirtualTime now) => throw new InvalidOperationException();

    /// <summary>USBSTS.HCE.</summary>
    public void RaiseHostControllerError() => throw new InvalidOperationException();

    /// <summary>USBSTS.HSE.</summary>
    public void RaiseHostSystemError() => throw new InvalidOperationException();

    /// <summary>Register values after HCRST.</summary>
    public void Reset() => throw new InvalidOperationException();

    /// <summary>The PCI function's message enables or bus-master permission changed.</summary>
    public void HostBusChanged() => throw new InvalidOperationException();

    /// <inheritdoc/>
    public ulong Read(int offset, int size) => throw new InvalidOperationException();

    /// <inheritdoc/>
    public void Write(int offset, int size, ulong value) => throw new InvalidOperationException();

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer) => throw new InvalidOperationException();

    /// <summary>Saved state.</summary>
    public XhciRegistersStateV1 Capture() => throw new InvalidOperationException();

    /// <summary>Restores.</summary>
    public bool TryRestore(XhciRegistersStateV1 state, out string error) => throw new InvalidOperationException();
}

/// <summary>State.</summary>
public sealed record XhciRegistersStateV1(uint UsbCommand);
