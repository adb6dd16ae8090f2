using System;
using System.Linq;
using XenUsbDm.Core.Memory;
using XenUsbDm.Hosts.InProcess;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Memory;

public sealed class GuestMemoryAccessTests
{
    private static readonly GuestAddress Crossing = new(4096 - 3);

    private static InProcessMemory Memory(int runLimit = 0) => new(8192) { RunLimit = runLimit, SplitAtPages = true };

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    public void Write_then_read_crosses_runs(int runLimit)
    {
        InProcessMemory memory = Memory(runLimit);
        byte[] data = Enumerable.Range(1, 20).Select(i => (byte)i).ToArray();
        byte[] back = new byte[20];

        Assert.True(memory.TryWrite(Crossing, data));
        Assert.True(memory.TryRead(Crossing, back));

        Assert.Equal(data, back);
    }

    [Theory]
    [InlineData(8192)]
    [InlineData(8190)]
    [InlineData(ulong.MaxValue - 1)]
    [InlineData(1ul << 40)]
    public void Access_beyond_the_memory_is_false(ulong at)
    {
        InProcessMemory memory = Memory();
        var address = new GuestAddress(at);

        Assert.False(memory.TryRead(address, new byte[4]));
        Assert.False(memory.TryWrite(address, new byte[4]));
        Assert.False(memory.TryRead32(address, out uint word));
        Assert.False(memory.TryRead64(address, out ulong quad));
        Assert.False(memory.TryWrite32(address, 1));
        Assert.False(memory.TryWrite64(address, 1));
        Assert.False(memory.TryPublish(address, new byte[16]));
        Assert.Equal(0u, word);
        Assert.Equal(0ul, quad);
    }

    [Fact]
    public void Words_are_little_endian()
    {
        InProcessMemory memory = Memory();

        Assert.True(memory.TryWrite32(Crossing, 0x04030201));
        Assert.True(memory.TryRead32(Crossing, out uint word));
        Assert.True(memory.TryWrite64(new GuestAddress(64), 0x0807060504030201));
        Assert.True(memory.TryRead64(new GuestAddress(64), out ulong quad));

        Assert.Equal(0x04030201u, word);
        Assert.Equal(0x0807060504030201ul, quad);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], memory.Guest(new GuestAddress(64), 8).ToArray());
    }

    [Theory]
    [InlineData(64ul)]
    [InlineData(4096ul - 8)]
    [InlineData(4096ul - 2)]
    public void TryPublish_writes_all_bytes_in_one_run_or_several(ulong at)
    {
        InProcessMemory memory = Memory();
        byte[] data = Enumerable.Range(1, 16).Select(i => (byte)i).ToArray();

        Assert.True(memory.TryPublish(new GuestAddress(at), data));

        Assert.Equal(data, memory.Guest(new GuestAddress(at), 16).ToArray());
    }

    [Fact]
    public void TryPublish_whose_last_word_has_no_memory_is_false()
    {
        InProcessMemory memory = Memory();

        Assert.False(memory.TryPublish(new GuestAddress(8192 - 12), new byte[16]));
    }

    [Fact]
    public void GuestAddress_wraps_aligns_and_shows_itself()
    {
        Assert.Equal(new GuestAddress(1), new GuestAddress(ulong.MaxValue).OffsetWrapping(2));
        Assert.True(new GuestAddress(0x40).IsAligned(64));
        Assert.False(new GuestAddress(0x41).IsAligned(64));
        Assert.Equal(new GuestAddress(0x40), new GuestAddress(0x7f).AlignDown(64));
        Assert.Equal("0x7f", new GuestAddress(0x7f).ToString());
    }
}
