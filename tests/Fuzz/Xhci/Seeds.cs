using System;
using System.Collections.Generic;

namespace XenUsbDm.Fuzz.Xhci;

/// <summary>
/// Named scenarios that the corpus starts from: every known bug of other controllers (QEMU.md 2a and 2b, PEERS.md 5) and a
/// way into every part of the model. `--write-seeds` writes them to corpus/xhci/.
/// </summary>
public static class Seeds
{
    private const byte Zero = 0;
    private const byte Disk = 1;
    private const byte Keyboard = 2;
    private const byte Fake = 3;
    private const byte Low = 0 << 2;
    private const byte Full = 1 << 2;
    private const byte High = 2 << 2;
    private const byte Super = 3 << 2;

    // A fake device that holds what it gets, and one that answers at once.
    private const byte Holds = 2;

    // FuzzRun.Dci: bit 6 names a DCI as it is.
    private const byte BulkOut = 0x40 | 2;
    private const byte BulkIn = 0x40 | 3;
    private const byte IsochOut = 0x40 | 4;
    private const byte IsochIn = 0x40 | 5;
    private const byte InterruptIn = 0x40 | 7;
    private const byte Control = 0x40 | 1;

    private static readonly byte[] Operations =
        [0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x23, 0x25, 0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42, 0x5a, 0x88, 0x8a, 0x91, 0x93, 0x9e, 0x9f, 0xa0, 0xa8, 0xaa, 0xff];

    public static IEnumerable<(string Name, byte[] Input)> All()
    {
        foreach ((string name, List<byte> input) in Scenarios()) yield return (name, input.ToArray());
    }

    private static List<byte> S() => [];

    private static List<byte> A(this List<byte> input, FuzzAction action, params ReadOnlySpan<byte> parameters)
    {
        input.Add((byte)action);
        foreach (byte b in parameters) input.Add(b);
        while (input.Count % 8 != 0) input.Add(0);
        return input;
    }

    private static List<byte> Up(byte kind, byte how = 0, byte start = 0, byte attach = 0) => S().A(FuzzAction.BringUp, 0, kind, how, start, attach);

    // A disk in its alternate setting 1; at SuperSpeed with 32 streams.
    private static List<byte> Uas(byte speed, byte store = 0) => Up((byte)(Disk | speed), (byte)(speed == Super ? 0x22 : 2), 0, (byte)(0x10 | store));

    private static List<byte> Up(this List<byte> input, int connector, byte kind, byte how = 0) => input.A(FuzzAction.BringUp, (byte)connector, kind, how);

    private static IEnumerable<(string Name, List<byte> Input)> Scenarios()
    {
        foreach ((string name, byte kind) in new (string, byte)[] { ("zero", Zero), ("disk", Disk), ("keyboard", Keyboard), ("fake", Fake) })
        {
            foreach ((string speedName, byte speed) in new (string, byte)[] { ("low", Low), ("full", Full), ("high", High), ("super", Super) })
                yield return ($"enumerate-{name}-{speedName}", Up((byte)(kind | speed)).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1).A(FuzzAction.BulkTransfer, 0, BulkOut, 0, 2, 1).A(FuzzAction.AdvanceTime, 2, 20, 31));
        }

