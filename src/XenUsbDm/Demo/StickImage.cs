using System;
using System.Buffers.Binary;
using System.IO;
using System.Security.Cryptography;
using XenUsbDm.CommandLine;

namespace XenUsbDm.Demo;

/// <summary>
/// The demo's stick: an image of its own in a temporary folder, made or copied, gone when it is disposed. The folder is
/// readable by this user alone. An image that the user names is only ever opened for reading.
/// </summary>
internal sealed class StickImage : IDisposable
{
    /// <summary>Bytes of a sector; an image has a whole number of them.</summary>
    public const int SectorBytes = 512;

    // Large enough that the copy runs at the disk's speed, small enough to stop at once.
    private const int ChunkBytes = 1 << 20;

    private StickImage(string folder, string path, long length, byte[] hash)
    {
        Folder = folder;
        Path = path;
        Length = length;
        Hash = hash;
    }

    /// <summary>The temporary folder.</summary>
    public string Folder { get; }

    /// <summary>The image in it.</summary>
    public string Path { get; }

    /// <summary>Bytes of the image, a multiple of <see cref="SectorBytes"/>.</summary>
    public long Length { get; }

    /// <summary>SHA-256 of the image as it was made or of the file it was copied from.</summary>
    public byte[] Hash { get; }

    /// <summary>Makes or copies the image. Null when that is not possible (<paramref name="status"/> and <paramref name="error"/> say why); then nothing is left on disk.</summary>
    /// <exception cref="OperationCanceledException">The user stopped the demo; nothing is left on disk.</exception>
    public static StickImage? TryCreate(DemoOptions options, Surroundings surroundings, out int status, out string error)
    {
        status = ExitStatus.Environment;
        error = "";
        long length = (long)options.Mebibytes << 20;
        if (options.Image is not null && !TryCheck(options.Image, out length, out status, out error)) return null;

        if (!Directory.Exists(surroundings.TemporaryFolder))
        {
            error = $"demo: there is no temporary folder {surroundings.TemporaryFolder}; set TMPDIR to one with {(length >> 20) + 1} MiB of room";
            return null;
        }

        string folder = "";
        try
        {
            folder = System.IO.Path.Combine(surroundings.TemporaryFolder, $"xen-usb-dm-demo-{Guid.NewGuid():n}");
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            long free = new DriveInfo(folder).AvailableFreeSpace;
            if (free < length)
            {
                Remove(folder);
                error = $"demo: {surroundings.TemporaryFolder} has {free >> 20} MiB free and the stick needs {length >> 20}; set TMPDIR to a folder with room{(options.Image is null ? " or choose a smaller --size" : "")}";
                return null;
            }

            string path = System.IO.Path.Combine(folder, "stick.img");
            byte[] hash = options.Image is null
                ? Make(path, length, surroundings)
                : Copy(options.Image, path, length, surroundings);
            return new StickImage(folder, path, length, hash);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            Remove(folder);
            status = ExitStatus.Environment;
            error = $"demo: cannot prepare the stick: {failure.Message.ReplaceLineEndings(" ")} Check that the image can be read and that TMPDIR names a folder with {(length >> 20) + 1} MiB of room";
            return null;
        }
        catch
        {
            Remove(folder);
            throw;
        }
    }

    /// <summary>Removes the folder with everything in it.</summary>
    public void Dispose() => Remove(Folder);

    /// <summary>Fills a buffer with the demo's pattern for the image's byte <paramref name="offset"/> (a multiple of 8) on.</summary>
    public static void Pattern(Span<byte> buffer, long offset, ulong seed)
    {
        for (int i = 0; i + 8 <= buffer.Length; i += 8)
        {
            // splitmix64: each word depends on its place, so that a sector in a wrong place shows.
            ulong word = unchecked(((ulong)(offset + i) * 0x9e3779b97f4a7c15) + seed);
            word = unchecked((word ^ (word >> 30)) * 0xbf58476d1ce4e5b9);
            BinaryPrimitives.WriteUInt64LittleEndian(buffer[i..], word ^ (word >> 27));
        }
    }

    private static bool TryCheck(string image, out long length, out int status, out string error)
    {
        length = 0;
        status = ExitStatus.Usage;
        error = "";
        try
        {
            if (Directory.Exists(image))
            {
                error = $"demo: '{image}' is a directory; name a raw image file";
                return false;
            }

            FileSystemInfo? target = File.ResolveLinkTarget(image, returnFinalTarget: true);
            var file = new FileInfo(target?.FullName ?? image);
            if (!file.Exists) throw new FileNotFoundException();

            // Pipes and devices have no length either; they are not opened, for that could block or have effects.
            length = file.Length;
            if (length == 0)
            {
                error = $"demo: '{image}' is empty or not a regular file; name a raw image file of at least {SectorBytes} bytes";
                return false;
            }

            if (length % SectorBytes != 0)
            {
                error = $"demo: '{image}' has {length} bytes, which is not a multiple of {SectorBytes}; name a raw image (convert others with 'qemu-img convert -O raw')";
                return false;
            }

            using FileStream readable = file.Open(FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            return true;
        }
        catch (Exception failure) when (failure is FileNotFoundException or DirectoryNotFoundException)
        {
            status = ExitStatus.Environment;
            error = $"demo: there is no image '{image}'; check the path, or leave --image out and the demo makes one";
            return false;
        }
        catch (UnauthorizedAccessException)
        {
            status = ExitStatus.Environment;
            error = $"demo: no permission to read '{image}'; run as a user who may, or 'chmod u+r' it";
            return false;
        }
        catch (IOException failure)
        {
            status = ExitStatus.Environment;
            error = $"demo: cannot read '{image}': {failure.Message.ReplaceLineEndings(" ")}";
            return false;
        }
    }

    private static byte[] Make(string path, long length, Surroundings surroundings)
    {
        using FileStream stream = CreateNew(path);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] chunk = new byte[ChunkBytes];
        for (long offset = 0; offset < length; offset += chunk.Length)
        {
            surroundings.Stop.ThrowIfCancellationRequested();
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(chunk.Length, length - offset));
            Pattern(part, offset, seed: 1);
            hash.AppendData(part);
            stream.Write(part);
        }

        return hash.GetHashAndReset();
    }

    private static byte[] Copy(string image, string path, long length, Surroundings surroundings)
    {
        using var source = new FileStream(image, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        using FileStream target = CreateNew(path);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] chunk = new byte[ChunkBytes];
        long copied = 0;
        while (copied < length)
        {
            surroundings.Stop.ThrowIfCancellationRequested();
            int read = source.Read(chunk, 0, (int)Math.Min(chunk.Length, length - copied));
            if (read == 0) throw new IOException($"'{image}' became shorter while it was copied.");
            hash.AppendData(chunk, 0, read);
            target.Write(chunk, 0, read);
            copied += read;
        }

        return hash.GetHashAndReset();
    }

    private static FileStream CreateNew(string path) => new(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);

    private static void Remove(string folder)
    {
        if (folder.Length > 0 && Directory.Exists(folder)) Directory.Delete(folder, recursive: true);
    }
}
