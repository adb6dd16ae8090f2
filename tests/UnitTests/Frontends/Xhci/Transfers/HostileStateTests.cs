using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Xunit;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Frontends.Xhci.State;
using XenUsbDm.Hosts.InProcess;
using XenUsbDm.TestKit.Devices;
using XenUsbDm.TestKit.Guest;
using static XenUsbDm.TestKit.Guest.GuestTrb;
using static XenUsbDm.UnitTests.Frontends.Xhci.Transfers.TransferBench;

namespace XenUsbDm.UnitTests.Frontends.Xhci.Transfers;

/// <summary>Saved states from an attacker: every field changed in turn is refused or harmless, never an exception (STYLE P10).</summary>
public sealed class HostileStateTests
{
    private static XhciStateV1 Capture(out FakeDevice device, TransferKind kind = TransferKind.Bulk)
    {
        using var bench = new TransferBench(kind == TransferKind.Bulk ? UsbSpeed.Super : UsbSpeed.High, kind);
        GuestBuffer b = bench.Buffer(4096);
        if (kind == TransferKind.Bulk)
        {
            bench.Handle.ConfigureStreams(In, 4);
            GuestRing ring = bench.Handle.StreamsOf(In)!.Rings[0].Ring;
            ring.Enqueue(Normal(b.Address, 1024, Chain | InterruptOnCompletion));
            ring.Enqueue(Normal(b.Address + 2000, 1024, InterruptOnCompletion));
            bench.Doorbell(InDci, 1);
            bench.Driver.RingDoorbell(bench.Slot, InDci, 2);
        }
        else
        {
            bench.Go(InDci, Isoch(b.Address, 100, null, 0, 0, InterruptOnCompletion), Isoch(b.Address, 100, null, 0, 0, InterruptOnCompletion));
        }

        bench.Put(OutDci, Normal(0x11, 3, ImmediateData | InterruptOnCompletion));
        bench.Put(1, Setup(new SetupPacket(0xc0, 1, 2, 3, 8).Raw, 3), Data(b.Address, 8, true));
        bench.Doorbell(1);
        if (kind == TransferKind.Bulk) bench.Doorbell(OutDci);
        device = bench.Device;
        bench.Machine.Pipeline.TrySettle(bench.Machine.Now);
        return bench.Machine.Controller.Capture();
    }

    private static bool TryRestore(XhciStateV1 state, UsbSpeed speed, byte[] configuration, out InProcessMachine machine)
    {
        machine = new InProcessMachine(new InProcessOptions { LowMemory = 1 << 20 });
        var fake = new FakeDevice(speed) { Configuration = configuration, CompletesAtOnce = true };
        fake.SetConfigured(true);
        machine.Attach(1, fake);
        return machine.Controller.TryRestore(state, out string error) || error.Length == 0;
    }