        // Interrupts: MSI, INTx, none, moderated, several segments.
        yield return ("start-msi", Up(Zero | High, 0, 1).A(FuzzAction.ManyTransfers, 0, BulkIn, 15, 6).A(FuzzAction.Step, 15).A(FuzzAction.AdvanceTime, 2, 10, 31));
        yield return ("start-intx", Up(Zero | High, 0, 2).A(FuzzAction.ManyTransfers, 0, BulkIn, 15, 6).A(FuzzAction.Step, 15).A(FuzzAction.InterestingWrite, 11).A(FuzzAction.InterestingWrite, 35));
        yield return ("start-four-segments-moderated", Up(Zero | High, 0, 0x4c).A(FuzzAction.ManyTransfers, 0, BulkIn, 15, 6).A(FuzzAction.AdvanceTime, 2, 10, 31));
        yield return ("start-high-half-first", Up(Zero | High, 0, 0x10));
        yield return ("msix-masked-then-sent", Up(Zero | High).A(FuzzAction.MsiXEntry, 1, 7, 32).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0).A(FuzzAction.Step, 4).A(FuzzAction.MsiXEntry, 1, 5).A(FuzzAction.RegisterRead, 0, 0x38, 7));

        // CVE-2016-8576, CVE-2020-14394: links without end, alone, in pairs, in a TD, on the command ring.
        yield return ("cve-2016-8576-self-link", Up(Zero | High).A(FuzzAction.Link, 2, 0, 0, 1).A(FuzzAction.Step, 15));
        yield return ("cve-2016-8576-self-link-command-ring", Up(Zero | High).A(FuzzAction.Link, 0, 0, 0, 0x81).A(FuzzAction.Step, 15));
        yield return ("link-loop-of-two", Up(Zero | High).A(FuzzAction.Link, 2, 2, 1, 1, 1).A(FuzzAction.Link, 2, 1, 0, 0).A(FuzzAction.Step, 15));
        yield return ("cve-2020-14394-chain-without-end", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 7, 4, 0, 0).A(FuzzAction.BulkTransfer, 0, BulkIn, 1, 7, 4).A(FuzzAction.Link, 2, 1, 0, 0x10).A(FuzzAction.Step, 15));
        yield return ("link-toggle-self", Up(Zero | High).A(FuzzAction.Link, 2, 0, 0, 3).A(FuzzAction.Step, 15).A(FuzzAction.Step, 15));
        yield return ("link-to-hole", Up(Zero | High).A(FuzzAction.Link, 2, 20 << 2 | 3, 0, 0).A(FuzzAction.Step, 3));
        yield return ("link-to-own-registers", Up(Zero | High).A(FuzzAction.Link, 2, (18 << 2 | 3) & 0xff, 0, 0).A(FuzzAction.Step, 3));
        yield return ("zero-length-trbs-without-end", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkOut, 1, 7, 4).A(FuzzAction.BulkTransfer, 0, BulkOut, 1, 6, 4).A(FuzzAction.Link, 1, 1, 0, 0x12).A(FuzzAction.Step, 15));

        // CVE-2017-5973, LP 1859378: control TDs in odd orders and pieces.
        yield return ("cve-2017-5973-setup-without-status", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 0, 0, 0x10).A(FuzzAction.StandardRequest, 0, 0, 0, 0x10).A(FuzzAction.StandardRequest, 0, 0));
        yield return ("lp-1859378-status-comes-late", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 0, 0, 2).A(FuzzAction.StandardRequest, 0, 2, 0, 6));
        yield return ("control-direction-mismatch", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 0, 0, 0x40).A(FuzzAction.StandardRequest, 0, 0, 0, 0x20));
        yield return ("control-wlength-above-data-158", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 2, 2).A(FuzzAction.StandardRequest, 0, 50, 3, 0));
        yield return ("control-wlength-below-data", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 0, 0x27).A(FuzzAction.StandardRequest, 0, 51, 0x27));
        yield return ("cve-2020-14364-length-64k", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 52, 0).A(FuzzAction.StandardRequest, 0, 53, 0).A(FuzzAction.StandardRequest, 0, 58, 3));
        yield return ("control-event-data", Up(Zero | High).A(FuzzAction.StandardRequest, 0, 0, 0, 0x88).A(FuzzAction.StandardRequest, 0, 0, 0, 0x8c));
        yield return ("normal-trb-on-control-ring", Up(Zero | High).A(FuzzAction.RawTrb, 0, 1, 0, 0, 0x20, 0, 0).A(FuzzAction.StandardRequest, 0, 0));
        for (byte request = 0; request < 61; request += 4)
            yield return ($"standard-requests-{request:d2}", Up((byte)((request & 4) == 0 ? Zero | High : Disk | Super)).A(FuzzAction.StandardRequest, 0, request).A(FuzzAction.StandardRequest, 0, (byte)(request + 1)).A(FuzzAction.StandardRequest, 0, (byte)(request + 2)).A(FuzzAction.StandardRequest, 0, (byte)(request + 3)));

        // CVE-2017-9375, CVE-2021-3527, CVE-2020-25084: completions that start transfers, large and unmapped data.
        yield return ("cve-2017-9375-completion-inside-submit", Up(Fake | High).A(FuzzAction.ManyTransfers, 0, BulkIn, 15, 0).A(FuzzAction.ManyTransfers, 0, BulkOut, 15, 0).A(FuzzAction.Step, 15));
        yield return ("cve-2020-25084-buffer-in-hole", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 2, 1, 20).A(FuzzAction.BulkTransfer, 0, BulkOut, 0, 2, 1, 20).A(FuzzAction.EndpointCommand, 0, 0, BulkIn));
        yield return ("cve-2021-3750-buffer-in-own-registers", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 8, 0, 1, 18).A(FuzzAction.BulkTransfer, 0, BulkIn, 8, 0, 1, 19).A(FuzzAction.BulkTransfer, 0, BulkIn, 2, 0, 1, 19));
        yield return ("oss-fuzz-27796-device-context-in-registers", Up(Zero | High).A(FuzzAction.PokeStructure, 7, 2, 0, 9, 18).A(FuzzAction.EnableAndAddress, 0, 0, 2));
        yield return ("lp-1905444-msix-address-is-own-iman", Up(Zero | High).A(FuzzAction.MsiXEntry, 0, 9, 18, 2).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0).A(FuzzAction.Step, 8));
        yield return ("cve-2021-3527-megabytes", Up(Zero | Super).A(FuzzAction.BulkTransfer, 0, BulkIn, 9, 7, 4).A(FuzzAction.BulkTransfer, 0, BulkIn, 9, 7, 0).A(FuzzAction.Step, 15));
        yield return ("buffer-ends-with-memory", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1, 13).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1, 17));
        yield return ("buffer-across-4-gib", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1, 15).A(FuzzAction.BulkTransfer, 0, BulkOut, 8, 0, 1, 15));
        yield return ("buffer-wraps-address-space", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1, 21));
        yield return ("buffer-in-scattered-runs", Up(Zero | High).A(FuzzAction.Protect, 0, 0, 2).A(FuzzAction.BulkTransfer, 0, BulkIn, 8, 3, 1).A(FuzzAction.BulkTransfer, 0, BulkOut, 8, 3, 1));
        yield return ("page-taken-away-in-mid-transfer", Up(Fake | High, 0, 0, Holds).A(FuzzAction.BulkTransfer, 0, BulkIn, 8, 1, 1).A(FuzzAction.Protect, 0x30, 2).A(FuzzAction.FakeDevice, 0, 0).A(FuzzAction.Step, 4));

        // Index errors: LP 1902112, oss-fuzz 26693, 0a076730ad, bhyve CVE-2024-41721, CVE-2024-32668, SA-19:16.
        yield return ("lp-1902112-runtime-below-0x20", Up(Zero | High).A(FuzzAction.RegisterWrite, 0x04, 0x10, 3, 4).A(FuzzAction.RegisterWrite, 0x1c, 0x10, 7, 4).A(FuzzAction.RegisterRead, 0x10, 0x10, 7));
        yield return ("oss-fuzz-26693-runtime-beyond-interrupters", Up(Zero | High).A(FuzzAction.RegisterWrite, 0xa0, 0x10, 7, 4).A(FuzzAction.RegisterWrite, 0xf8, 0x1f, 7, 4));
        yield return ("doorbell-target-0", Up(Zero | High).A(FuzzAction.Doorbell, 1, 0).A(FuzzAction.Doorbell, 1, 32).A(FuzzAction.Doorbell, 1, 255));
        yield return ("doorbell-beyond-slots", Up(Zero | High).A(FuzzAction.Doorbell, 9, 1).A(FuzzAction.RegisterWrite, 0xfc, 0x23, 3, 4).A(FuzzAction.Doorbell, 8, 3));
        yield return ("cve-2024-41721-slot-0-and-255", Up(Zero | High).A(FuzzAction.RawCommand, 11, 0).A(FuzzAction.RawCommand, 10, 11).A(FuzzAction.RawCommand, 12, 9).A(FuzzAction.RawCommand, 14, 1, 0).A(FuzzAction.RawCommand, 15, 1, 31));
        yield return ("unaligned-and-odd-sizes", Up(Zero | High).A(FuzzAction.RegisterRead, 2, 0, 1).A(FuzzAction.RegisterRead, 1, 0, 2).A(FuzzAction.RegisterRead, 0x3d, 0x10, 6).A(FuzzAction.RegisterWrite, 0x5b, 0, 6, 4).A(FuzzAction.RegisterWrite, 0xfe, 0x2f, 7, 4));

        // 22abfc96af: endpoints whose dequeue pointer is 0; interval of 255; reserved types.
        yield return ("dequeue-pointer-0", Up(Zero | High).A(FuzzAction.SetDequeue, 0, BulkIn, 30 << 3 | 5).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.SetDequeue, 0, BulkIn, 0xf5, 0).A(FuzzAction.Doorbell, 1, 3));
        yield return ("interval-255-shift", Up(Zero | High, 2).A(FuzzAction.ConfigureEndpoints, 0, 0x58, 0, 0, 0, 0, 0xf9).A(FuzzAction.IsochTransfer, 0, IsochIn, 3, 0));
        yield return ("endpoint-fields-out-of-range", Up(Zero | High).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, 0, 0, 0x82).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, 0, 0, 0x03).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, 0, 0, 0x0c).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, 0, 0, 0x0d));
        for (byte dword = 0; dword < 40; dword += 5)
            yield return ($"configure-mutated-{dword:d2}", Up(Zero | High).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, dword, 0xff).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, (byte)(dword + 1), 0x81).A(FuzzAction.ConfigureEndpoints, 0, 0x48, 0, 0, (byte)(dword + 2), 0x0f));

        // Streams: virtfuzz xhci-00, GitLab 273, 274, 1192, 145cdaba0f.
        yield return ("gl-1192-secondary-streams", Up(Fake | Super, 0x10).A(FuzzAction.ConfigureEndpoints, 0, 0x4f, 0xfc, 0x82).A(FuzzAction.StreamTransfer, 0, 0, 9, 0, 0).A(FuzzAction.StreamTransfer, 0, 1, 0x21, 0, 0x80, 0x82));
        yield return ("gl-273-stream-id-0", Up(Fake | Super, 0x10).A(FuzzAction.StreamTransfer, 0, 1, 0, 0, 0).A(FuzzAction.StreamTransfer, 0, 1, 1, 0, 0).A(FuzzAction.StreamTransfer, 0, 1, 2, 0, 3));
        yield return ("gl-274-different-stream-counts", Up(Fake | Super, 0x10).A(FuzzAction.ConfigureEndpoints, 0, 0x4f, 0xfd, 3).A(FuzzAction.ConfigureEndpoints, 0, 0x4f, 0xfe, 1).A(FuzzAction.StreamTransfer, 0, 0, 3, 0, 0));
        yield return ("stream-id-out-of-range", Up(Fake | Super, 0x10).A(FuzzAction.StreamTransfer, 0, 1, 0xff, 0xff, 0, 0x80).A(FuzzAction.StreamTransfer, 0, 1, 64, 0, 0, 0x80));
        yield return ("stream-set-dequeue", Up(Fake | Super, 0x10, 0, Holds).A(FuzzAction.StreamTransfer, 0, 1, 1, 0, 0).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 3).A(FuzzAction.SetDequeue, 0, BulkIn, 0x83, 0, 1, 0x81).A(FuzzAction.Step, 8));
        yield return ("stream-context-rewritten", Up(Fake | Super, 0x10).A(FuzzAction.PokeStructure, 11, 1, 0, 9, 20).A(FuzzAction.StreamTransfer, 0, 1, 1, 0, 0).A(FuzzAction.PokeStructure, 11, 2, 0, 4).A(FuzzAction.StreamTransfer, 0, 1, 2, 0, 0));
        yield return ("streams-many-active", Up(Fake | Super, 0x18, 0, Holds).A(FuzzAction.StreamTransfer, 0, 1, 1, 0, 0).A(FuzzAction.StreamTransfer, 0, 1, 2, 0, 0).A(FuzzAction.StreamTransfer, 0, 1, 3, 0, 0).A(FuzzAction.StreamTransfer, 0, 0, 4, 0, 0).A(FuzzAction.FakeDevice, 0, 0, 2, 0).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 7));

        // Isochronous: GL 544, oss-fuzz 28929; late frames, SIA, underrun, Mult.
        yield return ("gl-544-isoch-without-data", Up(Zero | High, 2).A(FuzzAction.IsochTransfer, 0, IsochIn, 7, 7, 3, 0).A(FuzzAction.AdvanceTime, 2, 30, 31));
        yield return ("isoch-late-frames", Up(Zero | High, 2).A(FuzzAction.IsochTransfer, 0, IsochOut, 7, 7, 200, 3).A(FuzzAction.AdvanceTime, 2, 200, 31).A(FuzzAction.IsochTransfer, 0, IsochOut, 3, 7, 250, 1).A(FuzzAction.AdvanceTime, 4, 3, 31));
        yield return ("isoch-underrun-overrun", Up(Zero | Full, 2).A(FuzzAction.IsochTransfer, 0, IsochOut, 0, 7, 1, 0).A(FuzzAction.AdvanceTime, 2, 100, 31).A(FuzzAction.IsochTransfer, 0, IsochIn, 0, 7, 1, 0).A(FuzzAction.AdvanceTime, 2, 100, 31));
        yield return ("isoch-super-mult", Up(Fake | Super, 2).A(FuzzAction.ConfigureEndpoints, 0, 0x5f, 3, 0, 0, 0, 0x9a).A(FuzzAction.IsochTransfer, 0, IsochIn, 7, 8, 2, 0x60).A(FuzzAction.AdvanceTime, 2, 60, 31));
        yield return ("isoch-oversized", Up(Zero | High, 2).A(FuzzAction.IsochTransfer, 0, IsochOut, 1, 9, 2, 0).A(FuzzAction.AdvanceTime, 2, 60, 31));
        yield return ("isoch-chain-with-normal", Up(Zero | High, 2).A(FuzzAction.IsochTransfer, 0, IsochIn, 3, 7, 3, 0x18).A(FuzzAction.AdvanceTime, 2, 60, 31));
        yield return ("mfindex-wrap-event", Up(Zero | High).A(FuzzAction.InterestingWrite, 5).A(FuzzAction.AdvanceTime, 4, 3, 31).A(FuzzAction.AdvanceTime, 5, 1, 31));
        yield return ("time-to-the-end", Up(Keyboard | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 3).A(FuzzAction.AdvanceTime, 6, 255, 31).A(FuzzAction.AdvanceTime, 6, 255, 31).A(FuzzAction.BulkTransfer, 0, BulkIn, 3));

        // Unplug in mid-TD: 236846a019, LP 1884684, LP 1878323; CVE-2016-7466; replug.
        yield return ("unplug-in-mid-td", Up(Fake | High, 0, 0, Holds).A(FuzzAction.ManyTransfers, 0, BulkIn, 15, 0, 0x80).A(FuzzAction.Doorbell, 1, 3, 0, 0, 2).A(FuzzAction.Detach, 0).A(FuzzAction.Step, 8).A(FuzzAction.FakeDevice, 0, 3));
        yield return ("unplug-replug-other-kind", Up(Disk | High).A(FuzzAction.Race, 0, BulkIn, 3, 7, 0).A(FuzzAction.Attach, 0, Keyboard, 1).A(FuzzAction.ResetPort, 0).A(FuzzAction.StandardRequest, 0, 0).A(FuzzAction.Detach, 0).A(FuzzAction.Attach, 0, Zero, 3));
        for (byte race = 0; race < 10; race++)
            yield return ($"race-{race}", Up(Fake | High, 0, 0, Holds).A(FuzzAction.Race, 0, BulkIn, race, 7, 0x40).A(FuzzAction.FakeDevice, 0, 0, 1, 3).A(FuzzAction.FakeDevice, 0, 3, 0, 0).A(FuzzAction.Race, 0, BulkOut, race, 7, 0xc3).A(FuzzAction.Step, 8));
        for (byte race = 0; race < 10; race++)
            yield return ($"race-zero-{race}", Up(Zero | Super).A(FuzzAction.Race, 0, BulkIn, race, 15, 0x08).A(FuzzAction.Race, 0, BulkOut, race, 15, 0x48).A(FuzzAction.Step, 8));

        // Devices that lie.
        for (byte amount = 0; amount < 8; amount++)
            yield return ($"fake-lies-{amount}", Up(Fake | High, 0, 0, Holds).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0, 0x20).A(FuzzAction.FakeDevice, 0, 0, 0, (byte)(amount | 0x80)).A(FuzzAction.FakeDevice, 0, 2, 1, amount).A(FuzzAction.FakeDevice, 0, 8, 0, (byte)(255 - amount)).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 3).A(FuzzAction.Step, 4));
        yield return ("fake-never-cancels", Up(Fake | High, 0, 0, Holds | 8).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0, 0x20).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 3).A(FuzzAction.AdvanceTime, 4, 3).A(FuzzAction.SlotCommand, 1, 0).A(FuzzAction.FakeDevice, 0, 9, 0, 0).A(FuzzAction.Step, 4));
        yield return ("fake-never-resets", S().A(FuzzAction.BringUp, 0, Fake | High, 0, 0, 16).A(FuzzAction.PortWrite, 0, 0).A(FuzzAction.AdvanceTime, 4, 1).A(FuzzAction.FakeDevice, 0, 4).A(FuzzAction.FakeDevice, 0, 10).A(FuzzAction.Step, 4));
        yield return ("fake-never-configures", Up(Fake | High, 0, 0, 4).A(FuzzAction.AdvanceTime, 4, 3).A(FuzzAction.FakeDevice, 0, 9).A(FuzzAction.StandardRequest, 0, 19));
        yield return ("fake-stalls", Up(Fake | High).A(FuzzAction.FakeDevice, 0, 6, 3, 1).A(FuzzAction.ManyTransfers, 0, BulkIn, 7, 0, 0x60).A(FuzzAction.EndpointCommand, 0, 0, BulkIn).A(FuzzAction.SetDequeue, 0, BulkIn, 0x80).A(FuzzAction.EndpointCommand, 0x10, 0, BulkIn));
        yield return ("fake-odd-configuration", Up(Fake | High).A(FuzzAction.FakeDevice, 0, 11, 1, 20).A(FuzzAction.StandardRequest, 0, 18).A(FuzzAction.StandardRequest, 0, 19));

        // Own additions of QEMU.md 2b: rings rewritten under the controller, torn and racing writes.
        yield return ("ring-rewritten-between-accesses", Up(Zero | High).A(FuzzAction.Tear, 1, 26, 3, 4).A(FuzzAction.Tear, 2, 5, 0x30, 6, 0xff).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 7, 0).A(FuzzAction.Step, 3));
        yield return ("idt-bytes-rewritten", Up(Zero | High).A(FuzzAction.Tear, 1, 26, 2, 4).A(FuzzAction.BulkTransfer, 0, BulkOut, 3, 0, 0x10).A(FuzzAction.BulkTransfer, 0, BulkOut, 0, 0, 0x10).A(FuzzAction.BulkTransfer, 0, BulkIn, 3, 0, 0x10));
        yield return ("erdp-torn-write", Up(Zero | High).A(FuzzAction.InterestingWrite, 48).A(FuzzAction.ManyTransfers, 0, BulkIn, 7, 0).A(FuzzAction.Step, 4).A(FuzzAction.InterestingWrite, 46).A(FuzzAction.Step, 4));
        yield return ("crcr-written-while-running", Up(Zero | High).A(FuzzAction.CommandRing, 3, 0, 0).A(FuzzAction.CommandRing, 2, 0, 3).A(FuzzAction.CommandRing, 6).A(FuzzAction.CommandRing, 3, 0, 1).A(FuzzAction.CommandRing, 5).A(FuzzAction.CommandRing, 6));
        yield return ("command-abort-while-waiting", Up(Fake | High, 0, 0, Holds | 8).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0, 0x20).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 1).A(FuzzAction.CommandRing, 1).A(FuzzAction.AdvanceTime, 4, 1).A(FuzzAction.FakeDevice, 0, 9));
        yield return ("input-context-rewritten", Up(Zero | High).A(FuzzAction.Tear, 2, 9, 0, 4).A(FuzzAction.ConfigureEndpoints, 0, 0x48).A(FuzzAction.Tear, 3, 9, 1, 4).A(FuzzAction.ConfigureEndpoints, 0, 0x48));

        // Event rings: LP 1859359, full rings, garbage tables.
        yield return ("event-ring-full", Up(Zero | High).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.ManyTransfers, 0, BulkIn, 13, 6, 0xe0).A(FuzzAction.PortWrite, 0, 0).A(FuzzAction.CommandRing, 4, 23, 63).A(FuzzAction.TakeEvents, 0).A(FuzzAction.Step, 15).A(FuzzAction.TakeEvents, 0));
        yield return ("erst-size-0-and-back", Up(Zero | High).A(FuzzAction.EventRing, 0, 1, 0).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0).A(FuzzAction.EventRing, 0, 0, 2).A(FuzzAction.Step, 4));
        yield return ("erst-garbage", Up(Zero | High).A(FuzzAction.EventRing, 0, 4, 20 << 2 & 0xff, 0, 0xff, 0xff).A(FuzzAction.EventRing, 0, 2, 10, 0).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0).A(FuzzAction.Step, 4));
        yield return ("erst-in-hole", Up(Zero | High).A(FuzzAction.EventRing, 0, 2, 20, 0).A(FuzzAction.CommandRing, 4, 23, 3).A(FuzzAction.RunStop, 2).A(FuzzAction.Start, 0));
        yield return ("erst-segment-of-0-and-15", Up(Zero | High).A(FuzzAction.EventRing, 0, 4, 4 << 2, 0, 0, 0).A(FuzzAction.EventRing, 0, 2, 10, 0).A(FuzzAction.Start, 0).A(FuzzAction.EventRing, 1, 4, 4 << 2, 0, 15, 0).A(FuzzAction.EventRing, 1, 2, 10, 16));
        yield return ("secondary-interrupters", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0x20, 0).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0x60, 0).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0xe0, 0).A(FuzzAction.TakeEvents, 1).A(FuzzAction.TakeEvents, 3));

        // States of endpoint, slot, port and controller.
        yield return ("stop-reset-set-dequeue", Up(Zero | High).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.SetDequeue, 0, BulkIn, 0x80).A(FuzzAction.EndpointCommand, 0, 0, BulkIn).A(FuzzAction.EndpointCommand, 0x10, 0, BulkIn).A(FuzzAction.EndpointCommand, 0x21, 0, BulkIn));
        yield return ("stop-in-mid-td", Up(Fake | High, 0, 0, Holds).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 7, 1).A(FuzzAction.FakeDevice, 0, 8, 0, 200).A(FuzzAction.EndpointCommand, 1, 0, BulkIn, 4).A(FuzzAction.Doorbell, 1, 3, 0, 0, 3).A(FuzzAction.FakeDevice, 0, 0, 0, 2).A(FuzzAction.Step, 4));
        yield return ("event-data-and-isp", Up(Zero | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 12, 3, 0x61).A(FuzzAction.BulkTransfer, 0, BulkIn, 7, 0x0b, 0x25).A(FuzzAction.BulkTransfer, 0, BulkOut, 6, 0x13, 0x60));
        yield return ("slot-commands", Up(Zero | High).A(FuzzAction.SlotCommand, 2, 0).A(FuzzAction.AddressDevice, 0, 1, 2, 0, 1).A(FuzzAction.AddressDevice, 0, 1, 2).A(FuzzAction.SlotCommand, 7, 0).A(FuzzAction.SlotCommand, 1, 0).A(FuzzAction.SlotCommand, 0, 0, 1).A(FuzzAction.SlotCommand, 4, 0, 2).A(FuzzAction.SlotCommand, 5, 0, 3).A(FuzzAction.SlotCommand, 6, 0, 1));
        yield return ("evaluate-context", Up(Zero | Full).A(FuzzAction.EvaluateContext, 0, 2, 64).A(FuzzAction.EvaluateContext, 0, 1, 0xff, 0xff).A(FuzzAction.EvaluateContext, 0, 3, 8).A(FuzzAction.EvaluateContext, 0, 4, 8));
        yield return ("no-slots-left", Up(Zero | High).A(FuzzAction.CommandRing, 4, 9, 15).A(FuzzAction.CommandRing, 4, 10, 0x40).A(FuzzAction.CommandRing, 4, 9, 1));
        yield return ("port-link-states", Up(Zero | Super).A(FuzzAction.PortWrite, 4, 5, 3).A(FuzzAction.PortWrite, 4, 5, 0).A(FuzzAction.PortWrite, 4, 5, 5).A(FuzzAction.PortWrite, 4, 5, 10).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.PortWrite, 4, 1).A(FuzzAction.AdvanceTime, 2, 200, 31).A(FuzzAction.PortWrite, 4, 2).A(FuzzAction.PortWrite, 4, 3).A(FuzzAction.PortWrite, 4, 4));
        yield return ("port-suspend-and-wake", Up(Keyboard | High).A(FuzzAction.StandardRequest, 0, 36).A(FuzzAction.PortWrite, 0, 5, 3).A(FuzzAction.DeviceInput, 0, 4).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.PortWrite, 0, 5, 15).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.PortWrite, 0, 5, 0).A(FuzzAction.BulkTransfer, 0, BulkIn, 3));
        yield return ("wake-from-d3", Up(Zero | Super).A(FuzzAction.PortWrite, 4, 8, 7).A(FuzzAction.StandardRequest, 0, 37).A(FuzzAction.PortWrite, 4, 5, 3).A(FuzzAction.RunStop, 0).A(FuzzAction.Power, 3, 1).A(FuzzAction.DeviceInput, 0, 0).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.Power, 0, 0x80));
        yield return ("reset-controller-in-mid-transfer", Up(Fake | High, 0, 0, Holds).A(FuzzAction.ManyTransfers, 0, BulkIn, 7, 0, 0x20).A(FuzzAction.RunStop, 2).A(FuzzAction.FakeDevice, 0, 9).A(FuzzAction.BringUp, 0, 0x80 | Fake | High));
        yield return ("light-reset-and-halt", Up(Zero | High).A(FuzzAction.RunStop, 0).A(FuzzAction.RunStop, 0x80).A(FuzzAction.Start, 0).A(FuzzAction.RunStop, 0).A(FuzzAction.RunStop, 5).A(FuzzAction.ManyTransfers, 0, BulkIn, 3, 0, 0x20));
        yield return ("guest-save-restore", Up(Zero | High).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.SaveRestore, 0x0e).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1).A(FuzzAction.SaveRestore, 1).A(FuzzAction.SaveRestore, 6));
        yield return ("host-save-restore", Up(Zero | High).A(FuzzAction.ManyTransfers, 0, BulkIn, 7, 0, 0x80).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.Doorbell, 1, 3, 0, 0, 3).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.BulkTransfer, 0, BulkOut, 0, 3, 1));
        yield return ("host-save-restore-keyboard", Up(Keyboard | Full).A(FuzzAction.BulkTransfer, 0, BulkIn, 3).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.DeviceInput, 0, 4).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.HostSaveRestore, 1));
        yield return ("host-save-restore-isoch", Up(Zero | High, 2).A(FuzzAction.IsochTransfer, 0, IsochOut, 7, 7, 100, 0x83).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.AdvanceTime, 2, 200, 31));
        yield return ("host-save-restore-stopped", Up(Zero | Super).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 3, 0x80).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.Doorbell, 1, 3, 0, 0, 3));
        yield return ("bus-master-off-in-mid-transfer", Up(Fake | High, 0, 0, Holds).A(FuzzAction.ManyTransfers, 0, BulkIn, 7, 0, 0x20).A(FuzzAction.ConfigAccess, 4, 1, 5).A(FuzzAction.FakeDevice, 0, 9).A(FuzzAction.Step, 8).A(FuzzAction.ConfigAccess, 4, 1, 0, 6, 4).A(FuzzAction.Step, 8));
        yield return ("contexts-in-holes", Up(Zero | High).A(FuzzAction.PokeStructure, 7, 1, 0, 9, 20).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.RunStop, 2).A(FuzzAction.Start, 0).A(FuzzAction.InterestingWrite, 23).A(FuzzAction.EnableAndAddress, 0, 0, 2));
        yield return ("output-context-rewritten", Up(Zero | High).A(FuzzAction.PokeContext, 0, 0, 3, 24, 0xff).A(FuzzAction.PokeContext, 0, 3, 0, 0, 7).A(FuzzAction.EndpointCommand, 1, 0, BulkIn).A(FuzzAction.PokeContext, 0, 3, 1, 0, 0xff).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1).A(FuzzAction.ConfigureEndpoints, 0, 0x48));

        // Two devices, and all of them.
        yield return ("two-devices", Up(Zero | High).Up(1, Disk | Super).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 0, 1).A(FuzzAction.DiskCommand, 1, 0x12, 0, 0, 0x05).A(FuzzAction.DiskCommand, 1, 0x28, 0, 1, 0x01).A(FuzzAction.DiskCommand, 1, 0x2a, 0, 1, 0x00));
        yield return ("same-port-twice", Up(Zero | High).A(FuzzAction.EnableAndAddress, 0, 0, 2).A(FuzzAction.EnableAndAddress, 1, 1, 2).A(FuzzAction.EnableAndAddress, 9, 0, 3));
        foreach (byte operation in Operations)
            yield return ($"disk-{operation:x2}", Up(Disk | High).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 1).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 0).A(FuzzAction.DiskCommand, 0, operation, 2, 3, 3).A(FuzzAction.DiskCommand, 0, operation, 255, 1, 5));
        yield return ("disk-thirteen-cases", Up(Disk | High).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 2).A(FuzzAction.DiskCommand, 0, 0x28, 0, 2, 9).A(FuzzAction.DiskCommand, 0, 0x28, 0, 2, 0xf).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 2, 9).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 1, 8).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 2, 0xe));
        foreach (byte operation in Operations)
        {
            yield return ($"uas-{operation:x2}", Uas(High).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 0x11).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 0x10, 1).A(FuzzAction.DiskCommand, 0, operation, 2, 3, 0x53, 66).A(FuzzAction.DiskCommand, 0, operation, 255, 1, 0x95, 3));
            yield return ($"uas-streams-{operation:x2}", Uas(Super).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 0x11, 8).A(FuzzAction.DiskCommand, 0, operation, 0, 1, 0x10, 9).A(FuzzAction.DiskCommand, 0, operation, 2, 3, 0x53, 74).A(FuzzAction.DiskCommand, 0, operation, 255, 1, 0x95, 11));
        }

        foreach (byte function in (byte[])[1, 2, 4, 8, 16, 0x40, 0x80, 0x81])
            yield return ($"uas-task-management-{function:x2}", Uas(High, 6).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 0x31).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 1, 0x30, 1).A(FuzzAction.DiskCommand, 0, 0xff, function, 1, 0x32, 2).A(FuzzAction.StoreControl, 0, 0, 0).A(FuzzAction.SaveRestore, 1).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 0x11, 3));
        yield return ("uas-stop-reset-unplug", Uas(Super, 6).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 0x11, 8).A(FuzzAction.EndpointCommand, 0, 9).A(FuzzAction.SaveRestore, 1).A(FuzzAction.ResetPort, 4).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 1, 0x10, 9).A(FuzzAction.Detach, 0));
        yield return ("disk-invalid-wrapper", Up(Disk | High).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 0x81, 0).A(FuzzAction.StandardRequest, 0, 28).A(FuzzAction.StandardRequest, 0, 41).A(FuzzAction.StandardRequest, 0, 28).A(FuzzAction.DiskCommand, 0, 0x28, 0, 1, 0x41, 30));
        yield return ("disk-slow-medium", Up(Disk | High, 0, 0, 6).A(FuzzAction.DiskCommand, 0, 0x28, 0, 8, 1).A(FuzzAction.StoreControl, 3, 1).A(FuzzAction.Step, 4).A(FuzzAction.DiskCommand, 0, 0x2a, 0, 8, 0).A(FuzzAction.EndpointCommand, 1, 0, BulkOut).A(FuzzAction.StoreControl, 2, 1).A(FuzzAction.StoreControl, 3, 0).A(FuzzAction.Step, 4));
        yield return ("disk-save-in-mid-command", Up(Disk | High, 0, 0, 6).A(FuzzAction.DiskCommand, 0, 0x28, 0, 8, 1).A(FuzzAction.HostSaveRestore, 1).A(FuzzAction.StoreControl, 3, 0).A(FuzzAction.Step, 8));
        yield return ("keyboard-keys", Up(Keyboard | High).A(FuzzAction.BulkTransfer, 0, BulkIn, 3).A(FuzzAction.DeviceInput, 0, 4).A(FuzzAction.DeviceInput, 0x80, 4).A(FuzzAction.AdvanceTime, 2, 50, 31).A(FuzzAction.BulkTransfer, 0, BulkIn, 3).A(FuzzAction.AdvanceTime, 3, 50, 31));
        yield return ("interrupt-pacing", Up(Zero | High, 4).A(FuzzAction.ManyTransfers, 0, InterruptIn, 7, 6, 0x20).A(FuzzAction.AdvanceTime, 0, 40, 31).A(FuzzAction.EndpointCommand, 1, 0, InterruptIn));
        yield return ("loopback", Up(Zero | High, 0x80).A(FuzzAction.BulkTransfer, 0, BulkOut, 0, 1, 0).A(FuzzAction.BulkTransfer, 0, BulkIn, 0, 1, 1).A(FuzzAction.BulkTransfer, 0, BulkOut, 1, 0, 0));
        yield return ("control-endpoint-stopped", Up(Zero | High).A(FuzzAction.EndpointCommand, 1, 0, Control).A(FuzzAction.StandardRequest, 0, 0).A(FuzzAction.StandardRequest, 0, 60).A(FuzzAction.StandardRequest, 0, 22).A(FuzzAction.EndpointCommand, 0, 0, Control).A(FuzzAction.SetDequeue, 0, Control, 0x80).A(FuzzAction.StandardRequest, 0, 0));
    }
}
