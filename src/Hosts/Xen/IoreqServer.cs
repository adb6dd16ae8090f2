using System;
using System.Collections.Generic;
using System.Threading;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Hosts.EventLoop;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// The ioreq server of a domain: its page of requests, one per vCPU, and their event channels. A request is answered before
/// anything else happens, since its vCPU waits; what it set off (rings to walk) is done when all are answered. Events stay
/// masked meanwhile; <see cref="Rearm"/> looks at their requests once more, since a quick guest has asked again, and lets
/// them come. So a request costs one wait, one read, one notification and one unmasking, and often only the notification.
/// </summary>
/// <remarks>
/// The server belongs to the domain that made it (dom0) and not to the process: when the process is killed it stays, and a
/// vCPU that has asked waits. A new process takes it over by its id: <see cref="TryTakeOver"/>.
/// </remarks>
public sealed class IoreqServer : ILoopSource, IInspectable
{
    private readonly IXenDomain _domain;
    private readonly IoreqHandler _handler;
    private readonly Dictionary<uint, int> _vcpuOf = [];
    private uint[] _ports = [];
    private uint[] _masked = [];
    private int _maskedCount;
    private IForeignPages? _page;
    private bool _exists;
    private long _events;
    private long _spurious;
    private long _resumed;
    private long _found;

    /// <summary>A server that is not there yet.</summary>
    public IoreqServer(IXenDomain domain, IoreqHandler handler)
    {
        ArgumentNullException.ThrowIfNull(domain);
        ArgumentNullException.ThrowIfNull(handler);
        _domain = domain;
        _handler = handler;
    }

    /// <summary>Xen's number for it.</summary>
    public ushort Id { get; private set; }

    /// <summary>vCPUs served.</summary>
    public int Vcpus { get; private set; }

    /// <summary>A call has said that the domain is gone.</summary>
    public bool DomainGone { get; private set; }

    /// <summary>The requests of the last <see cref="Ready"/> asked for the time.</summary>
    public bool NeedsTime => _handler.TookTime;

    /// <summary>Called as soon as a server was made, before anything is asked of it: whoever keeps its number keeps it now.</summary>
    public Action? Created { get; set; }

    /// <summary>Called after requests were answered.</summary>
    public Action? Answered { get; set; }

    /// <summary>Makes a server and binds every vCPU. On false nothing is left and <paramref name="error"/> is a line for the operator.</summary>
    public bool TryCreate(out string error)
    {
        if (!TryCountVcpus(out error)) return false;
        int code = _domain.CreateServer(out ushort id);
        if (code != 0) return Fail("create_ioreq_server", code, out error);
        Id = id;
        _exists = true;
        Created?.Invoke();
        if (TryOpen(out error)) return true;
        Close();
        return false;
    }

    /// <summary>
    /// Takes over a server that an earlier process left. On false it is not there any more, or does not work, and nothing is
    /// left. Requests that wait are answered by <see cref="AnswerWaiting"/>, when the machine is ready to.
    /// </summary>
    public bool TryTakeOver(ushort id, out string error)
    {
        if (!TryCountVcpus(out error)) return false;
        Id = id;
        if (!TryOpen(out error))
        {
            Unbind();
            return false;
        }

        _exists = true;
        return true;
    }

    /// <summary>
    /// Answers every request that waits, those that an earlier process had begun too. They are run again: reading a register
    /// changes nothing, and what a write had done to the earlier machine is gone with it.
    /// </summary>
    public void AnswerWaiting()
    {
        _handler.TookTime = false;
        for (int vcpu = 0; vcpu < Vcpus; vcpu++)
        {
            Span<byte> slot = Slot(vcpu);
            if (Ioreq.Copy(slot).State == IoreqState.InProcess)
            {
                _resumed++;
                Answer(vcpu, slot);
            }
            else if (Serve(vcpu))
            {
                _resumed++;
            }
        }

        Answered?.Invoke();
    }

    /// <inheritdoc/>
    public void Ready(LoopEvents events)
    {
        _handler.TookTime = false;
        // Each vCPU has one port, so there is room for all that can be pending; more is reported again.
        Span<uint> room = _masked.AsSpan(_maskedCount);
        int count = _domain.TakeEvents(room);
        _events += count;
        _maskedCount += count;
        foreach (uint port in room[..count])
        {
            if (!_vcpuOf.TryGetValue(port, out int vcpu) || !Serve(vcpu)) _spurious++;
        }

        Answered?.Invoke();
    }

