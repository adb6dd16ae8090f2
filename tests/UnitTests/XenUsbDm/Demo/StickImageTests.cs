using System;
using System.IO;
using System.Security.Cryptography;
using System.Threading;
using XenUsbDm.CommandLine;
using XenUsbDm.Core.Usb;
using XenUsbDm.Demo;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

public sealed class StickImageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("stick-image-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Made_image_has_the_size_and_the_hash_it_says()
    {
        using StickImage? image = Create(null, out _, out string error);

        Assert.True(image is not null, error);
        Assert.Equal(1 << 20, image.Length);
        Assert.Equal(1 << 20, new FileInfo(image.Path).Length);
        Assert.Equal(SHA256.HashData(File.ReadAllBytes(image.Path)), image.Hash);
    }

    [Fact]
    public void Folder_is_this_users_alone_and_gone_afterwards()
    {
        StickImage image = Create(null, out _, out _)!;

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(image.Folder));
        image.Dispose();
        Assert.False(Directory.Exists(image.Folder));
    }

    [Fact]
    public void Given_image_is_copied_and_not_touched()
    {
        byte[] content = new byte[3 * StickImage.SectorBytes];
        StickImage.Pattern(content, 0, seed: 7);
        string path = Write(content);
        File.SetUnixFileMode(path, UnixFileMode.UserRead);
        DateTime written = File.GetLastWriteTimeUtc(path);

        using (StickImage? image = Create(path, out _, out string error))
        {
            Assert.True(image is not null, error);
            Assert.NotEqual(path, image.Path);
            Assert.Equal(content, File.ReadAllBytes(image.Path));
            Assert.Equal(SHA256.HashData(content), image.Hash);
        }

        Assert.Equal(content, File.ReadAllBytes(path));
        Assert.Equal(written, File.GetLastWriteTimeUtc(path));
    }

    [Fact]
    public void Given_image_behind_a_link_is_copied()
    {
        string path = Write(new byte[StickImage.SectorBytes]);
        string link = Path.Combine(_folder, "link");
        File.CreateSymbolicLink(link, path);

        using StickImage? image = Create(link, out _, out string error);

        Assert.True(image is not null, error);
        Assert.Equal(StickImage.SectorBytes, image.Length);
    }

    [Fact]
    public void Missing_image_is_status_3() => Refused(Path.Combine(_folder, "none"), ExitStatus.Environment, "there is no image");

    [Fact]
    public void Dangling_link_is_status_3()
    {
        string link = Path.Combine(_folder, "link");
        File.CreateSymbolicLink(link, Path.Combine(_folder, "none"));
        Refused(link, ExitStatus.Environment, "there is no image");
    }

    [Fact]
    public void Directory_is_status_2() => Refused(_folder, ExitStatus.Usage, "is a directory");

    [Fact]
    public void Empty_image_is_status_2() => Refused(Write([]), ExitStatus.Usage, "is empty");

    [Fact]
    public void Device_without_length_is_status_2() => Refused("/dev/zero", ExitStatus.Usage, "not a regular file");

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(513)]
    public void Image_with_a_part_of_a_sector_is_status_2(int length) =>
        Refused(Write(new byte[length]), ExitStatus.Usage, $"has {length} bytes, which is not a multiple of 512");

    [Fact]
    public void Image_without_permission_is_status_3()
    {
        string path = Write(new byte[StickImage.SectorBytes]);
        File.SetUnixFileMode(path, UnixFileMode.None);
        // Root may read everything: for root there is no such error to report, and the image is taken.
        if (Environment.IsPrivilegedProcess)
        {
            using StickImage? image = Create(path, out _, out string error);
            Assert.True(image is not null, error);
            return;
        }

        Refused(path, ExitStatus.Environment, "no permission to read");
    }

    [Fact]
    public void Stopped_while_it_is_made_leaves_nothing()
    {
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => StickImage.TryCreate(
            new DemoOptions(null, 1, UsbSpeed.Super), new Surroundings(TextWriter.Null, TextWriter.Null, false, _folder, stop.Token), out _, out _));

        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void Pattern_differs_by_place_and_seed()
    {
        byte[] first = new byte[512], second = new byte[512], other = new byte[512], whole = new byte[1024];
        StickImage.Pattern(first, 0, 1);
        StickImage.Pattern(second, 512, 1);
        StickImage.Pattern(other, 0, 2);
        StickImage.Pattern(whole, 0, 1);

        Assert.NotEqual(first, second);
        Assert.NotEqual(first, other);
        Assert.Equal([.. first, .. second], whole);
    }

    [Fact]
    public void Temporary_folder_that_is_not_there_is_status_3_and_is_not_made()
    {
        string missing = Path.Combine(_folder, "none");

        using StickImage? none = StickImage.TryCreate(
            new DemoOptions(null, 1, UsbSpeed.Super), new Surroundings(TextWriter.Null, TextWriter.Null, false, missing, default), out int status, out string error);

        Assert.Null(none);
        Assert.Equal(ExitStatus.Environment, status);
        Assert.Contains("TMPDIR", error);
        Assert.False(Directory.Exists(missing));
    }

    [Fact]
    public void Temporary_folder_that_takes_no_files_is_status_3()
    {
        using StickImage? none = StickImage.TryCreate(
            new DemoOptions(null, 1, UsbSpeed.Super), new Surroundings(TextWriter.Null, TextWriter.Null, false, "/proc", default), out int status, out string error);

        Assert.Null(none);
        Assert.Equal(ExitStatus.Environment, status);
        Assert.Contains("TMPDIR", error);
        Assert.DoesNotContain('\n', error);
    }

    private StickImage? Create(string? image, out int status, out string error) => StickImage.TryCreate(
        new DemoOptions(image, 1, UsbSpeed.Super), new Surroundings(TextWriter.Null, TextWriter.Null, false, _folder, default), out status, out error);

    private void Refused(string image, int expectedStatus, string expected)
    {
        using StickImage? none = Create(image, out int status, out string error);

        Assert.Null(none);
        Assert.Equal(expectedStatus, status);
        Assert.Contains(expected, error);
        Assert.DoesNotContain('\n', error);
    }

    private string Write(byte[] content)
    {
        string path = Path.Combine(_folder, "image");
        File.WriteAllBytes(path, content);
        return path;
    }
}
