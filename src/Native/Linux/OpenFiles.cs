using System;
using System.Globalization;
using System.IO;

namespace XenUsbDm.Native.Linux;

/// <summary>Which process has a file open, from /proc. Best effort: other users' processes show to root alone.</summary>
public static class OpenFiles
{
    /// <summary>A process other than this one that has <paramref name="path"/> open ("pid 812 (qemu-system-x86)"); null when none was found.</summary>
    public static string? HolderOf(string path)
    {
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out int process) || process == Environment.ProcessId) continue;
            try
            {
                foreach (string file in Directory.EnumerateFileSystemEntries(Path.Combine(folder, "fd")))
                {
                    if (new FileInfo(file).LinkTarget == path) return $"pid {process} ({File.ReadAllText(Path.Combine(folder, "comm")).Trim()})";
                }
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                // It has ended, or is not ours to look at.
            }
        }

        return null;
    }
}
