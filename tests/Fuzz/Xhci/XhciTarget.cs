using System;
using XenUsbDm.Fuzz.Engine;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>The whole road: an xHCI controller behind its PCI function, its pipeline and devices, driven by guest actions.</summary>
public sealed class XhciTarget : IFuzzTarget
{
    [ThreadStatic]
    private static FuzzRun? _run;

    [ThreadStatic]
    private static byte[]? _input;

    public static string Name => "xhci";

    /// <summary>Runs an input and returns the tree that it leaves.</summary>
    public static string Show(byte[] input)
    {
        ArgumentNullException.ThrowIfNull(input);
        var run = new FuzzRun(new FuzzMemory());
        run.Run(input, input.Length);
        return run.Machine.Inspect();
    }

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        FuzzRun run = _run ??= new FuzzRun(new FuzzMemory());
        byte[] buffer = _input ??= new byte[Mutator.MaxLength];
        int length = Math.Min(input.Length, buffer.Length);
        input[..length].CopyTo(buffer);
        ulong first = run.Run(buffer, length);
        if (!FuzzCase.Thorough) return;
        string tree = run.Machine.Inspect();
        run.CheckEnd();
        ulong second = run.Run(buffer, length);
        if (second != first) throw new OracleException("determinism", $"outputs hash to {first:x16} and {second:x16}");
        if (run.Machine.Inspect() != tree) throw new OracleException("determinism", "the inspect trees differ");
    }
}
