using System;
using System.Linq;
using XenUsbDm.Core.Interrupts;
using XenUsbDm.Hosts.EventLoop;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>What eventfds see. VFIO: INTx is masked when it is signalled and signalled again when it is unmasked and still high.</summary>
public sealed class VfioInterruptTests : IDisposable
{
    private const uint None = 1;
    private const uint EventFd = 4;
    private const uint Mask = 8;
    private const uint Unmask = 16;
    private const uint Trigger = 32;
    private readonly VfioClient _client = new();

    public VfioInterruptTests()
    {
        _client.Negotiate();
        // The machine runs from the first access on.
        _client.ReadValue(7, 0, 2);
    }

    public void Dispose() => _client.Dispose();

    private void Pin(bool level)
    {
        // The pin follows the controller's level unless messages are enabled or the guest disabled it.
        _client.Host.Machine.Pci.SetLevel(level);
    }

    private bool Took(Descriptor one) => _client.Kernel.Clear(one);

    [Fact]
    public void Intx_is_signalled_once_until_it_is_unmasked()
    {
        Descriptor one = _client.Event();
        Assert.Equal(0, _client.SetIrqs(EventFd | Trigger, 0, 0, 1, one).Error);

        Pin(true);
        Assert.True(Took(one));
        Pin(false);
        Pin(true);
        Assert.False(Took(one));
        Assert.Equal(0, _client.SetIrqs(None | Unmask, 0, 0, 1).Error);
        Assert.True(Took(one));
        Pin(false);
        Assert.Equal(0, _client.SetIrqs(None | Unmask, 0, 0, 1).Error);
        Assert.False(Took(one));
        Pin(true);
        Assert.True(Took(one));
    }

    [Fact]
    public void Intx_that_the_client_masks_waits()
    {
        Descriptor one = _client.Event();
        _client.SetIrqs(EventFd | Trigger, 0, 0, 1, one);
        _client.SetIrqs(None | Mask, 0, 0, 1);

        Pin(true);

        Assert.False(Took(one));
        _client.SetIrqs(None | Unmask, 0, 0, 1);
        Assert.True(Took(one));
    }

    [Fact]
    public void Intx_high_before_the_eventfd_came_is_signalled_with_it()
    {
        Descriptor one = _client.Event();
        Pin(true);

        _client.SetIrqs(EventFd | Trigger, 0, 0, 1, one);

        Assert.True(Took(one));
    }

    [Fact]
    public void Unmask_eventfd_unmasks()
    {
        Descriptor one = _client.Event();
        Descriptor resample = _client.Event();
        _client.SetIrqs(EventFd | Trigger, 0, 0, 1, one);
        Assert.Equal(0, _client.SetIrqs(EventFd | Unmask, 0, 0, 1, resample).Error);
        Pin(true);
        Assert.True(Took(one));

        _client.Kernel.Signal(resample);
        ILoopSource watch = _client.Loop.Sources.Single(source => source.GetType().Name == "UnmaskWatch");
        watch.Ready(LoopEvents.Readable);

        Assert.True(Took(one));
        // Told in vain, it is taken for broken and dropped.
        watch.Ready(LoopEvents.Readable);
        Assert.DoesNotContain(_client.Loop.Sources, source => source.GetType().Name == "UnmaskWatch");
    }

    [Theory]
    [InlineData(1u, MessageKind.Msi)]
    [InlineData(2u, MessageKind.MsiX)]
    public void Message_before_its_eventfd_is_kept_and_disabling_forgets_it(uint index, MessageKind kind)
    {
        Descriptor one = _client.Event();
        var interrupts = new VfioInterrupts(_client.Kernel, _client.Loop);
        interrupts.SendMessage(new InterruptMessage(kind, 3, 0, 0));
        interrupts.SendMessage(new InterruptMessage(kind, 4, 0, 0));

        Assert.Equal(0, interrupts.Set(new SetIrqsMessage(EventFd | Trigger, index, 3, 1), [], [one]));

        Assert.True(Took(one));
        Assert.Equal(0, interrupts.Set(new SetIrqsMessage(None | Trigger, index, 0, 0), [], []));
        Descriptor other = _client.Event();
        Assert.Equal(0, interrupts.Set(new SetIrqsMessage(EventFd | Trigger, index, 4, 1), [], [other]));
        Assert.False(Took(other));
        interrupts.SendMessage(new InterruptMessage(kind, 4, 0, 0));
        interrupts.SendMessage(new InterruptMessage(kind, 16, 0, 0));
        Assert.True(Took(other));
    }

    [Fact]
    public void Client_triggers_by_none_and_by_booleans()
    {
        Descriptor first = _client.Event();
        Descriptor second = _client.Event();
        Assert.Equal(0, _client.SetIrqs(EventFd | Trigger, 1, 0, 2, first, second).Error);

        Assert.Equal(0, _client.Request(8, [.. VfioClient.Words(22, 2 | Trigger, 1, 0, 2), 0, 1]).Error);
        Assert.False(Took(first));
        Assert.True(Took(second));
        Assert.Equal(0, _client.SetIrqs(None | Trigger, 1, 0, 2).Error);
        Assert.True(Took(first));
        Assert.True(Took(second));
    }

    [Fact]
    public void Vector_with_an_eventfd_is_unmasked_also_after_a_reset()
    {
        // QEMU keeps the MSI-X table for itself: what the guest writes there never comes.
        Descriptor one = _client.Event();
        Assert.Equal(0, _client.SetIrqs(EventFd | Trigger, 2, 5, 1, one).Error);
        Assert.Equal(0, _client.Request(13, []).Error);
        _client.WriteValue(7, 4, 2, 6);
        _client.WriteValue(7, 0x92, 2, 0x8000);

        Assert.Equal(0u, _client.ReadValue(0, 0x3000 + (5 * 16) + 12, 4));
        Assert.Equal(1u, _client.ReadValue(0, 0x3000 + (4 * 16) + 12, 4));
        _client.Host.Machine.Pci.SendMessage(5);
        Assert.True(Took(one));
        _client.Host.Machine.Pci.SendMessage(4);
        Assert.Equal(0x10u, _client.ReadValue(0, 0x3800, 4));
        Descriptor late = _client.Event();
        Assert.Equal(0, _client.SetIrqs(EventFd | Trigger, 2, 4, 1, late).Error);
        Assert.True(Took(late));
    }
}
