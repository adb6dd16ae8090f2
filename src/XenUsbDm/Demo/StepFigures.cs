using System;
using System.Globalization;

namespace XenUsbDm.Demo;

/// <summary>What one step of the demo moved, by the wall clock of the host.</summary>
/// <param name="Name">The step.</param>
/// <param name="Bytes">Payload moved.</param>
/// <param name="Transfers">Transfers that the pipeline completed for it, command and status stages among them.</param>
/// <param name="Time">Time that the guest spent in them.</param>
/// <param name="Check">What was found when the data was compared.</param>
internal sealed record StepFigures(string Name, long Bytes, long Transfers, TimeSpan Time, string Check)
{
    /// <summary>One line: size, time, MB/s (10^6 bytes), transfers and microseconds of each.</summary>
    public override string ToString()
    {
        double seconds = Time.TotalSeconds;
        double rate = seconds > 0 ? Bytes / seconds / 1e6 : 0;
        double each = Transfers > 0 ? seconds * 1e6 / Transfers : 0;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{Name,-7} {Bytes / (double)(1 << 20),8:f1} MiB in {seconds,7:f3} s  {rate,8:f1} MB/s  {Transfers,7} transfers of {each,6:f1} us  {Check}");
    }
}
