using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.EventLoop;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>A loop whose time is set and whose sources are told by the test; sockets may be told in vain, they do not block.</summary>
internal sealed class ManualLoop : IEventLoop
{
    private readonly List<Watched> _watches = [];

    public VirtualTime Now { get; private set; }

    public IEnumerable<ILoopSource> Sources => _watches.Select(watch => watch.Source);

    public void PassTo(VirtualTime now) => Now = now > Now ? now : Now;

    /// <summary>Tells every source but eventfds (which must be ready when told) and advances the model.</summary>
    public void Turn(ITimed model)
    {
        foreach (Watched watch in _watches.ToArray())
        {
            bool isEvent = watch.Source.GetType().Name == "UnmaskWatch";
            if (!isEvent && watch.Interest != LoopEvents.None && _watches.Contains(watch)) watch.Source.Ready(watch.Interest);
        }

        model.Advance(Now);
    }

    public ILoopWatch Watch(SafeHandle descriptor, LoopEvents interest, ILoopSource source)
    {
        var watch = new Watched(this, source) { Interest = interest };
        _watches.Add(watch);
        return watch;
    }

    public void Wake()
    {
    }

    public void Stop()
    {
    }

    public void Run(ITimed model) => Turn(model);

    private sealed class Watched(ManualLoop loop, ILoopSource source) : ILoopWatch
    {
        public ILoopSource Source => source;

        public LoopEvents Interest { get; set; }

        public void Dispose() => loop._watches.Remove(this);
    }
}
