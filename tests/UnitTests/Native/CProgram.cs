using System;
using System.Diagnostics;
using System.IO;
using Xunit;

namespace XenUsbDm.UnitTests.Native;

/// <summary>A C program made of this project's constants: what gcc and the program itself say about them.</summary>
internal static class CProgram
{
    /// <summary>Compiles and runs it; status and errors of the first of the two that fails, (0, "") when none does.</summary>
    public static (int Status, string Errors) CompileAndRun(string text, params string[] options)
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            string source = Path.Combine(folder, "layout.c");
            string program = Path.Combine(folder, "layout");
            File.WriteAllText(source, text);
            (int Status, string Errors) compiled = Run("gcc", [.. options, "-o", program, source]);
            return compiled is (0, "") ? Run(program) : compiled;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static (int Status, string Errors) Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        string errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, errors);
    }
}

/// <summary>A test that needs a library's headers and a C compiler.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class FactWithHeadersAttribute : FactAttribute
{
    public FactWithHeadersAttribute(string header, string package)
    {
        if (!File.Exists(header) || !File.Exists("/usr/bin/gcc"))
            Skip = $"rig: {header} or gcc is not here; as root: apt-get install gcc libc6-dev {package}";
    }
}
