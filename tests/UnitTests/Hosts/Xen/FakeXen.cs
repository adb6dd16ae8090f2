using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>
/// A hypervisor with one HVM domain, by the rules of Xen 4.20: server and ranges belong to the domain and outlive the
/// process; a vCPU that has asked waits; ports appear in the page when the server is enabled. Checks what Xen would kill a
/// domain for.
/// </summary>
internal sealed class FakeXen
{
    public const int RamBytes = 32 << 20;

    private readonly uint[] _localPorts;
    private uint _nextLocal = 1;

    public FakeXen(int vcpus = 1)
    {
        Vcpus = vcpus;
        _localPorts = new uint[vcpus];
        Page = new byte[4096];
    }

    public int Vcpus { get; }

    public byte[] Ram { get; } = GC.AllocateArray<byte>(RamBytes, pinned: true);

    public byte[] Page { get; }

    /// <summary>Frames that Xen does not map.</summary>
    public HashSet<ulong> Missing { get; } = [];

    public List<(ulong First, ulong Last)> Ranges { get; } = [];

    public HashSet<int> PciSlots { get; } = [];

    /// <summary>Slots of other device models of the domain, by their servers; ours is 1.</summary>
    public Dictionary<ushort, HashSet<int>> Others { get; } = [];

    public List<(ulong Address, uint Data)> Messages { get; } = [];

    public List<PageExtent> Modified { get; } = [];

    public Queue<uint> Events { get; } = new();

    /// <summary>Events that the kernel has delivered and not been told to unmask.</summary>
    public HashSet<uint> Masked { get; } = [];

    /// <summary>Masked events that were raised again.</summary>
    public HashSet<uint> Pending { get; } = [];

    /// <summary>Readable while events wait, for tests with a real loop.</summary>
    public Descriptor? Signal { get; init; }

    public List<string> Calls { get; } = [];

    /// <summary>Told of each call before it does anything; what it throws kills the process there.</summary>
    public Action<string>? Called { get; set; }

    /// <summary>Errors to answer by name of the call.</summary>
    public Dictionary<string, int> Errors { get; } = [];

    public bool ServerExists { get; set; }

    public bool Enabled { get; set; }

    public bool Intx { get; set; }

    public bool Alive { get; set; } = true;

    public int MappedPages { get; set; }

    public long Notifications { get; private set; }

    /// <summary>Called as a vCPU is told of its answer.</summary>
    public Action<int>? Answered { get; set; }

    public Span<byte> Slot(int vcpu) => Page.AsSpan(vcpu * 32, 32);

    public IoreqState State(int vcpu) => (IoreqState)(Slot(vcpu)[30] & 0xf);

    /// <summary>A process attaches to the domain.</summary>
    public FakeDomain Open() => new(this);

