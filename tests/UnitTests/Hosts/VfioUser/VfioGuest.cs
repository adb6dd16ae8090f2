using System;
using System.Collections.Generic;
using Microsoft.Win32.SafeHandles;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Native.Linux;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>
/// The test kit's guest behind a vfio-user client, as a VMM would run it: RAM is a shared file, registers go over the socket,
/// interrupts come by eventfd. Time is the loop's.
/// </summary>
internal sealed class VfioGuest : IGuestPlatform, IDisposable
{
    private const int Ram = 32 << 20;
    private const uint Config = 7;
    private readonly MappedMemory _ram;
    private readonly List<Descriptor> _vectors = [];
    private readonly Descriptor _intx;
    private ulong _messages;
    private bool _intxPending;

    public VfioGuest(VfioClient client)
    {
        Client = client;
        Assert.Equal(0, client.Negotiate().Error);
        var file = (SafeFileHandle)client.MemoryFile(Ram);
        RamFile = file;
        Assert.True(MappedMemory.TryMap(file, 0, Ram, true, out MappedMemory? ram, out _));
        _ram = ram!;
        Assert.Equal(0, client.Map(0, Ram, file).Error);
        _intx = client.Event();
        Assert.Equal(0, client.SetIrqs(4 | 32, 0, 0, 1, _intx).Error);
        for (int i = 0; i < 16; i++) _vectors.Add(client.Event());
        Assert.Equal(0, client.SetIrqs(4 | 32, 2, 0, 16, [.. _vectors]).Error);
    }

    public VfioClient Client { get; }

    /// <summary>The file that RAM is in.</summary>
    public SafeFileHandle RamFile { get; }

    public ulong Now => Client.Loop.Now.Nanoseconds;

    public GuestBuffer LowMemory => new(0x1000, Ram - 0x1000);

    public GuestBuffer HighMemory => new(1UL << 32, 0);

    public bool IntxAsserted
    {
        get
        {
            Poll();
            return _intxPending;
        }
    }

    public uint ConfigRead(int offset, int size) => (uint)Client.ReadValue(Config, (ulong)offset, size);

    public void ConfigWrite(int offset, int size, uint value) => Client.WriteValue(Config, (ulong)offset, size, value);

    public ulong MmioRead(ulong address, int size)
    {
        ulong value = Client.ReadValue(0, Offset(address), size);
        // As QEMU does: any access to the BAR ends the INTx that was signalled.
        EndInterrupt();
        return value;
    }

    public void MmioWrite(ulong address, int size, ulong value)
    {
        Client.WriteValue(0, Offset(address), size, value);
        EndInterrupt();
    }

    public Span<byte> Memory(ulong address, int length) => _ram.Slice(address, length);

    public bool WaitForInterrupt(ulong timeoutNanoseconds)
    {
        VirtualTime end = Client.Loop.Now.Plus(timeoutNanoseconds);
        while (true)
        {
            Client.Turn();
            Poll();
            if (_messages != 0 || _intxPending) return true;
            if (Client.Loop.Now >= end) return false;
            VirtualTime next = VirtualTime.Min(Client.Host.NextDeadline, end);
            Client.Loop.PassTo(next > Client.Loop.Now ? next : Client.Loop.Now.Plus(1000));
        }
    }

    public void Relax(ulong nanoseconds) => Client.PassTime(nanoseconds);

    public ulong TakeMessages()
    {
        Poll();
        ulong taken = _messages;
        _messages = 0;
        return taken;
    }

    public string Diagnose() => InspectWriter.Dump(Client.Host);

    public void Dispose() => _ram.Dispose();

    private ulong Offset(ulong address) => address & (ulong)(Client.Host.Machine.Pci.BarSize - 1);

    private void EndInterrupt()
    {
        if (!_intxPending) return;
        _intxPending = false;
        Assert.Equal(0, Client.SetIrqs(1 | 16, 0, 0, 1).Error);
    }

    private void Poll()
    {
        for (int i = 0; i < _vectors.Count; i++)
        {
            if (Client.Kernel.Clear(_vectors[i])) _messages |= 1UL << i;
        }

        if (Client.Kernel.Clear(_intx)) _intxPending = true;
    }
}
