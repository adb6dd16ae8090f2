using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Hosts.Control;
using XenUsbDm.TestKit.Guest;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.Control;

public sealed class ControlCommandTests
{
    private const ulong Millisecond = 1_000_000;

    private readonly ControlBench _bench = new();
    private readonly ControlSession _session;

    public ControlCommandTests() => _session = _bench.Session();

    [Fact]
    public void Query_commands_names_every_command_that_is_executed()
    {
        JsonElement list = _bench.Return(_session, """{"execute":"query-commands"}""");

        string[] names = [.. list.EnumerateArray().Select(command => command.GetProperty("name").GetString()!)];
        Assert.Equal(
            ["device-attach", "device-detach", "inspect", "qmp_capabilities", "query-commands", "query-status", "query-usb", "query-version", "quit", "send-key", "xen-set-global-dirty-log"],
            names);
        Assert.All(names, name => Assert.DoesNotContain("has not been found", _bench.Execute(_session, $$$"""{"execute":"{{{name}}}","arguments":{"none":1}}""")));
    }

    [Theory]
    [InlineData(MachineStatus.Prelaunch, "prelaunch", false)]
    [InlineData(MachineStatus.Running, "running", true)]
    [InlineData(MachineStatus.Shutdown, "shutdown", false)]
    public void Query_status_names_the_guests_state(MachineStatus status, string name, bool running)
    {
        _bench.Control.Status = status;

        JsonElement reply = _bench.Return(_session, """{"execute":"query-status"}""");

        Assert.Equal(name, reply.GetProperty("status").GetString());
        Assert.Equal(running, reply.GetProperty("running").GetBoolean());
    }

    [Fact]
    public void Dirty_log_of_xen_is_turned_on_and_off_and_refused_for_other_guests()
    {
        Assert.Contains("no Xen domain", _bench.Error(_session, """{"execute":"xen-set-global-dirty-log","arguments":{"enable":true}}""").Description);
        var told = new List<bool>();
        _bench.Control.DirtyLog = told.Add;

        _bench.Execute(_session, """{"execute":"xen-set-global-dirty-log","arguments":{"enable":true}}""");
        _bench.Execute(_session, """{"execute":"xen-set-global-dirty-log","arguments":{"enable":false}}""");
        Assert.Contains("expects true or false", _bench.Error(_session, """{"execute":"xen-set-global-dirty-log","arguments":{"enable":1}}""").Description);
        Assert.Contains("'enable' is missing", _bench.Error(_session, """{"execute":"xen-set-global-dirty-log"}""").Description);

        Assert.Equal([true, false], told);
    }

    [Fact]
    public void Query_version_is_the_greetings() =>
        Assert.Equal(3, _bench.Return(_session, """{"execute":"query-version"}""").GetProperty("qemu").GetProperty("micro").GetInt32());

    [Theory]
    [InlineData("2", "disk", "disk memory", "high")]
    [InlineData("\"3\"", "keyboard", "keyboard", "full")]
    [InlineData("\"1.4\"", "zero", "gadget zero", "super")]
    [InlineData("1", "slow", "keyboard", "low")]
    public void Attach_plugs_in_and_query_usb_shows_it(string port, string device, string description, string speed)
    {
        List<string> lines = _bench.Exchange(_session, $$$"""{"execute":"device-attach","arguments":{"port":{{{port}}},"device":"{{{device}}}"},"id":7}""");

        string place = "1." + port.Trim('"').Split('.')[^1];
        Assert.Equal("""{"return":{},"id":7}""", lines[1]);
        Assert.StartsWith("""{"timestamp":{"seconds":1700000000,"microseconds":123456},"event":"DEVICE_ATTACHED","data":{"port":""" + $"\"{place}\"", lines[0]);
        JsonElement shown = Port(place);
        Assert.StartsWith(description, shown.GetProperty("device").GetProperty("description").GetString());
        Assert.Equal(speed, shown.GetProperty("device").GetProperty("speed").GetString());
        Assert.Equal(0, shown.GetProperty("device").GetProperty("address").GetInt32());
        Assert.False(shown.GetProperty("device").GetProperty("suspended").GetBoolean());
    }

