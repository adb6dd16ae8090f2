using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.TestKit;

/// <summary>A platform that is memory and a clock, without a controller.</summary>
internal sealed class MemoryPlatform(int low = 1 << 20, int high = 1 << 20) : IGuestPlatform
{
    public InProcessMemory Ram { get; } = new(low, high);

    public ulong Now { get; private set; }

    public GuestBuffer LowMemory { get; } = new(0x1000, low - 0x1000);

    public GuestBuffer HighMemory { get; } = new(InProcessMemory.HighBase, high);

    public bool IntxAsserted => false;

    public uint ConfigRead(int offset, int size) => uint.MaxValue;

    public void ConfigWrite(int offset, int size, uint value)
    {
    }

    public ulong MmioRead(ulong address, int size) => 0;

    public void MmioWrite(ulong address, int size, ulong value)
    {
    }

    public Span<byte> Memory(ulong address, int length) => Ram.Guest(new GuestAddress(address), length);

    public bool WaitForInterrupt(ulong timeoutNanoseconds)
    {
        Now += timeoutNanoseconds;
        return false;
    }

    public void Relax(ulong nanoseconds) => Now += nanoseconds;

    public ulong TakeMessages() => 0;

    public string Diagnose() => "memory only";
}
