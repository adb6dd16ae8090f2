using System;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Xen;

/// <summary>
/// What one request costs in system calls, on the loop that runs: each call of the fake is one, so is each wait and, in a PV
/// dom0 of Xen, each look at the clock.
/// </summary>
public sealed class XenCallTests : IDisposable
{
    private const ulong Bar = 0xf100_0000;
    private const ulong Status = Bar + 0x44;
    private const ulong FrameIndex = Bar + 0x1000;
    private const ulong Management = Bar + 0x1020;
    private const ulong Dequeue = Bar + 0x1038;
    private const ulong Doorbells = Bar + 0x2000;
    private const byte Read = 0x20;
    private const int Requests = 200;

    private readonly CountingClock _clock = new();
    private readonly EpollLoop _loop;
    private readonly FakeXen _xen = new() { Signal = Descriptor.NewEvent() };
    private readonly XenHost _host;
    private readonly Model _model;
    private long _bytes;

    public XenCallTests()
    {
        _loop = new EpollLoop(_clock);
        _host = new XenHost(_loop, _xen.Open());
        _model = new Model(_host);
        Assert.True(_host.TryStart(out string error), error);
        // The events of binding.
        _loop.Turn(_host, mayWait: true);
        Config(0x10, (uint)Bar);
        Config(0x14, 0);
        Config(4, 6);
    }

    public void Dispose()
    {
        _host.Dispose();
        _loop.Dispose();
        _xen.Signal!.Dispose();
    }

    [Theory]
    [InlineData(Status, 4, Read, 0)]
    [InlineData(Status, 4, 0, 0)]
    [InlineData(Management, 4, Read, 0)]
    [InlineData(Dequeue, 8, Read, 0)]
    [InlineData(Dequeue + 4, 4, 0, 0)]
    [InlineData(Dequeue, 4, 0, 1)]
    [InlineData(Management, 4, 0, 1)]
    [InlineData(Doorbells, 4, 0, 1)]
    [InlineData(FrameIndex, 4, Read, 1)]
    [InlineData(Bar + 0x1024, 4, Read, 1)]
    public void Request_costs_four_calls_and_one_look_at_the_clock_where_time_matters(ulong address, int size, byte flags, int looks)
    {
        for (int i = 0; i < 50; i++) Ask(address, size, flags);
        _xen.Calls.Clear();
        _xen.Calls.Capacity = 10 * Requests;
        _bytes = 0;
        (int reads, long waits) = (_clock.Reads, _loop.Wakeups);

        for (int i = 0; i < Requests; i++) Ask(address, size, flags);

        Assert.Equal(0, _bytes);
        Assert.Equal(Requests, _loop.Wakeups - waits);
        Assert.Equal(looks * Requests, _clock.Reads - reads);
        Assert.Equal([("notify", Requests), ("take", Requests), ("unmask", Requests)], _xen.Calls.CountBy(call => call).Select(pair => (pair.Key, pair.Value)).Order());
    }

    [Fact]
    public void Request_that_comes_while_the_model_works_is_answered_without_an_event()
    {
        Ask(Status, 4, Read);
        Assert.True(_xen.Send(0, IoreqType.Memory, Status, 4, 0, Read));
        Assert.Contains(1u, _xen.Pending);

        _host.Advance(_loop.Now);

        Assert.NotNull(_xen.Take(0));
        Assert.Contains("/xen/server/found-without-event 1\n", InspectWriter.Dump(_host));
        // Its event comes after all, and finds nothing.
        _loop.Turn(_host, mayWait: true);
        _host.Advance(_loop.Now);
        Assert.Empty(_xen.Masked);
    }

    [Fact]
    public void Guest_that_asks_without_a_pause_starves_neither_other_sources_nor_deadlines()
    {
        int told = 0;
        using Descriptor other = Descriptor.NewEvent();
        using ILoopWatch watch = _loop.Watch(other, LoopEvents.Writable, new Source(() => told++));
        Ask(Status, 4, Read);
        _xen.Answered = vcpu =>
        {
            Assert.NotNull(_xen.Take(vcpu));
            Assert.True(_xen.Send(vcpu, IoreqType.Memory, Status, 4, 0, Read));
        };
        Assert.True(_xen.Send(0, IoreqType.Memory, Status, 4, 0, Read));

        told = 0;
        for (int i = 0; i < 100; i++) _loop.Turn(_host, mayWait: true);
        Assert.Equal(100, told);

        watch.Dispose();
        _model.Due = _loop.Now.Plus(2_000_000);
        int turns = 0;
        while (!_model.IsDone && turns++ < 5_000_000) _loop.Turn(_model, mayWait: true);
        _xen.Answered = null;
        Assert.True(_model.IsDone);
    }

    private void Config(int offset, uint value)
    {
        Answer(IoreqType.PciConfig, XenGuest.ConfigBase + (ulong)offset, 4, value, 0);
    }

    private void Ask(ulong address, int size, byte flags)
    {
        Answer(IoreqType.Memory, address, size, 0, flags);
    }

    // The request comes as the loop goes to sleep.
    private void Answer(IoreqType type, ulong address, int size, ulong data, byte flags)
    {
        _model.Last = () =>
        {
            if (!_xen.Send(0, type, address, size, data, flags)) Assert.Fail("no range takes it");
        };
        long before = GC.GetAllocatedBytesForCurrentThread();
        _loop.Turn(_model, mayWait: true);
        _bytes += GC.GetAllocatedBytesForCurrentThread() - before - _model.LastBytes;
        if (_xen.Take(0) is null) Assert.Fail("the vCPU was not answered");
    }

    private sealed class CountingClock : TimeProvider
    {
        public int Reads { get; private set; }

        public override long GetTimestamp()
        {
            Reads++;
            return base.GetTimestamp();
        }
    }

    private sealed class Source(Action action) : ILoopSource
    {
        public void Ready(LoopEvents events) => action();
    }

    // A host, one deadline more, and what happens last before the loop waits.
    private sealed class Model(XenHost host) : ITimed
    {
        public VirtualTime Due { get; set; } = VirtualTime.Never;

        public bool IsDone { get; private set; }

        public Action? Last { get; set; }

        public long LastBytes { get; private set; }

        public VirtualTime NextDeadline => IsDone ? host.NextDeadline : VirtualTime.Min(Due, host.NextDeadline);

        public void Advance(VirtualTime now)
        {
            host.Advance(now);
            IsDone |= now >= Due;
            long before = GC.GetAllocatedBytesForCurrentThread();
            Last?.Invoke();
            Last = null;
            LastBytes = GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }
}