    [Theory]
    [InlineData("""{"port":1,"device":"mouse"}""", "GenericError", "no device 'mouse'")]
    [InlineData("""{"port":9,"device":"disk"}""", "DeviceNotFound", "controller 1 has ports 1 to 4, not 9")]
    [InlineData("""{"port":"2.1","device":"disk"}""", "DeviceNotFound", "there is no controller 2")]
    [InlineData("""{"device":"disk"}""", "GenericError", "Parameter 'port' is missing")]
    [InlineData("""{"port":1}""", "GenericError", "Parameter 'device' is missing")]
    [InlineData("""{"port":1,"device":2}""", "GenericError", "Parameter 'device' expects a string")]
    [InlineData("""{"port":0,"device":"disk"}""", "GenericError", "Parameter 'port' expects")]
    [InlineData("""{"port":1.5,"device":"disk"}""", "GenericError", "Parameter 'port' expects")]
    [InlineData("""{"port":"1.","device":"disk"}""", "GenericError", "Parameter 'port' expects")]
    [InlineData("""{"port":"0.1","device":"disk"}""", "GenericError", "Parameter 'port' expects")]
    [InlineData("""{"port":null,"device":"disk"}""", "GenericError", "Parameter 'port' expects")]
    public void Attach_that_cannot_be_says_why_and_changes_nothing(string arguments, string expectedClass, string expected)
    {
        (string errorClass, string description) = _bench.Error(_session, $$"""{"execute":"device-attach","arguments":{{arguments}}}""");

        Assert.Equal(expectedClass, errorClass);
        Assert.Contains(expected, description);
        Assert.Empty(_bench.Opened);
    }

    [Fact]
    public void Attach_to_a_taken_port_opens_nothing()
    {
        Attach(1, "disk");

        (string _, string description) = _bench.Error(_session, """{"execute":"device-attach","arguments":{"port":1,"device":"keyboard"}}""");

        Assert.Contains("port 1.1 has disk", description);
        Assert.Single(_bench.Opened);
    }

    [Fact]
    public void Attach_that_the_port_forbids_closes_what_it_opened()
    {
        _bench.Machine.Pipeline.SetRule(new PortNumber(1), new XenUsbDm.Pipeline.PortRule(XenUsbDm.Pipeline.AllowedSpeeds.Usb2));

        (string _, string description) = _bench.Error(_session, """{"execute":"device-attach","arguments":{"port":1,"device":"zero"}}""");

        Assert.Contains("takes no device of super speed", description);
        Assert.Equal(1, Assert.Single(_bench.Opened).Closes);
    }

    [Fact]
    public void Detach_is_answered_when_the_image_may_be_used_again()
    {
        _bench.ClosesSlowly = true;
        Attach(1, "disk");

        List<string> first = _bench.Exchange(_session, """{"execute":"device-detach","arguments":{"port":1},"id":1}{"execute":"query-status","id":2}""");
        bool readyBefore = _session.IsReady;
        _bench.Opened[0].IsClosed = true;
        bool readyAfter = _session.IsReady;
        List<string> second = _bench.Exchange(_session, "");

        Assert.Contains("DEVICE_DETACHED", Assert.Single(first));
        Assert.False(readyBefore);
        Assert.True(readyAfter);
        Assert.Equal("""{"return":{},"id":1}""", second[0]);
        Assert.EndsWith("\"id\":2}", second[1]);
        Assert.Equal(1, _bench.Opened[0].Closes);
        Assert.False(Port("1.1").TryGetProperty("device", out _));
    }

    [Fact]
    public void Detach_closes_at_once_what_has_nothing_to_write()
    {
        Attach(1, "disk");

        Assert.Equal("""{"return":{}}""", _bench.Execute(_session, """{"execute":"device-detach","arguments":{"port":1}}"""));
    }

