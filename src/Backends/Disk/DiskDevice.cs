using System;
using XenUsbDm.Backends.Emulated;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.Backends.Disk;

/// <summary>
/// A USB disk: Mass Storage Class, Bulk-Only Transport 1.0 or USB Attached SCSI, SCSI transparent command set, on a block
/// store. This file is the device and its class requests; DiskDevice.Bulk.cs is bulk-only transport's state machine,
/// DiskDevice.Uas.cs the other transport, DiskDevice.State.cs and DiskDevice.UasState.cs save and restore.
/// </summary>
public sealed partial class DiskDevice : EmulatedDevice
{
    // Class requests (Bulk-Only Transport 1.0 §3).
    private const byte ClassInterfaceOut = 0x21;
    private const byte ClassInterfaceIn = 0xa1;
    private const byte MassStorageReset = 0xff;
    private const byte GetMaxLun = 0xfe;

    private readonly IBlockStore _store;
    private readonly ScsiTask _task = new();
    private readonly ScsiTarget _target;
    private readonly MediumTransfer _medium;

    private long _commands;
    private long _failedCommands;
    private long _phaseErrors;
    private long _invalidWrappers;
    private long _resets;
    private long _bytesRead;
    private long _bytesWritten;

    /// <summary>A disk on <paramref name="store"/>. Throws <see cref="ArgumentException"/> on options that no disk can have.</summary>
    public DiskDevice(IBlockStore store, DiskOptions options)
        : base(Checked(options).Speed, DiskDescriptors.Make(options))
    {
        ArgumentNullException.ThrowIfNull(store);
        _store = store;
        _target = new ScsiTarget(store, options.Serial, options.Removable, _task);
        _medium = new MediumTransfer(store, MediumProgress);
        _tasks = MakeTasks(store, options.Uas, TaskProgress);
        _replies = new UasReply[_tasks.Length + MaxLooseReplies];
        Description = $"disk {store.Description}";
    }

    /// <inheritdoc/>
    public override string Description { get; }

    // The class requests below belong to the setting with bulk-only transport.
    private bool IsBulkOnly => AlternateSetting(0) == 0;

    /// <inheritdoc/>
    protected override bool TryControlIn(SetupPacket setup, out ReadOnlySpan<byte> reply)
    {
        // §3.2: the highest logical unit number, one byte.
        bool valid = setup is { RequestType: ClassInterfaceIn, Request: GetMaxLun, Value: 0, Index: 0, Length: 1 } && IsBulkOnly;
        ControlBuffer[0] = 0;
        reply = valid ? ControlBuffer[..1] : default;
        return valid;
    }

    /// <inheritdoc/>
    protected override bool TryControlOut(SetupPacket setup, ReadOnlySpan<byte> data)
    {
        if (setup is not { RequestType: ClassInterfaceOut, Request: MassStorageReset, Value: 0, Index: 0, Length: 0 } || !IsBulkOnly) return false;

        // §3.1: ready for the next wrapper; halts and toggles stay until the host clears them (§5.3.4).
        _resets++;
        ResetTransport();
        Wake(DiskDescriptors.Out);
        return true;
    }

    /// <inheritdoc/>
    protected override void OnReset() => ResetTransports();

    /// <inheritdoc/>
    protected override void OnDetached() => ResetTransports();

    /// <inheritdoc/>
    protected override void OnConfigured(byte configuration) => ResetTransports();

    /// <inheritdoc/>
    protected override void OnInterfaceSet(byte interfaceNumber, byte alternateSetting) => ResetTransports();

    /// <inheritdoc/>
    protected override bool OnClearHalt(EmulatedEndpoint endpoint) => _phase != BotPhase.Wedged || IsUas(endpoint.Address); // §6.6.1: only reset recovery helps.

    /// <inheritdoc/>
    protected override void InspectDevice(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        using (writer.Node("transport"))
        {
            writer.Text("phase", _phase.ToString());
            writer.Text("case", _phase is BotPhase.Command or BotPhase.Wedged ? "-" : $"{(int)_case} {_case}");
            writer.Hex("tag", _wrapper.Tag);
            writer.Number("announced", _wrapper.DataLength);
            writer.Number("moved", _moved);
            writer.Text("action", _plan.Action.ToString());
            writer.Number("commands", _commands);
            writer.Number("failed", _failedCommands);
            writer.Number("phase-errors", _phaseErrors);
            writer.Number("invalid-wrappers", _invalidWrappers);
            writer.Number("resets", _resets);
            writer.Number("bytes-read", _bytesRead);
            writer.Number("bytes-written", _bytesWritten);
        }

        InspectUas(writer);
        writer.Child("unit", _target);
        writer.Child("medium", _medium);
        writer.Child("store", _store);
    }

    private static DiskOptions Checked(DiskOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        return options;
    }

    private void ResetTransports()
    {
        ResetTransport();
        ResetUas();
    }

    private void Wake(EndpointAddress address)
    {
        if (EndpointAt(address) is { } endpoint) Wake(endpoint);
    }

    private void Halt(EndpointAddress address)
    {
        if (EndpointAt(address) is { } endpoint) Halt(endpoint);
    }
}
