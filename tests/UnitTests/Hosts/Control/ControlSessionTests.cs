using System;
using System.Collections.Generic;
using System.Linq;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;
using XenUsbDm.Hosts.Control;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Control;

public sealed class ControlSessionTests
{
    private const string Negotiation = """{"execute":"qmp_capabilities"}""";

    [Fact]
    public void Greeting_has_the_members_that_qmp_clients_read()
    {
        ControlSession session = new ControlBench().Hub.Open()!;

        string line = Assert.Single(ControlBench.Take(session));

        Assert.Equal(
            """{"QMP":{"version":{"qemu":{"micro":3,"minor":2,"major":1},"package":"xen-usb-dm 1.2.3+abc"},"capabilities":[]}}""", line);
    }

    [Theory]
    [InlineData("""{"execute":"qmp_capabilities"}""")]
    [InlineData("""{"execute":"qmp_capabilities","arguments":{}}""")]
    [InlineData("""{"execute":"qmp_capabilities","arguments":{"enable":[]}}""")]
    public void Negotiation_opens_command_mode(string negotiation)
    {
        var bench = new ControlBench();
        ControlSession session = bench.Hub.Open()!;
        ControlBench.Take(session);

        Assert.Equal("""{"return":{}}""", bench.Execute(session, negotiation));

        Assert.True(session.IsNegotiated);
        Assert.Equal("""{"return":{"status":"running","running":true}}""", bench.Execute(session, """{"execute":"query-status"}"""));
    }

    [Theory]
    [InlineData("""{"execute":"query-status"}""", "CommandNotFound", "Expecting capabilities negotiation")]
    [InlineData("""{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}""", "GenericError", "no capabilities")]
    [InlineData("""{"execute":"qmp_capabilities","arguments":{"enable":1}}""", "GenericError", "expects an empty array")]
    [InlineData("""{"execute":"qmp_capabilities","arguments":{"x":1}}""", "GenericError", "'x' is unexpected")]
    public void Before_negotiation_nothing_else_is_executed(string text, string expectedClass, string expected)
    {
        var bench = new ControlBench();
        ControlSession session = bench.Hub.Open()!;
        ControlBench.Take(session);

        (string errorClass, string description) = bench.Error(session, text);

        Assert.Equal(expectedClass, errorClass);
        Assert.Contains(expected, description);
        Assert.False(session.IsNegotiated);
    }

    [Fact]
    public void Second_negotiation_is_refused_and_the_session_goes_on()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        Assert.Equal("CommandNotFound", bench.Error(session, Negotiation).Class);

