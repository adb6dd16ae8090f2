using System;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using XenUsbDm.CommandLine;
using XenUsbDm.ControlClient;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.ControlClient;

public sealed class CtlCommandTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("bogus", "bogus: needs a word after it, or is unknown; known are list, attach PORT=DEVICE")]
    [InlineData("list all", "list: not with these words")]
    [InlineData("attach", "attach: needs a word")]
    [InlineData("attach 1", "must be PORT=DEVICE")]
    [InlineData("attach x=zero", "must be PORT=DEVICE")]
    [InlineData("attach 1=mouse", "must be disk:PATH")]
    [InlineData("detach x", "must be a port")]
    [InlineData("detach 0", "must be a port")]
    [InlineData("key", "key: needs a word")]
    [InlineData("key ctrl-bogus", "no key is named 'bogus'")]
    [InlineData("key a-b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q", "at most 16 keys together")]
    [InlineData("top 0", "SECONDS must be 0.1 to 3600")]
    [InlineData("top x", "SECONDS must be 0.1 to 3600")]
    [InlineData("top 1 0", "TIMES must be a number from 1")]
    [InlineData("top 1 2 3", "top: not with these words")]
    public void Wrong_words_are_one_line_and_status_2_before_anyone_is_asked(string words, string expected)
    {
        (int status, string output, string error) = Run("no-such.sock", words.Split(' '));

        Assert.Equal((2, ""), (status, output));
        CommandLine.CommandTreeTests.AssertOneLine(expected, error);
    }

    [Fact]
    public void Socket_path_has_a_length()
    {
        Assert.Equal(2, Run("", ["list"]).Status);
        Assert.Equal(2, Run(new string('x', 108), ["list"]).Status);
    }

    [Fact]
    public void Command_line_has_ctl()
    {
        (int status, _, string error) = CommandLine.CommandTreeTests.Invoke("ctl no-such.sock list");

        Assert.Equal(3, status);
        CommandLine.CommandTreeTests.AssertOneLine("nobody listens on 'no-such.sock'", error);
        Assert.Equal(2, CommandLine.CommandTreeTests.Invoke("ctl no-such.sock").Status);
        Assert.Contains("attach PORT=DEVICE", CommandLine.CommandTreeTests.Invoke("ctl --help").Output);
    }

    [Fact]
    public void Devices_are_attached_listed_and_detached()
    {
        using var process = new ControlProcess();
        process.Image("stick, blue.img");
        string path = Path.Combine(process.Folder, "stick,, blue.img");

        Assert.Equal((0, "", ""), Run(process, "attach", $"2=disk:{path},ro,speed=high"));
        Assert.Equal((0, "", ""), Run(process, "attach", "1.3=keyboard"));
        Assert.Equal(
            """
            controller 1: xhci, halted
            port  speed  address  device
            1.1   -            -  -
            1.2   high         0  disk stick, blue.img
            1.3   full         0  keyboard
            1.4   -            -  -

            """, Run(process, "list").Output);
        Assert.Equal((0, "", ""), Run(process, "detach", "2"));
        Assert.Equal((0, "", ""), Run(process, "attach", $"1=disk:{path}"));
        Assert.Contains("1.1   super        0  disk stick, blue.img\n", Run(process, "list").Output);
    }

    [Fact]
    public void Relative_image_is_meant_from_the_clients_folder()
    {
        using var process = new ControlProcess();
        string relative = Path.GetRelativePath(Directory.GetCurrentDirectory(), process.Image("stick.img"));

        Assert.Equal((0, "", ""), Run(process, "attach", $"1=disk:{relative}"));

        Assert.Contains("disk stick.img", Run(process, "list").Output);
    }

    [Fact]
    public void Image_can_be_attached_again_as_soon_as_its_detach_has_answered()
    {
        using var process = new ControlProcess();
        string path = process.Image("stick.img");
        int before = Directory.GetFiles("/proc/self/fd").Length;

        for (int i = 0; i < 100; i++)
        {
            Assert.Equal((0, "", ""), Run(process, "attach", $"1=disk:{path}"));
            Assert.Equal((0, "", ""), Run(process, "detach", "1"));
        }

        Assert.InRange(Directory.GetFiles("/proc/self/fd").Length, 0, before + 20);
    }

    [Theory]
    [InlineData("attach 9=zero", "controller 1 has ports 1 to 4, not 9")]
    [InlineData("attach 1=disk:no-such.img", "no such file")]
    [InlineData("attach 1=host:1-2", "cannot be attached here")]
    [InlineData("detach 1", "port 1.1 is empty")]
    [InlineData("key a", "no keyboard is attached")]
    [InlineData("inspect /bogus", "nothing is at '/bogus'")]
    public void Refusal_is_one_line_and_status_1(string words, string expected)
    {
        using var process = new ControlProcess();

        (int status, string output, string error) = Run(process, words.Split(' '));

        Assert.Equal((1, ""), (status, output));
        CommandLine.CommandTreeTests.AssertOneLine(expected, error);
    }

    [Fact]
    public void Keys_are_typed()
    {
        using var process = new ControlProcess();
        Run(process, "attach", "1=keyboard");

        Assert.Equal((0, "", ""), Run(process, "key", "a", "shift-b", "ctrl-alt-delete"));

        Assert.Contains("/typing/refused 0\n", Run(process, "inspect", "/typing").Output);
    }

    [Fact]
    public void Inspect_prints_paths_and_values()
    {
        using var process = new ControlProcess();

        Assert.Equal("/pipeline/ports 4\n", Run(process, "inspect", "pipeline/ports").Output);
        Assert.Contains("/xhci/", Run(process, "inspect").Output);
    }

    [Fact]
    public void Status_is_one_word()
    {
        using var process = new ControlProcess();

        Assert.Equal((0, "running\n", ""), Run(process, "status"));
    }

    [Fact]
    public void Raw_command_prints_the_raw_answer_and_its_kind_is_the_status()
    {
        using var process = new ControlProcess();

        Assert.Equal((0, """{"return":{"status":"running","running":true},"id":5}""" + "\n", ""), Run(process, "qmp", """{"execute":"query-status","id":5}"""));
        Assert.StartsWith("[", Run(process, "qmp", "query-commands").Output["{\"return\":".Length..]);
        (int status, string output, _) = Run(process, "qmp", "bo\"gus");
        Assert.Equal(1, status);
        Assert.Contains("CommandNotFound", output);
        Assert.Equal(1, Run(process, "qmp", "{nonsense}").Status);
    }

    [Fact]
    public void Counters_and_top_are_plain_tables_without_a_terminal()
    {
        using var process = new ControlProcess();
        Run(process, "attach", "1=zero");

        string counters = Run(process, "counters").Output;
        string top = Run(process, "top", "0.1", "2").Output;

        Assert.Equal("port  transfers  outstanding  most  unlinked  stalls  errors  bytes-in  bytes-out  device\n"
            + "1.1           0            0     0         0       0       0         0          0  gadget zero\n", counters);
        string table = "port  transfers/s  in MB/s  out MB/s  outstanding  transfers  stalls  errors  device\n"
            + "1.1             0      0.0       0.0            0          0       0       0  gadget zero\n";
        Assert.Equal(table + "\n" + table, top);
    }

    [Fact]
    public void Top_paints_over_itself_on_a_terminal()
    {
        using var process = new ControlProcess();

        (_, string output, _) = Run(process.SocketPath, ["top", "0.1", "2"], terminal: true);

        Assert.Equal(3, output.Split("\u001b[H\u001b[J").Length);
        Assert.DoesNotContain("\n\n", output);
    }

    [Fact]
    public void Quit_ends_the_process_after_its_answer()
    {
        using var process = new ControlProcess();

        Assert.Equal((0, "", ""), Run(process, "quit"));

        Assert.True(process.WaitForEnd(Patience));
    }

    [Fact]
    public async Task Events_are_printed_until_the_process_ends()
    {
        using var process = new ControlProcess();
        Task<(int Status, string Output, string Error)> events = Task.Run(() => Run(process, "events"));
        Assert.True(SpinWait.SpinUntil(() => process.Hub.Sessions.Any(session => session.IsNegotiated), Patience));

        Run(process, "attach", "1=zero");
        Run(process, "quit");
        Assert.True(process.WaitForEnd(Patience));
        process.Dispose();
        (int status, string output, _) = await events;

        Assert.Equal(0, status);
        Assert.Contains("DEVICE_ATTACHED", output);
        Assert.Contains("host-qmp-quit", output);
    }

    [Fact]
    public void Socket_is_for_its_user_alone_and_goes_with_the_process()
    {
        string path;
        using (var process = new ControlProcess())
        {
            path = process.SocketPath;
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            Assert.Null(UnixListener.Open(path, out string error, ownerOnly: true));
            Assert.Contains("in use", error);
            Assert.Equal(0, Run(process, "status").Status);
        }

        Assert.False(File.Exists(path));
    }

    [Fact]
    public void Socket_left_behind_is_replaced_and_a_file_is_not()
    {
        string folder = Directory.CreateTempSubdirectory("control-").FullName;
        try
        {
            string stale = Path.Combine(folder, "stale.sock");
            using (var killed = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
            {
                // Moved away, so that closing does not remove it: as when a process is killed.
                killed.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder, "s")));
                File.Move(Path.Combine(folder, "s"), stale);
            }

            string file = Path.Combine(folder, "notes.txt");
            File.WriteAllText(file, "kept");

            using UnixListener? listener = UnixListener.Open(stale, out string error, ownerOnly: true);

            Assert.True(listener is not null, error);
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(stale));
            Assert.Null(UnixListener.Open(file, out _, ownerOnly: true));
            Assert.Equal("kept", File.ReadAllText(file));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task Run_serves_its_control_socket_until_it_is_told_to_quit()
    {
        string folder = Directory.CreateTempSubdirectory("control-").FullName;
        try
        {
            string control = Path.Combine(folder, "c");
            File.WriteAllBytes(Path.Combine(folder, "stick.img"), new byte[4096]);
            Task<(int Status, string Output, string Error)> run = Task.Run(
                () => CommandLine.CommandTreeTests.Invoke($"run --vfio-user {folder}/v --control {control} --attach 1=disk:{folder}/stick.img"));
            Assert.True(SpinWait.SpinUntil(() => Run(control, ["status"]).Status == 0 || run.IsCompleted, Patience));

            Assert.Equal((0, "prelaunch\n", ""), Run(control, ["status"]));
            Assert.Contains("disk stick.img", Run(control, ["list"]).Output);
            Assert.Equal(0, Run(control, ["quit"]).Status);
            (int status, string output, _) = await run;

            Assert.Equal((0, "ready\n"), (status, output));
            Assert.Equal(["stick.img"], Directory.GetFiles(folder).Select(Path.GetFileName));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Run_without_a_place_for_its_control_socket_is_status_3()
    {
        string folder = Directory.CreateTempSubdirectory("control-").FullName;
        try
        {
            (int status, _, string error) = CommandLine.CommandTreeTests.Invoke($"run --vfio-user {folder}/v --control {folder}/none/c");

            Assert.Equal(3, status);
            CommandLine.CommandTreeTests.AssertOneLine("run: --control ", error);
            Assert.Empty(Directory.GetFiles(folder));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void Interrupted_client_says_so()
    {
        using var process = new ControlProcess();

        (int status, _, string error) = Run(process.SocketPath, ["list"], stop: new CancellationToken(canceled: true));

        Assert.NotEqual(0, status);
        Assert.StartsWith("xen-usb-dm: ctl: ", error);
    }

    [Theory]
    [InlineData("SSH-2.0-OpenSSH\r\n", 3, "does not speak JSON")]
    [InlineData("{\"hello\":1}\n", 3, "does not greet as QMP does")]
    [InlineData("[]\n", 3, "does not greet as QMP does")]
    [InlineData("", 3, "closed the connection")]
    [InlineData("{\"QMP\":{}}\n", 3, "closed the connection")]
    [InlineData("{\"QMP\":{}}\n[]\n", 3, "not a JSON object")]
    [InlineData("{\"QMP\":{}}\n{\"id\":1}\n", 3, "neither return nor error")]
    [InlineData("{\"QMP\":{}}\n{\"event\":\"X\"}\n{\"return\":{}}\n{\"return\":{}}\n", 1, "query-usb's answer cannot be read")]
    [InlineData("{\"QMP\":{}}\n{\"return\":{}}\n{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n", 1, "ctl: no")]
    public void Other_side_that_is_no_control_socket_is_one_line(string says, int expectedStatus, string expected)
    {
        string folder = Directory.CreateTempSubdirectory("control-").FullName;
        try
        {
            string path = Path.Combine(folder, "s");
            using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen();
            var server = new Thread(() =>
            {
                using Socket client = listener.Accept();
                client.Send(Encoding.UTF8.GetBytes(says));
                client.Shutdown(SocketShutdown.Send);
                while (client.Receive(new byte[4096]) > 0)
                {
                }
            });
            server.Start();

            (int status, _, string error) = Run(path, ["list"]);

            server.Join();
            Assert.Equal(expectedStatus, status);
            CommandLine.CommandTreeTests.AssertOneLine(expected, error);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static (int Status, string Output, string Error) Run(ControlProcess process, params string[] words) => Run(process.SocketPath, words);

    private static (int Status, string Output, string Error) Run(string socket, string[] words, bool terminal = false, CancellationToken stop = default)
    {
        using var output = new StringWriter { NewLine = "\n" };
        using var error = new StringWriter { NewLine = "\n" };
        int status = CtlCommand.Invoke(socket, words, new Surroundings(output, error, terminal, Path.GetTempPath(), stop));
        return (status, output.ToString(), error.ToString());
    }
}
