using System;
using System.Collections.Generic;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Memory;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.State;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.TestKit.Guest;
using XenUsbDm.UnitTests.EndToEnd;

namespace XenUsbDm.UnitTests.Attacks;

/// <summary>Saved states from an attacker: every field of a real one, missing or out of bounds, one at a time.</summary>
public sealed class StateAttackTests
{
    // CVE-2014-5263 (vmstate_xhci_event had no terminator, so fields were read that were not there).
    [Fact]
    public void Saved_state_with_any_field_missing_is_refused_or_harmless()
    {
        JsonNode saved = Save(out InProcessMachine source);
        int tried = 0;
        foreach (string path in Paths(saved))
        {
            JsonNode copy = saved.DeepClone();
            if (!Remove(copy, path)) continue;
            TryRestore(source, copy, path);
            tried++;
        }

        Assert.True(tried > 200, $"{tried} fields");
    }

    // CVE-2013-4541 (setup_index and setup_len of a saved packet were believed), CVE-2014-3461: every number out of bounds.
    [Theory]
    [InlineData(-1L)]
    [InlineData(0L)]
    [InlineData(1L)]
    [InlineData(255L)]
    [InlineData(0x10001L)]
    [InlineData(int.MaxValue)]
    [InlineData((long)int.MinValue)]
    [InlineData(long.MaxValue)]
    public void Saved_state_with_any_number_out_of_bounds_is_refused_or_harmless(long value)
    {
        JsonNode saved = Save(out InProcessMachine source);
        int tried = 0;
        foreach (string path in Paths(saved))
        {
            JsonNode copy = saved.DeepClone();
            if (!Replace(copy, path, value)) continue;
            TryRestore(source, copy, $"{path} = {value}");
            tried++;
        }

        Assert.True(tried > 100, $"{tried} numbers");
    }

    // CVE-2014-5263 for lists: one entry too many, one doubled, one null.
    [Fact]
    public void Saved_state_with_any_list_doubled_or_holed_is_refused_or_harmless()
    {
        JsonNode saved = Save(out InProcessMachine source);
        int tried = 0;
        foreach (string path in Paths(saved))
        {
            foreach (bool hole in new[] { false, true })
            {
                JsonNode copy = saved.DeepClone();
                if (Find(copy, path) is not JsonArray { Count: > 0 } list) continue;
                list.Add(hole ? null : list[0]!.DeepClone());
                TryRestore(source, copy, path);
                tried++;
            }
        }

        Assert.True(tried > 20, $"{tried} lists");
    }

    [Fact]
    public void Saved_state_unchanged_is_taken()
    {
        JsonNode saved = Save(out InProcessMachine source);

        Assert.True(TryRestore(source, saved, "unchanged"));
    }

    // Every transfer kind in flight, a stopped endpoint, streams, a command that waits.
    private static JsonNode Save(out InProcessMachine source)
    {
        using var rig = new Rig();
        var device = Arena.NewDevice(UsbSpeed.Super);
        UsbDeviceHandle handle = rig.Plug(device);
        GuestBuffer buffer = rig.Driver.AllocateBuffer(8192);
        GuestPipe streams = handle.ConfigureStreams(Arena.BulkIn, 2);
        streams.Submit(buffer.Address, 2048, stream: 2);
        handle.Pipe(Arena.BulkOut).Submit([buffer.Slice(0, 512), buffer.Slice(4096, 512)]);
        handle.Pipe(Arena.BulkOut).SubmitImmediate([1, 2, 3]);
        handle.Pipe(Arena.InterruptIn).Submit(buffer.Address, 64);
        handle.Pipe(Arena.IsochIn).SubmitIsochronous(buffer.Address, 1024);
        rig.Machine.AdvanceBy(10_000_000);
        device.CancelsAtOnce = false;
        rig.Driver.PostCommand(GuestTrb.Command(GuestTrbType.StopEndpoint, handle.Slot, handle.Pipe(Arena.BulkOut).Dci));
        rig.Driver.RingDoorbell(0);
        rig.Machine.Step();
        rig.Machine.Pipeline.TrySettle(rig.Machine.Now);
        source = rig.Machine;
        return JsonSerializer.SerializeToNode(rig.Machine.Controller.Capture())!;
    }

    private static bool TryRestore(InProcessMachine source, JsonNode state, string what)
    {
        XhciStateV1? record;
        try
        {
            record = state.Deserialize<XhciStateV1>();
        }
        catch (JsonException)
        {
            // The number does not fit its field: refused before the model sees it.
            return false;
        }

        var target = new InProcessMachine(source.Options with { LowMemory = 1 << 20 });
        source.Memory.Guest(new GuestAddress(0), 1 << 20).CopyTo(target.Memory.Guest(new GuestAddress(0), 1 << 20));
        target.Attach(1, Arena.NewDevice(UsbSpeed.Super));
        target.WriteConfig(4, 2, 6);
        Exception? thrown = Record.Exception(() =>
        {
            bool ok = target.Controller.TryRestore(record!, out string error);
            Assert.Equal(ok, error.Length == 0);
            InspectWriter.Dump(target);
            target.AdvanceBy(2_000_000);
            if (ok) return;

            // After a refusal the controller is as after HCRST.
            target.Controller.Reset();
        });
        Assert.True(thrown is null, $"{what}: {thrown}");
        Assert.True(target.Controller.Faults == 0, $"{what}: an exception was contained");
        Assert.True(target.BoundHits == 0, $"{what}: the loop did not come to rest");
        bool taken = target.Controller.TryRestore(record!, out _);
        target.Controller.Reset();
        target.AdvanceBy(1_000_000);
        return taken;
    }

    private static List<string> Paths(JsonNode root)
    {
        var paths = new List<string>();
        Collect(root, "", paths);
        return paths;
    }

    private static void Collect(JsonNode? node, string path, List<string> into)
    {
        if (path.Length > 0) into.Add(path);
        if (node is JsonObject o)
        {
            foreach ((string name, JsonNode? child) in o) Collect(child, $"{path}/{name}", into);
        }
        else if (node is JsonArray a)
        {
            // Long lists of like things (interrupters, ports): the first and the last stand for all.
            for (int i = 0; i < a.Count; i += a.Count < 8 ? 1 : a.Count - 1) Collect(a[i], $"{path}/{i}", into);
        }
    }

    private static JsonNode? Find(JsonNode root, string path)
    {
        JsonNode? node = root;
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
            node = node is JsonArray a ? a[int.Parse(part, System.Globalization.CultureInfo.InvariantCulture)] : node?[part];
        return node;
    }

    private static bool Remove(JsonNode root, string path)
    {
        int at = path.LastIndexOf('/');
        JsonNode? parent = Find(root, path[..at]);
        if (parent is JsonObject o) return o.Remove(path[(at + 1)..]);
        if (parent is not JsonArray a) return false;
        a.RemoveAt(int.Parse(path[(at + 1)..], System.Globalization.CultureInfo.InvariantCulture));
        return true;
    }

    private static bool Replace(JsonNode root, string path, long value)
    {
        if (Find(root, path) is not JsonValue old || old.GetValueKind() != JsonValueKind.Number) return false;
        old.ReplaceWith(value);
        return true;
    }
}
