using System;
using System.Collections.Generic;
using System.Linq;
using Microsoft.Extensions.Logging;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Frontends.Xhci;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.Hosts.VfioUser;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>
/// The test kit's guest in a fake Xen domain: every access is a request in the shared page of a vCPU, in turn over all of
/// them, and RAM is reached by foreign mappings.
/// </summary>
internal sealed class XenGuest : IGuestPlatform, IDisposable
{
    public const int Slot = XenLimits.DefaultSlot;
    public const ulong ConfigBase = (ulong)Slot << 35;
    private const byte Read = 0x20;

    private int _vcpu;
    private int _taken;

    public XenGuest(int vcpus = 1, IRecordStore? records = null, ILogger? logger = null)
    {
        Xen = new FakeXen(vcpus);
        Records = records;
        Logger = logger;
        Domain = Xen.Open();
        Host = NewHost();
    }

    public FakeXen Xen { get; }

    public ManualLoop Loop { get; private set; } = new();

    public FakeXen.FakeDomain Domain { get; private set; }

    public XenHost Host { get; private set; }

    public IRecordStore? Records { get; }

    public ILogger? Logger { get; }

    public ulong Now => Loop.Now.Nanoseconds;

    public GuestBuffer LowMemory => new(0x1000, FakeXen.RamBytes - 0x1000);

    public GuestBuffer HighMemory => new(1UL << 32, 0);

    public bool IntxAsserted => Xen.Intx;

    public XenGuest Start()
    {
        Assert.True(Host.TryStart(out string error), error);
        Turn();
        return this;
    }

    /// <summary>The process is killed without warning, and another one is made; it has not started yet.</summary>
    public void KillAndReplace()
    {
        Xen.Kill();
        VirtualTime now = Loop.Now;
        Loop = new ManualLoop();
        Loop.PassTo(now);
        Domain = Xen.Open();
        Host = NewHost();
    }

    /// <summary>What the host has allocated in its turns so far.</summary>
    public long HostBytes { get; private set; }

    /// <summary>The host's sources in the loop: the event channels first.</summary>
    public ILoopSource Events => Loop.Sources.First();

    /// <summary>One turn of the loop. Its sources are told one by one, so that what is allocated is the host's own.</summary>
    public void Turn()
    {
        ILoopSource[] sources = [.. Loop.Sources];
        long before = GC.GetAllocatedBytesForCurrentThread();
        foreach (ILoopSource source in sources) source.Ready(LoopEvents.Readable);
        Host.Advance(Loop.Now);
        HostBytes += GC.GetAllocatedBytesForCurrentThread() - before;
    }

    /// <summary>One request on the next vCPU, from asking to being answered; null when Xen has no server for it.</summary>
    public ulong? Request(IoreqType type, ulong address, int size, ulong data, byte flags, uint count = 1)
    {
        _vcpu = (_vcpu + 1) % Xen.Vcpus;
        if (!Xen.Send(_vcpu, type, address, size, data, flags, count)) return null;
        Turn();
        ulong? answer = Xen.Take(_vcpu);
        Assert.True(answer is not null, "the vCPU was not answered");
        return answer;
    }

    public uint ConfigRead(int offset, int size) => (uint)(Request(IoreqType.PciConfig, ConfigBase + (ulong)offset, size, 0, Read) ?? uint.MaxValue);

    public void ConfigWrite(int offset, int size, uint value) => Request(IoreqType.PciConfig, ConfigBase + (ulong)offset, size, value, 0);

    public ulong MmioRead(ulong address, int size) => Request(IoreqType.Memory, address, size, 0, Read) ?? ulong.MaxValue;

    public void MmioWrite(ulong address, int size, ulong value) => Request(IoreqType.Memory, address, size, value, 0);

    public Span<byte> Memory(ulong address, int length) => Xen.Ram.AsSpan((int)address, length);

    public bool WaitForInterrupt(ulong timeoutNanoseconds)
    {
        VirtualTime end = Loop.Now.Plus(timeoutNanoseconds);
        while (true)
        {
            Turn();
            if (Xen.Messages.Count > _taken || Xen.Intx) return true;
            if (Loop.Now >= end) return false;
            VirtualTime next = VirtualTime.Min(Host.NextDeadline, end);
            Loop.PassTo(next > Loop.Now ? next : Loop.Now.Plus(1000));
        }
    }

    public void Relax(ulong nanoseconds)
    {
        Loop.PassTo(Loop.Now.Plus(nanoseconds));
        Turn();
    }

    public ulong TakeMessages()
    {
        ulong taken = 0;
        foreach ((ulong address, uint data) in Xen.Messages.Skip(_taken))
        {
            Assert.Equal(PciSetup.MessageAddress, address);
            taken |= 1UL << (int)data;
        }

        _taken = Xen.Messages.Count;
        return taken;
    }

    public string Diagnose() => InspectWriter.Dump(Host);

    public void Dispose() => Host.Dispose();

    private XenHost NewHost() => new(Loop, Domain, new XenHostOptions { Xhci = new XhciOptions(), Records = Records, Logger = Logger });
}

/// <summary>Stands for SIGKILL at a certain call.</summary>
internal sealed class KilledException : Exception
{
}

/// <summary>A record kept in memory, as in a file that outlives its process.</summary>
internal sealed class MemoryRecords : IRecordStore
{
    private ulong _sequence;

    public byte[]? Bytes { get; set; }

    public int Saves { get; private set; }

    public bool Refuses { get; set; }

    /// <summary>The process is killed as it saves.</summary>
    public bool Kills { get; set; }

    public List<TakeOverRecord> All { get; } = [];

    public TakeOverRecord? Load() => Bytes is null ? null : TakeOverRecord.Read(Bytes, out _);

    public bool Save(TakeOverRecord record)
    {
        if (Kills) throw new KilledException();
        if (Refuses) return false;
        Saves++;
        All.Add(record);
        Bytes = new byte[TakeOverRecord.Bytes];
        record.Write(Bytes, ++_sequence);
        return true;
    }

    public void Clear() => Bytes = null;

    public void Dispose()
    {
    }
}
