using System.IO;
using System.Threading;
using XenUsbDm.Native.Linux;
using XenUsbDm.UnitTests.CommandLine;
using Xunit;

namespace XenUsbDm.UnitTests.Run;

public sealed class RunCommandTests
{
    [Fact]
    public void Run_says_ready_and_ends_in_order_when_told()
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        string socket = Path.Combine(folder, "usb.sock");
        string image = Path.Combine(folder, "stick.img");
        File.WriteAllBytes(image, new byte[1 << 20]);
        using var stop = new CancellationTokenSource();
        try
        {
            // Told before it begins: it sets everything up, says so, and takes everything down.
            stop.Cancel();
            (int status, string output, string error) =
                CommandTreeTests.Invoke($"run --vfio-user {socket} --attach 1=disk:{image} --attach 2=keyboard --attach 3=zero", stop.Token);

            Assert.Equal((0, "ready\n", ""), (status, output, error));
            Assert.Null(UnixSocket.Connect(socket));
            Assert.False(File.Exists(socket));
            using FileStream free = new(image, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Theory]
    [InlineData("--attach 1=disk:no-such-image", "no-such-image")]
    public void Device_that_cannot_be_attached_is_one_line_and_leaves_no_socket(string words, string expected)
    {
        string socket = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

        (int status, string output, string error) = CommandTreeTests.Invoke($"run --vfio-user {socket} {words}", new CancellationToken(canceled: true));

        Assert.Equal((3, ""), (status, output));
        CommandTreeTests.AssertOneLine(expected, error);
        Assert.False(File.Exists(socket));
    }

    [Theory]
    [InlineData("full", "zero,speed=high", "high")]
    [InlineData("high", "zero,speed=super", "super")]
    public void Device_faster_than_the_controller_is_told_to_show_is_refused(string most, string device, string speed)
    {
        string socket = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        using var stop = new CancellationTokenSource();
        stop.Cancel();

        (int status, string output, string error) =
            CommandTreeTests.Invoke($"run --vfio-user {socket} --controller xhci,max-speed={most} --attach 1=zero,speed=full --attach 2={device}", stop.Token);

        Assert.Equal((2, ""), (status, output));
        CommandTreeTests.AssertOneLine($"takes no device of {speed} speed", error);
    }
}