    /// <summary>
    /// The model has done its work and the loop is about to wait: answers what the vCPUs of masked events have asked since,
    /// once for each, and unmasks the events. True when something was answered.
    /// </summary>
    public bool Rearm()
    {
        if (_maskedCount == 0) return false;
        _handler.TookTime = false;
        long found = _found;
        foreach (uint port in _masked.AsSpan(0, _maskedCount))
        {
            if (_vcpuOf.TryGetValue(port, out int vcpu) && Serve(vcpu)) _found++;
        }

        Note(_domain.Unmask(_masked.AsSpan(0, _maskedCount)));
        _maskedCount = 0;
        return _found != found;
    }

    /// <summary>Answers what waits, then takes the server away, so that no vCPU is left waiting. The domain may be gone already.</summary>
    public void Close()
    {
        if (!_exists) return;
        if (_page is not null && !DomainGone) AnswerWaiting();
        Note(_domain.SetServerState(Id, false));
        // A request that came in before the server was off.
        if (_page is not null && !DomainGone) AnswerWaiting();
        Unbind();
        Note(_domain.DestroyServer(Id));
        _exists = false;
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("id", Id);
        writer.Number("vcpus", Vcpus);
        writer.Number("events", _events);
        writer.Number("spurious-events", _spurious);
        writer.Number("found-without-event", _found);
        writer.Number("taken-over-requests", _resumed);
        writer.Child("requests", _handler);
    }

    private static bool Fail(string call, int code, out string error)
    {
        error = code switch
        {
            XenError.NoDomain => "the domain is gone",
            XenError.NotPermitted => $"{call}: not permitted; run as root in dom0",
            XenError.NoSpace => $"{call}: the domain has as many device models as Xen allows (8)",
            XenError.Invalid or XenError.NotSupported when call == "nr_vcpus" => "the domain is not an HVM guest",
            _ => $"{call}: error {code}",
        };
        return false;
    }

    private bool TryCountVcpus(out string error)
    {
        int code = _domain.GetVcpuCount(out int count);
        if (code != 0) return Fail("nr_vcpus", code, out error);
        error = $"the domain may have {count} vCPUs; Xen gives a device model access to {XenLimits.MaxVcpus} at most (maxvcpus)";
        if (count is < 1 or > XenLimits.MaxVcpus) return false;
        Vcpus = count;
        _ports = new uint[count];
        _masked = new uint[count];
        error = "";
        return true;
    }

    private bool TryOpen(out string error)
    {
        int code = _domain.MapServerPage(Id, out _page);
        if (code != 0 || _page is null) return Fail("map_resource", code, out error);
        // The ports are in the page only after this.
        code = _domain.SetServerState(Id, true);
        if (code != 0) return Fail("set_ioreq_server_state", code, out error);
        for (int vcpu = 0; vcpu < Vcpus; vcpu++)
        {
            uint remote = System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(Slot(vcpu)[IoreqLayout.EventPort..]);
            code = _domain.BindEvent(remote, out uint port);
            if (code != 0) return Fail($"bind_interdomain of vCPU {vcpu}", code, out error);
            _ports[vcpu] = port;
            _vcpuOf[port] = vcpu;
        }

        error = "";
        return true;
    }

    private void Unbind()
    {
        foreach (uint port in _vcpuOf.Keys) _domain.UnbindEvent(port);
        _vcpuOf.Clear();
        _maskedCount = 0;
        _page?.Dispose();
        _page = null;
    }

    private Span<byte> Slot(int vcpu) => _page!.Bytes.Slice(vcpu * IoreqLayout.Bytes, IoreqLayout.Bytes);

    /// <summary>Answers a vCPU's request; false when it has none.</summary>
    private bool Serve(int vcpu)
    {
        Span<byte> slot = Slot(vcpu);
        if (Ioreq.Copy(slot).State != IoreqState.Ready) return false;
        Ioreq.SetState(slot, IoreqState.InProcess);
        Answer(vcpu, slot);
        return true;
    }

    private void Answer(int vcpu, Span<byte> slot)
    {
        Ioreq request = Ioreq.Copy(slot);
        ulong data = _handler.Handle(request);
        if (request.IsRead && !request.DataIsPointer)
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(slot[IoreqLayout.Data..], data);
        Ioreq.SetState(slot, IoreqState.Answered);
        Thread.MemoryBarrier();
        Note(_domain.Notify(_ports[vcpu]));
    }

    private void Note(int error)
    {
        if (error == XenError.NoDomain) DomainGone = true;
    }
}
