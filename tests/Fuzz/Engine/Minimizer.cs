using System;

namespace XenUsbDm.Fuzz.Engine;

/// <summary>Makes a failing input smaller: actions are left out and bytes zeroed as long as the same oracle still complains.</summary>
public static class Minimizer
{
    public static byte[] Minimize(FuzzSession session, byte[] input, string oracle)
    {
        ArgumentNullException.ThrowIfNull(session);
        ArgumentNullException.ThrowIfNull(input);
        byte[] best = input;
        for (bool smaller = true; smaller;)
        {
            smaller = false;
            for (int size = Math.Max(8, best.Length / 2 & ~7); size >= 8; size = size == 8 ? 0 : Math.Max(8, size / 2 & ~7))
            {
                for (int at = 0; at + size <= best.Length;)
                {
                    byte[] candidate = [.. best.AsSpan(0, at), .. best.AsSpan(at + size)];
                    if (Fails(session, candidate, oracle))
                    {
                        best = candidate;
                        smaller = true;
                    }
                    else
                    {
                        at += size;
                    }
                }
            }
        }

        for (int i = 0; i < best.Length; i++)
        {
            if (best[i] == 0) continue;
            byte[] candidate = [.. best];
            candidate[i] = 0;
            if (Fails(session, candidate, oracle)) best = candidate;
        }

        return best;
    }

    public static string OracleOf(Exception error) => error is OracleException oracle ? oracle.Oracle : error?.GetType().Name ?? "";

    private static bool Fails(FuzzSession session, byte[] input, string oracle) =>
        session.Replay(input) is { } error && OracleOf(error) == oracle;
}
