using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.RegularExpressions;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci.State;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Fuzz.Xhci;

public sealed partial class FuzzRun
{
    // Save, and go on in a new controller, pipeline and devices, transfers in flight included. A saved state that is not
    // taken back is a fault, save with devices that lie.
    private void HostSaveRestore(byte how)
    {
        if (!_machine.Pipeline.TrySettle(_machine.Now)) return;
        for (int i = 1; i <= FuzzMachine.Connectors; i++)
            if (_devices[i] is TestKit.Devices.FakeDevice) return;

        var controller = _machine.Controller.Capture();
        var pipeline = _machine.Pipeline.Capture();
        var pci = _machine.Pci.Capture();
        string before = (how & 1) != 0 && FuzzCase.Thorough ? _machine.Inspect() : "";
        _machine.Build();
        _store.Forget();
        for (int i = 1; i <= FuzzMachine.Connectors; i++)
        {
            switch (_devices[i])
            {
                case GadgetZero zero:
                    var newZero = _pool.Zero(_zeroOptions[i]);
                    _devices[i] = newZero;
                    _machine.Attach(i, newZero);
                    Require(newZero.TryRestore(zero.Capture(), out string zeroError), "gadget zero", zeroError);
                    break;
                case DiskDevice disk:
                    DiskStateV1 diskState = disk.Capture();
                    var newDisk = _pool.Disk(_diskOptions);
                    _devices[i] = newDisk;
                    _machine.Attach(i, newDisk);
                    Require(newDisk.TryRestore(diskState, out string diskError), "disk", diskError);
                    break;
                case BootKeyboard keyboard:
                    var newKeyboard = new BootKeyboard(_speeds[i]);
                    _devices[i] = newKeyboard;
                    _machine.Attach(i, newKeyboard);
                    Require(newKeyboard.TryRestore(keyboard.Capture(), out string keyboardError), "keyboard", keyboardError);
                    break;
                default:
                    break;
            }
        }

        Require(_machine.Pipeline.TryRestore(pipeline, out string error), "pipeline", error);
        Require(_machine.TryRestorePci(pci, out error), "PCI", error);
        Require(_machine.Controller.TryRestore(controller, out error), "controller", error);
        if (before.Length == 0) return;
        if (FirstDifference(before, _machine.Inspect()) is { } difference) throw new OracleException("restore", $"inspect differs after restore: {difference}");
    }

    /// <summary>Restores states from anywhere, as far as they are accepted, and lets the result run.</summary>
    public void RestoreFrom(XhciStateV1? xhci, PipelineStateV1? pipeline, PciStateV1? pci, out uint outcome)
    {
        outcome = 0;
        _machine.Build();
        for (int i = 1; i <= FuzzMachine.Connectors; i++)
        {
            if (_devices[i] is null) continue;
            _devices[i] = _pool.Zero(new GadgetZeroOptions { Speed = _speeds[i] });
            _machine.Attach(i, _devices[i]!);
        }

        if (pci is not null && _machine.TryRestorePci(pci, out _)) outcome |= 1;
        if (pipeline is not null && _machine.Pipeline.TryRestore(pipeline, out _)) outcome |= 2;
        if (xhci is not null && _machine.Controller.TryRestore(xhci, out _)) outcome |= 4;
        _machine.Step(8);
        _machine.Advance(10_000_000, 8);
        for (int slot = 1; slot <= FuzzMachine.Slots; slot++)
            for (int dci = 1; dci < 8; dci++) _guest.RingDoorbell(slot, (uint)dci);
        _machine.Step(8);
        _guest.TakeEvents(0, acknowledge: true);
        for (int slot = 1; slot <= 3; slot++) _guest.Command(TestKit.Guest.GuestTrbType.StopEndpoint, slot, 3);
        _guest.Write(FuzzGuest.UsbCommand, 0);
        _machine.Step(8);
    }

    private static void Require(bool ok, string what, string error)
    {
        if (!ok) throw new OracleException("restore", $"{what} refuses its own state: {error}");
    }

    // What is on its way may be counted in another place: a request that was with a suspended device is held by the pipeline
    // after the restore, one whose endpoint is gone is refused at once instead of in its turn, a command's own request is made
    // again when the command goes on. What waited for the pipeline's next step goes on with the restore, which its port's count
    // of completions shows: what else the device then counts, and has become, is not compared. All else is the same.
    private static string? FirstDifference(string a, string b)
    {
        Dictionary<string, long> completed = Completed(a);
        HashSet<string> further = [.. Completed(b).Where(port => completed.TryGetValue(port.Key, out long before) && port.Value > before).Select(port => port.Key)];
        string[] left = Comparable(a, b, further);
        string[] right = Comparable(b, a, further);
        for (int i = 0; i < Math.Min(left.Length, right.Length); i++)
        {
            if (left[i] != right[i] && !MayMove(left[i])) return $"'{left[i]}' / '{right[i]}'";
        }

        return left.Length == right.Length ? null : $"{left.Length} and {right.Length} lines";
    }

    // An endpoint is shown from its first request on, and that may be a command's own which has not been made again.
    private static string[] Comparable(string tree, string other, HashSet<string> further) => Array.FindAll(tree.Split('\n'), line =>
        (Endpoint().Match(line) is not { Success: true } endpoint || other.Contains(endpoint.Value, StringComparison.Ordinal))
        && (Port().Match(line) is not { Success: true } port || !further.Contains(port.Value)));

    [GeneratedRegex("^/pipeline/port/[0-9]+/ep0/")]
    private static partial Regex Endpoint();

    [GeneratedRegex("^/pipeline/port/[0-9]+/")]
    private static partial Regex Port();

    // Of each port, by the beginning of its lines.
    private static Dictionary<string, long> Completed(string tree) =>
        Completions().Matches(tree).ToDictionary(line => line.Groups[1].Value, line => long.Parse(line.Groups[2].ValueSpan, CultureInfo.InvariantCulture));

    [GeneratedRegex("^(/pipeline/port/[0-9]+/)completed ([0-9]+)$", RegexOptions.Multiline)]
    private static partial Regex Completions();

    private static bool MayMove(string line)
    {
        if (!Port().IsMatch(line)) return false;
        foreach (string counter in (string[])["/waiting ", "/in-flight ", "/pending ", "/submitted ", "/completed ", "/outstanding ", "/transaction-errors "])
            if (line.Contains(counter, StringComparison.Ordinal)) return true;
        return false;
    }
}
