using System;
using System.IO;
using XenUsbDm.Native.Linux;
using Xunit;
using static XenUsbDm.UnitTests.Hosts.VfioUser.VfioClient;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

[Collection(nameof(RunsAlone))]
public sealed class DescriptorLeakTests : IDisposable
{
    private const int Invalid = 22;

    // The runtime opens a few of its own when it likes (threads, its socket engine); a leak here is one for each of the rounds.
    private const int RuntimesOwn = 8;
    private readonly VfioClient _client = new();

    public void Dispose() => _client.Dispose();

    [Fact]
    public void Descriptors_that_nobody_wants_are_closed()
    {
        _client.Negotiate();
        using var file = new FileStream(Path.GetTempFileName(), FileMode.Open, FileAccess.ReadWrite, FileShare.Read, 1, FileOptions.DeleteOnClose);
        using Descriptor one = Descriptor.NewEvent();
        int before = OpenDescriptors();

        for (int i = 0; i < 50; i++)
        {
            Assert.Equal(0, _client.Request(4, Words(16, 0, 0, 0), file.SafeFileHandle, file.SafeFileHandle).Error);
            Assert.Equal(Invalid, _client.Request(2, new byte[32], file.SafeFileHandle, file.SafeFileHandle).Error);
            Assert.Equal(Invalid, _client.SetIrqs(4 | 32, 2, 0, 3, file.SafeFileHandle).Error);
            Assert.Equal(Invalid, _client.SetIrqs(4 | 32, 2, 0, 1, file.SafeFileHandle).Error);
            Assert.Equal(0, _client.SetIrqs(4 | 32, 2, 0, 1, one).Error);
            Assert.Equal(0, _client.SetIrqs(4 | 32, 2, 0, 1).Error);
        }

        Assert.InRange(OpenDescriptors(), 1, before + RuntimesOwn);
    }

    [Fact]
    public void Ten_thousand_clients_leave_no_descriptor_behind()
    {
        _client.Negotiate();
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(Path.GetTempFileName(), FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, FileOptions.DeleteOnClose);
        RandomAccess.SetLength(file, 0x1000);
        using Descriptor one = Descriptor.NewEvent();
        _client.Disconnect();
        int before = OpenDescriptors();
        byte[] version = Message(1, 1, VersionPayload(0, 0, ""));
        byte[] map = Message(2, 2, Join(Words(32, 3), Long(0), Long(0), Long(0x1000)), 16);
        byte[] irq = Message(3, 8, Words(20, 36, 2, 0, 1), 16);

        for (int i = 0; i < 10_000; i++)
        {
            (UnixSocket mine, UnixSocket theirs) = UnixSocket.Pair()!.Value;
            Assert.True(_client.Host.Accept(theirs));
            mine.Send(version, out _);
            mine.Send(map, [file], out _);
            mine.Send(irq, [one], out _);
            // Every third one goes in the middle of a message with a descriptor.
            if (i % 3 == 0) mine.Send(map.AsSpan(0, 20), [one], out _);
            for (int turn = 0; turn < 4; turn++) _client.Loop.Turn(_client.Host);
            mine.Dispose();
            _client.Loop.Turn(_client.Host);
            Assert.False(_client.Host.HasClient);
        }

        Assert.InRange(OpenDescriptors(), 1, before + RuntimesOwn);
    }

    // After finalizers, so that what other tests left to them does not change the count meanwhile.
    private static int OpenDescriptors()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return Directory.GetFileSystemEntries("/proc/self/fd").Length;
    }
}
