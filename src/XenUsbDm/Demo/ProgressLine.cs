using System;
using System.Diagnostics;
using System.IO;

namespace XenUsbDm.Demo;

/// <summary>
/// A progress bar for one step: appears when the step has lasted a second, only on a terminal, and leaves no trace.
/// </summary>
/// <param name="output">The terminal.</param>
/// <param name="isTerminal">False: never writes anything.</param>
/// <param name="elapsed">Time since some fixed instant.</param>
internal sealed class ProgressLine(TextWriter output, bool isTerminal, Func<TimeSpan> elapsed)
{
    /// <summary>Steps that end sooner show nothing.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private const int Width = 40;

    // Ten times a second is as smooth as anybody sees.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private TimeSpan _started;
    private TimeSpan _next;
    private string _title = "";
    private bool _shown;

    /// <summary>A line on the wall clock.</summary>
    public static ProgressLine OnWallClock(TextWriter output, bool isTerminal)
    {
        long start = Stopwatch.GetTimestamp();
        return new ProgressLine(output, isTerminal, () => Stopwatch.GetElapsedTime(start));
    }

    /// <summary>A step begins.</summary>
    public void Start(string title)
    {
        End();
        _title = title;
        _started = elapsed();
        _next = _started + Patience;
    }

    /// <summary><paramref name="done"/> of <paramref name="total"/> bytes are done.</summary>
    public void Report(long done, long total)
    {
        if (!isTerminal) return;
        TimeSpan now = elapsed();
        if (now < _next || total <= 0) return;
        _next = now + Pause;
        _shown = true;
        int filled = (int)(Width * Math.Min(done, total) / total);
        output.Write($"\r{_title,-8}[{new string('#', filled)}{new string('.', Width - filled)}] {100 * Math.Min(done, total) / total,3} %  {(now - _started).TotalSeconds:f0} s");
        output.Flush();
    }

    /// <summary>The step is over: the line is wiped.</summary>
    public void End()
    {
        if (!_shown) return;
        _shown = false;
        output.Write("\r\u001b[K");
        output.Flush();
    }
}
