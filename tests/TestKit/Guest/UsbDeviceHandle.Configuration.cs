using System;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Configurations, alternate settings, pipes and streams (xHCI 1.2 §4.6.6).</summary>
public sealed partial class UsbDeviceHandle
{
    private readonly GuestPipe?[] _pipes = new GuestPipe?[32];
    private readonly StreamTable?[] _streams = new StreamTable?[32];

    /// <summary>Pipes of the configuration, in DCI order; the control pipe is not among them.</summary>
    public IEnumerable<GuestPipe> Pipes
    {
        get
        {
            for (int dci = 2; dci < 32; dci++)
            {
                if (_pipes[dci] is GuestPipe pipe) yield return pipe;
            }
        }
    }

    /// <summary>The pipe of an endpoint address.</summary>
    public GuestPipe Pipe(byte endpointAddress) =>
        _pipes[DciOf(endpointAddress)] ?? throw new GuestDriverException($"endpoint {endpointAddress:x2} is not configured");

    /// <summary>The first pipe of a kind and direction.</summary>
    public GuestPipe Pipe(TransferKind kind, bool isIn)
    {
        foreach (GuestPipe pipe in Pipes)
        {
            if (pipe.Endpoint.Kind == kind && pipe.IsIn == isIn) return pipe;
        }

        throw new GuestDriverException($"no {kind} {(isIn ? "IN" : "OUT")} endpoint is configured");
    }

    /// <summary>Streams of an endpoint, or null.</summary>
    public StreamTable? StreamsOf(byte endpointAddress) => _streams[DciOf(endpointAddress)];

    /// <summary>Configure Endpoint for alternate setting 0 of every interface, then SET_CONFIGURATION.</summary>
    public void SetConfiguration(GuestConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var add = new List<GuestEndpoint>();
        foreach (GuestInterface setting in configuration.Interfaces)
        {
            if (setting.AlternateSetting == 0) add.AddRange(setting.Endpoints);
        }

        Reconfigure(Pipes, add).Require("Configure Endpoint");
        ControlOut(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, configuration.Value, 0, 0));
        Configuration = configuration;
    }

    /// <summary>Drops the old setting's endpoints, adds the new one's, then SET_INTERFACE.</summary>
    public void SetInterface(byte number, byte alternate)
    {
        GuestInterface? setting = null;
        foreach (GuestInterface candidate in Configuration?.Interfaces ?? [])
        {
            if (candidate.Number == number && candidate.AlternateSetting == alternate) setting = candidate;
        }

        if (setting is null) throw new GuestDriverException($"no interface {number} setting {alternate}");
        var drop = new List<GuestPipe>();
        foreach (GuestPipe pipe in Pipes)
        {
            if (pipe.Endpoint.InterfaceNumber == number) drop.Add(pipe);
        }

        Reconfigure(drop, setting.Endpoints).Require("Configure Endpoint");
        ControlOut(new SetupPacket(1, (byte)StandardRequest.SetInterface, alternate, number, 0));
    }

    /// <summary>Configure Endpoint with DC, then SET_CONFIGURATION(0).</summary>
    public void Deconfigure()
    {
        Driver.ConfigureEndpoint(Slot, 0, deconfigure: true).Require("Configure Endpoint (DC)");
        foreach (GuestPipe pipe in new List<GuestPipe>(Pipes)) Forget(pipe);
        Configuration = null;
        ControlOut(new SetupPacket(0, (byte)StandardRequest.SetConfiguration, 0, 0, 0));
    }

    /// <summary>Configures one endpoint again, with streams (<paramref name="primaryLog"/> 2 or more) or without (0).</summary>
    public GuestPipe ConfigureStreams(byte endpointAddress, int primaryLog, int secondary = StreamTable.Linear, int ringTrbs = 32)
    {
        GuestPipe pipe = Pipe(endpointAddress);
        GuestEndpoint endpoint = pipe.Endpoint;
        StreamTable? table = primaryLog == 0 ? null : new StreamTable(Driver, primaryLog, secondary, ringTrbs);
        Reconfigure([pipe], [endpoint], table).Require("Configure Endpoint (streams)");
        return Pipe(endpointAddress);
    }

    /// <summary>One Configure Endpoint command: drops pipes, adds endpoints. On failure the handle's pipes are as before.</summary>
    public CommandResult Reconfigure(IEnumerable<GuestPipe> drop, IEnumerable<GuestEndpoint> add, StreamTable? streams = null)
    {
        ArgumentNullException.ThrowIfNull(drop);
        ArgumentNullException.ThrowIfNull(add);
        GuestInputContext input = _input;
        input.Clear();
        GuestContext slot = input.Slot;
        for (int i = 0; i < 3; i++) slot[i] = Context.Slot[i];
        var dropped = new List<GuestPipe>(drop);
        foreach (GuestPipe pipe in dropped) input.Drop(pipe.Dci);
        var added = new List<GuestPipe>();
        foreach (GuestEndpoint endpoint in add)
        {
            GuestRing? ring = streams is null ? Driver.TransferRing() : null;
            XhciDriver.FillEndpoint(
                input.Endpoint(endpoint.Dci), endpoint, Speed, ring?.Base ?? streams!.Primary.Address, streams?.PrimaryLog ?? 0, streams?.IsLinear ?? true);
            input.Add(endpoint.Dci);
            added.Add(new GuestPipe(Driver, Slot, endpoint, ring is null ? streams!.Rings : [(0, ring)])
            {
                StreamContextType = streams is { IsLinear: false } ? 0 : 1,
            });
        }

        input.Add(0);
        slot.Entries = (uint)HighestDci(dropped, added);
        CommandResult result = Driver.ConfigureEndpoint(Slot, input.Buffer.Address);
        if (!result.Ok)
        {
            foreach (GuestPipe pipe in added) pipe.FreeMemory();
            return result;
        }

        foreach (GuestPipe pipe in dropped) Forget(pipe);
        foreach (GuestPipe pipe in added)
        {
            _pipes[pipe.Dci] = pipe;
            _streams[pipe.Dci] = streams;
            Driver.Register(Slot, pipe.Dci, pipe);
        }

        return result;
    }

    private int HighestDci(List<GuestPipe> dropped, List<GuestPipe> added)
    {
        int highest = 1;
        foreach (GuestPipe pipe in Pipes)
        {
            if (!dropped.Contains(pipe)) highest = Math.Max(highest, pipe.Dci);
        }

        foreach (GuestPipe pipe in added) highest = Math.Max(highest, pipe.Dci);
        return highest;
    }

    private void Forget(GuestPipe pipe)
    {
        _pipes[pipe.Dci] = null;
        _streams[pipe.Dci]?.FreeMemory(Driver);
        _streams[pipe.Dci] = null;
        Driver.Register(Slot, pipe.Dci, null);
        pipe.FreeMemory();
    }

    private static int DciOf(byte endpointAddress) => ((endpointAddress & 0xf) * 2) + (endpointAddress >> 7);
}
