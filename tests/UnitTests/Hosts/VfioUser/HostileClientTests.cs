using System;
using System.IO;
using System.IO.Pipes;
using System.Linq;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>Clients that mean harm, and clients that have bad luck.</summary>
public sealed class HostileClientTests : IDisposable
{
    private const int Invalid = 22;
    private const uint EventFdTrigger = 4 | 32;
    private const uint EventFdUnmask = 4 | 16;
    private const ulong Ram = 0x10000;
    private readonly LogList _log = new();
    private readonly VfioClient _client;

    public HostileClientTests() => _client = new VfioClient(options: new VfioUserOptions { Logger = _log });

    public void Dispose() => _client.Dispose();

    [Fact]
    public void Client_that_cuts_shared_memory_short_is_dropped_and_the_process_serves_the_next()
    {
        using var guest = new VfioGuest(_client);
        new XhciDriver(guest).Start();
        ulong doorbells = _client.ReadValue(0, 0x14, 4);
        // Sealed memory cannot be cut; this file can.
        RandomAccess.SetLength(guest.RamFile, 0);

        // Doorbell 0, posted: the controller looks at its command ring.
        _client.Send(VfioClient.Message(99, 10, VfioClient.Join(VfioClient.Long(doorbells), VfioClient.Words(0, 4, 0)), flags: 16));

        Assert.Null(_client.Answer());
        Assert.False(_client.Host.HasClient);
        Assert.Contains(_log.Lines, line => line.Contains("made the guest's memory shorter", StringComparison.Ordinal));
        using var next = new VfioClient(_client.Host, _client.Loop);
        Assert.Equal(0, next.Negotiate().Error);
        Assert.Equal(0, next.Map(0, Ram, next.MemoryFile((long)Ram)).Error);
        Assert.True(_client.Host.HasClient);
    }

    [Fact]
    public void Mapping_that_lost_its_file_reads_zeroes_and_takes_writes()
    {
        var file = (SafeFileHandle)_client.MemoryFile((long)Ram);
        Assert.True(MappedMemory.TryMap(file, 0, Ram, true, out MappedMemory? lost, out _));
        Assert.True(MappedMemory.TryMap(_client.MemoryFile(0x1000), 0, 0x1000, true, out MappedMemory? kept, out _));
        long before = _client.Kernel.LostMappings;
        lost!.Slice(0, (int)Ram).Fill(1);
        kept!.Slice(0, 0x1000).Fill(2);

        RandomAccess.SetLength(file, 0x1000);

        // The part that the file still has stays, until the rest is touched.
        Assert.Equal(1, lost.Slice(0xfff, 1)[0]);
        Assert.False(lost.IsLost);
        byte[] copy = new byte[Ram];
        lost.Slice(0, (int)Ram).CopyTo(copy);
        Assert.True(lost.IsLost);
        Assert.Equal(0, copy[0x2000]);
        lost.Slice(0x8000, 4).Fill(3);
        Assert.Equal(3, lost.Slice(0x8003, 1)[0]);
        Assert.False(kept.IsLost);
        Assert.Equal(2, kept.Slice(0xfff, 1)[0]);
        Assert.True(_client.Kernel.LostMappings > before);
        lost.Dispose();
        kept.Dispose();

        // The slot is free again and tells of nothing that was before.
        Assert.True(MappedMemory.TryMap(_client.MemoryFile(0x1000), 0, 0x1000, true, out MappedMemory? later, out _));
        Assert.False(later!.IsLost);
        later.Dispose();
    }

    // Found by the fuzzer: from 2^31 on it ended the process.
    [Theory]
    [InlineData(3)]
    [InlineData(0x8000_0000)]
    [InlineData(uint.MaxValue)]
    public void Interrupt_index_that_does_not_exist_is_refused(uint index)
    {
        _client.Negotiate();

        Assert.Equal(Invalid, _client.SetIrqs(1 | 32, index, 0, 1).Error);
        Assert.Equal(Invalid, _client.SetIrqs(1 | 32, index, 0, 0).Error);
    }

    [Fact]
    public void Descriptor_that_is_no_eventfd_is_refused()
    {
        _client.Negotiate();
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        (UnixSocket one, UnixSocket other) = UnixSocket.Pair()!.Value;
        SafeHandle[] wrong = [_client.MemoryFile(16), pipe.SafePipeHandle, one.Handle];

        foreach (SafeHandle handle in wrong)
        {
            Assert.Equal(Invalid, _client.SetIrqs(EventFdTrigger, 2, 0, 1, handle).Error);
            Assert.Equal(Invalid, _client.SetIrqs(EventFdTrigger, 0, 0, 1, handle).Error);
            Assert.Equal(Invalid, _client.SetIrqs(EventFdUnmask, 0, 0, 1, handle).Error);
        }

        // All or nothing: the good one of the two is not kept either.
        Assert.Equal(Invalid, _client.SetIrqs(EventFdTrigger, 2, 0, 2, _client.Event(), pipe.SafePipeHandle).Error);
        Assert.Equal("0x0", Field(_client.Host, "/vfio-user/interrupts/msix/taken"));
        one.Dispose();
        other.Dispose();
    }

