using System;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.TestKit.Guest;

namespace XenUsbDm.UnitTests.EndToEnd;

/// <summary>A platform whose machine can be exchanged under the running driver.</summary>
internal sealed class MovablePlatform(InProcessMachine machine) : IGuestPlatform
{
    private InProcessPlatform _inner = new(machine);

    public InProcessMachine Machine { get => _inner.Machine; set => _inner = new InProcessPlatform(value); }

    public ulong Now => _inner.Now;

    public GuestBuffer LowMemory => _inner.LowMemory;

    public GuestBuffer HighMemory => _inner.HighMemory;

    public bool IntxAsserted => _inner.IntxAsserted;

    public uint ConfigRead(int offset, int size) => _inner.ConfigRead(offset, size);

    public void ConfigWrite(int offset, int size, uint value) => _inner.ConfigWrite(offset, size, value);

    public ulong MmioRead(ulong address, int size) => _inner.MmioRead(address, size);

    public void MmioWrite(ulong address, int size, ulong value) => _inner.MmioWrite(address, size, value);

    public Span<byte> Memory(ulong address, int length) => _inner.Memory(address, length);

    public bool WaitForInterrupt(ulong timeoutNanoseconds) => _inner.WaitForInterrupt(timeoutNanoseconds);

    public void Relax(ulong nanoseconds) => _inner.Relax(nanoseconds);

    public ulong TakeMessages() => _inner.TakeMessages();

    public string Diagnose() => _inner.Diagnose();
}
