using System;
using System.Collections.Generic;
using System.Globalization;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Usb;
using XenUsbDm.Pipeline;

namespace XenUsbDm.Hosts.Control;

/// <summary>Reads a pipeline's ports from its inspect tree, so that query-usb and inspect cannot disagree.</summary>
internal static class PortReader
{
    private static readonly HashSet<string> CounterNames = new(StringComparer.Ordinal)
    {
        "submitted", "completed", "unlinked", "outstanding", "high-water", "queue-full", "stalls", "transaction-errors", "babbles",
        "no-device", "memory-faults", "bytes-in", "bytes-out",
    };

    /// <summary>The ports of one controller.</summary>
    public static IReadOnlyList<PortStatus> Read(int controller, UsbPipeline pipeline)
    {
        var writer = new InspectWriter();
        pipeline.Inspect(writer);
        var ports = new PortStatus[pipeline.PortCount];
        int at = 0;
        for (int port = 1; port <= ports.Length; port++)
        {
            string prefix = string.Create(CultureInfo.InvariantCulture, $"/port/{port}/");
            while (at < writer.Fields.Count && !writer.Fields[at].Key.StartsWith(prefix, StringComparison.Ordinal)) at++;
            ports[port - 1] = ReadPort(new PortPlace(controller, port), pipeline, writer.Fields, ref at, prefix);
        }

        return ports;
    }

    private static PortStatus ReadPort(
        PortPlace place, UsbPipeline pipeline, IReadOnlyList<KeyValuePair<string, string>> fields, ref int at, string prefix)
    {
        var port = new PortNumber(place.Port);
        var counters = new List<KeyValuePair<string, long>>();
        var endpoints = new List<CounterSet>();
        List<KeyValuePair<string, long>>? endpointCounters = null;
        bool suspended = false;
        for (; at < fields.Count && fields[at].Key.StartsWith(prefix, StringComparison.Ordinal); at++)
        {
            (string path, string value) = fields[at];
            string name = path[prefix.Length..];
            int slash = name.IndexOf('/', StringComparison.Ordinal);
            if (name == "suspended") suspended = value == "yes";
            if (slash < 0)
            {
                AddCounter(counters, name, value);
                continue;
            }

            if (!name.StartsWith("ep", StringComparison.Ordinal)) continue;
            string endpoint = name[..slash];
            if (endpoints.Count == 0 || endpoints[^1].Endpoint != endpoint)
                endpoints.Add(new CounterSet(endpoint, endpointCounters = []));
            AddCounter(endpointCounters!, name[(slash + 1)..], value);
        }

        IUsbDevice? device = pipeline.AttachedDevice(port);
        string? speed = pipeline.AttachedSpeed(port) is { } known ? MachineControl.NameOf(known) : null;
        return new PortStatus(
            place, device?.Description, speed, pipeline.AddressOf(port).Value, suspended, new CounterSet("", counters), endpoints);
    }

    private static void AddCounter(List<KeyValuePair<string, long>> counters, string name, string value)
    {
        if (CounterNames.Contains(name) && long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
            counters.Add(new(name, number));
    }
}