    [Fact]
    public void Full_eventfd_that_blocks_does_not_hold_up_the_loop()
    {
        _client.Negotiate();
        using Descriptor full = Descriptor.NewEvent(blocking: true);
        using (var counter = new FileStream(new SafeFileHandle(full.DangerousGetHandle(), ownsHandle: false), FileAccess.Write, 0))
        {
            counter.Write([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        }

        Assert.Equal(0, _client.SetIrqs(EventFdTrigger, 2, 0, 1, full).Error);

        // Hangs if it is written to.
        Assert.Equal(0, _client.SetIrqs(1 | 32, 2, 0, 1).Error);
        Assert.True(_client.Kernel.Signal(full));
    }

    [Fact]
    public void Empty_eventfd_that_blocks_is_not_read()
    {
        using Descriptor empty = Descriptor.NewEvent(blocking: true);

        Assert.False(_client.Kernel.Clear(empty));
        Assert.True(_client.Kernel.Signal(empty));
        Assert.True(_client.Kernel.Clear(empty));
        Assert.False(_client.Kernel.Clear(empty));
    }

    [Fact]
    public void Memory_that_cannot_be_mapped_is_refused_and_the_client_stays()
    {
        _client.Negotiate();
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        using Descriptor counter = Descriptor.NewEvent();
        string path = Path.GetTempFileName();
        using SafeFileHandle writeOnly = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, FileOptions.DeleteOnClose);
        using SafeFileHandle readOnly = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        RandomAccess.SetLength(writeOnly, 0x1000);
        SafeHandle file = _client.MemoryFile(0x1000);

        Assert.NotEqual(0, _client.Map(0, 0x1000, pipe.SafePipeHandle).Error);
        Assert.NotEqual(0, _client.Map(0, 0x1000, counter).Error);
        Assert.NotEqual(0, _client.Map(0, 0x1000, writeOnly).Error);
        Assert.NotEqual(0, _client.Map(0, 0x1000, readOnly).Error);
        Assert.Equal(0, _client.Map(0, 0x1000, readOnly, flags: 1).Error);
        Assert.Equal(Invalid, _client.Map(0x1000, 1UL << 63, file).Error);
        Assert.Equal(Invalid, _client.Map(0x1000, 0x1000, file, offset: ulong.MaxValue - 0xfff).Error);
        Assert.Equal(Invalid, _client.Map(0x1000, 0x1000, file, offset: long.MaxValue & ~0xfffL).Error);
        Assert.Equal(Invalid, _client.Map(0x1000, 1UL << 62, file).Error);
        Assert.Equal(0, _client.Map(0x1000, 1UL << 62).Error);
        Assert.Equal("2", Field(_client.Host, "/vfio-user/memory/ranges"));
        Assert.True(_client.Host.HasClient);
    }

    [Fact]
    public void One_map_too_many_is_refused()
    {
        var memory = new VfioMemory();
        for (ulong i = 0; i < VfioUserLimits.MaxMaps; i++) Assert.True(memory.TryAdd(i << 12, 0x1000, true, null, out _));

        Assert.False(memory.TryAdd(ulong.MaxValue - 0xfff, 0x1000, true, null, out int error));

        Assert.Equal(VfioUserError.NoMemory, error);
        Assert.Equal(VfioUserLimits.MaxMaps, memory.Count);
        Assert.True(memory.Map(new GuestAddress(0), 1, GuestAccess.Read).IsEmpty);
        memory.Clear();
        Assert.Equal(0, memory.Count);
    }

    [Fact]
    public void Client_that_cannot_be_taken_waits_a_second_and_the_loop_sleeps()
    {
        var loop = new ManualLoop();
        var listener = new EmptyListener();
        using var host = new VfioUserHost(loop, new VfioSystem(), listener, new VfioUserOptions { Logger = _log });

        for (int i = 0; i < 100; i++) loop.Turn(host);

        Assert.Equal(1, listener.Asked);
        Assert.Equal(VfioUserLimits.AcceptPauseNanoseconds, host.NextDeadline.Nanoseconds);
        Assert.Single(_log.Lines, line => line.Contains("raise the limit of open files", StringComparison.Ordinal));
        loop.PassTo(host.NextDeadline);
        host.Advance(loop.Now);
        (UnixSocket mine, UnixSocket theirs) = UnixSocket.Pair()!.Value;
        listener.Next = theirs;
        loop.Turn(host);
        Assert.True(host.HasClient);
        Assert.Equal(VirtualTime.Never, host.NextDeadline);
        mine.Dispose();
    }

    private static string Field(VfioUserHost host, string path)
    {
        var writer = new InspectWriter();
        host.Inspect(writer);
        return writer.Fields.Single(field => field.Key == path).Value;
    }

    // A listener of a process without descriptors: somebody waits for ever.
    private sealed class EmptyListener : IClientListener
    {
        public SafeHandle Handle { get; } = new SafeFileHandle(-1, false);

        public IClientSocket? Next { get; set; }

        public int Asked { get; private set; }

        public IClientSocket? Accept()
        {
            Asked++;
            return Next;
        }

        public void Dispose() => Handle.Dispose();
    }
}
