using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Xunit;

namespace XenUsbDm.UnitTests.Architecture;

/// <summary>The rules of DESIGN and CONTRIBUTING that a compiler does not check.</summary>
public sealed partial class SourceRuleTests
{
    // A file has to be readable in one sitting: 400 lines is the aim, 600 the limit.
    private const int MaxLines = 600;

    private static readonly string[] PureProjects = ["Core", "Pipeline", "Frontends", "Backends"];

    private static readonly string[] EmptyNames = ["Common", "Util", "Utils", "Utility", "Utilities", "Helper", "Helpers", "Manager", "Managers", "Base", "Misc"];

    [Fact]
    public void Only_native_allows_unsafe_blocks()
    {
        IEnumerable<string> allowing = Checkout.Files("src", "*.csproj").Concat(Checkout.Files("tests", "*.csproj"))
            .Where(path => Checkout.Project(path).Descendants("AllowUnsafeBlocks").Any(element => element.Value.Trim() != "false"));

        Assert.Equal(["src/Native/Native.csproj"], allowing);
        Assert.Equal("false", Assert.Single(Checkout.Project("Directory.Build.props").Descendants("AllowUnsafeBlocks")).Value.Trim());
    }

    [Fact]
    public void Only_native_calls_native_code()
    {
        IEnumerable<string> callers = Checkout.Files("src", "*.cs").Concat(Checkout.Files("tests", "*.cs"))
            .Where(path => !path.StartsWith("src/Native/", StringComparison.Ordinal))
            .Where(path => NativeCall().IsMatch(Checkout.Read(path)));

        Assert.Empty(callers);
    }