    /// <summary>A vCPU asks. False when no range takes it: Xen answers by itself.</summary>
    public bool Send(int vcpu, IoreqType type, ulong address, int size, ulong data, byte flags, uint count = 1)
    {
        Assert.Equal(IoreqState.None, State(vcpu));
        if (!Enabled || !IsTaken(type, address, size, flags, count)) return false;
        Span<byte> slot = Slot(vcpu);
        BinaryPrimitives.WriteUInt64LittleEndian(slot, address);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[8..], data);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[16..], count);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[20..], (uint)size);
        slot[31] = (byte)type;
        slot[30] = (byte)(flags | (int)IoreqState.Ready);
        Raise(vcpu);
        return true;
    }

    /// <summary>The vCPU goes on, if it was answered.</summary>
    public ulong? Take(int vcpu)
    {
        Span<byte> slot = Slot(vcpu);
        Assert.Equal(100u + (uint)vcpu, BinaryPrimitives.ReadUInt32LittleEndian(slot[24..]));
        if (State(vcpu) != IoreqState.Answered) return null;
        slot[30] &= 0xf0;
        return BinaryPrimitives.ReadUInt64LittleEndian(slot[8..]);
    }

    public void Raise(int vcpu)
    {
        if (_localPorts[vcpu] != 0) Deliver(_localPorts[vcpu]);
    }

    /// <summary>The process is killed: its handles close, everything else stays.</summary>
    public void Kill()
    {
        Array.Clear(_localPorts);
        Events.Clear();
        Masked.Clear();
        Pending.Clear();
        MappedPages = 0;
    }

    // The kernel masks an event as it delivers it (drivers/xen/evtchn.c); what comes then waits for the unmasking.
    private void Deliver(uint port)
    {
        if (!Masked.Add(port))
        {
            Pending.Add(port);
            return;
        }

        Events.Enqueue(port);
        if (Signal is not null && !EventCounter.Signal(Signal)) Assert.Fail("no eventfd");
    }

    private bool IsTaken(IoreqType type, ulong address, int size, byte flags, uint count)
    {
        if (type == IoreqType.PciConfig) return PciSlots.Contains((int)(address >> 35) & 0x1f) && (address >> 40) == 0;
        if (type != IoreqType.Memory) return true;
        ulong extent = (ulong)size * count;
        ulong first = (flags & 0x40) != 0 ? address + (ulong)size - extent : address;
        return Ranges.Any(range => first >= range.First && first + extent - 1 <= range.Last);
    }

    /// <summary>What one process holds of the domain.</summary>
    internal sealed class FakeDomain(FakeXen xen) : IXenDomain
    {
        public FakeXen Xen => xen;

        public int Id => 5;

        public string Name => "guest";

        public Guid Uuid { get; set; } = new("00112233-4455-6677-8899-aabbccddeeff");

        public SafeHandle EventHandle { get; } = xen.Signal ?? (SafeHandle)new SafeFileHandle(-1, ownsHandle: false);

        public SafeHandle? ReleaseHandle { get; } = xen.Signal is null ? new SafeFileHandle(-1, ownsHandle: false) : null;

        public bool IsDisposed { get; private set; }

        public int GetVcpuCount(out int count)
        {
            count = xen.Vcpus;
            return Note("nr_vcpus");
        }

        public int CreateServer(out ushort server)
        {
            server = 1;
            int error = Note("create");
            if (error == 0) xen.ServerExists = true;
            return error;
        }

        public int MapServerPage(ushort server, out IForeignPages? page)
        {
            page = null;
            int error = Note("map_resource");
            if (error == 0 && (!xen.ServerExists || server != 1)) error = XenError.NoEntry;
            if (error == 0) page = new FakePages(xen, xen.Page);
            return error;
        }

        public int SetServerState(ushort server, bool enabled)
        {
            int error = Note(enabled ? "enable" : "disable");
            if (error != 0) return error;
            xen.Enabled = enabled;
            for (int vcpu = 0; enabled && vcpu < xen.Vcpus; vcpu++)
                BinaryPrimitives.WriteUInt32LittleEndian(xen.Slot(vcpu)[24..], 100u + (uint)vcpu);
            return 0;
        }

        public int DestroyServer(ushort server)
        {
            int error = Note("destroy");
            if (error != 0) return error;
            for (int vcpu = 0; vcpu < xen.Vcpus; vcpu++)
                Assert.True(xen.State(vcpu) is IoreqState.None or IoreqState.Answered, $"vCPU {vcpu} waits for ever");
            xen.ServerExists = false;
            xen.Ranges.Clear();
            xen.PciSlots.Clear();
            return 0;
        }

        public int MapRange(ushort server, ulong first, ulong last)
        {
            int error = Note("map_range");
            if (error != 0) return error;
            if (xen.Ranges.Any(range => first <= range.Last && last >= range.First)) return XenError.Exists;
            xen.Ranges.Add((first, last));
            return 0;
        }

        public int UnmapRange(ushort server, ulong first, ulong last)
        {
            int error = Note("unmap_range");
            return error != 0 ? error : xen.Ranges.Remove((first, last)) ? 0 : XenError.NoEntry;
        }

        public int MapPciDevice(ushort server, int slot)
        {
            if (server != 1) return !xen.Others.TryGetValue(server, out HashSet<int>? slots) ? XenError.NoEntry : slots.Add(slot) ? 0 : XenError.Exists;
            int error = Note("map_pcidev");
            return error != 0 ? error : xen.PciSlots.Add(slot) ? 0 : XenError.Exists;
        }

        public int UnmapPciDevice(ushort server, int slot)
        {
            if (server != 1) return xen.Others[server].Remove(slot) ? 0 : XenError.NoEntry;
            int error = Note("unmap_pcidev");
            return error != 0 ? error : xen.PciSlots.Remove(slot) ? 0 : XenError.NoEntry;
        }

        public int InjectMsi(ulong address, uint data)
        {
            int error = Note("inject_msi");
            if (error == 0) xen.Messages.Add((address, data));
            return error;
        }

        public int SetIntx(int slot, bool asserted)
        {
            int error = Note("set_intx");
            if (error == 0) xen.Intx = asserted;
            return error;
        }

        public int MarkModified(ReadOnlySpan<PageExtent> extents)
        {
            xen.Modified.AddRange(extents);
            return Note("modified_memory");
        }

        public int MapGuest(ulong firstFrame, Span<int> errors, out IForeignPages? pages)
        {
            pages = null;
            int error = Note("map_guest");
            if (error != 0) return error;
            bool inside = firstFrame + (ulong)errors.Length <= RamBytes / 4096;
            for (int i = 0; i < errors.Length; i++) errors[i] = !inside || xen.Missing.Contains(firstFrame + (ulong)i) ? -XenError.Invalid : 0;
            pages = new FakePages(xen, inside ? xen.Ram.AsMemory((int)firstFrame * 4096, errors.Length * 4096) : new byte[errors.Length * 4096]);
            return 0;
        }

        public int BindEvent(uint remotePort, out uint localPort)
        {
            localPort = 0;
            int error = Note("bind");
            if (error != 0) return error;
            int vcpu = (int)remotePort - 100;
            Assert.InRange(vcpu, 0, xen.Vcpus - 1);
            Assert.Equal(0u, xen._localPorts[vcpu]);
            localPort = xen._nextLocal++;
            xen._localPorts[vcpu] = localPort;
            // Binding always raises one event, whatever the slot says.
            xen.Deliver(localPort);
            return 0;
        }

        public int UnbindEvent(uint localPort)
        {
            int vcpu = Array.IndexOf(xen._localPorts, localPort);
            if (vcpu >= 0) xen._localPorts[vcpu] = 0;
            return Note("unbind");
        }

        public int Notify(uint localPort)
        {
            int vcpu = Array.IndexOf(xen._localPorts, localPort);
            if (vcpu < 0 || xen.State(vcpu) != IoreqState.Answered) Assert.Fail("a notification without an answer");
            xen.Notifications++;
            int error = Note("notify");
            xen.Answered?.Invoke(vcpu);
            return error;
        }

        public int TakeEvents(Span<uint> localPorts)
        {
            int count = 0;
            while (count < localPorts.Length && xen.Events.TryDequeue(out uint port)) localPorts[count++] = port;
            if (xen.Signal is not null && xen.Events.Count == 0) EventCounter.Clear(xen.Signal);
            Note("take");
            return count;
        }

        public int Unmask(ReadOnlySpan<uint> localPorts)
        {
            if (localPorts.IsEmpty) Assert.Fail("a call for nothing");
            int error = Note("unmask");
            foreach (uint port in localPorts)
            {
                xen.Masked.Remove(port);
                if (xen.Pending.Remove(port)) xen.Deliver(port);
            }

            return error;
        }

        public bool IsAlive() => xen.Alive;

        public void Dispose() => IsDisposed = true;

        private int Note(string call)
        {
            xen.Calls.Add(call);
            xen.Called?.Invoke(call);
            return xen.Errors.TryGetValue(call, out int error) ? error : 0;
        }
    }

    private sealed class FakePages : IForeignPages
    {
        private readonly FakeXen _xen;
        private Memory<byte>? _bytes;

        public FakePages(FakeXen xen, Memory<byte> bytes)
        {
            _xen = xen;
            _bytes = bytes;
            xen.MappedPages++;
        }

        public Span<byte> Bytes => (_bytes ?? throw new ObjectDisposedException(nameof(FakePages))).Span;

        public void Dispose()
        {
            if (_bytes is null) return;
            _bytes = null;
            _xen.MappedPages--;
        }
    }
}
