using System;
using XenUsbDm.Core.Memory;
using XenUsbDm.Hosts.InProcess;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.InProcess;

public sealed class InProcessMemoryTests
{
    private const int Page = InProcessMemory.PageSize;

    [Theory]
    [InlineData(0UL, 16, 16)]
    [InlineData((2 * Page) - 8UL, 16, 8)]
    [InlineData(2UL * Page, 1, 0)]
    [InlineData(0xffff_ffffUL, 1, 0)]
    [InlineData(InProcessMemory.HighBase, 16, 16)]
    [InlineData(InProcessMemory.HighBase + Page - 1, 16, 1)]
    [InlineData(InProcessMemory.HighBase + Page, 1, 0)]
    [InlineData(ulong.MaxValue, 16, 0)]
    [InlineData(0UL, 0, 0)]
    [InlineData(0UL, -1, 0)]
    public void Map_hands_out_what_is_there_and_nothing_else(ulong address, int length, int expected)
    {
        var memory = new InProcessMemory(2 * Page, Page);

        Assert.Equal(expected, memory.Map(new GuestAddress(address), length, GuestAccess.Write).Length);
        Assert.Equal(expected == 0 ? 1 : 0, memory.RefusedAccesses);
    }

    [Fact]
    public void Run_limit_cuts_runs_and_whole_accesses_still_work()
    {
        var memory = new InProcessMemory(2 * Page) { RunLimit = 3 };
        byte[] data = [1, 2, 3, 4, 5, 6, 7, 8];

        bool written = memory.TryWrite(new GuestAddress(100), data);

        Assert.True(written);
        Assert.Equal(3, memory.Map(new GuestAddress(100), 8, GuestAccess.Read).Length);
        Assert.Equal(data, memory.Guest(new GuestAddress(100), 8).ToArray());
    }

    [Fact]
    public void Page_split_ends_runs_at_pages()
    {
        var memory = new InProcessMemory(2 * Page) { SplitAtPages = true };

        Assert.Equal(6, memory.Map(new GuestAddress(Page - 6), 100, GuestAccess.Read).Length);
        Assert.Equal(100, memory.Map(new GuestAddress(Page), 100, GuestAccess.Read).Length);
    }

    [Theory]
    [InlineData(MemoryProtection.ReadOnly, GuestAccess.Read, 20)]
    [InlineData(MemoryProtection.ReadOnly, GuestAccess.Write, 10)]
    [InlineData(MemoryProtection.NoAccess, GuestAccess.Read, 10)]
    [InlineData(MemoryProtection.ReadWrite, GuestAccess.Write, 20)]
    public void Protected_page_ends_a_run(MemoryProtection protection, GuestAccess access, int expected)
    {
        var memory = new InProcessMemory(4 * Page, 4 * Page);
        memory.Protect(new GuestAddress(Page), 1, protection);
        memory.Protect(new GuestAddress(InProcessMemory.HighBase + Page), 1, protection);

        Assert.Equal(expected, memory.Map(new GuestAddress(Page - 10), 20, access).Length);
        Assert.Equal(expected, memory.Map(new GuestAddress(InProcessMemory.HighBase + Page - 10), 20, access).Length);
        Assert.Equal(20, memory.Guest(new GuestAddress(Page - 10), 20).Length);
    }

    [Fact]
    public void Access_log_keeps_what_was_asked_and_granted()
    {
        var memory = new InProcessMemory(Page) { AccessLog = [] };

        memory.Map(new GuestAddress(Page - 4), 8, GuestAccess.Write);

        Assert.Equal([new MemoryAccess(new GuestAddress(Page - 4), 8, 4, GuestAccess.Write)], memory.AccessLog);
        Assert.Equal(1, memory.Accesses);
    }

    [Fact]
    public void Guest_view_outside_memory_is_a_mistake_of_the_test()
    {
        var memory = new InProcessMemory(Page);

        Assert.Throws<ArgumentOutOfRangeException>(() => memory.Guest(new GuestAddress(Page - 1), 2).Length);
        Assert.True(memory.Contains(new GuestAddress(0), Page));
        Assert.False(memory.Contains(new GuestAddress(1), Page));
    }

    [Fact]
    public void Guest_words_are_little_endian()
    {
        var memory = new InProcessMemory(Page);

        memory.GuestWrite64(new GuestAddress(8), 0x1122_3344_5566_7788);
        memory.GuestWrite32(new GuestAddress(16), 0xaabb_ccdd);

        Assert.Equal(0x5566_7788u, memory.GuestRead32(new GuestAddress(8)));
        Assert.Equal(0xaabb_ccddUL, memory.GuestRead64(new GuestAddress(16)));
        Assert.Equal(0x88, memory.Guest(new GuestAddress(8), 1)[0]);
    }
}
