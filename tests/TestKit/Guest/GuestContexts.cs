using System.Buffers.Binary;

namespace XenUsbDm.TestKit.Guest;

/// <summary>One context of 32 or 64 bytes in guest memory (xHCI 1.2 §6.2), read and written by dword.</summary>
public readonly record struct GuestContext(IGuestPlatform Platform, ulong Address)
{
    public uint this[int dword]
    {
        get => BinaryPrimitives.ReadUInt32LittleEndian(Platform.Memory(Address + ((ulong)dword * 4), 4));
        set => BinaryPrimitives.WriteUInt32LittleEndian(Platform.Memory(Address + ((ulong)dword * 4), 4), value);
    }

    /// <summary>A field of a dword.</summary>
    public uint Get(int dword, int low, int width) => (this[dword] >> low) & (uint)((1UL << width) - 1);

    /// <summary>Sets a field of a dword.</summary>
    public void Set(int dword, int low, int width, uint value)
    {
        uint mask = (uint)((1UL << width) - 1);
        GuestContext self = this;
        self[dword] = (self[dword] & ~(mask << low)) | ((value & mask) << low);
    }

    // Slot Context (§6.2.2).
    public uint RouteString { get => Get(0, 0, 20); set => Set(0, 0, 20, value); }

    public uint Speed { get => Get(0, 20, 4); set => Set(0, 20, 4, value); }

    public uint Entries { get => Get(0, 27, 5); set => Set(0, 27, 5, value); }

    public uint MaxExitLatency { get => Get(1, 0, 16); set => Set(1, 0, 16, value); }

    public uint RootPort { get => Get(1, 16, 8); set => Set(1, 16, 8, value); }

    public uint SlotInterrupter { get => Get(2, 22, 10); set => Set(2, 22, 10, value); }

    public uint DeviceAddress { get => Get(3, 0, 8); set => Set(3, 0, 8, value); }

    public GuestSlotState SlotState { get => (GuestSlotState)Get(3, 27, 5); set => Set(3, 27, 5, (uint)value); }

    // Endpoint Context (§6.2.3).
    public GuestEndpointState EndpointState { get => (GuestEndpointState)Get(0, 0, 3); set => Set(0, 0, 3, (uint)value); }

    public uint Mult { get => Get(0, 8, 2); set => Set(0, 8, 2, value); }

    public uint MaxPrimaryStreams { get => Get(0, 10, 5); set => Set(0, 10, 5, value); }

    public uint LinearStreamArray { get => Get(0, 15, 1); set => Set(0, 15, 1, value); }

    public uint Interval { get => Get(0, 16, 8); set => Set(0, 16, 8, value); }

    public uint ErrorCount { get => Get(1, 1, 2); set => Set(1, 1, 2, value); }

    /// <summary>1 isoch OUT, 2 bulk OUT, 3 interrupt OUT, 4 control, 5 isoch IN, 6 bulk IN, 7 interrupt IN (table 6-9).</summary>
    public uint EndpointType { get => Get(1, 3, 3); set => Set(1, 3, 3, value); }

    public uint MaxBurst { get => Get(1, 8, 8); set => Set(1, 8, 8, value); }

    public uint MaxPacketSize { get => Get(1, 16, 16); set => Set(1, 16, 16, value); }

    /// <summary>TR Dequeue Pointer with DCS in bit 0; with streams the array's address.</summary>
    public ulong DequeuePointer
    {
        get => this[2] | ((ulong)this[3] << 32);
        set
        {
            GuestContext self = this;
            self[2] = (uint)(value & 0xffffffff);
            self[3] = (uint)(value >> 32);
        }
    }

    public uint AverageTrbLength { get => Get(4, 0, 16); set => Set(4, 0, 16, value); }

    public uint MaxEsitPayload
    {
        get => Get(4, 16, 16) | (Get(0, 24, 8) << 16);
        set
        {
            Set(4, 16, 16, value & 0xffff);
            Set(0, 24, 8, value >> 16);
        }
    }
}

/// <summary>An Input Context (§6.2.5): control context, slot context, 31 endpoint contexts.</summary>
public readonly record struct GuestInputContext(IGuestPlatform Platform, GuestBuffer Buffer, int ContextSize)
{
    public GuestContext Control => new(Platform, Buffer.Address);

    public GuestContext Slot => new(Platform, Buffer.Address + (ulong)ContextSize);

    public uint DropFlags { get => Control[0]; set => Poke(0, value); }

    public uint AddFlags { get => Control[1]; set => Poke(1, value); }

    /// <summary>Endpoint context of a DCI, 1-31.</summary>
    public GuestContext Endpoint(int dci) => new(Platform, Buffer.Address + (ulong)(ContextSize * (dci + 1)));

    public void Add(int dci) => Poke(1, Control[1] | (1u << dci));

    public void Drop(int dci) => Poke(0, Control[0] | (1u << dci));

    public void Clear() => Platform.Memory(Buffer.Address, Buffer.Length).Clear();

    private void Poke(int dword, uint value)
    {
        GuestContext control = Control;
        control[dword] = value;
    }
}

/// <summary>A Device Context (§6.2.1) as the controller keeps it.</summary>
public readonly record struct GuestDeviceContext(IGuestPlatform Platform, GuestBuffer Buffer, int ContextSize)
{
    public GuestContext Slot => new(Platform, Buffer.Address);

    public GuestContext Endpoint(int dci) => new(Platform, Buffer.Address + (ulong)(ContextSize * dci));
}

/// <summary>Slot states (§6.2.2, table 6-7).</summary>
public enum GuestSlotState
{
    DisabledOrEnabled = 0,
    Default = 1,
    Addressed = 2,
    Configured = 3,
}

/// <summary>Endpoint states (§6.2.3, table 6-8).</summary>
public enum GuestEndpointState
{
    Disabled = 0,
    Running = 1,
    Halted = 2,
    Stopped = 3,
    Error = 4,
}
