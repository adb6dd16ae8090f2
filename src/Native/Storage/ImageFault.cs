using System.Globalization;
using System.Runtime.InteropServices;
using XenUsbDm.Backends.Disk;

namespace XenUsbDm.Native.Storage;

/// <summary>An operation on an image that failed.</summary>
/// <param name="Kind">What was to be done.</param>
/// <param name="Offset">First byte of it in the image.</param>
/// <param name="Length">Bytes of it.</param>
/// <param name="Result">What the device was told.</param>
/// <param name="Error">errno; 0 when the image ended before the data did.</param>
public readonly record struct ImageFault(BlockOperationKind Kind, long Offset, long Length, BlockResult Result, int Error)
{
    /// <summary>What happened and what to do, in one line.</summary>
    public string Describe(string path)
    {
        string what = Kind == BlockOperationKind.Flush
            ? "flush"
            : string.Create(CultureInfo.InvariantCulture, $"{Name} of {Length} bytes at byte {Offset}");
        string why = Error != 0 ? Marshal.GetPInvokeErrorMessage(Error) : Result == BlockResult.MediumError ? "the image has become shorter than it was when it was attached" : "refused";
        return $"{what} failed: {why}; {Advice(path)}";
    }

    private string Name => Kind switch
    {
        BlockOperationKind.Read => "read",
        BlockOperationKind.Write => "write",
        BlockOperationKind.Discard => "discard",
        _ => "zeroing",
    };

    private string Advice(string path) => Result switch
    {
        BlockResult.NoSpace => $"free space on the file system of {path}, the guest can then write on",
        BlockResult.WriteProtected => $"make {path} writable, or detach it and attach it with ,ro",
        _ when Error == 0 => $"detach it, restore {path} from a copy, attach it again",
        _ => $"look for errors of the disk below {path} in the system's log, save what can be read",
    };
}
