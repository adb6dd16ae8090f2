using System;
using System.Collections.Generic;
using System.IO;
using XenUsbDm.Native.LibUsb;
using XenUsbDm.Run;
using Xunit;

namespace XenUsbDm.UnitTests.Run;

/// <summary>After xl reboot: the next domain's process starts while the last one's still has the device.</summary>
public sealed class LeavingGuestsTests : IDisposable
{
    private const int GoneDomain = 5;

    private readonly string _folder = Path.Combine(Directory.CreateTempSubdirectory("leaving-").FullName, "run");
    private readonly List<string> _said = [];
    private readonly TakenDevices _taken;
    private int _pauses;

    public LeavingGuestsTests() => _taken = new TakenDevices(_folder);

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_folder)!, recursive: true);

    [Fact]
    public void Device_that_a_gone_domain_gives_back_is_waited_for()
    {
        TakenPlace place = Take("domain 5 (win11)");

        Await(() =>
        {
            if (_pauses == 3) place.Dispose();
        });

        Assert.Equal(3, _pauses);
        Assert.Equal("1-2 is being given back by pid 1234, domain 5 (win11); waiting for it, 20 s at most", Assert.Single(_said));
        Assert.NotNull(_taken.TryTake("1-2", out _, out _));
    }

    [Fact]
    public void Device_that_is_just_changing_hands_is_waited_for()
    {
        TakenPlace place = _taken.TryTake("1-2", out _, out _)!;

        Await(place.Dispose);

        Assert.Equal(1, _pauses);
    }

    [Fact]
    public void Device_that_is_never_given_back_is_waited_for_a_bounded_time()
    {
        using TakenPlace place = Take("domain 5");
        LeavingGuests leaving = New(static () => { });

        leaving.Await("1-2", _said.Add);
        Assert.Equal(LeavingGuests.MostPauses, _pauses);
        Assert.Single(_said);

        // However many devices there are.
        leaving.Await("1-2", _said.Add);
        Assert.Equal(LeavingGuests.MostPauses, _pauses);
    }

    [Theory]
    [InlineData("domain 6 (other)")]
    [InlineData("vfio-user a.sock")]
    public void Device_of_a_guest_that_stays_is_not_waited_for(string guest)
    {
        using TakenPlace place = Take(guest);

        Await(static () => { });

        Assert.Equal(0, _pauses);
        Assert.Empty(_said);
    }

    [Fact]
    public void Device_that_nobody_has_is_not_waited_for()
    {
        Await(static () => { });

        Assert.Equal(0, _pauses);
    }

    [Theory]
    [InlineData("pid 1, domain 5", 5)]
    [InlineData("pid 1, domain 17 (a, domain 3)", 17)]
    [InlineData("pid 1, domain x", null)]
    [InlineData("pid 1, vfio-user x", null)]
    [InlineData("another process", null)]
    public void Domain_is_read_from_the_holders_name(string holder, int? domain) => Assert.Equal(domain, LeavingGuests.DomainOf(holder));

    private TakenPlace Take(string guest)
    {
        TakenPlace place = _taken.TryTake("1-2", out _, out _)!;
        place.Write(new TakenRecord(1234, guest, 1, 7, 1));
        return place;
    }

    private void Await(Action pause) => New(pause).Await("1-2", _said.Add);

    private LeavingGuests New(Action pause) => new(_taken, static domain => domain != GoneDomain, () =>
    {
        _pauses++;
        pause();
    });
}
