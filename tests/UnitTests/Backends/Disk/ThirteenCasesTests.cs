using XenUsbDm.Backends.Disk;
using XenUsbDm.Pipeline.Requests;
using Xunit;

namespace XenUsbDm.UnitTests.Backends.Disk;

/// <summary>Bulk-Only Transport 1.0 §6.7, one test per case.</summary>
public sealed class ThirteenCasesTests
{
    private const string TestUnitReady = "00 00 00 00 00 00";
    private const string Inquiry = "12 00 00 00 24 00";
    private const string ReadOne = "28 00 00 00 00 01 00 00 01 00";
    private const string WriteOne = "2a 00 00 00 00 01 00 00 01 00";

    private readonly MemoryBlockStore _store = new(4096);
    private readonly BotHost _host;

    public ThirteenCasesTests() => _host = new BotHost(_store);

    [Fact]
    public void Case1_host_and_device_expect_no_data_passes()
    {
        BotResult result = _host.Command(TestUnitReady, 0);
        Assert.Equal((0, 0u, RequestStatus.Success), (result.Csw, result.Residue, result.FirstStatus));
    }

    [Fact]
    public void Case2_host_expects_none_and_device_sends_is_a_phase_error()
    {
        BotResult result = _host.Command(ReadOne, 0);
        Assert.Equal((2, 0u, RequestStatus.Success), (result.Csw, result.Residue, result.FirstStatus));
    }

    [Fact]
    public void Case3_host_expects_none_and_device_receives_is_a_phase_error()
    {
        _store.Load(512, BotHost.Pattern(512));
        BotResult result = _host.Command(WriteOne, 0);
        Assert.Equal((2, 0u), (result.Csw, result.Residue));
        byte[] sector = new byte[512];
        _store.Save(512, sector);
        Assert.Equal(BotHost.Pattern(512), sector);
    }

    [Fact]
    public void Case4_host_receives_and_device_has_none_stalls_in()
    {
        BotResult result = _host.Command(TestUnitReady, 64);
        Assert.Equal((RequestStatus.Stall, 0, 0, 64u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
    }

    [Fact]
    public void Case5_host_receives_more_than_device_sends_ends_short_and_stalls()
    {
        BotResult result = _host.Command(Inquiry, 100);
        Assert.Equal((RequestStatus.Success, 36, RequestStatus.Stall), (result.DataStatus!.Value, result.DataLength, result.FirstStatus));
        Assert.Equal((0, 64u), (result.Csw, result.Residue));
    }

    [Fact]
    public void Case5_at_a_packet_border_stalls_the_request_itself()
    {
        BotResult result = _host.Command(ReadOne, 1024);
        Assert.Equal((RequestStatus.Stall, 512, RequestStatus.Success), (result.DataStatus!.Value, result.DataLength, result.FirstStatus));
        Assert.Equal((0, 512u), (result.Csw, result.Residue));
    }

    [Fact]
    public void Case6_host_receives_what_device_sends_passes()
    {
        _store.Load(512, BotHost.Pattern(512));
        BotResult result = _host.Command(ReadOne, 512);
        Assert.Equal((RequestStatus.Success, RequestStatus.Success, 0, 0u), (result.DataStatus!.Value, result.FirstStatus, result.Csw, result.Residue));
        Assert.Equal(BotHost.Pattern(512), result.Data);
    }

    [Fact]
    public void Case7_host_receives_less_than_device_sends_gets_its_part_and_a_phase_error()
    {
        _store.Load(512, BotHost.Pattern(512));
        BotResult result = _host.Command(ReadOne, 100);
        Assert.Equal((RequestStatus.Success, 100, 2, 0u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
        Assert.Equal(BotHost.Pattern(512)[..100], result.Data);
    }

    [Fact]
    public void Case8_host_receives_and_device_receives_stalls_in_with_a_phase_error()
    {
        BotResult result = _host.Command(WriteOne, 512);
        Assert.Equal((RequestStatus.Stall, 0, 2, 512u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
    }

    [Fact]
    public void Case9_host_sends_and_device_wants_none_stalls_out()
    {
        BotResult result = _host.Command(TestUnitReady, 0, new byte[64]);
        Assert.Equal((RequestStatus.Stall, 0, 0, 64u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
    }

    [Fact]
    public void Case10_host_sends_and_device_sends_stalls_out_with_a_phase_error()
    {
        BotResult result = _host.Command(ReadOne, 0, new byte[512]);
        Assert.Equal((RequestStatus.Stall, 0, 2, 512u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
    }

    [Fact]
    public void Case11_host_sends_more_than_device_wants_stalls_out_after_it()
    {
        BotResult result = _host.Command(WriteOne, 0, BotHost.Pattern(1536));
        Assert.Equal((RequestStatus.Stall, 512, 0, 1024u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
        byte[] sectors = new byte[1024];
        _store.Save(512, sectors);
        Assert.Equal([.. BotHost.Pattern(1536)[..512], .. new byte[512]], sectors);
    }

    [Fact]
    public void Case12_host_sends_what_device_wants_passes()
    {
        BotResult result = _host.Command(WriteOne, 0, BotHost.Pattern(512));
        Assert.Equal((RequestStatus.Success, 512, 0, 0u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
        byte[] sector = new byte[512];
        _store.Save(512, sector);
        Assert.Equal(BotHost.Pattern(512), sector);
    }

    [Fact]
    public void Case13_host_sends_less_than_device_wants_stalls_out_with_a_phase_error_and_stores_nothing()
    {
        BotResult result = _host.Command(WriteOne, 0, BotHost.Pattern(100));
        Assert.Equal((RequestStatus.Stall, 0, 2, 100u), (result.DataStatus!.Value, result.DataLength, result.Csw, result.Residue));
        byte[] sector = new byte[512];
        _store.Save(512, sector);
        Assert.Equal(new byte[512], sector);
    }

    [Fact]
    public void After_a_phase_error_reset_recovery_leads_to_the_next_command()
    {
        UsbRequest data = Start(WriteOne, 512, true);
        Assert.Equal(RequestStatus.Stall, _host.Bench.StatusOf(data));
        _host.ResetRecovery();
        _host.Bench.Forget();
        Assert.Equal(0, _host.Command(TestUnitReady, 0).Csw);
    }

    private UsbRequest Start(string command, int length, bool isIn)
    {
        _host.SendWrapper(_host.Wrapper(BotHost.Hex(command), (uint)length, isIn));
        return _host.Transfer(isIn, length);
    }
}
