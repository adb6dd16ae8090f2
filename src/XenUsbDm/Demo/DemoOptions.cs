using XenUsbDm.Core.Usb;

namespace XenUsbDm.Demo;

/// <summary>A checked <c>demo</c> command.</summary>
/// <param name="Image">Image to copy the stick from, or null to make one.</param>
/// <param name="Mebibytes">Size of the image to make.</param>
/// <param name="Speed">Speed of the stick: full, high or super.</param>
internal sealed record DemoOptions(string? Image, int Mebibytes, UsbSpeed Speed);