    [Theory]
    [InlineData("1", "port 1.1 is empty")]
    [InlineData("5", "ports 1 to 4")]
    public void Detach_of_nothing_is_not_found(string port, string expected)
    {
        (string errorClass, string description) = _bench.Error(_session, $$$"""{"execute":"device-detach","arguments":{"port":{{{port}}}}}""");

        Assert.Equal("DeviceNotFound", errorClass);
        Assert.Contains(expected, description);
    }

    [Fact]
    public void Detach_needs_a_port() =>
        Assert.Contains("'port' is missing", _bench.Error(_session, """{"execute":"device-detach"}""").Description);

    [Fact]
    public void Detach_all_closes_everything()
    {
        Attach(1, "disk");
        Attach(2, "keyboard");

        _bench.ClosesSlowly = true;
        Attach(3, "disk");
        _bench.Control.Detach(_bench.Machine.Now, new PortPlace(1, 3), out IOpenedDevice? earlier);
        Attach(4, "disk");

        IReadOnlyList<IOpenedDevice> closing = _bench.Control.DetachAll(_bench.Machine.Now);

        Assert.Equal([earlier!, _bench.Opened[3]], closing);
        _bench.Opened[2].IsClosed = true;
        _bench.Advance();
        Assert.Contains("/closing-devices 1\n", InspectWriter.Dump(_bench.Control));
        Assert.All(_bench.Opened, opened => Assert.Equal(1, opened.Closes));
        Assert.Equal(3, ControlBench.Events(ControlBench.Take(_session)).Count());
    }

    [Fact]
    public void Guest_sees_attach_detach_and_its_transfers_are_counted()
    {
        Attach(2, "zero");
        var driver = new XhciDriver(new InProcessPlatform(_bench.Machine));
        driver.Start();
        driver.Expect(() => driver.ConnectedPorts().Count == 1, "the device");
        UsbDeviceHandle.Enumerate(driver, driver.ConnectedPorts()[0]);

        JsonElement port = Port("1.2");
        long submitted = port.GetProperty("counters").GetProperty("submitted").GetInt64();
        Assert.True(submitted > 0);
        Assert.Equal(submitted, port.GetProperty("counters").GetProperty("completed").GetInt64());
        Assert.NotEqual(0, port.GetProperty("device").GetProperty("address").GetInt32());
        JsonElement endpoint = port.GetProperty("endpoints")[0];
        Assert.Equal("ep0", endpoint.GetProperty("endpoint").GetString());
        Assert.Equal(submitted, endpoint.GetProperty("submitted").GetInt64());
        JsonElement controller = Controller();
        Assert.True(controller.GetProperty("running").GetBoolean());
        Assert.Equal("xhci", controller.GetProperty("type").GetString());
        _bench.Execute(_session, """{"execute":"device-detach","arguments":{"port":2}}""");
        driver.Expect(() => driver.ConnectedPorts().Count == 0, "the removal");
    }

    [Fact]
    public void Send_key_types_a_chord_and_releases_it_after_its_time()
    {
        Attach(3, "keyboard");
        var keyboard = (BootKeyboard)_bench.Opened[0].Device;

        Send("""{"keys":[{"type":"qcode","data":"ctrl"},"alt",{"type":"qcode","data":"delete"},"ctrl"],"hold-time":50}""");

        Assert.False(keyboard.Press("ctrl") || keyboard.Press("alt") || keyboard.Press("delete"));
        _bench.Advance(49 * Millisecond);
        Assert.False(keyboard.Press("delete"));
        Assert.Equal(_bench.Machine.Now.Plus(Millisecond), _bench.Control.NextDeadline);
        _bench.Advance(Millisecond);
        Assert.True(keyboard.Press("ctrl") && keyboard.Press("alt") && keyboard.Press("delete"));
        Assert.Equal(XenUsbDm.Core.Time.VirtualTime.Never, _bench.Control.NextDeadline);
    }

