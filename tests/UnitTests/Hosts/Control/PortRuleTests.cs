using System.Text.Json;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Time;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.Control;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Control;

public sealed class PortRuleTests
{
    private readonly ControlBench _bench = new();
    private readonly ControlSession _session;

    public PortRuleTests() => _session = _bench.Session();

    [Fact]
    public void Rule_for_an_empty_place_waits_and_its_device_is_attached_when_it_comes()
    {
        ControlBench.FakeRule rule = Bind();
        Assert.Equal("host:1-2 waits", Port().GetProperty("rule").GetString());
        Assert.False(Port().TryGetProperty("device", out _));

        Plug(rule);
        Assert.Contains("\"DEVICE_ATTACHED\",\"data\":{\"port\":\"1.2\"", Assert.Single(ControlBench.Take(_session)));
        Assert.True(Port().TryGetProperty("device", out _));
    }

    [Fact]
    public void Device_that_leaves_the_host_leaves_its_port_and_comes_back_when_plugged_in_again()
    {
        ControlBench.FakeRule rule = Bind();
        ControlBench.FakeOpened first = Plug(rule);
        ControlBench.Take(_session);

        first.IsGone = true;
        _bench.Advance();
        Assert.Contains("\"DEVICE_DETACHED\",\"data\":{\"port\":\"1.2\"", Assert.Single(ControlBench.Take(_session)));
        Assert.Equal(1, first.Closes);
        Assert.Equal(0, rule.Drops);
        Assert.False(Port().TryGetProperty("device", out _));

        Plug(rule);
        Assert.Contains("\"DEVICE_ATTACHED\"", Assert.Single(ControlBench.Take(_session)));
    }

    [Fact]
    public void Detach_ends_the_rule_with_and_without_a_device()
    {
        ControlBench.FakeRule empty = Bind();
        _bench.Return(_session, """{"execute":"device-detach","arguments":{"port":"2"}}""");
        Assert.Equal(1, empty.Drops);
        Assert.False(Port().TryGetProperty("rule", out _));

        ControlBench.FakeRule used = Bind();
        ControlBench.FakeOpened device = Plug(used);
        ControlBench.Take(_session);
        _bench.Return(_session, """{"execute":"device-detach","arguments":{"port":"2"}}""");
        Assert.Equal((1, 1), (used.Drops, device.Closes));
        Assert.Equal("DeviceNotFound", _bench.Error(_session, """{"execute":"device-detach","arguments":{"port":"2"}}""").Class);
    }

    [Fact]
    public void Port_with_a_rule_takes_no_second_one()
    {
        Bind();

        Assert.Contains("port 1.2 has the rule host:1-2", _bench.Error(_session, Attach("host:1-3")).Description);
        Assert.Contains("port 1.2 has the rule host:1-2", _bench.Error(_session, Attach("disk")).Description);
        Assert.Single(_bench.Rules);
    }

    [Fact]
    public void Rule_that_wants_to_be_looked_at_again_sets_the_deadline()
    {
        ControlBench.FakeRule rule = Bind();
        Assert.Equal(VirtualTime.Never, _bench.Control.NextDeadline);

        rule.NextLook = new VirtualTime(7);
        Assert.Equal(new VirtualTime(7), _bench.Control.NextDeadline);
    }

    [Fact]
    public void Device_that_another_process_has_is_refused_with_who_has_it()
    {
        Assert.Contains("in use by pid 7, domain 5", _bench.Error(_session, Attach("host:refused")).Description);
        Assert.False(Port().TryGetProperty("rule", out _));
    }

    [Fact]
    public void Device_that_comes_and_cannot_be_had_is_told_and_the_rule_stays()
    {
        ControlBench.FakeRule rule = Bind();
        rule.Refusal = "1-2: its interfaces cannot be taken";
        _bench.Advance();

        Assert.Contains("\"DEVICE_REFUSED\",\"data\":{\"port\":\"1.2\",\"rule\":\"host:1-2\",\"reason\":\"1-2: its", Assert.Single(ControlBench.Take(_session)));
        Assert.True(Port().TryGetProperty("rule", out _));
    }

    [Fact]
    public void Device_that_the_port_does_not_take_is_closed_and_told()
    {
        ControlBench.FakeRule rule = Bind();
        Plug(rule);
        ControlBench.Take(_session);
        var second = new ControlBench.FakeOpened(new BootKeyboard(UsbSpeed.Full));
        rule.Ready = second;
        _bench.Advance();

        Assert.Equal(1, second.Closes);
        Assert.Contains("\"DEVICE_REFUSED\"", Assert.Single(ControlBench.Take(_session)));
    }

    [Fact]
    public void Rule_for_a_port_that_does_not_exist_is_dropped()
    {
        var rule = new ControlBench.FakeRule("host:1-2");

        Assert.Equal(ControlOutcome.NotFound, _bench.Control.Bind(_bench.Machine.Now, new PortPlace(1, 99), rule).Outcome);
        Assert.Equal(1, rule.Drops);
    }

    [Fact]
    public void End_of_the_process_drops_every_rule()
    {
        ControlBench.FakeRule rule = Bind();
        _bench.Control.DetachAll(_bench.Machine.Now);

        Assert.Equal(1, rule.Drops);
    }

    private static string Attach(string device) => $$$"""{"execute":"device-attach","arguments":{"port":"2","device":"{{{device}}}"}}""";

    private ControlBench.FakeRule Bind()
    {
        _bench.Return(_session, Attach("host:1-2"));
        return _bench.Rules[^1];
    }

    private ControlBench.FakeOpened Plug(ControlBench.FakeRule rule)
    {
        var device = new ControlBench.FakeOpened(new BootKeyboard(UsbSpeed.Full));
        rule.Ready = device;
        _bench.Advance();
        return device;
    }

    private JsonElement Port() =>
        _bench.Return(_session, """{"execute":"query-usb"}""").GetProperty("controllers")[0].GetProperty("ports")[1];
}
