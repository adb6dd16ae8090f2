using System;
using System.IO;
using System.Threading;
using XenUsbDm.CommandLine;
using XenUsbDm.Demo;
using XenUsbDm.UnitTests.CommandLine;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

/// <summary>The whole road, from the command line to the bytes in the image file.</summary>
public sealed class DemoTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("demo-tests-").FullName;
    private readonly string _temporary;

    public DemoTests() => _temporary = Directory.CreateDirectory(Path.Combine(_folder, "tmp")).FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("full", "    |__ Port 001: Dev 002, If 0, Class=Mass Storage, Driver=mass-storage, 12M")]
    [InlineData("high", "    |__ Port 001: Dev 002, If 0, Class=Mass Storage, Driver=mass-storage, 480M")]
    [InlineData("super", "    |__ Port 001: Dev 002, If 0, Class=Mass Storage, Driver=mass-storage, 5000M")]
    public void Made_stick_is_found_read_written_and_verified(string speed, string line)
    {
        (int status, string output, string error) = Demo("--size", "1", "--speed", speed);

        Assert.Equal("", error);
        Assert.Equal(ExitStatus.Done, status);
        Assert.Contains(line, output);
        Assert.Contains("Class=Human Interface Device", output);
        Assert.Contains("Class=Vendor Specific Class", output);
        Assert.Matches(@"(?m)^read +1\.0 MiB in .* SHA-256 equals the image's$", output);
        Assert.Matches(@"(?m)^write +1\.0 MiB in .* flushed$", output);
        Assert.Matches(@"(?m)^verify +1\.0 MiB in .* pattern read back$", output);
        Assert.Contains("demo passed", output);
        Assert.DoesNotContain('\r', output);
        AssertNothingLeft();
    }

    [Fact]
    public void Counters_add_up_to_the_bytes_that_the_steps_moved()
    {
        (int status, string output, _) = Demo("--size", "1");

        Assert.Equal(ExitStatus.Done, status);
        // 16 chunks of 64 KiB, each a command, a data and a status stage, three steps.
        Assert.Matches(@"(?m)^read .* 48 transfers of ", output);
        Assert.Matches(@"(?m)^verify .* 48 transfers of ", output);
        Assert.Matches(@"(?m)^port 1  disk stick\.img: submitted (\d+), completed \1,", output);
        Assert.Matches(@"(?m)^port 2  keyboard: submitted (\d+), completed \1,", output);
        Assert.Matches(@"(?m)^port 3  gadget zero: submitted (\d+), completed \1,", output);
    }

    [Theory]
    [InlineData(512)]
    [InlineData((64 << 10) + 512)]
    [InlineData((200 << 10) - 512)]
    public void Given_image_is_only_read(int length)
    {
        byte[] content = new byte[length];
        StickImage.Pattern(content, 0, seed: 99);
        string path = Write(content);
        File.SetUnixFileMode(path, UnixFileMode.UserRead);
        DateTime written = File.GetLastWriteTimeUtc(path);

        (int status, string output, string error) = Demo("--image", path);

        Assert.Equal("", error);
        Assert.Equal(ExitStatus.Done, status);
        Assert.Contains($"stick: {path}, {length} bytes", output);
        Assert.Equal(content, File.ReadAllBytes(path));
        Assert.Equal(written, File.GetLastWriteTimeUtc(path));
        AssertNothingLeft();
    }

    [Fact]
    public void Missing_image_is_one_line_and_status_3() =>
        AssertRefused(ExitStatus.Environment, "there is no image", Path.Combine(_folder, "none"));

    [Fact]
    public void Directory_is_one_line_and_status_2() => AssertRefused(ExitStatus.Usage, "is a directory", _folder);

    [Fact]
    public void Empty_image_is_one_line_and_status_2() => AssertRefused(ExitStatus.Usage, "is empty", Write([]));

    [Fact]
    public void Image_with_a_part_of_a_sector_is_one_line_and_status_2() =>
        AssertRefused(ExitStatus.Usage, "not a multiple of 512", Write(new byte[1000]));

    [Fact]
    public void Interrupted_demo_is_one_line_and_leaves_nothing()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();

        (int status, _, string error) = Run(stop.Token, "demo", "--size", "1");

        Assert.Equal(ExitStatus.Failed, status);
        CommandTreeTests.AssertOneLine("interrupted", error);
        AssertNothingLeft();
    }

    private void AssertRefused(int expectedStatus, string expected, string image)
    {
        byte[]? before = File.Exists(image) ? File.ReadAllBytes(image) : null;

        (int status, string output, string error) = Demo("--image", image);

        Assert.Equal(expectedStatus, status);
        Assert.Equal("", output);
        CommandTreeTests.AssertOneLine(expected, error);
        Assert.Equal(before, File.Exists(image) ? File.ReadAllBytes(image) : null);
        AssertNothingLeft();
    }

    private void AssertNothingLeft() => Assert.Empty(Directory.GetFileSystemEntries(_temporary));

    private (int Status, string Output, string Error) Demo(params string[] arguments) => Run(default, ["demo", .. arguments]);

    private (int Status, string Output, string Error) Run(CancellationToken stop, params string[] arguments)
    {
        using var output = new StringWriter { NewLine = "\n" };
        using var error = new StringWriter { NewLine = "\n" };
        int status = CommandTree.Invoke(arguments, new Surroundings(output, error, false, _temporary, stop));
        return (status, output.ToString(), error.ToString());
    }

    private string Write(byte[] content)
    {
        string path = Path.Combine(_folder, "image");
        File.WriteAllBytes(path, content);
        return path;
    }
}