    [Fact]
    public void Send_key_holds_for_a_tenth_of_a_second_unless_said()
    {
        Attach(3, "keyboard");

        Send("""{"keys":["a"]}""");

        Assert.Equal(_bench.Machine.Now.Plus(100 * Millisecond), _bench.Control.NextDeadline);
    }

    [Fact]
    public void Chords_follow_one_another()
    {
        Attach(1, "keyboard");
        var keyboard = (BootKeyboard)_bench.Opened[0].Device;

        Send("""{"keys":["a"],"hold-time":10,"port":1}""");
        Send("""{"keys":["b"],"hold-time":0,"port":"1.1"}""");
        Send("""{"keys":["c"],"hold-time":10}""");

        Assert.True(keyboard.Press("b"));
        keyboard.Release("b");
        _bench.Advance(10 * Millisecond);
        Assert.True(keyboard.Press("a") && keyboard.Press("b"));
        Assert.False(keyboard.Press("c"));
        Assert.Contains("/typing/held 06\n", InspectWriter.Dump(_bench.Control));
    }

    [Fact]
    public void Waiting_chords_are_bounded()
    {
        Attach(1, "keyboard");
        for (int i = 0; i <= ControlLimits.WaitingChords; i++) Send("""{"keys":["a"],"hold-time":10}""");

        Assert.Contains("send the rest later", _bench.Error(_session, """{"execute":"send-key","arguments":{"keys":["a"]}}""").Description);
    }

    [Fact]
    public void Keys_for_a_keyboard_that_goes_are_forgotten()
    {
        Attach(1, "keyboard");
        Attach(2, "slow");
        Send("""{"keys":["a"],"port":1}""");
        Send("""{"keys":["b"],"port":1}""");
        Send("""{"keys":["c"],"port":2,"hold-time":5}""");

        _bench.Execute(_session, """{"execute":"device-detach","arguments":{"port":1}}""");
        _bench.Advance(Millisecond);

        Assert.False(((BootKeyboard)_bench.Opened[1].Device).Press("c"));
        Assert.Contains("/typing/waiting 0\n", InspectWriter.Dump(_bench.Control));
    }

    [Theory]
    [InlineData("""{}""", "GenericError", "'keys' is missing")]
    [InlineData("""{"keys":[]}""", "GenericError", "1 to 16 keys")]
    [InlineData("""{"keys":"a"}""", "GenericError", "1 to 16 keys")]
    [InlineData("""{"keys":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]}""", "GenericError", "1 to 16 keys")]
    [InlineData("""{"keys":["nokey"]}""", "GenericError", "'nokey'")]
    [InlineData("""{"keys":["0x02"]}""", "GenericError", "'0x02'")]
    [InlineData("""{"keys":[{"type":"number","data":30}]}""", "GenericError", "\"qcode\"")]
    [InlineData("""{"keys":[{"type":"qcode"}]}""", "GenericError", "\"qcode\"")]
    [InlineData("""{"keys":[{"data":"a"}]}""", "GenericError", "\"qcode\"")]
    [InlineData("""{"keys":[1]}""", "GenericError", "\"qcode\"")]
    [InlineData("""{"keys":["a"],"hold-time":-1}""", "GenericError", "from 0 to 60000")]
    [InlineData("""{"keys":["a"],"hold-time":"1"}""", "GenericError", "from 0 to 60000")]
    [InlineData("""{"keys":["a"]}""", "DeviceNotFound", "no keyboard is attached")]
    [InlineData("""{"keys":["a"],"port":1}""", "DeviceNotFound", "no keyboard is on port 1.1")]
    [InlineData("""{"keys":["a"],"port":7}""", "DeviceNotFound", "ports 1 to 4")]
    public void Send_key_that_cannot_be_says_why(string arguments, string expectedClass, string expected)
    {
        Attach(2, "disk");

        (string errorClass, string description) = _bench.Error(_session, $$"""{"execute":"send-key","arguments":{{arguments}}}""");

        Assert.Equal(expectedClass, errorClass);
        Assert.Contains(expected, description);
    }