    public static TheoryData<TransferKind> Kinds() => [TransferKind.Bulk, TransferKind.Isochronous];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Every_changed_field_is_refused_or_harmless(TransferKind kind)
    {
        XhciStateV1 good = Capture(out FakeDevice device, kind);
        int tried = 0;
        int refused = 0;
        foreach (object changed in Variants(good))
        {
            tried++;
            bool ok = TryRestore((XhciStateV1)changed, device.Speed, device.Configuration, out InProcessMachine machine);
            machine.AdvanceBy(3_000_000);
            machine.WriteBar32(0x2000 + 4, 3);
            machine.AdvanceBy(3_000_000);
            Assert.Equal(0, machine.Controller.Faults);
            Assert.Equal(0, machine.BoundHits);
            if (ok) continue;
            refused++;
            Assert.DoesNotContain("/xhci/slot/", InspectWriter.Dump(machine), StringComparison.Ordinal);
        }

        Assert.True(TryRestore(good, device.Speed, device.Configuration, out _));
        Assert.True(tried > 500 && refused > 100, $"{tried} tried, {refused} refused");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void State_without_a_part_is_refused_with_a_reason(int part)
    {
        XhciStateV1 good = Capture(out FakeDevice _);
        XhciStateV1 bad = part switch
        {
            0 => good with { Registers = null! },
            1 => good with { Interrupters = null! },
            2 => good with { Ports = null! },
            3 => good with { CommandRing = null! },
            _ => good with { Slots = null! },
        };
        var machine = new InProcessMachine();

        Assert.False(machine.Controller.TryRestore(bad, out string error));
        Assert.False(machine.Controller.TryRestore(null!, out _));
        Assert.False(machine.Controller.TryRestore(good with { Slots = [null!] }, out string slot));
        Assert.False(machine.Controller.TryRestore(good with { Slots = [good.Slots[0], good.Slots[0]] }, out string twice));

        Assert.All([error, slot, twice], e => Assert.StartsWith("xhci: ", e, StringComparison.Ordinal));
    }

    public static TheoryData<string> BadTransfers() =>
        ["no trbs", "event bytes", "event index", "more data than trbs", "length on a link", "over 1 MiB", "immediate and segments", "negative actual", "actual", "packet", "status", "trb gone", "segment gone", "skip"];

    [Theory]
    [MemberData(nameof(BadTransfers))]
    public void Transfer_that_cannot_be_is_refused(string name)
    {
        XhciStateV1 good = Capture(out FakeDevice device);
        EndpointStateV1 endpoint = good.Slots[0].Endpoints.Single(e => e.Dci == InDci);
        TransferStateV1 t = endpoint.Rings[0].Transfers[0];
        TransferStateV1 bad = name switch
        {
            "no trbs" => t with { Trbs = [] },
            "event bytes" => t with { EventBytes = int.MaxValue },
            "event index" => t with { EventIndex = 3, EventBytes = 2048 },
            "more data than trbs" => t with { Segments = [.. t.Segments, new SegmentStateV1(0, 5)] },
            "length on a link" => t with { Trbs = [t.Trbs[0] with { Control = TypeBits(GuestTrbType.Link) }, t.Trbs[1]] },
            "over 1 MiB" => t with { Segments = [new SegmentStateV1(0, 1 << 20), new SegmentStateV1(0, 1)] },
            "immediate and segments" => t with { IsImmediate = true, ImmediateLength = 8 },
            "negative actual" => t with { ActualLength = -1 },
            "actual" => t with { ActualLength = 2049 },
            "packet" => t with { PacketActualLength = 2049 },
            "status" => t with { Status = 99 },
            "trb gone" => t with { Trbs = [null!] },
            "segment gone" => t with { Segments = [null!] },
            _ => t with { Trbs = [t.Trbs[0] with { Skip = 65537 }, t.Trbs[1]] },
        };
        EndpointStateV1 with = endpoint with { Rings = [endpoint.Rings[0] with { Transfers = [bad] }] };
        XhciStateV1 state = good with { Slots = [good.Slots[0] with { Endpoints = [.. good.Slots[0].Endpoints.Select(e => e.Dci == InDci ? with : e)] }] };

        Assert.False(TryRestore(state, device.Speed, device.Configuration, out InProcessMachine machine));
        machine.Step();
        Assert.Contains("/xhci/transfers/in-use 0\n", InspectWriter.Dump(machine), StringComparison.Ordinal);
    }

    [Fact]
    public void Rings_and_streams_that_cannot_be_are_refused()
    {
        XhciStateV1 good = Capture(out FakeDevice device);
        EndpointStateV1 endpoint = good.Slots[0].Endpoints.Single(e => e.Dci == InDci);
        RingStateV1 ring = endpoint.Rings[0];
        EndpointStateV1[] bad =
        [
            endpoint with { Rings = [null!] },
            endpoint with { Rings = [ring, ring] },
            endpoint with { Rings = [ring with { StreamId = 99 }] },
            endpoint with { Rings = [ring with { Transfers = [.. Enumerable.Repeat(ring.Transfers[0], 129)] }] },
            endpoint with { Rings = [.. Enumerable.Repeat(ring, 257)] },
            endpoint with { PendingStreams = [0] },
            endpoint with { PendingStreams = [16] },
            null!,
        ];
        foreach (EndpointStateV1 e in bad)
        {
            XhciStateV1 state = good with { Slots = [good.Slots[0] with { Endpoints = [e] }] };
            Assert.False(TryRestore(state, device.Speed, device.Configuration, out _));
        }

        XhciStateV1 bare = good with { Slots = [good.Slots[0] with { Endpoints = [endpoint with { Rings = null!, PendingStreams = null! }] }] };
        Assert.True(TryRestore(bare, device.Speed, device.Configuration, out _));
    }

    // The record with one leaf changed, for every leaf and several values.
    private static IEnumerable<object> Variants(object record)
    {
        ConstructorInfo constructor = record.GetType().GetConstructors().OrderByDescending(c => c.GetParameters().Length).First();
        ParameterInfo[] parameters = constructor.GetParameters();
        object?[] values = [.. parameters.Select(p => record.GetType().GetProperty(p.Name!)!.GetValue(record))];
        for (int i = 0; i < values.Length; i++)
        {
            foreach (object? other in Others(values[i], parameters[i].ParameterType))
            {
                object?[] copy = [.. values];
                copy[i] = other;
                yield return constructor.Invoke(copy);
            }
        }
    }

    private static IEnumerable<object?> Others(object? value, Type type)
    {
        if (type == typeof(bool)) return [!(bool)value!];
        if (type == typeof(int)) return [-1, 0, 1, (int)value! ^ 0x100, int.MaxValue, int.MinValue];
        if (type == typeof(uint)) return [0u, uint.MaxValue, (uint)value! ^ 0x8000u];
        if (type == typeof(ulong)) return [0ul, ulong.MaxValue, ulong.MaxValue / 2, (ulong)value! ^ 0x1_0000_0000ul];
        if (type == typeof(byte)) return [(byte)0, byte.MaxValue];
        if (type == typeof(ushort)) return [(ushort)0, ushort.MaxValue];
        if (value is not Array array) return value is null || !type.Name.Contains("StateV1", StringComparison.Ordinal) ? [] : Variants(value);
        var result = new List<object?> { Array.CreateInstance(type.GetElementType()!, 0) };
        for (int i = 0; i < Math.Min(array.Length, 4); i++)
        {
            foreach (object? other in Others(array.GetValue(i), type.GetElementType()!))
            {
                var copy = (Array)array.Clone();
                copy.SetValue(other, i);
                result.Add(copy);
            }
        }

        return result;
    }
}
