using System;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Core.Usb.Descriptors;
using XenUsbDm.Fuzz.Engine;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>Configuration descriptors of a device that is not trusted.</summary>
public sealed class DescriptorTarget : IFuzzTarget
{
    private const long Allocation = 256 << 10;

    public static string Name => "descriptors";

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        var table = new ConfigurationTable();
        table.Load(input);
        FuzzCase.Hit(30, (uint)table.Problem, (uint)Math.Min(table.SettingCount, 40));
        for (int i = 0; i < input.Length && i < 8; i++) FuzzCase.Hit(31, table.TrySelect(input[i], input[^(i + 1)]) ? 1u : 0, (uint)i);
        for (int number = 0; number < 32; number++)
        {
            if (!table.TryFind(new EndpointAddress(number & 15, number > 15), out EndpointDescriptor endpoint)) continue;
            foreach (UsbSpeed speed in Enum.GetValues<UsbSpeed>())
            {
                uint interval = endpoint.IntervalMicroframes(speed);
                int bytes = endpoint.BytesPerInterval(speed);
                if (interval > 262_144 || bytes is < 0 or > 200_000) throw new OracleException("range", $"interval {interval}, {bytes} bytes");
                FuzzCase.Hit(32, (uint)endpoint.Kind, interval, (uint)System.Numerics.BitOperations.Log2((uint)bytes + 1));
            }

            FuzzCase.Hit(33, (uint)endpoint.Companion.MaxBurst);
            FuzzCase.Hit(34, (uint)endpoint.Companion.MaxStreams, (uint)endpoint.Companion.Mult);
        }

        if (FuzzCase.Thorough) _ = InspectWriter.Dump(table);
        else if (GC.GetAllocatedBytesForCurrentThread() - before > Allocation) throw new OracleException("memory", "a configuration takes too much memory");
    }
}
