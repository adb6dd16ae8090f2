using System;
using System.IO;
using System.Linq;
using System.Text;
using XenUsbDm.Frontends.Pci;
using Xunit;

namespace XenUsbDm.UnitTests.Frontends.Pci;

/// <summary>firmware-tables/ is in step with the code. A failing test prints the file as it should be.</summary>
public sealed class FirmwareTableTests
{
    public static TheoryData<string> Profiles()
    {
        var data = new TheoryData<string>();
        foreach (PciIdentity identity in PciIdentity.All) data.Add(identity.Name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Profiles))]
    public void ConfigurationSpace_afterReset_isAsInFirmwareTables(string profile)
    {
        string path = Locate("pci", profile + ".txt");
        string expected = File.Exists(path) ? File.ReadAllText(path) : string.Empty;
        PciIdentity identity = PciIdentity.Find(profile)!;

        string actual = Dump(new PciBench(identity).Pci);

        Assert.True(expected == actual, $"firmware-tables/pci/{profile}.txt should be:\n{actual}");
    }

    [Fact]
    public void PciFolder_holdsNoFileWithoutAProfile()
    {
        string[] names = [.. Directory.GetFiles(Locate("pci")).Select(Path.GetFileNameWithoutExtension).Order()!];

        Assert.Equal(PciIdentity.All.Select(identity => identity.Name).Order(), names);
    }

    [Fact]
    public void AcpiTable_built_hasTheHeaderLengthAndChecksumThatFirmwareChecks()
    {
        byte[] table = File.ReadAllBytes(Locate("acpi", "xhci.aml"));

        Assert.Equal("SSDT", Encoding.ASCII.GetString(table, 0, 4));
        Assert.Equal(table.Length, BitConverter.ToInt32(table, 4));
        Assert.Equal(0, table.Sum(b => (int)b) & 0xff);
        Assert.Equal(2, table[8]);
    }

    [Fact]
    public void AcpiTable_built_namesEveryPortOfTheDefaultController()
    {
        string table = Encoding.Latin1.GetString(File.ReadAllBytes(Locate("acpi", "xhci.aml")));
        var options = new XenUsbDm.Frontends.Xhci.XhciOptions();

        for (int port = 1; port <= options.RootPorts; port++)
        {
            string name = port <= options.Usb2Ports ? $"HS{port:d2}" : $"SS{port - options.Usb2Ports:d2}";
            Assert.Contains(name, table, StringComparison.Ordinal);
        }

        Assert.Equal(options.RootPorts, table.Split("_UPC").Length - 1);
        Assert.Equal(options.RootPorts, table.Split("_PLD").Length - 1);
    }

    private static string Dump(PciFunction pci)
    {
        var text = new StringBuilder();
        for (int row = 0; row < 256; row += 16)
        {
            text.Append($"{row:x2}:");
            for (int column = 0; column < 16; column++) text.Append($" {pci.ReadConfig(row + column, 1):x2}");
            text.Append('\n');
        }

        return text.ToString();
    }

    private static string Locate(params string[] parts)
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "DeviceModel.sln"))) folder = folder.Parent;
        Assert.NotNull(folder);
        return Path.Combine([folder.FullName, "firmware-tables", .. parts]);
    }
}
