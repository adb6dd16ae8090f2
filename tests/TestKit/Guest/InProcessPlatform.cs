using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Hosts.InProcess;

namespace XenUsbDm.TestKit.Guest;

/// <summary>The guest's machine is an <see cref="InProcessMachine"/>; its time is the machine's virtual time.</summary>
public sealed class InProcessPlatform : IGuestPlatform
{
    /// <summary>The first page is left out, so that a driver that writes to address 0 is found out.</summary>
    public const int FirstUsable = 0x1000;

    private readonly Func<bool> _pending;

    public InProcessPlatform(InProcessMachine machine)
    {
        ArgumentNullException.ThrowIfNull(machine);
        Machine = machine;
        LowMemory = new GuestBuffer(FirstUsable, machine.Memory.LowBytes - FirstUsable);
        HighMemory = new GuestBuffer(InProcessMemory.HighBase, machine.Memory.HighBytes);
        _pending = () => Machine.PendingMessages != 0 || Machine.IntxAsserted;
    }

    public InProcessMachine Machine { get; }

    public ulong Now => Machine.Now.Nanoseconds;

    public GuestBuffer LowMemory { get; }

    public GuestBuffer HighMemory { get; }

    public bool IntxAsserted => Machine.IntxAsserted;

    public uint ConfigRead(int offset, int size) => (uint)Machine.ReadConfig(offset, size);

    public void ConfigWrite(int offset, int size, uint value) => Machine.WriteConfig(offset, size, value);

    public ulong MmioRead(ulong address, int size) => Machine.ReadMmio(address, size);

    public void MmioWrite(ulong address, int size, ulong value) => Machine.WriteMmio(address, size, value);

    public Span<byte> Memory(ulong address, int length) => length == 0 ? default : Machine.Memory.Guest(new GuestAddress(address), length);

    public bool WaitForInterrupt(ulong timeoutNanoseconds) => Machine.RunUntil(_pending, timeoutNanoseconds);

    public void Relax(ulong nanoseconds)
    {
        if (nanoseconds == 0) Machine.Step();
        else Machine.AdvanceBy(nanoseconds);
    }

    public ulong TakeMessages() => Machine.TakeMessages();

    public string Diagnose() => InspectWriter.Dump(Machine);
}
