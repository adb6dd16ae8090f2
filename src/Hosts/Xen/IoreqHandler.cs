using System;
using System.Buffers.Binary;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Hosts.Machine;

namespace XenUsbDm.Hosts.Xen;

/// <summary>
/// What a request means to the machine. Every request has an answer: what is not there reads as ones and swallows writes,
/// as on a bus. The work is bounded by <see cref="XenLimits.MaxRepeat"/>; rings are not walked here.
/// </summary>
/// <param name="machine">The machine.</param>
/// <param name="memory">Guest memory as the processor sees it, for accesses with a memory operand.</param>
/// <param name="function">Bus, device and function of the controller, as in <see cref="Ioreq.ConfigFunction"/>.</param>
public sealed class IoreqHandler(XhciMachine machine, IGuestMemory memory, uint function) : IInspectable
{
    private long _registers;
    private long _config;
    private long _invalidations;
    private long _other;

    /// <summary>Something that a new process would have to know may have changed: configuration space or the MSI-X table. The host clears it.</summary>
    public bool FunctionChanged { get; set; }

    /// <summary>A request has asked for the time; the server clears it, so that it is asked for once a wake-up.</summary>
    public bool TookTime { get; set; }

    /// <summary>Passes the present instant to the machine, before an access that depends on it.</summary>
    public Action? TimeNeeded { get; set; }

    /// <summary>Told when Xen wants every mapping of guest memory gone.</summary>
    public Action? Invalidated { get; set; }

    /// <summary>Requests in all.</summary>
    public long Requests => _registers + _config + _invalidations + _other;

    /// <summary>The guest has looked at configuration space.</summary>
    public bool WasLookedAt => _config > 0;

    /// <summary>Does what the request asks for. Returns the data of a read; of anything else the data that came.</summary>
    public ulong Handle(in Ioreq request)
    {
        switch (request.Type)
        {
            case IoreqType.Invalidate:
                _invalidations++;
                Invalidated?.Invoke();
                return request.Data;
            case IoreqType.Memory:
                _registers++;
                break;
            case IoreqType.PciConfig:
                _config++;
                break;
            default:
                _other++;
                break;
        }

        return Access(request);
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("register-accesses", _registers);
        writer.Number("config-accesses", _config);
        writer.Number("invalidations", _invalidations);
        writer.Number("other", _other);
    }

    private ulong Access(in Ioreq request)
    {
        bool isWhole = request.Size is 1 or 2 or 4 or 8;
        ulong data = request.Data;
        // A register of configuration space, or a port, stays the same in a repeated access; memory and registers move on.
        ulong step = request.IsDown ? unchecked(0UL - request.Size) : request.Size;
        ulong place = request.Address;
        ulong operand = request.Data;
        uint count = Math.Min(request.Count, XenLimits.MaxRepeat);
        for (uint i = 0; i < count; i++)
        {
            if (request.IsRead)
            {
                ulong value = isWhole ? Read(request, place) & request.Mask : request.Mask;
                if (request.DataIsPointer) Store(operand, request.Size, value);
                else data = value;
            }
            else if (isWhole)
            {
                Write(request, place, request.DataIsPointer ? Load(operand, request.Size) : request.Data & request.Mask);
            }

            operand = unchecked(operand + step);
            if (request.Type == IoreqType.Memory) place = unchecked(place + step);
        }

        return data;
    }

    private ulong Read(in Ioreq request, ulong place) => request.Type switch
    {
        IoreqType.Memory => ReadRegister(place, (int)request.Size),
        IoreqType.PciConfig when request.ConfigFunction == function && request.ConfigRegister < 256 =>
            machine.ReadConfig((int)request.ConfigRegister, (int)request.Size),
        _ => ulong.MaxValue,
    };

    private void Write(in Ioreq request, ulong place, ulong value)
    {
        if (request.Type == IoreqType.Memory)
        {
            WriteRegister(place, (int)request.Size, value);
        }
        else if (request.Type == IoreqType.PciConfig && request.ConfigFunction == function && request.ConfigRegister < 256)
        {
            TakeTime();
            machine.WriteConfig((int)request.ConfigRegister, (int)request.Size, value);
            FunctionChanged = true;
        }
    }

    // An access may begin before the BAR: its bytes there are ones. What sticks out at the end the function sees to.
    private ulong ReadRegister(ulong address, int size)
    {
        ulong bar = machine.Pci.BarMapping.Address;
        if (address >= bar || bar - address >= (ulong)size)
        {
            if (machine.DependsOnTime(unchecked(address - bar), size, isWrite: false)) TakeTime();
            return machine.ReadBar(unchecked(address - bar), size);
        }

        int before = (int)(bar - address);
        return (machine.ReadBar(0, size - before) << (8 * before)) | ((1UL << (8 * before)) - 1);
    }

    private void WriteRegister(ulong address, int size, ulong value)
    {
        ulong bar = machine.Pci.BarMapping.Address;
        int before = address < bar && bar - address < (ulong)size ? (int)(bar - address) : 0;
        ulong offset = before > 0 ? 0 : unchecked(address - bar);
        if (machine.DependsOnTime(offset, size - before, isWrite: true)) TakeTime();
        machine.WriteBar(offset, size - before, value >> (8 * before));
        if (offset < (ulong)machine.Pci.BarSize && offset + (ulong)size > (ulong)PciFunction.TableOffset(machine.Pci.BarSize)) FunctionChanged = true;
    }

    private void TakeTime()
    {
        if (TookTime) return;
        TookTime = true;
        TimeNeeded?.Invoke();
    }

    private ulong Load(ulong address, uint size)
    {
        Span<byte> bytes = stackalloc byte[8];
        if (!memory.TryRead(new GuestAddress(address), bytes[..(int)size])) return ulong.MaxValue;
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        return size == 8 ? value : value & ((1UL << ((int)size * 8)) - 1);
    }

    private void Store(ulong address, uint size, ulong value)
    {
        if (size > 8) return;
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        memory.TryWrite(new GuestAddress(address), bytes[..(int)size]);
    }
}