        Assert.Equal("running", bench.Return(session, """{"execute":"query-status"}""").GetProperty("status").GetString());
    }

    [Theory]
    [InlineData("1", "1")]
    [InlineData("\"__qmp#00001\"", "\"__qmp#00001\"")]
    [InlineData("null", "null")]
    [InlineData("{\n \"a\": [1,\n 2.50]}", "{\"a\":[1,2.50]}")]
    [InlineData("\"\\u00e9\"", "\"\\u00e9\"")]
    public void Id_is_echoed_on_the_one_line_of_the_answer(string id, string expected)
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        string ok = bench.Execute(session, $$"""{"execute":"query-status","id":{{id}}}""");
        string refused = bench.Execute(session, $$"""{"id":{{id}},"execute":"bogus"}""");

        Assert.EndsWith($",\"id\":{expected}}}", ok);
        Assert.EndsWith($",\"id\":{expected}}}", refused);
    }

    [Theory]
    [InlineData("""{"execute":"bogus"}""", "CommandNotFound", "The command bogus has not been found")]
    [InlineData("""{}""", "GenericError", "lacks member 'execute'")]
    [InlineData("""{"execute":1}""", "GenericError", "'execute' must be a string")]
    [InlineData("""{"execute":"quit","arguments":[]}""", "GenericError", "'arguments' must be an object")]
    [InlineData("""{"execute":"quit","extra":1}""", "GenericError", "'extra' is unexpected")]
    [InlineData("""{"execute":"quit","arguments":{"a":1}}""", "GenericError", "Parameter 'a' is unexpected")]
    public void Flawed_command_is_an_error_and_the_session_goes_on(string text, string expectedClass, string expected)
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        (string errorClass, string description) = bench.Error(session, text);

        Assert.Equal(expectedClass, errorClass);
        Assert.Contains(expected, description);
        Assert.Equal(0, bench.Quits);
        Assert.False(session.IsClosing);
        Assert.NotEmpty(bench.Execute(session, """{"execute":"query-status"}"""));
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\n")]
    [InlineData("[1]")]
    [InlineData("\u0001")]
    [InlineData("{]")]
    [InlineData("{\"execute\" \"quit\"}")]
    [InlineData("{\"execute\":\"\\ud800\"}")]
    [InlineData("{\"\\udc00\":1}")]
    [InlineData("{\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}")]
    public void Garbage_is_answered_with_one_error_and_the_end(string garbage)
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        string line = Assert.Single(bench.Exchange(session, garbage + Negotiation));

        Assert.Contains("JSON parse error", line);
        Assert.DoesNotContain("\"id\"", line);
        Assert.True(session.IsClosing);
        Assert.True(session.InputSpace.IsEmpty);
        Assert.False(session.IsReady);
        session.Run(bench.Machine.Now);
        Assert.True(session.Output.IsEmpty);
    }

    [Fact]
    public void Bytes_that_are_no_utf8_are_garbage()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        ControlBench.Feed(session, [.. "{\"execute\":\""u8, 0xff, 0xfe, .. "\"}"u8]);
        bench.Hub.Run(bench.Machine.Now);

        Assert.Contains("UTF-8", Assert.Single(ControlBench.Take(session)));
        Assert.True(session.IsClosing);
    }

    [Fact]
    public void Messages_need_no_line_break_between_them()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        List<string> lines = bench.Exchange(session, """{"execute":"query-status","id":1}{"execute":"query-status","id":2}""" + "\r\n\t {\"execute\":\"bogus\",\"id\":3}\n");

        Assert.Equal(["1}", "2}", "3}"], lines.Select(line => line[^2..]));
        Assert.False(session.IsReady);
    }

    [Fact]
    public void Message_may_come_in_pieces_of_any_size()
    {
        const string Text = "  {\"execute\" : \"query-status\", \"id\": \"a}\\\\\\\"]{\", \"arguments\": {} }\n";
        var bench = new ControlBench();
        for (int size = 1; size < Text.Length; size++)
        {
            ControlSession session = bench.Session();
            var lines = new List<string>();
            for (int at = 0; at < Text.Length; at += size) lines.AddRange(bench.Exchange(session, Text[at..Math.Min(Text.Length, at + size)]));

            Assert.EndsWith("\"id\":\"a}\\\\\\\"]{\"}", Assert.Single(lines));
            bench.Hub.Close(session);
        }
    }

    [Fact]
    public void Message_beyond_the_limit_ends_the_session()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        ControlBench.Feed(session, "{\"execute\":\"" + new string('a', ControlLimits.MessageBytes - 12));
        Assert.True(session.InputSpace.IsEmpty);

        bench.Hub.Run(bench.Machine.Now);

        Assert.Contains("longer than 65536 bytes", Assert.Single(ControlBench.Take(session)));
        Assert.True(session.IsClosing);
    }

    [Fact]
    public void Message_of_just_the_limit_is_executed()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        string head = "{\"execute\":\"query-status\",\"id\":\"";
        ControlBench.Feed(session, head + new string('a', ControlLimits.MessageBytes - head.Length - 2) + "\"}");

        bench.Hub.Run(bench.Machine.Now);

        Assert.StartsWith("{\"return\"", Assert.Single(ControlBench.Take(session)));
        Assert.Equal(ControlLimits.MessageBytes, session.InputSpace.Length);
    }

    [Fact]
    public void Session_takes_memory_for_a_long_message_only_when_one_comes()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();

        Assert.Equal(ControlLimits.FirstInputBytes, session.InputSpace.Length);
        ControlBench.Feed(session, new string(' ', ControlLimits.FirstInputBytes));
        Assert.Equal(ControlLimits.MessageBytes - ControlLimits.FirstInputBytes, session.InputSpace.Length);
    }

    [Fact]
    public void One_run_executes_a_bounded_number_of_commands_and_the_next_goes_on()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        string script = string.Concat(Enumerable.Repeat("""{"execute":"query-status"}""", ControlLimits.CommandsPerRun + 1));

        int first = bench.Exchange(session, script).Count;
        bool ready = session.IsReady;
        bench.Hub.Run(bench.Machine.Now);

        Assert.Equal(ControlLimits.CommandsPerRun, first);
        Assert.True(ready);
        Assert.Single(ControlBench.Take(session));
        Assert.False(session.IsReady);
    }

    [Fact]
    public void Client_that_does_not_read_gets_no_more_answers_until_it_does()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        string script = string.Concat(Enumerable.Repeat("""{"execute":"inspect"}""", 200));
        ControlBench.Feed(session, script);

        for (int i = 0; i < 200; i++) bench.Hub.Run(bench.Machine.Now);
        int held = session.Output.Length;
        bool ready = session.IsReady;
        int answers = 0;
        while (!session.Output.IsEmpty)
        {
            answers += ControlBench.Take(session).Count;
            bench.Hub.Run(bench.Machine.Now);
        }

        Assert.InRange(held, ControlLimits.BackPressureBytes, ControlLimits.BackPressureBytes * 4);
        Assert.False(ready);
        Assert.Equal(200, answers);
        Assert.False(session.IsBroken);
    }

    [Fact]
    public void Client_that_lets_events_lie_is_dropped_and_the_others_stay()
    {
        var bench = new ControlBench();
        ControlSession slow = bench.Session();
        ControlSession good = bench.Session();
        long events = 0;
        while (!slow.IsBroken)
        {
            Assert.True(events < 100_000);
            bench.Hub.DeviceDetached(bench.Machine.Now, new PortPlace(1, 1), new string('x', 1000));
            events += ControlBench.Take(good).Count;
            Assert.InRange(slow.Output.Length, 0, ControlLimits.QueuedBytes);
        }

        bench.Hub.Close(slow);

        Assert.InRange(events, 4_000, 6_000);
        Assert.False(good.IsBroken);
        Assert.Contains("/dropped 1\n", InspectWriter.Dump(bench.Hub));
        Assert.NotEmpty(bench.Execute(good, """{"execute":"query-status"}"""));
    }

    [Fact]
    public void End_of_input_executes_what_is_whole_and_then_closes()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        ControlBench.Feed(session, """{"execute":"query-status"}{"execute":""");

        session.InputEnded();
        bench.Hub.Run(bench.Machine.Now);

        Assert.Single(ControlBench.Take(session));
        Assert.True(session.IsClosing);
        Assert.True(session.InputSpace.IsEmpty);
    }

    [Fact]
    public void More_clients_than_the_limit_are_not_taken()
    {
        var bench = new ControlBench();
        for (int i = 0; i < ControlLimits.Clients; i++) Assert.NotNull(bench.Hub.Open());

        Assert.Null(bench.Hub.Open());
        bench.Hub.Close(bench.Hub.Sessions[0]);

        Assert.NotNull(bench.Hub.Open());
    }

    [Fact]
    public void Answer_beyond_the_limit_is_an_error_that_says_so()
    {
        var huge = new HugeMachine();
        var hub = new ControlHub(huge, ControlVersion.Parse("1"), TimeProvider.System);
        ControlSession session = hub.Open()!;
        ControlBench.Feed(session, Negotiation + """{"execute":"inspect"}{"execute":"inspect","arguments":{"path":"/small"}}""");

        hub.Run(default);

        List<string> lines = ControlBench.Take(session);
        Assert.Contains("name a path further down", lines[2]);
        Assert.Contains("/small", lines[3]);
    }

    [Fact]
    public void Session_shows_itself()
    {
        var bench = new ControlBench();
        ControlSession session = bench.Session();
        bench.Exchange(session, """{"execute":"bogus"} {""");

        string tree = InspectWriter.Dump(bench.Hub);

        Assert.Contains("/client/1/negotiated yes\n", tree);
        Assert.Contains("/client/1/commands 2\n", tree);
        Assert.Contains("/client/1/errors 1\n", tree);
        Assert.Contains("/client/1/input 1\n", tree);
    }

    [Theory]
    [InlineData("1.2.3", 1, 2, 3)]
    [InlineData("0.1.0-beta+5d3", 0, 1, 0)]
    [InlineData("7", 7, 0, 0)]
    [InlineData("unknown", 0, 0, 0)]
    [InlineData("99999999999.2", 0, 2, 0)]
    public void Version_is_taken_apart(string text, int major, int minor, int micro)
    {
        ControlVersion version = ControlVersion.Parse(text);

        Assert.Equal((major, minor, micro, $"xen-usb-dm {text}"), (version.Major, version.Minor, version.Micro, version.Package));
    }

    private sealed class HugeMachine : IMachineControl
    {
        public MachineStatus Status => MachineStatus.Prelaunch;

        public IReadOnlyList<ControllerStatus> Query() => [];

        public ControlResult Attach(VirtualTime now, PortPlace place, string device) => ControlResult.Done;

        public ControlResult Detach(VirtualTime now, PortPlace place, out IOpenedDevice? closing)
        {
            closing = null;
            return ControlResult.Done;
        }

        public ControlResult SendKeys(VirtualTime now, PortPlace? place, IReadOnlyList<byte> usages, ulong hold) => ControlResult.Done;

        public ControlResult SetDirtyLog(bool enable) => ControlResult.Done;

        public void Quit()
        {
        }

        public void Inspect(InspectWriter writer)
        {
            writer.Text("small", "1");
            writer.Text("large", new string('x', ControlLimits.ReplyBytes));
        }
    }
}