    [Theory]
    [InlineData("/pipeline/ports", 1)]
    [InlineData("pipeline/ports/", 1)]
    [InlineData("/pci", 10)]
    public void Inspect_answers_with_what_lies_at_or_below_a_path(string path, int least)
    {
        JsonElement reply = _bench.Return(_session, $$$"""{"execute":"inspect","arguments":{"path":"{{{path}}}"}}""");

        string prefix = "/" + path.Trim('/');
        Assert.Equal(prefix, reply.GetProperty("path").GetString());
        Assert.True(reply.GetProperty("fields").GetArrayLength() >= least);
        Assert.All(reply.GetProperty("fields").EnumerateArray(), field => Assert.StartsWith(prefix, field.GetProperty("path").GetString()));
    }

    [Fact]
    public void Inspect_without_a_path_is_the_whole_tree()
    {
        JsonElement reply = _bench.Return(_session, """{"execute":"inspect"}""");

        var writer = new InspectWriter();
        _bench.Machine.Inspect(writer);
        KeyValuePair<string, string>[] fields = [.. reply.GetProperty("fields").EnumerateArray()
            .Select(field => new KeyValuePair<string, string>(field.GetProperty("path").GetString()!, field.GetProperty("value").GetString()!))];
        Assert.Equal("/", reply.GetProperty("path").GetString());
        Assert.Equal(writer.Fields, fields.Take(writer.Fields.Count));
        Assert.Contains(fields, field => field.Key == "/typing/waiting");
        Assert.Contains(fields, field => field.Key == "/control/client/1/negotiated");
    }

    [Theory]
    [InlineData("\"/pipeline/por\"", "nothing is at '/pipeline/por'")]
    [InlineData("1", "'path' expects a string")]
    public void Inspect_of_nothing_is_an_error(string path, string expected) =>
        Assert.Contains(expected, _bench.Error(_session, $$$"""{"execute":"inspect","arguments":{"path":{{{path}}}}}""").Description);

    [Fact]
    public void Quit_is_answered_and_told_to_everyone()
    {
        ControlSession other = _bench.Session();

        List<string> lines = _bench.Exchange(_session, """{"execute":"quit"}""");

        Assert.Equal("""{"return":{}}""", lines[0]);
        Assert.EndsWith("""{"timestamp":{"seconds":1700000000,"microseconds":123456},"event":"SHUTDOWN","data":{"guest":false,"reason":"host-qmp-quit"}}""", lines[1]);
        Assert.Equal(lines[1], Assert.Single(ControlBench.Take(other)));
        Assert.Equal(1, _bench.Quits);
        Assert.Equal(MachineStatus.Shutdown, _bench.Control.Status);
    }

    [Fact]
    public void Events_go_to_clients_that_have_negotiated()
    {
        ControlSession fresh = _bench.Hub.Open()!;
        ControlBench.Take(fresh);

        Attach(1, "disk");

        Assert.True(fresh.Output.IsEmpty);
    }

    [Fact]
    public void Controller_that_stops_for_an_error_is_told_once()
    {
        var driver = new XhciDriver(new InProcessPlatform(_bench.Machine));
        driver.Start();
        _bench.Advance();
        Break();

        _bench.Advance();
        _bench.Advance();

        string line = Assert.Single(ControlBench.Take(_session));
        Assert.Contains("\"CONTROLLER_ERROR\",\"data\":{\"controller\":1,\"error\":\"HSE\",\"suppressed\":0}", line);
        Assert.Equal("HSE", Controller().GetProperty("error").GetString());
        _bench.Machine.Reset();
        _bench.Advance();
        Assert.False(Controller().TryGetProperty("error", out _));
        Assert.True(_session.Output.IsEmpty);
    }

