using System;
using System.Globalization;
using XenUsbDm.Native.LibUsb;

namespace XenUsbDm.Run;

/// <summary>
/// Waits, at the start of a process, for devices that the process of a domain that is gone is still giving back: after
/// <c>xl reboot</c> the guest's next domain begins while the one before is being cleared away.
/// </summary>
/// <param name="taken">Which process has what.</param>
/// <param name="domainIsThere">Whether a domain exists.</param>
/// <param name="pause">Waits for <see cref="PauseMilliseconds"/>.</param>
internal sealed class LeavingGuests(TakenDevices taken, Func<int, bool> domainIsThere, Action pause)
{
    /// <summary>One wait.</summary>
    public const int PauseMilliseconds = 100;

    /// <summary>Waits in all: 20 s, the longest that a process takes to give its devices back, and less than a toolstack waits for us.</summary>
    public const int MostPauses = 200;

    private int _pauses;

    /// <summary>
    /// Returns when nobody has the device at <paramref name="busPath"/>, or somebody who stays, or after
    /// <see cref="MostPauses"/>, which all devices share. <paramref name="say"/> is told once, who is waited for.
    /// </summary>
    public void Await(string busPath, Action<string> say)
    {
        for (bool said = false; _pauses < MostPauses; _pauses++)
        {
            if (taken.HolderOf(busPath) is not { } holder || Stays(holder)) return;
            if (!said) say($"{busPath} is being given back by {holder}; waiting for it, {MostPauses * PauseMilliseconds / 1000} s at most");
            said = true;
            pause();
        }
    }

    // Who has no name is just taking the device or has just given it back.
    private bool Stays(string holder) =>
        holder.StartsWith("pid ", StringComparison.Ordinal) && (DomainOf(holder) is not { } domain || domainIsThere(domain));

    /// <summary>The domain of a holder ("pid 1234, domain 5 (win11)"); null when it is none.</summary>
    public static int? DomainOf(string holder)
    {
        ArgumentNullException.ThrowIfNull(holder);
        const string Word = ", domain ";
        int at = holder.IndexOf(Word, StringComparison.Ordinal);
        if (at < 0) return null;
        ReadOnlySpan<char> rest = holder.AsSpan(at + Word.Length);
        int end = rest.IndexOf(' ');
        return int.TryParse(end < 0 ? rest : rest[..end], NumberStyles.None, CultureInfo.InvariantCulture, out int domain) ? domain : null;
    }
}
