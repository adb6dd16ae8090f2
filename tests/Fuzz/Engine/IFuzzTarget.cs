using System;

namespace XenUsbDm.Fuzz.Engine;

/// <summary>
/// What a fuzzer runs: any bytes in, an <see cref="OracleException"/> (or any other exception) out when the model broke a
/// promise. Static and without state of its own, so that any engine can call it.
/// </summary>
public interface IFuzzTarget
{
    /// <summary>Name on the command line and folder under corpus/.</summary>
    static abstract string Name { get; }

    /// <summary>Runs one case.</summary>
    static abstract void Fuzz(ReadOnlySpan<byte> input);
}

/// <summary>How thoroughly a case is checked; the engine sets it for its thread before it calls a target.</summary>
public static class FuzzCase
{
    /// <summary>Features of the case that runs, or null when nobody wants them.</summary>
    [field: ThreadStatic]
    public static FeatureMap? Features { get; set; }

    /// <summary>Run twice and compare, look for leaks, render the inspect tree: replay, and one case in some while fuzzing.</summary>
    [field: ThreadStatic]
    public static bool Thorough { get; set; }

    /// <summary>Notes something that this case reached.</summary>
    public static void Hit(uint feature) => Features?.Hit(feature);

    /// <summary>Notes a combination that this case reached.</summary>
    public static void Hit(int domain, uint a, uint b = 0, uint c = 0) =>
        Features?.Hit(unchecked((((uint)domain * 0x9e3779b1u) + a * 0x85ebca6bu + b * 0xc2b2ae35u + c * 0x27d4eb2fu) * 0x2c1b3c6du));
}

/// <summary>An oracle found fault with the model.</summary>
public sealed class OracleException : Exception
{
    public OracleException()
    {
    }

    public OracleException(string message)
        : base(message)
    {
    }

    public OracleException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    /// <summary>A broken promise, by the oracle's name: exception, work, memory, mapped, determinism, leak, livelock, inspect.</summary>
    public OracleException(string oracle, string message)
        : base($"{oracle}: {message}") => Oracle = oracle;

    public string Oracle { get; } = "exception";
}
