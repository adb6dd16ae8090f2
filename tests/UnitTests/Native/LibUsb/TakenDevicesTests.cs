using System;
using System.IO;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Core.Usb;
using XenUsbDm.Native.LibUsb;
using Xunit;

namespace XenUsbDm.UnitTests.Native.LibUsb;

public sealed class TakenDevicesTests : IDisposable
{
    private readonly string _folder = Path.Combine(Directory.CreateTempSubdirectory("taken-").FullName, "run");

    private TakenDevices Taken => new(_folder);

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_folder)!, recursive: true);

    [Fact]
    public void Place_is_taken_once_and_the_second_is_told_who_has_it()
    {
        using TakenPlace first = Taken.TryTake("1-2.3", out _, out _)!;
        first.Write(new TakenRecord(1234, "domain 5", 1, 7, 1));

        Assert.Null(Taken.TryTake("1-2.3", out string error, out _));
        Assert.Equal("1-2.3 is in use by pid 1234, domain 5; detach it there first", error);
        Assert.Equal("pid 1234, domain 5", Taken.HolderOf("1-2.3"));
        Assert.Null(Taken.HolderOf("1-2"));
        using TakenPlace other = Taken.TryTake("1-2", out _, out _)!;
        Assert.NotNull(other);
    }

    [Fact]
    public void Place_that_was_given_back_is_free_and_no_leftover()
    {
        using (TakenPlace place = Taken.TryTake("1-2", out _, out _)!)
        {
            place.Write(new TakenRecord(1234, "domain 5", 1, 7, 1));
            place.Clear();
        }

        Assert.Null(Taken.HolderOf("1-2"));
        Assert.Empty(Taken.Leftovers());
    }

    [Fact]
    public void Record_of_a_process_that_is_gone_is_a_leftover_until_somebody_gives_it_back()
    {
        using (TakenPlace place = Taken.TryTake("1-2", out _, out _)!) place.Write(new TakenRecord(1234, "vfio-user a b.sock", 1, 7, 2));

        TakenPlace left = Assert.Single(Taken.Leftovers());
        Assert.Equal(new TakenRecord(1234, "vfio-user a b.sock", 1, 7, 2), left.Record);
        Assert.Empty(Taken.Leftovers()); // Taken by the one who gives it back.
        left.Clear();
        left.Dispose();
        Assert.Empty(Taken.Leftovers());
    }

    [Fact]
    public void Leftover_of_another_process_can_be_taken()
    {
        using (TakenPlace place = Taken.TryTake("1-2", out _, out _)!) place.Write(new TakenRecord(1234, "domain 5", 1, 7, 2));

        using TakenPlace? again = Taken.TryTake("1-2", out _, out _);
        Assert.NotNull(again);
    }

    [Theory]
    [InlineData(1, 7, 2)]
    [InlineData(1, 8, 1)] // Another plug.
    [InlineData(2, 7, 1)]
    public void Configuration_from_before_a_process_that_is_gone_is_the_one_to_be_restored(int bus, int number, byte expected)
    {
        var device = new PluggedDevice(new HostDeviceFacts { BusPath = "1-2", Speed = UsbSpeed.High }, bus, number, 1, "");

        Assert.Equal(expected, TakenRecord.Original(new TakenRecord(1234, "domain 5", 1, 7, 2), device));
        Assert.Equal(1, TakenRecord.Original(null, device));
    }

    [Theory]
    [InlineData("")]
    [InlineData("12 1 2\n")]
    [InlineData("x 1 2 3 domain 5\n")]
    [InlineData("1 1 2 300 domain 5\n")]
    [InlineData("-1 1 2 3 domain 5\n")]
    public void File_that_no_process_of_ours_wrote_says_nothing(string text) => Assert.Null(TakenRecord.Parse(text));

    [Fact]
    public void Folder_that_cannot_be_made_is_an_error_that_says_so()
    {
        File.WriteAllText(Path.Combine(Path.GetDirectoryName(_folder)!, "file"), "");

        Assert.Null(new TakenDevices(Path.Combine(Path.GetDirectoryName(_folder)!, "file", "below")).TryTake("1-2", out string error, out _));
        Assert.Contains("where devices in use are noted", error);
    }

    [Fact]
    public void No_folder_has_no_leftovers() => Assert.Empty(Taken.Leftovers());
}