    [Fact]
    public void Errors_that_a_guest_repeats_are_told_at_a_bounded_rate()
    {
        for (int i = 0; i < 25; i++) _bench.Hub.ControllerError(_bench.Machine.Now, 1, "HCE");
        List<string> burst = ControlBench.Take(_session);
        _bench.Hub.ControllerError(_bench.Machine.Now.Plus(1000 * Millisecond), 1, "HCE");

        Assert.Equal(10, burst.Count);
        Assert.Contains("\"suppressed\":15}", Assert.Single(ControlBench.Take(_session)));
    }

    [Fact]
    public void Failing_disk_is_in_the_log_with_port_device_cause_and_what_to_do()
    {
        Attach(4, "disk");
        _bench.Opened[0].Fault = "write of 512 bytes at byte 0 failed: No space left on device; free space";
        _bench.Opened[0].Errors = 1;

        _bench.Advance();

        string line = Assert.Single(_bench.Log.Lines);
        Assert.StartsWith("Warning: port 1.4: disk memory: write", line, StringComparison.Ordinal);
        Assert.Contains("No space left on device; free space", line, StringComparison.Ordinal);
        for (int i = 0; i < 25; i++)
        {
            _bench.Opened[0].Errors++;
            _bench.Advance();
        }

        Assert.Equal(10, _bench.Log.Lines.Count);
    }

    [Fact]
    public void Failing_host_of_another_device_is_in_the_log_and_no_block_error()
    {
        Attach(4, "zero");
        _bench.Opened[0].Fault = "SET_CONFIGURATION(1) failed: another program has it; end it";
        _bench.Opened[0].Errors = 1;

        _bench.Advance();

        Assert.StartsWith("Warning: port 1.4: ", Assert.Single(_bench.Log.Lines), StringComparison.Ordinal);
        Assert.Empty(ControlBench.Take(_session));
    }

    [Fact]
    public void Failing_disk_is_told_at_a_bounded_rate()
    {
        Attach(4, "disk");
        for (int i = 0; i < 25; i++)
        {
            _bench.Opened[0].Errors += 2;
            _bench.Advance();
        }

        List<string> lines = ControlBench.Take(_session);
        Assert.Equal(10, lines.Count);
        Assert.Contains("\"BLOCK_IO_ERROR\",\"data\":{\"port\":\"1.4\",\"device\":\"disk", lines[0]);
        Assert.Contains("\"errors\":2,", lines[0]);
        Assert.Contains("\"errors\":20,", lines[9]);
    }

    [Fact]
    public void Guest_that_goes_is_told_as_a_guests_shutdown()
    {
        _bench.Hub.Shutdown("guest-shutdown");

        Assert.Contains("{\"guest\":true,\"reason\":\"guest-shutdown\"}", Assert.Single(ControlBench.Take(_session)));
    }

    // The guest moves the event ring to where no memory is and lets the controller write to it.
    private void Break()
    {
        int operational = (int)_bench.Machine.ReadBar(0, 1);
        int doorbells = (int)(_bench.Machine.ReadBar32(0x14) & ~3u);
        _bench.Machine.WriteBar32(operational, 0);
        _bench.Machine.WriteBar32(operational + 0x18, 0xdead_0001);
        _bench.Machine.WriteBar32(operational + 0x1c, 0x7f);
        _bench.Machine.WriteBar32(operational, 5);
        _bench.Machine.WriteBar32(doorbells, 0);
        _bench.Machine.Step();
    }

    private void Attach(int port, string device)
    {
        _bench.Execute(_session, $$$"""{"execute":"device-attach","arguments":{"port":{{{port}}},"device":"{{{device}}}"}}""");
        ControlBench.Take(_session);
    }

    private void Send(string arguments) =>
        Assert.Equal("""{"return":{}}""", _bench.Execute(_session, $$"""{"execute":"send-key","arguments":{{arguments}}}"""));

    private JsonElement Controller() =>
        Assert.Single(_bench.Return(_session, """{"execute":"query-usb"}""").GetProperty("controllers").EnumerateArray());

    private JsonElement Port(string place) =>
        Controller().GetProperty("ports").EnumerateArray().Single(port => port.GetProperty("port").GetString() == place);
}
