namespace XenUsbDm.Native.Storage;

/// <summary>Why an image cannot be opened. All of these are the user's to put right.</summary>
public enum ImageOpenError
{
    /// <summary>It was opened.</summary>
    None,

    /// <summary>No such file, or a part of its path is not a directory.</summary>
    NotFound,

    /// <summary>The process may not read it, or not write it.</summary>
    AccessDenied,

    /// <summary>It is a directory.</summary>
    IsDirectory,

    /// <summary>It is neither a file nor a block device: a pipe, a terminal.</summary>
    NotAnImage,

    /// <summary>Its length is zero.</summary>
    Empty,

    /// <summary>Its length is not a multiple of 512.</summary>
    NotSectors,

    /// <summary>Another process (or disk) writes it, or it was to be written and another reads it.</summary>
    Locked,

    /// <summary>The system refused for another reason; the message has it.</summary>
    Failed,
}

/// <summary>What opening an image came to.</summary>
/// <param name="File">The image, or null.</param>
/// <param name="Error">Why not.</param>
/// <param name="Message">One line for the user that names the file and says what to do; empty on success.</param>
public readonly record struct ImageOpenResult(ImageFile? File, ImageOpenError Error, string Message);
