using System.Collections.Generic;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Fuzz.Engine;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>
/// Disks and gadget zeros have large buffers, so a case takes those of earlier cases and puts them back to their first
/// state by a restore. What a restore would leave over shows as a difference between two runs of one input.
/// </summary>
public sealed class DevicePool
{
    private readonly Dictionary<GadgetZeroOptions, Shelf<GadgetZero, GadgetZeroStateV1>> _zeros = [];
    private readonly Dictionary<DiskOptions, Shelf<DiskDevice, DiskStateV1>> _disks = [];
    private readonly SmallStore _store;

    public DevicePool(SmallStore store) => _store = store;

    /// <summary>All devices are free again.</summary>
    public void Reset()
    {
        // A disk that waits for an operation for ever has fewer of them than a new one.
        bool isShort = _store.TakeForgotten();
        foreach (Shelf<GadgetZero, GadgetZeroStateV1> shelf in _zeros.Values) shelf.Used = 0;
        foreach (Shelf<DiskDevice, DiskStateV1> shelf in _disks.Values)
        {
            if (isShort) shelf.Items.RemoveRange(0, shelf.Used);
            shelf.Used = 0;
        }
    }

    public GadgetZero Zero(GadgetZeroOptions options)
    {
        if (!_zeros.TryGetValue(options, out Shelf<GadgetZero, GadgetZeroStateV1>? shelf)) _zeros[options] = shelf = new();
        if (shelf.Used == shelf.Items.Count)
        {
            var made = new GadgetZero(options);
            shelf.Items.Add(made);
            shelf.Fresh ??= made.Capture();
        }

        GadgetZero zero = shelf.Items[shelf.Used++];
        if (!zero.TryRestore(shelf.Fresh!, out string error)) throw new OracleException("restore", $"a new gadget zero's state: {error}");
        return zero;
    }

    public DiskDevice Disk(DiskOptions options)
    {
        if (!_disks.TryGetValue(options, out Shelf<DiskDevice, DiskStateV1>? shelf)) _disks[options] = shelf = new();
        if (shelf.Used == shelf.Items.Count)
        {
            var made = new DiskDevice(_store, options);
            shelf.Items.Add(made);
            shelf.Fresh ??= made.Capture();
        }

        DiskDevice disk = shelf.Items[shelf.Used++];
        if (!disk.TryRestore(shelf.Fresh!, out string error)) throw new OracleException("restore", $"a new disk's state: {error}");
        return disk;
    }

    private sealed class Shelf<TDevice, TState>
        where TState : class
    {
        public List<TDevice> Items { get; } = [];

        public TState? Fresh { get; set; }

        public int Used { get; set; }
    }
}
