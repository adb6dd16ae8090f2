using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Threading;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Native.Storage;
using XenUsbDm.UnitTests.Backends.Disk;
using Xunit;

namespace XenUsbDm.UnitTests.Native;

/// <summary>Image files on a real file system, in a folder of their own.</summary>
[Collection(nameof(RunsAlone))]
public sealed class ImageFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("image-tests-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private sealed class Client : IBlockStoreClient
    {
        public List<BlockOperation> Done { get; } = [];

        public void Completed(BlockOperation operation) => Done.Add(operation);
    }

    private string Make(string name, long length, byte[]? content = null)
    {
        string path = Path.Combine(_folder, name);
        using FileStream file = File.Create(path);
        file.SetLength(length);
        if (content is not null) file.Write(content);
        return path;
    }

    private static ImageFile Open(string path, bool readOnly = false, Action? wake = null)
    {
        ImageOpenResult result = ImageFile.Open(path, readOnly, wake);
        Assert.Equal((ImageOpenError.None, string.Empty), (result.Error, result.Message));
        return result.File!;
    }

    private static void Refused(ImageOpenError error, string path, bool readOnly = false)
    {
        ImageOpenResult result = ImageFile.Open(path, readOnly);
        Assert.Null(result.File);
        Assert.Equal(error, result.Error);
        Assert.StartsWith(path + ": ", result.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', result.Message);
    }

    /// <summary>Runs one operation to its end. The wait is for an event, which comes or the test fails.</summary>
    private static BlockResult Run(ImageFile image, BlockOperationKind kind, long sector, long count, byte[]? data = null, byte[]? into = null)
    {
        var client = new Client();
        var operation = new BlockOperation(client, Math.Max(data?.Length ?? 0, into?.Length ?? 0)) { Kind = kind, Sector = sector, SectorCount = count };
        data?.CopyTo(operation.Buffer, 0);
        image.Start(operation);
        Finish(image, client, 1);
        into?.AsSpan().Clear();
        if (into is not null) operation.Buffer.AsSpan(0, into.Length).CopyTo(into);
        return operation.Result;
    }

    private static void Finish(ImageFile image, Client client, int count)
    {
        while (client.Done.Count < count)
        {
            Assert.True(image.Ready.WaitOne(30_000));
            image.Drain();
        }
    }

    [Fact]
    public void Missing_file_is_not_found()
    {
        Refused(ImageOpenError.NotFound, Path.Combine(_folder, "none.img"));
        Refused(ImageOpenError.NotFound, Path.Combine(Make("file.img", 512), "below.img"));
        Assert.Equal(ImageOpenError.NotFound, ImageFile.Open(string.Empty, false).Error);
        Assert.Equal(ImageOpenError.NotFound, ImageFile.Open("a\0b", false).Error);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Directory_is_refused(bool readOnly) => Refused(ImageOpenError.IsDirectory, _folder, readOnly);

    [Fact]
    public void Character_device_is_not_an_image() => Refused(ImageOpenError.NotAnImage, "/dev/null");

    [Fact]
    public void Empty_file_is_refused() => Refused(ImageOpenError.Empty, Make("empty.img", 0));

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(513)]
    public void Length_that_is_not_a_multiple_of_512_is_refused_and_unchanged(int length)
    {
        string path = Make("odd.img", length);
        Refused(ImageOpenError.NotSectors, path);
        Assert.Equal(length, new FileInfo(path).Length);
    }

    [Fact]
    public void Name_that_is_too_long_is_refused_with_the_systems_words() => Refused(ImageOpenError.Failed, Path.Combine(_folder, new string('x', 300)));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void File_without_permission_is_refused_unless_the_system_lets_the_process_do_all(bool readOnly)
    {
        string path = Make("disk.img", 4096);
        File.SetUnixFileMode(path, readOnly ? UnixFileMode.None : UnixFileMode.UserRead);
        if (!Environment.IsPrivilegedProcess) Refused(ImageOpenError.AccessDenied, path, readOnly);
        else Open(path, readOnly).Dispose();
    }

    [Fact]
    public void Second_writer_is_refused_until_the_first_has_gone()
    {
        string path = Make("disk.img", 4096);
        using (Open(path))
        {
            Refused(ImageOpenError.Locked, path);
            Refused(ImageOpenError.Locked, path, readOnly: true);
        }

        Open(path).Dispose();
    }

    [Fact]
    public void Readers_share_and_keep_writers_out()
    {
        string path = Make("disk.img", 4096);
        using ImageFile first = Open(path, readOnly: true);
        using ImageFile second = Open(path, readOnly: true);
        Refused(ImageOpenError.Locked, path);
        Assert.True(second.IsReadOnly);
        Assert.False(second.CanDiscard);
    }

    [Fact]
    public void Lock_of_a_dotnet_program_is_respected()
    {
        string path = Make("disk.img", 4096);
        using var other = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        Refused(ImageOpenError.Locked, path);
    }

    [Fact]
    public void Image_reads_and_writes_its_sectors()
    {
        string path = Make("disk.img", 1 << 20, BotHost.Pattern(1024));
        byte[] written = BotHost.Pattern(2048, 9);
        using (ImageFile image = Open(path))
        {
            byte[] read = new byte[512];
            Assert.Equal((2048L, "disk.img"), (image.SectorCount, image.Description));
            Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Read, 1, 1, into: read));
            Assert.Equal(BotHost.Pattern(1024)[512..], read);
            Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Write, 2044, 4, written));
            Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Flush, 0, 0));
            Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Flush, 0, 0));
            Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Write, 2045, 4, written));
            Assert.True(image.MapRead(0, 512).IsEmpty && image.MapWrite(0, 512).IsEmpty);
            string tree = InspectWriter.Dump(image);
            Assert.Contains("/operations 5\n", tree, StringComparison.Ordinal);
            Assert.Contains("/errors 1\n", tree, StringComparison.Ordinal);
        }

        byte[] all = File.ReadAllBytes(path);
        Assert.Equal(1 << 20, all.Length);
        Assert.Equal(written, all[^2048..]);
    }

    [Theory]
    [InlineData(BlockOperationKind.Discard)]
    [InlineData(BlockOperationKind.WriteZeroes)]
    public void Discarded_and_zeroed_sectors_read_as_zeroes_and_the_size_stays(BlockOperationKind kind)
    {
        string path = Make("disk.img", 1 << 20, BotHost.Pattern(1 << 20));
        using (ImageFile image = Open(path)) Assert.Equal(BlockResult.Success, Run(image, kind, 3, 500));
        byte[] all = File.ReadAllBytes(path);
        Assert.Equal([.. BotHost.Pattern(1 << 20)[..1536], .. new byte[500 * 512], .. BotHost.Pattern(1 << 20)[(503 * 512)..]], all);
    }

    [Fact]
    public void Read_only_image_refuses_writes()
    {
        string path = Make("disk.img", 4096);
        File.SetUnixFileMode(path, UnixFileMode.UserRead);
        using ImageFile image = Open(path, readOnly: true);
        Assert.Equal(BlockResult.WriteProtected, Run(image, BlockOperationKind.Write, 0, 1, new byte[512]));
        Assert.Equal(BlockResult.WriteProtected, Run(image, BlockOperationKind.Discard, 0, 1));
        Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Flush, 0, 0));
    }

    [Fact]
    public void File_cut_short_below_us_is_a_medium_error_with_sense_data()
    {
        string path = Make("disk.img", 1 << 20);
        using ImageFile image = Open(path);
        var host = new ImageHost(image);

        // Not with a FileStream, which respects our lock.
        using (var truncate = Process.Start("truncate", ["-s", "1000", path])) truncate.WaitForExit();
        Assert.Equal(1000, new FileInfo(path).Length);
        Assert.Equal("0 0/00/00", host.Read(0));
        Assert.Equal("1 3/11/00", host.Read(1));
        Assert.Equal("1 3/11/00", host.Read(100));
    }

    [Fact]
    public void File_cut_short_takes_no_writes_that_would_make_zeroes_of_what_was_lost()
    {
        string path = Make("disk.img", 1 << 20);
        using ImageFile image = Open(path);
        Assert.Equal("", image.Fault);
        Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Write, 100, 1, new byte[512]));

        using (var truncate = Process.Start("truncate", ["-s", "1024", path])) truncate.WaitForExit();

        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Flush, 0, 0));
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Write, 200, 1, new byte[512]));
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.WriteZeroes, 200, 1));
        Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Read, 1, 1, into: new byte[512]));
        Assert.Equal(1024, new FileInfo(path).Length);
        Assert.Equal($"zeroing of 512 bytes at byte 102400 failed: the image has become shorter than it was when it was attached; detach it, restore {path} from a copy, attach it again", image.Fault);
    }

    [Fact]
    public void Full_file_system_is_no_space_and_the_fault_says_so()
    {
        // /dev/full cannot be an image; a size limit of the process cannot be set from here: the wording is what is left.
        var fault = new ImageFault(BlockOperationKind.Write, 4096, 512, BlockResult.NoSpace, 28);

        Assert.Equal("write of 512 bytes at byte 4096 failed: No space left on device; free space on the file system of a.img, the guest can then write on", fault.Describe("a.img"));
        Assert.StartsWith("flush failed: Input/output error; look for errors", new ImageFault(BlockOperationKind.Flush, 0, 0, BlockResult.MediumError, 5).Describe("a.img"), StringComparison.Ordinal);
        Assert.Contains("make a.img writable", new ImageFault(BlockOperationKind.Discard, 0, 512, BlockResult.WriteProtected, 30).Describe("a.img"), StringComparison.Ordinal);
    }

    [Fact]
    public void Read_that_need_not_wait_ends_in_its_start_and_a_long_one_later_with_the_same_data()
    {
        byte[] content = BotHost.Pattern(1 << 20);
        using ImageFile image = Open(Make("disk.img", 1 << 20, content));
        var client = new Client();
        var brief = new BlockOperation(client, ImageFile.DirectReadBytes) { Kind = BlockOperationKind.Read, Sector = 3, SectorCount = ImageFile.DirectReadBytes / 512 };
        var lengthy = new BlockOperation(client, ImageFile.DirectReadBytes + 512) { Kind = BlockOperationKind.Read, Sector = 3, SectorCount = (ImageFile.DirectReadBytes / 512) + 1 };

        // The file was written a moment ago, so the system has it in memory.
        image.Start(brief);
        Assert.Equal([brief], client.Done);
        Assert.Equal(0, image.InFlight);
        image.Start(lengthy);
        Assert.Equal(1, image.InFlight);
        Finish(image, client, 2);

        Assert.Equal((BlockResult.Success, BlockResult.Success), (brief.Result, lengthy.Result));
        Assert.Equal(content.AsSpan(1536, brief.ByteCount), brief.Data);
        Assert.Equal(content.AsSpan(1536, lengthy.ByteCount), lengthy.Data);
        Assert.Contains("/direct-reads 1\n", InspectWriter.Dump(image), StringComparison.Ordinal);
    }

    [Fact]
    public void Read_of_what_is_not_in_memory_gives_the_same_data()
    {
        byte[] content = BotHost.Pattern(1 << 20);
        string path = Make("disk.img", 1 << 20, content);
        using ImageFile image = Open(path);

        // dd writes nothing back here and asks the system to forget the file's pages; a file system in memory keeps them.
        using (var forget = Process.Start("dd", ["if=/dev/null", $"of={path}", "conv=notrunc,fdatasync", "oflag=nocache", "count=0", "status=none"])) forget.WaitForExit();
        byte[] read = new byte[4096];
        Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Read, 8, 8, into: read));
        Assert.Equal(content[4096..8192], read);
    }

    [Fact]
    public void Read_over_the_end_of_a_file_cut_short_fails_in_its_start_or_later_alike()
    {
        string path = Make("disk.img", 1 << 20, BotHost.Pattern(1 << 20));
        using ImageFile image = Open(path);
        using (var truncate = Process.Start("truncate", ["-s", "8192", path])) truncate.WaitForExit();
        byte[] read = new byte[8192];
        Assert.Equal(BlockResult.Success, Run(image, BlockOperationKind.Read, 0, 16, into: read));
        Assert.Equal(BotHost.Pattern(8192), read);
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Read, 8, 16, into: read));
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Read, 16, 1, into: read));
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Read, 0, 129, into: new byte[129 * 512]));
        Assert.Equal(3, image.Errors);
        Assert.Equal(BlockResult.MediumError, Run(image, BlockOperationKind.Read, 2047, 2, into: new byte[1024]));
    }

    [Fact]
    public void Many_operations_come_back_in_order_and_one_too_many_is_refused()
    {
        string path = Make("disk.img", 1 << 20);
        int wakes = 0;
        using ImageFile image = Open(path, wake: () => Interlocked.Increment(ref wakes));
        var client = new Client();
        var operations = new BlockOperation[ImageFile.QueueCapacity];
        for (int i = 0; i < operations.Length; i++)
        {
            operations[i] = new BlockOperation(client, 512) { Kind = BlockOperationKind.Write, Sector = i, SectorCount = 1 };
            image.Start(operations[i]);
        }

        var more = new BlockOperation(client, 512) { Kind = BlockOperationKind.Read, SectorCount = 1 };
        image.Start(more);
        Assert.Equal((BlockResult.HardwareError, 1), (more.Result, client.Done.Count));
        Finish(image, client, 1 + operations.Length);
        Assert.Equal([more, .. operations], client.Done);
        Assert.InRange(wakes, 1, operations.Length + 1);
    }

    [Fact]
    public void Dispose_finishes_writes_and_refuses_what_comes_after()
    {
        string path = Make("disk.img", 1 << 20);
        var client = new Client();
        ImageFile image = Open(path);
        for (int i = 0; i < 32; i++)
        {
            var operation = new BlockOperation(client, 512) { Kind = BlockOperationKind.Write, Sector = i, SectorCount = 1 };
            BotHost.Pattern(512, i).CopyTo(operation.Buffer, 0);
            image.Start(operation);
        }

        image.Dispose();
        image.Dispose();
        byte[] all = File.ReadAllBytes(path);
        for (int i = 0; i < 32; i++) Assert.Equal(BotHost.Pattern(512, i), all[(i * 512)..((i + 1) * 512)]);
        var late = new BlockOperation(client, 512) { Kind = BlockOperationKind.Read, SectorCount = 1 };
        image.Start(late);
        Assert.Equal(BlockResult.HardwareError, late.Result);
    }

    [Fact]
    public void Close_returns_at_once_and_says_when_the_file_may_be_opened_again()
    {
        string path = Make("disk.img", 1 << 20);
        using var closed = new ManualResetEventSlim();
        ImageFile? image = null;
        image = Open(path, wake: () =>
        {
            if (image is { IsClosed: true }) closed.Set();
        });
        var operation = new BlockOperation(new Client(), 512) { Kind = BlockOperationKind.Write, SectorCount = 1 };
        BotHost.Pattern(512).CopyTo(operation.Buffer, 0);
        image.Start(operation);
        Assert.False(image.IsClosed);

        image.Close();
        image.Close();

        Assert.True(closed.Wait(30_000));
        Open(path).Dispose();
        Assert.Equal(BotHost.Pattern(512), File.ReadAllBytes(path)[..512]);
        image.Dispose();
    }

    [Fact]
    public void Disk_on_an_image_streams_a_mebibyte_each_way()
    {
        string path = Make("disk.img", 4 << 20);
        byte[] data = BotHost.Pattern(1 << 20);
        using (ImageFile image = Open(path))
        {
            var host = new ImageHost(image);
            Assert.Equal(0, host.Command("2a 08 00 00 00 08 00 08 00 00", 1 << 20, false, data));
            Assert.Equal(0, host.Command("28 00 00 00 00 08 00 08 00 00", 1 << 20, true));
            Assert.Equal(data, host.Bench.Memory.Bytes.Slice(BotHost.DataAt, 1 << 20));
        }

        Assert.Equal(data, File.ReadAllBytes(path)[4096..(4096 + (1 << 20))]);
    }
}
