using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using Xunit;

namespace XenUsbDm.UnitTests.Architecture;

/// <summary>DESIGN, layout: Core, then Pipeline, then Frontends, Backends, Trace and Debugger, then Hosts and Native, then the executable.</summary>
public sealed class ReferenceGraphTests
{
    // What each project may reference; a project that is not here fails the test until its place is decided.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Core"] = [],
        ["Pipeline"] = ["Core"],
        ["Frontends"] = ["Core", "Pipeline"],
        ["Backends"] = ["Core", "Pipeline"],
        ["Trace"] = ["Core", "Pipeline"],
        ["Debugger"] = ["Core", "Pipeline", "Frontends"],
        ["Hosts"] = ["Core", "Pipeline", "Frontends", "Backends", "Trace", "Debugger"],
        ["Native"] = ["Core", "Pipeline", "Backends", "Hosts"],
        ["TestKit"] = ["Core", "Pipeline", "Frontends", "Backends", "Hosts"],
        ["XenUsbDm"] = ["Core", "Pipeline", "Frontends", "Backends", "Trace", "Debugger", "Hosts", "Native", "TestKit"],
        ["Fuzz"] = ["Core", "Pipeline", "Frontends", "Backends", "Hosts", "TestKit"],
        ["Benchmarks"] = ["Core", "Pipeline", "Frontends", "Backends", "Hosts", "Native", "TestKit"],
        ["UsbRedir"] = [],
        ["UnitTests"] = ["Core", "Pipeline", "Frontends", "Backends", "Trace", "Debugger", "Hosts", "Native", "TestKit", "XenUsbDm", "Fuzz", "Benchmarks", "UsbRedir"],
    };

    public static TheoryData<string> Projects => [.. ProjectFiles()];

    public static TheoryData<string> SourceAssemblies => [.. AssemblyNames];

    internal static string[] AssemblyNames { get; } = ["Core", "Pipeline", "Frontends", "Backends", "Hosts", "Native", "TestKit"];

    [Theory]
    [MemberData(nameof(Projects))]
    public void Project_references_only_what_lies_below_it(string projectFile)
    {
        string name = Path.GetFileNameWithoutExtension(projectFile);
        Assert.True(Allowed.ContainsKey(name), $"{name} has no place in the reference graph; add it to this test and to CONTRIBUTING.md");

        IEnumerable<string> references = Checkout.Project(projectFile).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value.Replace('\\', '/')));

        Assert.Empty(references.Except(Allowed[name]));
    }

    [Theory]
    [MemberData(nameof(SourceAssemblies))]
    public void Assembly_uses_only_what_lies_below_it(string name)
    {
        IEnumerable<string> used = Assembly.Load($"XenUsbDm.{name}").GetReferencedAssemblies()
            .Select(reference => reference.Name!)
            .Where(reference => reference.StartsWith("XenUsbDm.", StringComparison.Ordinal))
            .Select(reference => reference["XenUsbDm.".Length..]);

        Assert.Empty(used.Except(Allowed[name]));
    }

    [Fact]
    public void Frontends_and_backends_do_not_know_each_other()
    {
        Assert.DoesNotContain("Backends", Allowed["Frontends"]);
        Assert.DoesNotContain("Frontends", Allowed["Backends"]);
        Assert.DoesNotContain("using XenUsbDm.Backends", string.Concat(Checkout.Files("src/Frontends", "*.cs").Select(Checkout.Read)));
        Assert.DoesNotContain("using XenUsbDm.Frontends", string.Concat(Checkout.Files("src/Backends", "*.cs").Select(Checkout.Read)));
    }

    [Fact]
    public void Only_the_executable_and_the_test_side_reference_the_test_kit()
    {
        IEnumerable<string> users = Checkout.Files("src", "*.csproj")
            .Where(path => Checkout.Read(path).Contains("TestKit.csproj", StringComparison.Ordinal));

        Assert.Equal(["src/XenUsbDm/XenUsbDm.csproj"], users);
    }

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        string solution = Checkout.Read("DeviceModel.sln").Replace('\\', '/');

        Assert.All(ProjectFiles(), project => Assert.Contains($"\"{project}\"", solution));
    }

    private static IEnumerable<string> ProjectFiles() => Checkout.Files("src", "*.csproj").Concat(Checkout.Files("tests", "*.csproj"));
}
