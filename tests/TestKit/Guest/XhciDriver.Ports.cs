using System.Collections.Generic;

namespace XenUsbDm.TestKit.Guest;

/// <summary>Root hub ports (xHCI 1.2 §4.15, §4.19, §5.4.8).</summary>
public sealed partial class XhciDriver
{
    public const uint PortConnected = 1;
    public const uint PortEnabled = 1 << 1;
    public const uint PortReset = 1 << 4;
    public const uint PortPower = 1 << 9;
    public const uint PortLinkWriteStrobe = 1 << 16;
    public const uint PortConnectChange = 1 << 17;
    public const uint PortEnableChange = 1 << 18;
    public const uint PortWarmResetChange = 1 << 19;
    public const uint PortResetChange = 1 << 21;
    public const uint PortLinkChange = 1 << 22;
    public const uint PortChanges = 0x00fe_0000;
    public const uint PortWarmReset = 1u << 31;

    // What a write may carry over unchanged: RWS bits, nothing that acts on 1 (§5.4.8 note).
    private const uint PortKeep = 0x0e00_c200;

    /// <summary>PORTSC of a one-based port.</summary>
    public uint ReadPort(int port) => ReadOperational(PortBase + ((port - 1) * 16));

    /// <summary>Writes PORTSC with bits added to what it keeps.</summary>
    public void WritePort(int port, uint set, uint clear = 0) =>
        WriteOperational(PortBase + ((port - 1) * 16), (ReadPort(port) & PortKeep & ~clear) | set);

    /// <summary>Port Link State, bits 8:5.</summary>
    public int LinkState(int port) => (int)((ReadPort(port) >> 5) & 0xf);

    /// <summary>Port Speed, bits 13:10: 1 full, 2 low, 3 high, 4 SuperSpeed.</summary>
    public int PortSpeed(int port) => (int)((ReadPort(port) >> 10) & 0xf);

    public void SetLinkState(int port, int state) => WritePort(port, PortLinkWriteStrobe | ((uint)state << 5));

    public void PowerPorts()
    {
        for (int port = 1; port <= MaxPorts; port++)
        {
            if ((ReadPort(port) & PortPower) == 0) WritePort(port, PortPower);
        }
    }

    /// <summary>The protocol of a port.</summary>
    public GuestProtocol ProtocolOf(int port)
    {
        foreach (GuestProtocol protocol in Protocols)
        {
            if (port >= protocol.FirstPort && port < protocol.FirstPort + protocol.Count) return protocol;
        }

        throw new GuestDriverException($"port {port} has no Supported Protocol capability");
    }

    /// <summary>Ports with a device connected, in order.</summary>
    public List<int> ConnectedPorts()
    {
        var ports = new List<int>();
        for (int port = 1; port <= MaxPorts; port++)
        {
            if ((ReadPort(port) & PortConnected) != 0) ports.Add(port);
        }

        return ports;
    }

    /// <summary>Waits for a device on some port and returns the port.</summary>
    public int WaitForConnect(ulong timeoutNanoseconds = 0)
    {
        int found = 0;
        Expect(
            () =>
            {
                List<int> ports = ConnectedPorts();
                found = ports.Count > 0 ? ports[0] : 0;
                return found != 0;
            },
            "a device to connect",
            timeoutNanoseconds);
        return found;
    }

    /// <summary>The next port that a Port Status Change Event named.</summary>
    public bool TryNextPortChange(out int port)
    {
        ProcessEvents();
        return _changedPorts.TryDequeue(out port);
    }

    /// <summary>Acknowledges all change bits and returns those that were set.</summary>
    public uint AcknowledgePort(int port)
    {
        uint changes = ReadPort(port) & PortChanges;
        if (changes != 0) WritePort(port, changes);
        return changes;
    }

    /// <summary>Resets a port and leaves it enabled, change bits acknowledged (§4.3.1). SuperSpeed ports may train by themselves.</summary>
    public void ResetPort(int port, bool warm = false)
    {
        WritePort(port, warm ? PortWarmReset : PortReset);
        Expect(() => (ReadPort(port) & PortResetChange) != 0, $"port {port} to reset");
        AcknowledgePort(port);
        if ((ReadPort(port) & PortEnabled) == 0) throw new GuestDriverException($"port {port} is not enabled after reset: PORTSC {ReadPort(port):x8}");
    }
}
