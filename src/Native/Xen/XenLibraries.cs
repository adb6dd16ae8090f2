using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;

namespace XenUsbDm.Native.Xen;

/// <summary>What a process needs of the system to serve a Xen domain.</summary>
public static class XenLibraries
{
    private static readonly (string File, string Package)[] Needed =
    [
        (LibXenDeviceModel.Name, "libxendevicemodel1"),
        (LibXenForeignMemory.Name, "libxenforeignmemory1"),
        (LibXenEventChannel.Name, "libxenevtchn1"),
        (LibXenToolCore.Name, "libxentoolcore1"),
        (LibXenStore.Name, "libxenstore4"),
    ];

    private static readonly string[] Devices = ["/dev/xen/privcmd", "/dev/xen/evtchn"];

    /// <summary>Everything that is missing, in one line for the operator; null when nothing is.</summary>
    public static string? FindMissing() => Describe(Devices, Needed);

    /// <summary>As <see cref="FindMissing"/>, for given devices and libraries.</summary>
    internal static string? Describe(IEnumerable<string> devices, IEnumerable<(string File, string Package)> libraries)
    {
        var missing = new List<string>();
        foreach (string device in devices)
        {
            if (!Path.Exists(device)) missing.Add(device);
        }

        string? answer = missing.Count == 0 ? null
            : $"this is not a Xen dom0: {string.Join(" and ", missing)} missing; boot the machine under Xen, or 'modprobe -a xen-privcmd xen-evtchn' in dom0";
        missing.Clear();
        var packages = new List<string>();
        foreach ((string file, string package) in libraries)
        {
            if (NativeLibrary.TryLoad(file, out _)) continue;
            missing.Add(file);
            packages.Add(package);
        }

        if (missing.Count == 0) return answer;
        string lacks = $"{string.Join(", ", missing)} missing; install Xen's libraries (Debian: apt install {string.Join(' ', packages)})";
        return answer is null ? lacks : $"{answer}. Also {lacks}";
    }
}