    [Fact]
    public void Banned_symbols_are_applied_to_the_pure_projects()
    {
        XDocument props = Checkout.Project("Directory.Build.props");
        XElement pure = Assert.Single(props.Descendants("IsPureProject"));
        XElement items = Assert.Single(props.Descendants("ItemGroup"), group => group.Attribute("Condition")?.Value == "'$(IsPureProject)' == 'true'");

        Assert.All(PureProjects, name => Assert.Contains($"'$(MSBuildProjectName)' == '{name}'", pure.Attribute("Condition")!.Value));
        Assert.Equal("true", pure.Value);
        Assert.Contains(items.Elements("PackageReference"), item => item.Attribute("Include")?.Value == "Microsoft.CodeAnalysis.BannedApiAnalyzers");
        Assert.Contains(items.Elements("AdditionalFiles"), item => item.Attribute("Include")?.Value == "$(MSBuildThisFileDirectory)BannedSymbols.txt");
        Assert.Contains("dotnet_diagnostic.RS0030.severity = error", Checkout.Read(".editorconfig"));
        Assert.DoesNotContain(PureProjects, name => Checkout.Read($"src/{name}/{name}.csproj").Contains("RS0030", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("System.DateTime.UtcNow")]
    [InlineData("System.Diagnostics.Stopwatch")]
    [InlineData("System.TimeProvider")]
    [InlineData("System.Environment.TickCount64")]
    [InlineData("System.Environment.GetEnvironmentVariable")]
    [InlineData("System.Threading.Thread.#ctor")]
    [InlineData("System.Threading.Monitor")]
    [InlineData("System.Threading.Tasks.Task")]
    [InlineData("System.Random")]
    [InlineData("System.Guid.NewGuid")]
    [InlineData("System.Console")]
    [InlineData("System.IO.File")]
    [InlineData("System.IO.FileStream")]
    [InlineData("System.Net.Sockets.Socket")]
    public void Clock_thread_file_random_and_console_are_banned(string symbol) =>
        Assert.Matches($@"(?m)^[TPM]:{Regex.Escape(symbol)}[;(]", Checkout.Read("BannedSymbols.txt"));

    [Fact]
    public void Banned_symbols_are_not_excused_in_a_file() =>
        Assert.DoesNotContain(
            PureProjects.SelectMany(name => Checkout.Files($"src/{name}", "*.cs")),
            path => Checkout.Read(path).Contains("RS0030", StringComparison.Ordinal));

    [Fact]
    public void Source_files_are_readable_in_one_sitting() =>
        Assert.Empty(Checkout.Files("src", "*.cs")
            .Select(path => (path, Lines: Checkout.Read(path).AsSpan().Count('\n')))
            .Where(file => file.Lines > MaxLines)
            .Select(file => $"{file.path}: {file.Lines} lines"));

    [Fact]
    public void Nothing_is_left_unfinished() =>
        Assert.DoesNotContain(Checkout.Files("src", "*.cs"), path => Unfinished().IsMatch(Checkout.Read(path)));

    [Fact]
    public void Tests_are_not_switched_off() =>
        Assert.Empty(Checkout.Files("tests/UnitTests", "*.cs")
            .SelectMany(path => SkipReason().Matches(Checkout.Read(path)).Select(match => (path, Reason: match.Groups[1].Value)))
            .Where(skip => !skip.Reason.StartsWith("rig", StringComparison.Ordinal))
            .Select(skip => $"{skip.path}: {skip.Reason}"));

    [Fact]
    public void Names_say_what_is_provided()
    {
        IEnumerable<string> folders = Checkout.Files("src", "*.cs").Concat(Checkout.Files("tests", "*.cs"))
            .SelectMany(path => Path.GetDirectoryName(path)!.Split('/'))
            .Distinct();
        IEnumerable<string> types = AllTypes();

        Assert.DoesNotContain(folders, SaysNothing);
        Assert.DoesNotContain(types, SaysNothing);
    }

    [Fact]
    public void Source_files_use_file_scoped_namespaces_of_their_project() =>
        Assert.All(
            Checkout.Files("src", "*.cs").Where(path => Path.GetFileName(path) != "Program.cs" && !HasOnlyAssemblyAttributes(path)),
            path =>
            {
                string project = path.Split('/')[1];
                string expected = project == "XenUsbDm" ? "XenUsbDm" : $"XenUsbDm.{project}";
                Assert.Matches($@"(?m)^namespace {Regex.Escape(expected)}(\.\w+)*;", Checkout.Read(path));
            });

    [Fact]
    public void Contributing_names_every_folder_of_sources()
    {
        string contributing = Checkout.Read("CONTRIBUTING.md");
        IEnumerable<string> folders = Checkout.Files("src", "*.cs").Select(path => Path.GetDirectoryName(path)!).Distinct();

        Assert.All(folders, folder => Assert.True(
            contributing.Contains($"`{folder}/`", StringComparison.Ordinal), $"CONTRIBUTING.md does not say what `{folder}/` is for"));
    }

    private static bool HasOnlyAssemblyAttributes(string path) =>
        Checkout.Read(path) is string text && text.Contains("[assembly:", StringComparison.Ordinal) && !text.Contains('{', StringComparison.Ordinal);

    private static bool SaysNothing(string name) => EmptyNames.Any(empty => name.EndsWith(empty, StringComparison.Ordinal));

    private static IEnumerable<string> AllTypes() =>
        ReferenceGraphTests.AssemblyNames
            .Select(name => System.Reflection.Assembly.Load($"XenUsbDm.{name}"))
            .SelectMany(assembly => assembly.GetTypes())
            .Where(type => !type.Name.StartsWith('<'))
            .Select(type => type.Name.Split('`')[0]);

    [GeneratedRegex(@"\[\s*(LibraryImport|DllImport|UnmanagedCallersOnly)\b")]
    private static partial Regex NativeCall();

    [GeneratedRegex(@"NotImplementedException|\bTODO\b|\bFIXME\b|\bXXX\b")]
    private static partial Regex Unfinished();

    [GeneratedRegex("\\bSkip\\s*=\\s*\"([^\"]*)\"")]
    private static partial Regex SkipReason();
}
