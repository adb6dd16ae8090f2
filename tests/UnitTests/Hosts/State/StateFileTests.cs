using System;
using System.Text;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.Hosts.State;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.State;

public sealed class StateFileTests
{
    private readonly byte[] _file = StateFile.Write(new InProcessMachine().TryCapture()!);

    [Fact]
    public void File_read_back_is_the_same_state()
    {
        Assert.True(StateFile.TryRead(_file, out MachineStateV1? state, out string error), error);

        Assert.Equal(_file, StateFile.Write(state!));
    }

    [Theory]
    [InlineData(0, "not a saved state")]
    [InlineData(8, "version")]
    [InlineData(12, "bytes instead of")]
    [InlineData(15, "impossible length")]
    [InlineData(16, "checksum")]
    [InlineData(StateFile.HeaderLength + 5, "checksum")]
    public void Damaged_byte_is_refused_with_its_reason(int offset, string reason)
    {
        _file[offset] ^= 0x55;

        Assert.False(StateFile.TryRead(_file, out MachineStateV1? state, out string error));

        Assert.Null(state);
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    [Fact]
    public void File_cut_short_is_refused()
    {
        for (int length = 0; length < StateFile.HeaderLength + 2; length++) Assert.False(StateFile.TryRead(_file.AsSpan(0, length), out _, out _));
        Assert.False(StateFile.TryRead(_file.AsSpan(0, _file.Length - 1), out _, out _));
    }

    [Theory]
    [InlineData("{", "malformed")]
    [InlineData("null", "empty")]
    [InlineData("{}", "malformed")]
    [InlineData("{\"Now\":1,\"PendingMessages\":0,\"Pci\":null,\"Xhci\":null,\"Pipeline\":null,\"Devices\":null}", "malformed")]
    [InlineData("{\"Unknown\":1}", "malformed")]
    public void Payload_that_is_no_state_is_refused(string payload, string reason)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(payload);
        byte[] file = [.. _file.AsSpan(0, StateFile.HeaderLength), .. bytes];
        BitConverter.TryWriteBytes(file.AsSpan(12), bytes.Length);
        BitConverter.TryWriteBytes(file.AsSpan(16), Crc(bytes));

        Assert.False(StateFile.TryRead(file, out _, out string error));

        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    // Bit by bit: the plain definition against the table of the implementation.
    private static uint Crc(byte[] bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte next in bytes)
        {
            crc ^= next;
            for (int i = 0; i < 8; i++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
        }

        return ~crc;
    }
}
